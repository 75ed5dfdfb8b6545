"""Privacy reports of one cohort or several as a page, as Markdown or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..evaluation.privacy import report as reports
from ..evaluation.privacy.figures import title
from ..storage import atomic_path
from . import figures
from .page import environment

Reports = Mapping[str, list[dict[str, Any]]]

READING = (
    "Each figure stands with its 95 % interval; an asterisk is at what is beyond chance as one of so many. {} "
    "Planted copies are a leak that was made to be found; of others: data that know no training subject. An attack "
    "that fails proves nothing about other attacks."
)


def write(path: str | Path, found: Reports) -> None:
    """Write privacy reports in the form that the file's name asks for: .html, .md or .json; whole or not at all.

    Args:
        path: Where to.
        found: Rows of `commands.attack` by the name of each cohort.

    Raises:
        ValueError: if the name ends otherwise.
    """
    check(path)
    text = FORMS[Path(path).suffix.lower()](found)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def check(path: str | Path) -> None:
    """Refuse a name that says no form before anything is computed; an empty one is none.

    Raises:
        ValueError: if it does.
    """
    if str(path) and Path(path).suffix.lower() not in FORMS:
        raise ValueError(f"{path}: a privacy report is written as {', '.join(FORMS)}; let its name end so")


def _parts(rows: list[dict[str, Any]]) -> tuple[str, tuple[reports.Grid, reports.Grid]]:
    return rows[-1]["about"], reports.grids(rows[:-1])


TPR = "TPR at {} % FPR: the share of training subjects that an attack recognises while it mistakes one in {} others."
TOO_FEW = "To show a TPR at 1 % FPR, which is the figure that matters, 100 others have to be held out."


def _reading(found: Reports) -> str:
    """Return how the figures are read that are there: with few held out there is no TPR at 1 % FPR."""
    shown = {each["figure"] for rows in found.values() for each in rows[:-1] if each["value"] is not None}
    if title(0.01) in shown:
        return READING.format(TPR.format(1, "a hundred"))
    return READING.format(f"{TPR.format(10, 'ten')} {TOO_FEW}" if title(0.1) in shown else TOO_FEW)


def _html(found: Reports) -> str:
    return (
        environment()
        .get_template("attacks.html")
        .render(
            title="Can anybody be recognised?",
            counts=", ".join(found),
            notes=[],
            reading=_reading(found),
            alarming=reports.alarming,
            cohorts=[(name, *_parts(rows)) for name, rows in found.items()],
            sections=[],
            real_colour=figures.REAL,
            synthetic_colour=figures.SYNTHETIC,
        )
    )


def _markdown(found: Reports) -> str:
    lines = ["# Can anybody be recognised?", "", _reading(found)]
    for name, rows in found.items():
        said, grids = _parts(rows)
        lines += ["", f"## {name}", "", said]
        for heads, cells in grids:
            lines += ["", *(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *cells))]
    return "\n".join(lines) + "\n"


def _json(found: Reports) -> str:
    return json.dumps({"reading": _reading(found), "cohorts": found}, indent=2, allow_nan=False) + "\n"


FORMS: dict[str, Callable[[Reports], str]] = {".html": _html, ".md": _markdown, ".json": _json}
