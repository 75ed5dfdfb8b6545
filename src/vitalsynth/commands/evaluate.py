"""`vitalsynth evaluate`: how faithful and how useful a run's sequences, or anybody's, are."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import checkpoints, runs, sampling, sources
from ..evaluation import scorecard
from ..runs import Run
from ..sequences import Sequences, listed
from ..sources.tables import table_like

log = logging.getLogger(__name__)

MOST = 10_000


def evaluate(
    what: list[str],
    *,
    label: str = "",
    data: str | Sequences = "",
    drop: str | list[str] = "",
    held_out: float = 0.2,
    count: int = 0,
    checkpoint: str = "",
    seed: int = 0,
    device: str = "auto",
    source: dict[str, Any] | None = None,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Judge synthetic sequences against real ones that training never saw, every score beside its floor.

    The floor is the same score for real against held-out real: nothing can honestly be better. Scores of a run are also
    added to its evaluation.jsonl.

    Args:
        what: Folders of runs (globs are expanded), or files of synthetic sequences, which need --data.
        label: Static column to predict (train on synthetic, test on real); by default the first condition that is a
            class.
        data: Real data that a file is judged against: a source's name, a file, or a run, whose held-out subjects are
            taken. Of a run, where its data lie now, if they were moved. From Python also the data themselves.
        drop: Columns of --data to leave out, comma separated.
        held_out: Share of the subjects of --data to judge against; a run knows its own.
        count: Synthetic sequences to draw from a run; as many as were trained on, at most 10,000, by default.
        checkpoint: Steps of the checkpoints of a run to judge, comma separated, or all; the newest by default.
        seed: Of sampling, splits and judges.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        source: Settings of the source of --data, as --source.NAME on the command line.
        quiet: No progress bar and no table.

    Returns:
        A row a score.

    Raises:
        ValueError: if there is nothing to judge against, or a column is unknown.
    """
    rows: list[dict[str, Any]] = []
    for pattern in what:
        if Path(pattern).is_file():
            real = _real(pattern, data, listed(drop), source or {}, held_out, seed)
            rows += _judge(
                {"of": pattern}, *real, table_like(pattern, real[0].schema, real[0].length), label, seed, quiet
            )
            continue
        for run in runs.find(pattern):
            train, test = run.data(data)
            if run.record["data"]["cut"] is None:
                raise ValueError(f"{run.path} held nobody out (--held_out 0), so there is nothing to judge it against")
            for step in _steps(run, checkpoint):
                generator, step = sampling.load_generator(run, step, device)
                drawn = sampling.sample(run, generator, count or min(len(train), MOST), seed=seed)
                about = {"of": run.name, "step": step}
                judged = _judge(about, train, test, sampling.collect(drawn), label or default_label(run), seed, quiet)
                run.add_evaluations(judged)
                rows += judged
    return rows


def _judge(
    about: dict[str, Any], train: Sequences, test: Sequences, synthetic: Sequences, label: str, seed: int, quiet: bool
) -> list[dict[str, Any]]:
    what = about["of"] + (f" at step {about['step']:,}" if "step" in about else "")
    with Console(stderr=True, quiet=quiet).status(f"judging {what}") as status:
        say = lambda stage: status.update(f"judging {what}: {stage}")  # noqa: E731
        scores = scorecard.evaluate(train, test, synthetic, label or None, seed, say)
    Console(quiet=quiet).print(scorecard.table(scores, what))
    common = {**about, "label": label or None, "seed": seed, "time": round(time.time())}
    sizes = {"trained_on": len(train), "held_out": len(test), "synthetic": len(synthetic)}
    return [{**common, **sizes, **score} for score in scores]


def _steps(run: Run, checkpoint: str) -> list[int | None]:
    if checkpoint == "all":
        return list(checkpoints.steps(run.checkpoints))
    if bad := [text for text in listed(checkpoint) if not text.isdigit()]:
        raise ValueError(f"--checkpoint takes steps, comma separated, or all; got {bad[0]!r}")
    return [int(text) for text in listed(checkpoint)] or [None]


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
