"""PTB-XL, 12-lead ECG of 10 seconds with diagnoses, and any folder laid out like it: read, and written.

    ptbxl_database.csv      a row per ECG: ecg_id, patient_id, age, sex, scp_codes, strat_fold, filename_lr, filename_hr
    scp_statements.csv      what a code of scp_codes means: diagnostic (1 or empty), diagnostic_class
    records100/, records500/    WFDB records at 100 and 500 Hz

An ECG belongs to a superclass if one of its codes does, whatever its likelihood: the aggregation of Wagner et al. 2020.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from ...frames import Writer
from ...sequences import Column, Schema, Sequences, listed
from ..faults import Faults
from ..folders import default_folder
from ..tables import read_csv
from .cuts import alike
from .waveforms import Header, needs_wfdb, rate_of, write_record

LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
NAMES = {100: "filename_lr", 500: "filename_hr"}
NEEDED = ("patient_id", "age", "sex", "scp_codes", "strat_fold")
COLUMNS = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
OLDEST, HIDDEN_AGE = 90.0, 300.0  # PTB-XL writes 300 for all above 89
STATICS = (
    Column("age", unit="years", resolution=1.0, low=0.0, high=OLDEST),
    Column("sex", "binary", categories=("male", "female")),
    Column("strat_fold", resolution=1.0, low=1.0, high=10.0),
    *(Column(name, "binary") for name in SUPERCLASSES),
)
LICENCE = (
    "PTB-XL 1.0.3: Creative Commons Attribution 4.0; cite Wagner et al. 2020, doi 10.1038/s41597-020-0495-6, "
    "and Goldberger et al. 2000, doi 10.1161/01.CIR.101.23.e215"
)


def ptbxl(
    folder: str | None = None, rate: Literal[100, 500] = 100, folds: str = "", leads: str = "", repair: bool = False
) -> Sequences:
    """12-lead ECG of 10 seconds with age, sex and diagnostic superclasses: PTB-XL, or a folder laid out like it.

    NORM, MI, STTC, CD and HYP are 0 or 1, several at once; the subject is the patient. Ages above 89, which PTB-XL
    writes as 300, are 90. Wagner et al. 2020; licence CC BY 4.0.

    Args:
        folder: Holds ptbxl_database.csv, scp_statements.csv and records100 or records500; $VITALSYNTH_DATA/ptbxl by
            default.
        rate: Samples a second, 100 or 500: which of the two folders is read.
        folds: Values of strat_fold to read, comma separated, such as 1,2,3; all by default. Fold 10 is for tests.
        leads: Leads to read, comma separated, such as II,V1; all twelve by default.
        repair: Leave out records that are damaged or lack a lead or a patient, with a warning that counts them; by
            default they are refused.

    Raises:
        ValueError: naming and counting the records in which something is wrong, or the setting that is.
    """
    needs_wfdb()
    where = Path(folder) if folder else default_folder("ptbxl")
    if rate not in NAMES:
        raise ValueError(f"rate is {rate}; PTB-XL has 100 and 500 samples a second")
    table = _table(where, folds, NAMES[rate])
    statements = _csv(where / "scp_statements.csv", ("diagnostic", "diagnostic_class"), index=0)
    meaning = statements["diagnostic_class"].where(statements["diagnostic"] == 1).to_dict()
    faults = Faults(where, repair)
    wanted = listed(leads) or list(LEADS)
    signals, statics, columns, subjects = [], [], [], []
    for ecg_id, row in table.to_dict("index").items():
        with faults.noting(f"of {len(table)} records are wrong", str(ecg_id)):
            static = _static(row, meaning)
            header = Header.read(where / str(row[NAMES[rate]]))
            if header.rate != rate:
                raise ValueError(f"it is recorded at {header.rate:g} Hz, not {rate}")
            signal = np.stack(header.signals(wanted), axis=1).astype(np.float32)
            if signals and len(signal) != len(signals[0]):
                raise ValueError(f"it has {len(signal):,} samples, those before {len(signals[0]):,}")
            signals.append(signal)
            statics.append(static)
            columns.append([header.columns[lead] for lead in wanted])
            subjects.append(int(row["patient_id"]))
    faults.settle()
    if not signals:
        raise ValueError(f"{where}: no record could be read")
    schema = Schema(
        tuple(alike(each) for each in zip(*columns, strict=True)),
        STATICS,
        step=1 / rate,
        step_unit="s",
        form="ptbxl",
        licence=LICENCE,
    )
    return Sequences(np.stack(signals), schema, static=np.stack(statics), subject=np.array(subjects))


def _table(where: Path, folds: str, filename: str) -> pd.DataFrame:
    table = _csv(where / "ptbxl_database.csv", (*NEEDED, filename), index="ecg_id")
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()].unique()
        raise ValueError(f"{where}: {len(twice)} ecg_id are there twice: {', '.join(map(str, twice[:5]))}")
    if folds:
        there = sorted(set(table["strat_fold"].dropna().astype(int)))
        asked = listed(folds)
        if unknown := [fold for fold in asked if fold not in map(str, there)]:
            raise ValueError(f"no fold {unknown[0]!r} in {where}; there are {', '.join(map(str, there))}")
        table = table.loc[table["strat_fold"].isin([int(fold) for fold in asked])]
    return table


def _csv(path: Path, needed: Sequence[str], index: str | int) -> pd.DataFrame:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the folder of PTB-XL as --source.folder, or set VITALSYNTH_DATA")
    return read_csv(path, needed, index_col=index)


def _static(row: Mapping[str, Any], meaning: Mapping[str, str | float]) -> Float[ndarray, " statics"]:
    """Read the static columns of one ECG.

    Args:
        row: Of the database.
        meaning: Superclass of each code, NaN for those of form or rhythm.

    Raises:
        ValueError: if one is not as it should be.
    """
    try:
        patient, age, sex, fold = (float(row[name]) for name in ("patient_id", "age", "sex", "strat_fold"))
        codes = set(ast.literal_eval(row["scp_codes"]))
    except (ValueError, TypeError, SyntaxError):
        raise ValueError("its row of ptbxl_database.csv cannot be read") from None
    if np.isnan(patient):
        raise ValueError("it has no patient_id")
    if sex not in (0, 1) and not np.isnan(sex):
        raise ValueError(f"sex is {sex:g}; 0 (male) and 1 (female) are known")
    if not (0 <= age <= OLDEST or age == HIDDEN_AGE or np.isnan(age)):
        raise ValueError(f"age is {age:g}; 0 to 89 and 300 (above 89) are known")
    if unknown := sorted(codes - set(meaning)):
        raise ValueError(f"{len(unknown)} codes are not in scp_statements.csv: {', '.join(unknown)}")
    found = {meaning[code] for code in codes}
    return np.array([np.minimum(age, OLDEST), sex, fold, *(float(name in found) for name in SUPERCLASSES)])


class PTBXLWriter(Writer):
    """A folder laid out like PTB-XL: records at the rate of the data, and the two tables.

    The codes of an ECG are its superclasses themselves, at a likelihood of 100, and scp_statements.csv says so, so that
    what adds up codes to superclasses finds them. Columns that were not learned are empty.
    """

    def _append(self, sequences: Sequences) -> None:
        rate = round(rate_of(self.schema))
        suffix = NAMES[rate].removeprefix("filename_")
        rows = []
        for number, one in enumerate(sequences.subject + 1):
            place = f"records{rate}/{one // 1000 * 1000:05d}/{one:05d}_{suffix}"
            folder, name = (self.path / place).parent, Path(place).name
            folder.mkdir(parents=True, exist_ok=True)
            write_record(folder, name, sequences.values[number, : sequences.lengths[number]], self.schema)
            rows.append({"ecg_id": one, "patient_id": float(one), NAMES[rate]: place})
        frame = pd.DataFrame(rows).join(_described(sequences)).reindex(columns=COLUMNS)
        with (self.path / "ptbxl_database.csv").open("a", newline="") as file:
            frame.to_csv(file, index=False, header=file.tell() == 0)

    def close(self, complete: bool) -> None:
        if complete:
            statements = {"description": SUPERCLASSES, "diagnostic": 1.0, "diagnostic_class": SUPERCLASSES}
            pd.DataFrame(statements, index=list(SUPERCLASSES)).to_csv(self.path / "scp_statements.csv")


def _described(sequences: Sequences) -> pd.DataFrame:
    """Return what the database says of each ECG; of columns that were dropped, nothing."""
    known = {column.name: sequences.static_column(column.name) for column in sequences.schema.statics}
    frame = pd.DataFrame({name: known[name] for name in ("age", "sex", "strat_fold") if name in known})
    if "age" in frame:
        frame["age"] = frame["age"].where(~(frame["age"] >= OLDEST), HIDDEN_AGE)
    given = [name for name in SUPERCLASSES if name in known]
    frame["scp_codes"] = [
        str({name: 100.0 for name in given if known[name][number] == 1}) for number in range(len(sequences))
    ]
    return frame
