"""Distances that a bootstrap over subjects can afford: functions of sums over sequences.

A resample is a vector of weights (`measures`), so what is a function of sums over sequences is had for all resamples
with one product of matrices. So is the 1-Wasserstein distance of two laws with distribution functions F and G, cell by
cell,

    W1 = integral of |F - G| = sum over cells of |integral over the cell of F - integral over the cell of G|,

exact where F - G keeps its sign within every cell, and never more than W1; and so is every correlation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..sequences import Sequences
from .measures import Unanswerable, Weights, resamples
from .metric import Interval, beside

CELLS = 128
DRAWS = 300
"""Resamples that an interval is read off."""
FEWEST = 30
"""Pairs of values that a correlation is read off, at least."""

Summed = tuple[Float[ndarray, "_ m"], Float[ndarray, " _"]]
"""Sums and counts of each item."""
Apart = Callable[[int, Weights, Weights], Float[ndarray, "resamples columns"]]


def figures_beside_floor(
    parts: Sequence[Sequences],
    apart: Apart,
    over: Mapping[str, Callable[..., Float[ndarray, " resamples"]]],
    seed: int,
    names: Sequence[str] = (),
) -> dict[str, float]:
    """Return figures of how far synthetic and training sequences (the floor) are from test ones, column by column.

    Args:
        parts: Training, test and synthetic sequences.
        apart: `apart(k, u, v)` returns how far, per column, the sequences of part k, weighted v, are from test ones,
            weighted u; NaN where that cannot be said.
        over: How a figure is made of the columns that can be compared, by its key: `{"mean": np.mean}`.
        seed: Of the bootstrap over subjects.
        names: Of the columns, if what each is by itself is wanted, as `of NAME`.

    Raises:
        Unanswerable: if no column can be compared.
    """
    draws = [resamples(part.subject, seed + k, DRAWS) for k, part in enumerate(parts)]
    once = [np.ones((1, len(part))) for part in parts]
    values = {k: apart(k, once[1], once[k])[0] for k in (2, 0)}
    kept = np.isfinite(values[2]) & np.isfinite(values[0])
    if not kept.any():
        raise Unanswerable("no column has enough values in all three sets to be compared")
    drawn = {k: apart(k, draws[1], draws[k])[:, kept] for k in (2, 0)}
    out = {"n": float(len(parts[1])), "compared": float(kept.sum()), "columns": float(len(kept))}
    for key, figure in over.items():
        out |= beside(key, *(centred(float(figure(values[k][kept])), figure(drawn[k], axis=1)) for k in (2, 0)))
    return out | {f"of {name}": float(value) for name, value in zip(names, values[2], strict=False)}


def centred(value: float, drawn: Float[ndarray, " resamples"]) -> Interval:
    """Return a distance and its 95 % interval, from resamples put back around the value.

    Resamples have noise of their own, which takes them further apart than the samples are.
    """
    low, high = np.nanquantile(drawn, [0.025, 0.975]) + value - np.nanmean(drawn)
    return value, max(0.0, float(low)), float(high)


def cells(values: Sequence[Float[ndarray, "*_"]]) -> Float[ndarray, " borders"]:
    """Return borders between cells that hold about as many values each; all distinct values if they are few."""
    pooled = np.concatenate([part[~np.isnan(part)] for part in values])
    borders = np.unique(pooled)
    if len(borders) <= CELLS + 1:
        return borders
    return np.unique(np.quantile(pooled, np.linspace(0, 1, CELLS + 1)))


def areas(values: Float[ndarray, "n k"], borders: Float[ndarray, " borders"]) -> Float[ndarray, "n cells"]:
    """Return the integral over each cell of how many of an item's values are no greater than x."""
    n, count = len(values), max(0, len(borders) - 1)
    cell = np.searchsorted(borders, values, "right") - 1  # the last value, and NaN, fall into a cell past the end
    cell = np.where(np.isnan(values), count, np.clip(cell, 0, count))
    at = (np.arange(n)[:, None] * (count + 1) + cell).ravel()
    rest = np.where(cell < count, borders[np.minimum(cell + 1, count)] - values, 0.0).ravel()
    within = np.bincount(at, rest, n * (count + 1)).reshape(n, -1)[:, :count]
    held = np.bincount(at, minlength=n * (count + 1)).reshape(n, -1)[:, :count]
    return within + (held.cumsum(axis=1) - held) * np.diff(borders)


def of_values(values: Sequence[Float[ndarray, "_ _"]], scale: float = 1.0) -> list[Summed]:
    """Return, for each set, sums and counts per item whose means lie a 1-Wasserstein distance apart, over a scale."""
    borders = cells(values)
    return [(areas(part, borders) / scale, known(part)) for part in values]


def known(values: Float[ndarray, "n k"]) -> Float[ndarray, " n"]:
    """Return how many values each item has."""
    return (~np.isnan(values)).sum(axis=1).astype(float)


def between_means(
    first: Summed,
    second: Summed,
    u: Float[ndarray, "resamples _"],
    v: Float[ndarray, "resamples _"],
) -> Float[ndarray, " resamples"]:
    """Return the sum of absolute differences of two means, each given as sums and counts per item; NaN of none.

    For what `of_values` returns this is the 1-Wasserstein distance.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [(w @ sums) / (w @ counts)[:, None] for w, (sums, counts) in ((u, first), (v, second))]
    return np.where((u @ first[1] > 0) & (v @ second[1] > 0), np.abs(means[0] - means[1]).sum(axis=1), np.nan)


def pair_sums(a: Float[ndarray, "n t c"], b: Float[ndarray, "n t #c"]) -> Float[ndarray, "n c 6"]:
    """Return, where both are known, how often that is, and the sums over steps of a, b, a^2, b^2 and a b."""
    both = ~np.isnan(a) & ~np.isnan(b)
    a, b = np.where(both, a, 0.0), np.where(both, b, 0.0)
    return np.stack([part.sum(axis=1) for part in (both, a, b, a * a, b * b, a * b)], axis=-1).astype(float)


def lag_sums(values: Float[ndarray, "n length c"], lags: Sequence[int]) -> Float[ndarray, "n c lags 6"]:
    """Return `pair_sums` of every channel with itself so many steps later."""
    return np.stack([pair_sums(values[:, :-lag], values[:, lag:]) for lag in lags], axis=2)


def channel_sums(values: Float[ndarray, "n length c"]) -> Float[ndarray, "n pairs 6"]:
    """Return `pair_sums` of every pair of channels, (0, 1), (0, 2), ..., in the same step."""
    c = values.shape[2]
    return np.concatenate([pair_sums(values[..., i + 1 :], values[..., i : i + 1]) for i in range(c - 1)], axis=1)


def correlation(sums: Float[ndarray, "... 6"], fewest: int = FEWEST) -> Float[ndarray, "*_"]:
    """Return the Pearson correlation of pairs; NaN where they are too few, or one of the two does not vary."""
    n, a, b, aa, bb, ab = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_a, mean_b = a / n, b / n
        spread = [squares / n - mean**2 for squares, mean in ((aa, mean_a), (bb, mean_b))]
        vary = (spread[0] > 1e-10 * aa / n) & (spread[1] > 1e-10 * bb / n)
        return np.where((n >= fewest) & vary, (ab / n - mean_a * mean_b) / np.sqrt(spread[0] * spread[1]), np.nan)


def correlations_apart(sums: Sequence[Float[ndarray, "n *columns 6"]]) -> Apart:
    """Return how far correlations are apart, by the sums of training, test and synthetic sequences.

    Only those that can be read off the test sequences count; one that the others lack, for they never have the two
    together or one of them never varies, counts as 0 there.
    """
    total = [correlation(part.sum(axis=0)) for part in sums]
    wanted = ~np.isnan(total[1])

    def of(k: int, weights: Weights) -> ndarray:
        drawn = np.tensordot(weights, sums[k], 1)
        return np.where(np.isnan(total[k]), 0.0, np.nan_to_num(correlation(drawn, fewest=2)))

    def apart(k: int, u: Weights, v: Weights) -> ndarray:
        return np.where(wanted, np.abs(of(1, u) - of(k, v)), np.nan)

    return apart
