"""Cohorts of YAIB, "Yet Another ICU Benchmark" (van de Water et al. 2024): three Parquet files in a folder.

    dyn.parquet     stay_id, time, and a column a variable: hourly
    sta.parquet     stay_id, age, sex, height, weight
    outc.parquet    stay_id, label; or stay_id, time, label where the outcome changes with time

What YAIB's own pipelines write has 32-bit ids, durations in seconds, doubles, and a whole number where the outcome is
one of the stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float
from numpy import ndarray

from ... import frames
from ...frames import Writer, columns
from ...sequences import Column, Schema, Sequences
from ..faults import Faults, Repair

FORM = "yaib"
LICENCE = (
    "that of the database the files were made from; of YAIB's demo: ODbL 1.0, "
    "cite van de Water et al. 2024, Pollard et al. 2018, Johnson et al. 2016 and Goldberger et al. 2000"
)
FIRST_ID = 900_000_001  # no database that YAIB reads has ids so large
ID, TIME, LABEL = "stay_id", "time", "label"
FILES = ("dyn", "sta", "outc")

UNITS = {
    "alb": "g/dL",
    "alp": "IU/L",
    "alt": "IU/L",
    "ast": "IU/L",
    "be": "mEq/L",
    "bicar": "mEq/L",
    "bili": "mg/dL",
    "bili_dir": "mg/dL",
    "bnd": "%",
    "bun": "mg/dL",
    "ca": "mg/dL",
    "cai": "mmol/L",
    "ck": "IU/L",
    "ckmb": "ng/mL",
    "cl": "mEq/L",
    "crea": "mg/dL",
    "crp": "mg/L",
    "dbp": "mmHg",
    "fgn": "mg/dL",
    "fio2": "%",
    "glu": "mg/dL",
    "hgb": "g/dL",
    "hr": "1/min",
    "inr_pt": "",
    "k": "mEq/L",
    "lact": "mmol/L",
    "lymph": "%",
    "map": "mmHg",
    "mch": "pg",
    "mchc": "%",
    "mcv": "fL",
    "methb": "%",
    "mg": "mg/dL",
    "na": "mEq/L",
    "neut": "%",
    "o2sat": "%",
    "pco2": "mmHg",
    "ph": "",
    "phos": "mg/dL",
    "plt": "1/nL",
    "po2": "mmHg",
    "ptt": "s",
    "resp": "1/min",
    "sbp": "mmHg",
    "temp": "°C",
    "tnt": "ng/mL",
    "urine": "mL",
    "wbc": "1/nL",
    "age": "years",
    "height": "cm",
    "weight": "kg",
}
"""As the files of the demo say in their metadata."""


def yaib(folder: str, repair: Repair = False) -> Sequences:
    """A cohort of YAIB (Yet Another ICU Benchmark): hourly vitals and labs, static variables and an outcome.

    The outcome `label` is static if it is one of the stay (mortality), and a channel if it changes with time (remaining
    length of stay). A stay is a subject: the files do not say which are of one patient. The licence is that of the
    database the files were made from; of YAIB's demo, from the demos of eICU and MIMIC-III, ODbL 1.0.

    Args:
        folder: Holds dyn.parquet, sta.parquet and outc.parquet.
        repair: Leave out what is wrong (repeated rows, negative times, stays that are not in all files, impossible
            values), and convert what is in another unit, with a warning, instead of refusing it.
    """
    where = Path(folder)
    faults = Faults(folder, repair)
    dyn, sta, outc = (_table(where / f"{name}.parquet", faults) for name in FILES)
    dyn, sta, outc = _matched(dyn, sta, outc, faults)
    varying = TIME in outc
    table = dyn.merge(outc, "left", [ID, TIME]) if varying else dyn
    of_stays = sta if varying else sta.merge(outc, on=ID)
    channels = [_column(table, str(name), faults) for name in table if name not in (ID, TIME)]
    statics = [_column(of_stays, str(name), faults) for name in of_stays if name != ID]
    faults.settle()
    schema = Schema(
        tuple(channels), tuple(statics), 1.0, "h", ID, TIME, time_kind="timedelta", form=FORM, licence=LICENCE
    ).keeping("dbp <= map <= sbp")
    return frames.from_frame(table.merge(of_stays, on=ID), schema=schema, origin=folder)


def _table(path: Path, faults: Faults) -> pd.DataFrame:
    """Read a table, without rows that are missing an id or a time or repeat another's."""
    table = frames.read_parquet(path)
    keys = [ID, TIME] if TIME in table or path.stem == "dyn" else [ID]
    if missing := [name for name in keys if name not in table]:
        raise ValueError(f"{path}: no column {missing[0]!r}; YAIB's has {', '.join(keys)}")
    if path.stem == "outc" and LABEL not in table:
        raise ValueError(f"{path}: no column {LABEL!r}, which is the outcome")
    if TIME in table and table[TIME].dtype.kind != "m":
        raise ValueError(
            f"{path}: time is {table[TIME].dtype}; a duration since admission is needed, as YAIB writes it"
        )
    missing_key = np.asarray(table[keys].isna()).any(axis=1)
    checks = [(f"rows of {path.name} without {' or '.join(keys)}", missing_key)]
    if TIME in table:
        negative = table[TIME].dt.total_seconds().to_numpy() < 0
        checks.append((f"rows of {path.name} with a negative time", negative))
    checks.append(
        (f"rows of {path.name} that repeat another's {' and '.join(keys)}", table.duplicated(keys).to_numpy())
    )
    return _without(table, checks, faults)


def _matched(dyn: pd.DataFrame, sta: pd.DataFrame, outc: pd.DataFrame, faults: Faults) -> tuple[pd.DataFrame, ...]:
    """Keep the stays that all tables have."""
    tables = (dyn, sta, outc)
    return tuple(
        _without(
            table,
            [
                (f"rows of {name}.parquet whose stay is not in {other}.parquet", ~table[ID].isin(there[ID]).to_numpy())
                for other, there in zip(FILES, tables, strict=True)
                if other != name
            ],
            faults,
        )
        for name, table in zip(FILES, tables, strict=True)
    )


def _without(table: pd.DataFrame, checks: Sequence[tuple[str, Any]], faults: Faults) -> pd.DataFrame:
    wrong = faults.wrong(checks, lambda row: f"{ID} {table[ID].iloc[row]}")
    return table.loc[~wrong].reset_index(drop=True)


def _column(table: pd.DataFrame, name: str, faults: Faults) -> Column:
    """Say what a column is, and mend its cells in place."""
    cells: Any = table[name]
    if name not in UNITS:
        return columns.infer(cells, name)[0]
    high = 100.0 if UNITS[name] == "%" else None
    column = Column(name, unit=UNITS[name], low=None if name in ("be", "temp") else 0.0, high=high)
    numbers = columns.read(cells, column)
    numbers = faults.physical(numbers, column)
    sample = pd.Series(numbers).groupby(table[ID]).first().to_numpy()
    table[name] = numbers * faults.factor(sample, column)
    return columns.with_resolution(column, table[name].to_numpy())


class YAIBWriter(Writer):
    """Writes dyn.parquet, sta.parquet and outc.parquet, with the column types that YAIB's own have."""

    def __init__(self, path: Path, schema: Schema) -> None:
        super().__init__(path, schema)
        self.files: dict[str, pq.ParquetWriter] = {}

    def _append(self, sequences: Sequences) -> None:
        stays = pa.array(sequences.subject + FIRST_ID, pa.int32())
        sequence, step = np.nonzero(sequences.alive)
        seconds = (self.schema.start + self.schema.step * step) * 3600
        keys: dict[str, pa.Array] = {
            ID: stays.take(pa.array(sequence)),
            TIME: pa.array(seconds.astype(np.int64), pa.duration("s")),
        }
        measured = sequences.values[sequence, step]
        dynamic = {c.name: _cells(measured[:, j], c) for j, c in enumerate(self.schema.channels)}
        static = {c.name: _cells(sequences.static[:, j], c) for j, c in enumerate(self.schema.statics)}
        varying, constant = dynamic.pop(LABEL, None), static.pop(LABEL, None)
        self._write("dyn", {**keys, **dynamic})
        self._write("sta", {ID: stays, **static})
        if varying is not None:
            self._write("outc", {**keys, LABEL: varying})
        elif constant is not None:
            self._write("outc", {ID: stays, LABEL: constant})

    def _write(self, name: str, table: dict[str, pa.Array]) -> None:
        rows = pa.table(table)
        if name not in self.files:
            self.files[name] = pq.ParquetWriter(self.path / f"{name}.parquet", rows.schema)
        self.files[name].write_table(rows)

    def close(self, complete: bool) -> None:
        for file in self.files.values():
            file.close()


def _cells(values: Float[ndarray, " rows"], column: Column) -> pa.Array:
    if not column.categories:
        return pa.array(values, pa.int32() if column.kind == "binary" else pa.float64(), from_pandas=True)
    labels = pa.array([str(label) for label in column.categories], pa.string())
    return labels.take(pa.array(np.nan_to_num(values).astype(np.int64), mask=np.isnan(values)))
