"""What a network is made of, what flows where in it, and what it costs: read off a network while it computes.

Nothing is asked of a network for this, so that a user's own is described as well as ours. What flows is followed
through every operation of PyTorch, and an operation with the weights of a part belongs to that part; what a network
computes between its parts belongs to the part that reads it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

from .. import components
from ..generators import Generator
from ..learner import Learner
from ..memory import Need, needed
from ..preparation import Preparation
from ..sequences import Encoded
from ..training import Plan, take_step


@dataclass(frozen=True)
class Part:
    """A part of a network.

    Args:
        name: Of the part; empty for the whole network.
        kind: Its class.
        parameters: Numbers that are learned in it.
        frozen: Numbers in it that are parameters, and stay as they are.
        output: Of one sequence, as it came out first; empty if that is no tensor, or nothing came out.
    """

    name: str
    kind: str
    parameters: int
    frozen: int
    output: tuple[int, ...] = ()

    @property
    def depth(self) -> int:
        """How far inside the network it lies."""
        return self.name.count(".") + bool(self.name)


@dataclass(frozen=True)
class Anatomy:
    """What a network is made of.

    Args:
        parts: In the order in which they were made, the whole network first.
        flows: Pairs of names: from an input or a part directly in the network, to a part or an output.
        inputs: Names and sizes of what it is given.
        outputs: Names and sizes of what it makes.
    """

    parts: tuple[Part, ...]
    flows: tuple[tuple[str, str], ...]
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Description:
    """What a learner is made of, and what it costs.

    Args:
        networks: By player.
        drawing: Operations for each sequence that is drawn, see `counting`.
        step: Operations of a step of training, penalties included; None if it cannot be trained here.
        memory: What training takes; None if it cannot be trained here.
    """

    networks: dict[str, Anatomy]
    drawing: int
    step: int | None = None
    memory: Need | None = None


def describe(record: Mapping[str, Any], preparation: Preparation) -> Description:
    """Describe a run's networks and what they cost, on sequences that they make up; its data are not needed.

    Args:
        record: How to train, see `Run.record`.
        preparation: How its data are encoded.
    """
    record, shape = {**record, "balance": ""}, preparation.shape
    learner = None if record.get("generator_only") else Learner.build(record, torch.device("cpu"))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        generator = (
            learner.networks["generator"]
            if learner
            else components.construct(record["networks"]["generator"], Generator, shape)
        ).eval()
        few = torch.randn(DRAWN, generator.noise), torch.zeros(DRAWN, shape.condition)
        with counting() as counter:
            seen, made = of_generator(generator, *few)
        networks, drawing = {"generator": seen}, counter.count // DRAWN
        if learner is None:
            return Description(networks, drawing)
    for player, network in learner.networks.items():
        if player != "generator":
            told = generator.judged(shape).condition - shape.condition  # of pasts
            networks[player] = of_discriminator(network, replace(made, condition=pad(made.condition, (0, told))))
    made = made.take(torch.arange(max(DRAWN, record["batch"])) % DRAWN)
    patients = [np.array([index]) for index in range(len(made))]
    return Description(networks, drawing, _step(record, made), needed(record, made, preparation, patients))


DRAWN = 8
"""Sequences that are drawn to be described."""


def _step(record: Mapping[str, Any], made: Encoded) -> int | None:
    """Count the operations of a first step, in which no penalty is left out."""
    plan = Plan.of(record)
    learner = Learner.build(record, torch.device("cpu"))
    learner.meet(made)
    with counting() as counter:
        take_step(learner, made, plan)
    return counter.count


def of_generator(generator: nn.Module, noise: Tensor, condition: Tensor) -> tuple[Anatomy, Encoded]:
    """Describe a generator; return what it drew, too, as many sequences as there is noise."""
    return _look(generator, {"noise": noise, "condition": condition}, lambda: generator(noise, condition))


def of_discriminator(discriminator: nn.Module, encoded: Encoded) -> Anatomy:
    """Describe a discriminator, which judges sequences."""
    given = {"sequences": encoded.x, "statics": encoded.s, "condition": encoded.condition}
    return _look(discriminator, given, lambda: discriminator(encoded, encoded.condition))[0]


@contextmanager
def counting() -> Iterator[_Counter]:
    """Count the additions and multiplications of matrix products, convolutions and attention in what is done.

    What is done number by number is not counted. Fused kernels, whose inside cannot be seen, are done without.
    """
    with warnings.catch_warnings(), _Counter() as counter:
        warnings.filterwarnings("ignore", message="TF32 acceleration")
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False):
            yield counter


class _Counter(TorchDispatchMode):
    """PyTorch's own counter attaches hooks to modules, which gradients of gradients do not bear."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.count += formula(*args, **(kwargs or {}), out_val=made)
        return made


Made = TypeVar("Made", Encoded, Tensor)


def _look(network: nn.Module, given: Mapping[str, Tensor], work: Callable[[], Made]) -> tuple[Anatomy, Made]:
    given = {name: tensor for name, tensor in given.items() if tensor.shape[1]}
    flow = _Flow(given)
    with torch.no_grad(), flow.through(network):
        made = work()
    outputs = {"score": made} if isinstance(made, Tensor) else {"sequences": made.x, "statics": made.s}
    if isinstance(made, Encoded) and made.coarse:
        outputs["coarser"] = made.coarse[0]
    outputs = {name: tensor for name, tensor in outputs.items() if tensor.dim() == 1 or tensor.shape[1]}
    ends = {(source, f"{name} out") for name, tensor in outputs.items() for source in flow.sources(tensor)}
    anatomy = Anatomy(
        tuple(_part(name, module, flow.shapes.get(name, ())) for name, module in network.named_modules()),
        (*flow.pairs, *sorted(ends)),
        {name: tuple(tensor.shape[1:]) for name, tensor in given.items()},
        {f"{name} out": tuple(tensor.shape[1:]) for name, tensor in outputs.items()},
    )
    return anatomy, made


def _part(name: str, module: nn.Module, shape: tuple[int, ...]) -> Part:
    learned, frozen = (
        sum(p.numel() for p in module.parameters() if p.requires_grad == wanted) for wanted in (True, False)
    )
    return Part(name, _kind(module), learned, frozen, shape)


def _kind(module: nn.Module) -> str:
    """Return the class of a module; of a list, that of what is in it."""
    inside = {type(each).__name__: None for each in module.children()} if isinstance(module, nn.ModuleList) else {}
    counted = f" x {len(list(module.children()))}" if len(inside) == 1 else ""
    return (", ".join(inside) + counted if inside else type(module).__name__).removeprefix("_").removesuffix(" x 1")


class _Flow(TorchFunctionMode):
    """Notes of every tensor from which inputs and parts it was computed, without passing through another part."""

    def __init__(self, given: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.known: MutableMapping[Tensor, frozenset[str]] = WeakTensorKeyDictionary()
        self.owners: MutableMapping[Tensor, str] = WeakTensorKeyDictionary()
        self.pairs: dict[tuple[str, str], None] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name, tensor in given.items():
            self._note(tensor, frozenset([name]))

    @contextmanager
    def through(self, network: nn.Module) -> Iterator[None]:
        """Follow what flows while a network computes."""
        self.owners.update({p: name.partition(".")[0] for name, p in network.named_parameters() if "." in name})
        with ExitStack() as stack:
            for name, module in network.named_modules():
                if name and not isinstance(module, nn.Identity):
                    stack.callback(module.register_forward_pre_hook(self._into(name), with_kwargs=True).remove)
                    stack.callback(module.register_forward_hook(self._out_of(name)).remove)
            with self:
                yield

    def sources(self, value: Any) -> frozenset[str]:
        """Return what the tensors in a value were computed from."""
        return frozenset().union(*(self.known.get(tensor, ()) for tensor in tensors(value)))

    def _note(self, value: Any, sources: frozenset[str]) -> None:
        for tensor in tensors(value):
            self.known[tensor] = sources

    def _into(self, name: str) -> Callable[..., None]:
        own = name.partition(".")[0]

        def look(module: nn.Module, args: Any, kwargs: Any) -> None:
            self._pair(self.sources((args, kwargs)), own)

        return look

    def _pair(self, sources: frozenset[str], own: str) -> None:
        self.pairs |= dict.fromkeys((source, own) for source in sorted(sources - {own}))

    def _out_of(self, name: str) -> Callable[..., None]:
        own = frozenset([name.partition(".")[0]])

        def look(module: nn.Module, args: Any, made: Any) -> None:
            first = next(tensors(made), None)
            if first is not None:
                self.shapes.setdefault(name, tuple(first.shape[1:]))
            self._note(made, own)

        return look

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = list(tensors((args, kwargs)))
        sources = self.sources(given)
        if owner := next((self.owners[tensor] for tensor in given if tensor in self.owners), ""):
            if not sources:  # weights made of weights
                self.owners.update(dict.fromkeys(tensors(made), owner))
                return made
            self._pair(sources, owner)
            sources = frozenset([owner])
        if sources:
            self._note(made, sources)
            if getattr(func, "__name__", "") == "__setitem__":
                self._note(args[0], sources | self.sources(args[0]))
        return made


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in what a module takes or returns, however nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors(each)
    elif isinstance(value, Mapping):
        yield from tensors(list(value.values()))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from tensors([getattr(value, field.name) for field in fields(value)])
