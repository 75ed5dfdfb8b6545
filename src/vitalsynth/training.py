"""The training loop, for any objective.

A step is a pure function of (state, seed, step): the noise and the batch of step k are derived from a digest of
(seed, k, turn, part), so a checkpoint holds no random state and no position in the data, and carrying on is exact by
construction. The same steps give the same log byte for byte and the same weights bit for bit on the same kind of
machine, however often they were interrupted; on a GPU as far as its kernels are deterministic.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from . import components, differential
from .differential import Mechanism
from .learner import Learner
from .methods import Method, Step
from .objectives import Batch, Objective
from .processes import StopFlag
from .runs import Run, log_state
from .runs.clock import Clock
from .schedules import Schedule
from .seeds import balanced_index, batch_index, derive, seed_torch
from .sequences import Encoded, Shape
from .stabilisers import Stabiliser
from .storage import naming
from .team import ALONE, Lost, Team

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
BALANCE_MEMORY = 20
"""Steps over which it is averaged who is ahead: one batch says little, and a hundred steps ago is long past."""
ADVICE = (
    "Try a lower learning rate (--discriminator_optimizer.lr, --generator_optimizer.lr), stronger penalties "
    "(--objective.r1, --objective.r2), or --precision float32"
)
ALTERNATING = {"class_path": "vitalsynth.methods.Alternating", "init_args": {}}
EARLIER: Mapping[str, Any] = {
    "stabilisers": [],
    "clip": 0.0,
    "balance": "",
    "privacy": None,
    "method": ALTERNATING,
    "stop_early": [],
    "gradients": 0,
    "similarity": {"every": 0, "count": 256, "best": "mmd"},
    "microbatches": 1,
}
"""What runs did whose records say nothing of these settings, because there were none yet."""


class Diverged(Exception):
    """Training produced a number that is not finite."""


@runtime_checkable
class Watcher(Protocol):
    """Looks on while a run is trained, and changes nothing.

    What it says goes into the log, so it depends on nothing but the run, the state and the step.
    """

    name: str

    def due(self, step: int) -> bool:
        """Return whether it looks at the step that is the `step`-th."""
        ...

    def before(self, learner: Learner) -> None:
        """Look at the state before that step."""
        ...

    def after(self, learner: Learner) -> dict[str, float]:
        """Return what the step's row of the log shall say besides; gradients still lie in `.grad`."""
        ...


@dataclass(frozen=True)
class Plan:
    """All that decides what a step does, besides the state and the data.

    Args:
        objective: Who plays, and what each minimises, stabilised or not.
        method: In which order players look and move.
        schedules: Learning-rate factor of each player by step and lead.
        seed: Of everything random.
        batch: Sequences in one turn.
        average: Decay of the averaged generator; 0 keeps none of the past.
        clip: Largest norm of a player's gradient; 0 sets no limit.
        precision: Of the forward passes; `bfloat16` is autocast.
        microbatches: Parts of a batch that are worked out each by itself.
    """

    objective: Objective
    method: Method
    schedules: Mapping[str, Schedule]
    seed: int
    batch: int
    average: float
    clip: float = 0.0
    precision: Precision = "float32"
    microbatches: int = 1

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Plan:
        """Read a plan off a run's record.

        Raises:
            ValueError: if a part cannot be built, or does not fit the others.
        """
        record = {**EARLIER, **record}
        schedules = {player: components.construct(r, Schedule) for player, r in record["schedules"].items()}
        objective = components.construct(record["objective"], Objective)
        shape = Shape.from_json(record["shape"])
        objective.settle(shape, [components.construct(part, Stabiliser, shape) for part in record["stabilisers"]])
        method = components.construct(record["method"], Method)
        needing = [type(schedule).__name__ for schedule in schedules.values() if schedule.needs_lead]
        if needing and objective.lead({}) is None:
            raise ValueError(
                f"the losses of {type(objective).__name__} do not tell who is ahead; {needing[0]} needs to know"
            )
        plain = {name: record[name] for name in ("seed", "batch", "average", "clip", "precision", "microbatches")}
        return cls(objective, method, schedules, **plain)


Groups = Sequence[np.ndarray]


def take_step(
    learner: Learner,
    data: Encoded,
    plan: Plan,
    groups: Groups = (),
    mechanism: Mechanism | None = None,
    team: Team = ALONE,
) -> dict[str, float]:
    """Take one step in place, and return its log row.

    Args:
        learner: The state.
        data: Encoded training sequences.
        plan: What else decides what the step does.
        groups: Which sequences make groups that are to be equally frequent; none takes all as they are.
        mechanism: How whoever sees real sequences gets a gradient that is differentially private, if it shall be.
        team: Who shares the work; all take the step at once, each on its copy of the state.

    Raises:
        Diverged: if a loss or gradient is not finite; the networks are then spoilt.
        Lost: if another of the team is gone; this one's state is then between two steps.
    """
    step, device = learner.step, data.x.device
    players = plan.objective.players(step)
    measured: dict[str, Tensor] = {}

    def look(turn: int, differentiable: bool = False) -> None:
        player = players[turn]
        seed_torch(derive(plan.seed, step, turn, 0))
        for name, trained in learner.trains.items():
            for parameter in trained.values():
                parameter.requires_grad_(differentiable or name == player)
        learner.optimizers[player].zero_grad()
        parameters = list(learner.trains[player].values())
        losses = partial(_losses, learner, plan, player)
        if mechanism is not None and player == private_player(learner.networks):
            _privately(learner, parameters, data, losses, mechanism, turn, plan.microbatches, team)
            return  # a loss on real sequences is not private
        if mechanism is not None:
            real = mechanism.unseen(data, plan.batch, derive(plan.seed, step, turn, "conditions"))
        elif groups:
            real = data.take(balanced_index(plan.seed, step, turn, plan.batch, groups).to(device))
        else:
            real = data.take(batch_index(plan.seed, step, turn, plan.batch, len(data)).to(device))
        if plan.microbatches == 1:
            terms = losses(real)
            _backward(_total(terms), parameters, differentiable)
        elif differentiable:
            raise ValueError(
                f"{type(plan.method).__name__} differentiates the gradient of a whole batch: --microbatches 1"
            )
        else:
            seed = partial(derive, plan.seed, step, turn, "part")
            terms = _in_parts(learner, parameters, real, plan.microbatches, losses, seed, team)
        measured.update({f"{player}.{term}": value.detach() for term, value in terms.items()})

    def move(turn: int) -> None:
        player = players[turn]
        optimizer, parameters = learner.optimizers[player], learner.trains[player].values()
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if plan.clip:
            nn.utils.clip_grads_with_norm_(parameters, plan.clip, norm)
        factor = plan.schedules[player](step, learner.balance if player == "discriminator" else -learner.balance)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        optimizer.step()
        measured[f"{player}.gradient_norm"] = norm

    plan.method.play(Step(step, players, learner.trains, learner.memory, look, move))
    _average(learner, plan.average)
    learner.step += 1
    row = dict(zip(measured, torch.stack([value.float() for value in measured.values()]).tolist(), strict=True))
    if bad := [name for name, value in row.items() if not np.isfinite(value)]:
        raise Diverged(f"step {learner.step}: {bad[0]} is {row[bad[0]]}")
    if (lead := plan.objective.lead(row)) is not None:
        learner.balance += (lead - learner.balance) / BALANCE_MEMORY
    if learner.budget is not None:
        row["privacy.epsilon_rdp"] = learner.budget.renyi
    return {"step": learner.step, **row}


def _losses(learner: Learner, plan: Plan, player: str, real: Encoded) -> dict[str, Tensor]:
    """Return the terms of what a player minimises, on real sequences and the noise of as many synthetic ones."""
    device = real.x.device
    noise = torch.randn(len(real), learner.networks["generator"].noise, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=plan.precision == "bfloat16"):
        return plan.objective.loss(player, learner.networks, Batch(real, noise), learner.step)


def _backward(loss: Tensor, parameters: Sequence[nn.Parameter], differentiable: bool) -> None:
    """Leave the gradient of a loss in `.grad`; with `differentiable` as a function of all parameters."""
    if not differentiable:
        loss.backward()
        return
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def _privately(
    learner: Learner,
    parameters: Sequence[nn.Parameter],
    data: Encoded,
    losses: Callable[[Encoded], dict[str, Tensor]],
    mechanism: Mechanism,
    turn: int,
    parts: int,
    team: Team,
) -> None:
    """Leave a differentially private gradient in `.grad`, and book what it costs."""

    def loss(index: Tensor) -> Tensor:
        return _total(losses(data.take(index.to(data.x.device))))

    with differential.nothing_kept(learner.networks):
        gradient = mechanism.gradient(loss, parameters, learner.step, turn, parts, team)
    for parameter, part in zip(parameters, gradient.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)
    assert learner.budget is not None
    learner.budget.spend(mechanism.rate)


def _in_parts(
    learner: Learner,
    parameters: Sequence[nn.Parameter],
    batch: Encoded,
    count: int,
    losses: Callable[[Encoded], dict[str, Tensor]],
    seed: Callable[[int], int],
    team: Team,
) -> dict[str, Tensor]:
    """Leave the mean gradient over the parts of a batch in `.grad`, and return the mean of every term.

    Buffers that networks keep, as those of spectral normalisation, go on from what the first part made of them.
    """
    size = len(batch) // count
    buffers = [buffer for network in learner.networks.values() for buffer in _kept(network)]
    before, after = [buffer.clone() for buffer in buffers], buffers
    names: list[str] = []
    unused = [False] * len(parameters)

    def worked_out(part: int) -> Tensor:
        nonlocal after, names, unused
        seed_torch(seed(part))
        _put(buffers, before)
        terms = losses(batch.take(slice(part * size, (part + 1) * size)))
        found = torch.autograd.grad(_total(terms), parameters, allow_unused=True)
        if part == 0:
            after = [buffer.clone() for buffer in buffers]
        names, unused = list(terms), [gradient is None for gradient in found]
        gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
        return torch.cat([*(g.flatten() for g in gradients), torch.stack(list(terms.values())).detach()])

    mean = team.total(map(worked_out, team.mine(count))) / count
    _put(buffers, after)
    team.shared(buffers)
    *gradients, terms = mean.split([*(p.numel() for p in parameters), len(names)])
    for parameter, gradient, none in zip(parameters, gradients, unused, strict=True):
        parameter.grad = None if none else gradient.view_as(parameter)
    return dict(zip(names, terms, strict=True))


def _kept(network: nn.Module) -> list[Tensor]:
    """Return the buffers of a network that checkpoints keep: those that change."""
    saved = network.state_dict().keys()
    return [buffer for name, buffer in network.named_buffers() if name in saved]


def _put(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)


def private_player(networks: Container[str]) -> str:
    """Return who alone sees real sequences, where they are private."""
    return "discriminator" if "discriminator" in networks else "generator"


def _total(terms: Mapping[str, Tensor]) -> Tensor:
    return sum(terms.values(), torch.zeros((), device=next(iter(terms.values())).device))


def rehearse(record: Mapping[str, Any], data: Encoded, groups: Groups = (), mechanism: Mechanism | None = None) -> None:
    """Take a first step with a state that is thrown away, so that what cannot be trained leaves no run behind.

    Raises:
        ValueError: if the parts do not fit each other.
        Diverged: if it is not finite.
    """
    learner, plan = Learner.build(record, data.x.device), Plan.of(record)
    players = plan.objective.players(0)
    if missing := set(players) - set(learner.optimizers):
        raise ValueError(f"{record['objective']['class_path']} needs a {min(missing)} that learns, and none was given")
    plan.method.check(players)
    if mechanism is not None:
        differential.check(record, learner.networks, plan.objective, plan.method, plan.schedules)
    with kept_settings(record):
        try:
            learner.meet(data, mechanism)
            take_step(learner, data, plan, groups, mechanism)
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"the first step fails: {type(error).__name__}: {error}") from error


def _average(learner: Learner, decay: float) -> None:
    """Move the averaged generator towards the current one; the memory grows with the step up to its final length."""
    decay = min(decay, (1 + learner.step) / (10 + learner.step))
    average, current = learner.average, learner.networks["generator"]
    with torch.no_grad():
        ours: list[Tensor] = list(average.parameters())
        theirs: list[Tensor] = list(current.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - decay)  # type: ignore[attr-defined]
        for kept, buffer in zip(average.buffers(), current.buffers(), strict=True):
            kept.copy_(buffer)


def train(
    run: Run,
    learner: Learner,
    data: Encoded,
    steps: int,
    report: Callable[[dict[str, float]], None] = lambda row: None,
    patients: Groups = (),
    canaries: Sequence[int | None] = (),
    watchers: Sequence[Watcher] = (),
    enough: Callable[[], str] = lambda: "",
    team: Team = ALONE,
) -> bool:
    """Train a run up to a number of steps, writing its log and checkpoints.

    Args:
        run: Where to write; its record says how to train.
        learner: The state, at the run's newest checkpoint; on the device to use.
        data: Encoded training sequences, on the same device.
        steps: Total number of steps to reach.
        report: Called with every log row.
        patients: Which sequences each patient has, as `differential.patients` says; of account under privacy only.
        canaries: What an audit plants, see `differential.Mechanism`.
        watchers: Who looks on; clock.jsonl says how long they took.
        enough: Called at every checkpoint that is due by the record; returns why to stop there, or nothing. It must
            go by the log alone, so that it stops wherever training is carried on from.
        team: Whom this one leads; the others `follow`.

    Returns:
        Whether the number was reached, or the budget of differential privacy, or it was enough; False if SIGINT or
        SIGTERM asked to stop. Either way all is saved.

    Raises:
        Diverged: with what to try; the run stays at its last checkpoint.
        ValueError: if the budget does not pay for another step.
        Lost: if another of the team is gone; the run stays at its last checkpoint.
    """
    plan, every = Plan.of(run.record), run.record["checkpoint_every"]
    groups = groups_of(run, data)
    mechanism = None
    if learner.budget is not None:
        key = differential.noise_key(run.path)
        mechanism = Mechanism.of(run.record, run.preparation, patients, key, canaries)
        assert mechanism is not None
        asked, steps = steps, within_budget(learner, plan, mechanism, steps)
        if steps < asked:
            log.warning("%s: the budget pays for %d of the %d steps, and training stops there", run.path, steps, asked)
    clock = Clock(run, data.x.device, [watcher.name for watcher in watchers])
    log_file = run.path / "log.jsonl"
    opened = contextlib.ExitStack()
    with naming(log_file), kept_settings(run.record), StopFlag() as stop, clock.failing(), opened:
        lines = opened.enter_context(log_file.open("ab"))
        saved, since = learner.step, bytearray()

        def save() -> None:
            nonlocal saved, since, lines
            lines.flush()
            os.fsync(lines.fileno())  # a checkpoint's log rows are on disk before the checkpoint is
            opened.close()  # a mounted cloud folder sends what is closed
            lines = opened.enter_context(log_file.open("ab"))
            learner.save(run.checkpoints, log_state(saved, bytes(since)))
            clock.note("save", learner.step)
            saved, since = learner.step, bytearray()

        clock.note("begin", saved, target=steps)
        learner.meet(data, mechanism)
        why = enough() if learner.step % every == 0 else ""
        while learner.step < steps and not stop.raised and not why:
            looking = [watcher for watcher in watchers if watcher.due(learner.step + 1)]
            for watcher in looking:
                with clock.watching(watcher.name):
                    watcher.before(learner)
            try:
                team.goes_on(True)
                row = take_step(learner, data, plan, groups, mechanism, team)
            except Lost as error:
                raise Lost(f"{error}; the run is kept at step {saved}") from None
            except Diverged as error:
                raise Diverged(f"{error}; the run is kept at step {saved}. {ADVICE}") from None
            for watcher in looking:
                with clock.watching(watcher.name):
                    row |= watcher.after(learner)
            line = json.dumps(row).encode() + b"\n"
            lines.write(line)
            since += line
            if learner.step % every == 0:
                save()
                why = enough()
            elif learner.step % 16 == 0:  # whoever watches the log sees it grow
                lines.flush()
            report(row)
        team.goes_on(False)
        if saved != learner.step:
            save()
        clock.note("end", learner.step, **({"target": learner.step} if why else {}))
    if why:
        log.warning("%s stops early, at step %d: %s", run.path, learner.step, why)
    return learner.step >= steps or bool(why)


def follow(
    learner: Learner,
    data: Encoded,
    record: Mapping[str, Any],
    groups: Groups,
    mechanism: Mechanism | None,
    team: Team,
) -> None:
    """Take the steps of a training that another leads, for as long as it goes on.

    Raises:
        Lost: if another is gone.
    """
    plan = Plan.of(record)
    with kept_settings(record):
        learner.meet(data, mechanism)
        while team.goes_on():
            take_step(learner, data, plan, groups, mechanism, team)


def groups_of(run: Run, data: Encoded) -> Groups:
    """Return which sequences make groups that a run shows equally often."""
    return run.preparation.groups(data, {**EARLIER, **run.record}["balance"])


def within_budget(learner: Learner, plan: Plan, mechanism: Mechanism | None, steps: int) -> int:
    """Return the last step that the budget of differential privacy pays for, of those asked for; all if there is none.

    Raises:
        ValueError: if it does not pay for the next.
    """
    if (budget := learner.budget) is None or mechanism is None or steps <= learner.step:
        return steps
    player = private_player(learner.networks)
    turns = np.cumsum([plan.objective.players(step).count(player) for step in range(learner.step, steps)])
    paid = int(np.searchsorted(turns, budget.affordable(mechanism.rate, int(turns[-1])), side="right"))
    if not paid:
        raise ValueError(
            f"the budget of epsilon {budget.privacy.epsilon:g} at delta {budget.privacy.delta:g} does not pay for step "
            f"{learner.step + 1}; {budget.epsilon:.4g} is spent"
        )
    return learner.step + paid


@contextlib.contextmanager
def kept_settings(record: Mapping[str, Any]) -> Iterator[None]:
    """Train with the run's number of threads, by which sums round; leave it and the random numbers as they were.

    A GPU adds in the same order every time, wherever PyTorch has such a kernel: else no run could be continued exactly.

    On processors without bfloat16 instructions oneDNN has no LSTM in it, and is left out; with them, and AMX, it makes
    convolutions over 10 times faster than what would stand in for it.
    """
    threads, one_dnn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(record["threads"])
    able = record["precision"] == "float32" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    torch.backends.mkldnn.enabled = one_dnn and able  # type: ignore[assignment]
    exact = torch.get_deterministic_debug_mode()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if torch.cuda.is_available():
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[assignment]
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = one_dnn
        torch.set_deterministic_debug_mode(exact)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[assignment]
