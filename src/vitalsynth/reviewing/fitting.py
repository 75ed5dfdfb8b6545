"""From answers to strengths: models of choices, of how well people agree, and of who looks and who guesses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float, Int
from numpy import ndarray

PRIOR = 3.0
"""Standard deviation of the normal prior of strengths, in logits: weak, and whoever always wins stays finite."""
LEVEL = 0.95
ATTENTIVE, GUESSING = 0.98, 0.5
"""How often planted items are answered right by those who look, and by those who do not."""
LOOKING = 0.9
"""Share of people who look, before anything is known."""


@dataclass(frozen=True, eq=False)
class Strengths:
    """Fitted strengths, as differences from one of the contestants.

    Args:
        value: `(n,)` in logits: i is chosen before j with probability 1 / (1 + exp(value_j - value_i)).
        low: Ends of their 95 % intervals; NaN if too few people answered.
        high: The same.
    """

    value: Float[ndarray, " n"]
    low: Float[ndarray, " n"]
    high: Float[ndarray, " n"]


def bradley_terry(
    choices: Int[ndarray, "votes 2"], people: Int[ndarray, " votes"], count: int, anchor: int
) -> Strengths:
    """Fit the model of Bradley and Terry (1952) by its posterior mode under independent normal priors.

    Intervals are those of a sandwich estimate over people, whose answers hang together (Liang and Zeger 1986), with
    Student's t of one degree of freedom fewer than there are people.

    Args:
        choices: Of each vote, the number of who was chosen, and of who was not.
        people: Whose vote it is.
        count: How many contestants there are.
        anchor: The one whose strength is 0.
    """
    winner, loser = choices[:, 0], choices[:, 1]
    design = np.zeros((len(choices), count))
    design[np.arange(len(choices)), winner] = 1.0
    design[np.arange(len(choices)), loser] -= 1.0
    value, prior = np.zeros(count), np.eye(count) / PRIOR**2
    for _ in range(50):  # Newton's method; what is maximised is concave, and five steps are enough
        chance = scipy.special.expit(design @ value)
        hessian = (design * (chance * (1 - chance))[:, None]).T @ design + prior
        step = np.linalg.solve(hessian, design.T @ (1 - chance) - prior @ value)
        value = value + step
    who = np.unique(people)
    if len(who) < 2:
        return _anchored(value, np.full((count, count), np.nan), anchor, 1)
    chance = scipy.special.expit(design @ value)
    inverse = np.linalg.inv((design * (chance * (1 - chance))[:, None]).T @ design + prior)
    scores = np.stack([design[people == k].T @ (1 - chance[people == k]) for k in who])
    meat = scores.T @ scores * len(who) / (len(who) - 1)
    return _anchored(value, inverse @ meat @ inverse, anchor, len(who) - 1)


def _anchored(value: ndarray, covariance: ndarray, anchor: int, freedom: int) -> Strengths:
    """Return strengths as differences from one of them."""
    spread = np.diag(covariance)
    variance = spread + spread[anchor] - 2 * covariance[:, anchor]
    half = scipy.stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(np.maximum(variance, 0))
    half[anchor] = 0.0
    found = value - value[anchor]
    return Strengths(found, found - half, found + half)


def looks(right: int, of: int) -> float:
    """Return the probability that somebody looks, by how many of the planted items were answered right (Bayes)."""
    attentive = LOOKING * ATTENTIVE**right * (1 - ATTENTIVE) ** (of - right)
    guessing = (1 - LOOKING) * GUESSING**of
    return attentive / (attentive + guessing)


def wilson(count: int, of: int) -> tuple[float, float, float]:
    """Return a share and the ends of its 95 % interval (Wilson 1927); NaN of nothing."""
    if not of:
        return math.nan, math.nan, math.nan
    ends = scipy.stats.binomtest(count, of).proportion_ci(LEVEL, method="wilson")
    return count / of, float(ends.low), float(ends.high)


def mean(values: Float[ndarray, " votes"], people: Int[ndarray, " votes"]) -> tuple[float, float, float]:
    """Return the mean over people of their means, and the ends of its 95 % interval (Student's t)."""
    each = np.array([values[people == k].mean() for k in np.unique(people)])
    if not len(each):
        return math.nan, math.nan, math.nan
    if len(each) < 2:
        return float(each[0]), math.nan, math.nan
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, len(each) - 1) * scipy.stats.sem(each))
    return float(each.mean()), float(each.mean()) - half, float(each.mean()) + half


def alpha(units: list[list[float]], ordinal: bool = False) -> float:
    """Return Krippendorff's alpha (2004, chapter 11): 1 is full agreement, 0 that of chance; NaN if it is not defined.

    Args:
        units: The answers to each item, as numbers; those with fewer than two say nothing.
        ordinal: Answers are ranks, and near ones disagree less; else any two that differ disagree as much.
    """
    pairable = [unit for unit in units if len(unit) > 1]
    levels = np.unique([answer for unit in pairable for answer in unit])
    if len(levels) < 2:
        return math.nan
    coincidence = np.zeros((len(levels), len(levels)))
    for unit in pairable:
        counts = (np.asarray(unit)[:, None] == levels).sum(axis=0).astype(float)
        coincidence += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    totals = coincidence.sum(axis=0)
    distance = 1.0 - np.eye(len(levels))
    if ordinal:
        below = np.cumsum(totals) - totals / 2
        distance = np.square(below[:, None] - below)
    expected = (np.outer(totals, totals) - np.diag(totals)) / (totals.sum() - 1)
    return float(1 - (coincidence * distance).sum() / (expected * distance).sum())


def spearman(one: Float[ndarray, " n"], other: Float[ndarray, " n"]) -> tuple[float, float, float]:
    """Return Spearman's rank correlation and the ends of its 95 % interval (Bonett and Wright 2000).

    The interval is NaN of fewer than 4, all is of fewer than 3, or where one of them is constant.
    """
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan, math.nan, math.nan
    rho = float(np.corrcoef(scipy.stats.rankdata(one), scipy.stats.rankdata(other))[0, 1])
    if len(one) < 4:
        return rho, math.nan, math.nan
    half = scipy.stats.norm.ppf((1 + LEVEL) / 2) * math.sqrt((1 + rho**2 / 2) / (len(one) - 3))
    inside = math.atanh(min(max(rho, -1 + 1e-9), 1 - 1e-9))
    return rho, math.tanh(inside - half), math.tanh(inside + half)
