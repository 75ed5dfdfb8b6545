"""Who is read: ICU stays, admissions or patients, from when to when, what is known of each, and the benchmark's labels.

Times are whole seconds since 1970, as the shifted dates of MIMIC reach beyond what nanoseconds hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import yaml
from jaxtyping import Float, Int
from numpy import ndarray

from ... import frames
from ...sequences import Column, listed, nearest, one_line
from ..faults import FIRST, Faults, counted, named
from ..tables import read_csv
from .items import Cells, Frame

Unit = Literal["icustay", "admission", "patient"]
Include = Literal["benchmark", "all"]
Task = Literal["", "in-hospital-mortality", "decompensation", "length-of-stay", "phenotyping"]

HOUR = 3600
YEAR = 365.25 * 24 * HOUR
ADULT, OLDEST = 18, 90
"""Years; MIMIC moves the birth of those above 89 by three centuries, so that all of them count as 90."""
NEVER = np.iinfo(np.int64).min
MORTALITY_HOURS = 48.0
FIRST_SAMPLE, AHEAD = 4.0, 24.0
"""Hours: labels begin after four, and decompensation is death within 24."""

TABLE_COLUMNS = {
    "patients": ("subject_id", "gender"),
    "admissions": ("subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type", "ethnicity"),
    "icustays": ("subject_id", "hadm_id", "icustay_id", "first_careunit", "last_careunit", "intime", "outtime"),
}
KEYS = {"patients": "subject_id", "admissions": "hadm_id", "icustays": "icustay_id"}
NEWER_NAMES = {"stay_id": "icustay_id", "race": "ethnicity", "icd_code": "icd9_code"}
"""What MIMIC-IV calls columns of MIMIC-III."""
ETHNICITIES = ("OTHER", "ASIAN", "BLACK", "HISPANIC", "WHITE")
"""Groups of the benchmark, in the order of its codes."""
GROUPS = {"CARIBBEAN ISLAND": "BLACK", "SOUTH AMERICAN": "HISPANIC", "MIDDLE EASTERN": "WHITE", "PORTUGUESE": "WHITE"}
SEX = Column("sex", "binary", categories=("F", "M"))
AGE = Column("age", unit="years", resolution=1.0, low=0.0, high=float(OLDEST))
DIED = Column("died", "binary")
ETHNICITY = Column("ethnicity", "categorical", categories=ETHNICITIES)
REMAINING = Column("remaining_hours", unit="h", low=0.0)
DECOMPENSATION = Column("decompensation", "binary")
STATICS = ("died", "age", "sex", "ethnicity", "admission_type", "care_unit", "height", "weight")
BODY = {"height": "Height", "weight": "Weight"}
"""Static columns that are the first value of a channel."""


PHENOTYPES = {
    "Septicemia (except in labor)": "0389",
    "Diabetes mellitus without complication": "25000",
    "Diabetes mellitus with complications": "25060",
    "Disorders of lipid metabolism": "2724",
    "Fluid and electrolyte disorders": "2762",
    "Essential hypertension": "4019",
    "Hypertension with complications and secondary hypertension": "40390",
    "Acute myocardial infarction": "41071",
    "Coronary atherosclerosis and other heart disease": "41401",
    "Conduction disorders": "4260",
    "Cardiac dysrhythmias": "42731",
    "Congestive heart failure; nonhypertensive": "4280",
    "Acute cerebrovascular disease": "431",
    "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)": "486",
    "Chronic obstructive pulmonary disease and bronchiectasis": "496",
    "Pleurisy; pneumothorax; pulmonary collapse": "5119",
    "Respiratory failure; insufficiency; arrest (adult)": "51881",
    "Other lower respiratory disease": "78609",
    "Other upper respiratory disease": "47829",
    "Other liver diseases": "5715",
    "Gastrointestinal hemorrhage": "5789",
    "Acute and unspecified renal failure": "5849",
    "Chronic kidney disease": "5859",
    "Complications of surgical procedures or medical care": "9971",
    "Shock": "78551",
}
"""The groups of the task phenotyping, and of each one frequent ICD-9 code, which stands for it where one is written."""


class Folder:
    """The tables of MIMIC-III or MIMIC-IV, by name in lower case: .csv or .csv.gz, in hosp/ and icu/ too."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise ValueError(f"{path}: no such folder; give the one that holds the tables (PATIENTS.csv.gz, ...)")
        self.path = path
        self.files: dict[str, Path] = {}
        for place in (path, path / "hosp", path / "icu"):
            for file in sorted(place.glob("*.csv")) + sorted(place.glob("*.csv.gz")):  # of both, the gz is read
                self.files[file.name.lower().removesuffix(".gz").removesuffix(".csv")] = file

    def file(self, table: str) -> Path:
        """Return where a table is.

        Raises:
            ValueError: if it is not there.
        """
        if table not in self.files:
            there = ", ".join(self.files) or "none"
            raise ValueError(f"{self.path}: no table {table.upper()}.csv.gz or .csv; tables there: {there}")
        return self.files[table]

    def read(self, table: str, needed: Iterable[str]) -> Frame:
        """Read a small table, columns in lower case under the names of MIMIC-III.

        Raises:
            ValueError: if it cannot be read, or lacks a column.
        """
        path = self.file(table)
        frame = read_csv(path, low_memory=False, dtype={"ICD9_CODE": str, "icd9_code": str, "icd_code": str})
        frame = frame.rename(columns=str.lower).rename(columns=NEWER_NAMES)
        if missing := [name for name in needed if name not in frame]:
            raise ValueError(f"{path}: no column {missing[0]!r}; {nearest(missing[0], frame.columns)}")
        for name in [name for name in frame if name.endswith("time") or name in ("dob", "dod")]:
            with frames.prefixed(f"{path}, column {name!r}"):
                frame[name] = _seconds(frame[name])
        return frame


def _seconds(cells: Cells) -> Int[ndarray, " rows"]:
    """Read dates as seconds; `NEVER` where there is none."""
    try:
        times = cells.where(cells.notna(), "NaT").astype(str).to_numpy().astype("datetime64[s]")
    except ValueError as error:
        raise ValueError(f"{error}; dates are written as 2130-02-04 04:00:00") from None
    return times.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Cohort:
    """The sequences to be, one a row, ordered by subject and start.

    Args:
        frame: Columns subject_id, hadm_id, icustay_id (-1 where the unit is larger), start, end, lived (seconds since
            the start until death; NEVER if not known), and what static columns are made of.
        unit: What a row is.
    """

    frame: Frame
    unit: Unit

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, keep: ndarray) -> Cohort:
        return replace(self, frame=self.frame[keep].reset_index(drop=True))

    @property
    def hours(self) -> Float[ndarray, " n"]:
        """Duration of each."""
        return (self.frame["end"] - self.frame["start"]).to_numpy(np.float64) / HOUR

    def statics(self, names: list[str]) -> Iterator[tuple[Column, Float[ndarray, " n"]]]:
        """Yield static columns and their codes, but for those of `BODY`."""
        fixed = {"died": DIED, "age": AGE, "sex": SEX, "ethnicity": ETHNICITY}
        for name in names:
            cells = self.frame[name]
            if name in ("died", "age"):
                yield fixed[name], cells.to_numpy(np.float64)
            elif name in fixed:
                codes = {label: float(code) for code, label in enumerate(fixed[name].categories)}
                yield fixed[name], cells.map(codes).to_numpy(np.float64)
            else:
                yield frames.infer(cells, name, categorical=True)


def read_cohort(folder: Folder, newer: bool, unit: Unit, include: Include, faults: Faults) -> Cohort:
    """Read PATIENTS, ADMISSIONS and ICUSTAYS, and choose.

    Args:
        folder: Of the tables.
        newer: Whether these are tables of MIMIC-IV.
        unit: What a sequence is.
        include: `benchmark` leaves out stays with a transfer, admissions with several stays, and minors; `all` nobody.
        faults: Repeated rows, stays that end before they begin, and who is left out are noted there.

    Raises:
        ValueError: if a table is not as it should be.
    """
    tables = {name: folder.read(name, needed) for name, needed in TABLE_COLUMNS.items()}
    for name, key in KEYS.items():
        tables[name] = _unique(tables[name], key, folder.file(name), faults)
    patients, admissions, stays = tables.values()
    birth, other = ("anchor_age", "mimic3") if newer else ("dob", "mimic4")
    if birth not in patients:
        raise ValueError(f"{folder.file('patients')}: no column {birth!r}; if the tables are of {other}, read {other}")
    everyone = len(stays)
    rows = stays.merge(admissions, on=["subject_id", "hadm_id"], suffixes=("", "_")).merge(patients, on="subject_id")
    faults.leave_out(everyone - len(rows), "ICU stays whose admission or patient is in no table")
    rows = _forward(rows, unit, faults)
    rows["sex"], rows["ethnicity"] = rows["gender"], _grouped(rows["ethnicity"])
    rows["age"], rows["died"], rows["care_unit"] = _age(rows), _died(rows), rows["first_careunit"]
    if include == "benchmark":
        rows = _included(rows, faults)
    chosen = _unit(rows, unit).sort_values(["subject_id", "start"]).reset_index(drop=True)
    if not len(chosen):
        why = counted({**faults.found, **faults.left_out}) or "none"
        raise ValueError(f"{folder.path}: no ICU stay is left of {everyone:,}; left out: {why}")
    return Cohort(chosen, unit)


def _unique(table: Frame, key: str, path: Path, faults: Faults) -> Frame:
    twice = table[key].duplicated(keep=False)
    if not twice.any():
        return table
    ids = sorted(set(table[key][twice]))
    faults.note(len(ids), f"{key}s that are in {path.name} twice or more", named(ids), FIRST)
    return table.sort_values(list(table.columns), kind="stable").drop_duplicates(key)


def _forward(rows: Frame, unit: Unit, faults: Faults) -> Frame:
    """Leave out stays without a time, and those that end before they begin, or begin before their patient's birth.

    Where the unit is larger, their admission is looked at.
    """
    known = (rows[["intime", "outtime", "admittime", "dischtime"]] != NEVER).all(axis=1)
    faults.leave_out((~known).sum(), "ICU stays without a time of begin or end")
    rows = rows[known]
    begin, end = ("intime", "outtime") if unit == "icustay" else ("admittime", "dischtime")
    backward = rows[end] <= rows[begin]
    if "dob" in rows:
        backward |= rows[begin] < rows["dob"]
    ids = sorted(rows["icustay_id"][backward])
    faults.note(len(ids), "ICU stays of negative time, that end before they begin or begin before birth", named(ids))
    return rows[~backward].copy()


def _included(rows: Frame, faults: Faults) -> Frame:
    """Apply the benchmark's rules in its order."""
    places = rows.reindex(columns=["first_careunit", "last_careunit", "first_wardid", "last_wardid"]).astype(str)
    moved = (places["first_careunit"] != places["last_careunit"]) | (places["first_wardid"] != places["last_wardid"])
    several = rows["hadm_id"][~moved].duplicated(keep=False).reindex(rows.index, fill_value=False)
    minor = rows["age"] < ADULT
    gone: Cells = pd.Series(False, index=rows.index)
    for which, what in (
        (moved, "with a transfer"),
        (several, "of admissions with several"),
        (minor, f"of patients below {ADULT} years"),
    ):
        faults.leave_out((which & ~gone).sum(), f"ICU stays {what}")
        gone |= which
    return rows[~gone]


def _unit(rows: Frame, unit: Unit) -> Frame:
    rows = rows.sort_values(["subject_id", "intime", "icustay_id"])
    if unit == "icustay":
        chosen = rows.assign(start=rows["intime"], end=rows["outtime"])
    elif unit == "admission":
        chosen = rows.drop_duplicates("hadm_id").assign(icustay_id=-1)
        chosen = chosen.assign(start=chosen["admittime"], end=chosen["dischtime"])
    else:
        by_subject = rows.groupby("subject_id")
        chosen = rows.drop_duplicates("subject_id").set_index("subject_id")
        chosen = chosen.assign(
            start=by_subject["admittime"].min(),
            end=by_subject["dischtime"].max(),
            died=by_subject["died"].max(),
            deathtime=by_subject["deathtime"].max(),
            icustay_id=-1,
            hadm_id=-1,
        ).reset_index()
    return chosen.assign(lived=np.where(chosen["deathtime"] == NEVER, NEVER, chosen["deathtime"] - chosen["start"]))


def _age(rows: Frame) -> Cells:
    if "dob" in rows:
        years = ((rows["intime"] - rows["dob"]) / YEAR).where(rows["dob"] != NEVER)
    else:
        years = rows["anchor_age"] + _year(rows["intime"]) - rows["anchor_year"]
    return np.floor(years).clip(upper=OLDEST)


def _year(seconds: Cells) -> ndarray:
    return seconds.to_numpy("datetime64[s]").astype("datetime64[Y]").astype(np.int64) + 1970


def _died(rows: Frame) -> Cells:
    """Say who died in hospital: by the time of death, or its date, between admission and discharge."""
    within = lambda name: (rows["admittime"] <= rows[name]) & (rows[name] <= rows["dischtime"])  # noqa: E731
    return (within("deathtime") | within("dod") if "dod" in rows else within("deathtime")).astype(float)


def _grouped(cells: Cells) -> Cells:
    first = (
        cells.astype("string")
        .fillna("")
        .str.upper()
        .str.replace(" OR ", "/")
        .str.split(" - ")
        .str[0]
        .str.split("/")
        .str[0]
    )
    first = first.replace(GROUPS)
    return first.where(first.isin(ETHNICITIES), "OTHER")


def sample_channels(
    cohort: Cohort, task: Task, ends: Float[ndarray, "n length"], first: Float[ndarray, " n"]
) -> Iterator[tuple[Column, Float[ndarray, "n length"]]]:
    """Yield the label of a task that has one at every step; NaN where the benchmark takes no sample.

    Args:
        cohort: Who.
        task: Of the benchmark.
        ends: Hours at which each step ends.
        first: Hours until the first measurement.
    """
    until = cohort.hours[:, None]
    sampled = (ends > FIRST_SAMPLE) & (ends > first[:, None]) & (ends <= until + 1e-6)
    if task == "length-of-stay":
        yield REMAINING, np.where(sampled, np.maximum(until - ends, 0.0), np.nan)
    elif task == "decompensation":
        lived = cohort.frame["lived"].to_numpy()[:, None]
        lived = np.where(lived == NEVER, np.inf, lived / HOUR)
        soon = (cohort.frame["died"].to_numpy()[:, None] > 0) & (lived - ends < AHEAD)
        yield DECOMPENSATION, np.where(sampled & (ends <= lived + 1e-6), soon, np.nan)


def phenotypes(
    cohort: Cohort, folder: Folder, definitions: str, faults: Faults
) -> Iterator[tuple[Column, Float[ndarray, " n"]]]:
    """Yield a static column for each group of diagnoses that the benchmark uses.

    Args:
        cohort: Who.
        folder: Holds DIAGNOSES_ICD.
        definitions: The benchmark's `hcup_ccs_2015_definitions.yaml`: by group its codes, and whether it is used.
        faults: Codes of another version of the ICD are noted there.

    Raises:
        ValueError: if the definitions or the table are missing or not as they should be.
    """
    groups = _definitions(definitions)
    diagnoses = folder.read("diagnoses_icd", ("subject_id", "hadm_id", "icd9_code"))
    if "icd_version" in diagnoses:
        ninth = diagnoses["icd_version"] == 9
        faults.leave_out((~ninth).sum(), "diagnoses that are not coded in ICD-9")
        diagnoses = diagnoses[ninth]
    key = "subject_id" if cohort.unit == "patient" else "hadm_id"
    codes = diagnoses["icd9_code"].astype(str).str.strip()
    for name, members in groups.items():
        has = set(diagnoses[key][codes.isin(members)])
        yield Column(name, "binary"), cohort.frame[key].isin(has).to_numpy(np.float64)


def _definitions(path: str) -> Mapping[str, list[str]]:
    if not Path(path).is_file():
        told = "the task phenotyping needs definitions=FILE, the benchmark's hcup_ccs_2015_definitions.yaml"
        raise ValueError(f"{path or 'no definitions'}: {'no such file; ' if path else ''}{told}")
    try:
        groups = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        used = {name: list(map(str, group["codes"])) for name, group in groups.items() if group["use_in_benchmark"]}
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: no definitions of phenotypes ({one_line(error)}); each group needs codes and use_in_benchmark"
        ) from None
    if not used:
        raise ValueError(f"{path}: no group has use_in_benchmark: true; at least one is needed")
    return used


def chosen_statics(text: str) -> list[str]:
    """Read a list of static columns.

    Raises:
        ValueError: if one is not known.
    """
    names = listed(text)
    if unknown := [name for name in names if name not in STATICS]:
        raise ValueError(f"no static column {unknown[0]!r}; {nearest(unknown[0], STATICS)}")
    return names
