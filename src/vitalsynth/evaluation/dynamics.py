"""Shape and dynamics: do values, their course and their company follow the laws of the real ones?

Each of these sees one thing and is blind to the rest, which `responds` says: `marginals` the values alone,
`autocorrelations` and `spectra` how long a channel remembers, `cross_correlations` which channels go together in the
same step, `sliced_wasserstein` a little of everything. None tells time from time reversed, unless the level itself
drifts, which the last sees. Gaps are never filled but in `sliced_wasserstein`: pairs of values count where both were
measured. Sums over sequences are all that is kept, so cost grows with their number, times length, times channels
(squared for pairs).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..sequences import Column, Sequences
from .distances import (
    FEWEST,
    Summed,
    between_means,
    channel_sums,
    correlations_apart,
    figures_beside_floor,
    known,
    lag_sums,
    of_values,
)
from .features import View
from .fidelity import equal_parts
from .measures import Inapplicable, Weights
from .metric import Figure, says

CAP = 2000
LAGS = 64
"""Lags of an autocorrelation, at most, evenly spaced over a quarter of the length."""
PROJECTIONS = 50
MEAN_AND_WORST = {"mean": np.mean, "worst": np.max}

COMPARED = " ({n:.0f} test and {n:.0f} synthetic sequences; {compared:.0f} of {columns:.0f} could be compared)."


@says(
    Figure(
        *("mean", "marginals, mean", "near floor"),
        "How far the values of a column are from real ones, in standard deviations, on average over columns; of "
        "categories, the share that would have to change" + COMPARED,
    ),
    Figure("worst", "marginals, worst column", "near floor", "The same of the column that is furthest off" + COMPARED),
    part="fidelity",
    doing="comparing the values of each column",
    responds={"worse": ("noise", "dropped mode", "collapsed")},
)
def marginals(
    train: Sequences, test: Sequences, synthetic: Sequences, cap: int = CAP, seed: int = 0
) -> dict[str, float]:
    """Return how far the values of each channel and static column are from those of test sequences.

    For numbers the 1-Wasserstein distance of all values at all steps, over the standard deviation in the training set;
    for categories the total variation distance of their shares. A column that one of the sets never has is left out.
    Blind to time: to the order of steps and to what goes with what. Beside the mean and the worst column, `of NAME` is
    the distance of each.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, or one has fewer than 2 sequences.
    """
    view = View.fit(train, test, synthetic)
    parts = equal_parts([train, test, synthetic], cap, seed)
    scales = np.concatenate([view.scale, view.static_scale])
    of = [[*np.moveaxis(part.values, 2, 0), *part.static.T[..., None]] for part in parts]
    laws = [
        _law(column, [columns[j].astype(np.float64) for columns in of], scales[j])
        for j, column in enumerate(train.schema.columns)
    ]

    def apart(k: int, u: Weights, v: Weights) -> ndarray:
        return np.stack([between_means(law[1], law[k], u, v) for law in laws], axis=1)

    names = [column.name for column in train.schema.columns]
    return figures_beside_floor(parts, apart, MEAN_AND_WORST, seed + 1, names)


def _law(column: Column, values: Sequence[Float[ndarray, "n k"]], scale: float) -> list[Summed]:
    """Return sums and counts per sequence whose means lie as far apart as the laws of a column, for each set."""
    if column.kind == "continuous":
        return of_values(values, scale)
    codes = np.arange(max(2, len(column.categories)))
    return [((part[..., None] == codes).sum(axis=1) / 2, known(part)) for part in values]


@says(
    Figure(
        *("mean", "autocorrelations, mean", "near floor"),
        "How far the correlation of a channel with itself some steps later is from that of real sequences, on average "
        "over lags up to a quarter of the length and over channels" + COMPARED,
    ),
    Figure("worst", "autocorrelations, worst channel", "near floor", "The same of the worst channel" + COMPARED),
    part="fidelity",
    doing="comparing autocorrelations",
    responds={"worse": ("noise", "shuffled steps", "dropped mode", "collapsed")},
)
def autocorrelations(
    train: Sequences, test: Sequences, synthetic: Sequences, cap: int = CAP, seed: int = 0
) -> dict[str, float]:
    """Return how far each channel's autocorrelations are from those of test sequences, in the mean over lags.

    The correlation of x(t) and x(t + lag) over all sequences and all t at which both were measured, if there are 30
    such pairs among the test sequences; what differs between sequences counts as memory. Lags are 1 to a quarter of the
    length, 64 of them at most. Of a categorical channel each category counts as a channel. Time reversed has the same.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, or one has fewer than 2 sequences.
    """
    if train.length < 2:
        raise Inapplicable("sequences of a single step have no autocorrelation")
    lags = spread_lags(train.length, LAGS)
    view = View.fit(train, test, synthetic)
    parts = equal_parts([train, test, synthetic], cap, seed)
    numbers = [numeric(view, part) for part in parts]
    by_lag = correlations_apart([lag_sums(values, lags) for values, _ in numbers])

    def apart(k: int, u: Weights, v: Weights) -> ndarray:
        each = by_lag(k, u, v)
        with np.errstate(invalid="ignore"):
            return np.nansum(each, axis=2) / np.isfinite(each).sum(axis=2)

    return figures_beside_floor(parts, apart, MEAN_AND_WORST, seed + 1, numbers[0][1])


@says(
    Figure(
        *("mean", "cross-correlations, mean", "near floor"),
        "How far the correlation of two channels in the same step is from that of real sequences, on average over pairs"
        + COMPARED,
    ),
    Figure("worst", "cross-correlations, worst pair", "near floor", "The same of the worst pair" + COMPARED),
    part="fidelity",
    doing="comparing correlations between channels",
    responds={"worse": ("noise", "permuted channels", "dropped mode", "collapsed")},
)
def cross_correlations(
    train: Sequences, test: Sequences, synthetic: Sequences, cap: int = CAP, seed: int = 0
) -> dict[str, float]:
    """Return how far the correlations between channels in the same step are from those of test sequences.

    Over all steps at which both were measured, if there are 30 such steps among the test sequences. Of a categorical
    channel each category counts as a channel. Blind to the order of steps.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, or one has fewer than 2 sequences.
    """
    view = View.fit(train, test, synthetic)
    parts = equal_parts([train, test, synthetic], cap, seed)
    numbers = [numeric(view, part)[0] for part in parts]
    if numbers[0].shape[2] < 2:
        raise Inapplicable("a single channel has no correlation with another")
    return figures_beside_floor(
        parts, correlations_apart([channel_sums(values) for values in numbers]), MEAN_AND_WORST, seed + 1
    )


def spread_lags(length: int, most: int) -> list[int]:
    """Return lags of 1 to a quarter of the length, evenly spaced, so many at most."""
    longest = max(1, length // 4)
    return sorted({round(lag) for lag in np.linspace(1, longest, min(most, longest)).tolist()})


def numeric(view: View, sequences: Sequences) -> tuple[Float[ndarray, "n length width"], list[str]]:
    """Return channels, scaled; each category of a categorical one as a channel of its own; and their names."""
    values = (sequences.values.astype(np.float64) - view.mean) / view.scale
    parts, names = [], []
    for j, column in enumerate(view.schema.channels):
        own = values[..., j]
        if column.kind == "categorical":
            parts += [np.where(np.isnan(own), np.nan, own == code) for code in range(len(column.categories))]
            names += [f"{column.name} {category}" for category in column.categories]
        else:
            parts.append(own)
            names.append(column.name)
    return np.stack(parts, axis=2), names


@says(
    Figure(
        *("mean", "spectra, mean", "near floor"),
        "How far the power of a channel at a frequency is from that of real sequences, in decibels, on average over "
        "frequencies and channels without gaps" + COMPARED,
    ),
    Figure("worst", "spectra, worst channel", "near floor", "The same of the worst channel" + COMPARED),
    part="fidelity",
    doing="comparing power spectra",
    responds={"worse": ("noise", "shuffled steps", "collapsed"), "blind or worse": ("dropped mode",)},
)
def spectra(train: Sequences, test: Sequences, synthetic: Sequences, cap: int = CAP, seed: int = 0) -> dict[str, float]:
    """Return how far each channel's power spectrum is from that of test sequences: the log-spectral distance.

        mean over frequencies of |10 log10(P / P_test)|,   P = mean over sequences of |Fourier transform|^2

    The level (frequency 0) is left out, and power below a millionth of the channel's average counts as that. A sequence
    counts for a channel if it has no gap in it and does not end early; a channel without 30 such sequences in every
    set, or with categories, is left out. Time reversed has the same spectrum.

    Args:
        train: Real.
        test: Real, of other subjects.
        synthetic: To be judged.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, or one has fewer than 2 sequences.
    """
    if train.length < 2:
        raise Inapplicable("sequences of a single step have no spectrum")
    view = View.fit(train, test, synthetic)
    parts = equal_parts([train, test, synthetic], cap, seed)
    chosen = [j for j, column in enumerate(train.schema.channels) if column.kind != "categorical"]
    scaled = [((part.values - view.mean) / view.scale)[..., chosen] for part in parts]
    whole = [np.isfinite(values.sum(axis=1, keepdims=True)) for values in scaled]
    enough = np.min([own.sum(axis=(0, 1)) for own in whole], axis=0) >= min(FEWEST, len(parts[1]))
    if not enough.any():
        raise Inapplicable(f"no channel has {FEWEST} sequences without a gap in every set")
    power = [
        np.abs(np.fft.rfft(np.nan_to_num(x), axis=1)[:, 1:]) ** 2 * own for x, own in zip(scaled, whole, strict=True)
    ]
    least = 1e-6 * power[1].mean(axis=(0, 1)) + 1e-12

    def spectrum(k: int, weights: Weights) -> ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return 10 * np.log10(np.tensordot(weights, power[k], 1) / np.tensordot(weights, whole[k], 1) + least)

    def apart(k: int, u: Weights, v: Weights) -> ndarray:
        return np.where(enough, np.abs(spectrum(1, u) - spectrum(k, v)).mean(axis=1), np.nan)

    names = [train.schema.channels[j].name for j in chosen]
    return figures_beside_floor(parts, apart, MEAN_AND_WORST, seed + 1, names)


@says(
    Figure(
        *("distance", "sliced Wasserstein distance", "near floor"),
        "How far synthetic sequences are from real ones along random directions, in standard deviations: 0 is the same "
        "law ({n:.0f} test and {n:.0f} synthetic sequences).",
    ),
    part="fidelity",
    doing="comparing along random directions (sliced Wasserstein)",
    responds={
        "worse": ("noise", "dropped mode", "collapsed"),
        "blind or worse": ("shuffled steps", "permuted channels"),
    },
)
def sliced_wasserstein(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    projections: int = PROJECTIONS,
    cap: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Return the mean 1-Wasserstein distance to test sequences along random directions (Bonneel et al. 2015).

    Sequences are compared step by step, statics appended, as judges see them (`features.View`: gaps carried forward,
    with masks); every direction is uniform on the sphere. Cheap and robust, but weak: a random direction mixes all
    columns and steps, and their sum hardly changes when the steps are shuffled.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        projections: Directions.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice, the directions and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, or one has fewer than 2 sequences.
    """
    view = View.fit(train, test, synthetic)
    parts = equal_parts([train, test, synthetic], cap, seed)
    flat = [view.flat(part) for part in parts]
    directions = np.random.default_rng(seed).standard_normal((flat[0].shape[1], projections))
    along = [points @ (directions / np.linalg.norm(directions, axis=0)) for points in flat]
    laws = [of_values([part[:, [j]] for part in along]) for j in range(projections)]

    def apart(k: int, u: Weights, v: Weights) -> ndarray:
        return np.stack([between_means(law[1], law[k], u, v) for law in laws], axis=1)

    return figures_beside_floor(parts, apart, {"distance": np.mean}, seed + 1)
