"""Privacy reports of one cohort or several as a page, as Markdown or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..evaluation.privacy import report as reports
from ..storage import atomic_path
from . import figures
from .page import environment

Reports = Mapping[str, list[dict[str, Any]]]

READING = (
    "Each figure stands with its 95 % interval; an asterisk is at what is beyond chance as one of so many. TPR at 1 % "
    "FPR: the share of training subjects that an attack recognises while it mistakes one in a hundred others. "
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


def _html(found: Reports) -> str:
    return (
        environment()
        .get_template("attacks.html")
        .render(
            title="Can anybody be recognised?",
            counts=", ".join(found),
            notes=[],
            reading=READING,
            cohorts=[(name, *_parts(rows)) for name, rows in found.items()],
            sections=[],
            real_colour=figures.REAL,
            synthetic_colour=figures.SYNTHETIC,
        )
    )


def _markdown(found: Reports) -> str:
    lines = ["# Can anybody be recognised?", "", READING]
    for name, rows in found.items():
        said, grids = _parts(rows)
        lines += ["", f"## {name}", "", said]
        for heads, cells in grids:
            lines += ["", *(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *cells))]
    return "\n".join(lines) + "\n"


def _json(found: Reports) -> str:
    return json.dumps({"reading": READING, "cohorts": found}, indent=2, allow_nan=False) + "\n"


FORMS: dict[str, Callable[[Reports], str]] = {".html": _html, ".md": _markdown, ".json": _json}
