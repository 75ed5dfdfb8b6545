"""The judge: a logistic regression on standardised features, its L2 strength chosen on held-out subjects."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths tried. With 1,000 standardised features and as many sequences, 1 and above overfit."""
LIMIT = 10.0
"""Standardised features are cut here, lest one constant in the training data explode elsewhere."""


@dataclass(frozen=True, eq=False)
class Judge:
    """A fitted classifier over the classes 0, 1, ..., of which some may never have been seen.

    The model is a LogisticRegression, or None where there was but one class.
    """

    mean: Float[ndarray, " features"]
    scale: Float[ndarray, " features"]
    model: Any
    seen: Int[ndarray, " seen"]
    classes: int

    @classmethod
    def fit(
        cls,
        x: Float[ndarray, "n features"],
        labels: Int[ndarray, " n"],
        subject: Shaped[ndarray, " n"],
        classes: int,
        seed: int = 0,
    ) -> Judge:
        """Choose the strength on a quarter of the subjects by log likelihood, then fit on all."""
        mean, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        seen = np.unique(labels)
        unfitted = cls(mean, scale, None, seen, classes)
        if len(seen) < 2:
            return unfitted
        scaled = unfitted._scaled(x)
        strength = _strength(scaled, labels, subject, seed)
        return cls(mean, scale, _logistic(scaled, labels, strength), seen, classes)

    def _scaled(self, x: Float[ndarray, "n features"]) -> Float[ndarray, "n features"]:
        return np.clip((x - self.mean) / self.scale, -LIMIT, LIMIT)

    def probabilities(self, x: Float[ndarray, "n features"]) -> Float[ndarray, "n classes"]:
        """Return a probability for every class; 0 for one never seen."""
        out = np.zeros((len(x), self.classes))
        out[:, self.seen] = 1.0 if self.model is None else self.model.predict_proba(self._scaled(x))
        return out


def held_aside(subject: Shaped[ndarray, " n"], share: float, seed: int) -> Bool[ndarray, " n"]:
    """Choose a share of the subjects, at least one, at random; return which items are theirs."""
    subjects = np.unique(subject)
    held = np.random.default_rng(seed).permutation(subjects)[: max(1, int(share * len(subjects)))]
    return np.isin(subject, held)


def _logistic(x: ndarray, labels: ndarray, strength: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 300 iterations rank well; last digits are not needed
        return LogisticRegression(C=strength, max_iter=300, tol=1e-3).fit(x, labels)


def _strength(x: ndarray, labels: ndarray, subject: ndarray, seed: int) -> float:
    out = held_aside(subject, 0.25, seed)
    known = np.unique(labels[~out])
    judged = out & np.isin(labels, known)
    if len(known) < 2 or not judged.any():
        return STRENGTHS[len(STRENGTHS) // 2]
    column = np.searchsorted(known, labels[judged])

    def likelihood(strength: float) -> float:
        probabilities = _logistic(x[~out], labels[~out], strength).predict_proba(x[judged])
        return float(np.log(np.take_along_axis(probabilities, column[:, None], axis=1).clip(1e-9)).mean())

    return max(STRENGTHS, key=likelihood)
