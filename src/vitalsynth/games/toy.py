"""Games with known answers: ordinary generators and discriminators of a few parameters, and what they play.

In the Dirac-GAN (Mescheder et al. 2018, arXiv 1801.04406) data are a point, the generator is a point θ, and the
discriminator is D(x) = ψ x: all there is to see of rotation, in two numbers. All is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .. import components
from ..discriminators import Discriminator
from ..generators import Generator
from ..learner import Learner
from ..methods import Method, Simultaneous
from ..objectives import Objective
from ..schedules import Constant
from ..sequences import Block, Encoded, Shape
from ..stabilisers import Stabiliser
from ..training import Plan


class Point(Generator):
    """Always the same sequence of one step, θ, each channel stretched by a factor."""

    noise = 0
    stretch: Tensor

    def __init__(self, shape: Shape, stretch: Sequence[float] = (1.0,)) -> None:
        """Build the generator.

        Args:
            shape: Of the encoded data.
            stretch: Factor of each channel, the singular values of a bilinear game.
        """
        super().__init__()
        self.at = nn.Parameter(torch.zeros(shape.channels))
        self.register_buffer("stretch", torch.tensor(stretch))

    def forward(self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"]) -> Encoded:
        """Repeat the point."""
        x = (self.stretch * self.at).expand(len(noise), 1, -1)
        return Encoded(x, x.new_zeros(len(noise), 0), condition)


class Normal(Generator):
    """A number, normal with mean μ and standard deviation exp(ρ)."""

    noise = 1

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.mean, self.log_scale = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"]) -> Encoded:
        """Scale and shift the noise."""
        x = (self.mean + self.log_scale.exp() * noise)[..., None]
        return Encoded(x, x.new_zeros(len(noise), 0), condition)

    def log_likelihood(self, real: Encoded) -> Float[Tensor, " n"]:
        """Return the log density of each sequence."""
        standard = (real.x[:, 0, 0] - self.mean) / self.log_scale.exp()
        return -standard.square() / 2 - self.log_scale - math.log(2 * math.pi) / 2


class Drift(Generator):
    """A flow whose velocity is the same everywhere."""

    noise = 0

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.speed = nn.Parameter(torch.zeros(shape.channels))

    def velocity(
        self, x: Tensor, s: Tensor, t: Float[Tensor, " n"], condition: Tensor, known: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the velocity of channels and statics."""
        return self.speed.expand_as(x), torch.zeros_like(s)

    def forward(self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"]) -> Encoded:
        """Flow from a standard normal draw for a unit of time."""
        x = torch.randn(len(noise), 1, len(self.speed)) + self.speed
        return Encoded(x, x.new_zeros(len(noise), 0), condition)


class Slope(Discriminator):
    """D(x) = ψ · x, or with squares ψ · (x, x²); x is a feature."""

    def __init__(self, shape: Shape, squares: bool = False) -> None:
        """Build the discriminator.

        Args:
            shape: Of the encoded data.
            squares: Score squares too, as it takes to tell two variances apart.
        """
        super().__init__()
        self.squares = squares
        self.slope = nn.Parameter(torch.zeros(shape.channels * (2 if squares else 1)))

    def features(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, "n features"]:
        """Return what is scored."""
        x = encoded.x[:, 0]
        return torch.cat([x, x.square()], dim=1) if self.squares else x

    def forward(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, " n"]:
        """Score sequences."""
        return self.features(encoded, condition) @ self.slope


Descent = partial(torch.optim.SGD, lr=0.15)


@dataclass(frozen=True)
class Game:
    """What is played, named as `train` names it.

    Args:
        objective: What the players minimise.
        method: In which order they look and move.
        optimizers: Of generator and discriminator.
        stabilisers: What steadies the game.
        generator: Who generates.
        discriminator: Who judges; None in a game of one.
        data: `(n, channels)`, sequences of one step; a batch has them all.
        seed: Of everything random.
        batch: Sequences in a turn; all by default.
    """

    objective: Callable[[], Objective]
    method: Callable[[], Method] = Simultaneous
    optimizers: Sequence[Callable[..., Any]] = (Descent, Descent)
    stabilisers: Sequence[Callable[[Shape], Stabiliser]] = ()
    generator: Callable[[Shape], Generator] = Point
    discriminator: Callable[[Shape], Discriminator] | None = Slope
    data: Sequence[Sequence[float]] = ((0.0,),)
    seed: int = 0
    batch: int = 0

    @property
    def shape(self) -> Shape:
        return Shape(1, (Block("continuous"),) * len(self.data[0]))

    def build(self) -> tuple[Learner, Plan, Encoded]:
        """Return the state before the first step, all that decides what a step does, and the data."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        described = {name: components.describe(network) for name, network in networks.items() if network is not None}
        record = {
            "shape": self.shape.to_json(),
            "networks": described,
            "optimizers": dict(zip(described, map(components.describe, self.optimizers), strict=False)),
            "schedules": {name: components.describe(Constant) for name in described},
            "objective": components.describe(self.objective),
            "method": components.describe(self.method),
            "stabilisers": [components.describe(part) for part in self.stabilisers],
            "seed": self.seed,
            "batch": self.batch or len(self.data),
            "average": 0.0,
            "precision": "float32",
            "frozen": [],
            "privacy": None,
        }
        x = torch.tensor(self.data)[:, None]
        nothing = x.new_zeros(len(x), 0)
        return Learner.build(record, torch.device("cpu")), Plan.of(record), Encoded(x, nothing, nothing)


@contextmanager
def double() -> Iterator[None]:
    """Compute in float64, on one thread, and leave the random numbers as they were."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_default_dtype(before)
