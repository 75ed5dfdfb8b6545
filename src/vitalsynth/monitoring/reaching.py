"""How long trainings take until a distance is small enough, also where some never got there.

A run that never reached a score took at least as long as it was trained: it is censored, not left out. What share of
runs needs longer than so many steps is the estimate of Kaplan and Meier (1958, doi 10.1080/01621459.1958.10501452).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float
from numpy import ndarray

from ..sequences import nearest

FEWEST, DRAWS = 3, 1000
"""Runs on each side of a comparison; draws of the bootstrap."""


@dataclass(frozen=True)
class Reached:
    """When a run reached a score.

    Args:
        step: The first step at which it had; the last of its log if it never did.
        ever: Whether it did.
    """

    step: int
    ever: bool


def parse(score: str) -> tuple[str, float]:
    """Read `similarity.mmd=0.01`.

    Raises:
        ValueError: if it is no name and number.
    """
    name, _, value = score.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise ValueError(f"a score is a column of the log and a number, similarity.mmd=0.01; got {score!r}") from None


def reached(log: pd.DataFrame, name: str, value: float) -> Reached:
    """Return when a column of a log was first at or below a value.

    Raises:
        ValueError: if the log has no such column.
    """
    if name not in log:
        raise ValueError(f"the log has no {name!r}; {nearest(name, [c for c in log.columns if c != 'step'])}")
    steps = np.asarray(log["step"], dtype=np.int64)
    there = steps[np.asarray(log[name], dtype=np.float64) <= value]
    return Reached(int(there[0]), True) if len(there) else Reached(int(steps[-1]), False)


def _censored(found: Sequence[Reached]) -> scipy.stats.CensoredData:
    return scipy.stats.CensoredData([r.step for r in found if r.ever], right=[r.step for r in found if not r.ever])


@dataclass(frozen=True, eq=False)
class Survival:
    """The share of runs that need longer than so many steps, by Kaplan and Meier.

    Args:
        steps: At which the share falls, after 0.
        share: From each of them on.
        low: With 95 % confidence (log-log), NaN where too few are left to say.
        high: The same.
    """

    steps: Float[ndarray, " k"]
    share: Float[ndarray, " k"]
    low: Float[ndarray, " k"]
    high: Float[ndarray, " k"]

    @classmethod
    def of(cls, found: Sequence[Reached]) -> Survival:
        """Estimate it from some runs."""
        above = scipy.stats.ecdf(_censored(found)).sf
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # NaN where it is undefined
            band = above.confidence_interval(method="log-log")
        parts = (above.quantiles, above.probabilities, band.low.probabilities, band.high.probabilities)
        return cls(*(np.concatenate([[start], part]) for start, part in zip((0, 1, 1, 1), parts, strict=True)))

    def median(self) -> tuple[float, float, float]:
        """Return by which step half the runs are there, with a 95 % interval; infinite where that never was."""

        def first(share: Float[ndarray, " k"]) -> float:
            below = self.steps[np.nan_to_num(share, nan=1.0) <= 0.5]
            return float(below[0]) if len(below) else np.inf

        return first(self.share), first(self.low), first(self.high)

    def mean(self, until: float) -> float:
        """Return how many steps of the first so many a run needs on average (restricted mean)."""
        inside = self.steps < until
        return float(np.diff(self.steps[inside], append=until) @ self.share[inside])


@dataclass(frozen=True)
class Comparison:
    """Runs with one value of a setting beside those with others.

    Args:
        settings: The setting, and those that tell the same runs apart, so that nobody can say which of them it was.
        ours: The runs compared, in words.
        counts: How many they are, and how many the others.
        ratio: Of the mean steps that ours need to those of the others, within the steps that are known of both;
            below 1 is sooner. None if there are too few runs.
        low: With 95 % confidence, by a bootstrap of the runs.
        high: The same.
        p: Of the log-rank test, one of as many as there are comparisons.
    """

    settings: tuple[str, ...]
    ours: str
    counts: tuple[int, int]
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def sooner(asked: Sequence[Mapping[str, bool | float | str]], found: Sequence[Reached]) -> list[Comparison]:
    """Compare how soon runs reached a score by each setting in which they differ, the surest first.

    Runs are not drawn to be compared: what differs along with a setting may be the reason. Seeds are not compared.
    """
    splits: dict[frozenset[int], list[tuple[str, str]]] = {}
    for name in sorted({name for each in asked for name in each} - {"seed"}):
        for ours, words in _splits([each.get(name) for each in asked]):
            if frozenset(range(len(asked))) - ours not in splits:
                splits.setdefault(ours, []).append((name, words))
    compared = []
    for ours, named in splits.items():
        names, words = tuple(name for name, _ in named), " and ".join(f"{name} {words}" for name, words in named)
        parts = [[found[j] for j in range(len(found)) if (j in ours) == side] for side in (True, False)]
        compared.append(_compare(names, words, *parts))
    return sorted(compared, key=lambda each: 2.0 if each.p is None else each.p)


def _splits(values: Sequence[bool | float | str | None]) -> Iterator[tuple[frozenset[int], str]]:
    """Yield which runs to compare with the others by a setting: up to the middle of many numbers, or each word."""
    different = list(dict.fromkeys(values))
    numbers = sorted(v for v in different if isinstance(v, int | float))
    if len(numbers) == len(different) > 2:
        middle = numbers[(len(numbers) - 1) // 2]
        yield frozenset(j for j, v in enumerate(values) if v <= middle), f"up to {middle:g}"  # type: ignore[operator]
    elif len(different) > 1:
        for value in different[: len(different) if len(different) > 2 else 1]:
            yield frozenset(j for j, v in enumerate(values) if v == value), "none" if value is None else str(value)


def _compare(names: tuple[str, ...], words: str, ours: Sequence[Reached], others: Sequence[Reached]) -> Comparison:
    counts = len(ours), len(others)
    if min(counts) < FEWEST or not any(r.ever for r in (*ours, *others)):
        return Comparison(names, words, counts)
    last = [max(part, key=lambda r: (r.step, not r.ever)) for part in (ours, others)]
    until = min((r.step for r in last if not r.ever), default=max(r.step for r in last))
    rng = np.random.default_rng(0)

    def ratio(*parts: Sequence[Reached]) -> float:
        mean, against = (Survival.of(part).mean(until) for part in parts)
        return mean / against

    draw = lambda part: [part[j] for j in rng.integers(0, len(part), len(part))]  # noqa: E731
    low, high = np.quantile([ratio(draw(ours), draw(others)) for _ in range(DRAWS)], [0.025, 0.975])
    p = scipy.stats.logrank(_censored(ours), _censored(others)).pvalue
    return Comparison(names, words, counts, ratio(ours, others), float(low), float(high), float(p))
