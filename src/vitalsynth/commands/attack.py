"""`vitalsynth attack`: whether anybody in the training data can be recognised by what is released."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy import ndarray
from rich.console import Console

from .. import checkpoints, components, gpus, sampling
from ..evaluation import leaks
from ..evaluation.privacy import membership, points
from ..evaluation.privacy import report as reports
from ..evaluation.privacy.membership import Attack
from ..evaluation.privacy.points import Parts
from ..evaluation.privacy.report import WhiteBox
from ..generators import Generator
from ..learner import Learner
from ..objectives import Objective
from ..reporting import attacks as pages
from ..sequences import Sequences, listed
from . import shadows as shadow_models
from . import whitebox
from .entrants import Entrant, enter, unlike
from .progress import Status

Released = Literal["samples", "generator", "discriminator"]
RELEASED = get_args(Released)
CLOSEST = "closest synthetic"
BEYOND = "{} beyond shadow models"


def attack(
    what: str | list[str],
    *,
    released: Released = "discriminator",
    data: str | Sequences = "",
    drop: str | list[str] = "",
    held_out: float = 0.2,
    reference: float = 0.5,
    count: int = 0,
    checkpoint: str = "",
    secret: str = "",
    isolated: float = 0.1,
    shadows: int = 0,
    shadow_steps: int = 0,
    most: int = 2000,
    report: str = "",
    seed: int = 0,
    device: str = "auto",
    source: dict[str, Any] | None = None,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Try to recognise the training subjects by what is released, and say what could have been found.

    Members are the training subjects, non-members those held out; half of the latter are the attacker's own reference.
    Attacks that hold samples look for those who lie too near to them (GAN-Leaks, Monte Carlo, DOMIAS), guess statics,
    link halves of records and single people out; those that hold networks ask the discriminator, or how likely a
    subject is. Each figure stands with its interval and what chance gives, for all and for the most isolated. A leak
    that is planted shows whether an attack can see one; data of others, that it sees none where there is none. Rows are
    added to the run's privacy.jsonl. No attack that fails makes data anonymous: see docs/privacy.md.

    Args:
        what: Folders of runs (globs are expanded), or files of synthetic sequences, which need --data.
        released: The most that is handed out: samples, generator (and samples), or discriminator (and both).
        data: Real data of a file: a run, whose training and held-out subjects are taken; or a source's name or a file,
            of which as much is taken to be held out as 'vitalsynth train' does with the same --held_out and --seed. Of
            a run, where its data lie now, if they were moved. From Python also the data themselves.
        drop: Columns of --data to leave out, comma separated.
        held_out: Share of the subjects of --data that the generator never saw; a run knows its own.
        reference: Share of the held-out subjects that the attacker holds; the others are the non-members.
        count: Synthetic sequences to draw from a run; as many as were trained on, at most 10,000, by default.
        checkpoint: Steps of the checkpoints of a run to attack, comma separated, or all; the newest by default.
        secret: Static column to be inferred; each of them by default.
        isolated: Share of the subjects that count as most isolated, which are the easiest to recognise.
        shadows: Shadow models to train on other subjects, which tell how somebody scores who was not trained on; an
            even number, such as 4. Each takes as long as the run took. 0 trains none.
        shadow_steps: Training steps of each; as many as the run by default.
        most: Most subjects in each role; costs grow in proportion to it.
        report: Write the report to this file: .html, .md or .json.
        seed: Of sampling, roles and controls.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        source: Settings of the source of --data, as --source.NAME on the command line.
        quiet: No progress bar and no table.

    Returns:
        A row a figure, and for each cohort one with the verdict.

    Raises:
        ValueError: if there is nothing to attack, or too few subjects were held out.
    """
    pages.check(report)
    shadow_models.check(shadows)
    out: dict[str, list[dict[str, Any]]] = {}
    for entrant in enter(what, data, listed(drop), source or {}, held_out, count, checkpoint, seed, device):
        if shadows and entrant.run is None:
            raise ValueError(f"--shadows needs a run, whose training can be repeated; {entrant.name} is a file")
        leaks.refuse(entrant.train, entrant.test)
        parts = points.deal(entrant.train, entrant.test, entrant.synthetic, reference, most, seed)
        attacks, white_box = _attacks(
            entrant, parts, RELEASED[: RELEASED.index(released) + 1], shadows, shadow_steps, seed, device, quiet
        )
        with Status("", quiet) as status:
            rows = reports.attack(parts, attacks, white_box, secret, isolated, seed, status.update)
        out[unlike(entrant.name, out)] = _written(entrant, rows, released, seed, quiet)
    if report:
        pages.write(report, out)
    return [row for rows in out.values() for row in rows]


def _attacks(
    entrant: Entrant,
    parts: Parts,
    held: tuple[str, ...],
    shadows: int,
    shadow_steps: int,
    seed: int,
    device: str,
    quiet: bool,
) -> tuple[dict[str, Attack], WhiteBox]:
    """Return the attacks on samples, and the scores of those that hold more."""
    attacks, run = dict(membership.ATTACKS), entrant.run
    if run is None:
        return attacks, {}
    step = entrant.about["step"]
    record = run.settings_at(step)
    objective = components.construct(record["objective"], Objective)
    learner = Learner.build(record, gpus.pick_device(device))
    learner.load(*checkpoints.load(run.checkpoint(step)), record)

    def told(learner: Learner) -> WhiteBox:
        found = [whitebox.scores(learner, objective, run.preparation, part) for part in parts.real]
        joined = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
        whose = points.numbered(*parts.real)
        kept = {name: whitebox.HELD[name] for name in joined if whitebox.HELD[name] in held}
        return {name: (holds, points.mean_of(whose, joined[name])) for name, holds in kept.items()}

    with Status("asking the networks", quiet):
        white_box = told(learner)
    if shadows:

        def statistics(shadow: Learner) -> dict[str, ndarray]:
            generator = cast(Generator, shadow.average.eval())
            drawn = sampling.sample(run, generator, len(parts.synthetic), seed=seed)
            own = replace(parts, synthetic=sampling.collect(drawn))
            view = points.view_of(own)
            everyone, made = points.points(view, *own.real), points.points(view, own.synthetic)
            closest = membership.closest(everyone, made, everyone)
            return {CLOSEST: closest} | {name: scores for name, (_, scores) in told(shadow).items()}

        steps = shadow_steps or step
        usual = shadow_models.expected(run, record, parts, statistics, shadows, steps, seed, device, quiet)
        asked = points.numbered(*parts.asked).max() + 1
        attacks[BEYOND.format(CLOSEST)] = membership.above_expected(membership.closest, usual[CLOSEST][:asked])
        white_box |= {BEYOND.format(name): (holds, scores - usual[name]) for name, (holds, scores) in white_box.items()}
    return attacks, white_box


def _written(
    entrant: Entrant, rows: list[dict[str, Any]], released: str, seed: int, quiet: bool
) -> list[dict[str, Any]]:
    """Show rows and verdict, and add them to the run."""
    said = reports.verdict(rows)
    console = Console(quiet=quiet)
    for grid, title in zip(reports.grids(rows), (entrant.name, "Other risks"), strict=True):
        console.print(reports.table(grid, title))
    console.print(said, highlight=False)
    common = {**entrant.about, "seed": seed, "time": round(time.time())}
    out = [{**common, **row} for row in (*rows, {"attack": reports.VERDICT, "released": released, "about": said})]
    if entrant.run is not None:
        entrant.run.add_attacks(out)
    return out
