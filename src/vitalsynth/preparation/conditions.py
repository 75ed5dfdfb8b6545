"""Conditions as the training set had them: to draw from, with some columns fixed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from numpy import ndarray
from torch import Tensor

from ..sequences import Sequences, nearest
from .part import Part, with_gate

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Conditions:
    """The combinations of conditions in the training set.

    Args:
        parts: How each column that is conditioned on is encoded.
        combinations: Codes, rounded to 20 quantiles where continuous.
        counts: How often each occurred.
    """

    parts: tuple[Part, ...]
    combinations: Float[ndarray, "m condition"]
    counts: Shaped[ndarray, " m"]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(part.column.name for part in self.parts)

    def draw(
        self, count: int, given: Mapping[str, Any] | None = None, seed: int = 0, balance: str = ""
    ) -> Float[Tensor, "n condition"]:
        """Draw conditions as the training set had them, with some columns fixed: `{"died": 1}`.

        A combination never seen is allowed, with a warning: the other columns are then drawn as if independent of it.

        Args:
            count: How many.
            given: Columns to fix.
            seed: Of the choice.
            balance: A column whose values are to be equally frequent.

        Raises:
            ValueError: if a column is not conditioned on, has no such category, or the number was never near.
        """
        if balance and balance not in self.names:
            raise ValueError(f"--balance: {self._stranger(balance)}")
        fixed = {name: self._code(name, label) for name, label in (given or {}).items()}
        if not self.parts:
            return torch.zeros(count, 0)
        match = np.ones(len(self.combinations), dtype=bool)
        for name, code in fixed.items():
            column = self.combinations[:, self.names.index(name)]
            if self._part(name).normaliser is not None:  # combinations hold the middles of its quantile bins
                code = column[np.nanargmin(np.abs(column - code))]
            match &= column == code
        if not match.any():
            together = ", ".join(f"{name}={label}" for name, label in (given or {}).items())
            log.warning("none of the %s training sequences has %s together", f"{self.counts.sum():,}", together)
            match[:] = True
        rows, weights = self.combinations[match], self.counts[match].astype(np.float64)
        if balance:
            _, which = np.unique(rows[:, self.names.index(balance)], return_inverse=True)
            weights /= np.bincount(which, weights)[which]
        chosen = rows[np.random.default_rng(seed).choice(len(rows), size=count, p=weights / weights.sum())]
        for name, code in fixed.items():
            chosen[:, self.names.index(name)] = code
        return self._encode(chosen)

    def groups(self, condition: Float[Tensor, "n condition"], balance: str) -> list[Int[ndarray, " _"]]:
        """Return which sequences have each value of a column that is conditioned on, unknown being one; none without.

        Args:
            condition: Of each sequence, encoded.
            balance: The column; nothing for none.

        Raises:
            ValueError: if it is not conditioned on, or a number.
        """
        if not balance:
            return []
        if balance not in self.names:
            raise ValueError(f"--balance: {self._stranger(balance)}")
        if self._part(balance).normaliser is not None:
            raise ValueError(f"--balance: {balance!r} is a number; only classes can be equally frequent in training")
        ends = np.cumsum([0, *(part.width + part.gaps for part in self.parts)])
        own = condition[:, ends[(j := self.names.index(balance))] : ends[j + 1]].cpu().numpy()
        _, which = np.unique(own, axis=0, return_inverse=True)
        return [np.flatnonzero(which.reshape(-1) == value) for value in range(which.max() + 1)]

    def table(
        self,
    ) -> tuple[Float[ndarray, "m columns"], Float[Tensor, "m condition"], Shaped[ndarray, " m"]]:
        """Return the combinations of conditions that the training set had: codes, encoded, and how often."""
        return self.combinations, self._encode(self.combinations), self.counts

    def _encode(self, codes: Float[ndarray, "m columns"]) -> Float[Tensor, "m condition"]:
        encoded = [with_gate(part.encode(codes[:, j : j + 1])[0][:, 0], part.gaps) for j, part in enumerate(self.parts)]
        nothing = np.zeros((len(codes), 0))
        return torch.from_numpy(np.concatenate([*encoded, nothing], axis=1).astype(np.float32))

    def _part(self, name: str) -> Part:
        return self.parts[self.names.index(name)]

    def _stranger(self, name: str) -> str:
        what = nearest(name, self.names) if self.names else "it was trained without a condition"
        return f"the run is not conditioned on {name!r}; {what}"

    def _code(self, name: str, label: Any) -> float:
        if name not in self.names:
            raise ValueError(self._stranger(name))
        part = self._part(name)
        code = part.column.code(label)
        low, high = part.extremes
        if part.normaliser is not None and not low <= code <= high:
            raise ValueError(f"{name} = {label} is outside of what training saw, {low:g} to {high:g}")
        return code


def combinations(
    sequences: Sequences, condition: tuple[str, ...]
) -> tuple[Float[ndarray, "m condition"], Shaped[ndarray, " m"]]:
    """Return distinct combinations of conditions and their counts, continuous ones as medians of 20 quantile bins."""
    if not condition:
        return np.zeros((0, 0)), np.zeros(0, dtype=np.int64)
    columns = []
    for name in condition:
        values = sequences.static_column(name).astype(np.float64)
        if sequences.schema.statics[sequences.schema.static_index(name)].kind == "continuous":
            edges = np.unique(np.nanquantile(values, np.linspace(0, 1, 21)))
            bins = np.searchsorted(edges[1:-1], values, side="right")
            middles = {b: float(np.nanmedian(values[bins == b])) for b in np.unique(bins[~np.isnan(values)])}
            values = np.array([np.nan if np.isnan(v) else middles[b] for v, b in zip(values, bins, strict=True)])
        columns.append(values)
    return np.unique(np.stack(columns, axis=1), axis=0, return_counts=True, equal_nan=True)
