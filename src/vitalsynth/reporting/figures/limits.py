"""What is asked of two sets together: limits, bins, scales. Real data alone decide, so that they stay legible."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ...sequences import Column


def span(values: ndarray, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """Return two quantiles of what is known, never the same."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    a, b = (float(q) for q in np.quantile(known, [low, high]))
    return (a, b) if b > a else (a - 0.5, b + 0.5)


def axis_limits(real: ndarray, synthetic: ndarray) -> tuple[float, float]:
    """Return limits that hold all real values, and synthetic ones up to one real span beyond."""
    low, high = span(real)
    wide = high - low
    if np.isfinite(synthetic).any():
        low, high = max(low - wide, min(low, np.nanmin(synthetic))), min(high + wide, max(high, np.nanmax(synthetic)))
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def bin_edges(column: Column, real: ndarray, synthetic: ndarray) -> Float[ndarray, " edges"]:
    """Return bin edges that fall between recordable values, so that rounding makes no comb."""
    low, high = span(real, 0.002, 0.998)
    wide = high - low
    if np.isfinite(synthetic).any():
        a, b = span(synthetic, 0.002, 0.998)
        low, high = max(low - wide, min(low, a)), min(high + wide, max(high, b))
    bins = int(np.clip(2 * min(len(real), 10_000) ** (1 / 3), 12, 40))  # Rice's rule
    grain = coarser(real, column.resolution or grid_step(real))
    width = (high - low) / bins
    width = max(1, round(width / grain)) * grain if grain else width
    start = (np.floor((low - column.origin) / grain) - 0.5) * grain + column.origin if grain else low
    return start + width * np.arange(int(np.ceil((high + grain / 2 - start) / width - 1e-6)) + 1)


def grid_step(values: ndarray) -> float:
    """Return the step between neighbouring values if they are of a coarse grid, else 0."""
    unique = np.unique(values[np.isfinite(values)].astype(np.float64))
    if not 2 <= len(unique) <= 500:
        return 0.0
    gaps = np.diff(unique)
    return float(f"{gaps.min():.3g}") if gaps.min() > 1e-4 * (unique[-1] - unique[0]) else 0.0  # 0.05, not 0.0499954


def coarser(values: ndarray, grain: float) -> float:
    """Return the coarsest grid on which seven in ten values lie: whole numbers, though some have halves.

    Zeros lie on every grid and do not count (most of a digit is black), and it stays well below the values' span.
    """
    values = values[values != 0]
    if not grain or not len(values):
        return grain
    for factor in (10, 5, 4, 2):
        aside = values / (factor * grain)
        if factor * grain < np.ptp(values) / 10 and (np.abs(aside - np.round(aside)) < 0.01).mean() >= 0.7:
            return coarser(values, factor * grain)
    return grain
