"""Every shipped objective, penalty, stabiliser, optimiser and method that has a closed form, on games that show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from .. import methods, objectives, seeds, stabilisers, training
from ..learner import Learner
from ..optimizers import OptimisticAdam
from ..sequences import Encoded
from ..training import Plan
from . import closed, stepping
from .closed import Eigenvalues
from .toy import Drift, Game, Normal, Point, double

H = 0.15
"""Size of a step."""
Drawn = Callable[[Plan, Encoded], tuple[Eigenvalues, Sequence[float]]]


@dataclass(frozen=True)
class Case:
    """A game, and what theory says of it.

    Args:
        game: Its name.
        play: How it is played, in words.
        setup: The game.
        closed: Eigenvalues of its step in closed form; a function that returns them, and the drift, where they
            depend on what was drawn.
        at: Where the step is looked at: parameters of the generator, then of the discriminator.
        drift: What a step adds to them there: nothing at an equilibrium.
        steps: How many steps make a period.
    """

    game: str
    play: str
    setup: Game
    closed: Eigenvalues | Drawn
    at: Sequence[float] = (0.0, 0.0)
    drift: Sequence[float] = (0.0,)
    steps: int = 1

    @property
    def name(self) -> str:
        return f"{self.game}: {self.play}"

    @property
    def rests(self) -> bool:
        """Whether it is looked at in equilibrium."""
        return not callable(self.closed) and not any(self.drift)


@dataclass(frozen=True)
class Answer:
    """What was measured of a case.

    Args:
        case: Which.
        measured: Eigenvalues of the Jacobian of the training step.
        expected: In closed form.
        error: Largest distance between the two.
        drift: Largest error of what a step adds.
        factor: By which the distance from the equilibrium changes per period, as played; None if it was not.
    """

    case: Case
    measured: Eigenvalues
    expected: Eigenvalues
    error: float
    drift: float
    factor: float | None

    @property
    def agrees(self) -> bool:
        """Whether all that was measured is what theory says."""
        played = self.factor is None or verdict(self.factor) == verdict(closed.radius(self.expected))
        return self.error < 1e-6 and self.drift < 1e-9 and played


def verdict(factor: float) -> str:
    """Say in a word what becomes of a distance that is multiplied by a factor again and again."""
    return "circles" if abs(factor - 1) < 2e-4 else "converges" if factor < 1 else "diverges"


def ask(case: Case, play: bool = True) -> Answer:
    """Measure a case on the real training step.

    Args:
        case: Which.
        play: Also play it, from near the equilibrium.
    """
    with double():
        learner, plan, data = case.setup.build()

        def advance(learner: Learner) -> None:
            for _ in range(case.steps):
                training.take_step(learner, data, plan)

        at = np.asarray(case.at)
        stepping.rest(learner, at, advance)
        before = stepping.state(learner)
        measured = list(np.linalg.eigvals(stepping.jacobian(learner, advance)))
        expected, drift = case.closed(plan, data) if callable(case.closed) else (case.closed, case.drift)
        factor = stepping.factor(learner, advance, at, rounds=60 // case.steps) if play and case.rests else None
        advance(learner)
        moved = stepping.state(learner) - before
    return Answer(
        case, measured, expected, stepping.apart(measured, expected), float(np.abs(moved - drift).max()), factor
    )


def catalogue() -> list[Case]:
    """Return all cases."""
    return [*_objectives(), *_penalties(), *_stabilisers(), *_methods(), *_optimisers(), *_alone()]


DIRAC, APART, BILINEAR = "Dirac-GAN", "point at 1", "bilinear"
GAMES: dict[str, tuple[Callable[[], objectives.Objective], float]] = {
    "NonSaturating": (partial(objectives.NonSaturating, smoothing=0.0), 0.5),
    "Hinge": (objectives.Hinge, 1.0),
    "Wasserstein": (partial(objectives.Wasserstein, penalty=0.0, discriminator_steps=1), 1.0),
    "Relativistic": (partial(objectives.Relativistic, r1=0.0, r2=0.0), 0.5),
}
"""Objectives without penalties, and how strongly their players push each other, f'(0)."""


def _objectives() -> list[Case]:
    out = []
    for name, (objective, c) in GAMES.items():
        still = closed.simultaneous(closed.field(c), H)
        out.append(Case(DIRAC, f"{name}, at once", Game(objective), still))
        turns = closed.alternating(c, H)
        out.append(Case(DIRAC, f"{name}, in turns", Game(objective, methods.Alternating), turns))
        if name != "NonSaturating":  # away from 0, logarithms are curved: see below
            away = Game(objective, methods.Alternating, data=((1.0,),))
            out.append(Case(APART, f"{name}, in turns", away, turns, at=(1.0, 0.0)))
    # L_D = log(1 + exp(ψθ)) - (1 - s) log σ(ψ) - s log σ(-ψ) is at rest at θ = 1 - 2s, ψ = 0, and curved by (θ² + 1)/4.
    smoothed, rest = partial(objectives.NonSaturating, smoothing=0.1), 0.8
    curved = closed.alternating(0.5, H, (rest**2 + 1) / 4)
    away = Game(smoothed, methods.Alternating, data=((1.0,),))
    out.append(Case(APART, "NonSaturating, labels of 0.9, in turns", away, curved, at=(rest, 0.0)))
    return out


def _penalties() -> list[Case]:
    out = []
    for g1, g2 in ((0.5, 0.0), (0.0, 0.5), (0.2, 0.1), (2.0, 0.5)):
        objective, pull = partial(objectives.Relativistic, r1=g1, r2=g2), g1 + g2
        fields = closed.field(0.5, pull)
        what = f"Relativistic, R1 {g1:g}, R2 {g2:g}"
        out.append(Case(DIRAC, f"{what}, at once", Game(objective), closed.simultaneous(fields, H)))
        turns = closed.alternating(0.5, H, pull)
        out.append(Case(DIRAC, f"{what}, in turns", Game(objective, methods.Alternating), turns))
    every = Game(partial(objectives.Relativistic, r1=0.2, r2=0.1, every=4), methods.Alternating, data=((1.0,),))
    lazily = closed.lazy(0.5, H, 0.3, 4)
    out.append(Case(APART, "Relativistic, R1 and R2 in every 4th step", every, lazily, at=(1.0, 0.0), steps=4))

    def estimate(plan: Plan, data: Encoded) -> tuple[Eigenvalues, Sequence[float]]:
        _seed(plan)
        squares = torch.randn(2 * plan.batch).square().chunk(2)  # of directions, which are real sequences' first
        pull = 0.5 * squares[0].mean() + 0.2 * squares[1].mean()
        return closed.simultaneous(closed.field(0.5, float(pull)), H), (0.0,)

    estimated = Game(partial(objectives.Relativistic, r1=0.5, r2=0.2, estimator="finite-difference"), batch=4)
    out.append(Case(DIRAC, "Relativistic, R1 and R2 by finite differences, at once", estimated, estimate))
    for estimator in ("exact", "finite-difference"):
        # It is at rest nowhere: |ψ| is kept at 1, and θ driven on. At ψ = 1 the penalty λ(ψ - 1)² has curvature 2λ.
        penalty = Game(partial(objectives.Wasserstein, penalty=0.3, discriminator_steps=1, estimator=estimator))
        there = closed.simultaneous(closed.field(1.0, 0.6), H)
        play = f"Wasserstein, penalty ({estimator}), at once"
        out.append(Case(DIRAC, play, penalty, there, at=(-1.0, 1.0), drift=(H, H)))
    return out


def _stabilisers() -> list[Case]:
    plain, c = GAMES["NonSaturating"]
    flat = partial(Game, GAMES["Relativistic"][0], data=((1.0,),))
    matched = flat(stabilisers=(partial(stabilisers.FeatureMatching, weight=0.2),))
    pulled = closed.simultaneous(closed.field(c, g=0.4), H)  # w θ² pulls the generator by 2w

    def noisy(plan: Plan, data: Encoded) -> tuple[Eigenvalues, Sequence[float]]:
        batch = data.take(_seed(plan))
        (stabiliser,) = cast(Any, plan.objective).stabilisers
        real, synthetic = (stabiliser.shown(batch, 0).x for _ in range(2))
        pull = float(real.square().mean() + synthetic.square().mean()) / 4  # f'' is -1/4, so this is σ²/2
        return closed.simultaneous(closed.field(c, pull), H), (0.0, H * c * float(real.mean() - synthetic.mean()))

    noise = Game(plain, stabilisers=(partial(stabilisers.InstanceNoise, std=0.7, over=0),), batch=4)

    def lifted(plan: Plan, data: Encoded) -> tuple[Eigenvalues, Sequence[float]]:
        batch = data.take(_seed(plan))
        (stabiliser,) = cast(Any, plan.objective).stabilisers
        lifts = stabiliser.augment.shown(Encoded.joined(batch, batch), 0).x.sub(1).square().chunk(2)
        pull = 2 * stabiliser.weight * float(lifts[0].mean() + lifts[1].mean())  # w (ψ a)² has curvature 2 w a²
        return closed.simultaneous(closed.field(c, pull), H), (0.0,)

    consistent = partial(stabilisers.Consistency, weight=10.0, shift=0.0, scale=0.0, level=0.1)
    return [
        Case(APART, "FeatureMatching, at once", matched, pulled, at=(1.0, 0.0)),
        Case(DIRAC, "InstanceNoise, at once", noise, noisy),
        Case(APART, "Consistency, at once", flat(stabilisers=(consistent,), batch=4), lifted, at=(1.0, 0.0)),
    ]


def _methods() -> list[Case]:
    bilinear, values = GAMES["Wasserstein"][0], (1.0, 0.5, 0.2)
    flat = partial(Game, bilinear, generator=partial(Point, stretch=values), data=((0.0,) * 3,))
    fields = [each for c in values for each in closed.field(c)]
    turning = [each for c in values for each in closed.consensus(c, 0.4)]
    at_once = closed.simultaneous(fields, H)
    turns = [each for c in values for each in closed.alternating(c, H)]
    further = closed.extragradient(fields, H)
    found: list[tuple[str, Callable[[], methods.Method], Eigenvalues, int]] = [
        ("Simultaneous", methods.Simultaneous, at_once, 1),
        ("Alternating", methods.Alternating, turns, 1),
        ("Extragradient", methods.Extragradient, further, 1),
        ("Consensus", partial(methods.Consensus, weight=0.4), closed.simultaneous(turning, H), 1),
    ]
    between: dict[methods.Within, Eigenvalues] = {
        "simultaneous": at_once,
        "alternating": turns,
        "extragradient": further,
    }
    for within, eigenvalues in between.items():
        method, period = (
            partial(methods.Lookahead, every=3, share=0.4, within=within),
            closed.lookahead(eigenvalues, 3, 0.4),
        )
        found.append((f"Lookahead at {within} steps", method, [each**2 for each in period], 6))  # two periods
    cases = [
        Case(BILINEAR, name, flat(method), known, at=(0.0,) * 6, steps=steps) for name, method, known, steps in found
    ]
    nonlinear = Game(GAMES["NonSaturating"][0], partial(methods.Consensus, weight=0.4))
    known = closed.simultaneous(closed.consensus(0.5, 0.4), H)
    return [*cases, Case(DIRAC, "NonSaturating, Consensus", nonlinear, known)]


def _optimisers() -> list[Case]:
    objective, c = GAMES["NonSaturating"]
    fields = closed.field(c)

    def game(method: Callable[[], methods.Method], optimizer: Callable[..., Any], **settings: Any) -> Game:
        return Game(objective, method, (partial(optimizer, **settings),) * 2)

    slow, fast = partial(torch.optim.SGD, lr=H), partial(torch.optim.SGD, lr=3 * H)
    pulled = partial(objectives.Relativistic, r1=0.5, r2=0.0)
    sums = {"lr": H, "momentum": 0.5}
    # At an equilibrium Adam's second moment is 0, so its step is lr / eps times its first moment.
    adam = {"lr": H, "eps": 1.0}
    both = {**adam, "betas": (0.5, 0.9)}
    none = {**adam, "betas": (0.0, 0.9)}
    at_once, in_turns = methods.Simultaneous, methods.Alternating
    plain, turns = closed.simultaneous(fields, H), closed.alternating(c, H)
    found: list[tuple[str, Game, Eigenvalues]] = [
        ("two rates and R1, at once", Game(pulled, optimizers=(slow, fast)), closed.two_rates(c, 0.5, H, 3 * H)),
        ("momentum, at once", game(at_once, torch.optim.SGD, **sums), closed.momentum(fields, H, 0.5)),
        ("momentum, in turns", game(in_turns, torch.optim.SGD, **sums), closed.momentum_alternating(c, H, 0.5)),
        ("Adam, no momentum, at once", game(at_once, torch.optim.Adam, **none), plain),
        ("Adam, no momentum, in turns", game(in_turns, torch.optim.Adam, **none), turns),
        ("Adam, in turns", game(in_turns, torch.optim.Adam, **both), closed.momentum_alternating(c, H / 2, 0.5)),
        ("OptimisticAdam, at once", game(at_once, OptimisticAdam, **none), closed.optimistic(fields, H)),
    ]
    return [Case(DIRAC, play, setup, known, steps=1) for play, setup, known in found]


def _alone() -> list[Case]:
    """Games of one player, which only go downhill."""
    data = np.array([-1.0, 0.0, 0.5, 2.5])
    mean, variance = float(data.mean()), float(data.var())
    fitted = Game(objectives.Likelihood, generator=Normal, discriminator=None, data=tuple((x,) for x in data.tolist()))
    known = closed.simultaneous([complex(-1 / variance), complex(-2)], H)

    def drawn(plan: Plan, data: Encoded) -> tuple[Eigenvalues, Sequence[float]]:
        x = data.take(_seed(plan)).x
        aims = x - torch.randn_like(x)
        t = torch.sigmoid(torch.randn(plan.batch))
        weights = 2 * (t.square() + (1 - t).square())
        return closed.simultaneous([complex(-weights.mean())], H), (H * float((weights * aims.flatten()).mean()),)

    flow = Game(objectives.FlowMatching, generator=Drift, discriminator=None, data=((1.0,),), batch=16)
    return [
        Case("a normal law", "Likelihood", fitted, known, at=(mean, np.log(variance) / 2)),
        Case("a velocity", "FlowMatching", flow, drawn, at=(0.0,)),
    ]


def _seed(plan: Plan) -> torch.Tensor:
    """Begin the random numbers of the first turn anew; return whom a batch of one point has."""
    torch.manual_seed(seeds.derive(plan.seed, 0, 0, 0))
    return torch.zeros(plan.batch, dtype=torch.long)
