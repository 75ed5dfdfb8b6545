"""What a run's log says."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from numpy import ndarray

from .style import PLAYERS, blank, clean, legend, styled

NORM = ".gradient_norm"
FEW = 20
"""Points of a curve that are shown as such, at most."""


def terms(log: pd.DataFrame) -> dict[str, list[str]]:
    """Group the numeric columns of a log by what they measure: `r1` -> `discriminator.r1`, `generator.r1`.

    Similarity to held-out sequences is grouped by its measure, `similarity.mmd[died=1]` with `similarity.mmd`. What is
    said of single layers is left out.
    """
    groups: dict[str, list[str]] = {}
    for column in map(str, log.select_dtypes("number").columns):
        if column != "step" and not column.startswith("gradients.") and np.isfinite(numbers(log, column)).any():
            groups.setdefault(_parted(column)[1], []).append(column)
    return groups


def _parted(column: str) -> tuple[str, str]:
    """Return whose number a column is, and of what: `generator`, `r1`; `died=1`, `mmd`."""
    if column.startswith("similarity."):
        measure, _, condition = column.removeprefix("similarity.").partition("[")
        return condition.removesuffix("]") or "all", measure
    player, _, term = column.rpartition(".")
    return player or column, term


def numbers(log: pd.DataFrame, column: str) -> Float[ndarray, " rows"]:
    """Return a column of a log; NaN where a row has none."""
    return np.asarray(log[column].astype(np.float64))


def losses(log: pd.DataFrame) -> list[str]:
    """Return every player's first term that has a gradient norm beside it."""
    columns = list(map(str, log.columns))
    players = [column.removesuffix(NORM) for column in columns if column.endswith(NORM)]
    firsts = (next((c for c in columns if c.startswith(f"{player}.") and c != player + NORM), "") for player in players)
    return [column for column in firsts if column]


@styled
def coloured(log: pd.DataFrame, column: str) -> Figure:
    """Draw a player's loss over the steps, smooth, coloured by the norm of its whole gradient."""
    figure, (ax,) = blank(1.9)
    norms = numbers(log, column.partition(".")[0] + NORM)
    values, steps = numbers(log, column), numbers(log, "step")
    known = np.isfinite(values) & (norms > 0)
    window = max(1, int(known.sum()) // 50)
    smooth, norm = (
        np.asarray(pd.Series(part[known]).rolling(window, center=True, min_periods=1).mean())
        for part in (values, norms)
    )
    thin = slice(None, None, -(-len(smooth) // 1000) or 1)
    points = np.stack([steps[known], smooth], axis=1)[thin]
    lines = LineCollection(
        list(np.stack([points[:-1], points[1:]], axis=1)), cmap="plasma", norm=LogNorm(), linewidth=2
    )
    lines.set_array(norm[thin][:-1])
    ax.add_collection(lines)
    ax.autoscale()
    if len(points) > 1:
        bar = figure.colorbar(lines, ax=ax, pad=0.02, aspect=12)
        bar.ax.yaxis.set_major_locator(LogLocator(numticks=4))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        bar.ax.yaxis.set_minor_formatter(FuncFormatter(lambda v, _: ""))
        bar.set_label("gradient norm", fontsize=8)
        bar.outline.set_visible(False)  # type: ignore[operator]
    ax.set_title(clean(column.replace("_", " ").replace(".", ": "), 32))
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure


@styled
def learning(log: pd.DataFrame, columns: Iterable[str], term: str = "") -> Figure:
    """Draw columns of a log over the steps: a smooth line over the faint raw one.

    The smooth line is a mean over a fiftieth of the rows. The axis is logarithmic where all is positive and spans a
    factor of 100.
    """
    figure, (ax,) = blank(2.3)
    drawn: list[ndarray] = []
    for column, colour in zip(columns, PLAYERS * 8, strict=False):
        values = numbers(log, column)
        known = np.isfinite(values)
        steps, values = numbers(log, "step")[known], values[known]
        window = max(1, len(values) // 50)
        smooth = np.asarray(pd.Series(values).rolling(window, center=True, min_periods=1).mean())
        thin = slice(None, None, -(-len(values) // 1000) or 1)
        player = clean(_parted(column)[0], 24)
        ax.plot(steps[thin], values[thin], color=colour, alpha=0.25, linewidth=0.7)
        marker = "o" if len(values) <= FEW else None  # a line of one point is none
        ax.plot(steps[thin], smooth[thin], color=colour, linewidth=1.5, marker=marker, markersize=4, label=player)
        drawn.append(smooth)
    together = np.concatenate(drawn) if drawn else np.zeros(0)
    if len(together) and together.min() > 0 and together.max() > 100 * together.min():
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.yaxis.set_minor_formatter(FuncFormatter(lambda v, _: ""))
    ax.set_title(clean(term.replace("_", " "), 24))
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    legend(ax)
    return figure
