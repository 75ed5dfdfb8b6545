"""What trials are compared by: figures of the log while a run is trained, or of `evaluate` when it has been."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from ..evaluation import metric
from ..monitoring.similarity import Measure
from ..runs import Run
from ..sequences import nearest

LOGGED = ("similarity", "generator", "discriminator", "gradients", "privacy")
"""What names of figures in the log begin with."""
SAID = ("min", "max", "best", "last")
PEOPLE = "people"
"""The score that people give by comparing pictures, when runs have been trained (`vitalsynth review`)."""


@dataclass(frozen=True)
class Score:
    """A figure of a run, and whether more of it is better.

    Args:
        name: A column of the log, `similarity.mmd`, or a metric of `vitalsynth.evaluation`, `tstr`, whose first figure
            it is; or `people`.
        direction: min or max; empty for what the metric itself says: higher, lower, or near the floor, which is the
            distance from it.
        best: Of the log, the best ever rather than the last.
    """

    name: str
    direction: str
    best: bool = False

    @classmethod
    def parse(cls, text: str) -> Score:
        """Read `similarity.mmd`, `similarity.mmd:best`, `generator.nll:min` or `tstr`.

        Raises:
            ValueError: if there is no such score, or it is not known which way is better.
        """
        name, *said = text.split(":")
        if unknown := [word for word in said if word not in SAID]:
            raise ValueError(f"--score {text}: behind the name come {', '.join(SAID)}; got {unknown[0]!r}")
        if name == PEOPLE and not said:
            return cls(name, "max")
        direction = next((word for word in said if word in ("min", "max")), "")
        if name.partition(".")[0] in LOGGED:
            if name.startswith("similarity."):
                measure, known = name.removeprefix("similarity.").partition("[")[0], get_args(Measure)
                if measure not in known:
                    raise ValueError(f"--score {text}: no measure {measure!r}; {nearest(measure, known)}")
            elif not direction:
                raise ValueError(f"--score {text}: say which way is better, {name}:min or {name}:max")
            return cls(name, direction or "min", "best" in said)
        if "best" in said or "last" in said:
            raise ValueError(f"--score {text}: best and last are of figures in the log, such as similarity.mmd:best")
        try:
            metric.find(name)
        except ValueError as error:
            raise ValueError(
                f"--score {text}: {error}; or a column of the log, such as similarity.mmd, or people"
            ) from None
        return cls(name, direction)

    @property
    def logged(self) -> bool:
        return self.name.partition(".")[0] in LOGGED

    @property
    def maximised(self) -> bool:
        return self.direction == "max" or (not self.direction and self._figure().better == "higher")

    def of(self, run: Run) -> float:
        """Return it of a run.

        Raises:
            ValueError: if the run does not have it.
        """
        if self.logged:
            log = run.log()
            if self.name not in log:
                raise ValueError(f"the log has no {self.name!r}; {nearest(self.name, map(str, log.columns))}")
            known = log[self.name].dropna().to_numpy(np.float64)
            return float((known.max() if self.maximised else known.min()) if self.best else known[-1])
        row = self.row(run)
        if row is None or row["value"] is None:
            raise ValueError(f"{self.name} has no value" + (f": {row['about']}" if row else ""))
        if self.direction or row["better"] != "near floor" or row["floor"] is None:
            return row["value"]
        return abs(row["value"] - row["floor"])

    def row(self, run: Run) -> dict[str, Any] | None:
        """Return the newest row of evaluation.jsonl that has it, of the run as it is; None if there is none."""
        figure, step = self._figure(), run.step
        title, several = figure.title.format(key=""), figure.key == "*"
        fits = lambda name: name.startswith(title) if several else name == title  # noqa: E731
        rows = (row for row in reversed(run.evaluations()) if row["step"] == step and fits(row["metric"]))
        return next(rows, None)

    def _figure(self) -> metric.Figure:
        return metric.said(metric.find(self.name)).figures[0]


def to_evaluate(scores: Iterable[Score], run: Run) -> Iterator[str]:
    """Yield the metrics that a run has still to be judged by."""
    for score in scores:
        if score.name != PEOPLE and not score.logged and score.row(run) is None:
            yield score.name
