"""Fidelity: do synthetic sequences follow the law of the real ones?

`mmd` is the unbiased squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13, lemma 6): with a kernel k,

    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

`kid` is the same estimate over features of images, with a cubic kernel (Binkowski et al. 2018, arXiv 1801.01401).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import scipy
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from ..sequences import Sequences
from .features import View
from .judge import LIMIT
from .measures import Unanswerable, resamples
from .metric import Figure, beside, says
from .signatures import augmented, signature

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths as multiples of the median distance: one alone is blind to most differences in many dimensions."""
DEPTH = 3
CHANNELS = 8
"""Most channels of a path: with time, 819 numbers to depth 3."""
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


def both_subjects(parts: Sequence[Sequences], other: int) -> Int[ndarray, " both"]:
    """Number the subjects of the test set, `parts[1]`, and another, one after the other.

    Synthetic sequences, `parts[2]`, are of no real subject, whatever theirs are called.
    """
    real = np.unique(np.concatenate([parts[0].subject, parts[1].subject]), return_inverse=True)[1]
    known, test = np.split(real, [len(parts[0])])
    made = np.unique(parts[2].subject, return_inverse=True)[1] + real.max() + 1
    return np.concatenate([test, made if other == 2 else known])


def median_distance(points: Float[ndarray, "n features"]) -> float:
    """Return the median distance between two different points; 1 if that is 0."""
    return float(np.median(scipy.spatial.distance.pdist(points))) or 1.0


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
        "below 0 is chance. Kernel: the mean of five RBFs, whose bandwidths are 1/4, 1/2, 1, 2 and 4 times the median "
        "distance of real sequences, {bandwidth:.3g}. Chance alone gives as much with p = {mmd2_p:.2g} ({n:.0f} test "
        "and {n:.0f} synthetic sequences).",
    ),
    part="fidelity",
    doing="comparing distributions (MMD)",
    responds={"worse": ("noise", "shuffled steps", "permuted channels", "dropped mode", "collapsed")},
)
def mmd(train: Sequences, test: Sequences, synthetic: Sequences, cap: int = 1000, seed: int = 0) -> dict[str, float]:
    """Return the unbiased MMD^2 between test and synthetic sequences, and between test and training ones (the floor).

    The kernel is a mixture of RBFs at multiples of the median distance between real sequences; the synthetic ones have
    no say in it. Sequences are compared step by step, statics appended; 0 means the same law, less than 0 is chance.
    The interval of the value is a bootstrap over subjects; that of the floor is where 95 % of random divisions of the
    real subjects into two such sets fall. `mmd2_p` is the p-value of the permutation test (Gretton et al. 2012): of how
    many random divisions of test and synthetic subjects the MMD^2 is as large, with 1 added above and below.

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
    median, kernel = _mixture(flat)
    return {**_beside_chance("mmd2", parts, flat, kernel, seed), "bandwidth": median}


@says(
    Figure(
        *("signature_mmd2", "signature MMD²", "near floor"),
        "A distance between the distributions of synthetic and real sequences as paths, by what their order and their "
        "joint movements give (signatures to depth 3): 0 is none, and below 0 is chance. Kernel: the mean of five RBFs "
        "of standardised signatures, with bandwidths around their median distance, {bandwidth:.3g}. Chance alone gives "
        "as much with p = {signature_mmd2_p:.2g} ({n:.0f} test and {n:.0f} synthetic sequences).",
    ),
    part="fidelity",
    doing="comparing distributions of paths (signatures)",
    responds={"worse": ("noise", "reversed time", "shuffled steps", "permuted channels", "dropped mode", "collapsed")},
)
def signature_mmd(
    train: Sequences, test: Sequences, synthetic: Sequences, cap: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Return the unbiased MMD^2 between the signatures of test and synthetic sequences, and its floor; see `mmd`.

    A path of channels, gaps carried forward, and time, from 0 on, is told by its signature to depth 3
    (`signatures.signature`), each number of it in units of its standard deviation over the training set. Of more than 8
    channels the first 8 principal components of training steps are taken. Statics are not looked at. Costs grow in
    proportion to the length.

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
    dense = [view.dense(part) for part in parts]
    basis = principal(dense[0].reshape(-1, dense[0].shape[2]), CHANNELS)
    told = [signature(augmented(x @ basis), DEPTH) for x in dense]
    scale = told[0].std(axis=0)
    told = [np.clip(x / np.where(scale > 1e-9, scale, 1.0), -LIMIT, LIMIT) for x in told]
    median, kernel = _mixture(told)
    return {**_beside_chance("signature_mmd2", parts, told, kernel, seed), "bandwidth": median}


def principal(x: Float[ndarray, "n width"], most: int) -> Float[ndarray, "width most"]:
    """Return the directions, at most so many, in which rows vary most; all as they are, if there are no more."""
    if x.shape[1] <= most:
        return np.eye(x.shape[1])
    from sklearn.decomposition import PCA

    return np.asarray(PCA(most, svd_solver="randomized", random_state=0).fit(x).components_).T


def _mixture(x: Sequence[Float[ndarray, "n features"]]) -> tuple[float, Kernel]:
    """Return the median distance between real items, training and test, and the mixture of RBFs around it."""
    median = median_distance(np.concatenate(x[:2]))
    return median, partial(rbf_mixture, bandwidths=[median * multiple for multiple in MULTIPLES])


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
    """Return the discrepancy of test and synthetic features, with what interval beside what floor, and its p-value."""
    draws = [resamples(parts[k].subject, seed + k, DIVISIONS) for k in (1, 2)]
    drawn = unbiased_mmd(x[1], x[2], kernel, (draws[0], draws[1]))
    chance, permuted = (
        shuffled_mmd(x[1], x[other], both_subjects(parts, other), kernel, DIVISIONS, seed + 3) for other in (0, 2)
    )
    value, floor = (float(unbiased_mmd(x[1], other, kernel)[0]) for other in (x[2], x[0]))
    permuted = permuted[np.isfinite(permuted)]
    p = (1 + int((permuted >= value).sum())) / (1 + len(permuted))
    return {**beside(key, (value, *_central(drawn)), (floor, *_central(chance))), f"{key}_p": p, "n": float(len(x[1]))}


def _central(drawn: Float[ndarray, " resamples"]) -> tuple[float, float]:
    """Return between what values the middle 95 % lie; NaN if none is defined."""
    drawn = drawn[np.isfinite(drawn)]
    return (float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))) if len(drawn) else (np.nan, np.nan)
