"""clock.jsonl: what a rerun would not reproduce."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch

from ..machine import most_held
from ..sequences import one_line
from .jsonl import append
from .run import Run


class Clock:
    """Writes when training begins, saves and ends, after how long, with how much memory, on what, and how it failed.

    Args:
        run: Of which run.
        device: What it is trained on.
        watchers: Names of those who look on meanwhile, whose seconds are counted.
    """

    def __init__(self, run: Run, device: torch.device, watchers: Iterable[str] = ()) -> None:
        self.path, self.device, self.since = run.path / "clock.jsonl", device, time.perf_counter()
        self.step, self.watched = 0, dict.fromkeys(watchers, 0.0)

    @contextlib.contextmanager
    def watching(self, watcher: str) -> Iterator[None]:
        """Count the seconds that a watcher takes."""
        began = time.perf_counter()
        yield
        self.watched[watcher] += time.perf_counter() - began

    def note(self, event: Literal["begin", "save", "end", "failed"], step: int, **more: Any) -> None:
        """Write a row.

        Args:
            event: What happened.
            step: To which step the run is kept.
            **more: What else is to be known of it.
        """
        self.step = step
        on_gpu = self.device.type == "cuda"
        row = {
            "event": event,
            "step": step,
            **more,
            "time": round(time.time(), 3),
            "seconds": round(time.perf_counter() - self.since, 3),
            "watching": {name: round(seconds, 3) for name, seconds in self.watched.items()},
            "memory_mib": most_held() // 2**20,
            "gpu_memory_mib": torch.cuda.max_memory_allocated(self.device) // 2**20 if on_gpu else None,
            "device": torch.cuda.get_device_name(self.device) if on_gpu else _threads(torch.get_num_threads()),
            "host": platform.node(),
            "process": os.getpid(),
        }
        append(self.path, [row])

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """Note why training fails, if it does, at the step to which it is kept."""
        try:
            yield
        except Exception as error:
            with contextlib.suppress(OSError):  # a full disk
                self.note("failed", self.step, why=f"{type(error).__name__}: {one_line(error)}")
            raise


def _threads(count: int) -> str:
    return f"CPU, {count} thread{'s' * (count != 1)}"
