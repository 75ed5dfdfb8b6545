"""Which process is a run's, beyond doubt, and what it holds.

A number in a file proves nothing: it may be of another machine, or have been given to another process since. So a
process is a run's only if all that the run and the process say of each other agrees; whatever is in doubt is left
alone.
"""

from __future__ import annotations

import platform
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import psutil
except ModuleNotFoundError:
    raise ValueError("watching processes needs psutil: pip install 'vitalsynth[cluster]'") from None

from ...runs import Run

CGROUPS = Path("/sys/fs/cgroup")


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

    It would not while it takes SIGTERM as any other process does: training has not begun, or was asked already. What it
    is about to save would be lost by a second signal.
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


@dataclass(frozen=True)
class Room:
    """Memory that several share: of a machine, of a part of it that a limit is set to, or of a GPU."""

    name: str
    used: int
    total: int

    @property
    def share(self) -> float:
        return self.used / self.total


def room(process: psutil.Process) -> Room:
    """Return the memory that will be full first: the machine's, or that of a control group that the process is in."""
    machine = psutil.virtual_memory()
    rooms = [Room("the machine", machine.total - machine.available, machine.total)]
    try:
        groups = Path(f"/proc/{process.pid}/cgroup").read_text()
    except OSError:  # not Linux, or gone
        groups = ""
    rooms += [each for each in _limited(groups) if each.total < machine.total]
    return max(rooms, key=lambda each: each.share)


def _limited(groups: str) -> Iterator[Room]:
    """Yield the control groups that have a limit, of those a process is in, as /proc/PID/cgroup names them.

    Memory in use leaves out what the kernel gives back first: pages of files that were not used lately.
    """
    for line in groups.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, limit, usage, aside = CGROUPS, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, limit, usage, aside = (
                CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
            )  # fmt: skip
        else:
            continue
        inner = top / path.lstrip("/")
        for folder in (inner, *inner.parents):
            try:
                most = (folder / limit).read_text().strip()
                if most.isdecimal():
                    stat = dict(each.split() for each in (folder / "memory.stat").read_text().splitlines())
                    used = int((folder / usage).read_text()) - int(stat.get(aside, 0))
                    yield Room(f"the control group {folder.relative_to(top)}", used, int(most))
            except OSError:  # the topmost has no limit, and in a container outer ones are not seen
                pass
            if folder == top:
                break
