"""What is wrong with a run, judged from a few steps, its log and its samples: one finding a line, with what to try."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import scipy
from jaxtyping import Float
from numpy import ndarray

from ..evaluation.dynamics import numeric
from ..evaluation.features import View
from ..sequences import Sequences

DEAD = 0.9
"""Share of a layer's gradient that is exactly 0 from which on the layer counts as dead."""
SATURATED = 0.9
MOST_UPDATE, LEAST_UPDATE = 0.15, 1e-6
"""Share by which a step changes the weights of a player's median layer: 0.004 to 0.026 in three presets, at most 0.065
(the critic of `rcgan` has few layers); 0.2 to 1.1 in the first step at 100 times the rate of most."""
MOST_GROWTH = 0.015
"""By how much a step makes the square of a player's weights grow, on average since training began, as a share of what
it was at first (a random walk's grows evenly): at most 0.0024 in 85 runs at their presets' rates, 0.08 to 1.3 in seven
at 100 times those, 0.14 to 1.05 in fifteen more."""
EXPLODING = 100.0
"""A gradient so many times as large as it usually was."""
COLLAPSED = 0.15
"""Spread, and distance to the nearest other, of synthetic sequences over those of real ones."""

Row = Mapping[str, float]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Args:
        where: The layer, parameter or player.
        what: What is wrong with it.
        advice: What to try.
    """

    where: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.advice}"


def judge_gradients(
    rows: Sequence[Row], log: Sequence[Row], unreached: set[str], growth: Mapping[str, float], steps: int
) -> Iterator[Finding]:
    """Judge the figures of every layer (`gradients`), of a few steps, beside those that were logged.

    Args:
        rows: Of the steps that were just taken.
        log: Of the run.
        unreached: Layers none of whose parameters was given any gradient.
        growth: Of the weights of every player since training began.
        steps: How many steps ago that was.
    """
    for name, dead in _medians(rows, ".dead").items():
        if name in unreached:
            yield Finding(
                name,
                "no gradient reaches it",
                "It is detached from the loss or not used: look for detach, no_grad, .data or .item() behind it",
            )
        elif dead == 1:
            yield Finding(name, "its gradient is exactly 0", "All units behind it are dead, or it is multiplied by 0")
        elif dead >= DEAD:
            yield Finding(
                name,
                f"{dead:.0%} of its gradient is exactly 0",
                "Dead units: try LeakyReLU in the place of ReLU, or a lower learning rate",
            )
    usual = _medians(log, ".norm") | _medians(log, ".gradient_norm")
    for name, norm in (_medians(rows, ".norm") | _medians(rows, ".gradient_norm")).items():
        if 0 < usual.get(name, 0.0) < norm / EXPLODING:
            yield Finding(
                name,
                f"its gradient explodes: {norm:.3g}, and {usual[name]:.3g} is usual in this run",
                "Try --clip 1, a lower learning rate, or stronger penalties",
            )
    yield from _judge_rate(rows, log, growth, steps)


def _judge_rate(rows: Sequence[Row], log: Sequence[Row], growth: Mapping[str, float], steps: int) -> Iterator[Finding]:
    """Judge how far steps move weights, now and at most since training began, and how far they have moved them in all.

    Weights that moved far have grown, so that the same rate moves them less and less. A step is judged by the median
    layer of a player, as a small one may move far.
    """
    for player, grown in growth.items():
        moved = [each for row in (*log, *rows) if (each := _of_layers(row, player))]
        now, most = median(moved[-len(rows) :] or [0.0]), max(moved, default=0.0)
        if most > MOST_UPDATE or grown**2 - 1 > MOST_GROWTH * steps:
            yield Finding(
                player,
                f"its learning rate is far too high: a step changes a layer by {now:.1%} of its weights, at most by "
                f"{most:.1%} (0.1 % to 1 % is usual); they have grown {grown:.1f}-fold in {steps:,} steps",
                f"Try --{player}_optimizer.lr 10 to 100 times lower",
            )
        elif 0 < now < LEAST_UPDATE:
            yield Finding(
                player,
                f"its learning rate is far too low: a step changes a layer by {now:.1g} of its weights",
                f"Try --{player}_optimizer.lr 10 to 100 times higher; 0.1 % to 1 % is usual",
            )


def _of_layers(row: Row, player: str) -> float:
    """Return by how much of its weights a step changed the median layer of a player; 0 if that was not looked at."""
    keys = [key for key in row if key.startswith(f"gradients.{player}.") and key.endswith(".update")]
    return median([row[key] for key in keys] or [0.0])


def _medians(rows: Sequence[Row], figure: str) -> dict[str, float]:
    """Return the median over rows of a figure of every layer or player that has it."""
    names = {key for row in rows for key in row if key.endswith(figure)}
    return {
        name.removesuffix(figure).removeprefix("gradients."): median(row[name] for row in rows if name in row)
        for name in sorted(names)
    }


def judge_saturation(shares: Mapping[tuple[str, str], float]) -> Iterator[Finding]:
    """Judge what share of the outputs of each sigmoid and tanh is saturated."""
    for (layer, function), share in shares.items():
        if share >= SATURATED:
            yield Finding(
                layer,
                f"{share:.0%} of what its {function} gives is saturated, so hardly a gradient comes through",
                "Its inputs are too large: try smaller first weights, a normalisation before it, or a lower learning "
                "rate",
            )


def judge_collapse(train: Sequences, real: Sequences, synthetic: Sequences) -> Iterator[Finding]:
    """Judge whether synthetic sequences vary as real ones do.

    Two figures, each over that of real sequences: the deviation between sequences, of the median channel; and the
    distance of a sequence to the nearest other, which falls where the same few are made again and again.

    Args:
        train: Scales the data.
        real: Held out.
        synthetic: As many, with the same conditions.
    """
    view = View.fit(train, real)
    spread = _share(_deviations(view, synthetic), _deviations(view, real))
    nearest = _share(_to_nearest(view, synthetic), _to_nearest(view, real))
    advice = (
        "Try stronger penalties, --discriminator.minibatch 8 if it is 0, a slower discriminator, "
        "or an earlier checkpoint"
    )
    if spread < COLLAPSED:
        yield Finding("generator", f"collapsed: its sequences vary {spread:.2g} times as much as real ones", advice)
    elif nearest < COLLAPSED:
        yield Finding(
            "generator",
            f"collapsed onto few modes: its sequences are {nearest:.2g} times as far from each other's nearest as real "
            "ones",
            advice,
        )


def _share(made: Float[ndarray, " k"], real: Float[ndarray, " k"]) -> float:
    """Return the median ratio, of where real sequences vary at all; 1 if they nowhere do."""
    vary = real > 0
    return float(np.median(np.nan_to_num(made[vary]) / real[vary])) if vary.any() else 1.0


def _deviations(view: View, sequences: Sequences) -> Float[ndarray, " channels"]:
    """Return how much each channel varies between sequences, in the mean over steps; NaN if never."""
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # of steps at which nothing was measured
        return np.nanmean(np.nanstd(numeric(view, sequences)[0], axis=0), axis=0)


def _to_nearest(view: View, sequences: Sequences) -> Float[ndarray, " 1"]:
    """Return the distance to the nearest other sequence, of the median sequence."""
    apart = scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(view.flat(sequences)))
    np.fill_diagonal(apart, np.inf)
    return np.array([np.median(apart.min(axis=1))])
