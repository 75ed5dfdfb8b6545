"""Scorecards of one cohort or several as a page, as Markdown, as LaTeX or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..evaluation import comparison
from ..evaluation.metric import Row
from ..evaluation.nearest import Nearest
from ..evaluation.scorecard import number, with_interval
from ..evaluation.verdicts import told
from ..storage import atomic_path
from . import figures
from .page import CHANNELS, Section, embed, environment

Cards = Mapping[str, list[Row]]
WIDE = 6
"""Cohorts that stand beside each other; more, and more than there are figures, are below each other."""

RULE = (
    "A part is as good as its worst figure, which is named. Good: no difference from real data was found, by the "
    "figures and sequences there are; more might find one. Fair: at least half of what real data gain over a trivial "
    "answer, and certainly some of it; or a difference that one of so many figures may show by chance. Bad: less, or "
    "it differs beyond that. Unclear: there are too few sequences to tell real data from bad ones. The order is that "
    "of the first figure's distance from its floor; what was found to be copies comes last."
)


def write(
    path: str | Path,
    cards: Cards,
    *,
    title: str,
    about: str,
    notes: Sequence[str] = (),
    nearest: Mapping[str, Nearest],
) -> None:
    """Write scorecards in the form that the file's name asks for: .html, .md, .tex or .json; whole or not at all.

    Args:
        path: Where to.
        cards: Rows of `evaluation.evaluate` by the name of each cohort.
        title: Heading.
        about: A line below it: what was compared.
        notes: Sentences for the top.
        nearest: What `evaluation.nearest` found of each cohort, for pictures; a page shows them.

    Raises:
        ValueError: if the name ends otherwise.
    """
    check(path)
    notes = [*notes, *filter(None, [comparison.unasked(cards)])]
    ordered = {name: cards[name] for name in comparison.ranked(dict(cards))}
    text = FORMS[Path(path).suffix.lower()](ordered, title, about, list(notes), nearest)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def check(path: str | Path) -> None:
    """Refuse a name that says no form before anything is computed; an empty one is none.

    Raises:
        ValueError: if it does.
    """
    if str(path) and Path(path).suffix.lower() not in FORMS:
        raise ValueError(f"{path}: a scorecard is written as {', '.join(FORMS)}; let its name end so")


def _html(cards: Cards, title: str, about: str, notes: list[str], nearest: Mapping[str, Nearest]) -> str:
    parts = comparison.parts(cards)
    nothing = comparison.Indicator("unknown", "not asked", 0, 0)
    summary = [(name, comparison.indicators(rows)) for name, rows in cards.items()]
    return (
        environment()
        .get_template("cards.html")
        .render(
            title=title,
            counts=about,
            notes=notes,
            rule=RULE,
            parts=parts,
            summary=[(name, [(part, own.get(part, nothing)) for part in parts]) for name, own in summary],
            table=(table := _table(cards)),
            tall=len(cards) > max(WIDE, len(table)),
            sections=[_nearest(name, nearest[name]) for name in cards if name in nearest],
            real_colour=figures.REAL,
            synthetic_colour=figures.SYNTHETIC,
        )
    )


def _table(cards: Cards) -> list[dict[str, Any]]:
    """Return a row for each figure, with a cell for each cohort."""
    out = []
    judged = {of: list(zip(rows, told(rows), strict=True)) for of, rows in cards.items()}
    for name in comparison.figures(dict(cards)):
        found = {of: next((pair for pair in own if pair[0]["metric"] == name), None) for of, own in judged.items()}
        first = next(pair[0] for pair in found.values() if pair is not None)
        cells = [
            {"of": of, "value": "–", "interval": "", "tone": "unknown"}
            if pair is None
            else {
                "of": of,
                "value": number(pair[0]["value"]),
                "interval": with_interval(pair[0]["value"], pair[0]["low"], pair[0]["high"]).partition(" ")[2],
                "tone": pair[1].tone,
            }
            for of, pair in found.items()
        ]
        rows = {of: pair and pair[0] for of, pair in found.items()}
        floor = with_interval(first["floor"], first["floor_low"], first["floor_high"])
        out.append({"figure": name, "floor": floor, "cells": cells, "about": _about(rows)})
    return out


def _about(found: Mapping[str, Row | None]) -> str:
    """Return what a figure means; where that differs between cohorts, as p-values do, of which it is what."""
    of: dict[str, list[str]] = {}
    for name, row in found.items():
        if row is not None:
            of.setdefault(row["about"], []).append(name)
    return next(iter(of)) if len(of) == 1 else " ".join(f"{', '.join(names)}: {about}" for about, names in of.items())


def _nearest(name: str, found: Nearest) -> Section:
    channels = [column.name for column in found.train.schema.channels][: min(3, CHANNELS)]
    lead = (
        f"{found.closer:.0%} of the synthetic sequences are closer to a training sequence than half of the held-out "
        "people are to theirs: 50 % is what people nobody learned from would have. Below, the synthetic sequence that "
        "is closest to the training set, one halfway, and the farthest, each with its nearest real ones: show this "
        "page only to those who may see the data. That none is near is no proof of privacy."
    )
    pictures = [embed(figures.nearest_distances(found), f"{name}: distances to the nearest real sequences")]
    if found.train.schema.image is None:
        pictures += [embed(figures.nearest(found, c), f"{c}: synthetic sequences and their nearest") for c in channels]
    return Section(f"nearest-{name}", f"Nearest real sequences: {name}", lead, tuple(pictures))


def _markdown(cards: Cards, title: str, about: str, notes: list[str], nearest: Mapping[str, Nearest]) -> str:
    parts = comparison.parts(cards)
    lines = [f"# {title}", "", about, "", *(f"- {note}" for note in notes), "", RULE, ""]
    lines += [_pipes(["", *parts]), _pipes(["---"] * (len(parts) + 1))]
    for name, rows in cards.items():
        own = comparison.indicators(rows)
        lines.append(_pipes([name, *(f"{own[p].tone}: {own[p].words}" if p in own else "not asked" for p in parts)]))
    lines += ["", _pipes(["figure", "floor [95 %]", *cards]), _pipes(["---"] * (len(cards) + 2))]
    lines += [
        _pipes([row["figure"], row["floor"], *(f"{c['value']} {c['interval']}".strip() for c in row["cells"])])
        for row in _table(cards)
    ]
    lines += ["", *(f"- {row['figure']}: {row['about']}" for row in _table(cards))]
    return "\n".join(lines) + "\n"


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _latex(cards: Cards, title: str, about: str, notes: list[str], nearest: Mapping[str, Nearest]) -> str:
    rows = [
        [row["figure"], row["floor"], *(f"{cell['value']} {cell['interval']}".strip() for cell in row["cells"])]
        for row in _table(cards)
    ]
    lines = [" & ".join(map(_escaped, cells)) + r" \\" for cells in rows]
    head = " & ".join(map(_escaped, ["Figure", "Floor", *cards])) + r" \\"
    return (
        "\n".join(
            [
                f"% {title}: {about}",
                r"% needs \usepackage{booktabs}",
                r"\begin{tabular}{l" + "r" * (len(cards) + 1) + "}",
                *(r"\toprule", head, r"\midrule", *lines, r"\bottomrule"),
                r"\end{tabular}",
            ]
        )
        + "\n"
    )


def _escaped(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "²": r"$^2$",
        "–": "--",
    }
    special |= {c: f"\\{c}" for c in "&%$#_{}"} | {"<": "$<$", ">": "$>$"}
    return "".join(special.get(c, c) for c in text)


def _json(cards: Cards, title: str, about: str, notes: list[str], nearest: Mapping[str, Nearest]) -> str:
    record = {
        "title": title,
        "about": about,
        "notes": notes,
        "rule": RULE,
        "cohorts": [
            {
                "name": name,
                "parts": {part: vars(own) for part, own in comparison.indicators(rows).items()},
                "figures": rows,
            }
            for name, rows in cards.items()
        ],
    }
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


Writer = Callable[[Cards, str, str, list[str], Mapping[str, Nearest]], str]
FORMS: dict[str, Writer] = {".html": _html, ".md": _markdown, ".tex": _latex, ".json": _json}
