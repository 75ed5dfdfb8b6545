"""Discriminators: one number per sequence, larger where it seems real.

    Discriminator(shape, **settings)(encoded, condition) -> (n,)

A condition enters at every step beside the channels (`concatenation`, as in RCGAN), through an inner product with the
features (`projection`), or both.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from . import recurrences
from .layers import Minibatch, RandomFeatures, Score, Spectral, Transformer, every_step, grids
from .sequences import Encoded, Shape

Conditioning = Literal["projection", "concatenation", "both"]
Total = Callable[[Int[Tensor, " m"], Float[Tensor, " m"]], Tensor]
"""A sum over sequences, given their positions and weights."""


class Discriminator(nn.Module, ABC):
    """What every discriminator is. Derive from it to write your own."""

    @abstractmethod
    def forward(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, " n"]:
        """Score sequences."""

    def meet(self, real: Encoded) -> None:
        """Look at some real sequences before training, if something must be known of them."""

    def know(self, real: Encoded, mean: Callable[[Total], Tensor]) -> None:
        """Learn a mean over all real sequences before training, if that is what it judges by.

        Args:
            real: All sequences.
            mean: Turns a weighted sum over sequences into the mean over all; under privacy into a noisy one, over
                patients, which the budget pays for.
        """

    def project(self, encoded: Encoded) -> Encoded:
        """Return what is judged: the sequences, or what a fixed map makes of them; penalties are taken behind it."""
        return encoded

    def judge(self, projected: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, " n"]:
        """Score what was projected."""
        return self(projected, condition)


class Pooled(Discriminator):
    """A discriminator that scores the mean over time of what it finds at each step.

    Attributes:
        score: From features to a number.
        minibatch: Lets features know of the other sequences; None if they are scored each by itself.
    """

    score: nn.Module
    minibatch: nn.Module | None

    @abstractmethod
    def steps(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, "n steps features"]:
        """Return what is found at each step of what was projected, which may be coarser than the sequence's."""

    def features(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, "n features"]:
        """Return the features that a score is computed from."""
        return self._features(self.project(encoded), condition)

    def forward(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, " n"]:
        """Score sequences."""
        return self.judge(self.project(encoded), condition)

    def judge(self, projected: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, " n"]:
        """Score what was projected."""
        return self.score(self._features(projected, condition), condition)

    def _features(self, projected: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, "n features"]:
        steps = self.steps(projected, condition)
        pooled = steps.mean(dim=1)
        return pooled if self.minibatch is None else self.minibatch(steps, pooled)

    def _finish(self, features: int, shape: Shape, conditioning: Conditioning, spectral: bool, minibatch: int) -> None:
        """Build what comes after the steps, and with `spectral` normalise all weights."""
        self.score = Score(features, shape.condition, conditioning != "concatenation")
        self.minibatch = Minibatch(features, minibatch) if minibatch else None
        if spectral:
            for name, network in list(self.named_children()):
                setattr(self, name, Spectral.of(network))


class Recurrent(Pooled):
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
        spectral: bool = False,
        minibatch: int = 0,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            hidden: Units of a recurrent layer.
            layers: Recurrent layers on top of each other.
            bidirectional: Also run backwards in time.
            conditioning: How a condition enters.
            dropout: Share of a recurrent layer's features dropped before the next, the same ones at every step.
            spectral: Divide every weight matrix by its largest singular value.
            minibatch: Sequences in a group whose deviation is a feature; 0 scores each by itself.
        """
        super().__init__()
        self.concatenate = conditioning != "projection"
        inputs = _width(shape, self.concatenate)
        self.recurrence = recurrences.build(self.cell, inputs, hidden, layers, bidirectional, dropout)
        self._finish(hidden * (2 if bidirectional else 1), shape, conditioning, spectral, minibatch)

    def steps(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, "n steps features"]:
        """Return what the recurrence knows at each step."""
        return self.recurrence(_inputs(encoded, condition, self.concatenate))[0]


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


class Attention(Pooled):
    """A transformer that looks both ways; the mean over time is scored.

    Its memory grows with the square of the length: gradient penalties need attention that can be differentiated twice.
    """

    def __init__(
        self,
        shape: Shape,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        conditioning: Conditioning = "both",
        dropout: float = 0.0,
        spectral: bool = False,
        minibatch: int = 0,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            width: Features of a step.
            layers: Of attention and perceptron, on top of each other.
            heads: Of every attention; they share the width.
            conditioning: How a condition enters.
            dropout: Share of features that each part of a layer leaves out, the same ones at every step.
            spectral: Divide every weight matrix by its largest singular value.
            minibatch: Sequences in a group whose deviation is a feature; 0 scores each by itself.
        """
        super().__init__()
        self.concatenate = conditioning != "projection"
        inputs = _width(shape, self.concatenate)
        self.transformer = Transformer(inputs, width, layers, heads, dropout, causal=False, penalised=True)
        self._finish(width, shape, conditioning, spectral, minibatch)

    def steps(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, "n steps features"]:
        """Return what each step made of all others."""
        return self.transformer(_inputs(encoded, condition, self.concatenate))


class Convolutional(Pooled):
    """Residual dilated convolutions over time, no normalisation layers; the mean over time is scored.

    The dilation doubles from block to block, so `blocks` of them see 2^(blocks + 2) - 3 steps around each step.
    """

    def __init__(
        self,
        shape: Shape,
        width: int = 64,
        blocks: int = 4,
        conditioning: Conditioning = "both",
        spectral: bool = False,
        minibatch: int = 0,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            width: Channels of the convolutions.
            blocks: Residual blocks, each of two convolutions of size 3.
            conditioning: How a condition enters.
            spectral: Divide every weight matrix by its largest singular value.
            minibatch: Sequences in a group whose deviation is a feature; 0 scores each by itself.
        """
        super().__init__()
        if width < 1 or blocks < 1:
            raise ValueError(f"at least 1 channel and 1 block are needed, got width {width} and blocks {blocks}")
        self.concatenate = conditioning != "projection"
        self.first = nn.Conv1d(_width(shape, self.concatenate), width, 1)
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
        self._finish(width, shape, conditioning, spectral, minibatch)

    def steps(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, "n steps features"]:
        """Return what is seen around each step."""
        features = self.first(_inputs(encoded, condition, self.concatenate).transpose(1, 2))
        for block in self.blocks:
            features = features + block(features)
        return self.activation(features).transpose(1, 2)


class Projected(Pooled):
    """A perceptron that judges fixed random features (Projected GAN; Sauer et al. 2021, arXiv 2111.01007).

    It need not learn to see first, and penalties are cheap, being taken with respect to the features. The paper's are
    those of a network trained on photographs; for sequences random convolutions take their place.
    """

    def __init__(
        self,
        shape: Shape,
        kernels: int = 192,
        hidden: int = 128,
        conditioning: Conditioning = "both",
        spectral: bool = False,
        minibatch: int | Literal["auto"] = "auto",
        carry: bool = False,
        emphasis: bool = False,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            kernels: Random convolutions, each with three features.
            hidden: Units of the perceptron's two layers.
            conditioning: How a condition enters.
            spectral: Divide every weight matrix by its largest singular value.
            minibatch: Sequences in a group whose deviation is a feature; 0 scores each by itself. auto takes 8 where
                there are gaps or 0/1 channels, since how many stays lack a variable shows in a group alone, and 0
                elsewhere.
            carry: See the last measured value in every gap, and less of single steps where there are gaps.
            emphasis: Where there are gaps and `carry`, let a static and a condition, a number each, weigh as much as a
                channel does with all the numbers that tell of it.
        """
        super().__init__()
        if kernels < 1 or hidden < 1:
            raise ValueError(f"at least 1 kernel and 1 unit are needed, got kernels {kernels} and hidden {hidden}")
        self.concatenate = conditioning != "projection"
        self.random = RandomFeatures(shape, kernels, carry)
        self.dynamic = self.random.width - shape.statics
        self.weight = math.sqrt(self.dynamic / shape.channels) if emphasis and self.random.gated else 1.0
        inputs = self.random.width + (shape.condition if self.concatenate else 0)
        self.perceptron = nn.Sequential(
            nn.Linear(inputs, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2)
        )
        group = (8 if shape.binary else 0) if minibatch == "auto" else minibatch
        self._finish(hidden, shape, conditioning, spectral, group)

    def meet(self, real: Encoded) -> None:
        """Bring the features to unit scale."""
        self.random.meet(real)

    def project(self, encoded: Encoded) -> Encoded:
        """Return the features, as sequences of one step."""
        dynamic, statics = self.random(encoded).tensor_split([self.dynamic], dim=1)
        features = torch.cat([dynamic, self.weight * statics], dim=1)
        return Encoded(features[:, None], encoded.s[:, :0], encoded.condition)

    def steps(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, "n steps features"]:
        """Return what the perceptron makes of the features, in one step."""
        return self.perceptron(_inputs(encoded, self.weight * condition, self.concatenate))


class ConvolutionalRecurrent(Pooled):
    """Convolutions that halve the time, and the rows of images, again and again, then a linear recurrence both ways."""

    def __init__(
        self,
        shape: Shape,
        width: int = 32,
        scales: int = 3,
        hidden: int = 64,
        conditioning: Conditioning = "both",
        spectral: bool = False,
        minibatch: int = 0,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            width: Channels of the convolutions at full resolution, and twice as many at every coarser one.
            scales: Resolutions; the recurrence runs at the coarsest, 2^(scales - 1) steps at a time. 0 halves as
                long as 7 whole steps are left.
            hidden: Units of the recurrence, in each direction.
            conditioning: How a condition enters.
            spectral: Divide every weight matrix by its largest singular value.
            minibatch: Sequences in a group whose deviation is a feature; 0 scores each by itself.
        """
        super().__init__()
        self.concatenate, self.row = conditioning != "projection", shape.row
        _, *coarser = sizes = grids.sizes(shape.length, shape.row, scales)
        inputs = [_width(shape, self.concatenate, shape.row), *(0 for _ in coarser)]
        self.reducing = grids.Reducing(inputs, width, shape.row == 1)
        self.recurrence = recurrences.MinGRU(self.reducing.features * sizes[-1][1], hidden, bidirectional=True)
        self._finish(2 * hidden, shape, conditioning, spectral, minibatch)

    def steps(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, "n steps features"]:
        """Return what the recurrence knows at each coarse step."""
        grid = self.reducing([_grid(encoded, condition, self.concatenate, self.row)])
        return self.recurrence(grids.to_steps(grid))[0]


class MultiScale(Pooled):
    """Convolutions from the full resolution to coarse ones, which see the sequence itself at each (MSG-GAN).

    So the generator's gradients reach each of its resolutions at once (Karnewar and Wang 2020, arXiv 1903.06048). What
    comes without coarser resolutions, as real sequences do, is pooled: neighbouring steps are averaged, and for images
    neighbouring pixels of a row.
    """

    def __init__(
        self,
        shape: Shape,
        width: int = 32,
        scales: int = 3,
        conditioning: Conditioning = "both",
        spectral: bool = False,
        minibatch: int = 0,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            width: Channels of the convolutions at full resolution, and twice as many at every coarser one.
            scales: Resolutions, as many as the generator emits; 0 halves as long as 7 whole steps are left.
            conditioning: How a condition enters.
            spectral: Divide every weight matrix by its largest singular value.
            minibatch: Sequences in a group whose deviation is a feature; 0 scores each by itself.
        """
        super().__init__()
        self.concatenate = conditioning != "projection"
        self.rows = [row for _, row in grids.sizes(shape.length, shape.row, scales)]
        self.scales, seen = len(self.rows), shape.channels // shape.row
        inputs = [_width(shape, self.concatenate, shape.row), *(seen for _ in self.rows[1:])]
        self.reducing = grids.Reducing(inputs, width, shape.row == 1)
        self.last = grids.scaled(nn.Linear(self.reducing.features * self.rows[-1], self.reducing.features))
        self.activation = nn.LeakyReLU(0.2)
        self._finish(self.reducing.features, shape, conditioning, spectral, minibatch)

    def steps(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, "n steps features"]:
        """Return what is found at each coarse step.

        Raises:
            ValueError: if another number of resolutions was emitted than is looked at.
        """
        coarse = encoded.coarse or grids.coarser(encoded.x, self.rows[0], self.scales)
        if len(coarse) != self.scales - 1:
            raise ValueError(
                f"{len(coarse) + 1} resolutions are emitted, and {self.scales} looked at; set scales alike"
            )
        finest = _grid(encoded, condition, self.concatenate, self.rows[0])
        others = [grids.to_grid(x, row) for x, row in zip(coarse, self.rows[1:], strict=True)]
        return self.activation(self.last(grids.to_steps(self.reducing([finest, *others]))))


def _width(shape: Shape, concatenate: bool, row: int = 1) -> int:
    """Return how many numbers a place is given."""
    return shape.channels // row + shape.statics + (shape.condition if concatenate else 0)


def _inputs(encoded: Encoded, condition: Tensor, concatenate: bool) -> Tensor:
    return every_step(encoded.x, encoded.s, condition) if concatenate else every_step(encoded.x, encoded.s)


def _grid(encoded: Encoded, condition: Tensor, concatenate: bool, row: int) -> Tensor:
    """Return the sequence as a grid, with what is fixed for it at every place."""
    grid = grids.to_grid(encoded.x, row)
    fixed = torch.cat([encoded.s, condition], dim=1) if concatenate else encoded.s
    return torch.cat([grid, fixed[:, :, None, None].expand(-1, -1, *grid.shape[2:])], dim=1)
