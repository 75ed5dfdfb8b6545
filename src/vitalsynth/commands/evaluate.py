"""`vitalsynth evaluate`: how faithful and how useful a run's sequences, or anybody's, are."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

from .. import sampling
from ..evaluation import comparison, scorecard, tasks
from ..evaluation.baselines import BASELINES, copy
from ..evaluation.nearest import find_nearest
from ..notebooks.display import Live
from ..reporting import cards
from ..sequences import Sequences, listed
from .entrants import MOST, Entrant, enter, unlike
from .progress import Status

MOST_CONTINUED, DRAWS = 300, 50
PICTURED = 12
"""Cohorts, the best, of which a report has pictures."""


def evaluate(
    what: str | list[str],
    *,
    label: str = "",
    task: str = "",
    data: str | Sequences = "",
    drop: str | list[str] = "",
    held_out: float = 0.2,
    count: int = 0,
    checkpoint: str = "",
    metrics: str | list[str] = "",
    baselines: bool = False,
    past_steps: int = 0,
    report: str = "",
    seed: int = 0,
    device: str = "auto",
    source: dict[str, Any] | None = None,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Judge synthetic sequences against real ones that training never saw, every score beside its floor.

    The floor is the same score for real against held-out real: nothing can honestly be better. Scores of a run are also
    added to its evaluation.jsonl. Several runs or files are set beside each other, best first.

    Args:
        what: Folders of runs (globs are expanded), or files of synthetic sequences, which need --data.
        label: Static column, or channel, to predict (train on synthetic, test on real); by default the first condition
            that is a class.
        task: Predict and score what a benchmark does, in both directions: in-hospital-mortality, decompensation,
            length-of-stay or phenotyping.
        data: Real data that a file is judged against: a source's name, a file, or a run, whose held-out subjects are
            taken. Of a run, where its data lie now, if they were moved. From Python also the data themselves.
        drop: Columns of --data to leave out, comma separated.
        held_out: Share of the subjects of --data to judge against; a run knows its own.
        count: Synthetic sequences to draw from a run; as many as were trained on, at most 10,000, by default.
        checkpoint: Steps of the checkpoints of a run to judge, comma separated, or all; best is that which was most
            similar to held-out sequences while training; the newest by default.
        metrics: What to ask, comma separated: names of metrics of vitalsynth.evaluation, or import paths of your own,
            my_lab.judges.beats; those of the scorecard by default.
        baselines: Also judge what every model must beat, learned from the same sequences: a normal distribution, a
            block bootstrap, and a copy, which must be flagged.
        past_steps: Also let held-out sequences go on from so many of their first steps, if the run can, and compare
            with what came; the label is not given away. 0 does not.
        report: Write the scorecards, and a comparison if there are several, to this file: .html, .md, .tex or .json.
        seed: Of sampling, splits and judges.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        source: Settings of the source of --data, as --source.NAME on the command line.
        quiet: No progress bar and no table.

    Returns:
        A row a score.

    Raises:
        ValueError: if there is nothing to judge against, or a column or a metric is unknown.
    """
    cards.check(report)
    if task and label:
        raise ValueError("--task says what the label is; leave out --label")
    label = tasks.check(task) if task else label
    asked = listed(metrics)
    judged: dict[str, list[dict[str, Any]]] = {}
    pictured: dict[str, Entrant] = {}
    held_out_sets: set[str] = set()
    entrants = enter(what, data, listed(drop), source or {}, held_out, count, checkpoint, seed, device)
    for entrant in _with_baselines(entrants, count, seed) if baselines else entrants:
        own = label or entrant.label
        more = _continuation(entrant, own, past_steps, seed, device) if past_steps and not entrant.baseline else []
        if task and not asked:
            more += scorecard.evaluate(entrant.train, entrant.test, entrant.synthetic, own, seed, metrics=["trts"])
        rows = _judge(entrant, own, asked, seed, quiet, more)
        if entrant.run is not None:
            entrant.run.add_evaluations(rows)
        name = unlike(entrant.name, judged)
        judged[name], pictured[name] = rows, entrant
        if len(pictured) > PICTURED:
            del pictured[comparison.ranked({name: judged[name] for name in pictured})[-1]]
        held_out_sets.add(entrant.test.digest())
    if len(judged) > 1:
        console = Console(quiet=quiet)
        console.print(comparison.table(judged, console.width))
    if report:
        _report(report, judged, pictured, len(held_out_sets), seed)
    return scorecard.Scorecard(row for rows in judged.values() for row in rows)


def _with_baselines(entrants: Iterator[Entrant], count: int, seed: int) -> Iterator[Entrant]:
    """Yield cohorts, then those of the baselines, which learn from what the first of them learned from."""
    first = next(entrants)
    yield first
    yield from entrants
    for name, draw in BASELINES.items():
        drawn = draw(first.train, count or min(len(first.train), MOST), seed)
        yield Entrant(
            name,
            {"of": name, **({"copy": True} if draw is copy else {})},
            first.train,
            first.test,
            drawn,
            first.label,
            baseline=True,
        )


def _continuation(entrant: Entrant, label: str, steps: int, seed: int, device: str) -> list[dict[str, Any]]:
    """Let held-out sequences go on from their first steps, and judge that.

    Raises:
        ValueError: if it is no run, its generator cannot, or no sequence is that long.
    """
    run, test = entrant.run, entrant.test
    if run is None:
        raise ValueError(f"--past_steps needs a run, which can go on from a past; {entrant.name} is a file")
    long = test.take(np.flatnonzero(test.lengths > steps)[:MOST_CONTINUED])
    if not len(long):
        raise ValueError(f"no held-out sequence of {run.path} has more than {steps} steps")
    static = long.static.copy()
    if label and label not in run.preparation.condition:
        static[:, long.schema.static_index(label)] = np.nan
    generator, _ = sampling.load_generator(run, entrant.about["step"], device)
    begun = replace(long, static=static)
    drawn = sampling.collect(sampling.continued(run, generator, begun, steps, DRAWS, seed))
    return scorecard.continuation(entrant.train, long, drawn, steps, seed)


def _judge(
    entrant: Entrant, label: str, metrics: list[str], seed: int, quiet: bool, more: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    train, test, synthetic = entrant.train, entrant.test, entrant.synthetic
    with Status(f"judging {entrant.name}", quiet) as status:
        say = lambda stage: status.update(f"judging {entrant.name}: {stage}")  # noqa: E731
        scores = [*scorecard.evaluate(train, test, synthetic, label or None, seed, say, metrics), *more]
    common = {**entrant.about, "label": label or None, "seed": seed, "time": round(time.time())}
    sizes = {"trained_on": len(train), "held_out": len(test), "synthetic": len(synthetic)}
    out = [{**common, **sizes, **score} for score in scores]
    if not Live.possible():  # a notebook shows what is returned
        Console(quiet=quiet).print(scorecard.table(out, entrant.name))
    return out


def _report(
    path: str, judged: dict[str, list[dict[str, Any]]], pictured: dict[str, Entrant], held_out_sets: int, seed: int
) -> None:
    """Write the scorecards, with pictures of who is nearest."""
    first, notes = next(iter(judged.values()))[0], []
    if len(judged) > len(pictured):
        notes.append(f"Of the best {len(pictured)} of {len(judged)} there are pictures.")
    if held_out_sets > 1:
        notes.append(
            "They were not judged against the same held-out sequences, so that differences between them are those of "
            "the sequences, too; runs trained with the same --seed and --held_out hold out the same."
        )
    nearest = {name: find_nearest(each.train, each.test, each.synthetic, seed=seed) for name, each in pictured.items()}
    cards.write(
        path,
        judged,
        title="Scorecard" if len(judged) == 1 else f"{len(judged)} cohorts compared",
        about=f"{first['trained_on']:,} sequences learned from, {first['held_out']:,} held out by subject",
        notes=notes,
        nearest=nearest,
    )
