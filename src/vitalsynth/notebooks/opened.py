"""A run, opened at a prompt or in a notebook: what a run folder holds, its networks, and pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import checkpoints, sampling
from ..evaluation.scorecard import Scorecard
from ..generators import Generator
from ..learner import Learner
from ..reporting import figures, page
from ..runs import Run
from ..sequences import Sequences
from .display import Live
from .pictures import Pictures, drawn


class OpenedRun(Run):
    """A run with its networks and pictures; everything is read anew, so that it may be trained elsewhere meanwhile.

    Args:
        path: Its folder.

    Raises:
        ValueError: as `Run`.
    """

    def networks(self, checkpoint: int | None = None) -> dict[str, Any]:
        """Return `generator`, averaged over the steps, and whatever played with it, on the CPU, not to be trained.

        Args:
            checkpoint: Of which step; the newest by default.

        Raises:
            ValueError: if there is no such checkpoint.
        """
        generator, step = self._generator(checkpoint)
        if self.record.get("generator_only"):
            return {"generator": generator}
        learner = Learner.build(self.settings_at(step), torch.device("cpu"))
        learner.load(*checkpoints.load(self.checkpoint(step)), self.record)
        others = {name: network.eval().requires_grad_(False) for name, network in learner.networks.items()}
        return others | {"generator": generator}

    def _generator(self, checkpoint: int | None = None) -> tuple[Generator, int]:
        return sampling.load_generator(self, checkpoint, "cpu")

    def sample(
        self, count: int, condition: str | Mapping[str, Any] = "", seed: int = 0, checkpoint: int | None = None
    ) -> Sequences:
        """Draw synthetic sequences; `vitalsynth.to_frame` makes a long DataFrame of them.

        Args:
            count: How many.
            condition: What to fix, `{"died": 1}` or `"died=1"`; other conditions are drawn as in the training data.
            seed: Another seed gives other sequences.
            checkpoint: Of which step; the newest by default.

        Raises:
            ValueError: if a fixed column is not conditioned on, or there is no such checkpoint.
        """
        given = sampling.parse_pairs(condition)
        return sampling.collect(sampling.sample(self, self._generator(checkpoint)[0], count, given, seed))

    def scores(self) -> Scorecard:
        """Return the scores of the newest checkpoint that was judged, the last of each."""
        rows = self.evaluations()
        newest = max((row["step"] for row in rows), default=0)
        last = {(row["metric"], row["label"]): row for row in rows if row["step"] == newest}
        return Scorecard(last.values())

    def show(self, count: int = 500, seed: int = 0, data: str | Sequences = "") -> Pictures:
        """Draw held-out sequences beside synthetic ones, a picture a channel.

        Args:
            count: How many are drawn from the run; pictures show some of them.
            seed: Of what is drawn.
            data: Where the data lie now, if they were moved, or the data themselves.

        Raises:
            ValueError: if the data cannot be read, or there is no checkpoint.
        """
        _, real = self.data(data)
        synthetic = self.sample(count, seed=seed)
        title = f"{self.name}: held-out and synthetic sequences"
        if real.schema.image is not None:
            shades, both = figures.pixel_span(real), {"real": real, "synthetic": synthetic}
            return Pictures((drawn(figures.mosaic(each, shades), what, what) for what, each in both.items()), title)
        names = [column.name for column in real.schema.channels][: page.CHANNELS]
        draw = lambda name: drawn(figures.examples(real, synthetic, name), f"{name}: real and synthetic")  # noqa: E731
        return Pictures(map(draw, names), title)

    def curves(self, every: float = 2.0, follow: bool = True) -> Pictures | None:
        """Show the learning curves, and go on showing them while another process trains the run.

        In a notebook the picture is renewed in place until training ends; interrupting the cell ends looking, not the
        training. Elsewhere, and when nobody trains it, the pictures of now are returned.

        Args:
            every: Seconds between two looks.
            follow: Go on while it is trained.
        """
        if not (follow and Live.possible() and self.state() == "running"):
            return self._curves()
        live = Live()
        try:
            while True:
                running = self.state() == "running"
                curves = self._curves()
                live.show(curves._repr_html_(), repr(curves))
                if not running:
                    return None
                time.sleep(every)
        except KeyboardInterrupt:
            return None

    def _curves(self) -> Pictures:
        log = self.log()
        terms = figures.terms(log) if len(log) else {}
        pictures = [drawn(figures.learning(log, columns, term), term) for term, columns in terms.items()]
        return Pictures(pictures, f"{self.name}: step {len(log) + self.start:,}, {self.state()}")


def open(path: str | Path | Run) -> OpenedRun:
    """Open a run in one line: `run = vitalsynth.open("runs/a")`.

    `run` shows itself in a notebook; `run.log()` is a DataFrame, `run.data()` the training and held-out sequences,
    `run.networks()` the networks, `run.sample(100)` a cohort, `run.show()` real beside synthetic, `run.curves()` the
    learning curves, live while it is trained elsewhere, and `run.scores()` its scorecard.

    Raises:
        ValueError: if there is no run.
    """
    return OpenedRun(path.path if isinstance(path, Run) else path)
