"""What looks wrong in a table that can be read: counted, with the first row, and left as it is.

    far out = over 20 interquartile ranges from the median, over 6 on a scale of logarithms, and fewer than 1 in 10

The logarithms spare laboratory values, whose upper tails are long (glucose of 1,500, troponin of 100); they are asked
only where the lower quartile is positive. Numbers below 0 that are fewer than 1 in 100, such as -1 for a missing one,
are told too. Of a static column one value per id counts. In the 4,000 stays of PhysioNet 2012, as a table, 55 values of
four columns are far out, such as a pH of 95 and temperatures of -17.8 °C.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..sequences import Column
from .columns import same_within
from .grid import Times

RANGES, LOG_RANGES = 20, 6
RARE, RARELY_NEGATIVE = 0.1, 0.01
STEADY = 0.95
"""A column that is constant within so many of the ids was probably meant to be static."""


def doubts(
    cells: Mapping[str, pd.Series],
    read: Mapping[str, tuple[Column, Float[ndarray, " rows"]]],
    statics: Collection[str],
    sequence: Int[ndarray, " rows"],
    first: Int[ndarray, " n"],
    ids: pd.Series,
    times: Times,
) -> Iterator[str]:
    """Say what looks wrong, in a line each; rows are counted from 1.

    Args:
        cells: Columns as written.
        read: What each is, and its numbers or codes.
        statics: Which are constant within every id.
        sequence: To which sequence each row belongs.
        first: First row of each sequence.
        ids: Column of ids, as written.
        times: As read.
    """
    yield from _early(times, sequence, len(first))
    for name, (column, numbers) in read.items():
        if column.categories:
            yield from _alike(column, numbers)
        if column.kind == "continuous":
            yield from _far(column, numbers, first if name in statics else np.arange(len(numbers)))
        if name not in statics:
            yield from _nearly_static(name, cells[name], ~np.isnan(numbers), sequence, first, ids)


def far_out(numbers: Float[ndarray, " k"]) -> Bool[ndarray, " k"]:
    """Say which numbers can hardly be meant; see the module for the rule. Missing ones are not."""
    measured = numbers[~np.isnan(numbers)]
    nobody = np.zeros(len(numbers), dtype=bool)
    if not len(measured):
        return nobody
    far = _beyond(numbers, measured, RANGES)
    if np.quantile(measured, 0.25) > 0:
        with np.errstate(invalid="ignore", divide="ignore"):
            far &= (numbers <= 0) | _beyond(np.log(numbers), np.log(measured[measured > 0]), LOG_RANGES)
    return far if far.sum() < RARE * len(measured) else nobody


def _beyond(numbers: Float[ndarray, " k"], measured: Float[ndarray, " m"], ranges: float) -> Bool[ndarray, " k"]:
    low, middle, high = np.quantile(measured, [0.25, 0.5, 0.75])
    return (np.abs(numbers - middle) > ranges * (high - low)) & bool(high > low)


def _far(column: Column, numbers: Float[ndarray, " rows"], rows: Int[ndarray, " k"]) -> Iterator[str]:
    negative = rows[numbers[rows] < 0]
    if 0 < len(negative) < RARELY_NEGATIVE * np.isfinite(numbers[rows]).sum():
        at = f"{_first(negative)}{numbers[negative[0]]:g} in row {negative[0] + 1}"
        yield f"{column.name} has {_count(len(negative), 'value')} below 0 ({at}), where the others are not"
    far = rows[far_out(numbers[rows])]
    if len(far):
        what = f"{_count(len(far), 'value')} far out ({_first(far)}{numbers[far[0]]:g} in row {far[0] + 1}"
        yield f"{column.name} has {what}; median {np.nanmedian(numbers[rows]):g})"


def _alike(column: Column, codes: Float[ndarray, " rows"]) -> Iterator[str]:
    """Name categories that differ only in case and blanks."""
    plain: dict[str, list[int]] = {}
    for code, label in enumerate(column.categories):
        plain.setdefault("".join(str(label).split()).casefold(), []).append(code)
    counts = np.bincount(codes[~np.isnan(codes)].astype(int), minlength=len(column.categories)).tolist()
    for same in (same for same in plain.values() if len(same) > 1):
        rare, *others = sorted(same, key=counts.__getitem__)
        row = int((codes == rare).argmax()) + 1
        kept = ", ".join(f"{column.categories[code]!r} ({_count(counts[code], 'row')})" for code in others)
        what = f"{column.categories[rare]!r} ({_count(counts[rare], 'row')}, first in row {row})"
        yield f"{column.name} has {what} beside {kept}, which differ only in case or blanks: each is a category"


def _early(times: Times, sequence: Int[ndarray, " rows"], n: int) -> Iterator[str]:
    """Count negative times, if most ids begin at 0 or later."""
    early = np.flatnonzero(times.values < 0)
    where = len(np.unique(sequence[early]))
    if times.kind != "datetime" and 0 < where < n / 2:
        at = f"{_first(early)}{times.values[early[0]] / times.scale('h'):g} in row {early[0] + 1}"
        what = f"{_count(len(early), 'time')} before 0 ({at})"
        yield f"{times.name} has {what}, where {n - where:,} of {n:,} ids begin at 0 or later"


def _nearly_static(
    name: str,
    cells: pd.Series,
    known: Bool[ndarray, " rows"],
    sequence: Int[ndarray, " rows"],
    first: Int[ndarray, " n"],
    ids: pd.Series,
) -> Iterator[str]:
    """Tell of a column that is the same in all rows of nearly all ids that have it and several rows."""
    asked, changes = (np.zeros(len(first), dtype=bool) for _ in range(2))
    asked[sequence[known]] = True
    asked &= np.bincount(sequence) > 1
    changes[sequence[~same_within(cells, sequence, first)]] = True
    odd = np.flatnonzero(changes & asked)
    if 0 < len(odd) <= (1 - STEADY) * asked.sum():
        rows = np.flatnonzero(sequence == odd[0])
        codes, _ = pd.factorize(cells.iloc[rows], use_na_sentinel=False)
        row = rows[(codes != np.bincount(codes).argmax()).argmax()]
        where = f"{_first(odd)}{ids.name} {ids.iloc[row]}, row {row + 1}"
        yield f"{name} changes within {len(odd):,} of {asked.sum():,} ids ({where}): taken as a channel"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _first(found: Int[ndarray, " k"]) -> str:
    return "first " if len(found) > 1 else ""
