"""The training loop, for any objective.

A step is a pure function of (state, seed, step): the noise and the batch of step k are derived from a digest of
(seed, k, turn, rank), so a checkpoint holds no random state and no position in the data, and carrying on is exact by
construction. The same steps give the same log byte for byte and the same weights bit for bit on the same kind of
machine, however often they were interrupted; on a GPU as far as its kernels are deterministic.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from . import checkpoints, components
from .discriminators import Discriminator
from .generators import Generator
from .objectives import Batch, Objective
from .runs import Run, append
from .schedules import Schedule
from .sequences import Encoded, Shape, nearest
from .storage import naming

Precision = Literal["float32", "bfloat16"]


class Diverged(Exception):
    """Training produced a number that is not finite."""


def derive(seed: int, *parts: int | str) -> int:
    """Return a 63-bit seed that depends on all parts, by SHA-256 (unlike `hash`, the same in every process)."""
    text = "/".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Plan:
    """All that decides what a step does, besides the state and the data.

    Args:
        objective: Who plays, and what each minimises.
        schedules: Learning-rate factor of each player by step.
        seed: Of everything random.
        batch: Sequences in one turn.
        average: Decay of the averaged generator; 0 keeps none of the past.
        precision: Of the forward passes; `bfloat16` is autocast.
    """

    objective: Objective
    schedules: Mapping[str, Schedule]
    seed: int
    batch: int
    average: float
    precision: Precision = "float32"

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Plan:
        """Read a plan off a run's record."""
        schedules = {player: components.construct(r, Schedule) for player, r in record["schedules"].items()}
        objective = components.construct(record["objective"], Objective)
        return cls(objective, schedules, record["seed"], record["batch"], record["average"], record["precision"])


@dataclass
class Learner:
    """The state of training: networks by name, the averaged generator, an optimiser per network, and the step.

    Args:
        networks: `generator` and whatever else plays.
        average: The generator averaged over the steps, which is the one to sample from.
        optimizers: One for each network.
        step: How many steps have been taken.
        trains: Which parameters each player trains, by name; the others stay as they are.
    """

    networks: dict[str, Any]
    average: nn.Module
    optimizers: dict[str, Optimizer]
    step: int = 0
    trains: dict[str, dict[str, nn.Parameter]] = field(init=False)

    def __post_init__(self) -> None:
        self.trains = {
            player: {name: parameter for name, parameter in _named(player, network) if parameter.requires_grad}
            for player, network in self.networks.items()
        }

    @classmethod
    def build(cls, record: Mapping[str, Any], device: torch.device) -> Learner:
        """Build the state before the first step, as the seed says."""
        shape = Shape.from_json(record["shape"])
        with torch.random.fork_rng(devices=[]):
            networks = {}
            for name, part in record["networks"].items():
                torch.manual_seed(derive(record["seed"], "weights", name))
                family = Generator if name == "generator" else Discriminator
                networks[name] = components.construct(part, family, shape).to(device)
        _freeze(networks, record["frozen"])
        optimizers = {
            name: components.construct(record["optimizers"][name], Optimizer, list(network.parameters()))
            for name, network in networks.items()
        }
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
        return cls(networks, deepcopy(networks["generator"]).requires_grad_(False), optimizers)

    def save(self, folder: Path, log: Mapping[str, Any]) -> None:
        """Write a checkpoint.

        Args:
            folder: Where checkpoints lie.
            log: What it keeps of the rows of the log since the checkpoint before, from `runs.log_state`.
        """
        networks = {**self.networks, "average": self.average}
        weights = {f"{name}.{key}": v for name, network in networks.items() for key, v in network.state_dict().items()}
        slots, state = {}, {}
        for name, optimizer in self.optimizers.items():
            tensors, state[name] = checkpoints.split_optimizer(optimizer)
            slots |= {f"{name}.{key}": value for key, value in tensors.items()}
        trains = {player: list(parameters) for player, parameters in self.trains.items()}
        tensors = {"networks": weights, "optimizers": slots}
        checkpoints.save(folder, self.step, tensors, {"optimizers": state, "trains": trains, "log": log})

    def load(
        self, tensors: Mapping[str, checkpoints.Tensors], state: Mapping[str, Any], record: Mapping[str, Any]
    ) -> None:
        """Take over a checkpoint.

        Raises:
            ValueError: if a network's class has changed since.
        """
        for name, network in {**self.networks, "average": self.average}.items():
            part = record["networks"]["generator" if name == "average" else name]
            components.fill(network, _below(name, tensors["networks"]), part)
        for name, optimizer in self.optimizers.items():
            checkpoints.join_optimizer(optimizer, _below(name, tensors["optimizers"]), state["optimizers"][name])
        self._restrict(state["trains"])
        self.step = state["step"]

    def inherit(
        self,
        tensors: Mapping[str, checkpoints.Tensors],
        state: Mapping[str, Any],
        parent: Mapping[str, Any],
        record: Mapping[str, Any],
    ) -> list[str]:
        """Take over a checkpoint of a parent with other settings; what does not fit starts anew.

        Args:
            tensors: Of the checkpoint.
            state: Of the checkpoint.
            parent: The record that the checkpoint was trained with.
            record: The record that this state was built with.

        Returns:
            What starts anew, in words.

        Raises:
            ValueError: if the generator does not fit.
        """
        anew: list[str] = []
        for name, network in {**self.networks, "average": self.average}.items():
            part = record["networks"]["generator" if name == "average" else name]
            try:
                components.fill(network, _below(name, tensors["networks"]), part)
            except ValueError:
                if name in ("generator", "average"):
                    sizes = ", ".join(f"{key} {value}" for key, value in part["init_args"].items())
                    raise ValueError(
                        f"the weights of step {state['step']} do not fit a generator {part['class_path']} ({sizes}); "
                        "a branch keeps its parent's, another needs a run of its own"
                    ) from None
                anew.append(f"the {name}")
        for name, optimizer in self.optimizers.items():
            if f"the {name}" in anew:
                continue
            if record["optimizers"][name]["class_path"] != parent["optimizers"][name]["class_path"]:
                anew.append(f"the optimiser of the {name}")
                continue
            groups = optimizer.state_dict()["param_groups"]
            plain = {**state["optimizers"][name], "groups": groups}
            checkpoints.join_optimizer(optimizer, _below(name, tensors["optimizers"]), plain)
        if not anew and record["frozen"] == parent["frozen"] and record["networks"] == parent["networks"]:
            self._restrict(state["trains"])
        self.step = state["step"]
        return anew

    def _restrict(self, trains: Mapping[str, Iterable[str]]) -> None:
        """Let each player train the parameters of these names, and nothing else."""
        everything = {name: p for player, network in self.networks.items() for name, p in _named(player, network)}
        trained = {name for names in trains.values() for name in names}
        for name, parameter in everything.items():
            parameter.requires_grad_(name in trained)
        self.trains = {player: {name: everything[name] for name in names} for player, names in trains.items()}

    def resume(self, run: Run) -> None:
        """Take over the newest whole checkpoint, if there ever was one, and drop log rows beyond it.

        Raises:
            ValueError: if there were checkpoints, but none is whole.
        """
        if found := checkpoints.newest(run.checkpoints):
            self.load(*found, run.record)
            run.verify_log(found[1])
        elif run.start or len(run.log()) > run.record["checkpoint_every"]:
            raise ValueError(f"{run.path} has been trained, but its checkpoints are gone; it is left as it is")
        run.cut_log(self.step)


def _named(player: str, network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in network.named_parameters():
        yield f"{player}.{name}", parameter


def _freeze(networks: Mapping[str, nn.Module], frozen: Iterable[str]) -> None:
    """Let nobody train the parameters whose names begin so.

    Raises:
        ValueError: if there is none.
    """
    named = {name: parameter for player, network in networks.items() for name, parameter in _named(player, network)}
    for beginning in frozen:
        chosen = [name for name in named if f"{name}.".startswith(f"{beginning}.")]
        if not chosen:
            raise ValueError(f"--frozen: no parameter {beginning!r}; {nearest(beginning, named)}")
        for name in chosen:
            named[name].requires_grad_(False)


def _below(prefix: str, tensors: checkpoints.Tensors) -> checkpoints.Tensors:
    return {key.removeprefix(f"{prefix}."): value for key, value in tensors.items() if key.startswith(f"{prefix}.")}


@lru_cache(maxsize=8)
def _order(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)


def batch_index(seed: int, step: int, turn: int, batch: int, count: int) -> Tensor:
    """Return which sequences a turn sees: the data in an order shuffled anew each epoch, cut into batches.

    Every turn of a step has its own order, so that what one player has seen does not depend on the others.
    """
    positions = np.arange(step * batch, (step + 1) * batch)
    epochs = positions // count
    parts = [
        _order(derive(seed, "order", turn, int(e)), count)[positions[epochs == e] % count] for e in np.unique(epochs)
    ]
    return torch.from_numpy(np.concatenate(parts))


def take_step(learner: Learner, data: Encoded, plan: Plan) -> dict[str, float]:
    """Take one step in place, and return its log row.

    Raises:
        Diverged: if a loss or gradient is not finite; the networks are then spoilt.
    """
    step, device = learner.step, data.x.device
    measured: dict[str, Tensor] = {}
    for turn, player in enumerate(plan.objective.players(step)):
        torch.manual_seed(derive(plan.seed, step, turn, 0))
        index = batch_index(plan.seed, step, turn, plan.batch, len(data)).to(device)
        noise = torch.randn(plan.batch, learner.networks["generator"].noise, device=device)
        for name, parameters in learner.trains.items():
            for parameter in parameters.values():
                parameter.requires_grad_(name == player)
        with torch.autocast(device.type, torch.bfloat16, enabled=plan.precision == "bfloat16"):
            terms = plan.objective.loss(player, learner.networks, Batch(data.take(index), noise), step)
        optimizer, parameters = learner.optimizers[player], learner.trains[player].values()
        optimizer.zero_grad()
        sum(terms.values(), torch.zeros((), device=device)).backward()
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * plan.schedules[player](step)
        optimizer.step()
        measured |= {f"{player}.{term}": value.detach() for term, value in terms.items()}
        measured[f"{player}.gradient_norm"] = nn.utils.get_total_norm(
            [p.grad for p in parameters if p.grad is not None]
        )
    _average(learner, plan.average)
    learner.step += 1
    row = dict(zip(measured, torch.stack([value.float() for value in measured.values()]).tolist(), strict=True))
    if bad := [name for name, value in row.items() if not np.isfinite(value)]:
        raise Diverged(f"step {learner.step}: {bad[0]} is {row[bad[0]]}")
    return {"step": learner.step, **row}


def rehearse(record: Mapping[str, Any], data: Encoded) -> None:
    """Take a first step with a state that is thrown away, so that what cannot be trained leaves no run behind.

    Raises:
        ValueError: if the parts do not fit each other.
        Diverged: if it is not finite.
    """
    learner, plan = Learner.build(record, data.x.device), Plan.of(record)
    if missing := set(plan.objective.players(0)) - set(learner.networks):
        raise ValueError(f"{record['objective']['class_path']} needs a {min(missing)}, and none was given")
    with _kept_settings(record):
        try:
            take_step(learner, data, plan)
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


def pick_device(name: str) -> torch.device:
    """Return the device of a name, `auto` being a GPU where there is one.

    Raises:
        ValueError: if it is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise NotImplementedError
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        there = [f"cuda:{j} ({torch.cuda.get_device_name(j)})" for j in range(torch.cuda.device_count())]
        raise ValueError(f"device {name!r} is not on this machine; there are: {', '.join(['cpu', *there])}") from None
    return device


class StopFlag:
    """Turns SIGINT and SIGTERM into a flag while it is entered; a second signal acts as it would without."""

    def __init__(self) -> None:
        self.raised = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._raise)
        return self

    def _raise(self, number: int, frame: Any) -> None:
        self.raised = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *_: object) -> None:
        self._restore()


def train(
    run: Run,
    learner: Learner,
    data: Encoded,
    steps: int,
    report: Callable[[dict[str, float]], None] = lambda row: None,
) -> bool:
    """Train a run up to a number of steps, writing its log and checkpoints.

    Args:
        run: Where to write; its record says how to train.
        learner: The state, at the run's newest checkpoint; on the device to use.
        data: Encoded training sequences, on the same device.
        steps: Total number of steps to reach.
        report: Called with every log row.

    Returns:
        Whether the number was reached; False if SIGINT or SIGTERM asked to stop. Either way all is saved.

    Raises:
        Diverged: with what to try; the run stays at its last checkpoint.
    """
    plan, every = Plan.of(run.record), run.record["checkpoint_every"]
    clock = _Clock(run, data.x.device)
    log_file = run.path / "log.jsonl"
    with naming(log_file), _kept_settings(run.record), StopFlag() as stop, log_file.open("ab") as log:
        saved, since = learner.step, hashlib.sha256()

        def save() -> None:
            nonlocal saved, since
            log.flush()
            os.fsync(log.fileno())  # a checkpoint's log rows are on disk before the checkpoint is
            learner.save(run.checkpoints, {"after": saved, "sha256": since.hexdigest()})
            clock.note("save", learner.step)
            saved, since = learner.step, hashlib.sha256()

        clock.note("begin", saved, target=steps)
        while learner.step < steps and not stop.raised:
            try:
                row = take_step(learner, data, plan)
            except Diverged as error:
                raise Diverged(f"{error}; the run is kept at step {saved}. {ADVICE}") from None
            line = json.dumps(row).encode() + b"\n"
            log.write(line)
            since.update(line)
            if learner.step % every == 0:
                save()
            elif learner.step % 16 == 0:  # whoever watches the log sees it grow
                log.flush()
            report(row)
        if saved != learner.step:
            save()
        clock.note("end", learner.step)
    return learner.step >= steps


ADVICE = (
    "Try a lower learning rate (--discriminator_optimizer.lr, --generator_optimizer.lr), stronger penalties "
    "(--objective.r1, --objective.r2), or --precision float32"
)


@contextlib.contextmanager
def _kept_settings(record: Mapping[str, Any]) -> Iterator[None]:
    """Train with the run's number of threads, by which sums round; leave it and the random numbers as they were.

    In bfloat16 oneDNN is left out: on processors without bfloat16 instructions it has no LSTM.
    """
    threads, one_dnn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(record["threads"])
    torch.backends.mkldnn.enabled = one_dnn and record["precision"] == "float32"  # type: ignore[assignment]
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = one_dnn


class _Clock:
    """Writes what a rerun would not reproduce."""

    def __init__(self, run: Run, device: torch.device) -> None:
        self.path, self.device, self.since = run.path / "clock.jsonl", device, time.perf_counter()

    def note(self, event: Literal["begin", "save", "end"], step: int, **more: int) -> None:
        on_gpu = self.device.type == "cuda"
        row = {
            "event": event,
            "step": step,
            **more,
            "time": round(time.time(), 3),
            "seconds": round(time.perf_counter() - self.since, 3),
            "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            // (2**20 if sys.platform == "darwin" else 1024),
            "gpu_memory_mib": torch.cuda.max_memory_allocated(self.device) // 2**20 if on_gpu else None,
            "device": torch.cuda.get_device_name(self.device) if on_gpu else f"CPU, {torch.get_num_threads()} threads",
            "host": platform.node(),
            "process": os.getpid(),
        }
        append(self.path, [row])
