"""A cohort as tables of MIMIC-III or MIMIC-IV, from which the readers, and other scripts, get the same cohort again.

Every sequence becomes a patient with one admission and one ICU stay, that begins at a date nobody was born at. Values
are written in the middle of their step, under the item id that each column names, in the unit that id is usually in.
Columns that a cohort has nothing for are there, and empty.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray

from ...frames import Writer, cells_of
from ...sequences import Column, Schema, Sequences
from .cohort import AHEAD, HOUR, PHENOTYPES, YEAR
from .items import TABLES, Frame, Items, read_items

BEGIN = np.datetime64("2130-01-01T00:00:00", "s").astype(np.int64)
FIRST_ADMISSION, FIRST_STAY = 100_001, 200_001

COLUMNS3 = {
    "PATIENTS": "row_id subject_id gender dob dod dod_hosp dod_ssn expire_flag",
    "ADMISSIONS": "row_id subject_id hadm_id admittime dischtime deathtime admission_type admission_location "
    "discharge_location insurance language religion marital_status ethnicity edregtime edouttime diagnosis "
    "hospital_expire_flag has_chartevents_data",
    "ICUSTAYS": "row_id subject_id hadm_id icustay_id dbsource first_careunit last_careunit first_wardid last_wardid "
    "intime outtime los",
    "CHARTEVENTS": "row_id subject_id hadm_id icustay_id itemid charttime storetime cgid value valuenum valueuom "
    "warning error resultstatus stopped",
    "LABEVENTS": "row_id subject_id hadm_id itemid charttime value valuenum valueuom flag",
    "OUTPUTEVENTS": "row_id subject_id hadm_id icustay_id charttime itemid value valueuom storetime cgid stopped "
    "newbottle iserror",
    "DIAGNOSES_ICD": "row_id subject_id hadm_id seq_num icd9_code",
}
COLUMNS4 = {
    "hosp/patients": "subject_id gender anchor_age anchor_year anchor_year_group dod",
    "hosp/admissions": "subject_id hadm_id admittime dischtime deathtime admission_type admit_provider_id "
    "admission_location discharge_location insurance language marital_status race edregtime edouttime "
    "hospital_expire_flag",
    "icu/icustays": "subject_id hadm_id stay_id first_careunit last_careunit intime outtime los",
    "icu/chartevents": "subject_id hadm_id stay_id caregiver_id charttime storetime itemid value valuenum valueuom "
    "warning",
    "hosp/labevents": "labevent_id subject_id hadm_id specimen_id itemid order_provider_id charttime storetime value "
    "valuenum valueuom ref_range_lower ref_range_upper flag priority comments",
    "icu/outputevents": "subject_id hadm_id stay_id caregiver_id charttime storetime itemid value valueuom",
    "hosp/diagnoses_icd": "subject_id hadm_id seq_num icd_code icd_version",
}


@dataclass(frozen=True, eq=False)
class Times:
    """When things happen in sequences that are written, in seconds since each begins.

    Args:
        sequences: What is written.
    """

    sequences: Sequences

    def label(self, name: str) -> Float[ndarray, "n length"] | None:
        """Return a channel, if there is one of that name."""
        names = [column.name for column in self.sequences.schema.channels]
        return self.sequences.values[:, :, names.index(name)] if name in names else None

    @property
    def sampled(self) -> Float[ndarray, "n length"] | None:
        """The label of a task that has one at every step, if there is one."""
        remaining = self.label("remaining_hours")
        return self.label("decompensation") if remaining is None else remaining

    @cached_property
    def end_of_step(self) -> Int[ndarray, "n length"]:
        schema = self.sequences.schema
        if schema.gap is not None:
            return np.round(np.nancumsum(self.sequences.channel(schema.gap), axis=1) * HOUR).astype(np.int64)
        n, length, _ = self.sequences.values.shape
        return np.tile(np.round(np.arange(1, length + 1) * schema.step * HOUR).astype(np.int64), (n, 1))

    @cached_property
    def start_of_step(self) -> Int[ndarray, "n length"]:
        return np.concatenate([np.zeros_like(self.end_of_step[:, :1]), self.end_of_step[:, :-1]], axis=1)

    @cached_property
    def measured(self) -> Int[ndarray, "n length"]:
        """Times of events, or the middle of each step, within the stay.

        A step without label is measured at its end: there the first measurement comes too late for a sample.
        """
        if self.sequences.schema.gap is not None:
            return self.end_of_step
        end = np.minimum(self.end_of_step, self.stay[:, None])
        middle = self.start_of_step + np.maximum((end - self.start_of_step) // 2, 1)
        return middle if self.sampled is None else np.where(np.isnan(self.sampled), end, middle)

    @cached_property
    def stay(self) -> Int[ndarray, " n"]:
        """How long each lasts: what its remaining hours say, else its steps.

        A last step without a label was not over when the stay was, which ends amid it.
        """
        rows, last = np.arange(len(self.sequences)), self.sequences.lengths - 1
        start, end = self.start_of_step[rows, last], self.end_of_step[rows, last]
        label = self.sampled
        if label is None:
            return np.maximum(end, 1)
        at = np.max(np.where(np.isnan(label), -1, np.arange(self.sequences.length)), axis=1)
        amid = start + np.maximum((end - start) // 2, 1)
        stay = np.where(at < last, amid, np.maximum(end, 1))
        if self.label("remaining_hours") is not None:
            told = self.end_of_step[rows, at] + np.round(np.nan_to_num(label[rows, at]) * HOUR).astype(np.int64)
            stay = np.where(at >= 0, np.maximum(told, start + 1), stay)
        return stay

    @cached_property
    def lived(self) -> Int[ndarray, " n"]:
        """Until when each of those who died lives: the end, or what the labels of decompensation say."""
        soon = self.label("decompensation")
        if soon is None:
            return self.stay
        rows = np.arange(len(soon))
        known, positive = ~np.isnan(soon), soon > 0
        first, last = positive.argmax(axis=1), np.max(np.where(known, np.arange(soon.shape[1]), 0), axis=1)
        half = (self.end_of_step - self.start_of_step)[rows, last] // 2
        ahead = round(AHEAD * HOUR)
        from_start = first == known.argmax(axis=1)
        dying = np.where(from_start, self.end_of_step[rows, last] + half, self.end_of_step[rows, first] + ahead - half)
        later = np.maximum(self.stay, self.end_of_step[rows, last] + ahead) + HOUR
        return np.where(positive.any(axis=1), dying, later)


class TablesWriter(Writer):
    """Tables as gzipped CSV, chunk by chunk; subclasses say which, with which columns."""

    columns: dict[str, str]
    upper = False

    def __init__(self, path: Path, schema: Schema) -> None:
        super().__init__(path, schema)
        self.known = read_items()
        self.files: dict[str, IO[str]] = {}
        self.rows = dict.fromkeys(self.columns, 0)
        for name, columns in self.columns.items():
            place = path / f"{name}.csv.gz"
            place.parent.mkdir(exist_ok=True)
            self.files[name] = gzip.open(place, "wt", compresslevel=1, newline="")  # noqa: SIM115 (closed by `close`)
            names = columns.upper() if self.upper else columns
            self.files[name].write(",".join(names.split()) + "\n")

    def _append(self, sequences: Sequences) -> None:
        times = Times(sequences)
        frames = {**stay_tables(sequences, times), **_event_tables(sequences, times, self.known)}
        for name, columns in self.columns.items():
            frame = frames[name.rpartition("/")[2].lower()]
            count = self.rows[name]
            numbers = np.arange(count + 1, count + len(frame) + 1)
            frame = frame.assign(row_id=numbers, labevent_id=numbers).reindex(columns=columns.split())
            frame.to_csv(self.files[name], header=False, index=False, lineterminator="\n")
            self.rows[name] += len(frame)

    def close(self, complete: bool) -> None:
        for file in self.files.values():
            file.close()


class MIMIC3Writer(TablesWriter):
    """The tables of MIMIC-III."""

    columns = COLUMNS3
    upper = True


class MIMIC4Writer(TablesWriter):
    """The tables of MIMIC-IV, in hosp/ and icu/."""

    columns = COLUMNS4


def stay_tables(sequences: Sequences, times: Times) -> dict[str, Frame]:
    """Return the tables of patients, admissions, ICU stays and diagnoses, a row a sequence in all but the last.

    They have all columns that either MIMIC has and a cohort can fill.
    """
    who = _who(sequences)
    statics = {
        column.name: cells_of(sequences.static[:, j], column) for j, column in enumerate(sequences.schema.statics)
    }
    cell = lambda name: statics.get(name, pd.Series(pd.NA, index=who.index, dtype="object"))  # noqa: E731
    died = cell("died").fillna(0).to_numpy(np.int64) > 0
    if "died" not in statics and (soon := times.label("decompensation")) is not None:
        died = (soon > 0).any(axis=1)
    out = np.where(died, np.maximum(times.stay, times.lived), times.stay)
    death = pd.Series(_date(times.lived)).where(died)
    age = cell("age").astype("Float64")
    patients = who.assign(
        gender=cell("sex"),
        dob=_date(-np.round((age.fillna(0).to_numpy() + 0.5) * YEAR).astype(np.int64)).where(age.notna()),
        dod=death,
        expire_flag=died.astype(int),
        anchor_age=age.round().astype("Int64"),
        anchor_year=2130,
    )
    begin = _date(np.zeros_like(out))
    admissions = who.assign(
        admittime=begin, dischtime=_date(out), deathtime=death, hospital_expire_flag=died.astype(int)
    )
    ethnicity = cell("ethnicity")
    admissions = admissions.assign(admission_type=cell("admission_type"), ethnicity=ethnicity, race=ethnicity)
    unit = cell("care_unit")
    stays = who.assign(intime=begin, outtime=_date(times.stay), los=times.stay / (24 * HOUR))
    stays = stays.assign(first_careunit=unit, last_careunit=unit, first_wardid=1, last_wardid=1)
    diagnoses = _diagnoses(statics, who)
    return {"patients": patients, "admissions": admissions, "icustays": stays, "diagnoses_icd": diagnoses}


def _who(sequences: Sequences) -> Frame:
    who = pd.DataFrame({"subject_id": sequences.subject + 1})
    who["hadm_id"], who["icustay_id"] = sequences.subject + FIRST_ADMISSION, sequences.subject + FIRST_STAY
    who["stay_id"] = who["icustay_id"]
    return who


def _date(seconds: Int[ndarray, " n"]) -> pd.Series:
    return pd.Series((BEGIN + seconds).astype("datetime64[s]")).dt.strftime("%Y-%m-%d %H:%M:%S")


def _event_tables(sequences: Sequences, times: Times, known: Items) -> dict[str, Frame]:
    parts = [
        _events_of(column, sequences.values[:, :, j], times, known)
        for j, column in enumerate(sequences.schema.channels)
        if column.key
    ]
    rows = pd.concat(parts).sort_values(["sequence", "seconds"], kind="stable")
    rows = rows.join(_who(sequences), on="sequence").reset_index(drop=True)
    rows = rows.assign(charttime=_date(rows["seconds"].to_numpy(np.int64)))
    return {table: rows[rows["table"] == table] for table in TABLES}


def _events_of(column: Column, values: Float[ndarray, "n length"], times: Times, known: Items) -> Frame:
    table, _, item = column.key.partition("/")
    sequence, step = np.nonzero(~np.isnan(values))
    value, unit, words = values[sequence, step], column.unit, {}
    at = int(np.searchsorted(known.ids, int(item)))
    if at < len(known.ids) and known.ids[at] == int(item):
        variable = known.variables[known.channel[at]]
        words = variable.words
        if variable.column.unit == unit != (usual := known.recorded[at][0]):
            factor, offset = known.conversion[known.channel[at], known.units.index(usual)]
            value, unit = np.round((value - offset) / factor, 9), usual
    numbers = pd.Series(value).astype(str).str.removesuffix(".0")
    labels = dict(enumerate(column.categories)) or words
    text = pd.Series(value).map(labels).fillna(numbers) if labels else numbers
    return pd.DataFrame(
        {
            "table": table,
            "sequence": sequence,
            "seconds": times.measured[sequence, step],
            "itemid": int(item),
            "value": text,
            "valuenum": numbers if column.kind == "continuous" else "",
            "valueuom": unit,
        }
    )


def _diagnoses(statics: dict[str, pd.Series], who: Frame) -> Frame:
    """Write a code of each group of diagnoses that a sequence has."""
    parts = [
        who[statics[name].fillna(0).to_numpy(np.int64) > 0].assign(code=code, group=name)
        for name, code in PHENOTYPES.items()
        if name in statics
    ]
    rows = pd.concat([who.head(0).assign(code="", group=""), *parts]).sort_values("hadm_id", kind="stable")
    number = rows.groupby("hadm_id").cumcount() + 1
    return rows.assign(icd9_code=rows["code"], icd_code=rows["code"], icd_version=9, seq_num=number)
