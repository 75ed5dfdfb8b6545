"""Events in letters: one each, or many in a digest, with a table of the runs, the last lines of logs, and pictures."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ... import runs
from ...mail import Letter, Picture
from ...runs import Run
from ...sequences import printable
from . import drawing
from .standing import Standing
from .watchman import URGENT, Event, Watched

LINES, TERMS = 5, 8
"""Rows of a log, and terms of a row, that are shown."""
PICTURED = 3
"""Most runs of a letter of which pictures are drawn and log lines shown."""
ROWS = 200
"""Most runs in a table."""


@dataclass(frozen=True)
class Row:
    """A run in the table of a letter."""

    name: str
    state: str
    step: str
    saved: str


class Teller:
    """Collects events until it is time for a letter.

    Args:
        put: Takes letters.
        period: Seconds in which there is one letter at most; 0 for a letter an event.
        pictures: Whether letters have any.
    """

    def __init__(self, put: Callable[[Letter], None], period: float, pictures: bool) -> None:
        self.put, self.period, self.pictures = put, period, pictures
        self._events: list[Event] = []
        self._since = 0.0
        self._last = float("-inf")

    def take(self, event: Event) -> None:
        """Collect an event that is worth a letter."""
        if event.kind == "seen":
            return
        if not self._events:
            self._since = time.monotonic()
        self._events.append(event)

    def tell(self, watched: Iterable[Watched], last: bool = False) -> None:
        """Write what is due: by its age, or at once if it is urgent and the last letter was a period ago.

        Args:
            watched: All runs, for the table.
            last: Write all that there is.
        """
        now = time.monotonic()
        urgent = any(event.kind in URGENT for event in self._events)
        if not self._events or not (last or now - (self._last if urgent else self._since) >= self.period):
            return
        standings = [(each.run, each.standing) for each in watched]
        if self.period:
            self.put(letter(self._events, standings, self.pictures))
        else:
            for event in self._events:
                self.put(letter([event], [(event.run, event.standing)], self.pictures))
        self._events, self._last = [], now


def letter(events: Sequence[Event], standings: Sequence[tuple[Run, Standing]], with_pictures: bool) -> Letter:
    """Return what tells of events: what happened, how runs stand, what their logs say last, and pictures of some."""
    told = sorted(events, key=lambda event: (event.kind not in URGENT, -event.time))
    shown = list({event.run.path: event.run for event in told if event.kind != "start"}.values())[:PICTURED]
    logs = {_place(run): lines for run in shown if (lines := _lines(run))}
    happened = [(_clock(event.time), _place(event.run), event.kind, printable(event.what)) for event in told]
    ordered = sorted(standings, key=lambda each: each[1].state not in ("failed", "vanished"))
    table = [_row(run, standing) for run, standing in ordered[:ROWS]]
    more = len(standings) - len(table)
    title = _title(told, standings)
    again = [
        f"vitalsynth continue {shlex.quote(str(run.path))} --steps {standing.target}"
        for run, standing in standings
        if run in shown and standing.state in ("stopped", "failed", "vanished")
    ]

    def draw() -> list[Picture]:
        return [
            Picture(f"run-{place}-{picture.name}", picture.png, f"{run.name}: {picture.alt}")
            for place, run in enumerate(shown)
            for picture in (drawing.pictures(run) if with_pictures else [])
        ]

    about = {"title": title, "happened": happened, "table": table, "more": more, "logs": logs, "again": again}
    return Letter(f"vitalsynth: {title}", _text(about), lambda pictures: _page(about, pictures), draw)


def _title(events: Sequence[Event], standings: Sequence[tuple[Run, Standing]]) -> str:
    """Return the first of the events, if all are of one run, else how many runs stand how."""
    if len({event.run.path for event in events}) == 1:
        return f"{events[0].run.name} {events[0].what}"
    states = Counter(standing.state for _, standing in standings)
    return f"{len(standings)} runs: " + ", ".join(f"{count} {state}" for state, count in states.most_common())


def _place(run: Run) -> str:
    return printable(str(run.path))


def _clock(seconds: float) -> str:
    return time.strftime("%d %b %H:%M:%S", time.localtime(seconds))


def _row(run: Run, standing: Standing) -> Row:
    steps = f"{standing.step:,} of {standing.target:,}"
    return Row(_place(run), standing.state, steps, f"{standing.saved:,}")


def _lines(run: Run) -> list[str]:
    """Return the last rows of a log side by side, a line a term, without what is said of single layers."""
    try:
        found = runs.last(run.path / "log.jsonl", LINES)
    except (ValueError, OSError):
        return []
    terms = [name for name in (found[-1] if found else {}) if not name.startswith("gradients.")][:TERMS]
    cell = lambda row, name: f"{row[name]:.4g}" if name in row else ""  # noqa: E731
    return [f"{name:<28}" + "".join(f"{cell(row, name):>10}" for row in found) for name in terms]


def _text(about: Mapping[str, Any]) -> str:
    """Return a letter for those who read no pages."""
    width = max((len(row.name) for row in about["table"]), default=0)
    table = [f"{row.name:<{width}}  {row.state:<9}  {row.step} (saved {row.saved})" for row in about["table"]]
    table += [f"and {about['more']} more"] if about["more"] else []
    logs = [
        f"{name}, last of its log:\n" + "\n".join(f"  {line}" for line in rows) for name, rows in about["logs"].items()
    ]
    again = ["To carry on:\n" + "\n".join(f"  {line}" for line in about["again"])] if about["again"] else []
    happened = [f"{when}  {name} {what}" for when, name, _, what in about["happened"]]
    return "\n\n".join(["\n".join(happened), "\n".join(table), *logs, *again]) + "\n"


def _page(about: Mapping[str, Any], pictures: Sequence[Picture]) -> str:
    environment = Environment(
        loader=PackageLoader("vitalsynth", "cluster/watching"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("letter.html").render(**about, pictures=pictures)
