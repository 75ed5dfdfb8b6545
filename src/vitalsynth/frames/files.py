"""Files of sequences: Parquet that gives back exactly what was saved, and writers that stream any number of sequences.

A Parquet file is a plain long table that any tool reads; its metadata hold the schema as JSON, key `vitalsynth`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Shaped
from numpy import ndarray

from ..sequences import Column, Schema, Sequences, one_line
from ..storage import atomic_folder, atomic_path
from .long import from_frame, prefixed, subject_column, to_frame

KEY = b"vitalsynth"
COPY = 1 << 20


def save(sequences: Sequences, path: str | Path) -> None:
    """Write Parquet from which `load` gives back exactly these sequences; whole or not at all.

    Raises:
        ValueError: if there is nothing to save, or a column has the name of the id or the time column.
    """
    if not len(sequences):
        raise ValueError(f"{path}: there are no sequences to save")
    with prefixed(str(path)):
        table = _to_arrow(to_frame(sequences), sequences, subject_column(sequences))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def load(path: str | Path) -> Sequences:
    """Read what `save` or a Parquet writer has written.

    Raises:
        ValueError: if the file is missing, damaged, or was not written so.
    """
    record = saved_schema(path)
    if record is None:
        raise ValueError(
            f"{path}: was not saved by vitalsynth (no schema in it); read it with sources.table, which infers one"
        )
    with prefixed(str(path)):
        schema = Schema.from_json(record["schema"])
    frame = read_parquet(path)
    read = from_frame(frame, schema=schema, subject=record["subject"], origin=str(path))
    values = np.full((len(read), record["length"], read.values.shape[2]), np.nan, dtype=record["dtype"])
    values[:, : read.length] = read.values
    return replace(read, values=values, static=read.static.astype(record["static_dtype"]))


def saved_schema(path: str | Path) -> dict[str, Any] | None:
    """Return what we wrote into the metadata of a Parquet file; None if another program wrote it.

    Raises:
        ValueError: if it is no Parquet file, or damaged.
    """
    with _readable(path):
        metadata = pq.read_schema(path).metadata or {}
        return json.loads(metadata[KEY]) if KEY in metadata else None


def read_parquet(path: str | Path) -> pd.DataFrame:
    """Read a Parquet file.

    Raises:
        ValueError: if it is no Parquet file, or damaged.
    """
    with _readable(path):
        return pq.read_table(path).to_pandas()


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path}: is no Parquet file, or damaged ({one_line(error)})") from None


def _to_arrow(frame: pd.DataFrame, sequences: Sequences, subject: str | None) -> pa.Table:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    record = {
        "schema": sequences.schema.to_json(),
        "length": sequences.length,
        "dtype": str(sequences.values.dtype),
        "static_dtype": str(sequences.static.dtype),
        "subject": subject,
    }
    return table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: json.dumps(record).encode()})


class Writer(ABC):
    """Takes sequences chunk by chunk, in flat memory; ids run on.

    Args:
        path: File to write, or folder to fill.
        schema: Of all that will be written.

    Attributes:
        keep_subjects: Whose sequences they are is kept, and written beside the id; else each is a subject of its own.
    """

    keep_subjects = False

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path, self.schema, self.count = path, schema, 0

    def write(self, sequences: Sequences) -> None:
        """Append sequences.

        Raises:
            ValueError: if their schema is another, or they do not fit what was written before.
        """
        if sequences.schema != self.schema:
            raise ValueError("these sequences have another schema than the file was opened with")
        if not len(sequences):
            return
        if not self.keep_subjects:
            sequences = replace(sequences, subject=np.arange(self.count, self.count + len(sequences)))
        self._append(sequences)
        self.count += len(sequences)

    @abstractmethod
    def _append(self, sequences: Sequences) -> None:
        """Write a chunk that is not empty."""

    def _frame(self, sequences: Sequences) -> pd.DataFrame:
        """Return a chunk as a long table."""
        return to_frame(sequences, self.count if self.keep_subjects else None)

    @abstractmethod
    def close(self, complete: bool) -> None:
        """Let go of what is open, after writing what can only be written when all is there (if it is)."""


class ParquetWriter(Writer):
    """A long table as Parquet, a row group a chunk."""

    file: pq.ParquetWriter | None = None

    def _append(self, sequences: Sequences) -> None:
        table = _to_arrow(self._frame(sequences), sequences, subject_column(sequences))
        if self.file is None:
            self.file = pq.ParquetWriter(self.path, table.schema)
        try:
            self.file.write_table(table.cast(self.file.schema))
        except pa.ArrowInvalid as error:
            raise ValueError(f"chunk at sequence {self.count} does not fit the ones before: {error}") from None

    def close(self, complete: bool) -> None:
        if self.file is not None:
            self.file.close()


class CSVWriter(Writer):
    """A long table as CSV."""

    def __init__(self, path: Path, schema: Schema) -> None:
        super().__init__(path, schema)
        self.file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115 (closed by `close`)

    def _append(self, sequences: Sequences) -> None:
        self._frame(sequences).to_csv(self.file, header=self.count == 0, index=False)

    def close(self, complete: bool) -> None:
        self.file.close()


class NPZWriter(Writer):
    """Arrays `x` (n, length, channels), `lengths`, `channels`, `id`, one per static column, and `schema` as JSON.

    An npz needs its sizes before its numbers, so each array grows in a raw file of its own, and is zipped at the end.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        super().__init__(path, schema)
        clash = {"x", "lengths", "channels", "id", "schema"} & {column.name for column in schema.statics}
        if clash:
            raise ValueError(
                f"static column {min(clash)!r} has the name of another array in an npz; rename it, or write .parquet"
            )
        self.folder = tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent)
        self.files: dict[str, BinaryIO] = {}
        self.kinds: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}

    def _append(self, sequences: Sequences) -> None:
        self._grow("x", sequences.values.astype(np.float32))
        self._grow("lengths", sequences.lengths.astype(np.int64))
        self._grow("id", sequences.subject)
        for j, column in enumerate(self.schema.statics):
            self._grow(column.name, written(sequences.static[:, j], column))

    def _grow(self, name: str, rows: Shaped[ndarray, "n ..."]) -> None:
        if name not in self.files:
            self.files[name] = open(Path(self.folder.name) / str(len(self.files)), "w+b")  # noqa: SIM115
            self.kinds[name] = (rows.dtype, rows.shape[1:])
        if self.kinds[name] != (rows.dtype, rows.shape[1:]):
            raise ValueError(f"{name} has rows of shape {rows.shape[1:]}, but {self.kinds[name][1]} in chunks before")
        self.files[name].write(np.ascontiguousarray(rows).tobytes())

    def close(self, complete: bool) -> None:
        try:
            if complete:
                self._zip_all()
        finally:
            for file in self.files.values():
                file.close()
            self.folder.cleanup()

    def _zip_all(self) -> None:
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, file in self.files.items():
                dtype, shape = self.kinds[name]
                self._zip(archive, name, dtype, (self.count, *shape), file)
            fixed = {
                "channels": np.array([column.name for column in self.schema.channels]),
                "schema": np.array(json.dumps(self.schema.to_json())),
            }
            for name, array in fixed.items():
                with archive.open(f"{name}.npy", "w") as target:
                    np.lib.format.write_array(target, array, allow_pickle=False)

    @staticmethod
    def _zip(archive: zipfile.ZipFile, name: str, dtype: np.dtype, shape: tuple[int, ...], file: BinaryIO) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        file.seek(0)
        with archive.open(f"{name}.npy", "w", force_zip64=True) as target:
            np.lib.format.write_array_header_2_0(target, header)
            shutil.copyfileobj(file, target, COPY)


def written(values: Shaped[ndarray, " n"], column: Column) -> Shaped[ndarray, " n"]:
    """Return what stands in a file for codes: labels of fixed width, empty where missing; else the numbers."""
    if not column.categories:
        return values.astype(np.float64)
    labels = np.array([*map(str, column.categories), ""])
    return labels[np.where(np.isnan(values), -1, values).astype(np.int64)]


WRITERS: dict[str, type[Writer]] = {".parquet": ParquetWriter, ".csv": CSVWriter, ".npz": NPZWriter}


@contextmanager
def writer(
    path: str | Path, schema: Schema, form: type[Writer] | None = None, files: Mapping[str, type[Writer]] | None = None
) -> Iterator[Writer]:
    """Open a file that takes any number of sequences chunk by chunk: .parquet, .csv or .npz; or a folder of a form.

    The file or folder is there when the block has ended well, and not at all otherwise.

    Args:
        path: Where to write.
        schema: Of all that will be written.
        form: Writes a folder, into the empty one that it is given; None if the data have no form of their own.
        files: Writers of other kinds of files, by suffix.

    Raises:
        ValueError: if the suffix is another, a folder is there already, or nothing was written.
    """
    path = Path(path)
    writers = WRITERS | dict(files or {})
    chosen = writers.get(path.suffix, form)
    if chosen is None or (chosen is form and path.suffix):
        allowed = ", ".join(writers) + (f", or the name of a folder (as {schema.form})" if form else "")
        raise ValueError(f"{path}: cannot write {path.suffix or 'a file without suffix'}; allowed are {allowed}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with (atomic_folder if chosen is form else atomic_path)(path) as temporary:
        opened = chosen(temporary, schema)
        try:
            yield opened
            if not opened.count:
                raise ValueError(f"{path}: no sequences were written")
        except BaseException:
            opened.close(complete=False)
            raise
        opened.close(complete=True)
