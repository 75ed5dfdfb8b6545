"""SLURM's own commands: sbatch, squeue, scancel, sacct if it is there; in a job also scontrol.

All that is called on the login node are these; their text output is read, as older versions have no JSON.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Status(NamedTuple):
    """How a task stands.

    Args:
        state: waiting, running, done, failed, stopped, cancelled or dead.
        why: The reason, if there is one to be told.
    """

    state: str
    why: str = ""


STATES = {
    "PENDING": "waiting",
    "REQUEUED": "waiting",
    "REQUEUE_HOLD": "waiting",
    "SPECIAL_EXIT": "waiting",
    "SUSPENDED": "waiting",
    "CONFIGURING": "running",
    "RUNNING": "running",
    "SIGNALING": "running",
    "STAGE_OUT": "running",
    "COMPLETING": "running",
    "COMPLETED": "done",
    "CANCELLED": "cancelled",
    "FAILED": "failed",
}
"""Of every other of SLURM's states (TIMEOUT, OUT_OF_MEMORY, NODE_FAIL, ...) we say that it failed, and why."""


def available() -> bool:
    """Say whether jobs can be submitted from here."""
    return shutil.which("sbatch") is not None


def submit(options: Sequence[str], script: str) -> str:
    """Submit one line of shell; return the number of the job.

    Raises:
        ValueError: if SLURM refuses.
    """
    try:
        said = _call("sbatch", "--parsable", *options, f"--wrap={script}")
    except ValueError as error:
        raise ValueError(f"{error}; --local runs it on this machine, without SLURM") from None
    return said.strip().partition(";")[0]  # behind it, the name of the cluster


def cancel(numbers: Iterable[str]) -> None:
    """Cancel jobs.

    Raises:
        ValueError: if SLURM refuses.
    """
    _call("scancel", *numbers)


def requeue(number: str) -> None:
    """Put the job, or task, in which this is called back into the queue, which ends it.

    Raises:
        ValueError: if SLURM refuses.
    """
    _call("scontrol", "requeue", number)


def queue() -> dict[tuple[str, int], Status]:
    """Return what the queue holds of this user, by number and task, and what has left it in the last minutes.

    Raises:
        ValueError: if SLURM does not answer.
    """
    said = _call("squeue", f"--user={os.getuid()}", "--array", "--noheader", "--states=all", "--format=%F|%K|%T|%r")
    rows = (line.split("|") for line in said.splitlines())
    return {(number, int(task) if task.isdecimal() else 0): _status(state, why) for number, task, state, why in rows}


def remembered(numbers: Iterable[str]) -> dict[tuple[str, int], Status]:
    """Return what SLURM's accounting knows of jobs, by number and task; nothing where there is none."""
    options = ("--allocations", "--noheader", "--parsable2", "--format=JobID,State")
    try:
        said = _call("sacct", f"--jobs={','.join(numbers)}", *options)
    except ValueError:
        return {}
    found = {}
    for line in said.splitlines():
        job, state = line.split("|")
        number, _, task = job.partition("_")
        if not task or task.isdecimal():  # not the rest of an array, 4711_[5-9], which is in the queue
            found[number, int(task or 0)] = _status(state.split()[0])
    return found


def _status(state: str, why: str = "") -> Status:
    if state not in STATES:
        return Status("failed", state)
    ours = STATES[state]
    return Status(ours, why if ours == "waiting" and why != "None" else "")


def _call(*words: str) -> str:
    """Run a command of SLURM.

    Raises:
        ValueError: if it fails, with what it said.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        raise ValueError(f"there is no {words[0]} here") from None
    if done.returncode:
        said = done.stderr.strip().removeprefix(f"{words[0]}: error: ") or f"exit code {done.returncode}"
        raise ValueError(f"{words[0]} refused: {said}")
    return done.stdout
