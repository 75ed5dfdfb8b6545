"""Several cohorts beside each other: what every part of their scorecards comes to, and who comes before whom.

A part of the scorecard (fidelity, coverage, plausibility, usefulness, copying) is as good as its worst figure, which is
named; nothing is averaged, for a mean hides what a reviewer would ask about. Cohorts are ranked by how far the first
figure of all, that of the strongest judge, lies from its floor; what holds copies of the training data comes last,
however good it looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

from .metric import Row
from .scorecard import number, with_interval
from .verdicts import COPYING, Tone, judged, tone, verdict

WORST_FIRST: tuple[Tone, ...] = ("bad", "fair", "good", "unknown")


@dataclass(frozen=True)
class Indicator:
    """What a part of a scorecard comes to.

    Args:
        tone: Of its worst figure: bad, fair or good; unknown if none could be computed.
        words: Which figure that is, and what it says.
        figures: How many figures were computed.
        asked: How many were asked for.
    """

    tone: Tone
    words: str
    figures: int
    asked: int


def indicators(rows: Iterable[Row]) -> dict[str, Indicator]:
    """Return what every part of one scorecard comes to."""
    everything = list(rows)
    parts: dict[str, list[Row]] = {}
    for row in everything:
        parts.setdefault(row["part"], []).append(row)
    return {part: _indicator(own, judged(everything)) for part, own in parts.items()}


def _indicator(rows: Sequence[Row], among: int) -> Indicator:
    computed = [row for row in rows if tone(row) != "unknown"]
    if not computed:
        return Indicator("unknown", rows[0]["about"].removesuffix("."), 0, len(rows))
    worst = min(computed, key=lambda row: WORST_FIRST.index(tone(row, among)))
    figure = f"{worst['metric']} {number(worst['value'])}, real data {number(worst['floor'])}"
    return Indicator(tone(worst, among), f"{verdict(worst, among)} ({figure})", len(computed), len(rows))


def ranked(cards: dict[str, list[Row]]) -> list[str]:
    """Return the names of cohorts, best first; those without the first figure, and copies, last."""

    def place(name: str) -> tuple[bool, bool, float]:
        first = cards[name][0]
        copies = any(row["part"] == COPYING and tone(row, judged(cards[name])) == "bad" for row in cards[name])
        if first["value"] is None or first["floor"] is None:
            return copies, True, 0.0
        return copies, False, abs(first["value"] - first["floor"])

    return sorted(cards, key=place)


def figures(cards: dict[str, list[Row]]) -> list[str]:
    """Return the titles of all figures, in the order of the scorecards."""
    return list(dict.fromkeys(row["metric"] for rows in cards.values() for row in rows))


def table(cards: dict[str, list[Row]]) -> Table:
    """Lay several scorecards out side by side for a terminal, best first."""
    out = Table(title=f"{len(cards)} cohorts, best first", title_justify="left")
    out.add_column("figure")
    out.add_column("floor [95 %]", justify="right")
    names = ranked(cards)
    for name in names:
        out.add_column(name, justify="right")
    for figure in figures(cards):
        found = [next((row for row in cards[name] if row["metric"] == figure), None) for name in names]
        first = next(row for row in found if row is not None)
        cells = ["–" if row is None else with_interval(row["value"], row["low"], row["high"]) for row in found]
        out.add_row(figure, with_interval(first["floor"], first["floor_low"], first["floor_high"]), *cells)
    return out
