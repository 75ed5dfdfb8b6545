"""Irregular measurements on an even grid, in memory that depends on the grid alone, whatever the order they come in.

last    the latest value of a step; of several at the very same time the greatest
mean    sum of the values of a step / their number
sum     sum of the values of a step
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray

MOST_CELLS = 2**31  # 24 GiB of numbers and counts
DIGITS = 10
"""Sums are rounded to so many decimals, which makes them the same in any order."""
EPS = 1e-9


class Grid:
    """Cells of sequences, steps and channels, filled batch by batch.

    Args:
        n: Number of sequences.
        length: Number of steps.
        aggregates: By channel what stands for several values in a step: last, mean or sum.

    Raises:
        ValueError: if the grid is too large.
    """

    def __init__(self, n: int, length: int, aggregates: Iterable[str]) -> None:
        self.aggregates = np.array(list(aggregates))
        self.shape = (n, length, len(self.aggregates))
        if np.prod(self.shape, dtype=float) > MOST_CELLS:
            sizes = f"{n:,} sequences of {length:,} steps and {self.shape[2]} channels"
            raise ValueError(f"{sizes} are too many to hold; take longer steps, fewer hours or fewer channels")
        self.numbers = np.zeros(self.shape).reshape(-1)
        self.seen = np.zeros(self.shape, dtype=np.int32).reshape(-1)
        """How many values were added up, or the time of the last in seconds, plus 1; 0 where there is none."""

    def add(
        self,
        sequence: Int[ndarray, " rows"],
        step: Int[ndarray, " rows"],
        channel: Int[ndarray, " rows"] | int,
        number: Float[ndarray, " rows"],
        seconds: Int[ndarray, " rows"] | None = None,
    ) -> None:
        """Put measurements where they belong; NaN is none. Where the last counts, their times are needed."""
        cell = (sequence.astype(np.int64) * self.shape[1] + step) * self.shape[2] + channel
        measured = ~np.isnan(number)
        last = measured & (self.aggregates[channel] == "last")
        if last.any():
            assert seconds is not None
            self._replace(cell[last], seconds[last], number[last])
        summed = measured & ~last
        np.add.at(self.numbers, cell[summed], number[summed])
        np.add.at(self.seen, cell[summed], 1)

    def _replace(
        self, cell: Int[ndarray, " rows"], seconds: Int[ndarray, " rows"], number: Float[ndarray, " rows"]
    ) -> None:
        order = np.lexsort((number, seconds, cell))
        cell, seen, number = cell[order], seconds[order] + 1, number[order]
        ends = np.append(np.diff(cell) > 0, True)
        cell, seen, number = cell[ends], seen[ends], number[ends]
        newer = (seen > self.seen[cell]) | ((seen == self.seen[cell]) & (number > self.numbers[cell]))
        self.numbers[cell[newer]], self.seen[cell[newer]] = number[newer], seen[newer]

    def values(self) -> Float[ndarray, "n length channels"]:
        """Return the grid, NaN where nothing was measured."""
        values, seen = self.numbers.reshape(self.shape).copy(), self.seen.reshape(self.shape)
        for j in np.flatnonzero(self.aggregates != "last"):
            count = np.maximum(seen[:, :, j], 1) if self.aggregates[j] == "mean" else 1
            values[:, :, j] = np.round(values[:, :, j], DIGITS) / count
        values[seen == 0] = np.nan
        return values


def steps(
    time: Num[ndarray, " rows"], duration: float, closed: Literal["left", "right"] = "left"
) -> Int[ndarray, " rows"]:
    """Return the step k in which each time lies: duration x [k, k + 1), or, closed to the right, (k, k + 1].

    The latter is what the discretizer of the MIMIC-III benchmark has; time 0 is in its first step.
    """
    if closed == "left":
        return np.floor(time / duration + EPS).astype(np.int64)
    return np.maximum(np.ceil(time / duration - EPS).astype(np.int64) - 1, 0)


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
