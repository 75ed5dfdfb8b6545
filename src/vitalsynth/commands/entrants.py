"""Cohorts to be judged or attacked: drawn from runs, or read from files, each beside its real data."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import count as count_from
from pathlib import Path
from typing import Any

from .. import checkpoints, runs, sampling, sources
from ..runs import Run, pruning
from ..sequences import Sequences, listed
from ..sources.tables import table_like
from ..sweeping.naming import called

log = logging.getLogger(__name__)

MOST = 10_000


@dataclass(frozen=True, eq=False)
class Entrant:
    """A cohort to be judged: what it is called, the real data, itself, and the run it was drawn from, if any."""

    name: str
    about: dict[str, Any]
    train: Sequences
    test: Sequences
    synthetic: Sequences
    label: str = ""
    run: Run | None = None
    baseline: bool = False


def enter(
    what: str | list[str],
    data: str | Sequences,
    drop: list[str],
    settings: dict[str, Any],
    held_out: float,
    count: int,
    checkpoint: str,
    seed: int,
    device: str,
) -> Iterator[Entrant]:
    """Yield each cohort when it is its turn, so that one at a time is drawn.

    Args:
        what: Folders of runs, or files of synthetic sequences.
        data: Real data, as `evaluate` takes them.
        drop: Columns of `data` to leave out.
        settings: Of the source of `data`.
        held_out: Share of the subjects of `data` that are held out.
        count: Sequences to draw from a run; as many as were trained on, at most 10,000, if 0.
        checkpoint: Steps of a run, comma separated, or best, or all; the newest if empty.
        seed: Of the drawing and the split.
        device: Where to draw.

    Raises:
        ValueError: if there is no such cohort, or nothing to compare it with.
    """
    what = [what] if isinstance(what, str) else what
    whose = Run(data) if isinstance(data, str) and data and (Path(data) / "run.json").exists() else None
    found = {pattern: runs.find(pattern) for pattern in what if not Path(pattern).is_file()}
    names = called(run.path for several in found.values() for run in several)
    for pattern in what:
        if Path(pattern).is_file():
            train, test = _real(pattern, data, drop, settings, held_out, seed)
            made = table_like(pattern, train.schema, train.length)
            label = "" if whose is None else default_label(whose)
            yield Entrant(Path(pattern).name, {"of": pattern}, train, test, made, label)
            continue
        for run in found[pattern]:
            train, test = run.data(data if whose is None else "")
            if run.record["data"]["cut"] is None:
                raise ValueError(f"{run.path} held nobody out (--held_out 0), so there is nothing to judge it against")
            for step in steps_of(run, checkpoint):
                generator, step = sampling.load_generator(run, step, device)
                drawn = sampling.collect(sampling.sample(run, generator, count or min(len(train), MOST), seed=seed))
                about = {"of": run.name, "step": step}
                name = f"{names[run.path]} at step {step:,}"
                yield Entrant(name, about, train, test, drawn, default_label(run), run)


def steps_of(run: Run, checkpoint: str) -> list[int | None]:
    """Return the steps of the checkpoints that are asked for; None for the newest."""
    if checkpoint == "all":
        return list(checkpoints.steps(run.checkpoints))
    if bad := [text for text in listed(checkpoint) if text != "best" and not text.isdigit()]:
        raise ValueError(f"--checkpoint takes steps, comma separated, best, or all; got {bad[0]!r}")
    return [pruning.named(run, text) for text in listed(checkpoint)] or [None]


def _real(
    path: str, data: str | Sequences, drop: list[str], settings: dict[str, Any], held_out: float, seed: int
) -> tuple[Sequences, Sequences]:
    """Return real sequences to judge a file against: those that may have been trained on, and those held out."""
    if isinstance(data, str) and not data:
        raise ValueError(f"{path} is a file of sequences; name the real data, or the run it is from, with --data")
    if isinstance(data, str) and (Path(data) / "run.json").exists():
        return Run(data).data()
    log.warning(
        "nothing is known of which subjects the generator of %s saw; if it is of a run, name that as --data", path
    )
    real = sources.read(data, **settings) if isinstance(data, str) else data
    rest = real.drop(drop)
    return runs.part(rest, runs.cut(rest, held_out, seed), seed)


def default_label(run: Run) -> str:
    """Return the first conditioned column that is a class, or nothing."""
    classes = [part.column.name for part in run.preparation.given if part.column.kind != "continuous"]
    return classes[0] if classes else ""


def unlike(name: str, others: Container[str]) -> str:
    """Return the name, with a number if it is taken."""
    return next(each for k in count_from(1) if (each := name if k == 1 else f"{name} ({k})") not in others)
