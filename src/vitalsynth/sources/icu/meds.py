"""Event tables of MEDS, the Medical Event Data Standard (Arnrich et al. 2024): one row an event, in Parquet.

    subject_id, time, code, numeric_value          data/**/*.parquet; without a time, an event is static
    code, description, parent_codes                metadata/codes.parquet

A subject lies whole in one file, so that file by file is read in memory that depends on the largest. What becomes a
channel and what a static column, the user says, or the most frequent codes.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ... import frames, storage
from ...frames import Writer, columns
from ...frames.grid import FIRST_DATE
from ...sequences import Column, Schema, Sequences, nearest, one_line
from ..faults import Faults, Repair, first_of_each
from ..grid import Grid, steps
from ..tables import read_csv

FORM = "meds"
LICENCE = "that of the data set the events were taken from"
FIRST_ID = 900_000_001
PRESENCE = ("absent", "present")
ITEMS = ("code", "name", "unit", "kind")
KINDS = ("continuous", "event", "static")
EVENT = pa.schema(
    [("subject_id", pa.int64()), ("time", pa.timestamp("us")), ("code", pa.string()), ("numeric_value", pa.float32())]
)
CODES = pa.schema([("code", pa.string()), ("description", pa.string()), ("parent_codes", pa.list_(pa.string()))])
SPLITS = pa.schema([("subject_id", pa.int64()), ("split", pa.string())])
VERSION = "0.4.1"  # of the standard that is written; what was written to earlier ones is read, too


@dataclass(frozen=True)
class _Item:
    """What becomes one column: codes that mean the same, or, of a static without values, that exclude each other."""

    name: str
    kind: str
    codes: list[str] = field(default_factory=list)
    unit: str = ""


def meds(
    path: str,
    items: str | None = None,
    start: str = "",
    hours: float = 48.0,
    step: float = 1.0,
    most: int = 20,
    repair: Repair = False,
) -> Sequences:
    """A data set of MEDS (Medical Event Data Standard): events with codes and values, of any hospital.

    By default the most frequent codes with values become channels, and all events without a time static columns: a
    number, or the code itself where codes without values share what stands before their last `//`, as GENDER//F and
    GENDER//M do. A channel holds the mean of a step. Events before the start or after the hours are not read. The
    licence is that of the data set the events were taken from; MEDS sets none.

    Args:
        path: Folder that holds data/ with Parquet files and, where there is one, metadata/.
        items: CSV with the columns code, name, unit, kind, a row a code. Kinds are continuous (a channel of numbers),
            event (a channel that says whether it happened in a step) and static (the first number of the subject, or
            which of several codes it has, or whether it has the code). Codes of one name make one column.
        start: Code of the event at which a sequence begins, as of an admission to intensive care; a subject has a
            sequence for each, up to the next, and the code becomes a channel. By default a subject has one sequence,
            which begins at the first event of any channel.
        hours: Longest length of a sequence.
        step: Hours of a step.
        most: How many of the most frequent codes become channels, if items are not given.
        repair: Leave out what is wrong (repeated events, unknown codes, impossible values), and convert what is in
            another unit, with a warning, instead of refusing it.
    """
    if not (0 < step <= hours < np.inf):
        raise ValueError(f"step must be greater than 0 and at most hours; got step={step} and hours={hours}")
    if most < 1:
        raise ValueError(f"most must be at least 1, got {most}")
    where, faults = Path(path), Faults(path, repair)
    shards = _shards(where)
    use = _Use.of(shards)
    chosen = _asked(Path(items), use, faults) if items else use.frequent(most)
    if start and start not in use.timed:
        raise ValueError(f"{path}: no event has the code {start!r}; {nearest(start, use.timed)}")
    if start:
        chosen = [*(item for item in chosen if start not in item.codes), _Item(start, "event", [start])]
    if all(item.kind == "static" for item in chosen):
        raise ValueError(f"{path}: no code becomes a channel; name some as continuous or event in items")
    plan = _Plan(chosen, use, start, hours, step)
    parts = [part for rows in _rows(shards, chosen, faults) if (part := plan.part(rows, faults)) is not None]
    if not parts:
        faults.settle()
        raise ValueError(f"{path}: no subject has an event of a channel")
    with frames.prefixed(path):
        return plan.sequences(parts, faults)


def _shards(folder: Path) -> list[Path]:
    shards = sorted(path for path in (folder / "data").rglob("*.parquet") if path.is_file())
    if not shards:
        raise ValueError(f"{folder}: no Parquet file in data/ or below; a data set of MEDS has its events there")
    return shards


def _read(shard: Path) -> pa.Table:
    """Read one file of events, in the types of the standard.

    Raises:
        ValueError: if it is damaged, or lacks a column.
    """
    try:
        table = pq.read_table(shard)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{shard}: is no Parquet file, or damaged ({one_line(error)})") from None
    if "numeric_value" not in table.column_names:  # which may be left out since version 0.4
        table = table.append_column(EVENT.field("numeric_value"), pa.nulls(len(table), pa.float32()))
    if missing := [name for name in EVENT.names if name not in table.column_names]:
        raise ValueError(f"{shard}: no column {missing[0]!r}; MEDS has {', '.join(EVENT.names)}")
    try:
        return table.select(EVENT.names).cast(EVENT)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{shard}: has other types than MEDS ({one_line(error)})") from None


@dataclass(frozen=True)
class _Use:
    """How often each code is used.

    Args:
        timed: With a time.
        untimed: Without.
        valued: With a time and a number.
        numeric: Codes that have a number anywhere.
    """

    timed: Counter[str]
    untimed: Counter[str]
    valued: Counter[str]
    numeric: set[str]

    @classmethod
    def of(cls, shards: list[Path]) -> _Use:
        use = cls(Counter(), Counter(), Counter(), set())
        seen: dict[int, Path] = {}
        for shard in shards:
            table = _read(shard)
            _refuse_parted(table, shard, seen)
            timed, valued = table["time"].is_valid().to_numpy(), table["numeric_value"].is_valid().to_numpy()
            use.timed.update(_counts(table, timed))
            use.untimed.update(_counts(table, ~timed))
            use.valued.update(_counts(table, timed & valued))
            use.numeric.update(_counts(table, valued))
        return use

    def frequent(self, most: int) -> list[_Item]:
        """Choose the most frequent codes with values, and all static ones."""
        ranked = sorted(sorted(self.valued, key=lambda code: (-self.valued[code], code))[:most])
        statics: dict[str, list[str]] = {}
        for code in sorted(self.untimed):
            name = code if code in self.numeric else code.rpartition("//")[0] or code
            statics.setdefault(name, []).append(code)
        named = {(f"static_{name}" if name in ranked else name): codes for name, codes in statics.items()}
        return [
            *(_Item(code, "continuous", [code]) for code in ranked),
            *(_Item(name, "static", codes) for name, codes in named.items()),
        ]


def _counts(table: pa.Table, rows: Bool[ndarray, " rows"]) -> dict[str, int]:
    counted = table["code"].filter(pa.array(rows)).drop_null().value_counts()
    return {row["values"]: row["counts"] for row in counted.to_pylist()}


def _refuse_parted(table: pa.Table, shard: Path, seen: dict[int, Path]) -> None:
    subjects = table["subject_id"].unique().to_pylist()
    parted = [subject for subject in subjects if subject in seen]
    if parted:
        raise ValueError(
            f"{shard}: {len(parted):,} subjects are in other files too, where MEDS has each in one "
            f"(first: {parted[0]}, in {seen[parted[0]].name}); sort the events into files by subject"
        )
    seen.update(dict.fromkeys(subjects, shard))


def _asked(path: Path, use: _Use, faults: Faults) -> list[_Item]:
    """Read the user's table of items."""
    table = read_csv(path, ITEMS, dtype=str, keep_default_na=False)
    if len(wrong := table[~table["kind"].isin(KINDS)]):
        raise ValueError(f"{path}: kind is {wrong['kind'].iloc[0]!r}; allowed are {', '.join(KINDS)}")
    known = {*use.timed, *use.untimed}
    unknown = ~table["code"].isin(list(known))
    first = table["code"][unknown].iloc[0] if unknown.any() else ""
    faults.note(unknown.sum(), f"codes of {path.name} that no event has", first)
    found: dict[str, _Item] = {}
    for code, name, unit, kind in table[list(ITEMS)].itertuples(index=False):
        item = found.setdefault(name, _Item(name, kind, [], unit))
        if item.kind != kind:
            raise ValueError(f"{path}: {name!r} is {item.kind} and {kind}; codes of one name are of one kind")
        item.codes.append(code)
    return [item for item in found.values() if known & set(item.codes)]


def _rows(shards: list[Path], chosen: list[_Item], faults: Faults) -> Iterator[Any]:
    """Yield the events of chosen codes, file by file, in order of time: subject, time, code, value."""
    for shard in shards:
        table = _read(shard)
        rows: Any = pd.DataFrame(
            {
                "subject": table["subject_id"].to_pandas(),
                "time": table["time"].to_pandas(),
                "code": table["code"].to_pandas(),
                "value": table["numeric_value"].to_pandas().astype(np.float64),
            }
        )
        faults.note(rows[["subject", "code"]].isna().any(axis=1).sum(), "events without subject_id or code", shard.name)
        rows = rows[rows["code"].isin(_codes(chosen)) & rows["subject"].notna()].astype({"subject": np.int64})
        repeated = rows.duplicated()
        first = "{code} of {subject}".format(**rows[repeated].iloc[0]) if repeated.any() else ""
        faults.note(repeated.sum(), "events that repeat another", first)
        yield rows[~repeated].sort_values(["subject", "time"], na_position="first", kind="stable")


@dataclass(frozen=True, eq=False)
class _Part:
    """Sequences of one file, all as long as the longest may be."""

    values: Float[ndarray, "n length channels"]
    lengths: Int[ndarray, " n"]
    static: Float[ndarray, "n statics"]
    subject: Int[ndarray, " n"]


@dataclass(frozen=True)
class _Plan:
    """What is made of the events; see `meds`."""

    items: list[_Item]
    use: _Use
    start: str
    hours: float
    step: float

    @property
    def channels(self) -> list[_Item]:
        return [item for item in self.items if item.kind != "static"]

    @property
    def statics(self) -> list[_Item]:
        return [item for item in self.items if item.kind == "static"]

    def part(self, rows: Any, faults: Faults) -> _Part | None:
        """Put the events of one file on the grid; None if none is of a channel."""
        events = rows[rows["time"].notna() & rows["code"].isin(_codes(self.channels))]
        if events.empty:
            return None
        begins = events[events["code"] == self.start] if self.start else events.drop_duplicates("subject")
        begins = begins[["subject", "time"]].drop_duplicates().reset_index(drop=True)
        begins = begins.assign(sequence=np.arange(len(begins)), begin=begins["time"])
        placed: Any = pd.merge_asof(events.sort_values("time"), begins.sort_values("time"), on="time", by="subject")
        offset = (placed["time"] - placed["begin"]) / pd.Timedelta(hours=1)  # NaN before the first start
        placed, hour = placed[offset < self.hours], offset[offset < self.hours].to_numpy()
        index, sequence = steps(hour, self.step), placed["sequence"].to_numpy(np.int64)
        lengths = np.ones(len(begins), dtype=np.int64)
        np.maximum.at(lengths, sequence, index + 1)
        grid = Grid(len(begins), math.ceil(self.hours / self.step), ["mean"] * len(self.channels))
        for j, item in enumerate(self.channels):
            mine = placed["code"].isin(item.codes).to_numpy()
            numbers = placed["value"].to_numpy()[mine]
            happened = np.ones(len(numbers))
            measured = happened if item.kind == "event" else faults.physical(numbers, Column(item.name, unit=item.unit))
            grid.add(sequence[mine], index[mine], j, measured)
        values = grid.values().astype(np.float32)
        events_of = [j for j, item in enumerate(self.channels) if item.kind == "event"]
        values[:, :, events_of] = ~np.isnan(values[:, :, events_of])
        static = [self._static(item, rows, begins["subject"], faults) for item in self.statics]
        subject = begins["subject"].to_numpy()
        return _Part(values, lengths, np.stack(static, axis=1) if static else np.zeros((len(begins), 0)), subject)

    def _is_numeric(self, item: _Item) -> bool:
        return any(code in self.use.numeric for code in item.codes)

    def _is_presence(self, item: _Item) -> bool:
        return not self._is_numeric(item) and len(item.codes) == 1

    def _static(self, item: _Item, rows: Any, subject: Any, faults: Faults) -> Float[ndarray, " n"]:
        """Return the first number, or which code, of each subject."""
        mine = rows[rows["code"].isin(item.codes)]
        if self._is_numeric(item):
            numbers = faults.physical(mine["value"].to_numpy(), Column(item.name, unit=item.unit))
            mine = mine.assign(found=numbers).dropna(subset="found")
        elif self._is_presence(item):
            mine = mine.assign(found=1.0)
        else:
            mine = mine.assign(found=[float(item.codes.index(code)) for code in mine["code"]])
        found = mine.drop_duplicates("subject").set_index("subject")["found"].reindex(subject).to_numpy(np.float64)
        return np.nan_to_num(found) if self._is_presence(item) else found

    def sequences(self, parts: list[_Part], faults: Faults) -> Sequences:
        """Join the files, and say what the columns are."""
        lengths = np.concatenate([part.lengths for part in parts])
        values = np.concatenate([part.values[:, : lengths.max()] for part in parts])
        static = np.concatenate([part.static for part in parts])
        channels = [self._column(item, values[:, :, j], faults) for j, item in enumerate(self.channels)]
        statics = [self._column(item, static[:, j], faults) for j, item in enumerate(self.statics)]
        faults.settle()
        id, subject = ("sequence", "subject_id") if self.start else ("subject_id", None)
        schema = Schema(
            tuple(channels), tuple(statics), self.step, "h", id, "time", subject, form=FORM, licence=LICENCE
        )
        return Sequences(values, schema, lengths, static, np.concatenate([part.subject for part in parts]))

    def _column(self, item: _Item, numbers: Float[ndarray, "n ..."], faults: Faults) -> Column:
        """Say what a column is; one that is in another unit is converted in place."""
        key = "" if item.codes[0] == item.name else item.codes[0]
        if item.kind == "event" or (item.kind == "static" and self._is_presence(item)):
            return Column(item.name, "binary", categories=PRESENCE, key=key)
        if item.kind == "continuous" or self._is_numeric(item):
            numbers *= faults.factor(first_of_each(numbers), Column(item.name, unit=item.unit))
            return replace(columns.measurement(numbers.ravel(), item.name), unit=item.unit, key=key)
        if len(item.codes) > columns.MOST_CATEGORIES:
            raise ValueError(
                f"static {item.name!r} has {len(item.codes):,} codes; {columns.MOST_CATEGORIES} are allowed"
            )
        return Column(item.name, "binary" if len(item.codes) == 2 else "categorical", categories=tuple(item.codes))


def _codes(items: list[_Item]) -> list[str]:
    return [code for item in items for code in item.codes]


class MEDSWriter(Writer):
    """Writes a data set of MEDS, a file of events a chunk, each subject from the same made-up date on.

    What a step holds stands in its middle. Where several codes made one channel, its events have the first.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        super().__init__(path, schema)
        for folder in ("data/train", "metadata"):
            (path / folder).mkdir(parents=True)
        self.codes: dict[str, str] = {}

    def _append(self, sequences: Sequences) -> None:
        subject = sequences.subject + FIRST_ID
        rows = [self._static(subject, sequences.static[:, j], c) for j, c in enumerate(self.schema.statics)]
        rows += [self._timed(subject, sequences.values[:, :, j], c) for j, c in enumerate(self.schema.channels)]
        table = pd.concat(rows).sort_values(["subject_id", "time"], na_position="first", kind="stable")
        file = self.path / "data" / "train" / f"{self.count:08}.parquet"
        pq.write_table(pa.Table.from_pandas(table, EVENT, preserve_index=False), file)

    def _static(self, subject: Int[ndarray, " n"], values: Float[ndarray, " n"], column: Column) -> pd.DataFrame:
        known = ~np.isnan(values) & ((values > 0) if column.categories == PRESENCE else True)
        labels = [self._named(column, label) for label in column.categories]
        code = np.array(labels)[values[known].astype(np.int64)] if labels else self._named(column)
        return pd.DataFrame(
            {
                "subject_id": subject[known],
                "time": np.datetime64("NaT", "us"),
                "code": code,
                "numeric_value": np.nan if labels else values[known],
            }
        )

    def _timed(self, subject: Int[ndarray, " n"], values: Float[ndarray, "n length"], column: Column) -> pd.DataFrame:
        is_event = column.categories == PRESENCE
        sequence, step = np.nonzero(values == 1 if is_event else ~np.isnan(values))
        middle = ((step + 0.5) * self.schema.step * 3600e6).astype("timedelta64[us]")
        return pd.DataFrame(
            {
                "subject_id": subject[sequence],
                "time": FIRST_DATE.astype("datetime64[us]") + middle,
                "code": self._named(column),
                "numeric_value": np.nan if is_event else values[sequence, step],
            }
        )

    def _named(self, column: Column, label: object = None) -> str:
        """Return a code, and remember it for the metadata."""
        alternatives = label is not None and column.categories != PRESENCE
        code = str(label) if alternatives else column.key or column.name
        self.codes.setdefault(code, column.title)
        return code

    def close(self, complete: bool) -> None:
        if not complete:
            return
        metadata = self.path / "metadata"
        codes = [{"code": code, "description": title, "parent_codes": None} for code, title in self.codes.items()]
        pq.write_table(pa.Table.from_pylist(codes, CODES), metadata / "codes.parquet")
        subjects = np.arange(FIRST_ID, FIRST_ID + self.count)
        splits = {"subject_id": subjects, "split": np.full(self.count, "train")}
        pq.write_table(pa.table(splits, SPLITS), metadata / "subject_splits.parquet")
        about = {"dataset_name": "synthetic", "etl_name": "vitalsynth", "meds_version": VERSION}
        about["license"] = self.schema.licence
        storage.write(metadata / "dataset.json", json.dumps(about).encode())
