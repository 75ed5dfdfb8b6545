"""What this machine has, and what processes hold of it."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")


def most_held() -> int:
    """Return the most bytes of memory that this process has held so far (its resident set).

    getrusage would count, on Linux, what the process held that started this one.
    """
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return 1024 * int(found[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def threads_allowed() -> int:
    """Return how many threads numerical work may take: what OMP_NUM_THREADS says, or one.

    PyTorch by itself takes as many as there are cores, however busy they are. Then each waits for the others in every
    operation: `benchmarks/speed.py`.
    """
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(said) if said.isdigit() and int(said) else 1


@dataclass(frozen=True)
class Room:
    """Memory that several share: of a machine, of a part of it that a limit is set to, or of a GPU."""

    name: str
    used: int
    total: int

    @property
    def share(self) -> float:
        return self.used / self.total

    @property
    def free(self) -> int:
        return self.total - self.used


def rooms(process: psutil.Process) -> list[Room]:
    """Return the memories that a process takes from: the machine's, and those of control groups that it is in."""
    machine = psutil.virtual_memory()
    try:
        groups = Path(f"/proc/{process.pid}/cgroup").read_text()
    except OSError:  # not Linux, or gone
        groups = ""
    limited = [each for each in _limited(groups) if each.total < machine.total]
    return [Room("the machine", machine.total - machine.available, machine.total), *limited]


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
