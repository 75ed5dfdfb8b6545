"""Tables of the user: CSV and Parquet in long format, and arrays in npz."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from .. import frames
from ..frames import columns
from ..sequences import Column, Schema, Sequences, listed, nearest, one_line

SUBJECTS = ("subject", "subject_id", "id", "record_id", "stay_id")
NAMES = ("variables", "channels")


def table(
    path: str,
    id: str = "id",
    time: str = "time",
    subject: str | None = None,
    step: float | None = None,
    events: bool = False,
    categorical: str = "",
    drop: str = "",
    array: str = "x",
) -> Sequences:
    """A table of your own: CSV or Parquet in long format (a row per id and time), or arrays in an npz.

    What the columns are is inferred: columns constant within every id are static, 0/1 is binary, text is categorical.
    A Parquet or npz that vitalsynth wrote describes itself. In an npz the main array is (sequences, steps, channels),
    NaN where not measured; `variables` names its channels, `lengths` its lengths, `subject` or `id` its sequences;
    arrays with a value (or, with `<name>_names` beside, a row) per sequence are static columns, called `static_...`
    where a channel has that name. The data are your own.

    Args:
        path: File: .csv, .csv.gz, .tsv, .parquet or .npz.
        id: Column that says to which sequence a row belongs.
        time: Time column: numbers, durations or dates.
        subject: Column (or array) that says whose sequence it is, where one subject has several.
        step: Duration of a step, in hours where times are durations or dates; times are then binned: a step has the
            mean of its rows, rounded as the column is, and the last of its categories. By default the greatest duration
            of which all times are multiples.
        events: Keep times as they are: each row is a step, and a channel `gap` has the hours since the one before.
        categorical: Columns whose numbers are names of categories, comma separated.
        drop: Columns (or arrays) to leave out, comma separated.
        array: Name of the main array in an npz.
    """
    where = Path(path)
    if not where.is_file():
        raise ValueError(f"{path}: no such file")
    left_out, classes = listed(drop), listed(categorical)
    if where.suffix == ".npz":
        with frames.prefixed(path):
            return _Arrays.open(where).sequences(id, time, subject, step, classes, left_out, array)
    if where.suffix == ".parquet":
        if frames.saved_schema(where) is not None:
            if subject or step or classes:
                raise ValueError(
                    f"{path}: was saved by vitalsynth and describes itself; leave out subject, step and categorical"
                )
            with frames.prefixed(path):
                return frames.load(where).drop(left_out)
        frame = frames.read_parquet(where)
    else:
        frame = _read_csv(where)
    with frames.prefixed(path):
        if unknown := [name for name in left_out if name not in frame]:
            raise ValueError(f"no column {unknown[0]!r} to drop; {nearest(unknown[0], map(str, frame.columns))}")
    frame = frame.drop(columns=left_out)
    return frames.from_frame(
        frame, id=id, time=time, subject=subject, step=step, events=events, categorical=classes, origin=path
    )


def table_like(path: str, schema: Schema, length: int) -> Sequences:
    """Read a file whose columns are known: somebody's version of sequences at hand.

    Shorter sequences are padded to a length, as ended.

    Raises:
        ValueError: naming row and column, if a column is missing or superfluous or holds something else.
    """
    where = Path(path)
    if not where.is_file():
        raise ValueError(f"{path}: no such file")
    if where.suffix == ".npz" or (where.suffix == ".parquet" and frames.saved_schema(where) is not None):
        frame = frames.to_frame(table(path))
    else:
        frame = frames.read_parquet(where) if where.suffix == ".parquet" else _read_csv(where)
    read = frames.from_frame(frame, schema=schema, origin=path)
    missing = length - read.length
    if missing <= 0:
        return read
    values = np.pad(read.values, ((0, 0), (0, missing), (0, 0)), constant_values=np.nan)
    return replace(read, values=values)


def read_csv(path: Path, needed: Iterable[str] = (), **options: Any) -> Any:
    """Read a CSV that fits into memory, by pandas and with its options.

    Raises:
        ValueError: if it is missing, damaged or no CSV, or lacks a column that is needed.
    """
    try:
        frame = pd.read_csv(path, encoding="utf-8-sig", **options)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: is truncated or damaged ({one_line(error)}); fetch it again") from None
    except (ValueError, OSError) as error:  # ValueError: whatever pandas says of text that is no CSV
        raise ValueError(f"{path}: cannot be read as CSV ({one_line(error)})") from None
    if missing := [name for name in needed if name not in frame]:
        raise ValueError(f"{path}: no column {missing[0]!r}; {nearest(missing[0], frame.columns)}")
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV of any separator; the index says in which line of the file each row begins."""
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            separator = max(",;\t|", key=header.count)
            width = len(next(csv.reader([header], delimiter=separator), []))
            lines = _check_rows(path, csv.reader(file, delimiter=separator), width)
        frame = pd.read_csv(path, sep=separator, low_memory=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: the file is empty; a header and at least one row are needed") from None
    except (pd.errors.ParserError, UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: cannot be read as CSV ({one_line(error)})") from None
    return frame.set_axis(pd.Index(lines, name=frames.LINE)) if len(lines) == len(frame) else frame


def _check_rows(path: Path, rows: Any, width: int) -> ndarray:
    """Refuse a row that is longer or shorter than the header; pandas would shift or fill it without a word.

    Returns:
        The line in which each row begins, the header's being 1.
    """
    lines = array("q")
    line = 2
    for row in rows:
        if row:
            lines.append(line)
            if len(row) != width:
                raise ValueError(
                    f"{path}: row {len(lines)} (line {line}) has {len(row)} cells, the header {width}; "
                    "each must have as many"
                )
        line = rows.line_num + 2
    return np.array(lines)


@dataclass(frozen=True, eq=False)
class _Arrays:
    """What an npz holds."""

    arrays: Mapping[str, ndarray]

    @classmethod
    def open(cls, path: Path) -> _Arrays:
        if not zipfile.is_zipfile(path):
            raise ValueError("is no npz file, or damaged")
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls({name: cls._one(file, name) for name in file.files})
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise ValueError(f"is no npz file, or damaged ({error})") from None

    @staticmethod
    def _one(file: Any, name: str) -> ndarray:
        try:
            return file[name]
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            advice = "which could run code when read; save it as numbers or as text of fixed width"
            raise ValueError(f"array {name!r} holds Python objects, {advice}") from None

    def sequences(
        self,
        id: str,
        time: str,
        subject: str | None,
        step: float | None,
        categorical: list[str],
        drop: list[str],
        array: str,
    ) -> Sequences:
        """Read all arrays."""
        main = self._main(array)
        values = _as_floats(main, self.arrays[main])
        n, length, width = values.shape
        if not n or not length or not width:
            raise ValueError(
                f"array {main!r} has shape {values.shape}; at least one sequence, step and channel are needed"
            )
        who_name, who = self._subject(subject, n)
        lengths = self._lengths(n, length)
        values = np.where((np.arange(length) < lengths[:, None])[..., None], values, np.nan).astype(values.dtype)
        names = self._channel_names(width)
        statics = self._statics(n, {main, *drop, who_name, *NAMES, "lengths", "schema"})
        statics = {f"static_{name}" if name in names else name: cells for name, cells in statics.items()}
        self._check_names(names, statics, categorical, drop)
        keep = [j for j, name in enumerate(names) if name not in drop]
        if not keep:
            raise ValueError("all channels were dropped; at least one is needed")
        if "schema" in self.arrays:
            return self._described(values, lengths, statics, who).drop(
                [name for name in drop if name in [*names, *statics]]
            )
        channels = [_channel(values[:, :, j], names[j], names[j] in categorical) for j in keep]
        read = [columns.infer(cells, name, name in categorical) for name, cells in statics.items() if name not in drop]
        schema = Schema(tuple(c for c, _ in channels), tuple(c for c, _ in read), step=step or 1.0, id=id, time=time)
        codes = np.stack([numbers for _, numbers in channels], axis=2).astype(values.dtype)
        static = np.stack([numbers for _, numbers in read], axis=1) if read else np.zeros((n, 0))
        return Sequences(codes, schema, lengths, static, who)

    def _described(
        self, values: ndarray, lengths: ndarray, statics: Mapping[str, pd.Series], who: ndarray
    ) -> Sequences:
        """Read what `frames.writer` wrote."""
        schema = Schema.from_json(json.loads(str(self.arrays["schema"])))
        for column in schema.statics:
            if column.name not in statics:
                raise ValueError(f"no array {column.name!r}, which the schema in the file names")
        read = [columns.read(statics[column.name], column) for column in schema.statics]
        static = np.stack(read, axis=1) if read else np.zeros((len(values), 0))
        return Sequences(values, schema, lengths, static, who)

    def _main(self, array: str) -> str:
        if array in self.arrays and self.arrays[array].ndim in (2, 3):
            return array
        three = [name for name, values in self.arrays.items() if values.ndim == 3]
        if len(three) == 1 and array not in self.arrays:
            return three[0]
        there = ", ".join(f"{name} {values.shape}" for name, values in self.arrays.items()) or "none"
        raise ValueError(f"no array {array!r} of sequences x steps x channels; name it (array=...); there are {there}")

    def _channel_names(self, width: int) -> list[str]:
        for key in NAMES:
            if key in self.arrays and self.arrays[key].dtype.kind in "US" and self.arrays[key].ndim == 1:
                names = self.arrays[key].astype(str).tolist()
                if len(names) != width:
                    raise ValueError(f"{key!r} names {len(names)} channels, but the array has {width}; both must agree")
                return names
        return [f"x{j}" for j in range(width)]

    def _subject(self, asked: str | None, n: int) -> tuple[str | None, ndarray]:
        if asked is not None and asked not in self.arrays:
            raise ValueError(f"no array {asked!r} for the subject; {nearest(asked, self.arrays)}")
        for name in (asked,) if asked else SUBJECTS:
            if name in self.arrays and self.arrays[name].ndim == 1:
                if len(self.arrays[name]) != n:
                    raise ValueError(
                        f"array {name!r} has {len(self.arrays[name])} entries for {n} sequences; one each is needed"
                    )
                return name, self.arrays[name]
        return None, np.arange(n)

    def _lengths(self, n: int, length: int) -> ndarray:
        if "lengths" not in self.arrays:
            return np.full(n, length)
        lengths = self.arrays["lengths"]
        if lengths.shape != (n,) or lengths.dtype.kind not in "iu":
            raise ValueError(
                f"array 'lengths' has shape {lengths.shape} ({lengths.dtype}); {n} whole numbers are needed"
            )
        if lengths.min() < 1 or lengths.max() > length:
            raise ValueError(
                f"array 'lengths' has values from {lengths.min()} to {lengths.max()}; allowed are 1 to {length}"
            )
        return lengths.astype(np.int64)

    def _statics(self, n: int, others: set[str | None]) -> dict[str, pd.Series]:
        """Collect what has a value, or a row of named values, per sequence."""
        found: dict[str, pd.Series] = {}
        for name, values in self.arrays.items():
            named = f"{name}_names"
            is_names = name.endswith("_names") and name.removesuffix("_names") in self.arrays
            if is_names or name in others or name in SUBJECTS:
                continue
            if values.shape == (n,):
                found[name] = pd.Series(values)
            elif values.ndim == 2 and len(values) == n and named in self.arrays:
                labels = self.arrays[named].astype(str).tolist()
                if len(labels) != values.shape[1]:
                    raise ValueError(
                        f"{named!r} names {len(labels)} columns, but {name!r} has {values.shape[1]}; both must agree"
                    )
                found |= {label: pd.Series(values[:, j]) for j, label in enumerate(labels)}
            elif values.ndim:
                advice = f"{n} values, or {n} rows with {named!r} beside, are needed; else drop it (drop={name})"
                raise ValueError(f"array {name!r} has shape {values.shape}; {advice}")
        return found

    def _check_names(
        self, channels: list[str], statics: Mapping[str, Any], categorical: list[str], drop: list[str]
    ) -> None:
        known = [*channels, *statics]
        for names, what, allowed in (
            (categorical, "to take as categorical", known),
            (drop, "to drop", [*known, *self.arrays]),
        ):
            if unknown := [name for name in names if name not in allowed]:
                raise ValueError(f"no column {unknown[0]!r} {what}; {nearest(unknown[0], allowed)}")


def _as_floats(name: str, values: ndarray) -> ndarray:
    if values.dtype.kind not in "biuf":
        raise ValueError(f"array {name!r} holds {values.dtype}; numbers are needed")
    values = values[..., None] if values.ndim == 2 else values
    values = values.astype(
        np.float64 if values.dtype.itemsize > 4 or values.dtype in (np.int32, np.uint32) else np.float32
    )
    if len(bad := np.argwhere(np.isinf(values))):
        at = ", ".join(map(str, bad[0]))
        raise ValueError(f"array {name!r} is infinite at [{at}]; write NaN where nothing was measured")
    return values


def _channel(values: ndarray, name: str, categorical: bool) -> tuple[Column, ndarray]:
    flat = values.ravel()
    if not categorical:
        return columns.measurement(flat, name), values
    column, codes = columns.infer(pd.Series(flat), name, categorical=True)
    return column, codes.reshape(values.shape)
