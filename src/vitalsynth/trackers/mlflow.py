"""To MLflow, wherever MLFLOW_TRACKING_URI says: numbers, settings as parameters, pictures as artifacts.

Histograms and the graph have no place there and are left out.
"""

from __future__ import annotations

import time

from mlflow import MlflowClient  # type: ignore[import-not-found]
from mlflow.entities import Metric, Param  # type: ignore[import-not-found]

from .. import storage
from ..runs import Run
from .records import Asked, Exporter, Numbers, Picture, Record

EXPERIMENT = "vitalsynth"
AT_ONCE, LONGEST = 1000, 500
"""Metrics in a batch, and letters of a parameter, that every MLflow server takes."""


class MLflow(Exporter):
    """Makes a run of MLflow for a run, and goes on with it."""

    name = "mlflow"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.client = MlflowClient()  # type: ignore[operator]
        self.waiting: list[Metric] = []
        known = self.folder / "run_id"
        if not known.exists():
            found = self.client.get_experiment_by_name(EXPERIMENT)
            experiment = found.experiment_id if found else self.client.create_experiment(EXPERIMENT)
            made = self.client.create_run(experiment, run_name=run.name)
            self.folder.mkdir(exist_ok=True)
            with storage.atomic_path(known) as temporary:
                temporary.write_text(made.info.run_id)
        self.id = known.read_text()

    def take(self, record: Record) -> None:
        """Hand on a record."""
        match record:
            case Numbers(step, values, at):
                when = round(1000 * (at or time.time()))
                self.waiting += [Metric(_name(name), value, when, step) for name, value in values.items()]
                if len(self.waiting) >= AT_ONCE:
                    self.flush()
            case Picture(step, name, pixels, _):
                self.client.log_image(self.id, pixels, key=_name(name), step=step)
            case Asked(settings) if not self.position.begun:
                params = [Param(_name(name), str(value)[:LONGEST]) for name, value in settings.items()]
                self.client.log_batch(self.id, params=params)

    def flush(self) -> None:
        """Send the numbers that wait."""
        for first in range(0, len(self.waiting), AT_ONCE):
            self.client.log_batch(self.id, metrics=self.waiting[first : first + AT_ONCE])
        self.waiting = []


def _name(name: str) -> str:
    """Return a name of the letters that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in name)
