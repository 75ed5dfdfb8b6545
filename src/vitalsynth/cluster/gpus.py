"""Memory of NVIDIA's GPUs, as nvidia-smi tells."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..machine import Room

TIMEOUT = 10.0
"""Seconds to wait for nvidia-smi, which a broken driver lets hang."""
MIB = 2**20


@dataclass(frozen=True)
class GPU:
    """A GPU, and the bytes that each process holds there."""

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
        GPU(Room(f"GPU {index}", int(used) * MIB, int(total) * MIB), held.get(uuid, {}))
        for index, uuid, used, total in _asked("gpu=index,uuid,memory.used,memory.total")
        if used.isdecimal() and total.isdecimal() and int(total)
    ]


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
