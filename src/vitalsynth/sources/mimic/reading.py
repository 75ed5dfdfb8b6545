"""The tables of MIMIC-III and MIMIC-IV to sequences."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ...sequences import Column, Schema, Sequences
from ..faults import Faults, Repair, counted, first_of_each, named
from ..folders import default_folder
from ..grid import Grid, event_steps, steps
from .cohort import (
    BODY,
    HOUR,
    MORTALITY_HOURS,
    Cohort,
    Folder,
    Include,
    Task,
    Unit,
    chosen_statics,
    phenotypes,
    read_cohort,
    sample_channels,
)
from .events import Rows, Scale, Windows, measurements
from .items import PACKAGED, PRESSURES, TABLES, Items, read_items

MOST_HOURS = 100_000
METAVISION = 220_000
"""Items of CHARTEVENTS below are of CareVue, which MIMIC-IV does not have; those of LABEVENTS are the same in both."""
LICENCE = (
    "PhysioNet Credentialed Health Data License 1.5.0 (the demo: Open Database License 1.0, which a derived database "
    "keeps); cite {}, Goldberger et al. 2000, Circulation 101(23):e215, and for the variables Harutyunyan et al. 2019, "
    "Scientific Data 6:96"
)
MIMIC3_LICENCE = LICENCE.format("Johnson et al. 2016, MIMIC-III, Scientific Data 3:160035")
MIMIC4_LICENCE = LICENCE.format("Johnson et al. 2023, MIMIC-IV, Scientific Data 10:1")
GAP = Column("hours_since_last", unit="h", low=0.0)


def mimic3(
    folder: str | None = None,
    unit: Unit = "icustay",
    hours: float = 48.0,
    step: float = 1.0,
    task: Task = "",
    include: Include = "benchmark",
    items: str = "",
    statics: str = "died,age,sex,ethnicity,admission_type,care_unit",
    definitions: str = "",
    ranges: bool = True,
    repair: Repair = False,
    form: Literal["mimic3", "mimic3-benchmark"] = "mimic3",
) -> Sequences:
    """MIMIC-III, from its tables: ICU stays with the 17 variables of the benchmark of Harutyunyan et al. 2019.

    Johnson et al. 2016; licence: PhysioNet Credentialed Health Data (the demo: ODbL 1.0). Reads PATIENTS, ADMISSIONS,
    ICUSTAYS, CHARTEVENTS, LABEVENTS and OUTPUTEVENTS, .csv or .csv.gz, in bounded memory, rows in any order. In a step
    the last value stands, as in the benchmark; nothing is imputed. What is left out is counted and told.

    Args:
        folder: Where the tables are; $VITALSYNTH_DATA/mimic3 by default.
        unit: What a sequence is: an icustay, an admission, or a patient (from the first admission on).
        hours: Of each the first so many.
        step: Duration of a step in hours; 0 keeps the times of events: each distinct time is a step, and a channel
            hours_since_last says how long after the one before.
        task: Of the benchmark: in-hospital-mortality (stays of 48 hours or more; static died), decompensation (a
            channel: death within 24 hours), length-of-stay (a channel: remaining_hours), phenotyping (25 static
            columns).
        include: benchmark leaves out stays with a transfer, admissions with several stays, and minors; all nobody.
        items: Item table, a CSV, of other variables; see docs/data/mimic.md.
        statics: Static columns, comma separated: died, age, sex, ethnicity, admission_type, care_unit; height and
            weight are the first measured.
        definitions: For phenotyping, the benchmark's hcup_ccs_2015_definitions.yaml.
        ranges: Whether values beyond the benchmark's outlier limits are left out, and those beyond the valid ones set
            to these.
        repair: Whether values in wrong units are converted, and repeated stays, stays of negative time and unknown item
            ids left out; each is refused otherwise.
        form: What a cohort is written back as: tables of MIMIC-III, or folders of the benchmark.
    """
    where = Path(folder) if folder else default_folder("mimic3")
    wanted = read_items(items or PACKAGED, ranges)
    schema = Schema((GAP,), form=form, licence=MIMIC3_LICENCE)
    asked = _Asked(
        Folder(where), False, unit, hours, step, task, include, chosen_statics(statics), definitions, ranges, repair
    )
    return asked.read(wanted, schema, own_items=bool(items))


def mimic4(
    folder: str | None = None,
    unit: Unit = "icustay",
    hours: float = 48.0,
    step: float = 1.0,
    task: Task = "",
    include: Include = "benchmark",
    items: str = "",
    statics: str = "died,age,sex,ethnicity,admission_type,care_unit",
    definitions: str = "",
    ranges: bool = True,
    repair: Repair = False,
) -> Sequences:
    """MIMIC-IV, from its tables: ICU stays with the variables of the MIMIC-III benchmark, by MetaVision's item ids.

    Johnson et al. 2023; licence: PhysioNet Credentialed Health Data (the demo: ODbL 1.0). Reads hosp/ patients,
    admissions, labevents and icu/ icustays, chartevents, outputevents, .csv or .csv.gz; all else is as in `mimic3`, but
    that lab values that name no admission count by their time.

    Args:
        folder: Where hosp/ and icu/ are; $VITALSYNTH_DATA/mimic4 by default.
        unit: What a sequence is: an icustay, an admission, or a patient (from the first admission on).
        hours: Of each the first so many.
        step: Duration of a step in hours; 0 keeps the times of events; see `mimic3`.
        task: Of the benchmark; see `mimic3`. Phenotypes are of the diagnoses coded in ICD-9 only.
        include: benchmark leaves out stays with a transfer, admissions with several stays, and minors; all nobody.
        items: Item table, a CSV, of other variables; see docs/data/mimic.md.
        statics: Static columns, comma separated; see `mimic3`.
        definitions: For phenotyping, the benchmark's hcup_ccs_2015_definitions.yaml.
        ranges: Whether the limits of the item table apply.
        repair: Whether what is wrong is repaired rather than refused; see `mimic3`.
    """
    where = Path(folder) if folder else default_folder("mimic4")
    wanted = read_items(items or PACKAGED, ranges)
    if not items:
        wanted = wanted.take((wanted.ids >= METAVISION) | (wanted.table == "labevents")).only_measurable()
    schema = Schema((GAP,), form="mimic4", licence=MIMIC4_LICENCE)
    asked = _Asked(
        Folder(where), True, unit, hours, step, task, include, chosen_statics(statics), definitions, ranges, repair
    )
    return asked.read(wanted, schema, own_items=bool(items))


@dataclass(frozen=True, eq=False)
class _Measured:
    """What was measured.

    Args:
        values: On the grid, or at the times of events.
        lengths: Steps of each sequence.
        first: Hours until its first measurement; infinite where there is none.
        ends: Hours until each step ends, or its event; NaN where there is none.
    """

    values: Float[ndarray, "n length channels"]
    lengths: Int[ndarray, " n"]
    first: Float[ndarray, " n"]
    ends: Float[ndarray, "n length"]


@dataclass(frozen=True, eq=False)
class _Asked:
    """What was asked for: the settings of `mimic3`."""

    folder: Folder
    newer: bool
    unit: Unit
    hours: float
    step: float
    task: Task
    include: Include
    statics: list[str]
    definitions: str
    ranges: bool
    repair: Repair

    def __post_init__(self) -> None:
        if not 0 < self.hours <= MOST_HOURS:
            raise ValueError(f"hours must lie in (0, {MOST_HOURS:,}], got {self.hours}")
        if self.step and not 1 / HOUR <= self.step <= self.hours:
            raise ValueError(
                f"step must be 0 (times of events), or from a second to hours={self.hours:g}; got {self.step}"
            )

    def read(self, items: Items, schema: Schema, own_items: bool) -> Sequences:
        """Read all tables."""
        faults = Faults(self.folder.path, self.repair)
        cohort = self._cohort(faults)
        labels = list(phenotypes(cohort, self.folder, self.definitions, faults)) if self.task == "phenotyping" else []
        items = self._known(items, own_items, faults)
        measured = self._in_units(items, cohort, own_items, faults)
        there = np.isfinite(measured.first)
        if not there.any():
            raise ValueError(f"{self.folder.path}: nothing was measured in any of {len(cohort):,} sequences")
        faults.leave_out((~there).sum(), "sequences in which nothing was measured")
        faults.tell()
        sequences = self._sequences(cohort, items, measured, labels, schema)
        return sequences if there.all() else sequences.take(there)

    def _cohort(self, faults: Faults) -> Cohort:
        cohort = read_cohort(self.folder, self.newer, self.unit, self.include, faults)
        faults.settle()
        if self.task != "in-hospital-mortality":
            return cohort
        long = cohort.hours >= MORTALITY_HOURS - 1e-6
        faults.leave_out((~long).sum(), f"sequences of less than {MORTALITY_HOURS:g} hours")
        if not long.any():
            raise ValueError(f"{self.folder.path}: no sequence is left; left out: {counted(faults.left_out)}")
        return cohort.take(long)

    def _sequences(
        self, cohort: Cohort, items: Items, measured: _Measured, labels: list[tuple[Column, ndarray]], schema: Schema
    ) -> Sequences:
        columns, values = [variable.column for variable in items.variables], measured.values
        statics = [*cohort.statics([name for name in self.statics if name not in BODY]), *labels]
        statics += [_first(columns, values, name) for name in self.statics if name in BODY]
        extra = [] if self.step else [(GAP, np.diff(measured.ends, axis=1, prepend=0.0))]
        extra += sample_channels(cohort, self.task, measured.ends, measured.first)
        if extra:
            values = np.concatenate([np.stack([cells for _, cells in extra], axis=2), values], axis=2)
        static = np.stack([cells for _, cells in statics], axis=1) if statics else np.zeros((len(cohort), 0))
        schema = replace(
            schema,
            channels=(*(column for column, _ in extra), *columns),
            statics=tuple(column for column, _ in statics),
            step=self.step or 1.0,
            step_unit="h",
            gap=None if self.step else GAP.name,
        ).keeping(PRESSURES)
        return Sequences(values, schema, measured.lengths, static, cohort.frame["subject_id"].to_numpy(np.int64))

    def _known(self, items: Items, own: bool, faults: Faults) -> Items:
        """Look item ids up in D_ITEMS and D_LABITEMS, where those are there."""
        unknown = np.zeros(len(items.ids), dtype=bool)
        for dictionary, tables in (("d_items", ("chartevents", "outputevents")), ("d_labitems", ("labevents",))):
            if dictionary in self.folder.files:
                known = self.folder.read(dictionary, ("itemid",))["itemid"]
                unknown |= np.isin(items.table, tables) & ~np.isin(items.ids, known)
        note = faults.note if own else faults.leave_out
        note(unknown.sum(), "item ids that D_ITEMS and D_LABITEMS do not have", named(items.ids[unknown].tolist()))
        faults.settle()
        return items.take(~unknown)

    def _in_units(self, items: Items, cohort: Cohort, own: bool, faults: Faults) -> _Measured:
        """Read what was measured; again, where a channel turns out to be in another unit, as limits are in its own."""
        before, scale = deepcopy(faults.left_out), Scale.of(len(cohort), items)
        measured = self._measured(items, cohort, own, scale, faults)
        samples = zip(scale.sample.T, items.variables, strict=True)
        factor = np.array([faults.factor(sample, variable.column) for sample, variable in samples])
        faults.settle()
        if (factor == 1).all():
            return measured
        faults.left_out = before
        measured = self._measured(items, cohort, own, replace(scale, factor=factor), faults)
        faults.found.clear()  # told already
        return measured

    def _measured(self, items: Items, cohort: Cohort, own: bool, scale: Scale, faults: Faults) -> _Measured:
        """Stream the tables of events."""
        windows = Windows.of(cohort, self.hours)
        rows = (
            rows
            for table in TABLES
            if table in items.table
            for rows in measurements(
                self.folder.file(table),
                table,
                items,
                windows,
                scale,
                faults,
                lenient=self.newer,
                ranges=self.ranges,
                own=own,
            )
        )
        return self._on_grid(rows, items, cohort) if self.step else self._at_events(rows, items, cohort)

    def _on_grid(self, parts: Iterator[Rows], items: Items, cohort: Cohort) -> _Measured:
        n, duration = len(cohort), round(self.step * HOUR)
        seconds = np.minimum(cohort.hours, self.hours) * HOUR
        lengths = np.maximum(np.ceil(seconds / duration - 1e-9), 1).astype(np.int64)
        first, grid = np.full(n, np.inf), Grid(n, int(lengths.max()), items.aggregates)
        for rows in parts:
            np.minimum.at(first, rows.sequence, rows.seconds / HOUR)
            step = steps(rows.seconds, duration, closed="right")
            grid.add(rows.sequence, step, rows.channel, rows.value, rows.seconds)
        ends = np.tile(np.arange(1, lengths.max() + 1) * self.step, (n, 1))
        return _Measured(grid.values(), lengths, first, ends)

    @staticmethod
    def _at_events(parts: Iterator[Rows], items: Items, cohort: Cohort) -> _Measured:
        rows, n = Rows.together(list(parts)), len(cohort)
        step, count, ends = event_steps(rows.sequence, rows.seconds, n)
        grid = Grid(n, ends.shape[1], items.aggregates)
        grid.add(rows.sequence, step, rows.channel, rows.value, rows.seconds)
        return _Measured(grid.values(), np.maximum(count, 1), np.where(count > 0, ends[:, 0], np.inf), ends)


def _first(
    columns: list[Column], values: Float[ndarray, "n length channels"], name: str
) -> tuple[Column, Float[ndarray, " n"]]:
    """Return the first value of a channel as a static column."""
    names = [column.name for column in columns]
    if BODY[name] not in names:
        raise ValueError(
            f"the static column {name!r} is the first value of a channel {BODY[name]!r}, and there is none"
        )
    channel = names.index(BODY[name])
    return replace(columns[channel], name=name, key=""), first_of_each(values[:, :, channel])
