"""`vitalsynth list`: what runs there are, and how they stand."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import checkpoints, runs, storage
from ..evaluation.scorecard import number
from ..runs import Run

log = logging.getLogger(__name__)


def list_(folder: Sequence[str] = (".",), *, json: bool = False) -> list[dict[str, Any]]:
    """Show the runs found at and below folders: data, networks, step, state, last scores, size and parent.

    A run is waiting (to be trained), running, stopped (by Ctrl-C or a signal; all is saved), dead (it failed or was
    killed before its last step) or done; 'vitalsynth continue' carries on what was stopped, and what is dead. Where a
    terminal is narrow, columns are left out from the right, but never run, step and state; what is piped has all.

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
        except (KeyError, TypeError) as error:
            log.warning("%s: run.json lacks what a run has (%s)", path, error)
    if json:
        print(_json(rows))
    elif rows:
        console = Console()
        if console.is_terminal:
            console.print(_table(rows, console.width))
        else:
            Console(width=WIDEST).print(_table(rows, WIDEST))
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


STYLES = {"running": "green", "dead": "red", "waiting": "yellow", "stopped": "yellow", "done": ""}
HEADS = ("run", "step", "state", "data, networks", "last scores", "size")
KEPT = 3
"""Columns that are always shown."""
WIDEST = 10_000
"""Characters in a line that is piped, which nobody has to see at once."""


def _table(rows: list[dict[str, Any]], width: int) -> Table:
    """Lay rows out in as many columns as fit, and the first three, of which none is ever cut."""
    cells = [_cells(row) for row in rows]
    wide = [
        max(cell_len(line) for text in (head, *of) for line in str(text).splitlines() or [""])
        for head, of in zip(HEADS, zip(*cells, strict=True), strict=True)
    ]
    shown = next((k for k in range(len(HEADS), KEPT, -1) if sum(wide[:k]) + 2 * k + 1 <= width), KEPT)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, head in enumerate(HEADS[:shown]):
        fixed = None if k == 0 else wide[k]
        table.add_column(
            head, justify="right" if head in ("step", "size") else "left", overflow="fold", min_width=fixed
        )
    if left_out := HEADS[shown:]:
        table.caption = f"too narrow for: {'; '.join(left_out)} (--json has them)"
    for row in cells:
        table.add_row(*row[:shown])
    return table


def _cells(row: dict[str, Any]) -> list[Text]:
    parent = f"\nfrom {row['parent']['name']} at {row['parent']['step']:,}" if row["parent"] else ""
    networks = [path.rpartition(".")[2] for path in row["networks"].values()]
    made_of = "\n".join([Path(row["data"] or "in memory").name, *networks])
    scores = [f"{name} {number(value)}" for name, value in list(row["scores"].items())[:3]]
    if scores and row["scored_at"] != row["step"]:
        scores.append(f"(at step {row['scored_at']:,})")
    state = Text(row["state"], style=STYLES[row["state"]])
    size = storage.in_words(row["bytes"])
    return [
        Text(row["path"] + parent),
        Text(f"{row['step']:,}"),
        state,
        Text(made_of),
        Text("\n".join(scores)),
        Text(size),
    ]
