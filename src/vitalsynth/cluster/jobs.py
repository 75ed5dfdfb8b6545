"""Jobs: what was submitted, and how it stands, read off a folder each.

job.json    what was asked, what it waits for, and the number that SLURM gave it
0.json      how task 0 stands by its own account
0.log       what task 0 said
cancelled   somebody cancelled it
lock        held by the process that runs it, if it runs without SLURM

A task's own account comes first; the queue says what has not begun, and what died without a word. So nothing here
needs SLURM's accounting.
"""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..processes import held_elsewhere
from ..storage import atomic_path, numbered
from . import slurm
from .slurm import Status

ENDED = ("done", "failed", "stopped", "cancelled")
PLAIN = tuple(map(Status, ("running", "done", "failed", "dead")))
"""What SLURM says that tells no more than a task's own account. (Waiting again: it was preempted.)"""


@dataclass(frozen=True)
class Task:
    """One command of a job.

    Args:
        words: The command line.
        again: What is called instead once it has begun and was stopped.
        runs: Runs that it trains, paths or globs; a command that trains none cannot be stopped and carried on.
    """

    words: list[str]
    again: list[str]
    runs: list[str]


class Job:
    """A job on disk.

    Args:
        path: Its folder.

    Raises:
        ValueError: if there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.record: dict[str, Any] = json.loads((path / "job.json").read_bytes())
        except FileNotFoundError:
            raise ValueError(f"{path} is no job") from None

    @classmethod
    def create(cls, folder: Path, tasks: Sequence[Task], **record: Any) -> Job:
        """Make the folder of a new job, which has the name of its command and the next number."""
        folder.mkdir(parents=True, exist_ok=True)
        path = numbered(folder, tasks[0].words[0])
        try:
            path.mkdir()
        except FileExistsError:  # another submission took it just now
            return cls.create(folder, tasks, **record)
        _write(path / "job.json", {"tasks": [asdict(task) for task in tasks], "number": "", **record})
        return cls(path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def number(self) -> str:
        """What SLURM calls it; empty if it runs without."""
        return self.record["number"]

    @cached_property
    def tasks(self) -> list[Task]:
        return [Task(**task) for task in self.record["tasks"]]

    @property
    def cancelled(self) -> Path:
        return self.path / "cancelled"

    def log(self, task: int) -> Path:
        return self.path / f"{task}.log"

    def add(self, **known: Any) -> None:
        """Add to the record."""
        self.record |= known
        _write(self.path / "job.json", self.record)

    def account(self, task: int) -> dict[str, Any]:
        """Return how a task stands by its own account; nothing before it began."""
        try:
            return json.loads((self.path / f"{task}.json").read_bytes())
        except FileNotFoundError:
            return {}

    def note(self, task: int, **known: Any) -> None:
        """Add to the account of a task."""
        _write(self.path / f"{task}.json", {**self.account(task), **known})

    def alive(self) -> bool:
        """Say whether the process lives that runs it without SLURM."""
        try:
            return held_elsewhere(os.open(self.path / "lock", os.O_RDONLY))
        except FileNotFoundError:
            return False


def find(folder: Path, names: Iterable[str] = ("*",)) -> list[Job]:
    """Return jobs by name, pattern, path or SLURM's number, oldest first.

    Raises:
        ValueError: if there is none of that name.
    """
    there = [Job(record.parent) for record in folder.glob("*/job.json")]
    there.sort(key=lambda job: int(job.name.rpartition("-")[2]))
    found = set()
    for name in names:
        plain = Path(name).name
        matching = {job.name for job in there if fnmatch.fnmatch(job.name, plain) or (job.number == plain != "")}
        if not matching and plain != "*":
            raise ValueError(
                f"no job {name!r} in {folder}; there are: {', '.join(job.name for job in there) or 'none'}"
            )
        found |= matching
    return [job for job in there if job.name in found]


def statuses(jobs: Iterable[Job]) -> list[list[Status]]:
    """Return how the tasks of jobs stand: waiting, running, done, failed, stopped, cancelled or dead.

    Raises:
        ValueError: if SLURM's queue does not answer.
    """
    jobs = list(jobs)
    queue = slurm.queue() if any(job.record["slurm"] for job in jobs) else {}
    found = [[_status(job, task, queue) for task in range(len(job.tasks))] for job in jobs]
    lost = [job.number for job, tasks in zip(jobs, found, strict=True) if job.number and Status("dead") in tasks]
    if lost and (remembered := slurm.remembered(lost)):
        found = [[_status(job, task, {**remembered, **queue}) for task in range(len(job.tasks))] for job in jobs]
    return found


def _status(job: Job, task: int, queue: Mapping[tuple[str, int], Status]) -> Status:
    account = job.account(task)
    own = Status(account.get("state", "waiting"), account.get("why", ""))
    if own.state not in ENDED and not job.record["slurm"]:
        found = own if job.alive() else Status("dead")
    else:
        found = queue.get((job.number, task), Status("dead"))
        if own.state in ENDED and found in PLAIN:
            found = own
    ended_otherwise = found.state not in ("done", "waiting", "running")
    return Status("cancelled") if ended_otherwise and job.cancelled.exists() else found


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), "utf-8")
