"""The folders that the code of the MIMIC-III benchmark makes, and what writes such folders.

    root/<split>/<subject>/episode<i>.csv               age, sex, ... of an episode
    root/<split>/<subject>/episode<i>_timeseries.csv    Hours, and the 17 variables
    root/<split>/<subject>/stays.csv, diagnoses.csv     when the stay began, and the death; codes and their groups
    <task>/<split>/<subject>_episode<i>_timeseries.csv  what the task may see of it
    <task>/<split>/listfile.csv                         stay, (period_length,) y_true: the samples

The discretizer's grid is used as it is (a step holds the last value), but nothing is imputed and no normalizer applied:
a step in which nothing was measured stays empty, and scales are the affair of the preparation.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from ...frames import Writer, prefixed
from ...sequences import Column, Schema, Sequences, one_line
from ..faults import FIRST, Faults, Repair, first_of_each
from ..folders import default_folder
from ..grid import Grid, steps
from ..tables import read_csv
from .cohort import AGE, DECOMPENSATION, DIED, ETHNICITY, HOUR, MORTALITY_HOURS, PHENOTYPES, REMAINING, SEX
from .events import Rows, limited
from .items import PRESSURES, Frame, Items, read_items
from .reading import MIMIC3_LICENCE
from .writing import Times, stay_tables

EpisodeTask = Literal["in-hospital-mortality", "decompensation", "length-of-stay", "phenotyping", "root"]
Split = Literal["train", "test", "all"]
SEXES = {1: 0.0, 2: 1.0}
"""Genders of the benchmark, F and M; 0 and 3 are unknown."""
EPISODE = ("Icustay", "Ethnicity", "Gender", "Age", "Height", "Weight", "Length of Stay", "Mortality")
STAY = (
    "SUBJECT_ID HADM_ID ICUSTAY_ID LAST_CAREUNIT DBSOURCE INTIME OUTTIME LOS ADMITTIME DISCHTIME DEATHTIME ETHNICITY "
    "DIAGNOSIS GENDER DOB DOD AGE MORTALITY_INUNIT MORTALITY MORTALITY_INHOSPITAL"
)
DIAGNOSIS = "SUBJECT_ID HADM_ID SEQ_NUM ICD9_CODE SHORT_TITLE LONG_TITLE ICUSTAY_ID HCUP_CCS_2015 USE_IN_BENCHMARK"
"""Columns of stays.csv and diagnoses.csv; those that a cohort has nothing for are empty."""
TEST = (3, 10, 17)
"""Which of every 20 subjects are written into test/: 15 %, as the benchmark has 5,070 of 33,798 patients there."""
LABELS = {"decompensation": DECOMPENSATION, "length-of-stay": REMAINING}
EPS = 1e-6


def mimic3_benchmark(
    folder: str | None = None,
    task: EpisodeTask = "in-hospital-mortality",
    split: Split = "train",
    hours: float = 48.0,
    step: float = 1.0,
    ranges: bool = True,
    repair: Repair = False,
) -> Sequences:
    """MIMIC-III as the benchmark of Harutyunyan et al. 2019 prepared it: folders of episodes with a listfile.

    Johnson et al. 2016; licence: PhysioNet Credentialed Health Data. Hourly, the last value of an hour, as the
    benchmark's discretizer has it; nothing is imputed. The label of in-hospital mortality is the static column died; of
    phenotyping, 25 of them; of decompensation and length of stay, a channel. Where root/ is there too, age, sex and
    ethnicity are read from it.

    Args:
        folder: Holds the folders of the tasks, and root/; $VITALSYNTH_DATA/mimic3-benchmark by default.
        task: in-hospital-mortality, decompensation, length-of-stay, phenotyping, or root: all episodes.
        split: train, test or all.
        hours: Of each episode the first so many.
        step: Duration of a step in hours.
        ranges: Whether the benchmark's limits apply to values, which its own code leaves out.
        repair: Whether samples that a listfile has twice are left out rather than refused.
    """
    where = Path(folder) if folder else default_folder("mimic3-benchmark")
    if not (where / task).is_dir():
        raise ValueError(
            f"{where}: no folder {task}/ in it; give the folder in which the benchmark's code put its tasks"
        )
    if not (1 / HOUR <= step <= hours):
        raise ValueError(f"step must lie between a second and hours={hours:g}, got {step}")
    items, faults = read_items(limited=ranges), Faults(where, repair)
    parts = [part for part in ("train", "test") if split in (part, "all")]
    samples: Frame = pd.concat([_samples(where / task / part, task, faults) for part in parts], ignore_index=True)
    faults.settle()
    ends = np.minimum(samples["end"].to_numpy(np.float64), hours)
    lengths = np.maximum(np.ceil(ends / step - EPS), 1).astype(np.int64)
    grid = Grid(len(samples), int(lengths.max()), items.aggregates)
    for n, file in enumerate(samples["file"]):
        rows = _episode(Path(file), n, float(ends[n]), items, faults)
        value = limited(items, rows.channel, rows.value, ranges, faults)
        at = steps(rows.seconds, round(step * HOUR), closed="right")
        grid.add(rows.sequence, at, rows.channel, value, rows.seconds)
    values, channels = grid.values(), [variable.column for variable in items.variables]
    if task in LABELS:
        labels = _label_channel(samples, values.shape[1], step)
        channels, values = [LABELS[task], *channels], np.concatenate([labels[..., None], values], axis=2)
    statics = list(_statics(samples))
    faults.tell()
    schema = Schema(
        tuple(channels),
        tuple(column for column, _ in statics),
        step=step,
        step_unit="h",
        form="mimic3-benchmark",
        licence=MIMIC3_LICENCE,
    ).keeping(PRESSURES)
    static = np.stack([cells for _, cells in statics], axis=1) if statics else None
    return Sequences(values, schema, lengths, static, samples["subject"].to_numpy(np.int64))  # type: ignore[arg-type]


def _samples(folder: Path, task: str, faults: Faults) -> Frame:
    """Return an episode a row: its file and subject, where it ends, its labels, and what root/ says of it."""
    if task == "root":
        found = sorted(folder.glob("*/episode*_timeseries.csv"))
        if not found:
            raise ValueError(f"{folder}: no <subject>/episode<i>_timeseries.csv in it")
        samples: Frame = pd.DataFrame({"file": map(str, found), "stay": [f"{f.parent.name}_{f.name}" for f in found]})
    else:
        samples = _listed(folder, task, faults)
        samples["file"] = [str(folder / stay) for stay in samples["stay"]]
    subject = samples["stay"].str.extract(r"^(\d+)_episode\d+_timeseries\.csv$")[0]
    if (odd := subject.isna()).any():
        raise ValueError(f"{folder}: {samples['stay'][odd].iloc[0]!r} is not named <subject>_episode<i>_timeseries.csv")
    samples["subject"] = subject.astype(np.int64)
    root = folder if task == "root" else folder.parent.parent / "root" / folder.name
    if root.is_dir():
        known = pd.concat([_of_root(root, stay) for stay in samples["stay"]], ignore_index=True)
        samples: Frame = pd.concat([samples, known], axis=1)
    if "Length of Stay" in samples and task != "in-hospital-mortality":
        samples["end"] = 24 * samples["Length of Stay"]
    faults.leave_out(samples["end"].isna().sum(), "episodes whose length of stay is not known")
    return samples[samples["end"].notna()].reset_index(drop=True)


def _of_root(root: Path, stay: str) -> Frame:
    subject, _, rest = stay.partition("_")
    path = root / subject / rest.replace("_timeseries", "")
    return read_csv(path, usecols=lambda name: name in EPISODE).reindex(columns=list(EPISODE)).head(1)


def _listed(folder: Path, task: str, faults: Faults) -> Frame:
    """Read a listfile: an episode a row; `labels` holds (period_length, y_true) where a task has a sample an hour."""
    path = folder / "listfile.csv"
    needed = ["stay"] + ["period_length"] * (task != "in-hospital-mortality") + ["y_true"] * (task != "phenotyping")
    listfile: Frame = read_csv(path, needed)
    if not len(listfile):
        raise ValueError(f"{path}: lists no stay")
    twice = listfile.duplicated(["stay", "period_length"] if task in LABELS else ["stay"])
    first = "".join(listfile["stay"][twice].head(1))
    faults.note(twice.sum(), f"samples that are in {folder.name}/{path.name} twice", first, FIRST)
    listfile = listfile[~twice]
    if task == "in-hospital-mortality":
        return listfile[["stay"]].assign(end=MORTALITY_HOURS, died=listfile["y_true"]).reset_index(drop=True)
    if task == "phenotyping":
        return listfile.rename(columns={"period_length": "end"}).reset_index(drop=True)
    end = listfile["period_length"] + (listfile["y_true"] if task == "length-of-stay" else 0.0)
    grouped = listfile.assign(end=end).sort_values(["stay", "period_length"]).groupby("stay", sort=True)
    labels = grouped[["period_length", "y_true"]].apply(lambda rows: rows.to_numpy())
    return pd.DataFrame({"stay": labels.index, "end": grouped["end"].max().to_numpy(), "labels": list(labels)})


def _episode(path: Path, n: int, end: float, items: Items, faults: Faults) -> Rows:
    """Read what was measured in an episode from its begin to its end."""
    names = [variable.column.name for variable in items.variables]
    try:
        header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read ({one_line(error)})") from None
    if header[0] != "Hours" or not set(header[1:]) <= set(names):
        strange = sorted(set(header[1:]) - set(names)) or header[:1]
        raise ValueError(f"{path}: no header of Hours and the 17 variables (column {strange[0]!r})")
    found: list[tuple[int, int, float]] = []
    for number, row in enumerate(rows, start=1):
        with prefixed(f"{path}, row {number}"):
            hours, cells = float(row[0]), list(zip(header[1:], row[1:], strict=True))
        if hours <= -EPS:
            faults.leave_out(sum(cell != "" for _, cell in cells), "values before their sequence begins")
        elif hours < end + EPS:
            seconds, measured = max(round(hours * HOUR), 0), [(names.index(name), cell) for name, cell in cells if cell]
            found += [(seconds, j, items.variables[j].number(cell)) for j, cell in measured]
    seconds, channel, value = np.array(found, dtype=np.float64).reshape(-1, 3).T
    faults.leave_out(np.isnan(value).sum(), "values that are no number")
    return Rows(np.full(len(found), n), seconds.astype(np.int64), channel.astype(np.int64), value)


def _label_channel(samples: Frame, length: int, step: float) -> Float[ndarray, "n length"]:
    """Put the label of a sample into the step that ends when its period does."""
    labels = np.full((len(samples), length), np.nan)
    for n, rows in enumerate(samples["labels"]):
        at = np.ceil(rows[:, 0] / step - EPS).astype(np.int64) - 1
        within = at < length
        labels[n, at[within]] = rows[within, 1]
    return labels


def _statics(samples: Frame) -> Iterator[tuple[Column, Float[ndarray, " n"]]]:
    if "died" in samples or "Mortality" in samples:
        yield DIED, samples["died" if "died" in samples else "Mortality"].to_numpy(np.float64)
    if "Age" in samples:
        yield AGE, np.floor(samples["Age"].clip(0, AGE.high)).to_numpy(np.float64)
        yield SEX, samples["Gender"].map(SEXES).to_numpy(np.float64)
        yield ETHNICITY, samples["Ethnicity"].to_numpy(np.float64)
    for name in PHENOTYPES:
        if name in samples:
            yield Column(name, "binary"), samples[name].to_numpy(np.float64)


class EpisodeWriter(Writer):
    """Folders of the benchmark, divided into train and test: root/, and that of the task whose labels the cohort has.

    Args:
        path: Folder to fill.
        schema: Of all that will be written.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        super().__init__(path, schema)
        names = [column.name for column in schema.columns]
        self.groups = sorted(name for name in PHENOTYPES if name in names)  # the order of its listfiles
        hourly = [task for task, column in LABELS.items() if column.name in names]
        self.task = hourly[0] if hourly else "phenotyping" if self.groups else "in-hospital-mortality"
        self.words = {variable.column.name: variable.words for variable in read_items().variables}
        self.listfiles: dict[str, IO[str]] = {}
        header = {"in-hospital-mortality": ["y_true"], "phenotyping": ["period_length", *self.groups]}
        for split in ("train", "test"):
            for place in ("root", self.task):
                (path / place / split).mkdir(parents=True)
            self.listfiles[split] = (path / self.task / split / "listfile.csv").open("w", encoding="utf-8")
            names = ["stay", *header.get(self.task, ["period_length", "y_true"])]
            csv.writer(self.listfiles[split], lineterminator="\n").writerow(names)

    def _append(self, sequences: Sequences) -> None:
        times = Times(sequences)
        tables = stay_tables(sequences, times)
        stays, diagnoses = _stays(tables), tables["diagnoses_icd"]
        diagnoses = diagnoses.assign(hcup_ccs_2015=diagnoses["group"], use_in_benchmark=1).rename(columns=str.upper)
        diagnoses = diagnoses.reindex(columns=DIAGNOSIS.split())
        episodes = _episodes(sequences, times, stays)
        for n, subject in enumerate((sequences.subject + 1).tolist()):
            split = "test" if subject % 20 in TEST else "train"
            place = self.path / "root" / split / str(subject)
            place.mkdir()
            stays.iloc[[n]].to_csv(place / "stays.csv", index=False)
            diagnoses[diagnoses["SUBJECT_ID"] == subject].to_csv(place / "diagnoses.csv", index=False)
            episodes.iloc[[n]].to_csv(place / "episode1.csv", index=False)
            text, name = self._timeseries(sequences, times, n), f"{subject}_episode1_timeseries.csv"
            for file in (place / "episode1_timeseries.csv", self.path / self.task / split / name):
                file.write_text(text, encoding="utf-8")
            samples = [[name, *sample] for sample in self._samples(sequences, times, n)]
            csv.writer(self.listfiles[split], lineterminator="\n").writerows(samples)

    def _samples(self, sequences: Sequences, times: Times, n: int) -> Iterator[list[str]]:
        """Yield what a listfile says of an episode, after its name."""
        static = dict(zip([column.name for column in self.schema.statics], sequences.static[n], strict=True))
        if self.task == "in-hospital-mortality":
            yield [_whole(static.get("died", np.nan))]
        elif self.task == "phenotyping":
            yield [f"{times.stay[n] / HOUR:.6f}", *(_whole(static[group]) for group in self.groups)]
        else:
            label = times.label(LABELS[self.task].name)
            assert label is not None
            for k in np.flatnonzero(~np.isnan(label[n])):
                truth = _whole(label[n, k]) if self.task == "decompensation" else f"{label[n, k]:.6f}"
                yield [f"{times.end_of_step[n, k] / HOUR:.6f}", truth]

    def _timeseries(self, sequences: Sequences, times: Times, n: int) -> str:
        there = {column.name: (j, column) for j, column in enumerate(sequences.schema.channels) if column.key}
        names = sorted({*self.words, *there})  # all 17, as the benchmark's readers count on them
        lines = [",".join(["Hours", *names])]
        for k in range(sequences.lengths[n]):
            row = sequences.values[n, k]
            cells = [self._cell(there[name][1], row[there[name][0]]) if name in there else "" for name in names]
            if any(cells):
                lines.append(",".join([f"{times.measured[n, k] / HOUR:.10g}", *cells]))
        return "\n".join(lines) + "\n"

    def _cell(self, column: Column, value: float) -> str:
        if np.isnan(value):
            return ""
        if column.kind != "continuous":
            return str(float(value))
        return self.words.get(column.name, {}).get(value) or repr(float(value)).removesuffix(".0")

    def close(self, complete: bool) -> None:
        for file in self.listfiles.values():
            file.close()


def _stays(tables: dict[str, Frame]) -> Frame:
    """Return stays.csv of all: ICUSTAYS, ADMISSIONS and PATIENTS in one row."""
    stays = tables["icustays"].merge(tables["admissions"]).merge(tables["patients"])
    died, in_unit = stays["hospital_expire_flag"], stays["deathtime"] <= stays["outtime"]
    stays = stays.assign(age=stays["anchor_age"], mortality=died, mortality_inhospital=died)
    return stays.assign(mortality_inunit=in_unit.astype(int)).rename(columns=str.upper).reindex(columns=STAY.split())


def _episodes(sequences: Sequences, times: Times, stays: Frame) -> Frame:
    """Return episode1.csv of all, without its columns of single diagnoses, which no other script reads."""
    ethnicity, sex = stays["ETHNICITY"].map(ETHNICITY.categories.index, na_action="ignore"), stays["GENDER"]
    is_known = times.label("decompensation") is not None or "died" in [c.name for c in sequences.schema.statics]
    body = {name: times.label(name) for name in ("Height", "Weight")}
    return pd.DataFrame(
        {
            "Icustay": stays["ICUSTAY_ID"],
            "Ethnicity": ethnicity.fillna(0).astype(int),
            "Gender": sex.map({"F": 1, "M": 2}).fillna(0).astype(int),
            "Age": stays["AGE"],
            **{name: first_of_each(cells) if cells is not None else np.nan for name, cells in body.items()},
            "Length of Stay": stays["LOS"],
            "Mortality": stays["MORTALITY"] if is_known else "",
        },
        columns=list(EPISODE),
    )


def _whole(value: float) -> str:
    return "" if np.isnan(value) else str(int(value))
