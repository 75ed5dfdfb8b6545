"""To Weights & Biases, or trackio, which has nearly the same functions: numbers, settings and pictures.

Weights & Biases keeps its own count of what was logged and lets nothing be added to an earlier one, so the step comes
as a number, by which everything is drawn. WANDB_MODE=offline sends nothing anywhere; trackio keeps what it gets in
TRACKIO_DIR, and lets steps come in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        self.session = self.begin(run)

    def begin(self, run: Run) -> Any:
        """Return the run there."""
        about = {"project": "vitalsynth", "name": run.name, "config": run.asked()}
        session = self.library.init(id=run.record["id"], dir=str(run.path), resume="allow", **about)
        session.define_metric("*", step_metric="step")
        return session

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Log something of a step."""
        self.session.log({"step": step, **values})

    def take(self, record: Record) -> None:
        """Hand on a record."""
        match record:
            case Numbers(step, values, _):
                self.log(step, values)
            case Histogram(step, name, values, _) if len(values):
                self.log(step, {name: self.library.Histogram(values)})
            case Picture(step, name, pixels, _):
                self.log(step, {name: self.library.Image(pixels)})

    def close(self) -> None:
        """End it, which sends what is left."""
        self.session.finish()


class Trackio(Wandb):
    """The same for trackio."""

    name = "trackio"

    def begin(self, run: Run) -> Any:
        """Return the run there."""
        return self.library.init(project="vitalsynth", name=run.name, config=run.asked(), resume="allow")

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Log something of a step."""
        self.session.log(dict(values), step=step)
