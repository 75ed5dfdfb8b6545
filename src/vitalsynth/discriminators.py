"""Discriminators: one number per sequence, larger where it seems real.

    Discriminator(shape, **settings)(encoded, condition) -> (n,)

A condition enters at every step beside the channels (`concatenation`, as in RCGAN), through an inner product with the
features (`projection`), or both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from . import recurrences
from .layers import Score, every_step
from .sequences import Encoded, Shape

Conditioning = Literal["projection", "concatenation", "both"]


class Discriminator(nn.Module, ABC):
    """What every discriminator is. Derive from it to write your own."""

    @abstractmethod
    def forward(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, " n"]:
        """Score sequences."""


class Recurrent(Discriminator):
    """A recurrent network over the channels, with statics at every step; the mean of its outputs is scored."""

    @property
    @abstractmethod
    def cell(self) -> recurrences.Cell:
        """The recurrent layer, set by the classes below."""

    def __init__(
        self,
        shape: Shape,
        hidden: int = 64,
        layers: int = 1,
        bidirectional: bool = True,
        conditioning: Conditioning = "both",
        dropout: float = 0.0,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            hidden: Units of a recurrent layer.
            layers: Recurrent layers on top of each other.
            bidirectional: Also run backwards in time.
            conditioning: How a condition enters.
            dropout: Share of a recurrent layer's features dropped before the next, the same ones at every step.
        """
        super().__init__()
        self.concatenate = conditioning != "projection"
        width = shape.channels + shape.statics + (shape.condition if self.concatenate else 0)
        self.recurrence = recurrences.build(self.cell, width, hidden, layers, bidirectional, dropout)
        self.score = Score(hidden * (2 if bidirectional else 1), shape.condition, conditioning != "concatenation")

    def forward(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, " n"]:
        """Score sequences."""
        features, _ = self.recurrence(_inputs(encoded, condition, self.concatenate))
        return self.score(features.mean(dim=1), condition)


class LSTM(Recurrent):
    """Long short-term memory, the discriminator of RGAN and RCGAN."""

    cell = nn.LSTM  # type: ignore[assignment]


class GRU(Recurrent):
    """Gated recurrent unit."""

    cell = nn.GRU  # type: ignore[assignment]


class MinGRU(Recurrent):
    """Linear recurrences with the gates of a minimal GRU (Feng et al. 2024); penalties through them are cheap."""

    cell = recurrences.MinGRU  # type: ignore[assignment]


class RGLRU(Recurrent):
    """Real-gated linear recurrent units (De et al. 2024)."""

    cell = recurrences.RGLRU  # type: ignore[assignment]


class Convolutional(Discriminator):
    """Residual dilated convolutions over time, no normalisation layers; the mean over time is scored.

    The dilation doubles from block to block, so `blocks` of them see 2^(blocks + 2) - 3 steps around each step.
    """

    def __init__(self, shape: Shape, width: int = 64, blocks: int = 4, conditioning: Conditioning = "both") -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            width: Channels of the convolutions.
            blocks: Residual blocks, each of two convolutions of size 3.
            conditioning: How a condition enters.
        """
        super().__init__()
        if width < 1 or blocks < 1:
            raise ValueError(f"at least 1 channel and 1 block are needed, got width {width} and blocks {blocks}")
        self.concatenate = conditioning != "projection"
        inputs = shape.channels + shape.statics + (shape.condition if self.concatenate else 0)
        self.first = nn.Conv1d(inputs, width, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LeakyReLU(0.2),
                nn.Conv1d(width, width, 3, padding=2**depth, dilation=2**depth),
                nn.LeakyReLU(0.2),
                nn.Conv1d(width, width, 3, padding=2**depth, dilation=2**depth),
            )
            for depth in range(blocks)
        )
        self.activation = nn.LeakyReLU(0.2)
        self.score = Score(width, shape.condition, conditioning != "concatenation")

    def forward(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, " n"]:
        """Score sequences."""
        features = self.first(_inputs(encoded, condition, self.concatenate).transpose(1, 2))
        for block in self.blocks:
            features = features + block(features)
        return self.score(self.activation(features).mean(dim=2), condition)


def _inputs(encoded: Encoded, condition: Tensor, concatenate: bool) -> Tensor:
    return every_step(encoded.x, encoded.s, condition) if concatenate else every_step(encoded.x, encoded.s)
