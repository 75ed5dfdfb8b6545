"""Fidelity: do synthetic sequences follow the law of the real ones?

`mmd` is the unbiased squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13, lemma 6): with a kernel k,

    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

and `two_sample` asks a strong classifier to tell the two apart (Lopez-Paz and Oquab 2017, arXiv 1610.06545). `kid` is
the same estimate over features of images, with a cubic kernel (Binkowski et al. 2018, arXiv 1801.01401).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray
from scipy.spatial.distance import cdist, pdist
from sklearn.model_selection import StratifiedGroupKFold

from ..sequences import Sequences
from .features import KERNELS, View, features
from .judge import Judge
from .measures import Unanswerable, auroc, resamples, with_interval
from .metric import Figure, beside, says

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths as multiples of the median distance: one alone is blind to most differences in many dimensions."""
FOLDS = 5
DIVISIONS = 300
"""Resamples, and random divisions, that an interval of a discrepancy is read off."""

Kernel = Callable[[Float[ndarray, "n features"], Float[ndarray, "m features"]], Float[ndarray, "n m"]]


def equal_parts(parts: Sequence[Sequences], cap: int, seed: int) -> list[Sequences]:
    """Draw the same number of sequences from each set, at most `cap`.

    Raises:
        Unanswerable: if a set has fewer than 2.
    """
    count = min(cap, *(len(part) for part in parts))
    if count < 2:
        raise Unanswerable(f"too few sequences to compare: the smallest set has {count}, at least 2 are needed")
    rng = np.random.default_rng(seed)
    return [part.take(np.sort(rng.permutation(len(part))[:count])) for part in parts]


def median_distance(points: Float[ndarray, "n features"]) -> float:
    """Return the median distance between two different points; 1 if that is 0."""
    return float(np.median(pdist(points))) or 1.0


def rbf_mixture(
    x: Float[ndarray, "n features"], y: Float[ndarray, "m features"], bandwidths: Sequence[float]
) -> Float[ndarray, "n m"]:
    """Return the mean over bandwidths h of exp(-|x - y|^2 / (2 h^2))."""
    squared = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)[None, :] - 2 * x @ y.T
    squared = np.maximum(squared, 0.0)
    return np.mean([np.exp(squared / (-2 * h * h)) for h in bandwidths], axis=0)


def cubic(x: Float[ndarray, "n features"], y: Float[ndarray, "m features"]) -> Float[ndarray, "n m"]:
    """Return (x . y / d + 1)^3 for d features: the kernel of KID, which compares moments up to the third."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def unbiased_mmd(
    x: Float[ndarray, "n features"],
    y: Float[ndarray, "m features"],
    kernel: Kernel,
    weights: tuple[Float[ndarray, "resamples n"], Float[ndarray, "resamples m"]] | None = None,
) -> Float[ndarray, " resamples"]:
    """Return the unbiased MMD^2 of two samples, one for each resample of a bootstrap (one in all by default).

    No item is ever paired with itself, nor with its own copy in a resample, which would bias the estimate upwards.
    """
    u, v = weights or (np.ones((1, len(x))), np.ones((1, len(y))))

    def within(points: ndarray, w: ndarray) -> ndarray:
        values = kernel(points, points)
        np.fill_diagonal(values, 0.0)
        return ((w @ values) * w).sum(axis=1) / (w.sum(axis=1) ** 2 - (w * w).sum(axis=1))

    between = ((u @ kernel(x, y)) * v).sum(axis=1) / (u.sum(axis=1) * v.sum(axis=1))
    return within(x, u) + within(y, v) - 2 * between


def shuffled_mmd(
    x: Float[ndarray, "n features"],
    y: Float[ndarray, "m features"],
    subject: Shaped[ndarray, " both"],
    kernel: Kernel,
    count: int,
    seed: int,
) -> Float[ndarray, " count"]:
    """Return the unbiased MMD^2 between random parts of the pooled samples: what chance alone gives.

    Subjects are shuffled whole; the first part has at least as many sequences as `x`, if subjects have several.
    """
    values = kernel(pooled := np.concatenate([x, y]), pooled)
    np.fill_diagonal(values, 0.0)
    _, position = np.unique(subject, return_inverse=True)
    sizes = np.bincount(position)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(sizes)) for _ in range(count)]
    first = np.array([np.isin(position, o[: np.searchsorted(np.cumsum(sizes[o]), len(x)) + 1]) for o in orders], float)
    second = 1 - first
    n, m = first.sum(axis=1), second.sum(axis=1)
    total = lambda u, v: ((u @ values) * v).sum(axis=1)  # noqa: E731
    with np.errstate(invalid="ignore", divide="ignore"):
        between = total(first, second) / (n * m)
        return total(first, first) / (n * (n - 1)) + total(second, second) / (m * (m - 1)) - 2 * between


@says(
    Figure(
        *("mmd2", "MMD²", "near floor"),
        "A distance between the distributions of synthetic and real sequences, compared step by step: 0 is none, and "
        "below 0 is chance ({n:.0f} test and {n:.0f} synthetic sequences).",
    ),
    part="fidelity",
    doing="comparing distributions (MMD)",
)
def mmd(train: Sequences, test: Sequences, synthetic: Sequences, cap: int = 1000, seed: int = 0) -> dict[str, float]:
    """Return the unbiased MMD^2 between test and synthetic sequences, and between test and training ones (the floor).

    The kernel is a mixture of RBFs at multiples of the median distance between real sequences; the synthetic ones have
    no say in it. Sequences are compared step by step, statics appended; 0 means the same law, less than 0 is chance.
    The interval of the value is a bootstrap over subjects; that of the floor is where 95 % of random divisions of the
    real subjects into two such sets fall.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice, the bootstrap and the divisions.

    Raises:
        ValueError: if the sets differ in columns or length, or one has fewer than 2 sequences.
    """
    view = View.fit(train, test, synthetic)
    parts = equal_parts([train, test, synthetic], cap, seed)
    flat = [view.flat(part) for part in parts]
    median = median_distance(np.concatenate(flat[:2]))
    kernel = partial(rbf_mixture, bandwidths=[median * multiple for multiple in MULTIPLES])
    return {**_beside_chance("mmd2", parts, flat, kernel, seed), "bandwidth": median}


def kid(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    embed: Callable[[Sequences], Float[ndarray, "n features"]],
    cap: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Return the kernel distance of test and synthetic images, and of test and training ones (the floor).

    As `mmd`, but over features with the cubic kernel. All features are divided by one number, their root mean square
    over the training images, so that the kernel's constant counts as much whatever made them.

    Args:
        train: Real, scales the features.
        test: Real, of other subjects.
        synthetic: To be judged.
        embed: From images to what a classifier of images sees in them.
        cap: Most images taken of each set; the same number is.
        seed: Of the choice, the bootstrap and the divisions.

    Raises:
        ValueError: if one of the sets has fewer than 2 images.
    """
    parts = equal_parts([train, test, synthetic], cap, seed)
    seen = [embed(part).astype(np.float64) for part in parts]
    scale = float(np.sqrt(np.square(seen[0]).mean())) or 1.0
    return _beside_chance("kid", parts, [features / scale for features in seen], cubic, seed)


def _beside_chance(
    key: str, parts: Sequence[Sequences], x: Sequence[Float[ndarray, "n features"]], kernel: Kernel, seed: int
) -> dict[str, float]:
    """Return the discrepancy of test and synthetic features, and with what interval beside what floor."""
    draws = [resamples(parts[k].subject, seed + k, DIVISIONS) for k in (1, 2)]
    drawn = unbiased_mmd(x[1], x[2], kernel, (draws[0], draws[1]))
    subject = np.concatenate([parts[1].subject, parts[0].subject])
    chance = shuffled_mmd(x[1], x[0], subject, kernel, DIVISIONS, seed + 3)
    value, floor = (float(unbiased_mmd(x[1], other, kernel)[0]) for other in (x[2], x[0]))
    return {**beside(key, (value, *_central(drawn)), (floor, *_central(chance))), "n": float(len(parts[1]))}


def _central(drawn: Float[ndarray, " resamples"]) -> tuple[float, float]:
    """Return between what values the middle 95 % lie; NaN if none is defined."""
    drawn = drawn[np.isfinite(drawn)]
    return (float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))) if len(drawn) else (np.nan, np.nan)


@says(
    Figure(
        *("coverage", "coverage", "higher"),
        "The share of real sequences that have a synthetic one nearby, nearer than their own fifth real neighbour: a "
        "generator that has collapsed covers little ({n:.0f} test and {n:.0f} synthetic sequences).",
    ),
    part="coverage",
    doing="looking for real sequences that nothing synthetic is near (coverage)",
)
def coverage(
    train: Sequences, test: Sequences, synthetic: Sequences, neighbours: int = 5, cap: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Return the share of test sequences that have a synthetic one nearby, and the same for training ones (the floor).

        coverage = mean over i of [min_j |x_i - y_j| <= distance of x_i to its k-th neighbour among the test sequences]

    (Naeem et al. 2020, arXiv 2002.09797, equation 9.) A generator that has collapsed covers little; copies of the test
    sequences cover all. Sequences are compared step by step, statics appended. The interval is over subjects.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        neighbours: k.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, or have no more than k sequences.
    """
    view = View.fit(train, test, synthetic)
    parts = equal_parts([train, test, synthetic], cap, seed)
    if len(parts[1]) <= neighbours:
        raise Unanswerable(f"{len(parts[1])} sequences have no {neighbours} neighbours each")
    known, real, made = (view.flat(part) for part in parts)
    within = cdist(real, real)
    radius = np.partition(within, neighbours, axis=1)[:, neighbours]  # the nearest is the sequence itself
    weights = resamples(parts[1].subject, seed + 1)

    def share_near(others: ndarray) -> tuple[float, float, float]:
        covered = (cdist(real, others).min(axis=1) <= radius).astype(float)
        return with_interval(lambda w: (w @ covered) / w.sum(axis=1), weights)

    none = {"coverage_trivial": 0.0}
    return {**beside("coverage", share_near(made), share_near(known)), **none, "n": float(len(real))}


@says(
    Figure(
        *("auroc", "two-sample AUROC", "near floor"),
        "How often a classifier given one real and one synthetic sequence picks the synthetic one: 0.5 is a coin toss, "
        "1 is always ({n:.0f} test and {n:.0f} synthetic sequences).",
    ),
    part="fidelity",
    doing="telling synthetic from real",
)
def two_sample(
    train: Sequences, test: Sequences, synthetic: Sequences, cap: int = 1000, kernels: int = KERNELS, seed: int = 0
) -> dict[str, float]:
    """Return how well a strong classifier tells synthetic from test sequences, and training from test (the floor).

    Random convolution features and a logistic regression; AUROC of scores given to subjects left out of its fitting.
    0.5: cannot be told apart; 1: always. Well below 0.5: copies of the test sequences, which the judge takes for their
    twins. The interval is over subjects; it does not include what another seed of the kernels would change.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        cap: Most sequences taken of each set; the same number is.
        kernels: Random kernels.
        seed: Of the choice, the kernels, the folds and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, or one has fewer than 2 sequences or subjects.
    """
    view = View.fit(train, test, synthetic)
    parts = equal_parts([train, test, synthetic], cap, seed)
    x = [features(view, part, kernels, seed=seed) for part in parts]
    real = [np.unique(part.subject, return_inverse=True)[1] for part in (parts[0], parts[1])]
    shared = np.unique(np.concatenate([parts[0].subject, parts[1].subject]), return_inverse=True)[1]
    made = np.unique(parts[2].subject, return_inverse=True)[1] + real[1].max() + 1
    subject = np.concatenate([shared[len(x[0]) :], shared[: len(x[0])]])
    value = _told_apart(x[1], x[2], np.concatenate([real[1], made]), seed)
    floor = _told_apart(x[1], x[0], subject, seed)
    return {**beside("auroc", value, floor), "n": float(len(parts[1]))}


def _told_apart(
    first: Float[ndarray, "n features"],
    second: Float[ndarray, "m features"],
    subject: Shaped[ndarray, " both"],
    seed: int,
) -> tuple[float, float, float]:
    """Return the AUROC of out-of-fold scores for belonging to the second sample, with its interval.

    The judges of the folds share most of their training data, so the bootstrap of their scores is too narrow: over 60
    pairs of equal laws (455 ICU stays each) 82 % of intervals held 0.5, and the AUROC spread by 0.025 where they said
    0.019. The factor of Nadeau and Bengio (2003, Machine Learning 52), sqrt(1 + K / (K - 1)) for K folds, makes it
    0.028.
    """
    x = np.concatenate([first, second])
    labels = np.repeat([0, 1], [len(first), len(second)])
    fewest = min(len(np.unique(subject[labels == c])) for c in (0, 1))
    if fewest < 2:
        raise Unanswerable("one of the sets is of a single subject; at least 2 are needed to leave one out")
    folds = min(FOLDS, fewest)
    scores = _out_of_fold(x, labels, subject, folds, seed)
    value, low, high = with_interval(lambda weights: auroc(labels == 1, scores, weights), resamples(subject, seed + 1))
    wider = math.sqrt(1 + folds / (folds - 1))
    return value, max(0.0, value + wider * (low - value)), min(1.0, value + wider * (high - value))


def _out_of_fold(
    x: Float[ndarray, "n features"], labels: Int[ndarray, " n"], subject: Shaped[ndarray, " n"], folds: int, seed: int
) -> Float[ndarray, " n"]:
    scores = np.empty(len(x))
    for kept, left_out in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(x, labels, subject):
        judge = Judge.fit(x[kept], labels[kept], subject[kept], classes=2, seed=seed)
        scores[left_out] = judge.probabilities(x[left_out])[:, 1]
    return scores
