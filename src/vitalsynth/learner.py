"""The state of training: networks, the averaged generator, optimisers, which player trains what, and the step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from . import checkpoints, components
from .differential import Budget, Mechanism
from .discriminators import Discriminator, Total
from .generators import Generator
from .runs import Run
from .seeds import derive
from .sequences import Encoded, Shape, nearest


@dataclass
class Learner:
    """The state of training: networks by name, the averaged generator, an optimiser per network, and the step.

    Args:
        networks: `generator` and whatever else plays.
        average: The generator averaged over the steps, which is the one to sample from.
        optimizers: One for each network that has parameters.
        step: How many steps have been taken.
        balance: How far the discriminator has been ahead lately, from -1 to 1, by its adversarial loss.
        memory: What the method of playing remembers from step to step; often nothing.
        budget: Of differential privacy, and what was spent of it; None if nothing is promised.
        trains: Which parameters each player trains, by name; the others stay as they are.
    """

    networks: dict[str, Any]
    average: nn.Module
    optimizers: dict[str, Optimizer]
    step: int = 0
    balance: float = 0.0
    memory: dict[str, Tensor] = field(default_factory=dict)
    budget: Budget | None = None
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
                if name == "generator":
                    shape = networks[name].judged(shape)
        _freeze(networks, record["frozen"])
        optimizers = {
            name: components.construct(record["optimizers"][name], Optimizer, list(network.parameters()))
            for name, network in networks.items()
            if list(network.parameters())
        }
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
        average = deepcopy(networks["generator"]).requires_grad_(False)
        average.to(
            device
        )  # where it is already; but this makes one piece of the weights of a copy, as cuDNN wants them
        return cls(networks, average, optimizers, budget=Budget.of(record))

    def meet(self, data: Encoded, mechanism: Mechanism | None = None) -> None:
        """Let a discriminator look at a thousand real sequences before it plays, and learn the mean that it may need.

        Raises:
            ValueError: if the budget of differential privacy does not pay for the mean.
        """
        discriminator = self.networks.get("discriminator")
        if isinstance(discriminator, Discriminator):
            few = torch.linspace(0, len(data) - 1, min(len(data), 1000), device=data.x.device).long()
            discriminator.meet(data.take(few))
            discriminator.know(data, partial(self._mean, data, mechanism))

    def _mean(self, data: Encoded, mechanism: Mechanism | None, total: Total) -> Tensor:
        """Return the mean of all sequences, or under privacy that of all patients, with the noise that is paid for."""
        if mechanism is None:
            everyone = torch.arange(len(data), device=data.x.device)
            return total(everyone, torch.ones_like(everyone, dtype=data.x.dtype)) / len(data)
        assert self.budget is not None
        if not self.budget.affordable(1.0, 1):
            raise ValueError(
                f"--privacy.noise {mechanism.privacy.noise:g} on the mean of the data costs more than the budget of "
                f"epsilon {mechanism.privacy.epsilon:g}; 0 takes as much as fits"
            )
        self.budget.spend(1.0)
        return mechanism.release(total, data.x.device) / len(mechanism.members)

    def save(self, folder: Path, log: Mapping[str, Any]) -> None:
        """Write a checkpoint.

        Args:
            folder: Where checkpoints lie.
            log: What it keeps of the rows of the log since the checkpoint before, from `runs.log_state`.
        """
        tensors, plain = self.contents()
        checkpoints.save(folder, self.step, tensors, {**plain, "log": log})

    def contents(self) -> tuple[dict[str, checkpoints.Tensors], dict[str, Any]]:
        """Return what a checkpoint holds of it, tensors and the rest; the tensors are its own, not copies."""
        weights = {f"{name}.{key}": v for name, network in self._saved() for key, v in network.state_dict().items()}
        slots, state = {}, {}
        for name, optimizer in self.optimizers.items():
            tensors, state[name] = checkpoints.split_optimizer(optimizer)
            slots |= {f"{name}.{key}": value for key, value in tensors.items()}
        trains = {player: list(parameters) for player, parameters in self.trains.items()}
        tensors = {"networks": weights, "optimizers": slots} | ({"method": self.memory} if self.memory else {})
        plain = {"optimizers": state, "trains": trains, "balance": self.balance}
        if self.budget is not None:
            plain["privacy"] = self.budget.to_json()
        return tensors, plain

    def follow(self, other: Learner, record: Mapping[str, Any]) -> None:
        """Take over the state of another that was built from the same record; they go their own ways from then on."""
        tensors, plain = other.contents()
        own = {name: {key: value.detach().clone() for key, value in group.items()} for name, group in tensors.items()}
        self.load(own, {**plain, "step": other.step}, record)

    def _saved(self) -> Iterator[tuple[str, nn.Module]]:
        yield from {**self.networks, "average": self.average}.items()

    def load(
        self, tensors: Mapping[str, checkpoints.Tensors], state: Mapping[str, Any], record: Mapping[str, Any]
    ) -> None:
        """Take over a checkpoint.

        Raises:
            ValueError: if a network's class has changed since.
        """
        for name, network in self._saved():
            part = record["networks"]["generator" if name == "average" else name]
            components.fill(network, _below(name, tensors["networks"]), part)
        for name, optimizer in self.optimizers.items():
            checkpoints.join_optimizer(optimizer, _below(name, tensors["optimizers"]), state["optimizers"][name])
        self._restrict(state["trains"])
        self._remember(tensors)
        self.step, self.balance = state["step"], state.get("balance", 0.0)  # earlier checkpoints have none
        if self.budget is not None:
            self.budget.load(state["privacy"])

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
            ValueError: if the generator does not fit, or privacy is asked for that the parent has not promised.
        """
        if self.budget is not None:
            if "privacy" not in state:
                raise ValueError(
                    "the parent was trained without --privacy, and nothing can be promised for what it knows already"
                )
            self.budget.load(state["privacy"])
        strangers: list[str] = []
        for name, network in self._saved():
            part = record["networks"]["generator" if name == "average" else name]
            try:
                components.fill(network, _below(name, tensors["networks"]), part)
            except ValueError:
                if part is record["networks"]["generator"]:
                    sizes = ", ".join(f"{key} {value}" for key, value in part["init_args"].items())
                    raise ValueError(
                        f"the weights of step {state['step']} do not fit a generator {part['class_path']} ({sizes}); "
                        "a branch keeps its parent's, another needs a run of its own"
                    ) from None
                strangers.append(name)
        classes = [{name: part["class_path"] for name, part in r["optimizers"].items()} for r in (parent, record)]
        others = [name for name in self.optimizers if name not in strangers and classes[0][name] != classes[1][name]]
        for name, optimizer in self.optimizers.items():
            if name not in (*strangers, *others):
                settings = {**state["optimizers"][name], "groups": optimizer.state_dict()["param_groups"]}
                checkpoints.join_optimizer(optimizer, _below(name, tensors["optimizers"]), settings)
        if all(record[key] == parent[key] for key in ("networks", "frozen")):
            self._restrict(state["trains"])
        if all(record[key] == parent.get(key) for key in ("networks", "frozen", "method")):
            self._remember(tensors)
        self.step = state["step"]
        self.balance = 0.0 if "discriminator" in strangers else state.get("balance", 0.0)
        return [f"the {name}" for name in strangers] + [f"the optimiser of the {name}" for name in others]

    def _restrict(self, trains: Mapping[str, Iterable[str]]) -> None:
        """Let each player train the parameters of these names, and nothing else."""
        everything = {name: p for player, network in self.networks.items() for name, p in _named(player, network)}
        trained = {name for names in trains.values() for name in names}
        for name, parameter in everything.items():
            parameter.requires_grad_(name in trained)
        self.trains = {player: {name: everything[name] for name in names} for player, names in trains.items()}

    def _remember(self, tensors: Mapping[str, checkpoints.Tensors]) -> None:
        device = next(self.average.parameters()).device
        self.memory = {name: value.to(device) for name, value in tensors.get("method", {}).items()}

    def resume(self, run: Run) -> None:
        """Take over the newest whole checkpoint whose log is there, if there ever was one; the log then ends with it.

        Raises:
            ValueError: if there were checkpoints, but none is whole.
        """
        if found := checkpoints.newest(run.checkpoints, run.lacks):
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
