"""The eICU Collaborative Research Database (Pollard et al. 2018), from its tables as they are distributed, in CSV.

    patient           a row a stay in intensive care
    vitalPeriodic     vital signs from the monitor, five minutes apart
    vitalAperiodic    non-invasive pressures and the like, when they were taken
    lab               a row a laboratory result

Times are minutes since admission to the unit. Tables are streamed: memory holds the grid, the keys and one block of
rows. Names of tables, columns and laboratory values are eICU's own.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
from jaxtyping import Float, Int
from numpy import ndarray

from ... import frames
from ...frames import Writer, columns
from ...sequences import Column, Schema, Sequences, listed, one_line
from ..faults import Faults, Repair
from ..folders import default_folder
from ..grid import Grid, steps

FORM = "eicu"
PRESSURES = (
    "systemicdiastolic <= systemicmean <= systemicsystolic",
    "noninvasivediastolic <= noninvasivemean <= noninvasivesystolic",
)
LICENCE = (
    "eICU-CRD 2.0: PhysioNet Credentialed Health Data License 1.5.0, not to be passed on; its demo: ODbL 1.0; "
    "cite Pollard et al. 2018 and Goldberger et al. 2000"
)
FIRST_ID = 9_000_001  # real stays end at 3,353,263
BLOCK = 2**24  # bytes of CSV
STAY, PERSON = "patientunitstayid", "uniquepid"

HEADERS = {
    "patient": (
        "patientunitstayid,patienthealthsystemstayid,gender,age,ethnicity,hospitalid,wardid,apacheadmissiondx,"
        "admissionheight,hospitaladmittime24,hospitaladmitoffset,hospitaladmitsource,hospitaldischargeyear,"
        "hospitaldischargetime24,hospitaldischargeoffset,hospitaldischargelocation,hospitaldischargestatus,unittype,"
        "unitadmittime24,unitadmitsource,unitvisitnumber,unitstaytype,admissionweight,dischargeweight,"
        "unitdischargetime24,unitdischargeoffset,unitdischargelocation,unitdischargestatus,uniquepid"
    ),
    "vitalPeriodic": (
        "vitalperiodicid,patientunitstayid,observationoffset,temperature,sao2,heartrate,respiration,cvp,etco2,"
        "systemicsystolic,systemicdiastolic,systemicmean,pasystolic,padiastolic,pamean,st1,st2,st3,icp"
    ),
    "vitalAperiodic": (
        "vitalaperiodicid,patientunitstayid,observationoffset,noninvasivesystolic,noninvasivediastolic,"
        "noninvasivemean,paop,cardiacoutput,cardiacinput,svr,svri,pvr,pvri"
    ),
    "lab": (
        "labid,patientunitstayid,labresultoffset,labtypeid,labname,labresult,labresulttext,labmeasurenamesystem,"
        "labmeasurenameinterface,labresultrevisedoffset"
    ),
}
"""As in the files of version 2.0 and in the definition of the tables of MIT-LCP's eicu-code."""

PERIODIC = (
    Column("temperature", unit="°C"),
    Column("sao2", unit="%", low=0.0, high=100.0),
    Column("heartrate", unit="1/min", low=0.0),
    Column("respiration", unit="1/min", low=0.0),
    Column("cvp", unit="mmHg"),
    Column("etco2", unit="mmHg", low=0.0),
    Column("systemicsystolic", unit="mmHg"),
    Column("systemicdiastolic", unit="mmHg"),
    Column("systemicmean", unit="mmHg"),
    Column("icp", unit="mmHg"),
)
APERIODIC = (
    Column("noninvasivesystolic", unit="mmHg", low=0.0),
    Column("noninvasivediastolic", unit="mmHg", low=0.0),
    Column("noninvasivemean", unit="mmHg", low=0.0),
)
LABS = {
    "albumin": "g/dL",
    "alkaline phos.": "Units/L",
    "ALT (SGPT)": "Units/L",
    "AST (SGOT)": "Units/L",
    "-bands": "%",
    "Base Excess": "mEq/L",
    "bedside glucose": "mg/dL",
    "bicarbonate": "mmol/L",
    "BUN": "mg/dL",
    "calcium": "mg/dL",
    "chloride": "mmol/L",
    "creatinine": "mg/dL",
    "FiO2": "%",
    "glucose": "mg/dL",
    "Hct": "%",
    "Hgb": "g/dL",
    "lactate": "mmol/L",
    "magnesium": "mg/dL",
    "paCO2": "mm Hg",
    "paO2": "mm Hg",
    "pH": "",
    "phosphate": "mg/dL",
    "platelets x 1000": "K/mcL",
    "potassium": "mmol/L",
    "PT - INR": "ratio",
    "PTT": "sec",
    "sodium": "mmol/L",
    "total bilirubin": "mg/dL",
    "troponin - I": "ng/mL",
    "WBC x 1000": "K/mcL",
}
"""What is read unless others are asked for, in the units that eICU has unified."""

OLDEST = "> 89"
NUMBERS = (
    Column("age", unit="years", low=0.0, high=90.0),  # 90 stands for "> 89"
    Column("admissionheight", unit="cm", low=0.0),
    Column("admissionweight", unit="kg", low=0.0),
)
GROUPS = ("gender", "ethnicity", "unittype")
OUTCOMES = tuple(
    Column(f"{place}dischargestatus", "binary", categories=("Alive", "Expired")) for place in ("unit", "hospital")
)


def eicu(
    folder: str | None = None, hours: float = 48.0, step: float = 1.0, labs: str = "", repair: Repair = False
) -> Sequences:
    """ICU stays of the eICU Collaborative Research Database, or its demo: vital signs, pressures and labs.

    Each step holds the mean of what was measured in it, from admission to the unit to discharge, or the hours given;
    labs taken before admission are not read. Static are age (90 stands for > 89), gender, ethnicity, unit type, height,
    weight and whether the patient left unit and hospital alive. A patient (uniquepid) may have several stays. Pollard
    et al. 2018; the database is under PhysioNet's credentialed licence, its demo under ODbL 1.0. To be fetched from
    PhysioNet.

    Args:
        folder: Holds patient, vitalPeriodic, vitalAperiodic and lab, as .csv or .csv.gz; $VITALSYNTH_DATA/eicu by
            default.
        hours: Longest length.
        step: Hours of a step.
        labs: Names of laboratory values as eICU has them, comma separated; thirty common ones by default.
        repair: Leave out what is wrong (repeated stays, rows of unknown stays, impossible values), and convert what is
            in another unit, with a warning, instead of refusing it.
    """
    if not 1 / 60 <= step <= hours < math.inf:
        raise ValueError(f"step must be at least a minute (0.0167) and at most hours; got step={step}, hours={hours}")
    where = Path(folder) if folder else default_folder(FORM)
    faults = Faults(str(where), repair)
    stays = _stays(_table(where, "patient"), faults)
    asked = {name: LABS.get(name, "") for name in listed(labs)} or LABS
    tests = [Column(name, unit=unit, low=None if name == "Base Excess" else 0.0) for name, unit in asked.items()]
    channels = [*PERIODIC, *APERIODIC, *tests]
    length = math.ceil(hours / step)
    grid = Grid(len(stays), length, ["mean"] * len(channels))
    rows = _Rows(np.asarray(stays.index), grid, hours, step, channels, faults)
    rows.add_vitals(_table(where, "vitalPeriodic"), PERIODIC, "vitalperiodicid")
    rows.add_vitals(_table(where, "vitalAperiodic"), APERIODIC, "vitalaperiodicid")
    rows.add_labs(_table(where, "lab"), tests)
    values = grid.values().astype(np.float32)
    unseen = [column.name for j, column in enumerate(channels) if np.isnan(values[:, :, j]).all()]
    if labs and (never := [name for name in asked if name in unseen]):
        faults.note(len(never), "labs that no stay has in these hours", never[0])
    statics, static = _statics(stays, faults)
    measured = faults.measured(values, channels)
    faults.settle()
    schema = Schema(measured, statics, step, "h", STAY, "observationoffset", PERSON, form=FORM, licence=LICENCE)
    schema = schema.keeping(*PRESSURES)
    lengths = np.clip(np.ceil(stays["unitdischargeoffset"] / 60 / step), 1, length).to_numpy(np.int64)
    return Sequences(values, schema, lengths, static, stays[PERSON].to_numpy(str)).drop(unseen)


def _table(folder: Path, name: str) -> Path:
    """Find a table, however its name's case is written."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; fetch eICU or its demo from PhysioNet")
    for path in sorted(folder.iterdir()):
        if path.name.lower() in (f"{name}.csv".lower(), f"{name}.csv.gz".lower()):
            return path
    raise ValueError(f"{folder}: no {name}.csv.gz and no {name}.csv; {', '.join(HEADERS)} are needed")


def _blocks(path: Path, kinds: dict[str, pa.DataType]) -> Iterator[Any]:
    """Yield some columns of a table, block by block.

    Raises:
        ValueError: if the file is truncated or damaged, or a column is missing or holds something else.
    """
    options = pc.ConvertOptions(column_types=kinds, include_columns=list(kinds), strings_can_be_null=True)
    try:
        with pc.open_csv(path, pc.ReadOptions(use_threads=False, block_size=BLOCK), convert_options=options) as file:
            for batch in file:
                yield batch.to_pandas()
    except (pa.ArrowException, OSError, KeyError) as error:
        message = one_line(error)
        raise ValueError(f"{path}: cannot be read as eICU's table ({message}); fetch it again") from None


def _stays(path: Path, faults: Faults) -> Any:
    """Read the stays, by their id."""
    names = (*(column.name for column in (*NUMBERS, *OUTCOMES)), *GROUPS, PERSON, STAY, "unitdischargeoffset")
    kinds = dict.fromkeys(names, pa.string()) | {STAY: pa.int64(), "unitdischargeoffset": pa.float64()}
    blocks = list(_blocks(path, kinds))
    if not blocks:
        raise ValueError(f"{path}: has no rows; a row a stay is needed")
    table: Any = pd.concat(blocks, ignore_index=True)
    checks = (
        ("stays that are there twice", table[STAY].duplicated().to_numpy()),
        ("stays that end before they begin", (table["unitdischargeoffset"] < 0).to_numpy()),
        ("stays without an end", table["unitdischargeoffset"].isna().to_numpy()),
        (f"stays without {PERSON}", (table[PERSON].isna() | (table[PERSON] == "")).to_numpy()),
    )
    wrong = faults.wrong(checks, lambda row: f"{STAY} {table[STAY].iloc[row]}")
    if wrong.all():
        raise ValueError(f"{path}: has no stay that can be read")
    return table[~wrong].set_index(STAY).sort_index()


def _statics(stays: Any, faults: Faults) -> tuple[tuple[Column, ...], Float[ndarray, "n statics"]]:
    stays = stays.assign(age=stays["age"].replace(OLDEST, "90")).reset_index()
    numbers = np.stack([faults.physical(columns.read(stays[c.name], c), c) for c in NUMBERS], axis=1)
    found = list(zip(faults.measured(numbers, NUMBERS), numbers.T, strict=True))
    groups = [name for name in GROUPS if stays[name].replace("", None).notna().any()]
    found += [columns.infer(stays[name], name) for name in groups]
    found += [(column, columns.read(stays[column.name], column)) for column in OUTCOMES]
    return tuple(column for column, _ in found), np.stack([numbers for _, numbers in found], axis=1)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Puts rows of tables on the grid.

    Args:
        stays: Ids, rising.
        grid: To fill.
        hours: Longest length.
        step: Hours of a step.
        channels: What each channel is.
        faults: Where to note what is wrong.
    """

    stays: Int[ndarray, " n"]
    grid: Grid
    hours: float
    step: float
    channels: list[Column]
    faults: Faults

    def add_vitals(self, path: Path, measured: tuple[Column, ...], key: str) -> None:
        """Add a table that has a column a variable."""
        names = [column.name for column in measured]
        kinds = {key: pa.int64(), STAY: pa.int64(), "observationoffset": pa.float64()}
        keys: list[ndarray] = []
        first = self.channels.index(measured[0])
        for rows in _blocks(path, kinds | dict.fromkeys(names, pa.float64())):
            rows, stay, index = self._placed(rows, "observationoffset", path)
            keys.append(rows[key].to_numpy())
            for j, column in enumerate(measured):
                self.grid.add(stay, index, first + j, self.faults.physical(rows[column.name].to_numpy(), column))
        _refuse_repeated(keys, key, path)

    def add_labs(self, path: Path, tests: list[Column]) -> None:
        """Add the table that has a row a result."""
        kinds = {"labid": pa.int64(), STAY: pa.int64(), "labresultoffset": pa.float64(), "labresult": pa.float64()}
        keys: list[ndarray] = []
        first = len(self.channels) - len(tests)
        for rows in _blocks(path, kinds | {"labname": pa.string()}):
            rows = rows[rows["labname"].isin([column.name for column in tests])]
            rows, stay, index = self._placed(rows, "labresultoffset", path)
            keys.append(rows["labid"].to_numpy())
            for j, column in enumerate(tests):
                mine = (rows["labname"] == column.name).to_numpy()
                numbers = self.faults.physical(rows["labresult"].to_numpy()[mine], column)
                self.grid.add(stay[mine], index[mine], first + j, numbers)
        _refuse_repeated(keys, "labid", path)

    def _placed(self, rows: Any, offset: str, path: Path) -> tuple[Any, Int[ndarray, " k"], Int[ndarray, " k"]]:
        """Return the rows within a stay's hours, and the stay and step of each."""
        stay = np.searchsorted(self.stays, rows[STAY]).clip(max=len(self.stays) - 1)
        unknown = self.stays[stay] != rows[STAY]
        first = f"{STAY} {rows[STAY][unknown].iloc[0]}" if unknown.any() else ""
        self.faults.note(unknown.sum(), f"rows of {path.name} whose stay is not in patient", first)
        minute = rows[offset].to_numpy()
        self.faults.note(np.isnan(minute).sum(), f"rows of {path.name} without a time")
        inside = ~unknown.to_numpy() & (minute >= 0) & (minute < self.hours * 60)
        return rows[inside], stay[inside], steps(minute[inside] / 60, self.step)


def _refuse_repeated(keys: list[ndarray], key: str, path: Path) -> None:
    every, counts = np.unique(np.concatenate([*keys, np.zeros(0, np.int64)]), return_counts=True)
    if again := int((counts - 1).sum()):
        raise ValueError(
            f"{path}: {again:,} rows repeat the {key} of another (first: {every[counts > 1][0]}); fetch it again"
        )


class EICUWriter(Writer):
    """Writes patient, vitalPeriodic, vitalAperiodic and lab as .csv.gz, with eICU's own columns.

    What a step holds stands in its middle; columns that were not learned are empty.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        super().__init__(path, schema)
        self.files = {
            name: gzip.open(path / f"{name}.csv.gz", "wt", 6, "utf-8", newline="")  # noqa: SIM115 (closed by `close`)
            for name in HEADERS
        }
        self.rows = dict.fromkeys(HEADERS, 0)
        for name, header in HEADERS.items():
            self.files[name].write(header + "\n")

    def _append(self, sequences: Sequences) -> None:
        stay = sequences.subject + FIRST_ID
        self._write_patients(stay, sequences)
        names = [column.name for column in self.schema.channels]
        vitals = {"vitalPeriodic": PERIODIC, "vitalAperiodic": APERIODIC}
        for table, measured in vitals.items():
            there = [column.name for column in measured if column.name in names]
            values = sequences.values[:, :, [names.index(name) for name in there]]
            sequence, step = np.nonzero(~np.isnan(values).all(axis=2))
            cells = dict(zip(there, values[sequence, step].T, strict=True))
            self._write(table, {STAY: stay[sequence], "observationoffset": self._minute(step), **cells})
        tests = [name for name in names if name not in {column.name for column in (*PERIODIC, *APERIODIC)}]
        values = sequences.values[:, :, [names.index(name) for name in tests]]
        sequence, step, test = np.nonzero(~np.isnan(values))
        result, minute = values[sequence, step, test], self._minute(step)
        unit = np.array([column.unit for column in self.schema.channels if column.name in tests])[test]
        lab = {"labresultoffset": minute, "labtypeid": 4, "labname": np.array(tests)[test], "labresult": result}
        units = {"labresulttext": result, "labmeasurenamesystem": unit, "labmeasurenameinterface": unit}
        self._write("lab", {STAY: stay[sequence], **lab, **units, "labresultrevisedoffset": minute})

    def _minute(self, step: Int[ndarray, " rows"]) -> Int[ndarray, " rows"]:
        return np.floor((step + 0.5) * self.schema.step * 60).astype(np.int64)

    def _write_patients(self, stay: Int[ndarray, " n"], sequences: Sequences) -> None:
        statics = enumerate(self.schema.statics)
        known = {c.name: frames.cells_of(sequences.static[:, j], c) for j, c in statics}
        if "age" in known:
            age = known["age"].astype("Float64").fillna(-1)
            known["age"] = age.map("{:.0f}".format).mask(age > 89, OLDEST).mask(age < 0)
        end = np.round(sequences.lengths * self.schema.step * 60).astype(np.int64)
        person = [f"900-{number:05}" for number in sequences.subject]
        admission = {"hospitaladmitoffset": 0, "hospitaldischargeoffset": end, "unitvisitnumber": 1}
        ids = {STAY: stay, "patienthealthsystemstayid": stay, PERSON: person, "unitdischargeoffset": end}
        self._write("patient", {**ids, **admission, **known})

    def _write(self, table: str, cells: dict[str, Any]) -> None:
        names = HEADERS[table].split(",")
        rows = pd.DataFrame(cells)
        if names[0] not in cells:  # the row's own number
            rows.insert(0, names[0], self.rows[table] + np.arange(1, len(rows) + 1))
        self.rows[table] += len(rows)
        rows.reindex(columns=names).to_csv(self.files[table], header=False, index=False, float_format="%.7g")

    def close(self, complete: bool) -> None:
        for file in self.files.values():
            file.close()
