"""Synthetic sequences beside the real ones that are nearest to them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ...evaluation.nearest import Nearest
from .channels import time_axis
from .limits import axis_limits
from .style import REAL, SYNTHETIC, blank, labels, styled, title

SHOWN = {"closest": 0.0, "halfway": 0.5, "farthest": 1.0}


@styled
def nearest_distances(found: Nearest) -> Figure:
    """Draw what share of sequences lies within a distance of its nearest neighbour.

    A generator that copies has its line left of the one between real people.
    """
    figure, (ax,) = blank(2.4)
    share = (np.arange(len(found.between)) + 1) / len(found.between)
    for distances, name, colour, line in (
        (found.between, "held out to training (real)", REAL, "-"),
        (found.to_train, "synthetic to training", SYNTHETIC, "-"),
        (found.to_test, "synthetic to held out", SYNTHETIC, ":"),
    ):
        ax.plot(np.sort(distances), share, color=colour, linestyle=line, label=name, linewidth=1.3)
    ax.set_xlabel("distance to the nearest (standard deviations)")
    ax.set_ylabel("share of sequences")
    ax.set_ylim(0, 1.02)
    ax.set_xlim(0, None)
    ax.legend(loc="best")
    return figure


@styled
def nearest(found: Nearest, name: str) -> Figure:
    """Draw one channel of the synthetic sequence closest to the training set, of one halfway, and of the farthest.

    Each stands with its nearest training sequence and its nearest held-out one.
    """
    column = found.train.schema.channels[found.train.schema.channel_index(name)]
    order = np.argsort(found.to_train, kind="stable")
    figure, axes = blank(2.8, len(SHOWN), sharey=True)
    times, below = time_axis(found.train)
    drawn = []
    for ax, (where, place) in zip(axes, SHOWN.items(), strict=True):
        k = int(order[round(place * (len(order) - 1))])
        lines = {
            "training": (found.train.channel(name)[found.in_train[k]], REAL, "-"),
            "held out": (found.test.channel(name)[found.in_test[k]], REAL, ":"),
            "synthetic": (found.synthetic.channel(name)[k], SYNTHETIC, "-"),
        }
        for label, (row, colour, style) in lines.items():
            known = ~np.isnan(row)  # a line over gaps, for what is compared is carried forward
            ax.plot(
                times[known], row[known], color=colour, linestyle=style, label=label, linewidth=1.1, marker=".", ms=3
            )
            drawn.append((label, row))
        ax.set_title(f"{where}\n{found.to_train[k]:.2g} away")
        ax.set_xlabel(below)
    real, made = (
        np.concatenate([row for label, row in drawn if (label == "synthetic") == own]) for own in (False, True)
    )
    axes[0].set_ylim(*axis_limits(real, made))
    axes[0].set_ylabel(title(column))
    if names := labels(column):
        axes[0].set_yticks(range(len(names)), names)
    handles, labelled = axes[0].get_legend_handles_labels()
    figure.legend(handles, labelled, loc="outside lower center", ncols=len(labelled))
    return figure
