"""Pictures of a run for a letter: learning curves, and what its newest checkpoint draws.

A run may name code of its user, which may take any time and memory, so they are drawn in a process of its own:
`python -m vitalsynth.cluster.watching.drawing RUN FOLDER` leaves them in a folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from ... import sampling
from ...mail import Picture
from ...mail.settings import PREFIX
from ...reporting import figures
from ...runs import Run
from ...storage import atomic_path

TIME = 60.0
"""Seconds in which the pictures of a run are drawn, or it goes without."""
SEQUENCES, CHANNELS = 48, 6
"""How many are drawn and shown."""


def pictures(run: Run) -> list[Picture]:
    """Return the pictures of a run, those that can be drawn; of a run under differential privacy none."""
    if run.record.get("privacy"):
        return []
    # no secrets for code of the user's, and no more than one thread beside the training
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with tempfile.TemporaryDirectory(prefix="vitalsynth-") as folder:
        command = [sys.executable, "-m", __name__, str(run.path.absolute()), folder]
        about = {"env": {**environment, "OMP_NUM_THREADS": "1"}, "stdin": subprocess.DEVNULL, "timeout": TIME}
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **about)
        found = sorted(Path(folder).glob("picture-*.png"))
        return [Picture(file.stem, file.read_bytes(), file.with_suffix(".txt").read_text("utf-8")) for file in found]


def main(path: str, out: str) -> None:
    """Draw what can be drawn, the curves first."""
    os.nice(10)
    run, folder = Run(path), Path(out)
    if len(log := run.log()):
        for column in figures.losses(log):
            _put(folder, figures.coloured(log, column), f"{column} over the steps, coloured by the gradient's norm")
        similar = [(n, c) for n, c in figures.terms(log).items() if c[0].startswith("similarity.")]
        for name, columns in similar[:1]:
            _put(folder, figures.learning(log, columns, name), f"{name} to held-out sequences; lower is closer")
    generator, step = sampling.load_generator(run, device="cpu")
    drawn = sampling.collect(sampling.sample(run, generator, SEQUENCES))
    view = figures.views(drawn.schema)[0]
    _put(folder, figures.snapshot(drawn, view, most=CHANNELS), f"what the checkpoint of step {step:,} draws")


def _put(folder: Path, figure: Figure, alt: str) -> None:
    """Leave what a picture shows, and then the picture, whole or not at all."""
    number = len(list(folder.glob("*.png")))
    (folder / f"picture-{number}.txt").write_text(alt, "utf-8")
    with atomic_path(folder / f"picture-{number}.png") as half:
        Image.fromarray(figures.pixels(figure, dpi=110)).save(half)


if __name__ == "__main__":
    main(*sys.argv[1:])
