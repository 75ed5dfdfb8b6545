"""The PhysioNet / Computing in Cardiology Challenge 2012: 48 hours of an ICU stay in a small text file each.

    Time,Parameter,Value           one row a measurement, HH:MM since admission to the ICU
    00:00,RecordID,132539          general descriptors first, -1 where unknown
    00:07,HR,73

From Silva et al. 2012, "Predicting in-hospital mortality of ICU patients", and the challenge's own description.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ... import storage
from ...frames import Writer
from ...sequences import Column, Schema, Sequences
from ..faults import FIRST, Faults, Repair, log
from ..folders import default_folder
from ..grid import Grid, steps
from ..tables import read_csv
from .texts import Rows, as_rows, read_files

FORM = "physionet2012"
LICENCE = "ODC-By 1.0 (PhysioNet, challenge-2012 1.0.0); cite Silva et al. 2012 and Goldberger et al. 2000"
HEADER = "Time,Parameter,Value"
HOURS = 48
FIRST_ID = 900_001  # real RecordIDs end below 164,000
SETS = ("a", "b", "c")

UNITS = {
    "Albumin": "g/dL",
    "ALP": "IU/L",
    "ALT": "IU/L",
    "AST": "IU/L",
    "Bilirubin": "mg/dL",
    "BUN": "mg/dL",
    "Cholesterol": "mg/dL",
    "Creatinine": "mg/dL",
    "DiasABP": "mmHg",
    "FiO2": "fraction",
    "GCS": "",
    "Glucose": "mg/dL",
    "HCO3": "mmol/L",
    "HCT": "%",
    "HR": "1/min",
    "K": "mEq/L",
    "Lactate": "mmol/L",
    "Mg": "mmol/L",
    "MAP": "mmHg",
    "MechVent": "",
    "Na": "mEq/L",
    "NIDiasABP": "mmHg",
    "NIMAP": "mmHg",
    "NISysABP": "mmHg",
    "PaCO2": "mmHg",
    "PaO2": "mmHg",
    "pH": "",
    "Platelets": "1/nL",
    "RespRate": "1/min",
    "SaO2": "%",
    "SysABP": "mmHg",
    "Temp": "°C",
    "TroponinI": "µg/L",
    "TroponinT": "µg/L",
    "Urine": "mL",
    "WBC": "1/nL",
    "Weight": "kg",
}
"""The time series, as the challenge describes them."""

BOUNDS = {"FiO2": (0.0, 1.0), "GCS": (3.0, 15.0), "SaO2": (0.0, 100.0), "HCT": (0.0, 100.0), "Temp": (None, None)}
"""What cannot be otherwise; all else is not negative. Set A has a pH of 735 and temperatures of 0 °F, as -17.8 °C:
implausible values are the data's own, and kept."""

CHANNELS = tuple(
    Column(name, "binary")
    if name == "MechVent"
    else Column(name, unit=unit, low=BOUNDS.get(name, (0.0, None))[0], high=BOUNDS.get(name, (0.0, None))[1])
    for name, unit in UNITS.items()
)
DESCRIPTORS = {
    "Age": Column("Age", unit="years", low=0.0, high=90.0),  # the challenge caps it at 90
    "Gender": Column("Gender", "binary"),
    "Height": Column("Height", unit="cm", low=0.0),
    "ICUType": Column("ICUType", "categorical", categories=(1, 2, 3, 4)),
    "Weight": Column("static_Weight", unit="kg", low=0.0),  # a time series has its name
}
PARAMETERS = (*UNITS, "RecordID", "Age", "Gender", "Height", "ICUType")
DIED = Column("In-hospital_death", "binary")
SCORES = (
    Column("SAPS-I", low=0.0),
    Column("SOFA", low=0.0, high=24.0),
    Column("Length_of_stay", unit="days", low=0.0),
    Column("Survival", unit="days", low=0.0),
)
OUTCOMES = ("RecordID", *(column.name for column in SCORES), DIED.name)


def physionet2012(
    folder: str | None = None,
    set: Literal["a", "b", "c", "all"] = "a",
    step: float = 1.0,
    several: Literal["last", "mean"] = "last",
    urine: Literal["sum", "mean"] = "sum",
    scores: bool = False,
    repair: Repair = False,
) -> Sequences:
    """ICU stays of the PhysioNet Challenge 2012: 48 hours, 37 variables, in-hospital death.

    Each step holds the last of what was measured in it, which was really written down, or the mean; of urine the sum,
    so that totals stay right. What is measured at 48:00 counts in the last step. The general descriptors are static:
    Age, Gender (1 is male), Height, ICUType (1 coronary, 2 cardiac surgery recovery, 3 medical, 4 surgical) and Weight,
    as static_Weight, beside the time series. A stay is a subject: the challenge does not say which stays are of one
    patient. Silva et al. 2012; licence ODC-By 1.0. To be fetched from PhysioNet, challenge-2012.

    Args:
        folder: Holds set-a.tar.gz, or set-a with its text files, and Outcomes-a.txt; $VITALSYNTH_DATA/physionet2012 by
            default.
        set: a, b or c, of 4,000 stays each, or all.
        step: Hours of a step.
        several: What a step holds of several measurements of a variable.
        urine: What it holds of several amounts of urine.
        scores: Take SAPS-I, SOFA, Length_of_stay and Survival as static columns, too.
        repair: Leave out what is wrong (repeated rows, negative times, unknown parameters, impossible values), and
            convert what is in another unit, with a warning, instead of refusing it.
    """
    _check(set, step, several, urine)
    where = Path(folder) if folder else default_folder(FORM)
    faults = Faults(str(where), repair)
    letters = SETS if set == "all" else (set,)
    files = read_files([_place(where, letter) for letter in letters], r"\d+\.txt", faults)
    outcomes = pd.concat([_outcomes(where / f"Outcomes-{letter}.txt", faults) for letter in letters])
    stays = np.array([int(name.removesuffix(".txt")) for name, _ in files])
    rows = _Measurements.read(as_rows(files, HEADER, ",", faults), stays, faults)
    values = rows.binned(len(stays), step, several, urine, faults)
    taken = [DIED, *SCORES] if scores else [DIED]
    results = _of_stays(outcomes, stays, faults)[[column.name for column in taken]]
    static = np.column_stack([rows.descriptors(len(stays), faults), results]).astype(np.float32)
    measured, statics = faults.measured(values, CHANNELS), faults.measured(static, (*DESCRIPTORS.values(), *taken))
    faults.settle()
    if empty := int(np.isnan(values).all(axis=(1, 2)).sum()):
        log.warning("%s: %d of %d stays have no measurement at all; they are kept", where, empty, len(stays))
    schema = Schema(measured, statics, step, "h", id="RecordID", time="Time", form=FORM, licence=LICENCE)
    schema = schema.keeping("DiasABP <= MAP <= SysABP", "NIDiasABP <= NIMAP <= NISysABP")
    return Sequences(values, schema, static=static, subject=stays).take(np.isin(stays, outcomes.index))


def _check(set: str, step: float, several: str, urine: str) -> None:
    if not 1 / 60 <= step <= HOURS:
        raise ValueError(f"step must lie between a minute (0.0167) and {HOURS} hours, got {step}")
    choices = {"set": (set, (*SETS, "all")), "several": (several, ("last", "mean")), "urine": (urine, ("sum", "mean"))}
    for name, (given, allowed) in choices.items():
        if given not in allowed:
            raise ValueError(f"{name} is {given!r}; allowed are {', '.join(allowed)}")


def _place(folder: Path, letter: str) -> Path:
    for place in (folder / f"set-{letter}", folder / f"set-{letter}.tar.gz"):
        if place.exists():
            return place
    there = sorted({path.name[4] for path in folder.glob("set-[abc]*")})
    advice = f"; set {' and '.join(there)} is there" if there else ""
    raise ValueError(
        f"{folder}: no set-{letter}.tar.gz and no folder set-{letter}{advice}; fetch challenge-2012 from PhysioNet"
    )


def _outcomes(path: Path, faults: Faults) -> pd.DataFrame:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; it says who died, fetch it beside the set")
    read = read_csv(path, OUTCOMES, dtype=np.float64).astype({"RecordID": np.int64}).set_index("RecordID")
    twice = np.asarray(read.index.duplicated())
    first = read.index[twice].tolist()[:1]
    faults.note(twice.sum(), "stays with two outcomes", *first, mend=FIRST)
    return read.mask(read == -1).loc[~twice]


def _of_stays(outcomes: pd.DataFrame, stays: Int[ndarray, " n"], faults: Faults) -> pd.DataFrame:
    unknown = ~np.isin(stays, outcomes.index)
    faults.note(unknown.sum(), "stays without an outcome", stays[unknown.argmax()])
    return outcomes.reindex(stays)


@dataclass(frozen=True, eq=False)
class _Measurements:
    """The rows of all stays that could be read.

    Args:
        stay: Position of the stay.
        minute: Since admission.
        parameter: Position in PARAMETERS.
        number: NaN where it was given as -1.
    """

    stay: Int[ndarray, " rows"]
    minute: Float[ndarray, " rows"]
    parameter: Int[ndarray, " rows"]
    number: Float[ndarray, " rows"]

    @classmethod
    def read(cls, rows: Rows, stays: Int[ndarray, " n"], faults: Faults) -> _Measurements:
        codes, times = rows.texts("Time")
        minute = np.array([_minutes(time) for time in times], dtype=np.float64)[codes]
        codes, names = rows.texts("Parameter")
        places = [PARAMETERS.index(name) if name in PARAMETERS else -1 for name in names]
        parameter = np.array(places, dtype=np.int64)[codes]
        number = rows.numbers("Value", faults)
        other = (parameter == PARAMETERS.index("RecordID")) & (number != stays[rows.file])
        checks = (
            ("rows that repeat another", rows.cells.assign(file=rows.file).duplicated().to_numpy()),
            ("rows whose time is not written HH:MM", np.isnan(minute)),
            ("rows with a negative time", minute < 0),
            (f"rows later than {HOURS}:00", minute > HOURS * 60),
            ("rows of an unknown parameter", parameter < 0),
            ("files that have the RecordID of another", other),
        )
        wrong = faults.wrong(checks, lambda row: f"{stays[rows.file[row]]}.txt, {','.join(rows.cells.iloc[row])}")
        read = cls(rows.file, minute, parameter, np.where(number == -1, np.nan, number))
        return read.take(~wrong)

    def take(self, keep: Bool[ndarray, " rows"]) -> _Measurements:
        return _Measurements(self.stay[keep], self.minute[keep], self.parameter[keep], self.number[keep])

    def descriptive(self) -> Bool[ndarray, " rows"]:
        """Say which rows describe the stay; of weights that is the first at 00:00."""
        weight = (self.parameter == PARAMETERS.index("Weight")) & (self.minute == 0)
        weight[weight] = ~pd.Series(self.stay[weight]).duplicated().to_numpy()
        return weight | (self.parameter >= len(UNITS))

    def descriptors(self, count: int, faults: Faults) -> Float[ndarray, "n statics"]:
        rows = self.take(self.descriptive())
        found = np.full((count, len(DESCRIPTORS)), np.nan)
        for j, (name, column) in enumerate(DESCRIPTORS.items()):
            mine = rows.take(rows.parameter == PARAMETERS.index(name))
            again = pd.Series(mine.stay).duplicated().to_numpy()
            example = f"{name}={mine.number[again.argmax()]:g}" if again.any() else ""
            faults.note(again.sum(), "descriptors given twice, differently", example, "takes the first")
            mine = mine.take(~again)
            numbers = faults.physical(mine.number, column)
            found[mine.stay, j] = numbers - 1 if name == "ICUType" else numbers  # the code of category 1 is 0
        return found

    def binned(
        self, count: int, step: float, several: str, urine: str, faults: Faults
    ) -> Float[ndarray, "n length channels"]:
        rows = self.take(~self.descriptive())
        length, names = math.ceil(HOURS / step), list(UNITS)
        index = np.minimum(steps(rows.minute / 60, step), length - 1)
        grid = Grid(count, length, [urine if name == "Urine" else several for name in names])
        for j, column in enumerate(CHANNELS):
            mine = rows.parameter == j
            numbers = faults.physical(rows.number[mine], column)
            grid.add(rows.stay[mine], index[mine], j, numbers, 60 * rows.minute[mine].astype(np.int64))
        values = grid.values().astype(np.float32)
        ventilated = values[:, :, names.index("MechVent")]
        np.ceil(ventilated, out=ventilated)  # on for a part of a step is on
        return values


def _minutes(time: str) -> float:
    match = re.fullmatch(r"(-?)(\d{1,9}):([0-5]\d)", time.strip())
    if not match:
        return np.nan
    minutes = 60 * int(match[2]) + int(match[3])
    return float(-minutes if match[1] else minutes)


class PhysioNet2012Writer(Writer):
    """Writes set-a/<RecordID>.txt and Outcomes-a.txt as the challenge gives them.

    What a step holds stands in its middle, HH:30 if it is an hour; what is unknown is -1, or has no row.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        super().__init__(path, schema)
        self.outcomes = [",".join(OUTCOMES)]
        (path / "set-a").mkdir()
        middles = np.floor((np.arange(math.ceil(HOURS / schema.step)) + 0.5) * schema.step * 60).astype(int)
        self.times = [f"{minute // 60:02}:{minute % 60:02}" for minute in middles.tolist()]

    def _append(self, sequences: Sequences) -> None:
        names = [column.name for column in self.schema.channels]
        statics = [column.name for column in self.schema.statics]
        for i, stay in enumerate((sequences.subject + FIRST_ID).tolist()):
            known = dict(zip(statics, sequences.static[i].tolist(), strict=True))
            known["ICUType"] = known.get("ICUType", np.nan) + 1
            described = [f"00:00,{name},{_written(known.get(c.name))}" for name, c in DESCRIPTORS.items()]
            values = sequences.values[i]
            steps, channels = np.nonzero(~np.isnan(values))
            measured = [
                f"{self.times[t]},{names[c]},{value:.7g}"
                for t, c, value in zip(steps.tolist(), channels.tolist(), values[steps, channels].tolist(), strict=True)
            ]
            content = "\n".join([HEADER, f"00:00,RecordID,{stay}", *described, *measured, ""])
            storage.write(self.path / "set-a" / f"{stay}.txt", content.encode())
            self.outcomes.append(",".join([str(stay), *(_written(known.get(name)) for name in OUTCOMES[1:])]))

    def close(self, complete: bool) -> None:
        if complete:
            storage.write(self.path / "Outcomes-a.txt", "\n".join([*self.outcomes, ""]).encode())


def _written(value: float | None) -> str:
    return "-1" if value is None or np.isnan(value) else f"{value:.7g}"
