"""The corruption ladder: what every metric is tried on before it is believed.

Honest synthetic sequences, for which other real ones serve, are spoilt more and more, and a metric must answer as it
says it does (`metric.says`): `worse` the more is spoilt; `blind`, as if nothing was; or `better`, taking what is spoilt
for good, which is what makes a metric weak. (After STEB, arXiv 2505.21160, which does the same to 41.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from ..sequences import Sequences
from . import metric
from .metric import Metric

STRENGTHS = (0.25, 0.5, 1.0)
TINY = 1e-9
"""Differences up to here are rounding."""

Corruption = Callable[[Sequences, Sequences, float, np.random.Generator], Sequences]


def noise(honest: Sequences, train: Sequences, strength: float, rng: np.random.Generator) -> Sequences:
    """Add white noise of `strength` of each channel's standard deviation; to numbers alone."""
    numbers = np.array([column.kind == "continuous" for column in honest.schema.channels])
    scale = strength * np.nanstd(train.values, axis=(0, 1)) * numbers
    return replace(honest, values=honest.values + scale * rng.standard_normal(honest.values.shape))


def reversed_time(honest: Sequences, train: Sequences, strength: float, rng: np.random.Generator) -> Sequences:
    """Let a share of the sequences run backwards."""
    return _rearranged(honest, strength, rng, lambda length: np.arange(length)[::-1])


def shuffled_steps(honest: Sequences, train: Sequences, strength: float, rng: np.random.Generator) -> Sequences:
    """Shuffle the steps of a share of the sequences."""
    return _rearranged(honest, strength, rng, rng.permutation)


def permuted_channels(honest: Sequences, train: Sequences, strength: float, rng: np.random.Generator) -> Sequences:
    """Take each channel, but the first, of a share of the sequences from another sequence: no channel knows the others.

    The laws of single channels stay as they are.
    """
    values = honest.values.copy()
    chosen = _some(len(honest), strength, rng)
    for j in range(1, values.shape[2]):
        values[chosen, :, j] = honest.values[rng.permutation(chosen), :, j]
    return replace(honest, values=values)


def dropped_mode(honest: Sequences, train: Sequences, strength: float, rng: np.random.Generator) -> Sequences:
    """Replace by others those with the highest mean, half of all at strength 1: a kind of patient is never drawn."""
    scaled = (honest.values - np.nanmean(train.values, axis=(0, 1))) / np.nanstd(train.values, axis=(0, 1))
    order = np.argsort(np.nan_to_num(scaled).mean(axis=(1, 2)), kind="stable")
    kept = order[: len(honest) - round(strength * len(honest) / 2)]
    return _repeated(honest, np.concatenate([kept, rng.choice(kept, len(honest) - len(kept))]))


def collapsed(honest: Sequences, train: Sequences, strength: float, rng: np.random.Generator) -> Sequences:
    """Let a share of the sequences be one and the same."""
    index = np.arange(len(honest))
    index[_some(len(honest), strength, rng)] = rng.integers(len(honest))
    return _repeated(honest, index)


def copied(honest: Sequences, train: Sequences, strength: float, rng: np.random.Generator) -> Sequences:
    """Replace a share of the sequences by sequences of the training set."""
    chosen = _some(len(honest), strength, rng)
    source = train.take(rng.choice(len(train), len(chosen), replace=len(chosen) > len(train)))
    parts = {name: getattr(honest, name).copy() for name in ("values", "lengths", "static")}
    for name, part in parts.items():
        part[chosen] = getattr(source, name)
    return replace(honest, **parts)


RUNGS: dict[str, Corruption] = {
    "noise": noise,
    "reversed time": reversed_time,
    "shuffled steps": shuffled_steps,
    "permuted channels": permuted_channels,
    "dropped mode": dropped_mode,
    "collapsed": collapsed,
    "copied": copied,
}


@dataclass(frozen=True)
class Answer:
    """How the first figure of a metric answered a corruption.

    Args:
        rung: Which.
        honest: The figure of the honest sequences, and the ends of its interval.
        spoilt: The same at each strength.
        floor: Of real data.
        response: What came: worse, blind, better, or unclear.
    """

    rung: str
    honest: metric.Interval
    spoilt: tuple[metric.Interval, ...]
    floor: float
    response: str


def climb(
    asked: Metric, train: Sequences, test: Sequences, honest: Sequences, seed: int = 0, **settings: Any
) -> Iterator[Answer]:
    """Yield how a metric answers every corruption.

    Two figures differ if their distance is more than chance: the root of the sum of squares of half the intervals of
    both, and of their floors (which is too much where they share real sequences, so what is called an answer is one).

    Worse: at the highest strength the figure differs from the honest one, on its bad side, and from no strength to the
    next does it differ on its good side. Better: the same with sides changed. Blind: at no strength does it differ from
    the honest one. Unclear: anything else. A figure without an interval is taken at its word.

    Args:
        asked: The metric; its first figure is looked at.
        train: Real.
        test: Real, of other subjects.
        honest: As good as synthetic sequences can be: real, of yet others.
        seed: Of the corruptions and the metric.
        settings: Of the metric.
    """
    if metric.takes(asked, "seed"):
        settings["seed"] = seed

    def first(synthetic: Sequences) -> metric.Row:
        return metric.rows(asked, asked(train, test, synthetic, **settings), settings.get("label"))[0]

    base = first(honest)
    for name, corrupt in RUNGS.items():
        rng = np.random.default_rng(seed)
        spoilt = [first(corrupt(honest, train, strength, rng)) for strength in STRENGTHS]
        ends = [_interval(row) for row in (base, *spoilt)]
        yield Answer(name, ends[0], tuple(ends[1:]), base["floor"], _response(base, *spoilt))


def kept(asked: Metric, rung: str, response: str) -> bool:
    """Return whether an answer to a rung is what a metric promised, such as `worse` or `worse or blind`."""
    return response in metric.said(asked).promised(rung).split(" or ")


def _interval(row: metric.Row) -> metric.Interval:
    value, low, high = (row[end] for end in ("value", "low", "high"))
    return value, value if low is None else low, value if high is None else high


def _response(*rows: metric.Row) -> str:
    """Name the answer of the first row's figure to what was done to it, more and more, in the others."""
    values = np.array([row["value"] for row in rows]) * (-1 if rows[0]["better"] == "higher" else 1)
    chance = np.array([_chance(row) for row in rows])
    away = (values[1:] - values[0]) / np.maximum(np.hypot(chance[1:], chance[0]), TINY)
    steps = np.diff(values) / np.maximum(np.hypot(chance[1:], chance[:-1]), TINY)
    if away[-1] > 1 and (steps > -1).all():
        return "worse"
    if away[-1] < -1 and (steps < 1).all():
        return "better"
    return "blind" if (np.abs(away) <= 1).all() else "unclear"


def _chance(row: metric.Row) -> float:
    """Return how far from its value chance may carry a figure, its floor included."""
    ends = [row[end] for end in ("low", "high", "floor_low", "floor_high")]
    widths = [0.0 if None in (low, high) else high - low for low, high in (ends[:2], ends[2:])]
    return math.hypot(*widths) / 2


def _some(count: int, share: float, rng: np.random.Generator) -> Int[ndarray, " some"]:
    return rng.permutation(count)[: round(share * count)]


def _rearranged(
    honest: Sequences, share: float, rng: np.random.Generator, order: Callable[[int], ndarray]
) -> Sequences:
    """Put the steps of a share of the sequences, up to their lengths, into another order."""
    values = honest.values.copy()
    for k in _some(len(honest), share, rng):
        length = int(honest.lengths[k])
        values[k, :length] = honest.values[k, order(length)]
    return replace(honest, values=values)


def _repeated(honest: Sequences, index: Int[ndarray, " n"]) -> Sequences:
    """Take sequences by place, each as a subject of its own."""
    return replace(honest.take(index), subject=np.arange(len(index)))
