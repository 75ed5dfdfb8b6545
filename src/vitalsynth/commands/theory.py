"""`vitalsynth theory`: what is shipped, against what is known of it; and what theory has to say of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from .. import checkpoints, gpus, runs, training
from ..games import catalogue, closed, duality, figures, spectrum
from ..games.spectrum import number
from ..learner import Learner
from ..runs import Run
from ..sequences import Encoded
from . import whitebox
from .entrants import steps_of
from .progress import Progress, Status


def theory(
    run: Sequence[str] = (),
    *,
    checkpoint: str = "",
    clone_steps: int = 0,
    proximity: float = 0.1,
    out: str = "",
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Play what is shipped on games with known answers; or say of runs whether their games turn, attract or repel.

    Without a run: eigenvalues of the Jacobian of the real training step, for every objective, penalty, stabiliser,
    optimiser and method that has a closed form, beside it; and what becomes of the game when it is played. With runs:
    leading eigenvalues of each game at a checkpoint, on held-out sequences, and on request its duality gap. What they
    mean is in docs/convergence.md.

    Args:
        run: Folders of runs; globs are expanded.
        checkpoint: Steps of the checkpoints of a run to look at, comma separated, or all; the newest by default.
        clone_steps: Also measure the duality gap: how much either player gains in so many steps of its own, such as
            400, and what the game is worth once the discriminator has answered: smaller is better. It takes about
            three times as long as so many steps of training.
        proximity: How much the discriminator is kept near to what it was in the proximal duality gap; 0 leaves it out.
        out: Folder for the figure of docs/convergence.md, drawn anew; takes no run.
        seed: Of batches and noise, for runs.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        quiet: No progress bar and no table.

    Returns:
        A row a game, or a row a checkpoint.

    Raises:
        ValueError: if a run has no two players to set against each other, or held nobody out.
    """
    console = Console(quiet=quiet)
    if run:
        if out:
            raise ValueError("--out is for the figure of known games, without a run")
        rows = []
        for found in runs.find(run):
            rows += _of_run(found, checkpoint, clone_steps, proximity, seed, device, console)
        return rows
    if checkpoint or clone_steps:
        raise ValueError("--checkpoint and --clone_steps are for runs; name one")
    rows = [_row(answer) for answer in _answers(quiet)]
    console.print(_table(rows))
    wrong = [row["play"] for row in rows if not row["agrees"]]
    console.print(f"{len(rows) - len(wrong)} of {len(rows)} games are as theory says", highlight=False)
    if out:
        console.print(f"drew {figures.draw(Path(out))}", highlight=False)
    if wrong:
        raise RuntimeError(f"not as theory says: {'; '.join(wrong)}")
    return rows


def _answers(quiet: bool) -> Iterator[catalogue.Answer]:
    cases = catalogue.catalogue()
    with Progress("playing games with known answers", len(cases), quiet=quiet) as progress:
        for case in cases:
            yield catalogue.ask(case)
            progress.advance(note=case.name)


def _row(answer: catalogue.Answer) -> dict[str, Any]:
    known = closed.radius(answer.expected)
    return {
        "game": answer.case.game,
        "play": answer.case.play,
        "measured": max(answer.measured, key=abs),
        "closed": max(answer.expected, key=abs),
        "modulus": known,
        "error": answer.error,
        "verdict": catalogue.verdict(known) if answer.case.rests else "is driven on",
        "played": answer.factor,
        "agrees": answer.agrees,
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("game and how it is played")
    for title in ("measured", "closed form", "error"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("it", no_wrap=True)
    for row in rows:
        eigenvalues = [f"{row[key].real:.4f}±{abs(row[key].imag):.4f}i" for key in ("measured", "closed")]
        style = "" if row["agrees"] else "red"
        table.add_row(f"{row['game']}: {row['play']}", *eigenvalues, f"{row['error']:.0e}", row["verdict"], style=style)
    return table


def _of_run(
    run: Run, checkpoint: str, clone_steps: int, proximity: float, seed: int, device: str, console: Console
) -> list[dict[str, Any]]:
    if run.record["data"]["cut"] is None:
        raise ValueError(f"{run.path} held nobody out (--held_out 0), and gaps are measured on who was not trained on")
    if len(run.record["networks"]) < 2:
        raise ValueError(f"{run.path} has a single player, the generator, so there is no game; theory is of games")
    chosen = gpus.pick_device(device)
    finding, judging = (whitebox.encode(run.preparation, part).to(chosen) for part in run.data())
    rows = []
    for step in steps_of(run, checkpoint):
        step = run.step if step is None else step
        record = run.settings_at(step)
        learner, plan = Learner.build(record, chosen), training.Plan.of(record)
        learner.load(*checkpoints.load(run.checkpoint(step)), record)
        with Status(f"{run.name} at step {step:,}", console.quiet):
            row = {"of": run.name, "step": step, **_spectrum(learner, judging, plan, seed)}
            if clone_steps:
                row |= _gap(learner, finding, judging, plan, clone_steps, proximity)
        rows.append(row)
        _say(console, row)
    return rows


def _spectrum(learner: Learner, data: Encoded, plan: training.Plan, seed: int) -> dict[str, Any]:
    found = spectrum.of(learner, data, plan, seed=seed)
    return {
        "largest": found.largest,
        "rightmost": found.rightmost,
        "gradient_norm": found.norm,
        "stable_rate": found.stable_rate,
        "about": str(found),
    }


def _gap(
    learner: Learner, finding: Encoded, judging: Encoded, plan: training.Plan, steps: int, proximity: float
) -> dict[str, Any]:
    found = duality.gap(learner, finding, judging, plan, steps, proximity)
    return {
        "minimax": found.best,
        "gap": found.gap,
        "proximal_gap": found.proximal_gap,
        "value": found.value,
        "clone_steps": steps,
    }


def _say(console: Console, row: dict[str, Any]) -> None:
    console.print(f"{row['of']} at step {row['step']:,}: {row['about']}", highlight=False)
    for name in ("largest", "rightmost"):
        shown = ", ".join(number(each) for each in row[name] if np.imag(each) >= 0)
        console.print(f"  eigenvalues {name}: {shown or 'iteration found none'}", highlight=False)
    if "gap" in row:
        near = "" if row["proximal_gap"] is None else f", proximal {row['proximal_gap']:.4g}"
        said = (
            f"  minimax {row['minimax']:.4g}, duality gap {row['gap']:.4g}{near}; clones of {row['clone_steps']} steps"
        )
        console.print(said, highlight=False)
