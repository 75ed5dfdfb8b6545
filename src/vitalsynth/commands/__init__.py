"""The commands, each a plain function that Python and notebooks call with the same arguments."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

Pairs = Mapping[str, Any] | Sequence[str]
"""A setting that is given several times, as -p NAME=VALUE."""

# Where each command lives. What it does and takes is read off the function itself.
COMMANDS = {
    "data": "data.data",
    "train": "train.train",
    "continue": "continue_.continue_",
    "branch": "branch.branch",
    "merge": "merge.merge",
    "list": "list_.list_",
    "prune": "prune.prune",
    "pack": "pack.pack",
    "unpack": "pack.unpack",
    "export": "export.export",
    "sync": "sync.sync",
    "sample": "sample.sample",
    "evaluate": "evaluate.evaluate",
    "attack": "attack.attack",
    "release": "release.release",
    "audit": "audit.audit",
    "report": "report.report",
    "check": "check.check",
    "theory": "theory.theory",
    "board": "board.board",
    "convergence": "convergence.convergence",
    "evolution": "evolution.evolution",
    "sweep": "sweep.sweep",
    "sweep work": "sweep_work.sweep_work",
    "sweep show": "sweep_show.sweep_show",
    "sweep dashboard": "sweep_dashboard.sweep_dashboard",
    "notebook run": "notebook_run.notebook_run",
    "notebook serve": "notebook_serve.notebook_serve",
    "submit": "submit.submit",
    "jobs": "jobs.jobs",
    "watch": "watch.watch",
}


def function(command: str) -> Any:
    """Import the function behind a command."""
    module, name = COMMANDS[command].split(".")
    return getattr(importlib.import_module(f".{module}", __name__), name)


def parted(words: Sequence[str]) -> tuple[str, list[str]]:
    """Part a command, which has one word or two, from its arguments."""
    count = 2 if " ".join(words[:2]) in COMMANDS else 1
    return " ".join(words[:count]), list(words[count:])
