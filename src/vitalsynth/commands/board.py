"""`vitalsynth board`: runs in TensorBoard, or in another tracker."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from typing import Literal

from .. import runs
from ..processes import StopFlag
from ..runs import Run
from ..sweeping.naming import called
from ..trackers import Exporter
from .entrants import unlike

EXPORTERS = {
    "tensorboard": ("tensorboard", "EventFiles"),
    "mlflow": ("mlflow", "MLflow"),
    "wandb": ("wandb", "Wandb"),
    "trackio": ("wandb", "Trackio"),
}
INTERVAL = 10.0
"""Seconds between two looks at a run that is followed."""


def board(
    run: str | list[str],
    *,
    to: Literal["tensorboard", "mlflow", "wandb", "trackio"] = "tensorboard",
    follow: bool = False,
    no_serve: bool = False,
    port: int = 0,
) -> list[Run]:
    """Show runs in TensorBoard: the log, weights and gradients, samples of a fixed noise, settings beside scores.

    Everything is read off the runs' folders, also while they are trained elsewhere, and goes to `tensorboard/` in each;
    only what is new is written. The page is for this machine alone; Ctrl-C ends it.

    Args:
        run: Folders of runs; globs are expanded.
        to: tensorboard; or mlflow, wandb or trackio, which must be installed and are told in their own way where to
            write (MLFLOW_TRACKING_URI, WANDB_MODE=offline, TRACKIO_DIR); they show the page themselves.
        follow: Go on writing what is new: as long as the page is shown, or until no run is being trained.
        no_serve: Only write.
        port: Where the page is shown; 0 picks a free one.

    Returns:
        The runs.

    Raises:
        ValueError: if there is no such run, it holds a generator only, the tracker is not installed or the port taken.
    """
    named: dict[str, Run] = {}
    found = runs.find(run)
    names = called(each.path for each in found)
    for each in found:
        if each.record.get("generator_only"):
            raise ValueError(f"{each.path} holds a generator only, and nothing of its training")
        named[unlike(names[each.path].replace(os.sep, "-"), named)] = each
    exporters = [_exporter(to)(each) for each in named.values()]
    try:
        for exporter in exporters:
            exporter.update()
        with StopFlag() as stop:
            if to == "tensorboard" and not no_serve:
                from ..trackers.tensorboard import serving

                with serving(named, port) as url:
                    print(f"TensorBoard is at {url} (Ctrl-C ends it)", file=sys.stderr, flush=True)
                    while not stop.raised:
                        _wait(stop)
                        if follow:
                            _update(exporters)
            while follow and no_serve and not stop.raised and any(each.state() == "running" for each in named.values()):
                _wait(stop)
                _update(exporters)
    finally:
        for exporter in exporters:
            exporter.close()
    return list(named.values())


def _update(exporters: list[Exporter]) -> None:
    for exporter in exporters:
        exporter.update()


def _wait(stop: StopFlag) -> None:
    """Wait for the next look, or until somebody asks to stop."""
    until = time.monotonic() + INTERVAL
    while not stop.raised and time.monotonic() < until:
        time.sleep(0.1)


def _exporter(to: str) -> type[Exporter]:
    """Import an exporter.

    Raises:
        ValueError: if its library is not installed; with what to do.
    """
    module, name = EXPORTERS[to]
    try:
        return getattr(import_module(f"..trackers.{module}", __package__), name)
    except ModuleNotFoundError as error:
        raise ValueError(f"--to {to} needs {error.name}: pip install {to}") from None
