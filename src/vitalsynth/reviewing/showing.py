"""Results as tables for a terminal, as JSON, and as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table

from ..evaluation.scorecard import with_interval
from ..reporting import figures
from ..reporting.page import Section, embed, environment
from ..storage import atomic_path
from .results import Results

FORMS = (".csv", ".parquet", ".json", ".html", ".png", ".svg", ".pdf")
METRICS = 12
"""Most metrics that are shown."""
Grid = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Heads of columns, and rows."""


def grids(found: Results) -> list[Grid]:
    """Return the contestants, and the metrics if there are any, as they are read."""
    heads = ("", "strength [95 %]", "taken for real", "rating", "answers")
    rows = [
        (row["name"], *(_interval(row, name) for name in ("strength", "taken", "rating")), str(_answers(row)))
        for row in found.contestants.to_dict("records")
    ]
    metrics = [(row["metric"], _interval(row, "rho")) for row in found.metrics.to_dict("records")[:METRICS]]
    return [(heads, rows), *([(("metric", "agrees with people [95 %]"), metrics)] if metrics else [])]


def table(grid: Grid) -> Table:
    """Lay a grid out for a terminal."""
    out = Table(box=box.SIMPLE_HEAD)
    for k, head in enumerate(grid[0]):
        out.add_column(head, overflow="fold", justify="right" if k else "left")
    for row in grid[1]:
        out.add_row(*row)
    return out


def in_words(found: Results) -> list[str]:
    """Say how many answered, who did not look, and how well the others agree."""
    careless = pd.DataFrame(found.people[found.people["careless"].astype(bool)])
    said = f"{len(found.people)} people gave {len(found.votes)} answers; {len(careless)} answered without looking"
    if len(careless):
        who = ", ".join(f"{row['review']} {row['reviewer']}" for row in careless.to_dict("records"))
        said += f" and are {'counted all the same' if found.everybody else 'left out'}: {who}"
    alphas = ", ".join(f"{kind} {value:.2f}" for kind, value in found.agreement.items() if not pd.isna(value))
    return [said, *([f"Agreement (Krippendorff's alpha; 1 is full, 0 is chance): {alphas}"] if alphas else [])]


def write(place: Path, found: Results) -> None:
    """Write results in the form that the file's name asks for, whole or not at all."""
    with atomic_path(place) as half:
        if place.suffix == ".csv":
            found.contestants.to_csv(half, index=False)
        elif place.suffix == ".parquet":
            found.contestants.to_parquet(half, index=False)
        elif place.suffix == ".json":
            half.write_text(json.dumps(_everything(found), indent=1, allow_nan=False), "utf-8")
        elif place.suffix == ".html":
            half.write_text(_page(found), "utf-8")
        else:
            figures.review(found.contestants, found.metrics).savefig(half, dpi=160)


def _interval(row: dict[str, Any], name: str) -> str:
    return with_interval(*(None if pd.isna(row[name + end]) else row[name + end] for end in ("", "_low", "_high")))


def _answers(row: dict[str, Any]) -> int:
    return row["pairs"] + row["singles"] + row["ratings"]


def _everything(found: Results) -> dict[str, Any]:
    """Return all results as plain JSON values."""
    frames = {name: getattr(found, name) for name in ("contestants", "people", "metrics")}
    rows = {name: json.loads(frame.to_json(orient="records")) for name, frame in frames.items()}
    agreement = {kind: None if pd.isna(value) else value for kind, value in found.agreement.items()}
    return {**rows, "agreement": agreement, "comments": found.comments}


def _page(found: Results) -> str:
    """Return a page that needs nothing else."""
    alt = "Strengths, shares taken for real, and the correlation of metrics with strengths, with their intervals"
    picture = embed(figures.review(found.contestants, found.metrics), alt)
    lead = "Strength is how often people find one more real than real, in logits: 0 is as often as not, -1 is 27 %."
    return (
        environment()
        .get_template("review.html")
        .render(
            title="What people find real",
            counts=", ".join(review.path.name for review in found.reviews),
            notes=in_words(found),
            sections=[Section("figure", "At a glance", lead, (picture,))],
            grids=grids(found),
            comments=found.comments,
            real_colour=figures.REAL,
            synthetic_colour=figures.SYNTHETIC,
        )
    )
