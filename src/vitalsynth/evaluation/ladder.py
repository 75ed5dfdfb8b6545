"""The corruption ladder: what every metric is tried on before it is believed.

Honest synthetic sequences, for which other real ones serve, are spoilt more and more, and a metric must answer as it
says it does (`metric.says`): `worse`, more so with every rung; `blind`, at its floor throughout; or `better`, taking
what is spoilt for good, which is what makes a metric weak. (After STEB, arXiv 2505.21160, which does the same to 41.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from ..sequences import Sequences
from . import metric
from .metric import Metric

STRENGTHS = (0.25, 0.5, 1.0)

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

    Worse: the figure lies beyond the honest one's interval, on its bad side, with the highest strength, and never gets
    better by more than that interval's width from one strength to the next. Better: the same on its good side. Blind:
    within the honest one's interval throughout.

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

    def figure(synthetic: Sequences) -> tuple[metric.Row, metric.Interval]:
        row = metric.rows(asked, asked(train, test, synthetic, **settings), settings.get("label"))[0]
        return row, (row["value"], row["value"] if row["low"] is None else row["low"], row["high"] or row["value"])

    row, base = figure(honest)
    for name, corrupt in RUNGS.items():
        rng = np.random.default_rng(seed)
        spoilt = tuple(figure(corrupt(honest, train, strength, rng))[1] for strength in STRENGTHS)
        yield Answer(name, base, spoilt, row["floor"], _response(row, base, spoilt))


def _response(row: metric.Row, honest: metric.Interval, spoilt: Sequence[metric.Interval]) -> str:
    bad = -1 if row["better"] == "higher" else 1
    value, low, high = honest
    found = [bad * (each[0] - value) for each in spoilt]
    width = high - low
    beyond_bad, beyond_good = (high - value, value - low) if bad > 0 else (value - low, high - value)
    steps = np.diff([0.0, *found])
    if found[-1] > beyond_bad and (steps > -width).all():
        return "worse"
    if found[-1] < -beyond_good and (steps < width).all():
        return "better"
    return "blind" if all(-beyond_good <= each <= beyond_bad for each in found) else "unclear"


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
