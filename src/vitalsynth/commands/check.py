"""`vitalsynth check`: what is wrong with a run, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from rich.console import Console

from .. import gpus, runs, sampling, training
from ..evaluation.features import borrow_gaps
from ..learner import Learner
from ..monitoring import differences, gradients, similarity, tracing
from ..monitoring.findings import Finding, judge_collapse, judge_gradients, judge_saturation
from ..monitoring.gradients import GradientWatcher
from ..runs import Run
from ..sequences import Encoded, Sequences
from ..training import Diverged, Plan

SEQUENCES = 256
"""Sequences whose spread is compared."""
BEGUN = 100
"""Steps before which nothing is called collapsed: what has hardly begun varies little yet."""


def check(
    run: str | list[str],
    *,
    steps: int = 5,
    data: str | Sequences = "",
    device: str = "cpu",
    quiet: bool = False,
) -> list[Finding]:
    """Look for what is wrong with runs, at their newest checkpoints; the exit code is 1 if anything is found.

    A few more steps are taken with a copy of the state, and the run stays as it is. Each finding is a line: the layer,
    what is wrong with it, and what to try. Looked for are:

    NaN and Inf: in which layer the first one arises, forwards or backwards.
    A wrong backward: the gradient of every player's whole objective is compared with differences in double precision;
    the parameters that disagree are named.
    Layers that learn nothing: no gradient reaches them, or nearly all of it is exactly 0, or their sigmoid or tanh is
    saturated.
    A learning rate far too high or too low, by how far a step moves the weights.
    Exploding gradients, 100 times what is usual in the run.
    Collapse: what is generated varies far less than real sequences do, or is the same few again and again.

    docs/watching.md tells what each means. It takes seconds to a minute.

    Args:
        run: Folders of runs; globs are expanded.
        steps: Steps to take; more of them find what comes later, as where a run that diverged did so.
        data: Where the data lie now, if they were moved. From Python also the data themselves.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        quiet: Print nothing.

    Returns:
        What was found.

    Raises:
        ValueError: if there is no such run, it has no checkpoint, or its data changed.
    """
    if steps < 1:
        raise ValueError(f"--steps must be at least 1, got {steps}")
    console, chosen = Console(quiet=quiet, soft_wrap=True, highlight=False, markup=False), gpus.pick_device(device)
    found: list[Finding] = []
    for each in runs.find(run):
        examined = _Examined(each, data, chosen)
        own: list[Finding] = []
        for finding in examined.findings(steps):
            own.append(finding)
            console.print(str(finding))
        said = f"{len(own)} found" if own else "nothing found"
        console.print(f"{each.path} at step {examined.step:,}: {said}")
        found += own
    return found


class _Examined:
    """A run at its newest checkpoint, of which as many copies can be had as are wanted."""

    def __init__(self, run: Run, data: str | Sequences, device: torch.device) -> None:
        if run.record.get("generator_only"):
            raise ValueError(
                f"{run.path} holds a generator only, which cannot be trained, so there is nothing to check"
            )
        self.run, self.device = run, device
        self.tensors, self.state = run.newest()
        self.step = self.state["step"]
        self.train, self.held_out = run.data(data)
        self.encoded: Encoded = run.preparation.encode(self.train).to(device)
        self.plan = Plan.of(run.record)
        self.groups = training.groups_of(run, self.encoded)

    def learner(self) -> Learner:
        """Return a copy of the state."""
        learner = Learner.build(self.run.record, self.device)
        own = {file: {name: tensor.clone() for name, tensor in group.items()} for file, group in self.tensors.items()}
        learner.load(own, self.state, self.run.record)
        learner.meet(self.encoded)
        return learner

    def take(self, learner: Learner) -> dict[str, float]:
        """Take a step."""
        return training.take_step(learner, self.encoded, self.plan, self.groups)

    def findings(self, steps: int) -> Iterator[Finding]:
        """Yield what is wrong."""
        with training.kept_settings(self.run.record):
            yield from self._steps(steps)
            yield from self._differences()
            yield from self._collapse()

    def _steps(self, steps: int) -> Iterator[Finding]:
        learner, watcher = self.learner(), GradientWatcher(1)
        saturation, rows = tracing.Saturation(learner.networks), []
        try:
            with saturation.looking():
                for _ in range(steps):
                    watcher.before(learner)
                    row = self.take(learner)
                    rows.append(row | watcher.after(learner))
        except Diverged as error:
            origin = tracing.locate(self.learner(), self.take, learner.step)
            yield Finding(origin or "somewhere", str(error), training.ADVICE)
        log = [row for row in runs.rows(self.run.path / "log.jsonl") if row["step"] <= self.step]
        first, now = (gradients.weights(each.trains) for each in (Learner.build(self.run.record, self.device), learner))
        unreached, growth = gradients.unreached(learner.trains), gradients.growth(first, now)
        yield from judge_gradients(rows, log, unreached, growth, learner.step)
        yield from judge_saturation(saturation.shares())

    def _differences(self) -> Iterator[Finding]:
        for player in dict.fromkeys(self.plan.objective.players(self.step)):
            try:
                wrong = differences.disagreements(self.learner(), self.plan, self.encoded, player)
            except (RuntimeError, TypeError) as error:
                training.log.warning("the gradient of the %s was not checked in double precision: %s", player, error)
                continue
            if wrong:
                yield _disagreement(player, wrong)

    def _collapse(self) -> Iterator[Finding]:
        """Compare what the averaged generator makes with held-out sequences; with training ones if there are few."""
        if self.step < BEGUN:
            return
        several = len(self.held_out) >= similarity.FEWEST
        real = similarity.drawn(self.held_out if several else self.train, SEQUENCES, 0)
        try:
            condition = self.run.preparation.encode(real).condition
        except ValueError:  # something is missing in it that never was in training
            real = similarity.drawn(self.train, SEQUENCES, 0)
            condition = self.run.preparation.encode(real).condition
        generator = self.learner().average.eval()
        synthetic = sampling.under(self.run, generator, condition)  # type: ignore[arg-type]
        yield from judge_collapse(self.train, real, borrow_gaps(synthetic, real))


def _disagreement(player: str, wrong: Sequence[differences.Disagreement]) -> Finding:
    named = ", ".join(each.parameter for each in wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
    last = wrong[-1]
    return Finding(
        named,
        f"the gradient of the {player}'s objective is not that of differences: the slope along {last.parameter} is "
        f"{last.measured:.4g}, and its gradient says {last.told:.4g}",
        f"A backward is wrong, of {gradients.layer(last.parameter)} or of what comes right after it",
    )
