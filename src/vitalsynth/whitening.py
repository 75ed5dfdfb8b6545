"""Whitening across channels: what moves together becomes components that do not.

    y = x V D,   x^T x / n = V diag(λ) V^T,   D = diag(1 / √max(λ, floor · λ₁))

Two nearly equal channels differ by little, and a network that gets each right to a percent gets the difference wrong;
as a component of its own the difference is learned at its own scale. Below the floor it is mostly rounding, and is left
small, lest noise be blown up. What is exactly zero (a channel that is a sum of others) is left out, and so stays exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

NOTHING = 1e-12
"""Share of the largest eigenvalue below which a component is taken for exactly zero: a float32 has no more digits."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """A linear map of some encoded columns to components.

    Args:
        positions: `(k,)` the columns, among those of the channels.
        forward: `(k, m)` to components, m of them.
        backward: `(m, k)` back.
    """

    positions: tuple[int, ...]
    forward: Float[ndarray, "k m"]
    backward: Float[ndarray, "m k"]

    @classmethod
    def fit(cls, x: Float[ndarray, "steps k"], positions: Sequence[int], floor: float) -> Whitening:
        """Read the components off training columns, which are about 0 on average.

        Args:
            x: The columns at every step that is alive.
            positions: Where they lie among the encoded channels.
            floor: Smallest eigenvalue, as a share of the largest, that is scaled to 1; above 0, at most 1.
        """
        eigenvalues, vectors = np.linalg.eigh(x.T @ x / len(x))
        kept = eigenvalues > NOTHING * eigenvalues[-1]
        eigenvalues, vectors = eigenvalues[kept][::-1], vectors[:, kept][:, ::-1]
        scale = np.sqrt(np.maximum(eigenvalues, floor * eigenvalues[0]))
        return cls(tuple(positions), vectors / scale, (vectors * scale).T)

    @property
    def components(self) -> int:
        return self.forward.shape[1]

    def encode(self, x: Float[ndarray, "n length columns"]) -> Float[ndarray, "n length m_and_others"]:
        """Return components, then the columns that are left as they are."""
        return np.concatenate([x[..., self.positions] @ self.forward, x[..., self._others(x.shape[-1])]], axis=-1)

    def decode(self, x: Tensor, columns: int) -> Tensor:
        """Undo `encode`.

        Args:
            x: Components, then the other columns of channels, then whatever else, which stays last.
            columns: How many columns the channels had.
        """
        back = torch.from_numpy(self.backward).to(x.dtype).to(x.device)
        mixed, rest = x[..., : self.components] @ back, x[..., self.components :]
        order = np.argsort([*self.positions, *self._others(columns)], kind="stable").tolist()
        others = columns - len(self.positions)
        channels = torch.cat([mixed, rest[..., :others]], dim=-1)[..., order]
        return torch.cat([channels, rest[..., others:]], dim=-1)

    def _others(self, columns: int) -> list[int]:
        return [j for j in range(columns) if j not in self.positions]

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "positions": list(self.positions),
            "forward": self.forward.tolist(),
            "backward": self.backward.tolist(),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Whitening:
        """Undo `to_json`."""
        return cls(
            tuple(record["positions"]), *(np.array(record[name], dtype=np.float64) for name in ("forward", "backward"))
        )
