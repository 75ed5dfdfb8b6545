"""`vitalsynth evolution`: what a fixed noise becomes through a training."""

from __future__ import annotations

import logging
from pathlib import Path

from .. import checkpoints, runs, sampling
from ..checkpoints import DamagedCheckpoint
from ..reporting import evolution as moving
from ..reporting import figures
from ..runs import Run
from ..sequences import Sequences, nearest
from .progress import Progress

log = logging.getLogger(__name__)


def evolution(
    run: str | list[str],
    *,
    out: str,
    view: str = "",
    count: int = 48,
    frames: int = 60,
    seed: int = 0,
    channels: int = 6,
    device: str = "auto",
    quiet: bool = False,
) -> list[Path]:
    """Draw what one noise becomes from checkpoint to checkpoint, as a moving picture or a strip, with a progress bar.

    Args:
        run: Folders of runs; globs are expanded.
        out: Where to: .gif or .webp moves, .png is a strip of up to eight; {run} in it stands for the run's name.
        view: images, for a run on images; else signals (the first six sequences) or heat-map (all of them, a row each).
        count: Sequences that are drawn.
        frames: Most checkpoints that are shown, evenly apart.
        seed: Of the noise and the conditions, which are the same at every checkpoint.
        channels: Most channels that are shown.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        quiet: No progress bar.

    Returns:
        The files.

    Raises:
        ValueError: if there is no such run or view, or fewer than two checkpoints.
    """
    found = runs.find(run)
    places = runs.destinations(out, found)
    for place in places:
        moving.check(place)
    for each, place in zip(found, places, strict=True):
        known = figures.views(each.preparation.schema)
        if (chosen := view or known[0]) not in known:
            raise ValueError(f"--view {view!r}: {nearest(view, known)}")
        drawn = _drawn(each, count, frames, seed, device, quiet)
        limits = figures.limits_of(sampling.collect(iter(drawn.values())))
        pictures = {step: figures.snapshot(s, chosen, limits, channels) for step, s in drawn.items()}
        place.parent.mkdir(parents=True, exist_ok=True)
        moving.write(place, [(step, figures.pixels(picture)) for step, picture in pictures.items()])
    return places


def _drawn(run: Run, count: int, frames: int, seed: int, device: str, quiet: bool) -> dict[int, Sequences]:
    """Return the sequences of the fixed noise by checkpoint."""
    steps = checkpoints.steps(run.checkpoints)
    if len(steps) < 2:
        raise ValueError(
            f"{run.path} has {len(steps)} checkpoint{'s' * (len(steps) != 1)}; an evolution needs at least 2: train "
            "with a smaller --checkpoint_every"
        )
    chosen = [steps[j] for j in moving.spread(len(steps), max(2, frames))]
    drawn: dict[int, Sequences] = {}
    with Progress(f"drawing from {run.name}", len(chosen), quiet=quiet) as progress:
        for step in chosen:
            try:
                generator, _ = sampling.load_generator(run, step, device)
                drawn[step] = sampling.collect(sampling.sample(run, generator, count, seed=seed))
            except DamagedCheckpoint as error:
                log.warning("%s; it is left out", error)
            progress.advance()
    return drawn
