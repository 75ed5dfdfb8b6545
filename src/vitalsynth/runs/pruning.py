"""What of a run can go: checkpoints, log rows that no checkpoint reaches, and what dead processes left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import checkpoints, storage
from ..sequences import nearest
from . import jsonl
from .run import Run


@dataclass(frozen=True)
class Pruning:
    """What would go.

    Args:
        run: Of which run.
        steps: Checkpoints to remove.
        kept: Checkpoints to keep, and why.
        rows: Rows of the log beyond the newest checkpoint.
        left_over: Hidden files and folders of dead processes.
        bytes: What all that takes up.
    """

    run: Run
    steps: tuple[int, ...]
    kept: dict[int, str]
    rows: int
    left_over: tuple[Path, ...]
    bytes: int


def plan(run: Run, keep_last: int = 1, keep_every: int = 0, keep_best: str = "") -> Pruning:
    """Say what would go if a run kept its last few checkpoints, every n-th step, and the best by a score.

    The newest whole checkpoint always stays, and the best by the similarity that the run's record names. Damaged
    checkpoints are not counted, and are left alone.

    Raises:
        ValueError: if the run has no whole checkpoint, or there is no such score.
    """
    if keep_last < 1:
        raise ValueError(f"--keep_last must be at least 1, got {keep_last}: the newest checkpoint always stays")
    if keep_every < 0:
        raise ValueError(f"--keep_every must not be negative, got {keep_every}")
    newest = run.step
    there = checkpoints.steps(run.checkpoints)
    kept: dict[int, str] = {}
    for step in reversed(there):
        if step > newest or not _whole(run, step):
            kept[step] = "damaged"
        else:
            kept[step] = "last"
            if list(kept.values()).count("last") == keep_last:
                break
    kept |= {
        step: f"every {keep_every}" for step in there if keep_every and step % keep_every == 0 and step not in kept
    }
    if keep_best:
        kept[best(run, keep_best)] = f"best {keep_best}"
    if own := most_similar(run):
        kept.setdefault(own, f"best {own_measure(run)}")
    going = tuple(step for step in there if step not in kept)
    log = run.path / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
    beyond = lines[newest - run.start :]
    left_over = tuple(path for folder in (run.path, run.checkpoints) for path in folder.glob(storage.HALF))
    paths = [checkpoints.at(run.checkpoints, step) for step in going] + list(left_over)
    freed = sum(map(storage.size, paths)) + sum(map(len, beyond))
    return Pruning(run, going, dict(sorted(kept.items())), len(beyond), left_over, freed)


def _whole(run: Run, step: int) -> bool:
    try:
        checkpoints.read(checkpoints.at(run.checkpoints, step))
    except checkpoints.DamagedCheckpoint:
        return False
    return True


def own_measure(run: Run) -> str:
    """Return the similarity measure by which the run's record says that a checkpoint is the best."""
    return run.record.get("similarity", {}).get("best", "mmd")


def most_similar(run: Run, measure: str = "") -> int | None:
    """Return the step of the checkpoint that was most similar to held-out sequences while training; None if none was.

    Args:
        run: Which.
        measure: A `similarity.<measure>` of its log; by default that which its record names.
    """
    key, there = f"similarity.{measure or own_measure(run)}", set(checkpoints.steps(run.checkpoints))
    logged = {row["step"]: row[key] for row in jsonl.rows(run.path / "log.jsonl") if key in row}
    return min(there & logged.keys(), key=lambda step: (logged[step], -step), default=None)


def named(run: Run, checkpoint: str | int | None) -> int | None:
    """Return the step of a checkpoint that is named by its step or as `best`; None for the newest.

    Raises:
        ValueError: if it is neither, or no checkpoint was compared while training.
    """
    if checkpoint is None or checkpoint == "":
        return None
    if checkpoint != "best":
        if not str(checkpoint).isdigit():
            raise ValueError(f"--checkpoint takes a step, or best; got {checkpoint!r}")
        return int(checkpoint)
    if (step := most_similar(run)) is None:
        raise ValueError(
            f"no checkpoint that {run.path} still has was compared by {own_measure(run)} while it was trained, see "
            "'train --similarity.every'; name a step"
        )
    return step


def best(run: Run, metric: str) -> int:
    """Return the step of the checkpoint that scored best: nearest to its floor, highest or lowest, as the score says.

    Raises:
        ValueError: if no checkpoint that is still there has the score.
    """
    if (step := most_similar(run, metric)) is not None:
        return step
    rows = [row for row in run.evaluations() if row["value"] is not None]
    if metric not in (known := sorted({row["metric"] for row in rows})):
        raise ValueError(f"{run.path} has no score {metric!r}; {nearest(metric, known)}")
    there = checkpoints.steps(run.checkpoints)
    latest = {row["step"]: row for row in rows if row["metric"] == metric and row["step"] in there}
    if not latest:
        raise ValueError(
            f"no checkpoint that {run.path} still has was judged by {metric!r}; see 'evaluate --checkpoint'"
        )
    return min(latest, key=lambda step: (_badness(latest[step]), -step))


def _badness(row: dict[str, Any]) -> float:
    if row["better"] == "near floor":
        return abs(row["value"] - row["floor"])
    return row["value"] if row["better"] == "lower" else -row["value"]


def prune(planned: Pruning) -> None:
    """Do it. Whatever happens meanwhile, the newest checkpoint can be loaded.

    Raises:
        ValueError: if the run is in use, or has changed since it was planned.
    """
    run = planned.run
    with run.lock():
        newest = run.step
        if newest in planned.steps:
            raise ValueError(f"{run.path} has changed; plan again")
        run.cut_log(newest)
        for step in planned.steps:
            storage.remove(checkpoints.at(run.checkpoints, step))
        for folder in (run.path, run.checkpoints):
            storage.clear(folder)
