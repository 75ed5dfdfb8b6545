"""`vitalsynth list`: what runs there are, and how they stand."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import checkpoints, runs, storage
from ..evaluation.scorecard import number
from ..runs import Run

log = logging.getLogger(__name__)


def list_(folder: Sequence[str] = (".",), *, json: bool = False) -> list[dict[str, Any]]:
    """Show the runs found at and below folders: data, networks, step, state, last scores, size and parent.

    A run is waiting (to be trained, or carried on), running, dead (it failed or was killed before its last step;
    'vitalsynth continue' carries it on) or done.

    Args:
        folder: Where to look, the runs themselves or folders above them; globs are expanded. By default here.
        json: Print JSON, for scripts.

    Returns:
        A row a run.

    Raises:
        ValueError: if a folder is not there.
    """
    rows, folder = [], [folder] if isinstance(folder, str) else folder
    for path in runs.below(folder):
        try:
            rows.append(_row(Run(path)))
        except ValueError as error:
            log.warning("%s", error)
    if json:
        print(_json(rows))
    elif rows:
        Console().print(_table(rows))
    else:
        print(f"no runs below {', '.join(folder)}")
    return rows


def _json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, indent=1)


def _row(run: Run) -> dict[str, Any]:
    record, parent = run.record, run.record["parent"]
    latest = {row["metric"]: row for row in run.evaluations()}
    last = max((row["step"] for row in latest.values()), default=None)
    return {
        "name": run.name,
        "path": str(run.path),
        "data": record["data"]["source"],
        "networks": {player: part["class_path"] for player, part in record["networks"].items()},
        "step": (checkpoints.steps(run.checkpoints) or [0])[-1],
        "state": run.state(),
        "scores": {name: row["value"] for name, row in latest.items() if row["step"] == last},
        "scored_at": last,
        "bytes": storage.size(run.path),
        "parent": parent,
    }


STYLES = {"running": "green", "dead": "red", "waiting": "yellow", "done": ""}


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("run", overflow="fold")
    table.add_column("data, networks", no_wrap=True)
    table.add_column("step", justify="right")
    table.add_column("state")
    table.add_column("last scores", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    for row in rows:
        parent = f"\nfrom {row['parent']['name']} at {row['parent']['step']:,}" if row["parent"] else ""
        networks = [path.rpartition(".")[2] for path in row["networks"].values()]
        made_of = "\n".join([Path(row["data"] or "in memory").name, *networks])
        scores = [f"{name} {number(value)}" for name, value in list(row["scores"].items())[:3]]
        if scores and row["scored_at"] != row["step"]:
            scores.append(f"(at step {row['scored_at']:,})")
        state = Text(row["state"], style=STYLES[row["state"]])
        size = storage.in_words(row["bytes"])
        table.add_row(
            Text(row["path"] + parent), Text(made_of), f"{row['step']:,}", state, Text("\n".join(scores)), size
        )
    return table
