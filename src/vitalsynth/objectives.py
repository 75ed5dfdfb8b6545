"""Objectives: who plays, in which order, and what each player minimises.

    objective.players(step) -> ("discriminator", "generator")
    objective.loss(player, networks, batch, step) -> {"adversarial": scalar, "r1": scalar}, whose sum is minimised

A player is named after the network it trains. The training loop knows no more than this, so a game of one player (a
flow) is trained by the same loop. The default is the relativistic pairing game with gradient penalties on both sides,
f(D(x) - D(G(z))) + (γ/2)(R1 + R2), which converges locally where the plain game does not (Huang et al. 2024, R3GAN,
arXiv 2501.05441; Mescheder et al. 2018, arXiv 1801.04406).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus

from .penalties import both, gradient_norm_between, slope_between, squared_gradient, squared_slope
from .sequences import Encoded, Fixed, Shape, halved, owners
from .stabilisers import Stabiliser

Estimator = Literal["exact", "finite-difference"]


@dataclass(frozen=True, eq=False)
class Batch:
    """What one player's turn is given.

    Args:
        real: Sequences of the training set, with their condition.
        noise: `(n, noise)` standard normal, as many numbers as the generator asks for.
    """

    real: Encoded
    noise: Float[Tensor, "n noise"]


class Objective(ABC):
    """What every objective is. Derive from it to write your own.

    Attributes:
        scale_free: Whether a channel is learned as well at any scale.
        private: Whether it can be trained under differential privacy: no loss looks at more of the data than its batch,
            and in a game the generator's loss looks at nothing of real sequences but their conditions.
    """

    scale_free: ClassVar[bool] = False
    private: ClassVar[bool] = False

    @abstractmethod
    def players(self, step: int) -> tuple[str, ...]:
        """Name who moves in a step, in order; a name may recur."""

    @abstractmethod
    def loss(self, player: str, networks: Mapping[str, nn.Module], batch: Batch, step: int) -> dict[str, Tensor]:
        """Return the named terms whose sum the player minimises."""

    def settle(self, shape: Shape, stabilisers: Sequence[Stabiliser]) -> None:
        """Take what the data know, and what shall steady the game.

        Raises:
            ValueError: if it is no game that stabilisers could steady.
        """
        if stabilisers:
            raise ValueError(f"stabilisers steady an adversarial game, which {type(self).__name__} is not")

    def lead(self, row: Mapping[str, float]) -> float | None:
        """Return how far a step's losses say that the discriminator is ahead, from -1 to 1; None if they do not."""
        return None


class Adversarial(Objective):
    """A game between a generator and a discriminator.

    Attributes:
        ideal: The discriminator's adversarial loss where it cannot tell real from synthetic, by which its lead is
            measured; None where losses do not tell who is ahead.
        stabilisers: What changes the sequences that the discriminator is shown, or adds terms of its own to a loss.
        row: How many places a step has, `Shape.row`.
    """

    ideal: float | None = None
    stabilisers: tuple[Stabiliser, ...] = ()
    row: int = 1

    def __init__(self, discriminator_steps: int, generator_steps: int) -> None:
        if min(discriminator_steps, generator_steps) < 1:
            raise ValueError("each player needs at least 1 step")
        self.turns = ("discriminator",) * discriminator_steps + ("generator",) * generator_steps

    def settle(self, shape: Shape, stabilisers: Sequence[Stabiliser]) -> None:
        """Take what the data know, and what shall steady the game."""
        self.row, self.stabilisers = shape.row, tuple(stabilisers)

    def lead(self, row: Mapping[str, float]) -> float | None:
        """Return how far below the ideal the discriminator's adversarial loss is, as a share of it."""
        if self.ideal is None:
            return None
        return max(-1.0, 1 - row.get("discriminator.adversarial", self.ideal) / self.ideal)

    def players(self, step: int) -> tuple[str, ...]:
        """The discriminator's turns, then the generator's."""
        return self.turns

    def loss(self, player: str, networks: Mapping[str, nn.Module], batch: Batch, step: int) -> dict[str, Tensor]:
        """Show real and synthetic sequences to the discriminator, and play."""
        real, synthetic = self.pair(cast(Any, networks["generator"]), batch, step)
        play = self.discriminator_loss if player == "discriminator" else self.generator_loss
        terms = play(networks["discriminator"], real, synthetic, step)
        for stabiliser in self.stabilisers:
            for name, term in stabiliser.terms(player, networks, real, synthetic, step).items():
                terms[name] = terms[name] + term if name in terms else term
        return terms

    def pair(self, generator: Any, batch: Batch, step: int) -> tuple[Encoded, Encoded]:
        """Generate with the real batch's conditions; return real and synthetic sequences as the discriminator is shown.

        Where a generator learns to go on from pasts, some of the batch are given those of the real sequences beside
        them, and the discriminator is told how much was given. What was given is real, so for each such amount the
        joint law of past and rest is that of the data only if the rest follows the past as it does in the data.
        """
        real = batch.real
        if getattr(generator, "pasts", 0.0):
            fixed = drawn_pasts(real, generator.pasts, generator.shape)
            synthetic = generator(batch.noise, real.condition, fixed).under(fixed.extent)
            real = real.under(fixed.extent)
        else:
            synthetic = generator(batch.noise, real.condition)
        return self._shown(resolved(real, synthetic, self.row), step), self._shown(synthetic, step)

    def _shown(self, encoded: Encoded, step: int) -> Encoded:
        for stabiliser in self.stabilisers:
            encoded = stabiliser.shown(encoded, step)
        return encoded

    @abstractmethod
    def discriminator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """Return the discriminator's terms; real and synthetic have the same conditions."""

    @abstractmethod
    def generator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """Return the generator's terms."""


class NonSaturating(Adversarial):
    """The original game with the non-saturating generator loss -log D(G(z)) (Goodfellow et al. 2014), as in RGAN.

    Real labels may be smoothed on their side only (Salimans et al. 2016), by a fixed or a random amount.
    """

    private = True

    def __init__(
        self, smoothing: float = 0.1, noisy: bool = False, discriminator_steps: int = 1, generator_steps: int = 1
    ) -> None:
        """Set the game.

        Args:
            smoothing: Real labels are 1 minus this.
            noisy: Real labels are uniform between 1 minus `smoothing` and 1, drawn for each sequence.
            discriminator_steps: The discriminator's turns in a step.
            generator_steps: The generator's turns in a step.
        """
        super().__init__(discriminator_steps, generator_steps)
        if not 0 <= smoothing < 0.5:
            raise ValueError(f"label smoothing must lie in [0, 0.5), got {smoothing}")
        self.smoothing, self.noisy = smoothing, noisy
        share = (1 - smoothing * (0.5 if noisy else 1.0)) / 2  # of all labels that are 1
        self.ideal = -2 * (share * math.log(share) + (1 - share) * math.log(1 - share))

    def discriminator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """Cross-entropy of real against synthetic."""
        on_real, on_synthetic = both(discriminator, real, synthetic)
        amount = torch.rand_like(on_real) if self.noisy else 1.0
        labels = torch.ones_like(on_real) - self.smoothing * amount
        cross_entropy = binary_cross_entropy_with_logits(on_real, labels) + softplus(on_synthetic).mean()
        return {"adversarial": cross_entropy}

    def generator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """-log D of what was generated."""
        return {"adversarial": softplus(-discriminator(synthetic, real.condition)).mean()}


class Hinge(Adversarial):
    """The hinge game (Lim and Ye 2017; Miyato et al. 2018)."""

    ideal = 2.0
    private = True

    def __init__(self, discriminator_steps: int = 1, generator_steps: int = 1) -> None:
        """Set the game.

        Args:
            discriminator_steps: The discriminator's turns in a step.
            generator_steps: The generator's turns in a step.
        """
        super().__init__(discriminator_steps, generator_steps)

    def discriminator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """max(0, 1 - D(x)) + max(0, 1 + D(G(z)))."""
        on_real, on_synthetic = both(discriminator, real, synthetic)
        return {"adversarial": relu(1 - on_real).mean() + relu(1 + on_synthetic).mean()}

    def generator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """-D(G(z))."""
        return {"adversarial": -discriminator(synthetic, real.condition).mean()}


class Wasserstein(Adversarial):
    """The Wasserstein game with gradient penalty λ E(‖∇D(x̂)‖ - 1)² (Gulrajani et al. 2017, arXiv 1704.00028)."""

    private = True

    def __init__(
        self,
        penalty: float = 10.0,
        every: int = 1,
        estimator: Estimator = "exact",
        discriminator_steps: int = 5,
        generator_steps: int = 1,
    ) -> None:
        """Set the game.

        Args:
            penalty: Weight λ of the gradient penalty.
            every: Compute the penalty in every k-th step only, k times as strong (lazy regularisation).
            estimator: `exact` by double backward, or `finite-difference` of the slope between real and synthetic.
            discriminator_steps: The discriminator's turns in a step.
            generator_steps: The generator's turns in a step.
        """
        super().__init__(discriminator_steps, generator_steps)
        self.penalty, self.every, self.estimator = penalty, _lazy(every), estimator

    def discriminator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """D(G(z)) - D(x), and the penalty in every `every`-th step."""
        on_real, on_synthetic = both(discriminator, real, synthetic)
        terms = {"adversarial": (on_synthetic - on_real).mean()}
        if step % self.every == 0:
            between = gradient_norm_between if self.estimator == "exact" else slope_between
            excess = between(discriminator, real, synthetic) - 1
            terms["penalty"] = self.every * self.penalty * excess.square().mean()
        return terms

    def generator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """-D(G(z))."""
        return {"adversarial": -discriminator(synthetic, real.condition).mean()}


class Relativistic(Adversarial):
    """Relativistic pairing, softplus(D(G(z)) - D(x)), with R1 and R2 (R3GAN)."""

    ideal = math.log(2)

    def __init__(
        self,
        r1: float = 1.0,
        r2: float = 1.0,
        every: int = 1,
        estimator: Estimator = "exact",
        discriminator_steps: int = 1,
        generator_steps: int = 1,
    ) -> None:
        """Set the game.

        Args:
            r1: Weight γ of the penalty (γ/2) E‖∇D(x)‖² on real sequences.
            r2: The same on synthetic ones.
            every: Compute the penalties in every k-th step only, k times as strong (lazy regularisation).
            estimator: `exact` by double backward, or `finite-difference` along one random direction.
            discriminator_steps: The discriminator's turns in a step.
            generator_steps: The generator's turns in a step.
        """
        super().__init__(discriminator_steps, generator_steps)
        self.r1, self.r2, self.every, self.estimator = r1, r2, _lazy(every), estimator

    def discriminator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """softplus(D(G(z)) - D(x)), and the two penalties in every `every`-th step."""
        if step % self.every:
            on_real, on_synthetic = both(discriminator, real, synthetic)
            return {"adversarial": softplus(on_synthetic - on_real).mean()}
        estimate = squared_gradient if self.estimator == "exact" else squared_slope
        scores, squared = estimate(discriminator, Encoded.joined(real, synthetic))
        (on_real, on_synthetic), (at_real, at_synthetic) = scores.chunk(2), squared.chunk(2)
        return {
            "adversarial": softplus(on_synthetic - on_real).mean(),
            "r1": self.every * self.r1 / 2 * at_real.mean(),
            "r2": self.every * self.r2 / 2 * at_synthetic.mean(),
        }

    def generator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """softplus(D(x) - D(G(z)))."""
        on_real, on_synthetic = both(discriminator, real, synthetic)
        return {"adversarial": softplus(on_real - on_synthetic).mean()}


class Likelihood(Objective):
    """Maximum likelihood: one player, the generator, which must say how likely a sequence is."""

    scale_free = True
    private = True

    def players(self, step: int) -> tuple[str, ...]:
        """The generator alone."""
        return ("generator",)

    def loss(self, player: str, networks: Mapping[str, nn.Module], batch: Batch, step: int) -> dict[str, Tensor]:
        """Negative log likelihood, in nats per step."""
        generator: Any = networks["generator"]
        if not hasattr(generator, "log_likelihood"):
            kind = type(generator).__name__
            raise ValueError(
                f"Likelihood needs a generator with a log_likelihood, such as Autoregressive; {kind} has none"
            )
        return {"nll": -generator.log_likelihood(batch.real).mean() / batch.real.x.shape[1]}


class FlowMatching(Objective):
    """The flow's one player learns the velocity from noise to data, at unit scale for every time.

    E q(t) ‖v(x_t, t) - (x - z)‖², q = t² + (1 - t)², t logit-normal (Esser et al. 2024, arXiv 2403.03206); see `flows`.
    """

    private = True

    def __init__(self, forget: float = 0.1) -> None:
        """Set the objective.

        Args:
            forget: Share of sequences whose condition the network is not told, so that it can be exaggerated later.
        """
        if not 0 <= forget < 1:
            raise ValueError(f"forget must lie in [0, 1), got {forget}")
        self.forget = forget

    def players(self, step: int) -> tuple[str, ...]:
        """The generator alone."""
        return ("generator",)

    def loss(self, player: str, networks: Mapping[str, nn.Module], batch: Batch, step: int) -> dict[str, Tensor]:
        """Squared error of the velocity of all that is not given, in units of what is unknown of it for normal data."""
        flow: Any = networks["generator"]
        if not hasattr(flow, "velocity"):
            raise ValueError(
                f"FlowMatching needs a generator with a velocity, such as Flow; {type(flow).__name__} has none"
            )
        x, s, condition = batch.real.x, batch.real.s, batch.real.condition
        zx, zs = torch.randn_like(x), torch.randn_like(s)
        t = torch.sigmoid(torch.randn(len(x), device=x.device))
        known = (torch.rand_like(t) >= self.forget).to(t.dtype)
        at = (torch.lerp(zx, x, t[:, None, None]), torch.lerp(zs, s, t[:, None]))
        given = (drawn_pasts(batch.real, flow.pasts, flow.shape),) if getattr(flow, "pasts", 0.0) else ()
        vx, vs = flow.velocity(*at, t, condition, known, *given)
        ex, es = (vx - (x - zx)).square(), (vs - (s - zs)).square()
        columns = x[0].numel() + s[0].numel()
        for fixed in given:
            ex, es = ex * ~fixed.known, es * ~fixed.known_s
            columns = columns - (fixed.known.sum() + fixed.known_s.sum()) / len(x)
        error = ex.sum(dim=(1, 2)) + es.sum(dim=1)
        q = t.square() + (1 - t).square()
        return {"velocity": (q * error).mean() / columns}


def drawn_pasts(real: Encoded, share: float, shape: Shape) -> Fixed:
    """Give a share of sequences the first steps of real ones, and some of their statics; the others nothing.

    How many steps are given must say nothing of how long a sequence will be, so the number is drawn without looking: 1
    to all but one, equally often. Each static is known with a chance that is drawn for its sequence, so that all, and
    none, are common.

    Args:
        real: Where the pasts are from.
        share: Of the sequences that are given one.
        shape: Of the data.
    """
    n, device = len(real), real.x.device
    given = torch.rand(n, 1, device=device) < share
    steps = torch.randint(1, shape.length, (n, 1), device=device) * given
    known = torch.arange(shape.length, device=device) < steps
    chance, each = torch.rand(n, 1, device=device), torch.rand(n, shape.statics, device=device)
    known_s = (each < chance)[:, owners(shape.s)] & given
    return Fixed(real.x, known[..., None].expand_as(real.x), real.s, known_s)


def _lazy(every: int) -> int:
    """Return in every how many steps a penalty is computed.

    A discriminator's gradient changes slowly, so that a k-th of the penalties, k times as strong, will do: the terms
    have the same mean over the steps, at a fraction of the double backward (Karras et al. 2020, arXiv 1912.04958, who
    take every 16th). Steps without a penalty have no such term, in the log either.

    Raises:
        ValueError: if it is less than 1.
    """
    if every < 1:
        raise ValueError(f"a penalty is computed in every step, every 2nd, ...; got every {every}")
    return every


def resolved(real: Encoded, synthetic: Encoded, row: int) -> Encoded:
    """Give real sequences the coarser resolutions that synthetic ones come in: each the mean of pairs of the finer."""
    grid, coarse = real.x.unflatten(2, (row, -1)), []
    for _ in synthetic.coarse:
        grid = halved(halved(grid, 1), 2)
        coarse.append(grid.flatten(2))
    return real.replaced((real.x, real.s, *coarse))
