# pyright: strict
"""vitalsynth: synthetic cohorts from biomedical time series, with proof of how faithful, useful and private they are.

Two lines are enough, `Synthesizer(condition="died").fit(frame).sample(100)`; the functions behind the commands
(`train`, `sample`, `evaluate`, ...) take the arguments of the command line. Everything is imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .commands.attack import attack
    from .commands.audit import audit
    from .commands.board import board
    from .commands.branch import branch
    from .commands.check import check
    from .commands.continue_ import continue_
    from .commands.convergence import convergence
    from .commands.data import data
    from .commands.evaluate import evaluate
    from .commands.evolution import evolution
    from .commands.export import export
    from .commands.jobs import jobs
    from .commands.list_ import list_
    from .commands.merge import merge
    from .commands.notebook_run import notebook_run
    from .commands.notebook_serve import notebook_serve
    from .commands.pack import pack, unpack
    from .commands.prune import prune
    from .commands.release import release
    from .commands.report import report
    from .commands.review_collect import review_collect
    from .commands.review_create import review_create
    from .commands.review_forget import review_forget
    from .commands.review_results import review_results
    from .commands.review_send import review_send
    from .commands.review_serve import review_serve
    from .commands.sample import sample
    from .commands.submit import submit
    from .commands.sweep import sweep
    from .commands.sweep_dashboard import sweep_dashboard
    from .commands.sweep_show import sweep_show
    from .commands.sweep_work import sweep_work
    from .commands.sync import sync
    from .commands.theory import theory
    from .commands.train import train
    from .commands.watch import watch
    from .differential import Privacy
    from .discriminators import Discriminator
    from .frames import from_frame, to_frame
    from .generators import Generator
    from .methods import Method
    from .notebooks.opened import OpenedRun, open
    from .objectives import Objective
    from .preparation import Preparation
    from .presets import preset
    from .runs import Run
    from .schedules import Schedule
    from .sequences import Column, Encoded, Schema, Sequences, Shape
    from .stabilisers import Stabiliser
    from .synthesizer import Synthesizer

_HOMES = {
    "Column": "sequences",
    "Discriminator": "discriminators",
    "Encoded": "sequences",
    "Generator": "generators",
    "Method": "methods",
    "Objective": "objectives",
    "OpenedRun": "notebooks.opened",
    "Preparation": "preparation",
    "Privacy": "differential",
    "Run": "runs",
    "Schedule": "schedules",
    "Schema": "sequences",
    "Sequences": "sequences",
    "Shape": "sequences",
    "Stabiliser": "stabilisers",
    "Synthesizer": "synthesizer",
    "attack": "commands.attack",
    "audit": "commands.audit",
    "board": "commands.board",
    "branch": "commands.branch",
    "check": "commands.check",
    "continue_": "commands.continue_",
    "convergence": "commands.convergence",
    "data": "commands.data",
    "evaluate": "commands.evaluate",
    "evolution": "commands.evolution",
    "export": "commands.export",
    "from_frame": "frames",
    "jobs": "commands.jobs",
    "list_": "commands.list_",
    "merge": "commands.merge",
    "notebook_run": "commands.notebook_run",
    "notebook_serve": "commands.notebook_serve",
    "open": "notebooks.opened",
    "pack": "commands.pack",
    "preset": "presets",
    "prune": "commands.prune",
    "release": "commands.release",
    "report": "commands.report",
    "review_collect": "commands.review_collect",
    "review_create": "commands.review_create",
    "review_forget": "commands.review_forget",
    "review_results": "commands.review_results",
    "review_send": "commands.review_send",
    "review_serve": "commands.review_serve",
    "sample": "commands.sample",
    "submit": "commands.submit",
    "sweep": "commands.sweep",
    "sweep_dashboard": "commands.sweep_dashboard",
    "sweep_show": "commands.sweep_show",
    "sweep_work": "commands.sweep_work",
    "sync": "commands.sync",
    "theory": "commands.theory",
    "to_frame": "frames",
    "train": "commands.train",
    "unpack": "commands.pack",
    "watch": "commands.watch",
}

__all__ = [
    "Column",
    "Discriminator",
    "Encoded",
    "Generator",
    "Method",
    "Objective",
    "OpenedRun",
    "Preparation",
    "Privacy",
    "Run",
    "Schedule",
    "Schema",
    "Sequences",
    "Shape",
    "Stabiliser",
    "Synthesizer",
    "attack",
    "audit",
    "board",
    "branch",
    "check",
    "continue_",
    "convergence",
    "data",
    "evaluate",
    "evolution",
    "export",
    "from_frame",
    "jobs",
    "list_",
    "merge",
    "notebook_run",
    "notebook_serve",
    "open",
    "pack",
    "preset",
    "prune",
    "release",
    "report",
    "review_collect",
    "review_create",
    "review_forget",
    "review_results",
    "review_send",
    "review_serve",
    "sample",
    "submit",
    "sweep",
    "sweep_dashboard",
    "sweep_show",
    "sweep_work",
    "sync",
    "theory",
    "to_frame",
    "train",
    "unpack",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vitalsynth' has no attribute {name!r}")
    return getattr(importlib.import_module(f"vitalsynth.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
