"""Irregular measurements on an even grid: what falls into one step is averaged, or summed where amounts are counted.

x[i, t, c] = sum of the values of channel c of sequence i in step t  /  their number (1 where amounts are summed)
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

MOST_CELLS = 2**31  # 24 GiB of sums and counts


class Bins:
    """Takes measurements in any order, chunk by chunk, in memory that depends on the grid alone.

    Args:
        shape: (sequences, steps, channels).
        summed: Channels whose values of one step are added up.

    Raises:
        ValueError: if the grid is too large.
    """

    def __init__(self, shape: tuple[int, int, int], summed: Iterable[int] = ()) -> None:
        if np.prod(shape, dtype=float) > MOST_CELLS:
            sizes = f"{shape[0]:,} sequences of {shape[1]:,} steps and {shape[2]} channels"
            raise ValueError(f"{sizes} are too many to hold; take longer steps, fewer hours or fewer channels")
        self.shape, self.summed = shape, list(summed)
        self.total = np.zeros(shape).reshape(-1)
        self.count = np.zeros(shape, dtype=np.int32).reshape(-1)

    def add(
        self,
        sequence: Int[ndarray, " rows"],
        step: Int[ndarray, " rows"],
        channel: Int[ndarray, " rows"] | int,
        numbers: Float[ndarray, " rows"],
    ) -> None:
        """Add measurements; NaN is none."""
        cell = (sequence.astype(np.int64) * self.shape[1] + step) * self.shape[2] + channel
        measured = ~np.isnan(numbers)
        np.add.at(self.total, cell[measured], numbers[measured])
        np.add.at(self.count, cell[measured], 1)

    def values(self) -> Float[ndarray, "n length channels"]:
        """Return the grid, NaN where nothing was measured, as float32."""
        total, count = self.total.reshape(self.shape), self.count.reshape(self.shape)
        divisor = np.maximum(count, 1)
        divisor[:, :, self.summed] = 1
        return np.where(count > 0, total / divisor, np.nan).astype(np.float32)
