"""Objectives: who plays, in which order, and what each player minimises.

    objective.players(step) -> ("discriminator", "generator")
    objective.loss(player, networks, batch, step) -> {"adversarial": scalar, "r1": scalar}, whose sum is minimised

A player is named after the network it trains. The training loop knows no more than this, so a game of one player (a
flow) is trained by the same loop. The default is the relativistic pairing game with gradient penalties on both sides,
f(D(x) - D(G(z))) + (γ/2)(R1 + R2), which converges locally where the plain game does not (Huang et al. 2024, R3GAN,
arXiv 2501.05441; Mescheder et al. 2018, arXiv 1801.04406).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus

from .sequences import Encoded
from .stabilisers import Stabiliser

Estimator = Literal["exact", "finite-difference"]
Scores = Float[Tensor, " n"]


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
    """What every objective is. Derive from it to write your own."""

    @abstractmethod
    def players(self, step: int) -> tuple[str, ...]:
        """Name who moves in a step, in order; a name may recur."""

    @abstractmethod
    def loss(self, player: str, networks: Mapping[str, nn.Module], batch: Batch, step: int) -> dict[str, Tensor]:
        """Return the named terms whose sum the player minimises."""


class Adversarial(Objective):
    """A game between a generator and a discriminator.

    Attributes:
        stabilisers: What changes the sequences that the discriminator is shown, or adds terms of its own to a loss.
        row: How many places a step has, `Shape.row`.
    """

    stabilisers: tuple[Stabiliser, ...] = ()
    row: int = 1

    def __init__(self, discriminator_steps: int, generator_steps: int) -> None:
        if min(discriminator_steps, generator_steps) < 1:
            raise ValueError("each player needs at least 1 step")
        self.turns = ("discriminator",) * discriminator_steps + ("generator",) * generator_steps

    def players(self, step: int) -> tuple[str, ...]:
        """The discriminator's turns, then the generator's."""
        return self.turns

    def loss(self, player: str, networks: Mapping[str, nn.Module], batch: Batch, step: int) -> dict[str, Tensor]:
        """Generate with the real batch's conditions, show both to the discriminator, and play."""
        synthetic = networks["generator"](batch.noise, batch.real.condition)
        real, synthetic = (self._shown(each, step) for each in (_resolved(batch.real, synthetic, self.row), synthetic))
        play = self.discriminator_loss if player == "discriminator" else self.generator_loss
        terms = play(networks["discriminator"], real, synthetic, step)
        for stabiliser in self.stabilisers:
            for name, term in stabiliser.terms(player, networks, real, synthetic, step).items():
                terms[name] = terms[name] + term if name in terms else term
        return terms

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

    def discriminator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """Cross-entropy of real against synthetic."""
        on_real, on_synthetic = _both(discriminator, real, synthetic)
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
        on_real, on_synthetic = _both(discriminator, real, synthetic)
        return {"adversarial": relu(1 - on_real).mean() + relu(1 + on_synthetic).mean()}

    def generator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """-D(G(z))."""
        return {"adversarial": -discriminator(synthetic, real.condition).mean()}


class Wasserstein(Adversarial):
    """The Wasserstein game with gradient penalty λ E(‖∇D(x̂)‖ - 1)² (Gulrajani et al. 2017, arXiv 1704.00028)."""

    def __init__(
        self,
        penalty: float = 10.0,
        estimator: Estimator = "exact",
        discriminator_steps: int = 5,
        generator_steps: int = 1,
    ) -> None:
        """Set the game.

        Args:
            penalty: Weight λ of the gradient penalty.
            estimator: `exact` by double backward, or `finite-difference` of the slope between real and synthetic.
            discriminator_steps: The discriminator's turns in a step.
            generator_steps: The generator's turns in a step.
        """
        super().__init__(discriminator_steps, generator_steps)
        self.penalty, self.estimator = penalty, estimator

    def discriminator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """D(G(z)) - D(x) and the penalty."""
        on_real, on_synthetic = _both(discriminator, real, synthetic)
        between = gradient_norm_between if self.estimator == "exact" else slope_between
        excess = between(discriminator, real, synthetic) - 1
        return {"adversarial": (on_synthetic - on_real).mean(), "penalty": self.penalty * excess.square().mean()}

    def generator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """-D(G(z))."""
        return {"adversarial": -discriminator(synthetic, real.condition).mean()}


class Relativistic(Adversarial):
    """Relativistic pairing, softplus(D(G(z)) - D(x)), with R1 and R2 (R3GAN)."""

    def __init__(
        self,
        r1: float = 1.0,
        r2: float = 1.0,
        estimator: Estimator = "exact",
        discriminator_steps: int = 1,
        generator_steps: int = 1,
    ) -> None:
        """Set the game.

        Args:
            r1: Weight γ of the penalty (γ/2) E‖∇D(x)‖² on real sequences.
            r2: The same on synthetic ones.
            estimator: `exact` by double backward, or `finite-difference` along one random direction.
            discriminator_steps: The discriminator's turns in a step.
            generator_steps: The generator's turns in a step.
        """
        super().__init__(discriminator_steps, generator_steps)
        self.r1, self.r2, self.estimator = r1, r2, estimator

    def discriminator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """softplus(D(G(z)) - D(x)) and the two penalties."""
        estimate = squared_gradient if self.estimator == "exact" else squared_slope
        scores, squared = estimate(discriminator, Encoded.joined(real, synthetic))
        (on_real, on_synthetic), (at_real, at_synthetic) = scores.chunk(2), squared.chunk(2)
        return {
            "adversarial": softplus(on_synthetic - on_real).mean(),
            "r1": self.r1 / 2 * at_real.mean(),
            "r2": self.r2 / 2 * at_synthetic.mean(),
        }

    def generator_loss(
        self, discriminator: nn.Module, real: Encoded, synthetic: Encoded, step: int = 0
    ) -> dict[str, Tensor]:
        """softplus(D(x) - D(G(z)))."""
        on_real, on_synthetic = _both(discriminator, real, synthetic)
        return {"adversarial": softplus(on_real - on_synthetic).mean()}


class Likelihood(Objective):
    """Maximum likelihood: one player, the generator, which must say how likely a sequence is."""

    def players(self, step: int) -> tuple[str, ...]:
        """The generator alone."""
        return ("generator",)

    def loss(self, player: str, networks: Mapping[str, nn.Module], batch: Batch, step: int) -> dict[str, Tensor]:
        """Negative log likelihood, in nats per step."""
        likelihood = getattr(networks["generator"], "log_likelihood", None)
        if likelihood is None:
            kind = type(networks["generator"]).__name__
            raise ValueError(f"Likelihood needs a generator that has one, such as Autoregressive; {kind} has none")
        return {"nll": -likelihood(batch.real).mean() / batch.real.x.shape[1]}


class FlowMatching(Objective):
    """The flow's one player learns the velocity from noise to data, at unit scale for every time.

    E q(t) ‖v(x_t, t) - (x - z)‖², q = t² + (1 - t)², t logit-normal (Esser et al. 2024, arXiv 2403.03206); see `flows`.
    """

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
        """Squared error of the velocity, in units of what is unknown about it for normal data."""
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
        vx, vs = flow.velocity(*at, t, condition, known)
        error = (vx - (x - zx)).square().sum(dim=(1, 2)) + (vs - (s - zs)).square().sum(dim=1)
        q = t.square() + (1 - t).square()
        return {"velocity": (q * error).mean() / (x[0].numel() + s[0].numel())}


def squared_gradient(discriminator: nn.Module, encoded: Encoded) -> tuple[Scores, Scores]:
    """Return scores and ‖∂D/∂(x, s)‖² of each sequence, differentiable once more (double backward).

    Where sequences come at several temporal resolutions, the gradient is with respect to all of them.
    """
    inputs = encoded.replaced(part.detach().requires_grad_() for part in encoded.parts)
    with _twice_differentiable(inputs.x):
        scores = discriminator(inputs, inputs.condition)
    gradients = torch.autograd.grad(scores.sum(), inputs.parts, create_graph=True, materialize_grads=True)
    return scores, _squared_norm(gradients)


def squared_slope(discriminator: nn.Module, encoded: Encoded, size: float = 1e-2) -> tuple[Scores, Scores]:
    """Return scores and an estimate of ‖∂D/∂(x, s)‖² of each sequence from two more evaluations, no double backward.

    (D(e + h v) - D(e - h v))² / 4h² for a standard normal direction v has the mean ‖∇D‖² + O(h²), because
    E (v·∇D)² = ‖∇D‖²; its standard deviation is √2 ‖∇D‖² for one direction. Fused recurrent kernels can be used.
    """
    direction = [torch.randn_like(part) for part in encoded.parts]
    scores = discriminator(encoded, encoded.condition)
    slope = _difference(discriminator, encoded, direction, size)
    return scores, slope.square()


def gradient_norm_between(discriminator: nn.Module, real: Encoded, synthetic: Encoded) -> Scores:
    """Return ‖∇D‖ at a uniform random point between each real sequence and its synthetic partner (WGAN-GP)."""
    _, squared = squared_gradient(discriminator, _between(real, synthetic))
    return (squared + 1e-12).sqrt()


def slope_between(discriminator: nn.Module, real: Encoded, synthetic: Encoded, size: float = 1e-2) -> Scores:
    """Return the slope of D from synthetic to real at a uniform random point between, by a central difference.

    It is the component of ∇D along the unit vector u from synthetic to real, so a lower bound of its norm. The optimal
    critic's gradient is u itself (Gulrajani et al. 2017, proposition 1), where the two agree.
    """
    apart = [a - b for a, b in zip(real.parts, synthetic.parts, strict=True)]
    distance = (_squared_norm(apart) + 1e-12).sqrt()
    unit = [part / _beside(distance, part) for part in apart]
    return _difference(discriminator, _between(real, synthetic), unit, size)


def _difference(discriminator: nn.Module, encoded: Encoded, direction: Sequence[Tensor], size: float) -> Scores:
    ends = [
        encoded.replaced(part + sign * size * way for part, way in zip(encoded.parts, direction, strict=True))
        for sign in (1, -1)
    ]
    with torch.autocast(encoded.x.device.type, enabled=False):  # bfloat16 is coarser than the difference
        ahead, behind = _both(discriminator, *ends)
    return (ahead - behind) / (2 * size)


def _between(real: Encoded, synthetic: Encoded) -> Encoded:
    weight = torch.rand(len(real), dtype=real.x.dtype, device=real.x.device)
    pairs = zip(real.parts, synthetic.parts, strict=True)
    return real.replaced(torch.lerp(ours, theirs, _beside(weight, ours)) for ours, theirs in pairs)


def _squared_norm(parts: Iterable[Tensor]) -> Scores:
    return sum(part.flatten(1).square().sum(dim=1) for part in parts)  # type: ignore[return-value]


def _beside(numbers: Float[Tensor, " n"], part: Tensor) -> Tensor:
    """Give one number per sequence as many axes as a part has."""
    return numbers.reshape(-1, *[1] * (part.dim() - 1))


def _resolved(real: Encoded, synthetic: Encoded, row: int) -> Encoded:
    """Give real sequences the coarser resolutions that synthetic ones come in: each the mean of pairs of the finer."""
    grid, coarse = real.x.unflatten(2, (row, -1)), []
    for _ in synthetic.coarse:
        grid = _halved(_halved(grid, 1), 2)
        coarse.append(grid.flatten(2))
    return real.replaced((real.x, real.s, *coarse))


def _halved(grid: Float[Tensor, "n length row _"], axis: int) -> Tensor:
    """Average neighbouring pairs along an axis; a last one without a partner stays as it is."""
    if grid.shape[axis] == 1:
        return grid
    if grid.shape[axis] % 2:
        grid = torch.cat([grid, grid.narrow(axis, grid.shape[axis] - 1, 1)], dim=axis)
    return grid.unflatten(axis, (-1, 2)).mean(dim=axis + 1)


def _both(discriminator: nn.Module, first: Encoded, second: Encoded) -> tuple[Scores, Scores]:
    """Score two batches in one pass, which costs a recurrent network little more than one."""
    joined = Encoded.joined(first, second)
    on_first, on_second = discriminator(joined, joined.condition).chunk(2)
    return on_first, on_second


def _twice_differentiable(tensor: Tensor) -> Any:
    """cuDNN's recurrent kernels have no double backward; PyTorch's own have (pytorch issue 5261)."""
    return torch.backends.cudnn.flags(enabled=False) if tensor.is_cuda else nullcontext()
