"""A lower bound of ε from one training run (Steinke, Nasr and Jagielski 2023, arXiv 2305.08846).

m canaries are put among the patients, each by the toss of a coin; then somebody who sees what was learned guesses of r
of them whether they were in. If training is (ε, δ)-differentially private, v or more of the guesses are right with a
probability of at most (theorem 5.2)

    P[B ≥ v] + 2 m δ max_{1 ≤ i ≤ v} P[v > B ≥ v - i] / i,   B binomial(r, e^ε / (1 + e^ε))

so an ε for which that is less than 5 % is refuted with 95 % confidence. The canaries here are as strong as they can be:
patients whose whole gradient lies in one weight each, so that how far that weight has moved tells.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.special import expit
from scipy.stats import binom

CONFIDENCE = 0.95
LARGEST = 64.0


def chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Return the largest probability of so many right guesses, or more, under (ε, δ)-differential privacy."""
    law, i = (guesses, expit(epsilon)), np.arange(1, right + 1)
    nearly = np.cumsum(binom.pmf(right - i, *law))  # P[right > B >= right - i]
    share = float((nearly / i).max(initial=0.0))
    return min(1.0, float(binom.sf(right - 1, *law)) + 2 * canaries * delta * share)


def lower_bound(canaries: int, guesses: int, right: int, delta: float, confidence: float = CONFIDENCE) -> float:
    """Return the largest ε that so many right guesses refute; 0 if they refute none.

    Args:
        canaries: How many there were, each in or out by the toss of a coin.
        guesses: Of how many it was guessed; the number must not depend on who was in.
        right: How many guesses were right.
        delta: At which δ.
        confidence: That the bound holds.
    """
    refuted = lambda epsilon: chance(canaries, guesses, right, epsilon, delta) < 1 - confidence  # noqa: E731
    if not refuted(0.0):
        return 0.0
    low, high = 0.0, LARGEST
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def right_guesses(scores: Float[ndarray, " m"], included: Bool[ndarray, " m"], guesses: int) -> int:
    """Guess that those of the highest scores were in, as many of the lowest out, and return how often that is right."""
    order, each = np.argsort(scores, kind="stable"), guesses // 2
    return int(included[order[len(order) - each :]].sum() + (~included[order[:each]]).sum())
