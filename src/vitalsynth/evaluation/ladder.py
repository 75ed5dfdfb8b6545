"""The corruption ladder: what every metric is tried on before it is believed.

Honest synthetic sequences, for which other real ones serve, are spoilt more and more, and a metric must answer as it
says it does (`metric.says`) on sequences in which all is to be found that is spoilt (`examples`): `worse`; `blind`, as
if nothing was done; `better`, taking what is spoilt for good; or `unclear`, first this, then that. What is promised
holds for any draw of these sequences; where the answer hangs on the draw, as at the limit of what so many tell, those
are promised that may come, "blind or worse". Anything but `worse` makes a metric weak. (After STEB, arXiv 2505.21160,
which does the same to 41.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ..sequences import Sequences
from . import metric
from .examples import hearts, labs, vitals
from .metric import Metric
from .verdicts import beyond, minus

STRENGTHS = (0.25, 0.5, 1.0)
COUNT = 600
EXAMPLES = {"gaps": labs, "heartbeats": hearts}
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
    order = np.argsort(_scaled(honest, train).mean(axis=(1, 2)), kind="stable")
    kept = order[: len(honest) - round(strength * len(honest) / 2)]
    return _repeated(honest, np.concatenate([kept, rng.choice(kept, len(honest) - len(kept))]))


def collapsed(honest: Sequences, train: Sequences, strength: float, rng: np.random.Generator) -> Sequences:
    """Let a share of the sequences be one and the same: that nearest to the mean of all, as typical as one can be."""
    scaled = _scaled(honest, train)
    index = np.arange(len(honest))
    index[_some(len(honest), strength, rng)] = np.square(scaled - scaled.mean(axis=0)).sum(axis=(1, 2)).argmin()
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
        title: Of the figure.
        honest: The figure of the honest sequences, and the ends of its interval.
        spoilt: The same at each strength.
        floor: Of real data.
        response: What came: worse, blind, better, or unclear.
    """

    rung: str
    title: str
    honest: metric.Interval
    spoilt: tuple[metric.Interval, ...]
    floor: float
    response: str


def tried(asked: Metric, count: int = COUNT, seed: int = 0, **settings: Any) -> Iterator[Answer]:
    """Yield how a metric answers every corruption of `examples`: of vitals, or where it asks for those, labs or hearts.

    Args:
        asked: The metric.
        count: Sequences in each of the three sets.
        seed: Of the sequences, and as `climb`.
        settings: Of `climb` and the metric; the label is given.
    """
    make = EXAMPLES.get(getattr(asked, "__name__", ""), vitals)
    if metric.takes(asked, "label"):
        settings = {"label": "label"} | settings
    yield from climb(asked, *(make(count, 3 * seed + part) for part in (1, 2, 3)), seed=seed, **settings)


def climb(
    asked: Metric,
    train: Sequences,
    test: Sequences,
    honest: Sequences,
    seed: int = 0,
    rungs: Iterable[str] = tuple(RUNGS),
    **settings: Any,
) -> Iterator[Answer]:
    """Yield how a metric answers corruptions.

    Compared are the distances of figures from their floor, as a verdict takes them (`verdicts.beyond`). Chance is
    overstated, for they share real sequences: what is called an answer is one.

    Worse: at the highest strength the figure differs from the honest one on its bad side, and at no strength on its
    good side. Better: the same with sides changed. Blind: at no strength does it differ. Unclear: anything else. A
    figure without an interval is taken at its word.

    Args:
        asked: The metric; its first figure is looked at.
        train: Real.
        test: Real, of other subjects.
        honest: As good as synthetic sequences can be: real, of yet others.
        seed: Of the corruptions and the metric.
        rungs: Which corruptions; all by default.
        settings: Of the metric.
    """
    if metric.takes(asked, "seed"):
        settings["seed"] = seed

    def first(synthetic: Sequences) -> metric.Row:
        return metric.rows(asked, asked(train, test, synthetic, **settings), settings.get("label"))[0]

    base = first(honest)
    for name in rungs:
        rng = np.random.default_rng(seed)
        spoilt = [first(RUNGS[name](honest, train, strength, rng)) for strength in STRENGTHS]
        distances = [minus(metric.interval(row), metric.interval(row, "floor")) for row in (base, *spoilt)]
        response = _response(distances, higher=base["better"] == "higher")
        yield Answer(
            name, base["metric"], metric.interval(base), tuple(map(metric.interval, spoilt)), base["floor"], response
        )


def kept(asked: Metric, rung: str, response: str) -> bool:
    """Return whether an answer to a rung is what a metric promised."""
    return response in metric.said(asked).promised(rung).split(" or ")


def _response(rows: Sequence[metric.Interval], higher: bool) -> str:
    """Name the answer of the first figure, of which more may be good, to what was done to it more and more."""
    sign = -1 if higher else 1
    away = [sign * _differs(each, rows[0]) for each in rows[1:]]
    if away[-1] > 0 and min(away) >= 0:
        return "worse"
    if away[-1] < 0 and max(away) <= 0:
        return "better"
    return "unclear" if any(away) else "blind"


def _differs(one: metric.Interval, other: metric.Interval) -> int:
    """Return 1 if one figure is above another beyond chance, -1 if it is below, else 0."""
    return int(beyond(one, other) > 1) - int(beyond(other, one) > 1)


def _scaled(honest: Sequences, train: Sequences) -> Float[ndarray, "n length channels"]:
    """Return the values of each channel scaled to mean 0 and deviation 1 in the training set, 0 where missing."""
    return np.nan_to_num((honest.values - np.nanmean(train.values, axis=(0, 1))) / np.nanstd(train.values, axis=(0, 1)))


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
