"""What people find real, and which metrics agree with them."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import MISSING, REAL, SYNTHETIC, WIDTH, blank, clean, styled

METRICS = 12
"""Most metrics that are drawn."""


@styled
def review(contestants: pd.DataFrame, metrics: pd.DataFrame) -> Figure:
    """Draw strengths with their intervals, shares taken for real, and the correlation of metrics with the strengths.

    Args:
        contestants: A row each, best first: `name`, `strength`, `taken`, with `_low` and `_high`.
        metrics: A row each: `metric`, `rho`, with `_low` and `_high`.
    """
    shown = metrics.head(METRICS)
    rows = max(len(contestants), len(shown), 3)
    figure, axes = blank(0.9 + 0.26 * rows, 3 if len(shown) else 2)
    figure.set_figwidth(WIDTH * (2.2 if len(shown) else 1.6))
    real = [name == "real" for name in contestants["name"]]
    _intervals(axes[0], contestants, "name", "strength", real)
    axes[0].set_title("more real than real: right of 0")
    axes[0].set_xlabel("strength (logits)")
    _intervals(axes[1], contestants, "name", "taken", real)
    axes[1].set_title("taken for real")
    axes[1].set_xlim(-0.02, 1.02)
    axes[1].set_yticks([])
    if len(shown):
        _intervals(axes[2], shown, "metric", "rho", [False] * len(shown))
        axes[2].set_title("metrics that see what people see")
        axes[2].set_xlabel("Spearman's correlation")
        axes[2].set_xlim(-1.05, 1.05)
    return figure


def _intervals(ax: Axes, rows: pd.DataFrame, names: str, value: str, real: list[bool]) -> None:
    """Draw a dot and its interval for each row, downwards."""
    ax.axvline(0, color=MISSING, linewidth=1)
    for k, (row, is_real) in enumerate(zip(rows.to_dict("records"), real, strict=True)):
        colour = REAL if is_real else SYNTHETIC
        ax.plot([row[f"{value}_low"], row[f"{value}_high"]], [k, k], color=colour, linewidth=1.6)
        ax.plot([row[value]], [k], "o", color=colour, markersize=4.5)
    ax.set_yticks(range(len(rows)), [clean(name, 28) for name in rows[names]])
    ax.set_ylim(len(rows) - 0.5, -0.5)
