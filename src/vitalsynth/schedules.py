"""Learning rates by the step, and by who is ahead.

    schedule(step, lead) -> factor by which the optimiser's own learning rate is multiplied

Both come out of the state of training, so that a run carried on is the run that never stopped. How many steps a run
will have in the end is not known to a schedule: what it needs to know, it is told (`over`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar


class Schedule(ABC):
    """Factor of the learning rate of one player.

    Attributes:
        needs_lead: Whether it goes by who is ahead.
    """

    needs_lead: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, step: int, lead: float = 0.0) -> float:
        """Return the factor.

        Args:
            step: Counted from 0.
            lead: How far the player has been ahead lately: 1 beyond reach, 0 even, -1 far behind; 0 if nobody can tell.
        """


class Constant(Schedule):
    """Always the optimiser's own learning rate."""

    def __call__(self, step: int, lead: float = 0.0) -> float:
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

    def __call__(self, step: int, lead: float = 0.0) -> float:
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

    def __call__(self, step: int, lead: float = 0.0) -> float:
        """Return the factor at a step, counted from 0."""
        return 0.5 ** (step / self.every)


class Balanced(Schedule):
    """Slow down whoever is ahead: the factor falls from 1 to `least` exponentially as the lead grows to `at`.

    So a discriminator that wins does not run away, nor a generator that fools it. After the gap-aware scheduler
    (Hazimeh and Ponomareva 2023, arXiv 2302.00089): the adversarial loss of a discriminator that cannot tell real from
    synthetic is known beforehand, and how far the loss is from it says who is ahead. There it is the discriminator's
    rate that adapts, up to twofold when it is behind (`most` 2).
    """

    needs_lead = True

    def __init__(self, least: float = 0.1, most: float = 1.0, at: float = 0.5) -> None:
        """Set the course.

        Args:
            least: Factor when the player is ahead by `at` or more.
            most: Factor when it is behind by `at` or more.
            at: Lead, of 1 at most, with which the extremes are reached.
        """
        if not 0 < least <= 1 <= most or not 0 < at <= 1:
            raise ValueError(
                "a balanced schedule needs 0 < least <= 1 <= most and 0 < at <= 1, "
                f"got least {least}, most {most} and at {at}"
            )
        self.least, self.most, self.at = least, most, at

    def __call__(self, step: int, lead: float = 0.0) -> float:
        """Return the factor of a lead."""
        return (self.least if lead > 0 else self.most) ** min(1.0, abs(lead) / self.at)
