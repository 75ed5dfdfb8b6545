"""The duality gap of a real game: how much either player could still gain, were the other to stand still.

    DG(G, D) = max_D' M(G, D') - min_G' M(G', D) ≥ 0

and 0 in a Nash equilibrium only (Grnarova et al. 2019, arXiv 1811.05512); M is minus the discriminator's adversarial
loss, penalties left out. Neither best response can be had: a clone of each player is trained against the other for a
number of steps, the budget, on the training sequences, and M is taken on held-out ones. So the figure is the gap to
what that budget finds, and a bound from below of the gap but for chance; with other budgets it is another. Its first
half, max_D' M(G, D'), is the minimax loss: it judges the generator alone, and checkpoints of a run by one measure.

G is the averaged generator, which is what is sampled from, and a clone is the average of where it has been, later steps
counting for more, k for the k-th (Lacoste-Julien et al. 2012, arXiv 1212.2002): players of a game circle, and where one
happens to be says little.

A GAN may have no Nash equilibrium, and then no generator has a gap of 0, however good (Farnia and Ozdaglar 2020, arXiv
2002.09124). The proximal gap (Sidheekh et al. 2021, arXiv 2105.04801) lets the discriminator answer the generator's
clone while that learns, as long as it stays near to what it was:

    DG_λ(G, D) = max_D' M(G, D') - min_G' max_D~ [ M(G', D~) - λ E‖∇D~(x) - ∇D(x)‖² ]

of which λ = ∞ is the plain gap; it can be 0 where the generator is right and the discriminator has nothing to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from .. import training
from ..learner import Learner
from ..methods import Alternating
from ..objectives import Adversarial, Batch, Objective
from ..penalties import squared_gradient
from ..schedules import Constant
from ..seeds import derive
from ..sequences import Encoded
from ..training import Plan

DRAWS = 8
"""Draws of noise that M is averaged over."""


@dataclass(frozen=True)
class Gap:
    """What either player could gain.

    Args:
        value: M of the players as they are.
        best: M once a clone of the discriminator has answered, the minimax loss.
        worst: M once a clone of the generator has.
        proximal: M once a clone of the generator has, with a discriminator that answers within λ; None if not asked.
        steps: How many steps each clone was trained.
    """

    value: float
    best: float
    worst: float
    proximal: float | None
    steps: int

    @property
    def gap(self) -> float:
        return self.best - self.worst

    @property
    def proximal_gap(self) -> float | None:
        return None if self.proximal is None else self.best - self.proximal


def gap(
    learner: Learner, finding: Encoded, judging: Encoded, plan: Plan, steps: int, weight: float = 0.1, answers: int = 2
) -> Gap:
    """Return the gap of a game at a checkpoint.

    Args:
        learner: The players, which are left as they are.
        finding: Sequences that clones are trained on.
        judging: Others, that M is taken on.
        plan: What they play, at which rate.
        steps: The budget: steps of each clone.
        weight: λ of the proximal gap; 0 leaves it out.
        answers: Steps of the discriminator's answer to each step of the generator's clone, in the proximal gap.

    Raises:
        ValueError: if it is no adversarial game.
        Diverged: if a clone's loss is not finite.
    """
    if not isinstance(plan.objective, Adversarial):
        raise ValueError(f"a duality gap is of two players, and {type(plan.objective).__name__} has one")

    networks, step = {**learner.networks, "generator": learner.average}, learner.step

    def trained(game: Objective) -> dict[str, Any]:
        clone = deepcopy(learner)
        clone.networks["generator"].load_state_dict(learner.average.state_dict())
        for optimizer in clone.optimizers.values():
            optimizer.state.clear()
        schedules = {name: Constant() for name in clone.networks}
        alone = replace(plan, objective=game, method=Alternating(), schedules=schedules)
        later = lambda mean, now, count: mean + 2 * (now - mean) / (count + 2)  # noqa: E731
        means = {name: AveragedModel(network, avg_fn=later) for name, network in clone.networks.items()}
        for _ in range(steps):
            training.take_step(clone, finding, alone)
            for name, mean in means.items():
                mean.update_parameters(clone.networks[name])
        return {name: mean.module for name, mean in means.items()}

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        discriminator = trained(Turns(plan.objective, ("discriminator",)))["discriminator"]
        generator = trained(Turns(plan.objective, ("generator",)))["generator"]
        now = value(plan, networks, judging, step)
        best = value(plan, {**networks, "discriminator": discriminator}, judging, step)
        worst = value(plan, {**networks, "generator": generator}, judging, step)
        proximal = None
        if weight:
            game = Near(plan.objective, answers, deepcopy(networks["discriminator"]), weight)
            proximal = value(plan, trained(game), judging, step, game)
    return Gap(now, best, worst, proximal, steps)


def value(plan: Plan, networks: Mapping[str, Any], data: Encoded, step: int, near: Near | None = None) -> float:
    """Return M, minus the discriminator's adversarial loss and the proximal term, over several draws of noise."""
    values = []
    for draw in range(DRAWS):
        torch.manual_seed(derive(plan.seed, "value", draw))
        batch = Batch(data, torch.randn(len(data), networks["generator"].noise, device=data.x.device))
        terms = (near or plan.objective).loss("discriminator", networks, batch, step)
        values.append(-sum(float(terms[name].detach()) for name in ("adversarial", "proximal") if name in terms))
    return sum(values) / DRAWS


class Turns(Objective):
    """A game in which only some have a turn."""

    def __init__(self, game: Adversarial, players: tuple[str, ...]) -> None:
        self.game, self.turns = game, players

    def players(self, step: int) -> tuple[str, ...]:
        """Those who have a turn."""
        return self.turns

    def loss(self, player: str, networks: Mapping[str, nn.Module], batch: Batch, step: int) -> dict[str, Tensor]:
        """What they minimise in the game."""
        return self.game.loss(player, networks, batch, step)


class Near(Turns):
    """A game in which the discriminator answers each step of the generator, but keeps near to what it was.

    λ E‖∇D~(x) - ∇D(x)‖², of real and synthetic sequences: how steeply the two differ.
    """

    def __init__(self, game: Adversarial, answers: int, before: nn.Module, weight: float) -> None:
        super().__init__(game, ("generator",) + ("discriminator",) * answers)
        self.before, self.weight = before.requires_grad_(False), weight

    def loss(self, player: str, networks: Mapping[str, nn.Module], batch: Batch, step: int) -> dict[str, Tensor]:
        """What they minimise in the game, and the proximal term."""
        terms = super().loss(player, networks, batch, step)
        if player == "generator":
            return terms
        with torch.no_grad():
            real, synthetic = self.game.pair(networks["generator"], batch, step)
        _, squared = squared_gradient(
            _Difference(networks["discriminator"], self.before), Encoded.joined(real, synthetic)
        )
        return {**terms, "proximal": self.weight * squared.mean()}


class _Difference:
    """D~ - D, as far as a penalty asks."""

    def __init__(self, after: Any, before: Any) -> None:
        self.after, self.before = after, before

    def project(self, encoded: Encoded) -> Encoded:
        return self.before.project(encoded)

    def judge(self, projected: Encoded, condition: Tensor) -> Tensor:
        return self.after.judge(projected, condition) - self.before.judge(projected, condition)
