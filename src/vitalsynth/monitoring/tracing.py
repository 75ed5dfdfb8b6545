"""Steps taken with open eyes: in which layer the first number arose that is not finite, and what is saturated.

Forwards, it arose in the first module whose output is not finite; backwards, in the first through which a gradient that
is not finite came out. Modules are known by name, `discriminator.perceptron.2`; what a network computes between its
modules counts as of the module around it. What fused kernels compute (the gates of torch's LSTM) cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..layers import Emission
from ..learner import Learner
from ..training import Diverged
from .anatomy import tensors

EDGE = 0.01
"""Nearer than this to an end of its range an activation counts as saturated: its slope is below 4 % of the largest."""


def locate(learner: Learner, take: Callable[[Learner], Any], step: int) -> str:
    """Repeat training up to a step that is known to be not finite; return where it arose, or nothing if it did not.

    Args:
        learner: The state at some step before; it is spoilt.
        take: Takes a step.
        step: The number of the step that fails.
    """
    trace = Trace()
    try:
        while learner.step < step - 1:
            take(learner)
        for parameters in learner.trains.values():
            for parameter in parameters.values():
                parameter.requires_grad_()  # hooks are only taken by what has a gradient
        with trace.of(learner.networks):
            take(learner)
    except Diverged:
        return trace.origin
    return ""


class Trace:
    """Notes where the first number arose that is not finite.

    Attributes:
        origin: Where, in words; empty while all is finite.
    """

    def __init__(self) -> None:
        self.origin = ""
        self.seen: dict[int, tuple[Tensor, list[tuple[str, str]]]] = {}

    @contextmanager
    def of(self, networks: Mapping[str, nn.Module]) -> Iterator[None]:
        """Look on while the networks compute, forwards and backwards."""
        with ExitStack() as stack:
            for name, module in _named_modules(networks):
                stack.callback(module.register_forward_hook(self._forwards(name), with_kwargs=True).remove)
                for own, parameter in module.named_parameters(recurse=False):
                    if parameter.requires_grad:
                        hook = self._backwards([("weight", f"{name}.{own}")])
                        stack.callback(parameter.register_hook(hook).remove)
                    if not _finite(parameter):
                        self._note(f"the weights {name}.{own} are {_kind(parameter)} before the step begins")
            yield

    def _note(self, origin: str) -> None:
        self.origin = self.origin or origin

    def _forwards(self, name: str) -> Callable[..., None]:
        def look(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            for given in _tensors((args, kwargs)):
                if not _finite(given):
                    self._note(f"{_kind(given)} first came into {name}, going forwards")
                self._watch(given, "into", name)
            for made in _tensors(output):
                if not _finite(made):
                    self._note(f"{_kind(made)} first came out of {name}, going forwards")
                self._watch(made, "out of", name)

        return look

    def _watch(self, tensor: Tensor, side: str, name: str) -> None:
        """Look at the gradient of what goes into or comes out of a module, once for all modules that share it."""
        if not tensor.requires_grad:
            return
        if id(tensor) not in self.seen:
            self.seen[id(tensor)] = (tensor, [])  # the tensor is kept, so that its id stays its own
            tensor.register_hook(self._backwards(self.seen[id(tensor)][1]))
        self.seen[id(tensor)][1].append((side, name))

    def _backwards(self, roles: list[tuple[str, str]]) -> Callable[[Tensor | None], None]:
        def look(gradient: Tensor | None) -> None:
            if self.origin or gradient is None or _finite(gradient):  # none: a kernel knows that it is zero
                return
            through = [name for side, name in roles if side == "into"]
            after = [name for side, name in roles if side == "out of"]
            weights = [name for side, name in roles if side == "weight"]
            where = (
                f"of the weights {weights[0]}"
                if weights
                else f"through {through[0]}"
                if through
                else f"of what comes out of {after[0]}, so in what follows it"
            )
            self._note(f"{_kind(gradient)} first came up in the gradient {where}, going backwards")

        return look


class Saturation(TorchFunctionMode):
    """Counts how much of what sigmoid and tanh give lies at the ends of their range, layer by layer.

    The columns that a network emits are left out: of them it may be sure.
    """

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.networks, self.inside = networks, [("", None)]
        self.counts: dict[tuple[str, str], list[int]] = {}

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look on while the networks compute."""
        with ExitStack() as stack:
            for name, module in _named_modules(self.networks):
                enter = lambda module, args, name=name: self.inside.append((name, module))  # noqa: E731
                stack.callback(module.register_forward_pre_hook(enter).remove)
                leave = lambda module, args, output: self.inside.pop() and None  # noqa: E731
                stack.callback(module.register_forward_hook(leave, always_call=True).remove)
            with self:
                yield

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name, (layer, module) = getattr(func, "__name__", ""), self.inside[-1]
        if name in ("sigmoid", "tanh") and not isinstance(module, Emission) and isinstance(made, Tensor):
            share = made.detach() if name == "sigmoid" else (1 + made.detach()) / 2
            count = self.counts.setdefault((layer, name), [0, 0])
            count[0] += int(((share < EDGE) | (share > 1 - EDGE)).sum())
            count[1] += share.numel()
        return made

    def shares(self) -> dict[tuple[str, str], float]:
        """Return the share that is saturated, by layer and function."""
        return {key: saturated / max(1, count) for key, (saturated, count) in self.counts.items()}


def _named_modules(networks: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    for player, network in networks.items():
        for name, module in network.named_modules():
            yield f"{player}.{name}".rstrip("."), module


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the numbers in what a module takes or returns."""
    return (tensor for tensor in tensors(value) if tensor.is_floating_point())


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor.detach()).all())


def _kind(tensor: Tensor) -> str:
    return "NaN" if torch.isnan(tensor.detach()).any() else "Inf"
