"""Benchmark tasks by name: which columns are the labels, how they are scored, and what may not be shown.

Those of Harutyunyan et al. 2019 (Scientific Data 6:96) on MIMIC, as their code scores them
(github.com/YerevaNN/mimic3-benchmarks, `mimic3models/metrics.py`): AUROC and area under the precision-recall curve of
death and decompensation, the mean AUROC of 25 phenotypes, and of the remaining stay Cohen's kappa of ten buckets, with
linear weights, and the mean absolute deviation. Those of PhysioNet 2012 have the same names and figures.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..sequences import Sequences, nearest
from ..sources.icu.physionet2012 import DIED as DIED_2012
from ..sources.icu.physionet2012 import SCORES
from ..sources.mimic.cohort import DECOMPENSATION, DIED, PHENOTYPES, REMAINING
from .targets import Target, class_names, of_column

DAYS = (1, 2, 3, 4, 5, 6, 7, 8, 14)
"""Where the benchmark cuts the remaining stay into buckets."""
LENGTH_OF_STAY = next(column for column in SCORES if column.name == "Length_of_stay")
OUTCOMES = frozenset([*(c.name for c in (DIED, DECOMPENSATION, REMAINING, DIED_2012, *SCORES)), *PHENOTYPES])
"""Never shown in a task: who survives for 3 days has not died in hospital."""


@dataclass(frozen=True)
class Task:
    """A task of a benchmark.

    Args:
        labels: Columns that may hold the label, of which one is there; all that are, if `several`.
        settings: Of the source, with which a cohort has them.
        several: Whether each label is predicted by itself, and the mean counts.
        days: Where a number is cut into buckets to be scored.
    """

    labels: tuple[str, ...]
    settings: str
    several: bool = False
    days: tuple[int, ...] = ()


TASKS = {
    "in-hospital-mortality": Task((DIED.name, DIED_2012.name), "mimic3 --source.task in-hospital-mortality"),
    "decompensation": Task((DECOMPENSATION.name,), "mimic3 --source.task decompensation"),
    "length-of-stay": Task(
        (REMAINING.name, LENGTH_OF_STAY.name),
        "mimic3 --source.task length-of-stay, or physionet2012 --source.scores true",
        days=DAYS,
    ),
    "phenotyping": Task(tuple(PHENOTYPES), "mimic3 --source.task phenotyping --source.definitions FILE", several=True),
}


def target(sequences: Sequences, label: str) -> Target:
    """Return what a label stands for: a column of the sequences, or else a task.

    Raises:
        ValueError: if there is none of that name, or the sequences lack the labels of the task.
    """
    names = {column.name for column in sequences.schema.columns}
    if label in names or label not in TASKS:
        return of_column(sequences, label)
    task = TASKS[label]
    there = [name for name in task.labels if name in names]
    if not there:
        raise ValueError(f"the data have no label of {label}; it is there when they are read with {task.settings}")
    if task.several:
        columns = tuple(of_column(sequences, name).columns[0] for name in there)
        return Target(columns, False, OUTCOMES | set(there))
    found = of_column(sequences, there[0])
    per_day = 24 if found.columns[0].unit == "h" else 1
    return Target(found.columns, found.stepwise, OUTCOMES | found.hidden, tuple(per_day * day for day in task.days))


def missing_classes(synthetic: Sequences, label: str) -> list[str]:
    """Return the names of classes that no synthetic sequence has: what is trained there never predicts them."""
    found = target(synthetic, label)
    missing = []
    for column in found.columns:
        values = synthetic.channel(column.name) if found.stepwise else synthetic.static_column(column.name)
        seen = set(values[values == values].astype(int).tolist())
        missing += [f"{column.name} {name}" for code, name in enumerate(class_names(column)) if code not in seen]
    return missing


def check(name: str) -> str:
    """Return the name of a task.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in TASKS:
        raise ValueError(f"no task {name!r}; {nearest(name, TASKS)}")
    return name
