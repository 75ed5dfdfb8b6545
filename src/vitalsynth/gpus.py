"""The device to compute on, and NVIDIA's GPUs: what nvidia-smi tells of their memory, and which of several is free.

Whoever trains on a GPU that it chose itself holds a lock on it until it ends, in a folder of this user's. So runs that
are started at the same moment, by hand, by `submit` or by a sweep, do not all choose the same one.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from .machine import Room
from .processes import hold

TIMEOUT = 10.0
"""Seconds to wait for nvidia-smi, which a broken driver lets hang."""
MIB = 2**20


@dataclass(frozen=True)
class GPU:
    """A GPU, and the bytes that each process holds there."""

    uuid: str
    room: Room
    processes: Mapping[int, int]


def gpus() -> list[GPU]:
    """Return the GPUs of this machine; those that do not say how much memory they have are left out.

    Raises:
        ValueError: if nvidia-smi is not there, or fails.
    """
    held: dict[str, dict[int, int]] = {}
    for uuid, process, used in _asked("compute-apps=gpu_uuid,pid,used_memory"):
        if process.isdecimal() and used.isdecimal():
            held.setdefault(uuid, {})[int(process)] = int(used) * MIB
    return [
        GPU(uuid, Room(f"GPU {index}", int(used) * MIB, int(total) * MIB), held.get(uuid, {}))
        for index, uuid, used, total in _asked("gpu=index,uuid,memory.used,memory.total")
        if used.isdecimal() and total.isdecimal() and int(total)
    ]


def pick_device(name: str) -> torch.device:
    """Return the device of a name, `auto` being a GPU where there is one; of several, one that is free.

    Raises:
        ValueError: if it is not on this machine.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product; without, sums vary
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", chosen() if torch.cuda.device_count() > 1 else 0)
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise NotImplementedError
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        there = [f"cuda:{j} ({torch.cuda.get_device_name(j)})" for j in range(torch.cuda.device_count())]
        raise ValueError(f"device {name!r} is not on this machine; there are: {', '.join(['cpu', *there])}") from None
    return device


@cache
def chosen() -> int:
    """Return which of the GPUs that PyTorch sees this process trains on, the first being 0: the same each time.

    The one with most memory free that nobody else chose; if each was chosen, or the others have less than half as much
    free, the one with most memory free.
    """
    count = torch.cuda.device_count()
    uuids = [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(count)]
    try:
        free = {gpu.uuid: gpu.room.free for gpu in gpus()}
    except ValueError:
        free = {}
    return choose([(uuid, free.get(uuid, 0)) for uuid in uuids], Path(tempfile.gettempdir()))


def choose(there: Sequence[tuple[str, int]], folder: Path) -> int:
    """Choose one of some GPUs, of which the names and the bytes that are free are given; it is held until we end."""
    order = sorted(range(len(there)), key=lambda index: there[index][1], reverse=True)
    most = there[order[0]][1]
    for index in order:
        uuid, free = there[index]
        if 2 * free >= most and _held(folder / f"vitalsynth-{os.getuid()}-{uuid}.lock"):
            return index
    return order[0]


_LOCKS = []


def _held(path: Path) -> bool:
    """Hold a lock as long as this process lives; say whether it is ours."""
    try:
        lock = hold(path)
    except OSError:  # a file of somebody else's, or no space: nothing is known of others, then
        return True
    _LOCKS.append(lock)
    return lock is not None


def _asked(query: str) -> Iterator[list[str]]:
    """Yield the rows of an answer; what is not known stands there as [N/A]."""
    command = ["nvidia-smi", f"--query-{query}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise ValueError("there is no nvidia-smi here, which tells how much memory of a GPU is in use") from None
    except subprocess.TimeoutExpired:
        raise ValueError(f"nvidia-smi did not answer in {TIMEOUT:g} s") from None
    if done.returncode:
        raise ValueError(f"nvidia-smi fails: {' '.join((done.stdout + done.stderr).split())[:200]}")
    wanted = query.count(",") + 1
    for line in done.stdout.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == wanted:
            yield fields
