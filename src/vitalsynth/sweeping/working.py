"""A worker: takes trials, and runs the commands of each in processes of their own.

What is still to be run of a trial is read off its runs, so one that another left is carried on like one just begun: a
run is trained, or carried on, then judged. Whatever becomes of such a process, the worker goes on.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .. import storage
from ..processes import STOPPED, StopFlag, start
from ..runs import Run, rows
from ..sequences import one_line
from .plan import Line
from .scores import to_evaluate
from .sweep import Claim, Sweep

INTERVAL = 0.5
"""Seconds between two looks at what runs."""


def work(
    sweep: Sweep,
    at_most: int = 1,
    leave: bool = False,
    report: Callable[[], object] = lambda: None,
) -> bool:
    """Work on trials until all are finished, also those that others begin and do not end.

    Args:
        sweep: Whose trials.
        at_most: How many trials at once.
        leave: End when there is none to be taken.
        report: Called at every look.

    Returns:
        False if SIGINT or SIGTERM asked to stop before; trials that were being worked on are saved, and left.

    Raises:
        ValueError: if the database is not there; likewise.
    """
    busy: list[Attempt] = []
    with StopFlag() as stop:
        try:
            while True:
                while not stop.raised and len(busy) < at_most and (claim := sweep.claim()):
                    busy.append(Attempt(sweep, claim))
                busy = [each for each in busy if not each.ended(stop.raised)]
                report()
                if not busy and (stop.raised or leave or sweep.finished == sweep.total):
                    return not stop.raised
                time.sleep(INTERVAL)
        finally:
            for each in busy:
                each.leave()


def to_train(line: Line, run: Path) -> list[str]:
    """Return what trains a run: its command line, or, if it has begun, what carries it on."""
    begun = [row for row in rows(run / "clock.jsonl") if row["event"] == "begin"]
    if begun:
        return [*line.again, f"--steps={begun[0]['target']}"]
    if run.exists():  # whoever made it died before the first step
        storage.remove(run)
    return line.words


class Attempt:
    """A trial that is being worked on.

    Args:
        sweep: Whose.
        claim: Which.
    """

    def __init__(self, sweep: Sweep, claim: Claim) -> None:
        self.sweep, self.claim = sweep, claim
        self.lines = sweep.lines(claim)
        self.process: subprocess.Popen[bytes] | None = None
        self.told = self.bad = False
        self.read = 0
        self.commands = self._commands()

    def _commands(self) -> Iterator[list[str]]:
        """Yield what is to be run, by what is there when the one before has ended."""
        for line in self.lines.values():
            if line.run is None:
                yield line.words
                continue
            while not line.run.exists() or Run(line.run).state() != "done":
                yield to_train(line, line.run)
            if metrics := list(to_evaluate(self.sweep.scores, Run(line.run))):
                yield ["evaluate", str(line.run), "--metrics", ",".join(metrics), *self.sweep.plan.evaluate]

    def ended(self, stopping: bool) -> bool:
        """Look how it stands and go on with it; say whether it is finished, or left to others.

        Raises:
            ValueError: if the database is not there.
        """
        if self.process is not None:
            if (code := self.process.poll()) is None:
                self.bad = self.bad or (bool(self.sweep.plan.prune) and self._bad())
                if stopping or self.bad:
                    self.stop()
                return False
            if self.bad and code == STOPPED:
                self.sweep.end(self.claim, "PRUNED")
                return True
            if code and stopping:
                self.claim.log.close()
                return True
            if code:  # also if somebody stopped it, who will have had a reason
                self.sweep.end(self.claim, "FAIL", self._why(code))
                return True
        return self._go_on(stopping)

    def _go_on(self, stopping: bool) -> bool:
        """Start what is to be run next, or note the scores; say whether it is finished, or left to others."""
        try:
            words = next(self.commands, None)
            scores = self._scores() if words is None else {}
        except ValueError as error:
            self.sweep.end(self.claim, "FAIL", one_line(error))
            return True
        if words is None:
            self.sweep.finish(self.claim, scores)
        elif stopping:
            self.claim.log.close()
        else:
            trusted, directory = self.sweep.plan.trusted, self.sweep.directory
            self.process, self.told = start(words, self.claim.log, trusted, directory=directory), False
        return words is None or stopping

    def stop(self) -> None:
        """Ask its process to save and stop."""
        if self.process is not None and not self.told:
            self.process.terminate()
        self.told = True

    def leave(self) -> None:
        """Ask its process to save and stop, and leave it to others."""
        self.stop()
        if self.process is not None:
            self.process.wait()
        self.claim.log.close()

    def _bad(self) -> bool:
        """Report what the log has new of the score, of the first seed; say whether the trial is to be pruned."""
        run, score = next(iter(self.lines.values())).run, self.sweep.scores[0].name
        if run is None or not (log := run / "log.jsonl").exists():
            return False
        with log.open("rb") as file:
            file.seek(self.read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self.read += len(whole)
        every = self.sweep.plan.look_every
        found = [row for row in map(json.loads, whole.splitlines()) if score in row and row["step"] % every == 0]
        return any([self.sweep.report(self.claim, row[score], row["step"]) for row in found])  # noqa: C419 (all of them)

    def _scores(self) -> dict[str, list[float]]:
        """Return the scores of each seed.

        Raises:
            ValueError: if there is one that a run does not have.
        """
        found: dict[str, list[float]] = {}
        if self.sweep.by_people:
            return found
        for seed, line in self.lines.items():
            found[seed] = [score.of(Run(line.run)) for score in self.sweep.scores if line.run]
            for score, value in zip(self.sweep.scores, found[seed], strict=True):
                if not math.isfinite(value):
                    raise ValueError(f"{score.name} is {value}")
        return found

    def _why(self, code: int) -> str:
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        said = self.sweep.log(self.claim.trial.number).read_text("utf-8", "replace").strip().splitlines()
        return said[-1] if said else f"exit code {code}"
