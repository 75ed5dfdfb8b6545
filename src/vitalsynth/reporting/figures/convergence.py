"""How trainings stand, and how soon they reached a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ...monitoring.convergence import Verdict, curve
from ...monitoring.reaching import Reached, Survival
from .style import CATEGORIES, PLAYERS, blank, clean, styled


@styled
def convergence(
    logs: Mapping[str, pd.DataFrame], verdicts: Mapping[str, Verdict], found: Sequence[Reached] = (), score: str = ""
) -> Figure:
    """Draw the curve by which each run was judged, a mark where its state began, and who reached a score by when.

    Args:
        logs: By run.
        verdicts: By run.
        found: When each reached the score, if one was asked for.
        score: In words.
    """
    figure, axes = blank(3.2, 1 + bool(found))
    figure.set_figwidth(figure.get_figwidth() * (1 + bool(found)))
    for (name, log), colour in zip(logs.items(), CATEGORIES * len(logs), strict=False):
        verdict = verdicts[name]
        drawn = curve(log, *verdict.by.split(" and "))
        label = f"{clean(name, 20)}: {verdict.state}"
        axes[0].plot(drawn.steps, drawn.values, color=colour, linewidth=1.2, label=label)
        if verdict.state != "too short":
            height = np.interp([verdict.low, verdict.since, verdict.high], drawn.steps, drawn.values)
            axes[0].plot([verdict.low, verdict.high], [height[1]] * 2, color=colour, linewidth=3, alpha=0.4)
            axes[0].plot(verdict.since, height[1], "o", color=colour, markersize=5)
    by = {verdict.by for verdict in verdicts.values()}
    axes[0].set_ylabel("log of the mean distance" if all(each.startswith("similarity.") for each in by) else "loss")
    axes[0].set_title("a dot: since when, and how surely")
    axes[0].legend(fontsize=6.5, loc="best")
    if found:
        _reached(axes[1], found, score)
    for ax in axes:
        ax.set_xlabel("step")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure


def _reached(ax, found: Sequence[Reached], score: str) -> None:
    survival = Survival.of(found)
    last = max(each.step for each in found)
    steps, there, low, high = (
        np.append(values, end)
        for values, end in (
            (survival.steps, last),
            (1 - survival.share, 1 - survival.share[-1]),
            (1 - survival.high, 1 - survival.high[-1]),
            (1 - survival.low, 1 - survival.low[-1]),
        )
    )
    ax.fill_between(steps, low, high, step="post", color=PLAYERS[0], alpha=0.2, linewidth=0)
    ax.step(steps, there, where="post", color=PLAYERS[0])
    waiting = [each.step for each in found if not each.ever]
    ax.plot(waiting, np.interp(waiting, steps, there), "|", color="#444444", markersize=9)
    ax.set_title(f"reached {clean(score, 36)}")
    ax.set_ylim(-0.02, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
