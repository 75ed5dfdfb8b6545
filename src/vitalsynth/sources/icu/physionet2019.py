"""The PhysioNet / Computing in Cardiology Challenge 2019: hourly ICU records with the onset of sepsis.

    HR|O2Sat|Temp|...|Age|Gender|Unit1|Unit2|HospAdmTime|ICULOS|SepsisLabel

A .psv file each, one row an hour, NaN where not measured. ICULOS counts hours in the ICU from 1; some records begin
later. From Reyna et al. 2020, "Early prediction of sepsis from clinical data", and the challenge's own description.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from ... import storage
from ...frames import Writer
from ...sequences import Column, Schema, Sequences
from ..faults import Faults, Repair
from ..folders import default_folder
from .texts import Files, as_rows, read_files

FORM = "physionet2019"
LICENCE = "CC BY 4.0 (PhysioNet, challenge-2019 1.0.0); cite Reyna et al. 2020 and Goldberger et al. 2000"
FIRST_ID = 900_001  # real records are p000001 to p020643 and p100001 to p120000
ROOM = 336  # hours, the longest record that the challenge has

UNITS = {
    "HR": "1/min",
    "O2Sat": "%",
    "Temp": "°C",
    "SBP": "mmHg",
    "MAP": "mmHg",
    "DBP": "mmHg",
    "Resp": "1/min",
    "EtCO2": "mmHg",
    "BaseExcess": "mmol/L",
    "HCO3": "mmol/L",
    "FiO2": "fraction",
    "pH": "",
    "PaCO2": "mmHg",
    "SaO2": "%",
    "AST": "IU/L",
    "BUN": "mg/dL",
    "Alkalinephos": "IU/L",
    "Calcium": "mg/dL",
    "Chloride": "mmol/L",
    "Creatinine": "mg/dL",
    "Bilirubin_direct": "mg/dL",
    "Glucose": "mg/dL",
    "Lactate": "mg/dL",
    "Magnesium": "mmol/dL",
    "Phosphate": "mg/dL",
    "Potassium": "mmol/L",
    "Bilirubin_total": "mg/dL",
    "TroponinI": "ng/mL",
    "Hct": "%",
    "Hgb": "g/dL",
    "PTT": "s",
    "WBC": "1/nL",
    "Fibrinogen": "mg/dL",
    "Platelets": "1/nL",
}
"""As the challenge documents them; it says % of FiO2, but its values are fractions. Of lactate and magnesium the
values are those of mmol/L and mg/dL (medians 1.95 and 2.0), whatever it says."""

LOW = {"BaseExcess": None, "Temp": None, "FiO2": None}
HIGH = {"O2Sat": 100.0, "SaO2": 100.0}
LABEL = Column("SepsisLabel", "binary")
CHANNELS = (*(Column(n, unit=unit, low=LOW.get(n, 0.0), high=HIGH.get(n)) for n, unit in UNITS.items()), LABEL)
STATICS = (
    Column("Age", unit="years", low=0.0, high=100.0),  # 100 stands for 90 and more
    Column("Gender", "binary"),
    Column("Unit1", "binary"),
    Column("Unit2", "binary"),
    Column("HospAdmTime", unit="h"),
)
HEADER = (*UNITS, *(column.name for column in STATICS), "ICULOS", LABEL.name)


def physionet2019(folder: str | None = None, hours: int = 72, repair: Repair = False) -> Sequences:
    """ICU records of the PhysioNet Challenge 2019: hourly, 34 variables and the label of sepsis.

    SepsisLabel is a channel, 1 from six hours before the onset of sepsis. Static are Age, Gender (1 is male), Unit1
    (medical), Unit2 (surgical) and HospAdmTime, hours from hospital to ICU admission, which are negative. A record that
    begins some hours after admission has nothing in these. A record is a subject. Reyna et al. 2020; licence CC BY 4.0.
    To be fetched from PhysioNet, challenge-2019.

    Args:
        folder: Holds .psv files, in folders of any depth or in .tar.gz archives; $VITALSYNTH_DATA/physionet2019 by
            default.
        hours: Longest length; what comes later is left out. Half of all records have 38 hours or less, the longest 336.
        repair: Leave out what is wrong (repeated hours, negative times, impossible values), and convert what is in
            another unit, with a warning, instead of refusing it.
    """
    if not 1 <= hours <= ROOM:
        raise ValueError(f"hours must lie between 1 and {ROOM}, got {hours}")
    where = Path(folder) if folder else default_folder(FORM)
    faults = Faults(str(where), repair)
    files = _files(where, faults)
    values, lengths, static = _read(files, hours, faults)
    measured = faults.measured(values, CHANNELS, unchecked=("Lactate",))  # documented in another unit than it is in
    statics = faults.measured(static, STATICS)
    faults.settle()
    schema = Schema(measured, statics, 1.0, "h", id="record", time="ICULOS", start=1.0, form=FORM, licence=LICENCE)
    schema = schema.keeping("DBP <= MAP <= SBP")
    return Sequences(values, schema, lengths, static, np.array([name.removesuffix(".psv") for name, _ in files]))


def _files(folder: Path, faults: Faults) -> Files:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; fetch challenge-2019 from PhysioNet")
    archives = sorted(folder.glob("*.tar.gz"))
    if any(folder.rglob("*.psv")) or not archives:
        return read_files([folder], r".+\.psv", faults)
    return read_files(archives, r".+\.psv", faults)


def _read(files: Files, hours: int, faults: Faults) -> tuple[ndarray, ndarray, ndarray]:
    """Return values, lengths and statics."""
    rows = as_rows(files, "|".join(HEADER), "|", faults)
    hour, file = rows.numbers("ICULOS", faults), rows.file
    repeated = pd.DataFrame({"file": file, "hour": hour}).duplicated().to_numpy()
    checks = (
        ("rows whose ICULOS is no whole number", hour != np.round(hour)),
        ("rows with a negative time", hour < 1),
        ("rows that repeat an hour", repeated),
    )
    wrong = faults.wrong(checks, lambda row: f"{files[file[row]][0]}, ICULOS {hour[row]:g}")
    rows, hour, file = rows.take(~wrong), hour[~wrong], file[~wrong]
    step = hour.astype(np.int64) - 1
    lengths = np.ones(len(files), dtype=np.int64)
    np.maximum.at(lengths, file, np.minimum(step + 1, hours))
    values = np.full((len(files), int(lengths.max()), len(CHANNELS)), np.nan, dtype=np.float32)
    early = step < hours
    for j, column in enumerate(CHANNELS):
        numbers = faults.physical(rows.numbers(column.name, faults), column)
        values[file[early], step[early], j] = numbers[early]
    static = np.full((len(files), len(STATICS)), np.nan)
    for j, column in enumerate(STATICS):
        numbers = faults.physical(rows.numbers(column.name, faults), column)
        static[:, j] = _constant(numbers, file, len(files), column.name, files, faults)
    return values, lengths, static


def _constant(
    numbers: Float[ndarray, " rows"], file: ndarray, count: int, name: str, files: Files, faults: Faults
) -> Float[ndarray, " n"]:
    """Return the value of each file's first row, and note where others differ."""
    found = np.full(count, np.nan)
    _, first = np.unique(file, return_index=True)
    found[file[first]] = numbers[first]
    other = (numbers != found[file]) & ~(np.isnan(numbers) & np.isnan(found[file]))
    changed = np.unique(file[other])
    example = files[changed[0]][0] if len(changed) else ""
    faults.note(len(changed), f"records in which {name} changes", example, "takes the first")
    return found


class PhysioNet2019Writer(Writer):
    """Writes a pNNNNNN.psv a record, as the challenge gives them.

    Hours before the first in which anything is known have no row. A label that is not known is the one before, or 0.
    """

    def _append(self, sequences: Sequences) -> None:
        names = [column.name for column in self.schema.columns]
        places = [(names.index(name) if name in names else None) for name in HEADER]
        for i, number in enumerate((sequences.subject + FIRST_ID).tolist()):
            length = int(sequences.lengths[i])
            table = np.concatenate([sequences.values[i, :length], np.tile(sequences.static[i], (length, 1))], axis=1)
            known = ~np.isnan(sequences.values[i, :length]).all(axis=1)
            first = int(known.argmax())
            cells = np.column_stack([table[:, j] if j is not None else np.full(length, np.nan) for j in places])
            cells[:, HEADER.index("ICULOS")] = np.arange(1, length + 1)
            label = pd.Series(cells[:, HEADER.index(LABEL.name)])
            cells[:, HEADER.index(LABEL.name)] = label.ffill().fillna(0)
            rows = ["|".join("NaN" if np.isnan(v) else f"{v:.7g}" for v in row) for row in cells[first:].tolist()]
            content = "\n".join(["|".join(HEADER), *rows, ""])
            storage.write(self.path / f"p{number:06}.psv", content.encode())

    def close(self, complete: bool) -> None:
        """Nothing is open."""
