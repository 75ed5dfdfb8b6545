"""`vitalsynth jobs`: how jobs stand, what they said last, and their end."""

from __future__ import annotations

import json as json_
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..cluster import jobs as records
from ..cluster import launching
from ..cluster.jobs import Job
from ..cluster.slurm import Status

STYLES = {"running": "green", "waiting": "yellow", "stopped": "yellow", "failed": "red", "dead": "red"}


def jobs(
    job: Sequence[str] = (),
    *,
    cancel: bool = False,
    lines: int = 10,
    folder: str = "jobs",
    json: bool = False,
) -> list[dict[str, Any]]:
    """Show how jobs stand that were submitted here; of those named, every task with the end of its log.

    A task is waiting, running, done, failed, stopped (before its end, but saved: 'vitalsynth continue' carries it on),
    cancelled, or dead (its process ended without saying so).

    Args:
        job: Names of jobs, such as train-3 or 'train-*', or SLURM's numbers; all by default.
        cancel: Cancel them; training saves first.
        lines: Of the end of each log to show.
        folder: Where jobs are recorded.
        json: Print JSON, for scripts.

    Returns:
        A row a task.

    Raises:
        ValueError: if there is no such job, or SLURM does not answer.
    """
    if cancel and not job:
        raise ValueError("--cancel needs the names of jobs; '*' are all")
    if lines < 0:
        raise ValueError(f"--lines must be at least 0, got {lines}")
    found = records.find(Path(folder), job or ("*",))
    if cancel:
        launching.cancel(
            each
            for each, tasks in zip(found, records.statuses(found), strict=True)
            if any(status.state in ("waiting", "running") for status in tasks)
        )
    standing = list(zip(found, records.statuses(found), strict=True))
    rows = [_row(each, number, status, lines) for each, tasks in standing for number, status in enumerate(tasks)]
    if json:
        print(json_.dumps(rows, indent=1))
    elif not rows:
        print(f"nothing was submitted from here: there are no jobs in {folder}")
    elif job:
        _tell(rows)
    else:
        Console().print(_table(standing))
    return rows


def _row(job: Job, number: int, status: Status, lines: int) -> dict[str, Any]:
    many = len(job.tasks) > 1
    return {
        "job": job.name,
        "task": number,
        "number": job.number and (f"{job.number}_{number}" if many else job.number),
        "state": status.state,
        "why": status.why,
        "command": job.tasks[number].words,
        "starts": job.account(number).get("starts", 0),
        "log": str(job.log(number)),
        "last": _tail(job.log(number), lines),
    }


def _tail(log: Path, lines: int) -> list[str]:
    """Return the last lines of a log, of its last 64 KiB."""
    if not log.exists() or not lines:
        return []
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 2**16, 0))
        return file.read().decode(errors="replace").splitlines()[-lines:]


def _tell(rows: list[dict[str, Any]]) -> None:
    """Print a heading and the end of the log of each task."""
    console, tasks = Console(soft_wrap=True, highlight=False), Counter(row["job"] for row in rows)
    for row in rows:
        name = f"{row['job']} {row['number']}".strip() + (f" task {row['task']}" if tasks[row["job"]] > 1 else "")
        console.print(
            Text.assemble(
                (name, "bold"), " ", (row["state"], STYLES.get(row["state"], "")), f" {row['why']}".rstrip(),
                f": vitalsynth {shlex.join(row['command'])}",
            )
        )  # fmt: skip
        for line in row["last"]:
            console.print(Text(f"  {line}"))


def _table(standing: list[tuple[Job, list[Status]]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("job", "SLURM", "state", "command", "said last"):
        table.add_column(title, overflow="fold")
    for job, tasks in standing:
        states = Text("\n").join(
            Text(f"{count} {state}" if len(tasks) > 1 else state, STYLES.get(state, ""))
            for state, count in Counter(status.state for status in tasks).items()
        )
        whys = sorted({status.why for status in tasks} - {""})
        last = _tail(job.log(0), 1) if len(tasks) == 1 else []
        said = Text("\n".join([*whys, *last]))
        table.add_row(job.name, job.number, states, Text(shlex.join(job.tasks[0].words)), said)
    return table
