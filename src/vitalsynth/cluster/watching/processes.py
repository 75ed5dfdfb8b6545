"""Which process is a run's, beyond doubt, and what it holds.

A number in a file proves nothing: it may be of another machine, or have been given to another process since. So a
process is a run's only if all that the run and the process say of each other agrees; whatever is in doubt is left
alone.
"""

from __future__ import annotations

import platform
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from ...runs import Run


class Unproven(Exception):
    """Why a process is not taken for a run's."""


def prove(run: Run, begin: Mapping[str, Any] | None) -> psutil.Process:
    """Return the process that trains a run.

    Args:
        run: Which.
        begin: What training noted in clock.jsonl when it began.

    Raises:
        Unproven: if there is none on this machine, or any doubt that it is.
    """
    if begin is None or not isinstance(begin.get("process"), int):
        raise Unproven("it does not say which process trains it")
    if begin.get("host") != platform.node():
        raise Unproven(f"it is trained on another machine, {begin.get('host')}")
    number = begin["process"]
    try:
        process = psutil.Process(number)
        if set(process.uids()) != set(psutil.Process().uids()):
            raise Unproven(f"process {number} is another user's")
        if process.create_time() > begin["time"]:
            raise Unproven(f"process {number} is younger than the training, whose number it was given")
        opened = {Path(file.path) for file in process.open_files()}
    except (psutil.Error, OSError, LookupError, TypeError, ValueError) as error:  # gone, or a note of no sense
        raise Unproven(f"process {number}: {type(error).__name__}") from None
    if not opened & {(run.path / name).resolve() for name in (".lock", "log.jsonl")}:
        raise Unproven(f"process {number} does not have its files open")
    return process


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and those that it started, as those that share its work."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]


def hears(process: psutil.Process) -> bool:
    """Say whether a process would save and stop if it were asked.

    It would not while it takes SIGTERM as any other process does: training has not begun, and would be ended by it.
    """
    status = Path(f"/proc/{process.pid}/status")
    if not Path("/proc/self/status").exists():  # not Linux
        return True
    try:
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)
    except OSError:
        return False
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def held(process: psutil.Process) -> int:
    """Return the bytes of memory that a process and its children hold, what they share counted once."""
    total = 0
    for each in family(process):
        try:
            about = each.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(about, "pss", about.uss) + getattr(about, "swap", 0)
    return total
