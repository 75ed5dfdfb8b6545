"""How every figure looks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy import ndarray

from ...sequences import Column

REAL, SYNTHETIC = "#0072B2", "#D55E00"
PLAYERS = ("#009E73", "#7B3294", "#B8860B", "#444444")
MISSING = "#D9D9D9"
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#555555")

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "axes.formatter.use_mathtext": False,
    "text.parse_math": False,  # a column may be called a$b$c
    "text.usetex": False,
    "svg.fonttype": "none",
}
WIDTH = 4.7
"""Inches: at a phone's 390 pixels, 9 points are still 10 pixels high."""

Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Draw in the house style, whatever the user's own settings are, and leave those alone."""

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(STYLE)
            return draw(*args, **kwargs)

    return drawn


def blank(height: float, columns: int = 1, **settings: Any) -> tuple[Figure, list[Axes]]:
    """Return an empty figure of so many inches in height, and its axes side by side."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, columns, squeeze=False, **settings)[0])


def pixels(figure: Figure, dpi: float = 80) -> UInt8[ndarray, "height width 3"]:
    """Return a figure as colours."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def clean(text: object, most: int = 48) -> str:
    """Return a text fit for a figure: one line, no control characters, not too long."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line if len(line) <= most else line[: most - 1] + "…"


def title(column: Column) -> str:
    """Return the name and unit of a column, fit for an axis."""
    return clean(column.title, 26)


def labels(column: Column) -> tuple[str, ...] | None:
    """Return the names of a column's codes; None if it is a number."""
    if column.kind == "continuous":
        return None
    return tuple(clean(c, 16) for c in column.categories) or ("0", "1")


def legend(ax: Axes) -> None:
    """Say which line is which, in one row at the bottom right."""
    handles, names = ax.get_legend_handles_labels()
    ax.legend(
        handles, names, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(names), borderaxespad=0.1, handlelength=1.4
    )


def pair_titles(axes: list[Axes]) -> None:
    """Head two axes `real` and `synthetic`, each in its colour."""
    for ax, name, colour in zip(axes, ("real", "synthetic"), (REAL, SYNTHETIC), strict=True):
        ax.set_title(name, color=colour)
