"""Gradients layer by layer: four numbers that say whether a layer learns.

    norm = |g|,   dead = share of g that is exactly 0,   update = |w' - w| / |w|,   cosine = g · g' / (|g| |g'|)

for the gradient g of a layer in a step, its weights w before and w' after it, and its gradient g' in the next step. A
cosine near 1 says that steps agree, so larger ones would do; one well below 0 that they undo each other. Updates of a
thousandth of the weights are usual (Karpathy 2019, "A recipe for training neural networks").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..learner import Learner
from ..training import Diverged

Parameters = Mapping[str, Mapping[str, nn.Parameter]]
Gradients = dict[str, Tensor]


class GradientWatcher:
    """Logs the figures of every layer, as `gradients.<player>.<layer>.<figure>`.

    Args:
        every: In every how many steps; 0 for never.
        ahead: Returns the gradients of the next step, without taking it; None leaves the cosine out.
    """

    name = "gradients"

    def __init__(self, every: int, ahead: Callable[[Learner], Gradients] | None = None) -> None:
        self.every, self.ahead = every, ahead
        self.weights: Gradients = {}

    def due(self, step: int) -> bool:
        """Look at every `every`-th step."""
        return self.every > 0 and step % self.every == 0

    def before(self, learner: Learner) -> None:
        """Note the weights."""
        self.weights = weights(learner.trains)

    def after(self, learner: Learner) -> dict[str, float]:
        """Return the figures of the step."""
        own = gradients(learner.trains)
        following = self.ahead(learner) if self.ahead is not None else {}
        return {f"gradients.{name}": v for name, v in figures(learner.trains, self.weights, own, following).items()}


class Ahead:
    """Takes the next step with a state that is thrown away.

    What a step's gradient agrees with is so known from the state alone, however often training is interrupted.

    Args:
        spare: A learner built from the same record.
        record: That record.
        take: Takes a step.
    """

    def __init__(self, spare: Learner, record: Mapping[str, object], take: Callable[[Learner], object]) -> None:
        self.spare, self.record, self.take = spare, record, take

    def __call__(self, learner: Learner) -> Gradients:
        """Return the gradients of the step that comes next; none if it is not finite."""
        self.spare.follow(learner, self.record)
        try:
            self.take(self.spare)
        except Diverged:
            return {}
        return gradients(self.spare.trains)


def weights(trains: Parameters) -> Gradients:
    """Return a copy of the weights that are trained, by name."""
    return {name: parameter.detach().clone() for name, parameter in _every(trains).items()}


def gradients(trains: Parameters) -> Gradients:
    """Return the gradients that lie there, by name; zeros where there is none."""
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in _every(trains).items()}


def growth(first: Gradients, now: Gradients) -> dict[str, float]:
    """Return the norm of all weights of every player over what it was at first."""
    squares: dict[str, list[float]] = {}
    for name, own in now.items():
        total = squares.setdefault(name.partition(".")[0], [0.0, 0.0])
        for k, each in enumerate((first[name], own)):
            total[k] += float(each.double().square().sum())
    return {player: math.sqrt(after / before) for player, (before, after) in squares.items() if before}


def unreached(trains: Parameters) -> set[str]:
    """Return the layers none of whose parameters has been given a gradient."""
    every = _every(trains)
    return {layer(name) for name in every} - {layer(name) for name, p in every.items() if p.grad is not None}


def _every(trains: Parameters) -> dict[str, nn.Parameter]:
    return {name: parameter for parameters in trains.values() for name, parameter in parameters.items()}


def layer(parameter: str) -> str:
    """Return the layer that a parameter belongs to: `generator.first.weight` -> `generator.first`."""
    above, _, own = parameter.rpartition(".")
    return above if "." in above else f"{above}.{own}"  # one that a network holds itself stands for itself


def figures(trains: Parameters, before: Gradients, own: Gradients, following: Gradients) -> dict[str, float]:
    """Return the four figures of every layer, `<player>.<layer>.<figure>`; what is not defined is left out.

    Args:
        trains: Which parameters each player trains, after the step.
        before: Weights before it.
        own: Gradients of the step.
        following: Those of the next one; none leaves the cosine out.
    """
    sums: dict[str, list[Tensor]] = {}
    for name, parameter in _every(trains).items():
        g, w = own[name], before[name]
        h = following.get(name, torch.zeros_like(g))
        parts = [g.square(), g == 0, (parameter.detach() - w).square(), w.square(), g * h, h.square()]
        sums[name] = [part.sum(dtype=torch.float64) for part in parts]
    numbers = torch.stack([torch.stack(each) for each in sums.values()]).tolist() if sums else []
    layers: dict[str, list[float]] = {}
    for (name, parameter), each in zip(_every(trains).items(), numbers, strict=True):
        total = layers.setdefault(layer(name), [0.0] * 7)
        layers[layer(name)] = [a + b for a, b in zip(total, [*each, parameter.numel()], strict=True)]
    found: dict[str, float] = {}
    for name, (squares, zeros, moved, size, product, others, count) in layers.items():
        if not count:  # a network without statics has a layer for them all the same
            continue
        found[f"{name}.norm"], found[f"{name}.dead"] = math.sqrt(squares), zeros / count
        if size:
            found[f"{name}.update"] = math.sqrt(moved / size)
        if squares and others:
            found[f"{name}.cosine"] = product / math.sqrt(squares * others)
    return found
