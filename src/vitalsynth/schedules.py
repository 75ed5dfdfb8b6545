"""Learning rates as functions of the step alone, so that a run carried on is the run that never stopped.

A schedule returns the factor by which an optimiser's own learning rate is multiplied at a step. How many steps a run
will have in the end is not known to it: what it needs to know, it is told (`over`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod


class Schedule(ABC):
    """Factor of the learning rate by step."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Return the factor at a step, counted from 0."""


class Constant(Schedule):
    """Always the optimiser's own learning rate."""

    def __call__(self, step: int) -> float:
        """Return 1."""
        return 1.0


class Cosine(Schedule):
    """Rise linearly, then fall along half a cosine to a final factor, and stay there."""

    def __init__(self, over: int, warmup: int = 0, final: float = 0.0) -> None:
        """Set the course.

        Args:
            over: The step at which the final factor is reached.
            warmup: Steps of linear rise from 0.
            final: Factor from `over` on.
        """
        if not 0 <= warmup < over:
            raise ValueError(f"a cosine schedule needs 0 <= warmup < over, got warmup {warmup} and over {over}")
        self.over, self.warmup, self.final = over, warmup, final

    def __call__(self, step: int) -> float:
        """Return the factor at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = min(1.0, (step - self.warmup) / (self.over - self.warmup))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


class Halving(Schedule):
    """Fall exponentially: half after every `every` steps."""

    def __init__(self, every: int) -> None:
        """Set the course.

        Args:
            every: Steps in which the learning rate halves.
        """
        if every < 1:
            raise ValueError(f"a halving schedule needs at least 1 step, got {every}")
        self.every = every

    def __call__(self, step: int) -> float:
        """Return the factor at a step, counted from 0."""
        return 0.5 ** (step / self.every)
