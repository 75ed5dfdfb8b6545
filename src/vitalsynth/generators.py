"""Generators: from noise and a condition to encoded sequences.

    Generator(shape, **settings)(noise, condition) -> Encoded

Noise is one standard normal vector per sequence, of `generator.noise` numbers; each generator cuts it as it likes.
With a condition of width 0 this is an RGAN, with any other an RCGAN (Esteban, Hyland, Rätsch 2017, arXiv 1706.02633):
the code is the same.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from . import recurrences
from .layers import CoarseEmission, Emission, Transformer, every_step, grids
from .sequences import Block, Encoded, Fixed, Shape


class Generator(nn.Module, ABC):
    """What every generator is. Derive from it to write your own.

    Attributes:
        noise: How many standard normal numbers one sequence needs.
        when_sampling: Settings that may be changed after training, because no weight depends on them.
        at_once: How many sequences a CPU is asked for in one call when sampling: few if large operations leave its
            cache, many if there are many small ones.
        takes_masks: Whether `forward` takes, as third argument, masks that are `Fixed`.
        pasts: Share of the sequences that are given a past while training, for objectives that do so; with any, it has
            the `shape` of its data too.
        continues: Whether it takes a past too, and draws what comes after it given what was.
    """

    noise: int
    when_sampling: ClassVar[tuple[str, ...]] = ()
    at_once: ClassVar[int] = 1024
    takes_masks: ClassVar[bool] = False
    pasts: float = 0.0

    @property
    def continues(self) -> bool:
        return self.pasts > 0

    @abstractmethod
    def forward(self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"]) -> Encoded:
        """Turn noise into sequences."""

    def judged(self, shape: Shape) -> Shape:
        """Return the shape of what a discriminator is shown: how much was given, `Fixed.extent`, is a condition too."""
        return replace(shape, condition=shape.condition + 1 + shape.statics) if self.pasts else shape

    def learn_pasts(self, share: float, shape: Shape) -> None:
        """Set the share of the sequences that are given a past while training.

        Raises:
            ValueError: if it is no share, or sequences have but one step.
        """
        if not 0 <= share < 1 or (share and shape.length < 2):
            raise ValueError(
                f"pasts must lie in [0, 1), and be 0 for sequences of one step; got {share} for {shape.length} steps"
            )
        self.pasts = share
        self.shape: Shape = shape


class StepByStep(Generator):
    """Statics from a small perceptron, then channels from a network over steps of noise that sees them.

    At every step the network is given fresh noise, the noise of the whole sequence, the statics and the condition. One
    that learns to go on from pasts is given, too, what is known of each step, and the statics' perceptron all of it.
    """

    at_once = 128
    takes_masks = True
    patch: int = 1

    @abstractmethod
    def steps(self, given: Float[Tensor, "n noisy given"]) -> Float[Tensor, "n length features"]:
        """Return the features of every step, from what it, or its patch, is given."""

    def forward(
        self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"], fixed: Fixed | None = None
    ) -> Encoded:
        """Turn noise into sequences."""
        sequence, static, step, channel = _cut(noise, self.parts)
        given = torch.cat([sequence, condition], dim=1)
        if self.pasts:
            fixed = fixed or Fixed.nothing(noise, self.shape)
            past = fixed.past
            given = torch.cat([given, fixed.told, past.flatten(1)], dim=1)
            past = nn.functional.pad(past, (0, 0, 0, step.shape[1] * self.patch - past.shape[1]))
            step = torch.cat([step, past.unflatten(1, (-1, self.patch)).flatten(2)], dim=2)
        s = self.statics(given, static)
        s = s if fixed is None else fixed.put_statics(s)
        x = self.channels(self.steps(every_step(step, sequence, condition, s)), channel, fixed)
        return Encoded(x, s, condition)

    def _begin(self, shape: Shape, hidden: int, step_noise: int, sequence_noise: int, pasts: float) -> int:
        """Build what makes the statics; return how many numbers a step is given."""
        self.learn_pasts(pasts, shape)
        given, known = sequence_noise + shape.condition, shape.channels + 1
        past = 2 * shape.statics + shape.length * known if pasts else 0
        self.statics = _Statics(given + past, hidden, shape.s)
        return step_noise + given + shape.statics + (self.patch * known if pasts else 0)

    def _finish(
        self, shape: Shape, features: int, step_noise: int, sequence_noise: int, noisy: int, renewal: int = 0
    ) -> None:
        """Build what emits the channels, and divide the noise, of which so many steps get some."""
        self.channels = Emission(features, shape.x, shape.alive, renewal)
        steps = [(noisy, step_noise), (shape.length, self.channels.noise)]
        self.parts = [(sequence_noise,), (self.statics.noise,), *steps]
        self.noise = _total(self.parts)


LONGEST = 32
"""Steps that a recurrence takes unless it is told otherwise; longer sequences it draws in patches of time."""


class Recurrent(StepByStep):
    """A recurrent network over the steps, or patches of them."""

    @property
    @abstractmethod
    def cell(self) -> recurrences.Cell:
        """The recurrent layer, set by the classes below."""

    def __init__(
        self,
        shape: Shape,
        hidden: int = 64,
        layers: int = 1,
        bidirectional: bool = False,
        step_noise: int = 8,
        sequence_noise: int = 16,
        dropout: float = 0.0,
        places: int = 6,
        patch: int = 0,
        pasts: float = 0.0,
        renewal: int = 0,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            hidden: Units of a recurrent layer, and of the perceptron that makes the statics.
            layers: Recurrent layers on top of each other.
            bidirectional: Also run backwards in time, so that a step knows what comes after it.
            step_noise: Normal numbers that are new at every step.
            sequence_noise: Normal numbers that are the same for the whole sequence.
            dropout: Share of a recurrent layer's features dropped before the next, the same ones at every step.
            places: Waves in time that a step is shown, of 1/2, 1, 2, 4, ... periods in a sequence, as far as its steps
                resolve them, so that what happens at a fixed time need not be counted to; 0 for none.
            patch: Steps that the recurrence takes at once; 0 takes as many as leave it at most 32 to take.
            pasts: Share of the sequences that are given the first steps of a real one while training, such as 0.5, so
                that stays can be gone on from (`sample --past`); 0 for none.
            renewal: Steps back at which 0/1 columns, such as whether something was measured, know when they were last
                1, so that they can come in runs or regularly, such as 12; 0 for none.
        """
        super().__init__()
        if places < 0 or patch < 0 or renewal < 0:
            raise ValueError(f"places, patch and renewal must be 0 or more, got {places}, {patch} and {renewal}")
        self.patch, strides = shape.patches(patch or -(-shape.length // LONGEST))
        self.place: Tensor
        self.register_buffer("place", _places(shape.length, places), persistent=False)
        waves = self.place.shape[1]
        inputs = self._begin(shape, hidden, step_noise, sequence_noise, pasts) + waves
        self.recurrence = recurrences.build(self.cell, inputs, hidden, layers, bidirectional, dropout)
        features = hidden * (2 if bidirectional else 1)
        self.unfold: nn.Module = nn.Identity()
        if self.patch > 1:
            patches = nn.Linear(features, self.patch * hidden), nn.Unflatten(2, (self.patch, hidden))
            self.unfold, features = nn.Sequential(*patches, nn.Flatten(1, 2), nn.LeakyReLU(0.2)), hidden
        self._finish(shape, features + waves, step_noise, sequence_noise, strides, renewal)

    def steps(self, given: Float[Tensor, "n noisy given"]) -> Float[Tensor, "n length features"]:
        """Return what the recurrence knows at each step, and the step's place."""
        place = self.place.expand(given.shape[0], -1, -1)
        features, _ = self.recurrence(torch.cat([given, place[:, :: self.patch]], dim=2))
        return torch.cat([self.unfold(features)[:, : place.shape[1]], place], dim=2)


def _places(length: int, waves: int) -> Float[Tensor, "length _"]:
    """Return cosines and sines of 2^k half periods over a sequence, as long as two steps make no half period."""
    k = torch.arange(min(waves, length.bit_length() - 1))
    phase = math.pi * torch.exp2(k) * (torch.arange(length)[:, None] + 0.5) / length
    return torch.cat([phase.cos(), phase.sin()], dim=1)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), the generator of RGAN and RCGAN."""

    cell = nn.LSTM  # type: ignore[assignment]


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014): three gates' worth of weights where an LSTM has four."""

    cell = nn.GRU  # type: ignore[assignment]


class MinGRU(Recurrent):
    """Linear recurrences with the gates of a minimal GRU (Feng et al. 2024), computed for all steps at once."""

    cell = recurrences.MinGRU  # type: ignore[assignment]


class RGLRU(Recurrent):
    """Real-gated linear recurrent units (De et al. 2024), whose memory can be long from the beginning."""

    cell = recurrences.RGLRU  # type: ignore[assignment]


class Attention(StepByStep):
    """A causal transformer: each step is made from its own noise and that of all before it, and its place in time."""

    def __init__(
        self,
        shape: Shape,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        step_noise: int = 8,
        sequence_noise: int = 16,
        dropout: float = 0.0,
        pasts: float = 0.0,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            width: Features of a step, and units of the perceptron that makes the statics.
            layers: Of attention and perceptron, on top of each other.
            heads: Of every attention; they share the width.
            step_noise: Normal numbers that are new at every step.
            sequence_noise: Normal numbers that are the same for the whole sequence.
            dropout: Share of features that each part of a layer leaves out, the same ones at every step.
            pasts: Share of the sequences that are given the first steps of a real one while training, such as 0.5, so
                that stays can be gone on from (`sample --past`); 0 for none.
        """
        super().__init__()
        inputs = self._begin(shape, width, step_noise, sequence_noise, pasts)
        self.transformer = Transformer(inputs, width, layers, heads, dropout, causal=True, penalised=False)
        self._finish(shape, width, step_noise, sequence_noise, shape.length)

    def steps(self, given: Float[Tensor, "n noisy given"]) -> Float[Tensor, "n length features"]:
        """Return what each step made of those before it."""
        return self.transformer(given)


class Convolutional(Generator):
    """A recurrence in coarse time, then convolutions that refine it, each resolution with noise of its own.

    A coarse step is one of 2^(scales - 1) steps of the sequence; its features become a row of places where the
    sequences are images, and the convolutions run along rows too. So what is far apart in time is near for the
    recurrence, and what is near in time, or in a picture, is drawn together.
    """

    @property
    @abstractmethod
    def emits_coarse(self) -> bool:
        """Whether the sequences are emitted at the coarser resolutions too, set by the classes below."""

    def __init__(
        self,
        shape: Shape,
        hidden: int = 64,
        width: int = 32,
        scales: int = 3,
        step_noise: int = 8,
        sequence_noise: int = 16,
        place_noise: int = 1,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            hidden: Units of the recurrence, in each direction, and of the perceptron that makes the statics.
            width: Channels of the convolutions at full resolution, and twice as many at every coarser one.
            scales: Resolutions, each half as long as the next finer; the recurrence runs at the coarsest. 0 halves as
                long as 7 whole steps are left.
            step_noise: Normal numbers that are new at every step of the recurrence.
            sequence_noise: Normal numbers that are the same for the whole sequence.
            place_noise: Normal numbers that are new at every step (for images, every pixel) of the finer resolutions.
        """
        super().__init__()
        self.sizes, row = grids.sizes(shape.length, shape.row, scales), shape.row
        (coarse_length, self.coarse_row), blocks = self.sizes[-1], shape.x[: len(shape.x) // row]
        given = sequence_noise + shape.condition
        self.statics = _Statics(given, hidden, shape.s)
        inputs = step_noise + given + shape.statics
        self.recurrence = nn.LSTM(inputs, hidden, batch_first=True, bidirectional=True)
        self.refining = grids.Refining(width, self.sizes, place_noise)
        *finer, coarsest = self.refining.widths
        self.rows = grids.scaled(nn.Linear(2 * hidden, coarsest * self.coarse_row), 4.0)  # an LSTM's outputs are small
        self.channels = Emission(width, blocks, shape.alive)
        emitted = self.refining.widths[1:] if self.emits_coarse else []
        self.coarse = nn.ModuleList(CoarseEmission(features, blocks, shape.alive) for features in emitted)
        places = [(place_noise, *size) for size, _ in zip(self.sizes, finer, strict=False)]
        drawn = (shape.length, row, self.channels.noise)
        self.parts = [(sequence_noise,), (self.statics.noise,), (coarse_length, step_noise), drawn, *places]
        self.noise = _total(self.parts)

    def forward(self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"]) -> Encoded:
        """Turn noise into sequences."""
        sequence, static, step, channel, *places = _cut(noise, self.parts)
        s = self.statics(torch.cat([sequence, condition], dim=1), static)
        features, _ = self.recurrence(every_step(step, sequence, condition, s))
        grid = grids.to_grid(self.rows(features), self.coarse_row)
        finest, *coarser = (grid.permute(0, 2, 3, 1) for grid in self.refining(grid, places))
        x = self._emit(finest, channel)
        pooled = grids.coarser(x, self.sizes[0][1], len(self.sizes) if self.emits_coarse else 1)
        coarse = [
            emission(features, columns.unflatten(2, (features.shape[2], -1))).flatten(2)
            for emission, features, columns in zip(self.coarse, coarser, pooled, strict=False)
        ]
        return Encoded(x, s, condition, tuple(coarse))

    def _emit(
        self, finest: Float[Tensor, "n length row features"], noise: Tensor
    ) -> Float[Tensor, "n length channels"]:
        """Emit the columns of a step, or the colours of every pixel of a row."""
        if finest.shape[2] == 1:
            return self.channels(finest[:, :, 0], noise[:, :, 0])
        return self.channels(finest, noise).flatten(2)


class ConvolutionalRecurrent(Convolutional):
    """A recurrence in coarse time and convolutions that refine it, emitting the full resolution alone."""

    emits_coarse = False  # type: ignore[assignment]


class MultiScale(Convolutional):
    """Emits every resolution, for a discriminator that sees every one (MSG-GAN; Karnewar and Wang 2020, 1903.06048)."""

    emits_coarse = True  # type: ignore[assignment]


class _Statics(nn.Module):
    """A perceptron that makes the statics; nothing if there are none."""

    def __init__(self, inputs: int, hidden: int, blocks: tuple[Block, ...]) -> None:
        super().__init__()
        self.noise = 0
        if blocks:
            layers = (nn.Linear(inputs, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2))
            self.perceptron = nn.Sequential(*layers)
            self.emission = Emission(hidden, blocks)
            self.noise = self.emission.noise

    def forward(self, given: Float[Tensor, "n given"], noise: Float[Tensor, "n noise"]) -> Float[Tensor, "n statics"]:
        return self.emission(self.perceptron(given), noise) if len(self._modules) else given[:, :0]


Parts = list[tuple[int, ...]]


def _total(parts: Parts) -> int:
    return sum(math.prod(part) for part in parts)


def _cut(noise: Float[Tensor, "n noise"], parts: Parts) -> list[Tensor]:
    """Cut the noise of every sequence into parts of these shapes."""
    pieces = noise.split([math.prod(part) for part in parts], dim=1)
    return [piece.unflatten(1, part) for piece, part in zip(pieces, parts, strict=True)]
