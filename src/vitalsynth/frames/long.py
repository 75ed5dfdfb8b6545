"""Long tables to `Sequences` and back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from ..sequences import Column, Schema, Sequences, nearest, rules
from . import columns
from .columns import column_error
from .doubts import doubts
from .grid import Grid, Times, as_schema, event_grid, event_times, infer_grid, known_grid, read_times, write_times
from .unreadable import Gathering, Unreadable, with_lines

log = logging.getLogger(__name__)

SUBJECT = "subject"
GAP = "gap"
MOST_STEPS = 1 << 30  # of all sequences together: 8 GB a channel


@contextmanager
def prefixed(origin: str, frame: pd.DataFrame | None = None) -> Iterator[None]:
    """Put the name of the file or table before the message of a ValueError, and beside its rows their lines in it."""
    try:
        yield
    except ValueError as error:
        message = str(error) if frame is None else with_lines(str(error), frame.index)
        raise ValueError(f"{origin}: {message}") from error


def from_frame(
    frame: pd.DataFrame,
    *,
    schema: Schema | None = None,
    id: str = "id",
    time: str = "time",
    subject: str | None = None,
    step: float | None = None,
    events: bool = False,
    categorical: Sequence[str] = (),
    origin: str = "table",
) -> Sequences:
    """Read a long table, a row per (id, time), rows in any order.

    What a column is, is inferred: 0/1 or true/false is binary, two texts are binary with categories, more texts (100
    at most) are categorical, all else is a measurement. Columns constant within every id are static. Sequences keep
    the order in which their ids first appear; they end at their last row.

    Args:
        frame: The table.
        schema: What the columns are, if that is known; `id`, `time` and `categorical` then do not matter.
        id: Column that says to which sequence a row belongs.
        time: Time column: numbers, timedeltas or datetimes (the last two counted in hours).
        subject: Column that says whose sequence it is, where one subject has several; the id itself by default.
        step: Duration of a step. Times are then binned; numbers averaged in a bin, and rounded to the steps in which
            the column was recorded; of the others the last is taken. By default the greatest duration of which all
            times are multiples.
        events: Keep times as they are: each row of an id is a step, and a channel `gap` has the time since the one
            before, in hours or the unit of the numbers.
        categorical: Columns whose numbers are names of categories.
        origin: Begins every error message.

    What only looks wrong in a table without a schema is logged as a warning, and left as it is, see `doubts`.

    Raises:
        ValueError: naming row (counted from 1) and column, if anything is wrong with the table.
    """
    with prefixed(origin, frame):
        frame = frame.rename(columns=str)
        if schema is not None:
            id, time = schema.id, schema.time
            known = [column.name for column in schema.columns]
            candidates = [name for name in (schema.subject, SUBJECT) if name in frame and name not in known]
            subject = subject or (candidates[0] if candidates else None)
            events = schema.gap is not None
        if events and step is not None:
            raise ValueError("events are kept at their own times, or binned by step; give one of the two")
        gap = (schema.gap if schema else _free(GAP, frame)) if events else None
        table = _Table.read(frame, id, time, subject, step, gap, schema, list(categorical))
        sequences = table.sequences(schema)
    if schema is None:
        for doubt in table.doubts(sequences.schema, pd.Series(frame[id])):
            log.warning("%s: %s", origin, with_lines(doubt, frame.index))
    return sequences


@dataclass(frozen=True, eq=False)
class _Table:
    """A table whose rows have been placed.

    Args:
        cells: The columns that hold values.
        columns: What each of these is, and its numbers or codes.
        sequence: To which sequence each row belongs.
        first: First row of each sequence.
        times: Of each row.
        grid: At which step it lies.
        binned: Whether several rows may lie at one step.
        gap: The column that holds the time since the row before, if rows are events.
        subject: Whose sequence each is.
        time_of: Writes into a schema how id and time are written.
        order: Rows from early to late.
    """

    cells: dict[str, pd.Series]
    columns: dict[str, tuple[Column, ndarray]]
    sequence: Int[ndarray, " rows"]
    first: Int[ndarray, " n"]
    times: Times
    grid: Grid
    binned: bool
    gap: str | None
    subject: Shaped[ndarray, " n"]
    time_of: Callable[[Schema], Schema]
    order: Int[ndarray, " rows"]

    @classmethod
    def read(
        cls,
        frame: pd.DataFrame,
        id: str,
        time: str,
        subject: str | None,
        step: float | None,
        gap: str | None,
        schema: Schema | None,
        categorical: list[str],
    ) -> _Table:
        own = [name for name in (id, time, subject) if name is not None]
        _check_columns(frame, own)
        cells: dict[str, Any] = {str(name): column for name, column in frame.items()}
        others = {name: column for name, column in cells.items() if name not in own}
        _check_names(others, categorical, schema)
        gathering = Gathering()
        groups = gathering(_groups, cells[id], id)
        times = gathering(read_times, cells[time], time)
        if groups is not None and times is not None:
            gathering(_refuse_duplicates, frame, id, time, groups[0], times.values)
        known = {} if schema is None else {column.name: column for column in schema.columns}
        found = {
            name: gathering(_one_column, column, name, known.get(name), name in categorical)
            for name, column in others.items()
        }
        gathering.settle()
        assert groups is not None and times is not None
        sequence, first, ids = groups
        read = {name: column for name, column in found.items() if column is not None}
        if gap is not None:
            grid, gaps = event_grid(times, sequence, schema)
            others[gap] = pd.Series(gaps)
            read[gap] = _one_column(others[gap], gap, known.get(gap))
        else:
            grid = infer_grid(times, sequence, step) if schema is None else known_grid(times, sequence, schema, step)
        binned = step is not None
        if gap is None and not binned:
            _refuse_duplicates(frame, id, time, sequence, grid.index)
        who = ids if subject is None else _subjects(cells[subject], subject, sequence, first)
        time_of = lambda schema: as_schema(  # noqa: E731
            replace(schema, id=id, time=time, subject=subject, gap=gap), times, grid
        )
        order = np.argsort(times.values, kind="stable")
        return cls(others, read, sequence, first, times, grid, binned, gap, who, time_of, order)

    def sequences(self, schema: Schema | None) -> Sequences:
        """Place what was read."""
        if schema is not None:
            read = [self.columns[column.name] for column in schema.columns]
            channels, statics = read[: len(schema.channels)], read[len(schema.channels) :]
            self._check_constant([column.name for column in schema.statics])
        else:
            channels, statics = self._infer()
        values = self._values(channels)
        if schema is None:
            schema = self.time_of(
                Schema(tuple(column for column, _ in channels), tuple(column for column, _ in statics))
            )
        lengths = np.zeros(len(self.first), dtype=np.int64)
        np.maximum.at(lengths, self.sequence, self.grid.index + 1)
        static = np.zeros((len(self.first), len(statics)))
        for j, (_, numbers) in enumerate(statics):
            static[:, j] = numbers[self.first]
        return Sequences(values, schema, lengths, static, self.subject)

    def doubts(self, schema: Schema, ids: pd.Series) -> Iterator[str]:
        """Say what looks wrong, see `doubts`."""
        read = {name: column for name, column in self.columns.items() if name != self.gap}
        statics = [column.name for column in schema.statics]
        return doubts(self.cells, read, statics, self.sequence, self.first, ids, self.times)

    def _infer(self) -> tuple[list[tuple[Column, ndarray]], list[tuple[Column, ndarray]]]:
        several = len(self.first) < len(self.sequence)
        channels: list[tuple[Column, ndarray]] = []
        statics: list[tuple[Column, ndarray]] = []
        for name, (column, numbers) in self.columns.items():
            if name != self.gap and several and columns.same_within(self.cells[name], self.sequence, self.first).all():
                if column.kind == "continuous":  # one value a sequence, however many rows repeat it
                    column = columns.measurement(numbers[self.first], name)
                statics.append((column, numbers))
            else:
                channels.append((column, numbers))
        if not channels:
            raise ValueError(
                f"no column changes with time; the columns are {', '.join(self.columns) or 'only id and time'}"
            )
        return channels, statics

    def _values(self, channels: list[tuple[Column, ndarray]]) -> Float[ndarray, "n length channels"]:
        n, length = len(self.first), int(self.grid.index.max()) + 1
        if n * length > MOST_STEPS:
            raise ValueError(
                f"step={self.grid.step:g} makes {n:,} sequences of {length:,} steps, too many; give a larger step"
            )
        cell = self.sequence * length + self.grid.index
        values = np.full((n * length, len(channels)), np.nan)
        for j, (column, numbers) in enumerate(channels):
            measured = ~np.isnan(numbers)
            if self.binned and column.kind == "continuous":
                count = np.bincount(cell[measured], minlength=n * length)
                total = np.bincount(cell[measured], numbers[measured], minlength=n * length)
                mean = total / np.maximum(count, 1)
                values[:, j] = np.where(count > 1, rules.on_grid(mean, column), np.where(count, mean, np.nan))
            else:
                rows = self.order[measured[self.order]]
                values[cell[rows], j] = numbers[rows]  # of several, numpy keeps the last
        return values.reshape(n, length, len(channels))

    def _check_constant(self, names: list[str]) -> None:
        for name in names:
            same = columns.same_within(self.cells[name], self.sequence, self.first)
            if not same.all():
                raise column_error(name, "is static in the schema, but changes within an id", int((~same).argmax()) + 1)


def _check_columns(frame: pd.DataFrame, own: list[str]) -> None:
    names = list(frame.columns)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"column {twice[0]!r} is there twice; rename one")
    for name in own:
        if name not in names:
            raise ValueError(f"no column {name!r}; {nearest(name, names)}")
    if own[0] == own[1]:
        raise ValueError(f"id and time are both {own[0]!r}; two different columns are needed")
    if not len(frame):
        raise ValueError("the table is empty; at least one row is needed")


def _check_names(cells: Mapping[str, Any], categorical: list[str], schema: Schema | None) -> None:
    names = list(cells)
    if unknown := [name for name in categorical if name not in names]:
        raise ValueError(f"no column {unknown[0]!r} to take as categorical; {nearest(unknown[0], names)}")
    if schema is None:
        return
    known = [column.name for column in schema.columns]
    if missing := [name for name in known if name not in names and name != schema.gap]:
        raise ValueError(f"no column {missing[0]!r}, which the schema has; {nearest(missing[0], names)}")
    if more := [name for name in names if name not in known]:
        raise ValueError(f"column {more[0]!r} is not in the schema; drop it; the schema has {', '.join(known)}")


def _one_column(
    cells: pd.Series, name: str, known: Column | None, categorical: bool = False
) -> tuple[Column, Float[ndarray, " rows"]]:
    return columns.infer(cells, name, categorical) if known is None else (known, columns.read(cells, known))


def _groups(cells: pd.Series, name: str) -> tuple[Int[ndarray, " rows"], Int[ndarray, " n"], Shaped[ndarray, " n"]]:
    """Return the group of each row, the first row of each group, and the groups' labels."""
    blank = cells.isna().to_numpy()
    if cells.dtype.kind not in "biuf":
        blank = blank | (cells.astype(str).str.strip() == "").fillna(True).to_numpy(dtype=bool)
    if blank.any():
        raise Unreadable(np.flatnonzero(blank), lambda row: f"column {name!r} is missing", "every row needs one")
    group, labels = pd.factorize(cells)
    first = np.full(len(labels), len(cells), dtype=np.int64)
    np.minimum.at(first, group, np.arange(len(cells)))
    return group.astype(np.int64), first, _plain(labels)


def _plain(labels: Any) -> Shaped[ndarray, " n"]:
    array = np.asarray(labels)
    if array.dtype.kind == "f" and np.equal(np.floor(array), array).all():
        return array.astype(np.int64)
    if array.dtype.kind in "iuf":
        return array
    if all(isinstance(label, int | np.integer) for label in labels):  # nullable integers
        return np.array([int(label) for label in labels])
    return np.array([str(label) for label in labels])


def _subjects(cells: pd.Series, name: str, sequence: ndarray, first: Int[ndarray, " n"]) -> Shaped[ndarray, " n"]:
    group, _, labels = _groups(cells, name)
    same = group == group[first][sequence]
    if not same.all():
        raise column_error(name, "changes within an id; a sequence has one subject", int((~same).argmax()) + 1)
    return labels[group[first]]


def _refuse_duplicates(frame: pd.DataFrame, id: str, time: str, sequence: ndarray, when: ndarray) -> None:
    placed = pd.DataFrame({"sequence": sequence, "when": when})
    twice = np.flatnonzero(placed.duplicated().to_numpy())

    def say(row: int) -> str:
        earlier = int(np.flatnonzero((sequence == sequence[row]) & (when == when[row]))[0]) + 1
        at = f"{id} {frame[id].iloc[row]}, {time} {frame[time].iloc[row]}"
        return f"column {time!r} repeats row {earlier} ({at})"

    if len(twice):
        raise Unreadable(twice, say, f"one row per ({id}, {time}) is allowed")


def to_frame(sequences: Sequences, first_id: int | None = None) -> pd.DataFrame:
    """Write a long table in the form of the one the schema was read from.

    Args:
        sequences: What to write; every step becomes a row, measured or not, until the sequence ends.
        first_id: Number the sequences from here on. By default the id is the subject, or, where one subject has
            several, a number from 0 on.

    Returns:
        Columns id, time, channels, statics; a column `subject` follows the id where that is not the subject.

    Raises:
        ValueError: if a column has the name of the id or the time column.
    """
    schema = sequences.schema
    taken = {schema.id, schema.time} | ({schema.subject} if schema.subject else set())
    if clash := taken & {column.name for column in schema.columns}:
        raise ValueError(f"column {min(clash)!r} has the name of the id, time or subject column; rename it")
    sequence, index = np.nonzero(sequences.alive)
    unique = len(np.unique(sequences.subject)) == len(sequences)
    own = first_id is None and unique
    ids = sequences.subject if own else (first_id or 0) + np.arange(len(sequences))
    elapsed = schema.step * np.arange(sequences.length)[None].repeat(len(sequences), axis=0)
    if schema.gap is not None:
        elapsed = event_times(sequences.channel(schema.gap), schema.channels[schema.channel_index(schema.gap)])
    data: dict[str, Any] = {schema.id: _ids(ids)[sequence], schema.time: write_times(elapsed[sequence, index], schema)}
    if (name := subject_column(sequences)) is not None:
        data[name] = _ids(sequences.subject)[sequence]
    for j, column in enumerate(schema.channels):
        if column.name == schema.gap:
            continue
        data[column.name] = cells_of(sequences.values[sequence, index, j], column)
    for j, column in enumerate(schema.statics):
        data[column.name] = cells_of(sequences.static[:, j], column).take(sequence)
    return pd.DataFrame({name: pd.Series(cells).reset_index(drop=True) for name, cells in data.items()})


def subject_column(sequences: Sequences) -> str | None:
    """Name the column that `to_frame` writes subjects to; None if the ids are the subjects."""
    schema = sequences.schema
    if schema.subject is not None:
        return schema.subject
    if len(np.unique(sequences.subject)) == len(sequences):
        return None
    return free_name(SUBJECT, schema)


def free_name(name: str, schema: Schema) -> str:
    """Return a name, with underscores behind it if a column has it."""
    return _free(name, {schema.id, schema.time, *(column.name for column in schema.columns)})


def _free(name: str, taken: Container[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _ids(labels: Shaped[ndarray, " n"]) -> pd.Series:
    series = pd.Series(labels)
    return series.astype("str") if series.dtype.kind not in "iuf" else series


def cells_of(values: Float[ndarray, " rows"], column: Column) -> pd.Series:
    """Turn numbers and codes into cells: labels for categories, whole numbers as such, NA where missing."""
    if column.categories:
        codes = np.where(np.isnan(values), -1, values).astype(np.int64)
        return pd.Series(_label_array(column)).reindex(codes).reset_index(drop=True)
    if column.kind == "binary" or (column.resolution == 1 and _whole(values)):
        return pd.Series(values).astype("Int64")
    return pd.Series(values)


def _label_array(column: Column) -> pd.Series:
    labels = list(column.categories)
    if all(isinstance(label, int) and not isinstance(label, bool) for label in labels):
        return pd.Series(labels, dtype="Int64")
    if all(isinstance(label, int | float) and not isinstance(label, bool) for label in labels):
        return pd.Series(labels, dtype="float64")
    return pd.Series([str(label) for label in labels], dtype="str")


def _whole(values: Float[ndarray, " rows"]) -> bool:
    """Whether integers hold exactly the same values; they have no -0, and floats skip integers above 2^53."""
    measured = values[~np.isnan(values)]
    negative_zero = (measured == 0) & np.signbit(measured)
    return bool(((measured == np.round(measured)) & (np.abs(measured) < 2**53) & ~negative_zero).all())
