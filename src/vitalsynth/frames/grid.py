"""From times as written in a table to steps on an even grid.

    step of a row = (time - start) / step

Numbers and timedeltas start at the smallest time of the whole table; dates at the first row of each id, since a
calendar date identifies a person. Inside, numbers stay as they are and all else is in nanoseconds, which is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from ..sequences import Column, Schema
from .columns import column_error
from .unreadable import Unreadable

NANOSECONDS = {"d": 86_400e9, "h": 3_600e9, "min": 60e9, "s": 1e9, "ms": 1e6, "": 3_600e9}
FIRST_DATE = np.datetime64("2100-01-01", "ns")  # dates are written from here
LONGEST = 20  # a grid so many times longer than the longest id is a mistaken one
OFF_GRID = 0.01  # of a step
ROUND_HOURS = (1 / 3600, 1 / 60, 1 / 12, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0, 168.0, 720.0, 8760.0)
EXACT = 1e-9  # gaps between events are read to so much of a unit
LEAST = 1e-6  # of a unit, between events whose times keep to no steps

TimeKind = Literal["number", "timedelta", "datetime"]


@dataclass(frozen=True, eq=False)
class Times:
    """The time column as read.

    Args:
        name: Of the column.
        kind: How it was written.
        values: Numbers, or nanoseconds.
    """

    name: str
    kind: TimeKind
    values: Shaped[ndarray, " rows"]

    def scale(self, unit: str) -> float:
        """What one unit of time is in `values`."""
        return 1.0 if self.kind == "number" else NANOSECONDS[unit]


@dataclass(frozen=True, eq=False)
class Grid:
    """Where each row lies.

    Args:
        index: Step of each row.
        start: Time of step 0, in the unit of `step`.
        step: Duration of a step: hours, or the unit of the numbers.
    """

    index: Int[ndarray, " rows"]
    start: float
    step: float


def read_times(cells: pd.Series, name: str) -> Times:
    """Read a time column: numbers, timedeltas, datetimes, or text of one of these.

    Raises:
        ValueError: if a cell is missing or cannot be read.
    """
    missing = cells.isna().to_numpy()
    if missing.any():
        raise Unreadable(np.flatnonzero(missing), lambda row: f"column {name!r} is missing", "every row needs a time")
    if pd.api.types.is_numeric_dtype(cells.dtype):
        values = cells.to_numpy(np.float64)
        if len(rows := np.flatnonzero(~np.isfinite(values))):
            raise Unreadable(rows, lambda row: f"column {name!r} is infinite", "every row needs a time")
        return Times(name, "number", values)
    if cells.dtype.kind == "m":
        return Times(name, "timedelta", cells.astype("timedelta64[ns]").to_numpy().astype(np.int64))
    if pd.api.types.is_datetime64_any_dtype(cells.dtype):
        return Times(
            name, "datetime", pd.to_datetime(cells, utc=True).astype("datetime64[ns, UTC]").astype(np.int64).to_numpy()
        )
    return read_times(_parse(cells, name), name)


def _parse(cells: pd.Series, name: str) -> pd.Series:
    """Read texts as numbers, durations or dates, whichever fits the most."""
    text = cells.astype(str).str.strip()
    clock = text.str.replace(r"^(\d+:\d\d)$", r"\1:00", regex=True)  # 07:30 is hours and minutes
    tries: tuple[Any, ...] = (
        pd.to_numeric(text, errors="coerce"),
        pd.to_timedelta(clock, errors="coerce"),
        pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601"),
    )
    parsed = min(tries, key=lambda attempt: attempt.isna().sum())
    if len(rows := np.flatnonzero(parsed.isna().to_numpy())):
        advice = "allowed are numbers, durations (07:30:00) and dates (2024-05-01 07:30)"
        raise Unreadable(rows, lambda row: f"column {name!r} is {text.iloc[row]!r}, which is no time", advice)
    return parsed


def infer_grid(times: Times, sequence: Int[ndarray, " rows"], step: float | None) -> Grid:
    """Find the even grid that rows lie on, or bin them by a given step.

    Args:
        times: As read.
        sequence: To which sequence each row belongs.
        step: Duration of a step, in hours or the unit of the numbers; times are then binned. None finds the greatest
            duration of which all times are multiples.

    Raises:
        ValueError: if no grid of sensible length holds all rows.
    """
    scale = times.scale("h")
    offsets, start = _offsets(times, sequence, scale)
    if step is not None:
        if not (np.isfinite(step) and step > 0):
            raise ValueError(f"step must be greater than 0, got {step}")
        return Grid(np.floor(offsets / (step * scale) + 1e-9).astype(np.int64), start, float(step))
    common = _common_duration(offsets)
    most_rows = int(np.bincount(sequence).max())
    if common is None or offsets.max() / common >= LONGEST * most_rows:
        what = (
            "lie on no even grid" if common is None else f"fit only a grid of {offsets.max() / common + 1:,.0f} steps"
        )
        step = _advised(offsets / scale, sequence, LONGEST * most_rows, times.kind)
        advice = (
            f"step={step:.4g} (--source.step {step:.4g}) makes steps with the mean of their rows, "
            "events=True (--source.events true) keeps each row at its own time"
        )
        raise column_error(times.name, f"has times that {what}, for at most {most_rows} rows an id; {advice}")
    return Grid(np.round(offsets / common).astype(np.int64), start, float(common / scale) if offsets.any() else 1.0)


def _advised(offsets: Float[ndarray, " rows"], sequence: Int[ndarray, " rows"], most: int, kind: TimeKind) -> float:
    """Return a round step of about the time from row to row that makes at most so many steps."""
    order = np.lexsort((offsets, sequence))
    gaps = np.diff(offsets[order])[np.diff(sequence[order]) == 0]
    gaps = gaps[gaps > 0]
    least = float(offsets.max()) / most
    usual = max(float(np.median(gaps)) if len(gaps) else least, least)
    if kind == "number":
        tens = 10.0 ** np.floor(np.log10(usual))
        rounds = [tens * digit for digit in (1, 2, 5, 10)]
    else:
        rounds = [*ROUND_HOURS, usual]
    below = [step for step in rounds if least <= step <= usual]
    return max(below) if below else min(step for step in rounds if step >= usual)


def known_grid(times: Times, sequence: Int[ndarray, " rows"], schema: Schema, step: float | None) -> Grid:
    """Place rows on the grid of a schema; bin them if its own step is given.

    Raises:
        ValueError: if times are written in another way, lie off the grid or before its start, or `step` is another.
    """
    if times.kind != schema.time_kind:
        raise column_error(times.name, f"holds a {times.kind}; the schema expects a {schema.time_kind}")
    if step is not None and not np.isclose(step, schema.step):
        raise ValueError(f"step is {step}, but the schema's is {schema.step}; leave step out, or give {schema.step}")
    scale = times.scale(schema.step_unit)
    offsets, start = _offsets(times, sequence, scale)
    position = (offsets / scale + start - schema.start) / schema.step
    index = np.floor(position + 1e-9) if step is not None else np.round(position)
    off = (np.abs(position - index) > OFF_GRID) & (step is None)
    for bad, what in ((off, "lies between the steps"), (index < 0, "lies before the start")):
        if bad.any():
            row = int(bad.argmax())
            grid = f"from {schema.start:g} in steps of {schema.step:g} {schema.step_unit}".rstrip()
            raise column_error(times.name, f"{what} of the schema ({grid})", row + 1)
    return Grid(index.astype(np.int64), schema.start, schema.step)


def event_grid(
    times: Times, sequence: Int[ndarray, " rows"], schema: Schema | None
) -> tuple[Grid, Float[ndarray, " rows"]]:
    """Make every row a step; return where each lies, and the time since the row before, of the first since the start.

    Args:
        times: As read.
        sequence: To which sequence each row belongs.
        schema: Says where time starts, if that is known.

    Raises:
        ValueError: if a time lies before the start.
    """
    scale = times.scale(schema.step_unit if schema else "h")
    offsets, start = _offsets(times, sequence, scale)
    begin = start if schema is None else schema.start
    elapsed = offsets / scale + (start - begin)
    if (early := elapsed < -1e-9).any():
        raise column_error(times.name, f"lies before the start of the schema ({begin:g})", int(early.argmax()) + 1)
    order = np.lexsort((elapsed, sequence))
    new = np.diff(sequence[order], prepend=-1) != 0
    index, gaps = np.empty(len(order), dtype=np.int64), np.empty(len(order))
    place = np.arange(len(order))
    index[order] = place - np.maximum.accumulate(np.where(new, place, 0))
    gaps[order] = np.where(new, elapsed[order], np.diff(elapsed[order], prepend=0.0))
    return Grid(index, begin, 1.0), np.round(gaps, 9)


def event_times(gaps: Float[ndarray, "n length"], column: Column) -> Float[ndarray, "n length"]:
    """Undo `event_grid`: times since the start, each later than the one before, as a row per time demands.

    A synthetic gap may be 0, which no two rows of a table have between them; it becomes the least time that is written.
    """
    gaps = np.nan_to_num(gaps)
    behind = gaps[:, 1:]  # the first is the time since the start, which may be 0
    behind[behind < EXACT] = column.resolution or LEAST
    return np.cumsum(gaps, axis=1)


def write_times(elapsed: Shaped[ndarray, " rows"], schema: Schema) -> ndarray:
    """Undo the reading: times as numbers, timedeltas or datetimes, from what has passed since the start."""
    units = schema.start + elapsed
    if schema.time_kind == "number":
        if np.equal(np.floor(units), units).all():
            return units.astype(np.int64)
        return np.round(units, 9) if schema.step > 1e-6 else units
    durations = np.round(units * NANOSECONDS[schema.step_unit]).astype("timedelta64[ns]")
    return durations if schema.time_kind == "timedelta" else FIRST_DATE + durations


def as_schema(schema: Schema, times: Times, grid: Grid) -> Schema:
    """Write into a schema how time is counted."""
    unit = "" if times.kind == "number" else "h"
    return replace(schema, step=grid.step, step_unit=unit, time_kind=times.kind, start=grid.start)


def _offsets(times: Times, sequence: Int[ndarray, " rows"], scale: float) -> tuple[Shaped[ndarray, " rows"], float]:
    """Return times since the start, and the start in units of time."""
    if times.kind == "datetime":
        first = np.full(sequence.max() + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, sequence, times.values)
        return times.values - first[sequence], 0.0
    start = times.values.min()
    return times.values - start, float(start / scale)


def _common_duration(offsets: Shaped[ndarray, " rows"]) -> float | None:
    """Return the greatest duration of which all offsets are multiples; None if there is none within tolerance."""
    distinct = np.unique(offsets)[1:]
    if not len(distinct):
        return 1.0
    if distinct.dtype.kind == "i":
        return float(np.gcd.reduce(distinct))
    for decimals in range(7):
        scaled = distinct * 10.0**decimals
        whole = np.round(scaled)
        if whole[0] >= 1 and whole[-1] < 2**53 and (np.abs(scaled - whole) <= 1e-6 + 1e-12 * scaled).all():
            return float(np.gcd.reduce(whole.astype(np.int64))) / 10.0**decimals
    smallest = np.diff(distinct, prepend=0.0).min()  # a third of an hour is no decimal
    for parts in range(1, 21):
        count = distinct / (smallest / parts)
        if (np.abs(count - np.round(count)) <= OFF_GRID).all():
            return float(distinct[-1] / np.round(count[-1]))
    return None
