"""`vitalsynth train`: from data to a run that can be sampled."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from .. import checkpoints, components, differential, frames, memory, methods, runs, schedules, sources, training
from ..autoregressive import Autoregressive  # noqa: F401 (can be named)
from ..cluster import distributed
from ..differential import Budget, Mechanism, Privacy
from ..discriminators import Discriminator, Projected
from ..distillation import Distillation  # noqa: F401
from ..embedding import Embedding, Matching  # noqa: F401
from ..evaluation.privacy import points
from ..flows import Flow  # noqa: F401
from ..generators import LSTM, Generator
from ..learner import Learner
from ..machine import threads_allowed
from ..methods import Method
from ..monitoring import convergence, tracing
from ..monitoring.similarity import FEWEST, Similarity
from ..monitoring.watchers import watchers
from ..objectives import Objective, Relativistic
from ..optimizers import OptimisticAdam  # noqa: F401
from ..preparation import Preparation, choose, fixing
from ..runs import Run
from ..sampling import parse_pairs
from ..schedules import Schedule
from ..sequences import Encoded, Sequences, Shape, listed
from ..stabilisers import Stabiliser
from ..storage import in_words
from ..team import Lost
from . import settings
from .progress import Progress, say

log = logging.getLogger(__name__)

OptimizerFactory = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
# No momentum: with alternating steps it makes a game's rotation diverge (Gidel et al. 2019, arXiv 1807.04740).
Adam = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.99))
Renewing = partial(LSTM, renewal=12)
GapAware = partial(Projected, carry=True, emphasis=True)
# Projected is penalised with respect to its features, which are more numerous than what they are computed from.
Mild = partial(Relativistic, r1=0.3, r2=0.3)


def train(
    data: str | Sequences | pd.DataFrame,
    *,
    out: str,
    steps: int = 4000,
    seed: int = 0,
    condition: str | list[str] = "",
    drop: str | list[str] = "",
    rules: str | list[str] = "",
    limits: str | dict[str, str] = "",
    normalise: str | dict[str, str] = "standard",
    whiten: float = 0.0,
    outline: int = 0,
    held_out: float = 0.2,
    generator: Callable[[Shape], Generator] = Renewing,
    discriminator: Callable[[Shape], Discriminator] | None = GapAware,
    objective: Callable[[], Objective] = Mild,
    method: Callable[[], Method] = methods.Alternating,
    stabilisers: Sequence[Callable[[Shape], Stabiliser]] = (),
    generator_optimizer: OptimizerFactory = Adam,
    discriminator_optimizer: OptimizerFactory = Adam,
    generator_schedule: Callable[[], Schedule] = schedules.Constant,
    discriminator_schedule: Callable[[], Schedule] = schedules.Constant,
    batch: int = 32,
    balance: str = "",
    average: float = 0.999,
    clip: float = 0.0,
    checkpoint_every: int = 1000,
    stop_early: str | list[str] = "",
    frozen: str | list[str] = "",
    precision: training.Precision = "float32",
    privacy: Privacy | None = None,
    gradients: int = 100,
    similarity: Similarity = Similarity(),  # noqa: B008 (it is frozen)
    microbatches: int = 1,
    device: str = "auto",
    devices: int = 1,
    threads: int = 0,
    source: dict[str, Any] | None = None,
    quiet: bool = False,
) -> Run:
    """Learn a generator from sequences, and leave a run: a folder with the log, checkpoints and all that was asked.

    Without --preset it is an RGAN, with --condition an RCGAN. Ctrl-C saves and stops; 'vitalsynth continue' carries
    on as if nothing had happened.

    Args:
        data: What to learn from: a source's name ('vitalsynth data' lists them), a CSV, Parquet or npz file, a folder
            of images, or the import path of a function that returns Sequences. Its settings follow as --source.NAME.
        out: Folder of the run; it must not exist.
        steps: Training steps to take.
        seed: Of everything random: who is held out, first weights, batches, noise.
        condition: Static columns that will be given when sampling, comma separated, such as died,sex.
        drop: Columns to leave out, comma separated.
        rules: Orders between channels that physiology keeps, comma separated, such as 'dbp <= map <= sbp': how often
            synthetic sequences break them is reported, and 'sample --enforce' keeps to them.
        limits: Likewise, what columns cannot be below or above, such as hr=0:300,temp=25:45.
        normalise: Of continuous channels: standard, minmax, quantile, local (each sequence's level and scale become
            statics), local-max or integrated; by name with '{"hr": "local", "*": "standard"}'; auto chooses for each
            channel and says why.
        whiten: Learn what continuous channels without gaps have in common and what sets them apart, each at its own
            scale: the floor of their eigenvalues, such as 0.001; 0 leaves channels as they are.
        outline: Draw so many principal components of a sequence before its steps, such as 16, so that what draws step
            by step knows where it is going: of channels without gaps, where lengths are equal; 0 draws none.
        held_out: Share of the subjects that training never sees, for honest scores; 0 trains on all.
        generator: Class of the generator: LSTM, GRU, MinGRU, Autoregressive, Flow, or your own by import path, such as
            my_nets.Wave.
        discriminator: Class of the discriminator: Projected, Convolutional, LSTM, GRU, or your own by import path; null
            for none, as Likelihood and FlowMatching need none.
        objective: What the players minimise: Relativistic, NonSaturating, Wasserstein, Hinge, Likelihood, FlowMatching,
            or your own.
        method: In which order the players of a step look and move: Alternating, Simultaneous, Extragradient, Consensus,
            Lookahead, or your own. docs/convergence.md says what theory says of each.
        stabilisers: What steadies the game: any number of InstanceNoise, Augment, Consistency, FeatureMatching or your
            own, each with its settings behind it, --stabilisers+ InstanceNoise --stabilisers.std 0.3 --stabilisers+
            Augment; '[]' for none.
        generator_optimizer: Any optimiser of torch.optim, or OptimisticAdam. Each player has its own, so that one may
            be faster by a fixed ratio, as with --discriminator_optimizer.lr 4e-3 (two time scales; Heusel et al. 2017,
            arXiv 1706.08500).
        discriminator_optimizer: Any optimiser of torch.optim, or OptimisticAdam.
        generator_schedule: Learning rate by step: Constant, Cosine or Halving; Balanced slows it down while the
            generator is ahead.
        discriminator_schedule: Learning rate by step: Constant, Cosine or Halving; Balanced slows it down while the
            discriminator is ahead.
        batch: Sequences in one player's turn.
        balance: A condition whose values are to be equally frequent in training, such as died, if some are rare.
            Samples have them as often as the data, unless 'sample --balance' asks otherwise.
        average: Decay of the averaged generator, which is the one sampled from.
        clip: Largest norm of a player's whole gradient, beyond which it is scaled down (Pascanu et al. 2013, arXiv
            1211.5063); 0 is no limit. The log has the norm before.
        checkpoint_every: Steps between checkpoints.
        stop_early: Stop at a checkpoint at which the log says so, comma separated: states of 'vitalsynth convergence',
            such as converged,collapsed, or a score to reach, such as similarity.mmd=0.01; nothing trains to the end.
        frozen: Parameters that stay as they begin, by the beginnings of their names, comma separated, such as
            generator.recurrence; most useful in a branch.
        precision: float32, or bfloat16 autocast for the forward passes.
        privacy: Differential privacy of every patient, with a budget, --privacy.epsilon 3 --privacy.delta 1e-5
            --privacy.clip 1.0: training stops when it is spent, and whatever else would look at the data is refused.
            A step draws --batch patients on average. docs/differential-privacy.md says what is promised.
        gradients: In every how many steps the log tells of the gradients of every layer; 0 for never.
        similarity: How far what is generated is from held-out sequences is logged in every --similarity.every steps,
            by four cheap measures. docs/watching.md says which, and what is made of them.
        microbatches: Parts of a batch that are worked out one after the other, which takes less memory, or by as many
            --devices. What is of a whole batch, as minibatch statistics, is then of each part.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        devices: How many GPUs, or processes on the CPU, share every batch; --microbatches becomes as many, unless it is
            a multiple already. Under torchrun or srun, those that were started share it.
        threads: Of the processor, in each process; 0 takes what OMP_NUM_THREADS says, or one. Where networks and
            batches are large and the machine has nothing else to do, as many as it has cores are faster; on a busy one
            two can be a hundred times slower than one.
        source: Settings of the source, as --source.NAME on the command line.
        quiet: No progress bar.

    Returns:
        The run.

    Raises:
        ValueError: if anything asked for is impossible; nothing is left behind.
        training.Diverged: if a loss stops being finite; the run stays at its last checkpoint.
    """
    if distributed.follows():
        distributed.follow(device)
    devices = distributed.started() or devices
    settings.check_at_least_one(devices=devices, microbatches=microbatches)
    microbatches = devices if microbatches == 1 else microbatches
    distributed.check_shares(devices, microbatches)
    asked = {name: value for name, value in locals().items() if name in settings.NAMES}
    runs.refuse_existing(out)
    settings.check_at_least_one(steps=steps)
    if threads < 0:
        raise ValueError(f"--threads must be 0 or more, got {threads}")
    chosen = settings.to_record(asked)
    chosen_device = distributed.leading_device(device, devices)
    sequences, origin = _read(data, source or {})
    sequences = sequences.drop(listed(drop))
    schema = sequences.schema.limited(listed(rules), parse_pairs(limits, "limit"))
    sequences = replace(sequences, schema=schema)
    if privacy is not None:
        differential.check_prepared(normalise, whiten, outline)
        sequences = differential.known(sequences, privacy)
        if not quiet:
            print("similarity is not measured: under --privacy nobody looks at held-out patients", file=sys.stderr)
    cut = runs.cut(sequences, held_out, seed)
    training_part, held_out_part = runs.part(sequences, cut, seed)
    if cut is not None:
        warn_if_few(training_part, held_out_part)
    pasts = chosen["networks"]["generator"]["init_args"].get("pasts", 0)
    if pasts and outline:
        raise ValueError("a generator that learns to go on from a past cannot know how it ends: --outline 0")
    if normalise == "auto":
        normalise, reasons = choose(training_part, components.class_of(objective).scale_free, whole=not pasts)
        if reasons and not quiet:
            print("normalised by", "; ".join(reasons), file=sys.stderr)
    if privacy is not None:
        preparation = differential.prepare(training_part, listed(condition), privacy)
    else:
        preparation = Preparation.fit(training_part, normalise, listed(condition), whiten, outline)
    if pasts:
        fixing.check_steps_alone(preparation)
    record = {
        "data": {
            **origin,
            "drop": listed(drop),
            "held_out": held_out,
            "cut": cut,
            "seed": seed,
            "digest": sequences.digest(),
            "count": len(sequences),
        },
        "condition": listed(condition),
        "normalise": normalise,
        "whiten": whiten,
        "outline": outline,
        **chosen,
        "threads": threads or max(1, threads_allowed() // devices),
        "shape": preparation.shape.to_json(),
        "parent": None,
        **settings.provenance(),
    }
    patients = differential.patients(training_part.subject)
    if privacy is not None and not privacy.noise:
        record["privacy"]["noise"] = _lasting(record, len(patients), steps)
    check_weights(record, preparation.shape.channels, chosen_device)
    learner = Learner.build(record, chosen_device)
    encoded = preparation.encode(training_part).to(chosen_device)
    mechanism = Mechanism.of(record, preparation, patients, secrets.token_hex(16))
    say_memory(record, encoded, preparation, patients, quiet, devices)
    training.rehearse(record, encoded, preparation.groups(encoded, balance), mechanism)
    training.within_budget(learner, training.Plan.of(record), mechanism, steps)
    say_what_is_trained(learner, training_part, sequences, chosen_device, quiet, devices)
    run = Run.create(out, record, preparation)
    with run.lock():
        return run_to(run, learner, encoded, (training_part, held_out_part), steps, quiet, devices=devices)


def _lasting(record: Mapping[str, Any], patients: int, steps: int) -> float:
    """Return the noise with which a budget lasts for so many steps."""
    budget, objective = Budget.of(record), components.construct(record["objective"], Objective)
    assert budget is not None
    if isinstance(objective, Matching):
        return differential.calibrated(budget, 1.0, 1)
    player = training.private_player(record["networks"])
    turns = sum(objective.players(step).count(player) for step in range(steps))
    return differential.calibrated(budget, min(1.0, record["batch"] / patients), turns)


def run_to(
    run: Run,
    learner: Learner,
    encoded: Encoded,
    parts: tuple[Sequences, Sequences],
    steps: int,
    quiet: bool,
    canaries: Sequence[int | None] = (),
    devices: int = 1,
) -> Run:
    """Train with a progress bar, watched as the record says.

    Args:
        run: Which.
        learner: Its state.
        encoded: The training sequences.
        parts: Training and held-out sequences.
        steps: Total number of steps to reach.
        quiet: No progress bar.
        canaries: What an audit plants.
        devices: How many share the work.

    Raises:
        Stopped: if a signal asked to stop before the last step, or one of those who share the work is gone.
    """
    patients, looking_on = differential.patients(parts[0].subject), watchers(run, encoded, *parts)
    enough = lambda: convergence.reason_to_stop(run.log(), {**training.EARLIER, **run.record}["stop_early"])  # noqa: E731
    carry_on = f"carry on with: vitalsynth continue {run.path} --steps {steps}"
    try:
        with (
            distributed.team(devices, run, learner, encoded, patients) as team,
            Progress(f"training {run.path}", steps, learner.step, quiet) as progress,
        ):
            done = training.train(
                run, learner, encoded, steps, progress.row, patients, canaries, looking_on, enough, team
            )
    except Lost as error:
        raise Stopped(f"{error}; {carry_on}") from None
    except training.Diverged as error:
        raise training.Diverged(f"{error}{_origin(run, encoded, learner.step)}") from None
    if not done:
        raise Stopped(f"stopped at step {learner.step}; {carry_on}")
    if not quiet:
        say(f"memory: {in_words(run.most_memory())} at most")
    return run


def _origin(run: Run, encoded: Encoded, step: int) -> str:
    """Repeat training from the last checkpoint, to say in which layer a number first was not finite."""
    if run.record.get("privacy"):
        return ""
    learner, plan = Learner.build(run.record, encoded.x.device), training.Plan.of(run.record)
    if saved := checkpoints.newest(run.checkpoints):
        learner.load(*saved, run.record)
    groups = training.groups_of(run, encoded)
    with training.kept_settings(run.record):
        learner.meet(encoded)
        take = lambda learner: training.take_step(learner, encoded, plan, groups)  # noqa: E731
        found = tracing.locate(learner, take, step)
    return f". {found[0].upper()}{found[1:]}" if found else ""


def check_weights(record: Mapping[str, Any], columns: int, device: torch.device) -> None:
    """Refuse networks whose weights alone do not fit; of few columns, none is so large.

    Raises:
        ValueError: if they do not.
    """
    if columns < MANY or (weights := memory.of_weights(record)) is None:
        return
    wanted, free = memory.ALLOWANCE * weights, memory.free(device)
    if wanted > free:
        raise ValueError(
            f"the weights of these networks for {columns:,} columns, gaps included, take about {in_words(wanted)} to "
            f"train, and {in_words(free)} are free: take --preset rcgan or parallel, whose weights do not grow with "
            "the square of the columns, or --drop some"
        )


MANY = 100
"""Columns, gaps and all, from which on weights are counted before they are made, which takes a second."""


def say_memory(
    record: Mapping[str, Any],
    encoded: Encoded,
    preparation: Preparation,
    patients: Sequence[np.ndarray],
    quiet: bool,
    devices: int = 1,
) -> None:
    """Say how much memory training will take at most, and warn if that is more than is free."""
    if quiet and record["batch"] <= memory.MOST:  # measuring it would take as much
        return
    if (need := memory.needed(record, encoded, preparation, patients)) is None:
        return
    device, batch = encoded.x.device, record["batch"]
    free, held = memory.free(device), memory.held(device)
    if device.type == "cpu":
        free = (free - (devices - 1) * held) / devices
    if advice := need.advice(batch, free):
        log.warning(advice)
    elif not quiet:
        each = " in each process" if devices > 1 else ""
        say(f"memory: about {in_words(held + need.of(batch))}{each}; {in_words(free)} are free")


class Stopped(Exception):
    """A signal asked to stop; all is saved."""


def _read(data: str | Sequences | pd.DataFrame, source: Mapping[str, Any]) -> tuple[Sequences, dict[str, Any]]:
    if isinstance(data, pd.DataFrame):
        data = frames.from_frame(data, **source)
    if isinstance(data, Sequences):
        return data, {"source": None, "settings": {}}
    named, pinned = sources.pinned(data, source)
    return sources.read(named, **pinned), {"source": named, "settings": pinned}


def warn_if_few(part: Sequences, held_out: Sequences) -> None:
    """Warn if so few subjects are held out that scores and attacks will say little."""
    kept, out = (len(np.unique(each.subject)) for each in (part, held_out))
    if out < FEWEST:
        attacked = "attacks cannot be run" if out < points.FEWEST else "attacks can find next to nothing"
        log.warning(
            "%d subjects, %d held out: scores will say little, and %s (docs/questions.md)", kept + out, out, attacked
        )


def say_what_is_trained(
    learner: Learner, part: Sequences, whole: Sequences, device: torch.device, quiet: bool, devices: int = 1
) -> None:
    if quiet:
        return
    sizes = ", ".join(f"{name} {sum(p.numel() for p in ps.values()):,}" for name, ps in learner.trains.items())
    where = str(device) if devices == 1 else f"{device.type}, {devices} processes"
    say(
        f"{len(part):,} of {len(whole):,} sequences, {part.length} steps x {part.values.shape[2]} channels, "
        f"{part.static.shape[1]} static; parameters: {sizes}; on {where}"
    )
