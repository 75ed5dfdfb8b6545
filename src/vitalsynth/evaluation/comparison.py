"""Several cohorts beside each other: what every part of their scorecards comes to, and who comes before whom.

A part of the scorecard (fidelity, coverage, plausibility, usefulness, copying) is as good as its worst figure, which is
named; nothing is averaged, for a mean hides what a reviewer would ask about. Cohorts are ranked by how far the first
figure of all, that of the strongest judge, lies from its floor; what holds copies of the training data comes last,
however good it looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from .metric import Row
from .scorecard import number, stacked, with_interval
from .verdicts import COPIES, COPYING, Told, Tone, judged, told, tone

WORST_FIRST: tuple[Tone, ...] = ("bad", "fair", "unclear", "good", "unknown")
Cards = Mapping[str, list[Row]]


@dataclass(frozen=True)
class Indicator:
    """What a part of a scorecard comes to.

    Args:
        tone: Of its worst figure: bad, fair, unclear or good; unknown if none could be computed.
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
    parts: dict[str, list[tuple[Row, Told]]] = {}
    for row, one in zip(everything, told(everything), strict=True):
        parts.setdefault(row["part"], []).append((row, one))
    out = {part: _indicator(own) for part, own in parts.items()}
    if is_copy(everything):
        own = out.get(COPYING, Indicator("unknown", "", 0, 0))
        out[COPYING] = Indicator("bad", f"{COPIES}, put here to be flagged", own.figures, own.asked)
    return out


def _indicator(rows: Sequence[tuple[Row, Told]]) -> Indicator:
    computed = [(row, one) for row, one in rows if one.tone != "unknown"]
    if not computed:
        return Indicator("unknown", rows[0][0]["about"].removesuffix("."), 0, len(rows))
    worst, one = min(computed, key=lambda each: WORST_FIRST.index(each[1].tone))
    figure = f"{worst['metric']} {number(worst['value'])}, real data {number(worst['floor'])}"
    return Indicator(one.tone, f"{one.words} ({figure})", len(computed), len(rows))


def is_copy(rows: Iterable[Row]) -> bool:
    """Return whether a scorecard is of the training data themselves, as the baseline `copy` is by its making."""
    return any(row.get("copy", False) for row in rows)


def parts(cards: Cards) -> list[str]:
    """Return the parts of all scorecards, in their order; copying where one is of copies, whatever was asked."""
    return list(dict.fromkeys(part for rows in cards.values() for part in indicators(rows)))


def unasked(cards: Cards) -> str:
    """Return a sentence if of some it was not asked whether they are copies, so that they may come first; or none."""
    if len(cards) == 1 or all(is_copy(rows) or any(row["part"] == COPYING for row in rows) for rows in cards.values()):
        return ""
    return "Whether cohorts are copies of the training data was not asked of all (--metrics copying does)."


def ranked(cards: Cards) -> list[str]:
    """Return the names of cohorts, best first; those without the first figure, and copies, last."""

    def place(name: str) -> tuple[bool, bool, float]:
        first = cards[name][0]
        found = any(row["part"] == COPYING and tone(row, judged(cards[name])) == "bad" for row in cards[name])
        copies = found or is_copy(cards[name])
        if first["value"] is None or first["floor"] is None:
            return copies, True, 0.0
        return copies, False, abs(first["value"] - first["floor"])

    return sorted(cards, key=place)


def figures(cards: Cards) -> list[str]:
    """Return the titles of all figures, in the order of the scorecards."""
    return list(dict.fromkeys(row["metric"] for rows in cards.values() for row in rows))


NAMES, EACH, WIDEST = 44, 18, "-0.123 [-0.123, -0.123]"
"""Characters of a terminal's width for the names of figures with the floor, for each cohort beside them, and a figure
that takes the most."""


def table(cards: Cards, width: int = 80) -> Table:
    """Lay several scorecards out for a terminal, best first: those few that fit side by side, else below each other.

    Args:
        cards: Rows by the name of each cohort.
        width: Of the terminal, in characters.
    """
    names = ranked(cards)
    title = f"{len(cards)} cohorts, best first. {unasked(cards)}".strip()
    heads = [f"{name} ({COPIES})" if is_copy(cards[name]) else name for name in names]
    side_by_side = len(names) <= (width - NAMES) // EACH
    out = Table(title=title, title_justify="left")
    out.add_column("figure", overflow="fold")
    if not side_by_side:
        out.add_column("cohort", overflow="fold")
    for head in ("floor [95 %]", *heads) if side_by_side else ("value [95 %]",):
        out.add_column(Text(head), justify="right", overflow="fold", min_width=len(stacked(WIDEST).splitlines()[-1]))
    for figure in figures(cards):
        found = [next((row for row in cards[name] if row["metric"] == figure), None) for name in names]
        first = next(row for row in found if row is not None)
        floor = stacked(with_interval(first["floor"], first["floor_low"], first["floor_high"]))
        values = ["–" if r is None else stacked(with_interval(r["value"], r["low"], r["high"])) for r in found]
        if side_by_side:
            out.add_row(figure, floor, *values)
        else:
            for k, (head, value) in enumerate(zip(("floor", *heads), (floor, *values), strict=True)):
                out.add_row("" if k else figure, Text(head), value, end_section=k == len(heads))
    return out
