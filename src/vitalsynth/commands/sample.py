"""`vitalsynth sample`: a synthetic cohort from a run."""

from __future__ import annotations

from pathlib import Path

from .. import frames, runs, sampling
from ..sampling import parse_condition
from ..sources import images
from .progress import Progress


def sample(
    run: str,
    *,
    count: int,
    out: str,
    condition: str | dict[str, str] = "",
    seed: int = 0,
    checkpoint: int | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> Path:
    """Write a synthetic cohort, in the form of the data it was learned from.

    Args:
        run: Folder of the run.
        count: Number of sequences.
        out: File to write: .parquet or .csv (a long table with the columns of the original), .npz (arrays), or .png
            (a mosaic, for images). It must not exist.
        condition: What to fix, such as died=1,sex=Female; other conditions are drawn as in the training data.
        seed: Another seed gives another cohort.
        checkpoint: Step of the checkpoint to sample from; the newest by default.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        quiet: No progress bar.

    Returns:
        The file.

    Raises:
        ValueError: if anything asked for is impossible; nothing is left behind.
    """
    path = Path(out)
    if path.exists():
        raise ValueError(f"{out} exists; remove it or choose another --out")
    if count < 1:
        raise ValueError(f"--count must be at least 1, got {count}")
    found = runs.find(run)
    if len(found) > 1:
        raise ValueError(f"{run!r} matches {len(found)} runs; a cohort is drawn from one")
    opened = found[0]
    given = parse_condition(condition)
    generator, _ = sampling.load_generator(opened, checkpoint, device)
    chunks = sampling.sample(opened, generator, count, given, seed)
    if path.suffix == ".png":
        if opened.preparation.schema.image is None:
            raise ValueError(f"{opened.path} did not learn images; write .parquet, .csv or .npz")
        images.save_grid(sampling.collect(chunks), path)
        return path
    with (
        frames.writer(path, opened.preparation.schema) as writer,
        Progress(f"sampling {opened.path}", count, quiet=quiet) as progress,
    ):
        for chunk in chunks:
            writer.write(chunk)
            progress.advance(len(chunk))
    return path
