"""What a run's log says."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy import ndarray

from .style import PLAYERS, blank, clean, legend, styled


def terms(log: pd.DataFrame) -> dict[str, list[str]]:
    """Group the numeric columns of a log by what they measure: `r1` -> `discriminator.r1`, `generator.r1`."""
    groups: dict[str, list[str]] = {}
    for column in map(str, log.select_dtypes("number").columns):
        if column != "step" and np.isfinite(numbers(log, column)).any():
            groups.setdefault(column.rpartition(".")[2], []).append(column)
    return groups


def numbers(log: pd.DataFrame, column: str) -> Float[ndarray, " rows"]:
    """Return a column of a log; NaN where a row has none."""
    return np.asarray(log[column].astype(np.float64))


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
        player = clean(column.rpartition(".")[0] or column, 24)
        ax.plot(steps[thin], values[thin], color=colour, alpha=0.25, linewidth=0.7)
        ax.plot(steps[thin], smooth[thin], color=colour, linewidth=1.5, label=player)
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
