"""Where measurements are put: the last of a step, whatever the order they come in.

    step of a time t > 0 = ceil(t / step) - 1,    of 0 = 0

as the discretizer of the MIMIC-III benchmark has it. Of several values at the very same time the greatest stays, as in
its episodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from .items import Variable

DIGITS = 6
"""Sums are rounded to so many decimals, which makes them the same in any order."""


class Grid:
    """Cells of sequences, steps and channels, filled batch by batch.

    Args:
        n: Number of sequences.
        length: Number of steps.
        variables: Say by channel what stands for several values in a step.
    """

    def __init__(self, n: int, length: int, variables: Sequence[Variable]) -> None:
        self.values = np.full((n, length, len(variables)), np.nan)
        self.seen = np.full(self.values.shape, -1, dtype=np.int32)
        """Time of the last value in seconds, or the number of values, by the channel's aggregate."""
        self.aggregate = np.array([variable.aggregate for variable in variables])

    def add(
        self,
        sequence: Int[ndarray, " rows"],
        step: Int[ndarray, " rows"],
        channel: Int[ndarray, " rows"],
        seconds: Int[ndarray, " rows"],
        value: Float[ndarray, " rows"],
    ) -> None:
        """Put values where they belong."""
        cell = np.ravel_multi_index((sequence, step, channel), self.values.shape)
        last = self.aggregate[channel] == "last"
        self._replace(cell[last], seconds[last], value[last])
        if not last.all():
            self._sum(cell[~last], value[~last])

    def _replace(
        self, cell: Int[ndarray, " rows"], seconds: Int[ndarray, " rows"], value: Float[ndarray, " rows"]
    ) -> None:
        order = np.lexsort((value, seconds, cell))
        cell, seconds, value = cell[order], seconds[order], value[order]
        ends = np.flatnonzero(np.append(np.diff(cell) > 0, True)) if len(cell) else order
        cell, seconds, value = cell[ends], seconds[ends], value[ends]
        values, seen = self.values.reshape(-1), self.seen.reshape(-1)
        newer = (seconds > seen[cell]) | ((seconds == seen[cell]) & (value > values[cell]))
        values[cell[newer]], seen[cell[newer]] = value[newer], seconds[newer]

    def _sum(self, cell: Int[ndarray, " rows"], value: Float[ndarray, " rows"]) -> None:
        distinct, position, counts = np.unique(cell, return_inverse=True, return_counts=True)
        values, seen = self.values.reshape(-1), self.seen.reshape(-1)
        values[distinct] = np.nan_to_num(values[distinct]) + np.bincount(position, value)
        seen[distinct] = np.maximum(seen[distinct], 0) + counts.astype(np.int32)

    def finish(self) -> Float[ndarray, "n length channels"]:
        """Return the values; NaN where there was none."""
        for j in np.flatnonzero(self.aggregate != "last"):
            total = np.round(self.values[:, :, j], DIGITS)
            count = np.maximum(self.seen[:, :, j], 1) if self.aggregate[j] == "mean" else 1
            self.values[:, :, j] = total / count
        return self.values


def steps(seconds: Int[ndarray, " rows"], duration: int) -> Int[ndarray, " rows"]:
    """Return the step in which each time lies."""
    return np.maximum(seconds - 1, 0) // duration


def event_steps(
    sequence: Int[ndarray, " rows"], seconds: Int[ndarray, " rows"], n: int
) -> tuple[Int[ndarray, " rows"], Int[ndarray, " n"], Float[ndarray, "n length"]]:
    """Make every distinct time of a sequence a step.

    Returns:
        The step of each row, the number of steps of each sequence, and the hours of each step since the start.
    """
    distinct, position = np.unique(sequence << 32 | seconds, return_inverse=True)
    owner = distinct >> 32
    count = np.bincount(owner, minlength=n)
    within = np.arange(len(distinct)) - np.repeat(np.cumsum(count) - count, count)
    hours = np.full((n, int(count.max(initial=1))), np.nan)
    hours[owner, within] = (distinct & 0xFFFFFFFF) / 3600
    return within[position], count, hours
