# pyright: strict, reportMissingTypeStubs=false
"""The two-line way in: `Synthesizer(condition="died").fit(frame).sample(100)`."""

from __future__ import annotations

import inspect
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from . import frames, presets, sampling
from .commands.train import Stopped, train
from .runs import Run
from .sampling import parse_pairs
from .sequences import Sequences, nearest
from .storage import atomic_folder, copy_folder

log = logging.getLogger(__name__)


class Synthesizer:
    """Learns a cohort and draws synthetic ones, from Python.

    Args:
        preset: Settings that are good together, such as `"strong"`; whatever else is given wins.
        settings: Any setting of `vitalsynth.train`: steps, condition, normalise, generator, seed, device, ...

    Raises:
        ValueError: if a preset or setting is unknown.

    Attributes:
        run: The run behind it, once fitted or loaded.
    """

    def __init__(self, *, preset: str = "", **settings: Any) -> None:
        """Say how it shall learn: `Synthesizer(preset="strong", condition="died", steps=2000)`."""
        known = [name for name in inspect.signature(train).parameters if name not in ("data", "out")]
        if unknown := [name for name in settings if name not in known]:
            raise ValueError(f"no setting {unknown[0]!r}; {nearest(unknown[0], [*known, 'preset'])}")
        self.settings: dict[str, Any] = {**(presets.preset(preset) if preset else {}), **settings}
        self._run: Run | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def run(self) -> Run:
        if self._run is None:
            raise ValueError("nothing has been learned yet; call fit first")
        return self._run

    def fit(self, data: pd.DataFrame | Sequences, **columns: Any) -> Synthesizer:
        """Learn from a long DataFrame (a row per id and time), or from Sequences.

            synthesizer.fit(frame, id="stay", time="hour", subject="patient", step=1)

        Args:
            data: What to learn from.
            columns: How to read a DataFrame, as `from_frame` says: `id`, `time`, `subject` name its columns, `step` is
                the width of a bin of time, `categorical` names columns of codes.

        Raises:
            ValueError: if the data cannot be read or learned from.
        """
        sequences = frames.from_frame(data, **columns) if isinstance(data, pd.DataFrame) else data
        folder = tempfile.TemporaryDirectory(prefix="vitalsynth-")
        path = Path(folder.name) / "run"
        try:
            self._run = train(sequences, out=str(path), **self.settings)
        except Stopped as stopped:
            log.warning("%s; it can be sampled and saved as it is", str(stopped).partition(";")[0])
            self._run = Run(path)
        self._folder = folder
        return self

    def sample(self, count: int, condition: str | Mapping[str, Any] = "", seed: int = 0) -> pd.DataFrame:
        """Draw a synthetic cohort as a long DataFrame with the columns of the original.

        Args:
            count: Number of sequences.
            condition: What to fix, `{"died": 1}` or `"died=1"`; other conditions are drawn as in the training data.
            seed: Another seed gives another cohort.

        Raises:
            ValueError: if a fixed column is not conditioned on, or has no such category.
        """
        return frames.to_frame(self.sample_sequences(count, condition, seed))

    def sample_sequences(self, count: int, condition: str | Mapping[str, Any] = "", seed: int = 0) -> Sequences:
        """Draw a synthetic cohort as Sequences; the arguments are those of `sample`."""
        device = self.settings.get("device", "auto")
        generator, _ = sampling.load_generator(self.run, device=device)
        return sampling.collect(sampling.sample(self.run, generator, count, parse_pairs(condition), seed))

    def save(self, path: str | Path) -> Run:
        """Keep what was learned as a run folder, which every command takes.

        Raises:
            ValueError: if something is there already, or nothing has been learned.
        """
        with self.run.lock(), atomic_folder(path) as folder:
            copy_folder(self.run.path, folder)
        return Run(path)

    @classmethod
    def load(cls, path: str | Path) -> Synthesizer:
        """Open a run, from `save` or from the command line, to sample from it."""
        synthesizer = cls()
        synthesizer._run = Run(path)
        return synthesizer
