"""How a figure is to be taken: whether it differs from real data beyond chance, and what that comes to in words.

Two figures differ if their distance is larger than chance carries it. How far that is follows from the 95 % intervals
that they have: MOVER (Zou and Donner 2008, Statistics in Medicine 27, 1693), as if the two were independent, which
overstates chance where they share real sequences. Of twenty figures one differs by chance, so where several are looked
at, the intervals are widened (Bonferroni), and what differs alone but not among so many says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from .metric import Interval, Row, interval

Tone = Literal["bad", "fair", "unclear", "good", "unknown"]
AUROC = "two-sample AUROC"
BEST, JUDGE = "AUROC of the best of four judges", "AUROC: "
COPYING = "copying"
COPIES = "copies of the training data"
NO_COPIES = "no more copies of the training data than among real sequences"
NEARER = "nearer to the training data than to those held out"
NO_NEARER = "no nearer to the training data than chance"
NO_GAIN = "real data themselves do no better than the trivial answer, within chance"
LEVEL = 0.05
LARGE = 0.2
"""Of an AUROC: so far above real data, nobody would call it near; what this cannot be told from is not good."""
TINY = 1e-9
"""Differences up to here are rounding."""


def beyond(value: Interval, other: Interval, among: int = 1) -> float:
    """Return by how much a value is above another, over how far chance carries that: above 1 it is a difference.

    Args:
        value: With the ends of its 95 % interval.
        other: Likewise.
        among: How many such differences are looked at; the largest by chance is still chance.
    """
    difference, least, _ = minus(value, other)
    wider = NormalDist().inv_cdf(1 - LEVEL / 2 / among) / NormalDist().inv_cdf(1 - LEVEL / 2)
    return difference / max((difference - least) * wider, TINY)


def minus(value: Interval, other: Interval) -> Interval:
    """Return the difference of two values, with the ends of its 95 % interval."""
    difference = value[0] - other[0]
    least, most = (math.hypot(value[0] - value[k], other[0] - other[3 - k]) for k in (1, 2))
    return difference, difference - least, difference + most


def excess(row: Row, among: int = 1) -> float | None:
    """Return `beyond` of a figure and its floor, on the side that is bad; None without interval."""
    if None in (row["value"], row["low"], row["high"], row["floor"]):
        return None
    value, floor = interval(row), interval(row, "floor")
    return beyond(floor, value, among) if row["better"] == "higher" else beyond(value, floor, among)


def judged(rows: Iterable[Row]) -> int:
    """Return how many figures of a scorecard are looked at together: those with an interval."""
    return max(1, sum(excess(row) is not None for row in rows))


def tone(row: Row, among: int = 1) -> Tone:
    """Return how a figure is to be taken, as one of so many.

    Good: no difference from real data was found. Fair: it differs alone, but not among so many; or at least half of
    what real data gain over a trivial answer; or nearer to what was learned from, as anything that learns is where the
    held-out data are of other times or wards. Bad: it differs, beyond chance. By itself no figure is unclear: `told`.
    """
    alone, together, trivial = excess(row), excess(row, among), row["baseline"]
    if alone is None or together is None:
        return "unknown"
    if alone <= 1:
        return "good"
    if trivial is not None:
        least, most = (row["low"], row["value"]) if row["better"] == "higher" else (-row["high"], -row["value"])
        floor, trivial = (row["floor"], trivial) if row["better"] == "higher" else (-row["floor"], -trivial)
        return "fair" if least > trivial and most >= (floor + trivial) / 2 else "bad"
    nearer = row.get("part") == COPYING and row["better"] == "near floor"
    return "fair" if nearer or together <= 1 else "bad"


@dataclass(frozen=True)
class Told:
    """How a figure is to be taken, and in which words."""

    tone: Tone
    words: str


def told(rows: Sequence[Row]) -> list[Told]:
    """Return how the figures of one scorecard are to be taken, each in the light of the others.

    The best of four judges is no better than what one of the four says, which is one of so many figures already. What
    does not differ from real data, but would not from bad ones either, is unclear.
    """
    among = judged(rows)
    alone = [Told(tone(row, among), verdict(row, among)) for row in rows]
    judges = {row["metric"].removeprefix(JUDGE): one for row, one in zip(rows, alone, strict=True) if _is_judge(row)}
    return [_in_context(row, one, judges) for row, one in zip(rows, alone, strict=True)]


def _is_judge(row: Row) -> bool:
    return row["metric"].startswith(JUDGE)


def _in_context(row: Row, alone: Told, judges: Mapping[str, Told]) -> Told:
    if row["metric"] == BEST and alone.tone in ("good", "fair"):
        for worse in ("bad", "fair")[: 1 if alone.tone == "fair" else 2]:
            if names := [name for name, own in judges.items() if own.tone == worse]:
                return Told(worse, f"{judges[names[0]].words}, by {' and '.join(names)}")
    if alone.tone != "good" or not _too_wide(row):
        return alone
    held_out = f" ({row['held_out']:,} held out)" if row.get("held_out") else ""
    why = alone.words if alone.words == NO_GAIN else "so few tell neither real data nor bad ones from it"
    return Told("unclear", f"cannot say{held_out}: {why}")


def _too_wide(row: Row) -> bool:
    """Return whether a figure that does not differ from real data would not differ from bad ones either."""
    value, floor = interval(row), interval(row, "floor")
    if row["baseline"] is not None:
        half = (floor[0] + row["baseline"]) / 2
        return value[1] < half if row["better"] == "higher" else value[2] > half
    return "AUROC" in row["metric"] and row["better"] == "near floor" and minus(value, floor)[2] >= LARGE


def verdict(row: Row, among: int = 1) -> str:
    """Say in a few words how a figure stands to its floor, as one of so many."""
    if row["value"] is None or row["floor"] is None:
        return "not computed"
    if row["baseline"] is not None:
        return _gain(row)
    alone, together = excess(row), excess(row, among)
    if alone is None or together is None:
        return "no interval"
    if row.get("part") == COPYING:
        return {"near floor": (NO_NEARER, NEARER)}.get(row["better"], (NO_COPIES, COPIES))[alone > 1]
    if row["metric"] == AUROC and alone < -1:
        return "closer to the held-out data than real data are: are they copies?"
    if alone > 1 >= together:
        return f"differs from real data, but no more than one of {among} figures does by chance"
    return {
        "near floor": ("no difference from real data found", "differs from real data"),
        "lower": ("no more often than real data", "more often than real data"),
        "higher": ("no less than real data", "less than real data"),
    }[row["better"]][alone > 1]


def _gain(row: Row) -> str:
    """Say how much of what real data gain over a trivial answer is reached."""
    higher, value, floor, trivial = row["better"] == "higher", row["value"], row["floor"], row["baseline"]
    worst = row["floor_low" if higher else "floor_high"]
    least_gain = ((floor if worst is None else worst) - trivial) * (1 if higher else -1)
    if least_gain <= 0:
        return NO_GAIN
    reached = f"reaches {(value - trivial) / (floor - trivial):.0%} of what real data gain over the trivial answer"
    least = row["low" if higher else "high"]
    beaten = least is None or (least > trivial if higher else least < trivial)
    if beaten or (value - trivial) * (1 if higher else -1) <= 0:
        return reached
    return f"{reached}, but perhaps nothing: its interval reaches {least:.3f}, and trivial is {trivial:.3f}"
