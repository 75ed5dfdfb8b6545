"""What a predictor is asked: a static column of a whole sequence, or a channel at every step from all up to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from ..sequences import Column, Sequences


@dataclass(frozen=True)
class Target:
    """What is to be predicted.

    Args:
        columns: One column, or several binary ones, each of which is predicted by itself.
        stepwise: Whether it is a channel, predicted at every step at which it is known.
        hidden: Names of columns that are not shown, as they are the answer or give it away.
        buckets: Where a number is cut into classes to be scored, ascending, in its unit; empty if it is not.
    """

    columns: tuple[Column, ...]
    stepwise: bool
    hidden: frozenset[str]
    buckets: tuple[float, ...] = ()

    @property
    def classes(self) -> int:
        """How many classes the columns have; 0 for a number."""
        return len(class_names(self.columns[0]))


def class_names(column: Column) -> tuple[str, ...]:
    """Return the names of the classes 0, 1, ... of a column; none of a number."""
    if column.kind == "continuous":
        return ()
    return tuple(map(str, column.categories)) or ("0", "1")


def of_column(sequences: Sequences, name: str) -> Target:
    """Return the target that is a static column, or a channel.

    Raises:
        ValueError: if there is neither of that name.
    """
    schema = sequences.schema
    channels = {column.name: column for column in schema.channels}
    if name in channels:
        return Target((channels[name],), True, frozenset([name]))
    return Target((schema.statics[schema.static_index(name)],), False, frozenset([name]))


@dataclass(frozen=True, eq=False)
class Samples:
    """Sequences, or beginnings of them, with the answer.

    Args:
        sequences: What may be shown: without the columns that are hidden.
        row: `(n,)` which of the sequences a sample is of.
        lengths: `(n,)` up to which step it is shown.
        answers: `(n, columns)` codes of classes, or numbers.
    """

    sequences: Sequences
    row: Int[ndarray, " n"]
    lengths: Int[ndarray, " n"]
    answers: Float[ndarray, "n columns"]

    @classmethod
    def of(cls, target: Target, sequences: Sequences) -> Samples:
        """Find all samples whose answer is known."""
        names = [column.name for column in target.columns]
        there = {column.name for column in sequences.schema.columns}
        shown = sequences.drop(target.hidden & there)
        if target.stepwise:
            labels = sequences.channel(names[0])
            row, step = np.nonzero(~np.isnan(labels))
            return cls(shown, row, step + 1, labels[row, step][:, None].astype(np.float64))
        answers = np.stack([sequences.static_column(name) for name in names], axis=1).astype(np.float64)
        row = np.flatnonzero(~np.isnan(answers).any(axis=1))
        return cls(shown, row, sequences.lengths[row], answers[row])

    def __len__(self) -> int:
        return len(self.row)

    @property
    def subject(self) -> Shaped[ndarray, " n"]:
        return self.sequences.subject[self.row]

    def take(self, index: Int[ndarray, " k"]) -> Samples:
        return replace(self, row=self.row[index], lengths=self.lengths[index], answers=self.answers[index])

    def shown(self) -> Sequences:
        """Return what a predictor may see, one sequence a sample."""
        return replace(self.sequences.take(self.row), lengths=self.lengths)
