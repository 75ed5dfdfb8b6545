"""Measures of a classifier with bootstrap intervals: each takes a weight per resample and item, all at once.

A resample of a bootstrap is a vector of weights, how often each item was drawn, so that a measure of 1,000 resamples is
a few array operations on `(resamples, n)`. Subjects are drawn, not sequences: those of one come and go together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

Weights = Float[ndarray, "resamples n"]
RESAMPLES = 1000


class Unanswerable(ValueError):
    """The data at hand cannot answer the question: too few subjects, one class only."""


class Inapplicable(Unanswerable):
    """The question does not arise for such data: gaps where nothing is missing, heartbeats of no electrocardiogram."""


def resamples(subject: Shaped[ndarray, " n"], seed: int = 0, count: int = RESAMPLES) -> Weights:
    """Draw subjects with replacement; return how often each item counts in each resample."""
    _, position = np.unique(subject, return_inverse=True)
    subjects = int(position.max()) + 1
    return (
        np.random.default_rng(seed)
        .multinomial(subjects, np.full(subjects, 1 / subjects), count)[:, position]
        .astype(float)
    )


def with_interval(
    measure: Callable[[Weights], Float[ndarray, " resamples"]], weights: Weights
) -> tuple[float, float, float]:
    """Return a measure and its 95 % percentile interval; resamples in which it is not defined are left out."""
    value = float(measure(np.ones((1, weights.shape[1])))[0])
    drawn = measure(weights)
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    return value, float(low), float(high)


def _by_threshold(
    positive: Bool[ndarray, " n"], scores: Float[ndarray, " n"], weights: Weights
) -> tuple[ndarray, ndarray]:
    """Return weight of positives and negatives at each distinct score, highest first."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    add = lambda chosen: np.add.reduceat(weights[:, order] * chosen[order], starts, axis=1)  # noqa: E731
    return add(positive), add(~positive)


def auroc(
    positive: Bool[ndarray, " n"], scores: Float[ndarray, " n"], weights: Weights
) -> Float[ndarray, " resamples"]:
    """Return the chance that a positive scores above a negative, ties half; NaN where a class has no weight."""
    pos, neg = _by_threshold(positive, scores, weights)
    below = neg.sum(axis=1, keepdims=True) - np.cumsum(neg, axis=1)
    with np.errstate(invalid="ignore"):
        return (pos * (below + neg / 2)).sum(axis=1) / (pos.sum(axis=1) * neg.sum(axis=1))


def macro_auroc(
    labels: Int[ndarray, " n"], scores: Float[ndarray, "n classes"], weights: Weights
) -> Float[ndarray, " resamples"]:
    """Return the mean of one-versus-rest AUROCs over the classes that occur."""
    return np.mean([auroc(labels == c, scores[:, c], weights) for c in np.unique(labels)], axis=0)


def average_precision(
    positive: Bool[ndarray, " n"], scores: Float[ndarray, " n"], weights: Weights
) -> Float[ndarray, " resamples"]:
    """Return the sum over thresholds of precision times gain in recall; NaN where no positive has weight."""
    pos, neg = _by_threshold(positive, scores, weights)
    caught, alarms = np.cumsum(pos, axis=1), np.cumsum(pos + neg, axis=1)
    precision = np.divide(caught, alarms, out=np.zeros_like(caught), where=alarms > 0)
    with np.errstate(invalid="ignore"):
        return (precision * pos).sum(axis=1) / pos.sum(axis=1)


def accuracy(
    labels: Int[ndarray, " n"], predicted: Int[ndarray, " n"], weights: Weights
) -> Float[ndarray, " resamples"]:
    """Return the share predicted rightly."""
    return (weights * (labels == predicted)).sum(axis=1) / weights.sum(axis=1)


def balanced_accuracy(
    labels: Int[ndarray, " n"], predicted: Int[ndarray, " n"], weights: Weights
) -> Float[ndarray, " resamples"]:
    """Return the mean over classes of the share predicted rightly; NaN where a class has no weight."""
    with np.errstate(invalid="ignore"):
        return np.mean([accuracy(labels, predicted, weights * (labels == c)) for c in np.unique(labels)], axis=0)


def share(found: Int[ndarray, " n"], possible: Int[ndarray, " n"], weights: Weights) -> Float[ndarray, " resamples"]:
    """Return how many were found of those that could be; NaN where none could."""
    with np.errstate(invalid="ignore"):
        return (weights * found).sum(axis=1) / (weights * possible).sum(axis=1)


def mean_absolute_error(
    truth: Float[ndarray, " n"], predicted: Float[ndarray, " n"], weights: Weights
) -> Float[ndarray, " resamples"]:
    """Return how far off a prediction is on average."""
    return (weights * np.abs(truth - predicted)).sum(axis=1) / weights.sum(axis=1)


def r2(truth: Float[ndarray, " n"], predicted: Float[ndarray, " n"], weights: Weights) -> Float[ndarray, " resamples"]:
    """Return the share of the variance that is explained; NaN where nothing varies."""
    mean = (weights @ truth) / weights.sum(axis=1)
    varying = (weights * (truth - mean[:, None]) ** 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(varying > 0, 1 - weights @ (truth - predicted) ** 2 / varying, np.nan)


def linear_kappa(
    truth: Int[ndarray, " n"], predicted: Int[ndarray, " n"], weights: Weights
) -> Float[ndarray, " resamples"]:
    """Return Cohen's kappa of ordered classes 0, 1, ... with linear weights; NaN where all is of one class.

        kappa = 1 - sum |i - j| p[i, j] / sum |i - j| p[i] p[j]

    (Cohen 1968, Psychological Bulletin 70.)
    """
    classes = np.arange(max(truth.max(), predicted.max()) + 1)
    apart = np.abs(classes[:, None] - classes)
    rows, columns = (weights @ (codes[:, None] == classes) for codes in (truth, predicted))
    by_chance = ((rows @ apart) * columns).sum(axis=1) / weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance > 0, 1 - weights @ np.abs(truth - predicted) / by_chance, np.nan)
