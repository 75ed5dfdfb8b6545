"""What the watchman does: he looks, and what he sees and does he says as events.

A run that goes beyond a limit is asked to save and stop (SIGTERM, once), and killed if it still trains when the grace
is over. Both only if its process is proven to be its own, each time anew.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from ... import storage
from ...gpus import gpus
from ...machine import Room, rooms
from ...runs import Run
from ...sequences import one_line
from ...storage import in_words
from . import processes
from .amounts import Amount
from .processes import Unproven
from .standing import Standing

Kind = Literal["seen", "start", "end", "failure", "limit"]
"""Of an event; what is merely seen needs no letter."""
URGENT = ("failure", "limit")


@dataclass(frozen=True)
class Limits:
    """When a run is to be stopped; None sets no limit.

    Args:
        memory: What one run's processes may hold, or the share of all memory that may be in use.
        gpu_memory: The same of GPUs.
        stalled: For how long the log may not grow.
        disk: What must be free where the run lies.
    """

    memory: Amount | None = None
    gpu_memory: Amount | None = None
    stalled: Amount | None = None
    disk: Amount | None = None


@dataclass(frozen=True)
class Event:
    """Something that is to be told of a run.

    Args:
        run: Which.
        kind: What it is.
        what: In words that go on from the run's name.
        standing: How the run stood.
        time: In seconds since 1970.
    """

    run: Run
    kind: Kind
    what: str
    standing: Standing
    time: float = field(default_factory=time.time)


@dataclass
class Watched:
    """What is remembered of a run."""

    run: Run
    standing: Standing
    grew: float
    told: set[str] = field(default_factory=set)
    asked: float | None = None


Usage = Mapping[Path, Sequence[tuple[Room, int]]]
"""By run: the memories that it holds part of, and how many bytes of each."""


class Watchman:
    """Looks after runs.

    Args:
        patterns: Paths and globs; what comes to match later is taken up.
        limits: When a run is to be stopped.
        grace: Seconds from asking to killing.
        only_tell: No process is touched.
        say: Called with what is no event of a run, in a line.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        limits: Limits,
        grace: float,
        only_tell: bool,
        say: Callable[[str], None],
    ) -> None:
        self.patterns, self.limits, self.grace, self.only_tell, self.say = patterns, limits, grace, only_tell, say
        self.watched: dict[Path, Watched] = {}
        self._begun = False
        self._said: set[str] = set()

    @property
    def training(self) -> bool:
        """Whether any of the runs is being trained."""
        return any(each.standing.state == "running" for each in self.watched.values())

    def look(self) -> list[Event]:
        """Look once at everything, do what is to be done, and return what is to be told."""
        events = list[Event]()
        for run in self._found():
            try:
                events += self._look_at(run)
            except (ValueError, OSError, KeyError, TypeError) as error:  # damaged: the others are looked at
                self._say_once(f"{run.path}: {type(error).__name__}: {one_line(error)}")
        self._begun = True
        ours = {path: each for path, each in self.watched.items() if each.standing.state == "running"}
        usage = self._memory(ours) if self.limits.memory else {}
        gpu_usage = self._gpu_memory(ours) if self.limits.gpu_memory else {}
        events += self._above("memory", self.limits.memory, usage)
        events += self._above("gpu_memory", self.limits.gpu_memory, gpu_usage)
        for each in ours.values():
            events += self._stalled(each)
            events += self._disk(each)
            events += self._patience(each)
        return events

    def _found(self) -> Iterator[Run]:
        """Yield the runs that match, new ones among them."""
        for pattern in self.patterns:
            for match in map(Path, storage.expand(pattern)):
                path = match.resolve()
                if path not in self.watched and not (match / "run.json").exists():
                    continue
                try:
                    yield self.watched[path].run if path in self.watched else Run(match)
                except ValueError as error:
                    self._say_once(one_line(error))

    def _look_at(self, run: Run) -> Iterator[Event]:
        """Yield what happened to a run since the last look."""
        path, now, standing = run.path.resolve(), time.monotonic(), Standing.of(run)
        if path not in self.watched:
            self.watched[path] = Watched(run, standing, now)
            if self._begun:  # it came later: all of it is new
                yield from self._happened(self.watched[path], standing, 0)
            elif standing.state == "running" and standing.begin:
                what = f"is being trained, at step {standing.step:,} of {standing.target:,}"
                yield Event(run, "start", what, standing)
            else:
                self.watched[path].told.add("vanished")
                yield Event(run, "seen", f"is {standing.state}, at step {standing.step:,}", standing)
            return
        each = self.watched[path]
        before, each.standing = each.standing, standing
        if (standing.step, len(standing.clock)) != (before.step, len(before.clock)):
            each.grew = now
        yield from self._happened(each, standing, len(before.clock))

    def _happened(self, each: Watched, standing: Standing, seen: int) -> Iterator[Event]:
        """Yield what the rows of the clock beyond those seen say, and that the process is gone, if it is."""
        for row in standing.clock[seen:]:
            step = f"{row['step']:,}"
            if row["event"] == "begin":
                each.told, each.asked = set(), None
                where = f"by process {row.get('process')} on {row.get('host')}"
                yield Event(each.run, "start", f"begins at step {step}, up to {row['target']:,}, {where}", standing)
            elif row["event"] == "failed":
                yield Event(each.run, "failure", f"failed: {row.get('why')}", standing)
            elif row["event"] == "end" and row["step"] >= row.get("target", standing.target):
                yield Event(each.run, "end", f"is done, at step {step}", standing)
            elif row["event"] == "end":
                yield Event(each.run, "end", f"was saved at step {step} of {standing.target:,}, and stopped", standing)
        if standing.state == "vanished" and "vanished" not in each.told:
            each.told.add("vanished")
            what = f"vanished without a word (killed?); it is kept at step {standing.saved:,} of {standing.target:,}"
            yield Event(each.run, "failure", what, standing)

    def _memory(self, ours: Mapping[Path, Watched]) -> Usage:
        usage = {}
        for path, each in ours.items():
            with suppress(Unproven):
                process = processes.prove(each.run, each.standing.begin)
                fullest = max(rooms(process), key=lambda room: room.share)
                usage[path] = [(fullest, processes.held(process))]
        return usage

    def _gpu_memory(self, ours: Mapping[Path, Watched]) -> Usage:
        try:
            found = gpus()
        except ValueError as error:
            self._say_once(f"--gpu_memory sets no limit: {one_line(error)}")
            return {}
        usage = {}
        for path, each in ours.items():
            try:
                process = processes.prove(each.run, each.standing.begin)
            except Unproven:
                continue
            numbers = {member.pid for member in processes.family(process)}
            held = [(gpu.room, sum(gpu.processes.get(number, 0) for number in numbers)) for gpu in found]
            usage[path] = [(room, size) for room, size in held if size]
            if not usage[path] and (each.standing.begin or {}).get("gpu_memory_mib") is not None:
                self._say_once(f"nvidia-smi does not tell what {each.run.path} holds; --gpu_memory sets it no limit")
        return usage

    def _above(self, name: str, limit: Amount | None, usage: Usage) -> Iterator[Event]:
        """Stop whoever holds more than a limit; or of those that fill a memory the largest, one at a time."""
        if limit is None:
            return
        if not limit.share:
            for path, parts in usage.items():
                if (size := sum(size for _, size in parts)) > limit.value:
                    what = f"holds {in_words(size)}, above --{name} {limit.text}"
                    yield from self._stop(self.watched[path], name, what)
            return
        full = {room.name: room for parts in usage.values() for room, _ in parts if room.share > limit.value}
        for room in full.values():
            sizes = {path: size for path, parts in usage.items() for there, size in parts if there.name == room.name}
            if any(self.watched[path].asked is not None for path in sizes):
                continue  # until it has gone, nobody knows whether that was enough
            path = max(sizes, key=lambda path: sizes[path])
            what = f"holds {in_words(sizes[path])}, the most here, and of {room.name} {room.share:.0%} is in use"
            yield from self._stop(self.watched[path], name, f"{what}, above --{name} {limit.text}")

    def _stalled(self, each: Watched) -> Iterator[Event]:
        limit, still = self.limits.stalled, time.monotonic() - each.grew
        if limit is not None and still > limit.value:
            what = f"has written nothing for {still:.0f} s, longer than --stalled {limit.text}"
            yield from self._stop(each, "stalled", what)

    def _disk(self, each: Watched) -> Iterator[Event]:
        if (limit := self.limits.disk) is None:
            return
        try:
            disk = shutil.disk_usage(each.run.path)
        except OSError:
            return
        if disk.free < limit.value * (disk.total if limit.share else 1):
            what = f"has {in_words(disk.free)} of disk left, less than --disk {limit.text}"
            yield from self._stop(each, "disk", what)

    def _stop(self, each: Watched, name: str, why: str) -> Iterator[Event]:
        """Ask a run's process to save and stop, if it may and has to be; tell either way, once."""
        if name in each.told or each.asked is not None:
            return
        each.told.add(name)
        what = f"{why}: "
        if self.only_tell:
            what += "only told, as asked"
        else:
            try:
                process = processes.prove(each.run, each.standing.begin)
                if processes.hears(process):
                    process.terminate()
                    what += "asked to save and stop"
                else:
                    what += "not asked to stop, as it has yet to begin"
                what += f"; killed if it still trains in {self.grace:g} s"
                each.asked = time.monotonic()
            except (Unproven, psutil.Error) as error:
                what += f"left alone, as {one_line(error)}"
        yield Event(each.run, "limit", what, each.standing)

    def _patience(self, each: Watched) -> Iterator[Event]:
        """Kill what was asked to stop, if the grace is over."""
        if each.asked is None or time.monotonic() - each.asked <= self.grace or "vanished" in each.told:
            return
        try:
            all_of_it = processes.family(processes.prove(each.run, each.standing.begin))
        except Unproven:  # it has just ended
            return
        for process in all_of_it:
            with suppress(psutil.Error):
                process.kill()
        each.told.add("vanished")
        what = f"did not stop in {self.grace:g} s, and was killed; it is kept at step {each.standing.saved:,}"
        yield Event(each.run, "limit", what, each.standing)

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.say(text)
