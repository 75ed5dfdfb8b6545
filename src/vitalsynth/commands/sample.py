"""`vitalsynth sample`: a synthetic cohort from a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import runs, sampling, sources
from ..runs import Run
from ..sampling import parse_pairs
from ..sequences import Sequences
from ..sources import images
from ..storage import refuse_existing
from .progress import Progress


def sample(
    run: str | list[str],
    *,
    count: int,
    out: str = "",
    condition: str | dict[str, str] = "",
    using: str | dict[str, str] = "",
    seed: int = 0,
    checkpoint: int | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> list[Path]:
    """Write a synthetic cohort, in the form of the data it was learned from.

    Args:
        run: Folders of runs; globs are expanded.
        count: Number of sequences.
        out: File to write: .parquet or .csv (a long table with the columns of the original), .npz (arrays), or .png
            (a mosaic, for images); or a folder, in the form that the data came in. It must not exist; {run} in it
            stands for the run's name. By default a Parquet file in the folder samples of the run, named after step,
            count and seed.
        condition: What to fix, such as died=1,sex=Female; other conditions are drawn as in the training data.
        using: Settings of the generator that may be changed after training, such as guidance=2,solver_steps=16 of a
            flow.
        seed: Another seed gives another cohort.
        checkpoint: Step of the checkpoint to sample from; the newest by default.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        quiet: No progress bar.

    Returns:
        The files.

    Raises:
        ValueError: if anything asked for is impossible; of what cannot be written whole, nothing is left behind.
    """
    if count < 1:
        raise ValueError(f"--count must be at least 1, got {count}")
    given = parse_pairs(condition)
    changed = parse_pairs(using, "setting")
    found = runs.find(run)
    if out:
        for place in runs.destinations(out, found):
            refuse_existing(place)
    made = []
    for each in found:
        generator, step = sampling.load_generator(each, checkpoint, device, changed)
        path = runs.destinations(out, [each])[0] if out else _own_place(each, step, count, seed, given | changed)
        _draw(each, path, count, sampling.sample(each, generator, count, given, seed), quiet)
        made.append(path)
    return made


def _draw(run: Run, path: Path, count: int, chunks: Iterator[Sequences], quiet: bool) -> None:
    if path.suffix == ".png":
        if run.preparation.schema.image is None:
            raise ValueError(f"{run.path} did not learn images; write .parquet, .csv or .npz")
        images.save_grid(sampling.collect(chunks), path)
        return
    with (
        sources.writer(path, run.preparation.schema) as writer,
        Progress(f"sampling {run.path}", count, quiet=quiet) as progress,
    ):
        for chunk in chunks:
            writer.write(chunk)
            progress.advance(len(chunk))


def _own_place(run: Run, step: int, count: int, seed: int, given: dict[str, Any]) -> Path:
    """Return a place in the run's own folder that says what is there."""
    fixed = "".join("-" + re.sub(r"[^\w.]+", "_", f"{name}_{value}") for name, value in given.items())
    path = run.path / "samples" / f"{step:08d}-{count}-seed{seed}{fixed}.parquet"
    refuse_existing(path, "it is the same cohort; another --seed draws another")
    path.parent.mkdir(exist_ok=True)
    return path
