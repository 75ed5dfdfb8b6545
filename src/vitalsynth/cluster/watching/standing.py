"""How a run stands, by what lies in its folder."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ... import checkpoints, runs
from ...runs import Run

State = Literal["waiting", "running", "done", "stopped", "failed", "vanished"]


@dataclass(frozen=True)
class Standing:
    """How a run stands.

    Args:
        state: It waits to be trained, is trained, reached its last step, was stopped before, failed, or its process
            vanished without a word.
        step: Of the newest row of its log.
        saved: Step of its newest checkpoint.
        target: The last step that was asked for.
        clock: What clock.jsonl says.
    """

    state: State
    step: int
    saved: int
    target: int
    clock: list[dict[str, Any]]

    @classmethod
    def of(cls, run: Run) -> Standing:
        """Look at a run.

        Raises:
            ValueError: if its files are damaged.
        """
        in_use = run.in_use()  # asked before, as of what ends now the end is read, and after, as it may begin now
        clock = runs.rows(run.path / "clock.jsonl")
        in_use = in_use or run.in_use()
        saved = (checkpoints.steps(run.checkpoints) or [run.start])[-1]
        log = runs.last(run.path / "log.jsonl", 1)
        target = next((row["target"] for row in reversed(clock) if "target" in row), saved)
        return cls(_state(in_use, clock, saved, target), log[0]["step"] if log else saved, saved, target, clock)

    @property
    def begin(self) -> Mapping[str, Any] | None:
        """What training noted when it last began."""
        return next((row for row in reversed(self.clock) if row["event"] == "begin"), None)


def _state(in_use: bool, clock: list[dict[str, Any]], saved: int, target: int) -> State:
    last = clock[-1] if clock else {"event": None}
    if last["event"] == "failed":
        return "failed"
    if last["event"] == "end":
        return "done" if saved >= target else "stopped"
    if in_use or (clock and last.get("host", platform.node()) != platform.node()):  # its lock is not seen from here
        return "running"
    return "vanished" if clock else "waiting"
