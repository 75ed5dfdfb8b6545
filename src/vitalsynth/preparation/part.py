"""How one column is encoded, and read back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from torch import Tensor

from .. import normalisation
from ..normalisation import Normaliser
from ..sequences import Block, Column

FEWEST_REPEATS, MOST_IN_CELLS = 0.05, 0.5
"""Share of repeats from which on a network is told; of values on a grid, whose cells have a probability anyway, the
second: told of fewer, it draws stays of vital signs that are easier to tell from real ones (LOG.md)."""


@dataclass(frozen=True)
class Part:
    """How one column is encoded.

    Args:
        column: What it is.
        normaliser: How a continuous column is scaled; None for the others.
        gaps: Whether it is missing anywhere in the training set, so that it needs a mask.
        statics_gaps: Whether any training sequence lacks what the normaliser takes out of it.
        extremes: Smallest and largest training value.
        change: By how much the encoded value changes from one measurement to the next, where it does: the median size;
            None if it never does.
        repeats: Share of the values that are the one measured before, exactly: what is written down again every hour.
    """

    column: Column
    normaliser: Normaliser | None
    gaps: bool
    statics_gaps: bool
    extremes: tuple[float, float]
    change: float | None = None
    repeats: float = 0.0

    @property
    def width(self) -> int:
        return len(self.column.categories) if self.column.kind == "categorical" else 1

    def block(self, gate: int | None) -> Block:
        """Return what a network is told of the encoded column."""
        if self.normaliser is None or self.normaliser.width:
            return Block(self.column.kind, self.width, gate, change=self.change)
        low, high = self.normaliser.encode(np.array([self.extremes]))[0][0].tolist()
        step, affine, grid = self.column.resolution, self.normaliser.affine, None
        if step is not None and affine is not None:
            level, scale = affine
            grid = (step / scale, (self.column.origin - level) / scale)
        told = self.repeats >= (FEWEST_REPEATS if grid is None else MOST_IN_CELLS)
        return Block("continuous", 1, gate, grid, (low, high), self.change, self.repeats if told else 0.0)

    @classmethod
    def fit(cls, column: Column, values: Float[ndarray, "n length"], alive: ndarray, kind: str) -> Part:
        missing = np.isnan(values)
        if missing.all():
            raise ValueError(f"column {column.name!r} has no measured value; leave it out (--drop {column.name})")
        normaliser = normalisation.named(kind).fit(values) if column.kind == "continuous" else None
        taken_out = normaliser is not None and normaliser.width > 0
        statics_gaps = taken_out and bool(missing.all(axis=1).any())
        extremes = (float(np.nanmin(values)), float(np.nanmax(values)))
        encoded = normaliser.encode(values)[0] if normaliser else values[:, :0]
        change, repeats = _typical_change(encoded), _share_repeated(encoded)
        return cls(column, normaliser, bool((missing & alive).any()), statics_gaps, extremes, change, repeats)

    def encode(self, values: Float[ndarray, "n length"]) -> tuple[Float[ndarray, "n length width"], ndarray]:
        """Return the encoded columns, NaN where not measured, and what was taken out of each sequence."""
        if self.normaliser is not None:
            scaled, statics = self.normaliser.encode(values)
            return scaled[..., None], statics
        nothing = np.zeros((len(values), 0))
        if self.column.kind == "binary":
            return values[..., None], nothing
        hot = (values[..., None] == np.arange(self.width)).astype(np.float64)
        return np.where(np.isnan(values)[..., None], np.nan, hot), nothing

    def decode(
        self, encoded: Float64[Tensor, "n length width"], statics: Float64[Tensor, "n k"], within_extremes: bool = False
    ) -> Float64[Tensor, "n length"]:
        """Undo `encode`, onto the column's resolution and within its bounds or the extremes seen in training."""
        if self.column.kind != "continuous":
            codes = encoded.argmax(dim=-1) if self.column.kind == "categorical" else encoded[..., 0] > 0.5
            return torch.where(torch.isnan(encoded[..., 0]), torch.nan, codes.double())
        assert self.normaliser is not None
        values = self.normaliser.decode(encoded[..., 0], statics)
        if (step := self.column.resolution) is not None:
            origin = self.column.origin
            values = torch.round((values - origin) / step) / (1 / step) + origin + 0.0  # no -0
        low, high = self.extremes if within_extremes else (self.column.low, self.column.high)
        return values if low is None and high is None else values.clamp(low, high)


def _typical_change(encoded: Float[ndarray, "n length"]) -> float | None:
    sizes = np.abs(np.diff(encoded, axis=1))
    sizes = sizes[sizes > 1e-9]  # neither NaN nor rounding
    return float(np.median(sizes)) if len(sizes) else None


def _share_repeated(encoded: Float[ndarray, "n length"]) -> float:
    row, step = np.nonzero(~np.isnan(encoded))
    values = encoded[row, step]
    follows = row[1:] == row[:-1]
    return float((values[1:] == values[:-1])[follows].mean()) if follows.any() else 0.0


class Reader:
    """Walks through encoded statics from left to right."""

    def __init__(self, columns: Float64[Tensor, "n k"]) -> None:
        self.columns, self.position = columns, 0

    def take(self, width: int, gated: bool, fill: float) -> Tensor:
        block = self.columns[:, self.position : self.position + width]
        self.position += width
        if gated:
            gate = self.columns[:, self.position : self.position + 1]
            self.position += 1
            block = torch.where(gate > 0.5, block, fill)
        return block


def with_gate(columns: ndarray, gated: bool) -> ndarray:
    """Return encoded columns with 0 where missing and, if gated, a 0/1 column that says where they are not."""
    missing = np.isnan(columns)
    filled = np.where(missing, 0.0, columns)
    return np.concatenate([filled, ~missing[:, :1]], axis=1) if gated else filled
