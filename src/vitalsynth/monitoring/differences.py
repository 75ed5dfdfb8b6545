"""The gradient of the whole objective against central differences, in double precision, parameter by parameter.

    g · v  against  (L(w + h v) - L(w - h v)) / 2h

for a random direction v of one parameter at a time. What a network treats as a constant on purpose is held as it was
at w: what it detached or computed without gradients, and what it compared or rounded (a category drawn straight
through, the direction of power iteration). Of equal values the largest stays the one it was, as masks of 0 and 1 are
often equal. The function that is left is the one whose gradient training means to
follow. Inside of an `autograd.Function` nothing is held, since there the backward was written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from ..learner import Learner
from ..objectives import Batch
from ..seeds import derive
from ..sequences import Encoded
from ..training import Plan

BATCH = 16
"""Most sequences that are looked at: a wrong gradient is wrong for any."""
SIZES = (1e-6, 1e-5, 1e-7)
"""Steps h tried, each in another direction, until one agrees."""
TOLERANCE = 1e-3
STEPWISE = frozenset(
    {"detach", "gt", "lt", "ge", "le", "eq", "ne", "round", "floor", "ceil", "trunc", "sign", "heaviside"}
    | {"argmax", "argmin", "argsort", "bucketize", "searchsorted"}
)
"""Functions without slope, but for where they jump; by what they are called."""


@dataclass(frozen=True)
class Disagreement:
    """A parameter whose gradient is not that of the objective.

    Args:
        parameter: By name.
        told: Slope by its gradient, in a random direction.
        measured: Slope by differences, in the same direction.
    """

    parameter: str
    told: float
    measured: float


def disagreements(learner: Learner, plan: Plan, data: Encoded, player: str) -> list[Disagreement]:
    """Compare a player's gradient with differences of its loss, in the order of its parameters.

    Args:
        learner: A copy, as it is left in double precision.
        plan: How it is trained.
        data: Encoded training sequences.
        player: Whose loss it is.

    Raises:
        RuntimeError: if the networks cannot compute in double precision.
    """
    with _double(learner):
        loss = _Loss(learner, plan, data, player)
        parameters = learner.trains[player]
        for name, own in learner.trains.items():
            for parameter in own.values():
                parameter.requires_grad_(name == player)
        value = loss(held=False)
        slopes = torch.autograd.grad(value, list(parameters.values()), materialize_grads=True)
        at = float(value.detach())
        found = [_compare(loss, at, name, p, g) for (name, p), g in zip(parameters.items(), slopes, strict=True)]
    return [each for each in found if each is not None]


def _compare(loss: _Loss, here: float, name: str, parameter: Tensor, gradient: Tensor) -> Disagreement | None:
    """Compare one parameter. Where a kink lies on one side, however near, the slope towards the other is that told."""
    at, told, central = parameter.detach().clone(), 0.0, 0.0
    for k, size in enumerate(SIZES):
        direction = torch.randn(at.shape, generator=torch.Generator().manual_seed(k)).to(at)
        ends = []
        for sign in (1, -1):
            parameter.data.copy_(at + sign * size * direction)
            ends.append(float(loss(held=True).detach()))
        parameter.data.copy_(at)
        told, central = float((gradient * direction).sum()), (ends[0] - ends[1]) / (2 * size)
        for measured in (central, (ends[0] - here) / size, (here - ends[1]) / size):
            scale = max(float(gradient.norm()), abs(measured))
            if abs(told - measured) <= TOLERANCE * scale + 1e-13 * (1 + abs(here)) / size:
                return None
    return Disagreement(name, told, central)


class _Loss:
    """A player's loss as a function of the weights: batch, noise, what is held and all that is random stay."""

    def __init__(self, learner: Learner, plan: Plan, data: Encoded, player: str) -> None:
        self.learner, self.plan, self.player = learner, plan, player
        self.seed = derive(plan.seed, "differences", player)
        chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(self.seed))[:BATCH]
        self.real = data.take(chosen.to(data.x.device)).to(torch.float64)
        self.buffers = {b: b.clone() for network in learner.networks.values() for b in network.buffers()}
        self.constants: list[Tensor] = []

    def __call__(self, held: bool) -> Tensor:
        for buffer, value in self.buffers.items():
            buffer.copy_(value)
        torch.manual_seed(self.seed)
        networks, device = self.learner.networks, self.real.x.device
        noise = torch.randn(len(self.real), networks["generator"].noise, device=device)
        with _Holding(self.constants, held) as holding, holding.minding_functions():
            terms = self.plan.objective.loss(self.player, networks, Batch(self.real, noise), self.learner.step)
        return sum(terms.values(), torch.zeros((), dtype=torch.float64, device=device))


class _Holding(TorchFunctionMode):
    """Notes in order what counts as constant, or puts it in again; and keeps double precision where it is cast away."""

    def __init__(self, constants: list[Tensor], held: bool) -> None:
        super().__init__()
        self.constants, self.inside = constants, 0
        self.replay = iter(constants) if held else None
        if not held:
            constants.clear()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        single = torch.float32
        if name == "float" and args[0].dtype == torch.float64:
            return args[0]
        args = tuple(torch.float64 if arg is single else arg for arg in args)
        kwargs = {key: torch.float64 if value is single else value for key, value in kwargs.items()}
        made = func(*args, **kwargs)
        if self.inside:
            return made
        if name in ("max", "min") and isinstance(made, tuple):
            place = self._held(made[1])
            dim = args[1] if len(args) > 1 else kwargs["dim"]
            values = torch.take_along_dim(args[0], place if place.ndim == args[0].ndim else place.unsqueeze(dim), dim)
            return type(made)((values.reshape(place.shape), place))
        return self._held(made) if isinstance(made, Tensor) and self._constant(name) else made

    def _held(self, made: Tensor) -> Tensor:
        """Note a constant, or return what it was."""
        if self.replay is not None:
            return next(self.replay).clone()
        self.constants.append(made.detach().clone())
        return made

    def _constant(self, name: str) -> bool:
        in_place = name.endswith("_") and not name.endswith("__")
        without_gradient = not torch.is_grad_enabled() and name not in ("__get__", "__set__") and not in_place
        return name.strip("_") in STEPWISE or without_gradient

    @contextmanager
    def minding_functions(self) -> Iterator[None]:
        """Know when an `autograd.Function` computes, which does so without gradients, too."""
        apply: Callable[..., Any] = Function.apply.__func__  # type: ignore[attr-defined]

        def minded(cls: type[Function], *args: Any, **kwargs: Any) -> Any:
            self.inside += 1
            try:
                return apply(cls, *args, **kwargs)
            finally:
                self.inside -= 1

        with patch.object(Function, "apply", classmethod(minded)):
            yield


@contextmanager
def _double(learner: Learner) -> Iterator[None]:
    """Compute in double precision, on the CPU's own kernels."""
    default = torch.get_default_dtype()
    for network in learner.networks.values():
        network.double()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_default_dtype(default)
