"""What came of a sweep: every run by every setting, which settings mattered, and two scores against each other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter
from numpy import ndarray
from scipy import stats

from .style import CATEGORIES, MISSING, PLAYERS, REAL, WIDTH, blank, clean, styled

ACROSS = 2
"""Panels side by side."""
ASIDE = 0.15
"""A mean of a category, with its 95 % interval, stands so far right of the runs."""
FEW = 7
"""Of so many values at most, each is written below an axis, and means are shown: a line, or of categories intervals."""


@styled
def sweep(
    runs: pd.DataFrame,
    table: pd.DataFrame,
    scores: Mapping[str, bool],
    importance: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Draw each score by each setting, a dot a run, with the means, and what each setting explains.

    An arrow says which way a score is better. With several scores, the first two are set against each other first.

    Args:
        runs: A row a run, with settings and scores.
        table: A row a configuration: settings, then `runs`, scores, and `front` if there are several.
        scores: By name, whether more is better.
        importance: Of every score, the share that each setting explains; of some, or none.
    """
    settings = list(table.columns[: table.columns.get_loc("runs")])
    draws = [partial(_front, runs=runs, table=table, scores=scores)] if len(scores) > 1 else []
    draws += [
        partial(_by, runs=runs, setting=name, score=score, up=up) for score, up in scores.items() for name in settings
    ]
    draws += [partial(_importance, importance=importance)] if importance else []
    down = max(-(-len(draws) // ACROSS), 1)
    figure, _ = blank(2.3 * down)
    figure.clear()
    figure.set_figwidth(1.4 * WIDTH)
    axes = figure.subplots(down, ACROSS, squeeze=False).ravel()
    for ax, draw in zip(axes, draws, strict=False):
        draw(ax)
    for ax in axes[len(draws) :]:
        ax.set_visible(False)
    return figure


def _by(ax: Axes, runs: pd.DataFrame, setting: str, score: str, up: bool) -> None:
    known = runs.dropna(subset=[score])
    ordered = pd.api.types.is_numeric_dtype(runs[setting])
    if ordered:
        x = known[setting].to_numpy(np.float64)
        _scale(ax, np.unique(runs[setting].to_numpy(np.float64)))
    else:
        texts = list(dict.fromkeys(runs[setting]))
        x = np.array([texts.index(value) for value in known[setting]], dtype=np.float64)
        ax.set_xticks(range(len(texts)), [clean(text or "(none)", 14) for text in texts])
        ax.set_xlim(-0.5, len(texts) - 0.5)
    ax.plot(x, known[score], "o", color=REAL, alpha=0.5, markersize=4.5, markeredgewidth=0)
    values = np.unique(x)
    if len(values) < len(known) and len(values) <= FEW:
        found = np.asarray(known[score], np.float64)
        means, lows, highs = np.array([_interval(found[x == value]) for value in values]).T
        if ordered:
            ax.plot(values, means, color=PLAYERS[3], linewidth=1.2)
        else:  # categories have no order that a line could follow
            ends = np.stack([means - lows, highs - means])
            room = 0.3 * float(np.ptp(found)) or 0.5
            ax.set_ylim(found.min() - room, found.max() + room)  # of two runs an interval has no end
            ax.errorbar(values + ASIDE, means, ends, fmt="D", color=PLAYERS[3], markersize=4, linewidth=1.2, capsize=3)
    ax.set_xlabel(clean(setting, 36))
    ax.set_ylabel(f"{clean(score, 24)} {'↑' if up else '↓'}")


def _interval(values: Float[ndarray, " n"]) -> tuple[float, float, float]:
    """Return a mean with the ends of its 95 % interval (Student's t); itself where there is but one."""
    mean = float(values.mean())
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if len(values) > 1 else 0.0
    return mean, mean - half, mean + half


def _scale(ax: Axes, values: np.ndarray) -> None:
    """Let an axis be logarithmic if values are of several sizes, and name them if they are few."""
    if values[0] > 0 and values[-1] / values[0] >= 8:
        ax.set_xscale("log")
    named = [f"{value:g}" for value in values]
    if len(values) <= FEW and max(map(len, named)) <= 6:
        ax.set_xticks(values, named)
        ax.xaxis.set_minor_locator(NullLocator())


def _front(ax: Axes, runs: pd.DataFrame, table: pd.DataFrame, scores: Mapping[str, bool]) -> None:
    x, y = list(scores)[:2]
    ax.plot(runs[x], runs[y], "o", color=MISSING, markersize=3.5, markeredgewidth=0, label="runs")
    ax.plot(table[x], table[y], "o", color=REAL, markersize=4.5, markeredgewidth=0, label="means over seeds")
    best = table.loc[table["front"]].sort_values(by=x)
    ax.plot(best[x], best[y], "o-", color=PLAYERS[0], markersize=5.5, linewidth=1.2, label="Pareto front")
    for name, say in ((x, ax.set_xlabel), (y, ax.set_ylabel)):
        say(f"{clean(name, 24)} {'↑' if scores[name] else '↓'}")
    ax.legend(fontsize=6.5)


def _importance(ax: Axes, importance: Mapping[str, Mapping[str, float]]) -> None:
    """Draw bars, with the names of settings above them, as these are long."""
    names = list(next(iter(importance.values())))
    height = 0.6 / len(importance)
    for k, (score, shares) in enumerate(importance.items()):
        at = np.arange(len(names)) + k * height
        ax.barh(at, [shares.get(name, 0) for name in names], height, color=CATEGORIES[k % 8], label=clean(score, 26))
    for k, name in enumerate(names):
        ax.text(0, k - 0.55 * height - 0.05, clean(name, 36), fontsize=7.5, verticalalignment="bottom")
    ax.set_ylim(len(names) - 0.4, -0.8)
    ax.set_yticks([])
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_title("what explains " + ("the scores" if len(importance) > 1 else clean(next(iter(importance)), 24)))
    if len(importance) > 1:
        ax.legend(fontsize=6.5)
