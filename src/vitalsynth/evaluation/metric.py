"""What a metric is, and what it says of itself.

    metric(train, test, synthetic, **settings) -> dict[str, float]

always the three sets in this order: what the generator learned from, real sequences of subjects it never saw, and what
it made. For a figure F it returns some of

    F                                       of the synthetic sequences
    F_low, F_high                           its 95 % interval
    F_floor, F_floor_low, F_floor_high      the same for real data in the place of the synthetic
    F_trivial                               of a trivial answer

and other numbers that its sentences name. `says` notes which figures these are and what they mean:

    @says(Figure("auroc", "two-sample AUROC", "near floor", "How often a classifier ... ({n:.0f} sequences of each)."))
    def two_sample(train, test, synthetic, *, seed=0): ...

A metric of a user's own needs no more than the signature. It is given `label` and `seed` if it takes them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from ..components import locate

Metric = Callable[..., dict[str, float]]
Row = dict[str, Any]
Interval = tuple[float, float, float]
"""A value and the ends of its 95 % interval."""
Better = Literal["near floor", "higher", "lower"]

ENDS = {"low": "_low", "high": "_high", "floor": "_floor", "floor_low": "_floor_low", "floor_high": "_floor_high"}
ENDS_OF = {"value": ("value", "low", "high"), "floor": ("floor", "floor_low", "floor_high")}
TRIVIAL = "_trivial"


@dataclass(frozen=True)
class Figure:
    """What one figure of a metric means.

    Args:
        key: Its key in what the metric returns; `*` for all that are not named.
        title: What the scorecard calls it; `{key}` is its key.
        better: What is good: near its floor, higher, or lower.
        about: A sentence for a clinician. Numbers that the metric returns stand in braces, `{n:.0f}`, and so does
            the `{label}`.
    """

    key: str
    title: str
    better: Better
    about: str


@dataclass(frozen=True)
class Said:
    """What a metric says of itself.

    Args:
        figures: In the order of the scorecard.
        part: Of the scorecard: fidelity, coverage, plausibility, usefulness, copying.
        doing: What is done while it is computed, for a progress line.
        responds: Rungs of the corruption ladder by how its first figure answers them on any draw of `examples`
            (`ladder`): worse, better, or where one draw gives this and another that, "blind or worse". It is blind to
            all others. None if nothing is promised.
    """

    figures: tuple[Figure, ...]
    part: str
    doing: str
    responds: Mapping[str, Sequence[str]] | None

    def promised(self, rung: str) -> str:
        """Return how the first figure answers a rung."""
        return next((answer for answer, rungs in (self.responds or {}).items() if rung in rungs), "blind")


def says(
    *figures: Figure, part: str, doing: str, responds: Mapping[str, Sequence[str]] | None = None
) -> Callable[[Metric], Metric]:
    """Note what a metric says of itself; see `Said`."""

    def note(metric: Metric) -> Metric:
        metric.said = Said(figures, part, doing, responds)  # type: ignore[attr-defined]
        return metric

    return note


def said(metric: Metric) -> Said:
    """Return what a metric says of itself, or the little that can be said of one that says nothing."""
    name = getattr(metric, "__name__", str(metric))
    plain = Said((Figure("*", f"{name}: {{key}}", "near floor", f"As {name} computes it."),), "other", name, None)
    return getattr(metric, "said", plain)


def beside(key: str, value: Interval, floor: Interval) -> dict[str, float]:
    """Return a figure's value and floor, each with its interval, by the keys that a metric returns."""
    names = (key, *(key + end for end in ENDS.values()))
    return dict(zip(names, (*value, *floor), strict=True))


def find(path: str) -> Metric:
    """Return a metric by its name here, or by its import path, `my_lab.judges.beats`.

    Raises:
        ValueError: if there is none.
    """
    metric: Any = locate(path if "." in path else f"{__package__}.{path}")
    try:
        inspect.signature(metric).bind("train", "test", "synthetic", **{"label": ""} if takes(metric, "label") else {})
    except (TypeError, ValueError):
        raise ValueError(f"{path} is no function of (train, test, synthetic), so it is no metric") from None
    return cast(Metric, metric)


def takes(metric: Metric, setting: str) -> bool:
    """Return whether a metric has a setting."""
    return setting in inspect.signature(metric).parameters


def rows(metric: Metric, numbers: Mapping[str, float], label: str | None = None) -> list[Row]:
    """Lay what a metric returned out as rows of the scorecard, one per figure."""
    words = {**numbers, "label": label}
    out = []
    for key in _keys(numbers):
        figure = _figure(said(metric), key)
        if figure is not None:
            ends = {name: numbers.get(key + end) for name, end in ENDS.items()}
            ends |= {"value": numbers[key], "baseline": numbers.get(key + TRIVIAL)}
            about = figure.about.format(**words, key=key)
            out.append(row(figure.title.format(key=key), ends, figure.better, about, said(metric).part))
    return out


def row(title: str, ends: Mapping[str, float | None], better: Better, about: str, part: str) -> Row:
    """Return a row: `metric`, `value` and all that stands beside it (None where it is unknown), and what it means."""
    names = ("value", *ENDS, "baseline")
    return {"metric": title, **{name: _finite(ends.get(name)) for name in names}} | {
        "better": better,
        "about": about,
        "part": part,
    }


def interval(row: Row, of: Literal["value", "floor"] = "value") -> Interval:
    """Return the value of a row, or its floor, with its interval; a value without interval is its own ends."""
    value, low, high = (row[name] for name in ENDS_OF[of])
    return value, value if low is None else low, value if high is None else high


def unanswered(metric: Metric, reason: str) -> Row:
    """Return the row of a metric that the data at hand cannot answer."""
    first = said(metric).figures[0]
    return row(first.title.format(key=""), {}, first.better, f"Not computed: {reason}.", said(metric).part)


def _keys(numbers: Mapping[str, float]) -> Sequence[str]:
    """Return the keys that are figures: those that have something beside them; all, if none has."""
    ends = (*ENDS.values(), TRIVIAL)
    figures = [key for key in numbers if any(key + end in numbers for end in ends)]
    return [key for key in figures if not key.endswith(ends)] or list(numbers)


def _figure(told: Said, key: str) -> Figure | None:
    by_key = {figure.key: figure for figure in told.figures}
    return by_key.get(key, by_key.get("*"))


def _finite(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else float(number)
