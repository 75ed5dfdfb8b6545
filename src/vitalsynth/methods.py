"""Methods: in which order the players of a step look at their losses, and move.

    method.play(step)      step.look(turn): the gradient of that turn's player, where all stand now
                           step.move(turn): that player follows it, by its optimiser

A game's gradients turn around its equilibrium rather than point at it. Whoever takes turns circles for ever, and who
moves at once spirals outwards; the methods below go inwards (Gidel et al. 2019, arXiv 1802.10551 and 1807.04740).
`vitalsynth theory` plays each against its closed form, and docs/convergence.md explains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """What a method has at hand.

    Args:
        number: How many steps were taken before.
        players: Who moves, in order.
        trains: The parameters that each player trains, by name.
        memory: What the method remembers from step to step; it is part of checkpoints.
        look: Computes the gradient of a turn's player where all stand now; with `differentiable`, as a function of the
            parameters of all players.
        move: Lets the player of a turn follow its gradient.
    """

    number: int
    players: Sequence[str]
    trains: Mapping[str, Mapping[str, nn.Parameter]]
    memory: dict[str, Tensor]
    look: Callable[..., None]
    move: Callable[[int], None]

    @property
    def turns(self) -> range:
        return range(len(self.players))

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What those who play train, by name."""
        return {name: p for player in dict.fromkeys(self.players) for name, p in self.trains[player].items()}

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the parameters as they are."""
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Set the parameters."""
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])


class Method(ABC):
    """How players move. Derive from it to write your own.

    Attributes:
        at_once: Whether all players move at once, so that each has one turn.
        private: Whether it can be used under differential privacy: each player looks once in a step, at its own
            gradient.
    """

    at_once: bool = False
    private: bool = False

    def check(self, players: Sequence[str]) -> None:
        """Refuse a game that it cannot play.

        Raises:
            ValueError: with what to do.
        """
        if self.at_once and len(set(players)) < len(players):
            raise ValueError(
                f"with {type(self).__name__} all players move at once, so each has one turn in a step: "
                "--objective.discriminator_steps 1 --objective.generator_steps 1"
            )

    @abstractmethod
    def play(self, step: Step) -> None:
        """Take a step in place."""


class Alternating(Method):
    """Players take turns, each seeing where the others have just moved; the usual method."""

    private = True

    def play(self, step: Step) -> None:
        """Look and move, turn by turn."""
        for turn in step.turns:
            step.look(turn)
            step.move(turn)


class Simultaneous(Method):
    """All players look, then all move."""

    at_once = private = True

    def play(self, step: Step) -> None:
        """Let everybody look before anybody moves."""
        for turn in step.turns:
            step.look(turn)
        for turn in step.turns:
            step.move(turn)


class Extragradient(Method):
    """Players move to see what they would meet there, go back, and follow the gradients found there.

    Extragradient of Korpelevich (1976) for games of networks (Gidel et al. 2019, arXiv 1802.10551, algorithm 4, where
    an optimiser's moments take in both gradients). Both are of the same batch: with one of its own for each, a bilinear
    game can diverge (Mishchenko et al. 2020, arXiv 1905.11373). A step costs two.
    """

    at_once = True

    def play(self, step: Step) -> None:
        """Look, move, look again, and move from where it began."""
        before = step.weights()
        Simultaneous().play(step)
        for turn in step.turns:
            step.look(turn)
        step.put(before)
        for turn in step.turns:
            step.move(turn)


class Consensus(Method):
    """All players also minimise (γ/2)‖v‖², where v are the gradients of all their losses (Mescheder et al. 2017).

    What pulls each player to where all gradients vanish damps rotation (arXiv 1705.10461). The penalty is
    differentiated through the gradients, so a step costs about three; too large a γ also attracts to saddle points.
    """

    at_once = True

    def __init__(self, weight: float = 0.1) -> None:
        """Set the penalty.

        Args:
            weight: Its weight γ.
        """
        if weight < 0:
            raise ValueError(f"the weight of consensus must be at least 0, got {weight}")
        self.weight = weight

    def play(self, step: Step) -> None:
        """Let everybody look, add the gradient of the penalty, and move."""
        with torch.backends.cudnn.flags(enabled=False):  # its recurrent kernels have no double backward
            for turn in step.turns:
                step.look(turn, differentiable=True)
        parameters = list(step.parameters.values())
        found = [p.grad for p in parameters if p.grad is not None]
        penalty = sum(((self.weight / 2) * gradient.square().sum() for gradient in found), torch.zeros(()))
        towards = torch.autograd.grad(penalty, parameters, allow_unused=True)
        for parameter, pull in zip(parameters, towards, strict=True):
            if parameter.grad is not None:
                parameter.grad = parameter.grad.detach() + (0 if pull is None else pull)
        for turn in step.turns:
            step.move(turn)


Within = Literal["alternating", "simultaneous", "extragradient"]
WITHIN: Mapping[Within, type[Method]] = {
    "alternating": Alternating,
    "simultaneous": Simultaneous,
    "extragradient": Extragradient,
}


class Lookahead(Method):
    """After every k steps, players go back most of the way to where they were before them: w ← w₀ + α (w - w₀).

    Lookahead-minimax (Chavdarova et al. 2021, arXiv 2006.14567): k steps around an equilibrium, and a point between
    their ends is nearer to it. All players go back at once, and nothing is computed for it.
    """

    def __init__(self, every: int = 5, share: float = 0.5, within: Within = "alternating") -> None:
        """Set the course.

        Args:
            every: Steps k after which players go back.
            share: Share α of the way that they keep.
            within: How they take the steps between: alternating, simultaneous or extragradient.
        """
        if every < 1 or not 0 < share <= 1:
            raise ValueError(
                f"lookahead needs every of at least 1 and a share in (0, 1], got every {every} and {share}"
            )
        self.every, self.share, self.within = every, share, WITHIN[within]()
        self.at_once, self.private = self.within.at_once, self.within.private

    def play(self, step: Step) -> None:
        """Take a step, and after the last of k go back."""
        if not step.memory:
            step.memory.update(step.weights())
        self.within.play(step)
        if (step.number + 1) % self.every == 0:
            ahead = step.weights()
            step.put({name: torch.lerp(step.memory[name], ahead[name], self.share) for name in ahead})
            step.memory.clear()
