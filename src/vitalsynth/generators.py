"""Generators: from noise and a condition to encoded sequences.

    Generator(shape, **settings)(noise, condition) -> Encoded

Noise is one standard normal vector per sequence, of `generator.noise` numbers; each generator cuts it as it likes.
With a condition of width 0 this is an RGAN, with any other an RCGAN (Esteban, Hyland, Rätsch 2017, arXiv 1706.02633):
the code is the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .layers import Emission, every_step
from .sequences import Block, Encoded, Shape


class Generator(nn.Module, ABC):
    """What every generator is. Derive from it to write your own.

    Attributes:
        noise: How many standard normal numbers one sequence needs.
        when_sampling: Settings that may be changed after training, because no weight depends on them.
    """

    noise: int
    when_sampling: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"]) -> Encoded:
        """Turn noise into sequences."""


class Recurrent(Generator):
    """Statics from a small perceptron, then channels step by step from a recurrent network that sees them.

    At every step the recurrence is given fresh noise, the noise of the whole sequence, the statics and the condition.
    """

    @property
    @abstractmethod
    def cell(self) -> type[nn.LSTM | nn.GRU]:
        """The recurrent layer, set by the classes below."""

    def __init__(
        self,
        shape: Shape,
        hidden: int = 64,
        layers: int = 1,
        bidirectional: bool = False,
        step_noise: int = 8,
        sequence_noise: int = 16,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            hidden: Units of a recurrent layer, and of the perceptron that makes the statics.
            layers: Recurrent layers on top of each other.
            bidirectional: Also run backwards in time, so that a step knows what comes after it.
            step_noise: Normal numbers that are new at every step.
            sequence_noise: Normal numbers that are the same for the whole sequence.
        """
        super().__init__()
        self.length, self.step_noise, self.sequence_noise = shape.length, step_noise, sequence_noise
        given = sequence_noise + shape.condition
        self.statics = _Statics(given, hidden, shape.s) if shape.s else None
        self.recurrence = self.cell(
            step_noise + given + shape.statics, hidden, layers, batch_first=True, bidirectional=bidirectional
        )
        self.channels = Emission(hidden * (2 if bidirectional else 1), shape.x, shape.alive)
        static_noise = self.statics.emission.noise if self.statics else 0
        self.parts = (sequence_noise, static_noise, shape.length * step_noise, shape.length * self.channels.noise)
        self.noise = sum(self.parts)

    def forward(self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"]) -> Encoded:
        """Turn noise into sequences."""
        sequence, static, step, channel = noise.split(self.parts, dim=1)
        s = noise[:, :0]
        if self.statics is not None:
            s = self.statics(torch.cat([sequence, condition], dim=1), static)
        inputs = every_step(step.unflatten(1, (self.length, self.step_noise)), sequence, condition, s)
        features, _ = self.recurrence(inputs)
        x = self.channels(features, channel.unflatten(1, (self.length, self.channels.noise)))
        return Encoded(x, s, condition)


class _Statics(nn.Module):
    """A perceptron that makes the statics."""

    def __init__(self, inputs: int, hidden: int, blocks: tuple[Block, ...]) -> None:
        super().__init__()
        layers = (nn.Linear(inputs, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2))
        self.perceptron = nn.Sequential(*layers)
        self.emission = Emission(hidden, blocks)

    def forward(self, given: Float[Tensor, "n given"], noise: Float[Tensor, "n noise"]) -> Float[Tensor, "n statics"]:
        return self.emission(self.perceptron(given), noise)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), the generator of RGAN and RCGAN."""

    cell = nn.LSTM  # type: ignore[assignment]


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014): three gates' worth of weights where an LSTM has four."""

    cell = nn.GRU  # type: ignore[assignment]
