"""A progress bar with rate and time left on a terminal or in a notebook; a line every tenth of the way elsewhere."""

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

from .. import markup
from ..notebooks.display import Live
from ..storage import in_words

EVERY = 0.25
"""Seconds between two looks of a notebook at a bar."""


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
        self.live = Live() if Live.possible() and not quiet else None
        self.shown, self.note = 0.0, ""
        if console.is_terminal and not self.live and not quiet:
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
        if self.live is not None:
            self._show(self.live)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()
        if self.live is not None:
            self._show(self.live, f"in {time.perf_counter() - self.began:.1f} s")

    def advance(self, count: int = 1, note: str = "") -> None:
        """Go on by some."""
        before, self.at, self.note = self.at, self.at + count, note
        if self.bar is not None:
            self.bar.update(self.task, completed=self.at, note=note)
        elif self.live is not None:
            if time.perf_counter() - self.shown > EVERY:
                self._show(self.live)
        elif not self.quiet and 10 * self.at // self.total > 10 * before // self.total:
            print(f"{self.title}: {self._words()}", file=sys.stderr)

    def _words(self, ended: str = "") -> str:
        """Return how far it is, how fast it goes and how long it takes."""
        rate = (self.at - self.start) / max(time.perf_counter() - self.began, 1e-9)
        words = in_words if self.in_bytes else str
        speed = in_words(round(rate)) + "/s" if self.in_bytes else _pace(rate)
        time_left = ended or (f"{(self.total - self.at) / rate:.0f} s left" if rate else "")
        return f"{words(self.at)}/{words(self.total)}, {speed}, {time_left} {self.note}".rstrip()

    def _show(self, live: Live, ended: str = "") -> None:
        words = self._words(ended)
        live.show(markup.block(self.title, markup.bar(self.at, self.total, words)), f"{self.title}: {words}")
        self.shown = time.perf_counter()

    def row(self, row: dict[str, float]) -> None:
        """Go on by a training step, showing its losses."""
        losses = [
            f"{name.split('.')[0][0].upper()} {value:.3f}"
            for name, value in row.items()
            if name.endswith(".adversarial")
        ]
        losses += [f"ε {value:.2f}" for name, value in row.items() if name == "privacy.epsilon_rdp"]
        self.advance(note=" ".join(losses))


class Status:
    """Says in one line what is being done, until it is done.

    Args:
        text: What.
        quiet: Show nothing.
    """

    def __init__(self, text: str, quiet: bool = False) -> None:
        self.text, self.live = text, Live() if Live.possible() and not quiet else None
        self.line = Console(stderr=True, quiet=quiet or self.live is not None).status(text)

    def __enter__(self) -> Status:
        if self.live is None:
            self.line.start()
        self.update(self.text)
        return self

    def __exit__(self, *_: object) -> None:
        self.line.stop()
        if self.live is not None:
            self.live.show("", "")

    def update(self, text: str) -> None:
        """Say what is done now."""
        if self.live is not None:
            self.live.show(markup.block("", text), text)
        else:
            self.line.update(text)


def say(text: str) -> None:
    """Say something beside the bar: in a notebook with what is printed, where it does not look like an error."""
    print(text, file=sys.stdout if Live.possible() else sys.stderr)


def _pace(rate: float) -> str:
    """Say how many a second, or, of what is slow, how long each takes."""
    return f"{rate:.1f}/s" if rate >= 1 or not rate else f"{1 / rate:.1f} s each"


class _Rate(TextColumn):
    def render(self, task: Task):
        self.text_format = _pace(task.speed) if task.speed else ""
        return super().render(task)
