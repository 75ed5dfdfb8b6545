"""The outline of a sequence: what it is roughly, as a few numbers that a generator draws before its steps.

    z = (vec(x) - m) V D,   V the leading principal components of the encoded training sequences, D to unit variance

What draws step by step knows of the whole only what its state carries so far, and whole sequences come to vary too
little. Given z first, the steps only have to fill it in. It is said twice over: decoding does not read it.

Of channels without gaps: laid flat, one with gaps says mostly where they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

MOST_LOOKED_AT = 5_000
"""Sequences that components are read off."""
NOTHING = 1e-6
"""Deviation, of data of unit scale, below which a component is taken for rounding."""
DIGITS = 5
"""Significant digits that are kept of the largest number, and so decimals of all: any such map does as well."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A linear map of encoded sequences to a few numbers of mean 0 and variance 1.

    Args:
        positions: The columns it is of.
        mean: `(d,)` of sequences laid flat, d being steps times these columns.
        forward: `(d, k)` to the outline.
    """

    positions: tuple[int, ...]
    mean: Float[ndarray, " d"]
    forward: Float[ndarray, "d k"]

    @classmethod
    def fit(cls, x: Float[ndarray, "n length columns"], positions: Sequence[int], count: int) -> Outline:
        """Read components off encoded training sequences.

        Args:
            x: The sequences.
            positions: Columns that are always measured.
            count: How many components at most; there are fewer than sequences, and than numbers in one.
        """
        from scipy.sparse.linalg import svds  # imported by those who need it

        some = x[:: -(-len(x) // MOST_LOOKED_AT), :, positions]
        flat = some.reshape(len(some), -1)
        mean = flat.mean(axis=0)
        centred = flat - mean
        count = min(count, min(centred.shape) - 1)
        if count < 1 or np.abs(centred).max() < NOTHING:
            return cls(tuple(positions), mean, np.zeros((len(mean), 0)))
        start = np.random.default_rng(0).normal(size=min(centred.shape))
        singular, components = map(np.asarray, svds(centred, count, v0=start)[1:])
        deviations = singular / math.sqrt(len(flat))
        order = np.argsort(-deviations)
        order = order[deviations[order] > NOTHING]
        forward = np.ascontiguousarray((components[order] / deviations[order, None]).T)  # sums round as after to_json
        return cls(tuple(positions), _rounded(mean), _rounded(forward))

    @property
    def width(self) -> int:
        return self.forward.shape[1]

    def encode(self, x: Float[ndarray, "n length columns"]) -> Float[ndarray, "n k"]:
        """Return the outline of each sequence."""
        return (x[..., self.positions].reshape(len(x), -1) - self.mean) @ self.forward

    def forgotten(self) -> Outline:
        """Return one as wide that tells nothing of the sequences it was read off: enough to draw with, not to learn."""
        return replace(self, mean=np.zeros_like(self.mean), forward=np.zeros_like(self.forward))

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {"positions": list(self.positions), "mean": self.mean.tolist(), "forward": self.forward.tolist()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Outline:
        """Undo `to_json`."""
        mean, forward = (np.array(record[name], dtype=np.float64) for name in ("mean", "forward"))
        return cls(tuple(record["positions"]), mean, forward.reshape(len(mean), -1))


def _rounded(values: ndarray) -> ndarray:
    largest = np.abs(values).max(initial=0.0)
    return np.round(values, DIGITS - 1 - math.floor(math.log10(largest))) if largest > 0 else values
