"""To Weights & Biases, or trackio, which has the same functions: numbers, settings and pictures.

Weights & Biases keeps steps in order, and lets none be added to later: pictures and scores of a step that was logged
come with its number, `step`, as a column of its own. WANDB_MODE=offline sends nothing anywhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..runs import Run
from .records import Exporter, Histogram, Numbers, Picture, Record


class Wandb(Exporter):
    """Makes a run there for a run, and goes on with it."""

    name = "wandb"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.library: Any = import_module(self.name)
        settings = {"id": run.record["id"], "dir": str(run.path)} if self.name == "wandb" else {}
        self.session = self.library.init(
            project="vitalsynth", name=run.name, config=run.asked(), resume="allow", **settings
        )

    def take(self, record: Record) -> None:
        """Hand on a record."""
        match record:
            case Numbers(step, values, _):
                self.session.log({"step": step, **values})
            case Histogram(step, name, values, _) if len(values):
                self.session.log({"step": step, name: self.library.Histogram(values)})
            case Picture(step, name, pixels, _):
                self.session.log({"step": step, name: self.library.Image(pixels)})

    def close(self) -> None:
        """End it, which sends what is left."""
        self.session.finish()


class Trackio(Wandb):
    """The same for trackio."""

    name = "trackio"
