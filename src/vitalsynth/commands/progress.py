"""A progress bar with rate and time left on a terminal; a line every tenth of the way elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from ..storage import in_words


class Progress:
    """Shows how far something has come.

    Args:
        title: What is going on.
        total: Where it ends.
        start: Where it begins.
        quiet: Show nothing.
        in_bytes: What is counted is bytes.
    """

    def __init__(self, title: str, total: int, start: int = 0, quiet: bool = False, in_bytes: bool = False) -> None:
        self.title, self.total, self.at, self.start, self.quiet = title, total, start, start, quiet
        self.in_bytes = in_bytes
        self.began = time.perf_counter()
        console = Console(stderr=True)
        self.bar: Bar | None = None
        if console.is_terminal and not quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                *((DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(), _Rate(""))),
                TimeRemainingColumn(),
            )
            self.bar = Bar(*columns, TextColumn("{task.fields[note]}"), console=console)
            self.task = self.bar.add_task(title, total=total, completed=start, note="")

    def __enter__(self) -> Progress:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Go on by some."""
        before, self.at = self.at, self.at + count
        if self.bar is not None:
            self.bar.update(self.task, completed=self.at, note=note)
        elif not self.quiet and 10 * self.at // self.total > 10 * before // self.total:
            rate = (self.at - self.start) / max(time.perf_counter() - self.began, 1e-9)
            left = (self.total - self.at) / rate
            words = in_words if self.in_bytes else str
            speed = in_words(round(rate)) if self.in_bytes else f"{rate:.1f}"
            print(
                f"{self.title}: {words(self.at)}/{words(self.total)}, {speed}/s, {left:.0f} s left {note}".rstrip(),
                file=sys.stderr,
            )

    def row(self, row: dict[str, float]) -> None:
        """Go on by a training step, showing its losses."""
        losses = [
            f"{name.split('.')[0][0].upper()} {value:.3f}"
            for name, value in row.items()
            if name.endswith(".adversarial")
        ]
        losses += [f"ε {value:.2f}" for name, value in row.items() if name == "privacy.epsilon_rdp"]
        self.advance(note=" ".join(losses))


class _Rate(TextColumn):
    def render(self, task: Task):
        self.text_format = f"{task.speed:.1f}/s" if task.speed else ""
        return super().render(task)
