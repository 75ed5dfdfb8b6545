"""The measures of TSGBench (Ang et al. 2023), as published, so that tables can be compared; they are weak, too.

Checked against what its code does (YihaoAng/TSGBench on GitHub). Values are as in `literature`. MDD leaves out the
first step, is in densities (narrow channels dominate), and forgets synthetic values outside the real range or on the
border of a bin: a copy does not score 0. ACD includes lag 0. ED and DTW pair the i-th synthetic with the i-th real
window, which have nothing to do with each other: a constant beats real data.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..sequences import Sequences
from .distances import centred
from .literature import WEAK, Against, comparable
from .measures import resamples, with_interval
from .metric import Figure, beside, says

BINS = 50
LONGEST_LAG = 64
DRAWS = 100


@says(
    Figure(
        *("mdd", "marginal distribution difference (TSGBench)", "near floor"),
        "How far the histograms of each channel at each step are from real ones, in densities"
        + WEAK
        + "blind to what comes after what.",
    ),
    Figure(
        *("acd", "autocorrelation difference (TSGBench)", "near floor"),
        "How far autocorrelations are from real ones" + WEAK + "time reversed has the same.",
    ),
    Figure(
        *("sd", "skewness difference (TSGBench)", "near floor"),
        "How far the skewness of values is from real ones" + WEAK + "blind to time and to other channels.",
    ),
    Figure(
        *("kd", "kurtosis difference (TSGBench)", "near floor"),
        "How far the kurtosis of values is from real ones" + WEAK + "blind to time and to other channels.",
    ),
    Figure(
        *("ed", "Euclidean distance (TSGBench)", "near floor"),
        "The distance of pairs of a real and a synthetic sequence" + WEAK + "pairs are random, a constant is closest.",
    ),
    Figure(
        *("dtw", "dynamic time warping (TSGBench)", "near floor"),
        "The same, warped" + WEAK + "pairs are random, a constant is close.",
    ),
    part="literature",
    doing="the measures of TSGBench",
    responds={"worse": ("noise", "dropped mode", "collapsed")},
)
def tsgbench(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    against: Against = "test",
    cap: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Return the feature- and distance-based measures of TSGBench: MDD, ACD, SD, KD, ED and DTW.

    Published as the lower the better; but of pairs that have nothing to do with each other only the distance that real
    data have is good. Intervals, over subjects, are ours. See the module for their quirks.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        against: Which real set it is compared with; `train` is the published way.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, have gaps, or one has fewer than 2 sequences.
    """
    parts, sets = comparable(train, test, synthetic, against, cap, seed)
    draws = [resamples(part.subject, seed + k, DRAWS) for k, part in enumerate(parts)]
    again = lambda k, r: np.repeat(sets[k], draws[k][r].astype(int), axis=0)  # noqa: E731
    out = {"n": float(len(parts[0]))}
    for key, measure in MEASURES.items():
        drawn = {k: np.array([measure(again(0, r), again(k, r)) for r in range(DRAWS)]) for k in (2, 1)}
        out |= beside(key, *(centred(measure(sets[0], sets[k]), drawn[k]) for k in (2, 1)))
    for key, distance in PAIRED.items():
        pairs = {k: distance(sets[0], sets[k]) for k in (2, 1)}
        mean = lambda w, of: (w @ of) / w.sum(axis=1)  # noqa: E731
        out |= beside(key, *(with_interval(partial(mean, of=pairs[k]), draws[k]) for k in (2, 1)))
    return out


def marginal_distribution_difference(real: Float[ndarray, "n length c"], made: Float[ndarray, "m length c"]) -> float:
    """Return the mean absolute difference of histograms of 50 bins over the real range, of each step and channel."""
    real, made = real[:, 1:], made[:, 1:]
    low, high = real.min(axis=0), real.max(axis=0)
    width = np.where(high > low, high - low, 1e-5) / BINS

    def density(x: ndarray, bins: ndarray, counted: ndarray) -> ndarray:
        places = np.arange(width.size).reshape(width.shape) * BINS + np.clip(bins, 0, BINS - 1).astype(int)
        counts = np.bincount(places[counted], minlength=width.size * BINS).reshape(*width.shape, BINS)
        return counts / len(x) / width[..., None]

    theirs, ours = ((x - low) / width for x in (real, made))
    inside = (ours > 0) & (ours < BINS) & (ours != np.floor(ours))
    known = density(real, theirs, np.ones(real.shape, bool))
    return float(np.abs(density(made, ours, inside) - known).mean())


def autocorrelation_difference(real: Float[ndarray, "n length c"], made: Float[ndarray, "m length c"]) -> float:
    """Return the Euclidean distance of autocorrelations at lags 0 to 63, mean over channels."""

    def of(x: ndarray) -> ndarray:
        x = x - x.mean(axis=(0, 1))
        lags = range(min(LONGEST_LAG, x.shape[1]))
        return np.stack([(x[:, lag:] * x[:, : x.shape[1] - lag]).mean(axis=(0, 1)) for lag in lags]) / x.var(
            axis=(0, 1)
        )

    return float(np.sqrt(np.square(of(real) - of(made)).sum(axis=0)).mean())


def skewness_difference(real: Float[ndarray, "n length c"], made: Float[ndarray, "m length c"]) -> float:
    """Return the absolute difference of skewness, with the unbiased standard deviation, mean over channels."""

    def of(x: ndarray) -> ndarray:
        return ((x - x.mean(axis=(0, 1))) ** 3).mean(axis=(0, 1)) / x.std(axis=(0, 1), ddof=1) ** 3

    return float(np.abs(of(real) - of(made)).mean())


def kurtosis_difference(real: Float[ndarray, "n length c"], made: Float[ndarray, "m length c"]) -> float:
    """Return the absolute difference of kurtosis, mean over channels."""

    def of(x: ndarray) -> ndarray:
        return ((x - x.mean(axis=(0, 1))) ** 4).mean(axis=(0, 1)) / x.var(axis=(0, 1)) ** 2

    return float(np.abs(of(real) - of(made)).mean())


def euclidean_distances(real: Float[ndarray, "n length c"], made: Float[ndarray, "n length c"]) -> Float[ndarray, " n"]:
    """Return the distance of each pair, channel by channel, mean over channels."""
    return np.linalg.norm(real - made, axis=1).mean(axis=1)


def warped_distances(real: Float[ndarray, "n length c"], made: Float[ndarray, "n length c"]) -> Float[ndarray, " n"]:
    """Return the dynamic time warping distance of each pair: the root of the least sum of squares along a path."""
    n, length, _ = real.shape
    before = np.full((n, length + 1), np.inf)
    before[:, 0] = 0.0
    for i in range(length):
        cost = np.square(real[:, i, None] - made).sum(axis=2)
        row = np.full((n, length + 1), np.inf)
        for j in range(length):
            row[:, j + 1] = cost[:, j] + np.minimum(np.minimum(before[:, j], before[:, j + 1]), row[:, j])
        before = row
    return np.sqrt(before[:, -1])


MEASURES: dict[str, Callable[[ndarray, ndarray], float]] = {
    "mdd": marginal_distribution_difference,
    "acd": autocorrelation_difference,
    "sd": skewness_difference,
    "kd": kurtosis_difference,
}
PAIRED: dict[str, Callable[[ndarray, ndarray], ndarray]] = {"ed": euclidean_distances, "dtw": warped_distances}
