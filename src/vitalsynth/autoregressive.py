"""A recurrent generator trained by maximum likelihood: each value given all before it.

    log p(s, x | c) = Σ_j log p(s_j | s_<j, c) + Σ_t Σ_j log p(x_tj | x_t,<j, x_<t, s, c)

A recurrence reads the past, patch by patch of time; within a patch a small masked network gives every column its law
from the state of the recurrence and the columns before it (`laws`). The means of numbers are, besides, linear in the
last two patches' changes and in the last levels: channels that move together stay together, which a squashed state
knows too coarsely (error correction; Engle and Granger 1987, doi 10.2307/1913236).

If the preparation makes an outline, it is among the statics s, and the steps fill it in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import dropout, pad

from .generators import Generator
from .laws import Held, Laws, slots_of
from .sequences import Encoded, Fixed, Shape, last_measured

FIRST = 4
"""Times as many hidden units for the first patch, which has no past to lean on: all channels at once, from nothing."""
UNTOLD = 0.2
"""Share of the sequences whose steps are learned without their outline, as they are drawn to go on from a past."""
BLUR = 0.15
"""Noise on outlines, in deviations, while they are learned: of simple rhythms they lie on a surface, whose law is hard
to learn, and the steps make up for what is blurred (LOG.md)."""
NARROW = 64
"""Most hidden units of each law of an outline, and of the first patch after one, which have one example a sequence:
wider ones, and without dropout, know the sequences that they learned from (LOG.md)."""


class Autoregressive(Generator):
    """Statics one after the other, then every column of every step given all before it.

    What is fixed is put in as it is drawn, so that all after it follows from it: a past is gone on from.
    """

    takes_masks = True
    continues = True  # type: ignore[assignment]

    numbers: Tensor
    pace: Tensor
    gate: Tensor
    gated: Tensor

    def __init__(
        self,
        shape: Shape,
        hidden: int = 128,
        layers: int = 1,
        head: int = 64,
        components: int = 8,
        patch: int = 0,
        finest: float = 0.01,
        dropout: float = 0.1,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            hidden: Units of a recurrent layer.
            layers: LSTM layers, each added to the one below.
            head: Hidden units that each column's law has of its own; four times as many in the first patch, but not
                more than 64 after an outline.
            components: Normal distributions in the mixture of a number.
            patch: Steps that the recurrence takes at once; 0 takes as many as make about 8 columns.
            finest: Smallest deviation of a component, in units of how much the channel changes from step to step. Where
                values repeat exactly, a density would grow without bound, and learning care for nothing else.
            dropout: Share of the recurrence's outputs that are silenced while training, and of the hidden units of the
                laws of an outline and of the first patch after one.
        """
        super().__init__()
        if min(hidden, layers, head, components) < 1 or patch < 0:
            raise ValueError(
                "hidden, layers, head and components must be at least 1 and patch at least 0, "
                f"got {hidden}, {layers}, {head}, {components} and {patch}"
            )
        if finest <= 0 or not 0 <= dropout < 1:
            raise ValueError(f"finest must exceed 0 and dropout lie in [0, 1), got {finest} and {dropout}")
        self.length = shape.length
        self.patch, self.steps = shape.patches(patch)
        self.dropout, self.alive = dropout, shape.alive
        self.slots = slots_of(shape.x, shape.alive)
        self.outlined = sum(block.outline for block in shape.s)
        own, silenced = (min(FIRST * head, NARROW), dropout) if self.outlined else (FIRST * head, 0.0)
        self.static_laws = Laws(
            slots_of(shape.s), shape.statics, shape.condition, 0, 0, own, components, finest, silenced
        )
        slots = [slot.at(step, shape.channels) for step in range(self.patch) for slot in self.slots]
        width = self.patch * shape.channels
        given = shape.statics + bool(self.outlined) + shape.condition
        self.gates = [(slot.columns, slot.gate) for slot in self.slots if slot.gate is not None]
        self.masks = sorted({gate for _, gate in self.gates})
        direct, odds = 3 * width + shape.channels, 3 * len(self.masks)
        sizes = [2 * width + odds + given] + [hidden] * (layers - 1)
        self.recurrence = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.place = nn.Parameter(0.1 * torch.randn(self.steps, hidden))
        self.first_laws = Laws(slots, width, given, 0, 0, own, components, finest, silenced)
        self.laws = Laws(slots, width, hidden + given, direct, odds, head, components, finest)
        self.channels = shape.channels
        numbers, pace = torch.zeros(shape.channels), torch.ones(shape.channels)
        for slot in self.slots:
            numbers[slot.columns] = float(slot.block.kind == "continuous")
            pace[slot.columns] = slot.change
        self.register_buffer("numbers", numbers, persistent=False)
        self.register_buffer("pace", pace, persistent=False)
        gate = torch.arange(shape.channels)
        for columns, own in self.gates:
            gate[columns] = own
        self.register_buffer("gate", gate, persistent=False)
        self.register_buffer("gated", gate != torch.arange(shape.channels), persistent=False)
        self.noise = self.static_laws.noise + self.steps * self.laws.noise

    def log_likelihood(self, encoded: Encoded) -> Float[Tensor, " n"]:
        """Return the log likelihood of each sequence, in nats: of cells where values lie on a grid, else a density."""
        x = pad(encoded.x, (0, 0, 0, self.steps * self.patch - self.length))
        told = None
        if self.training and self.outlined:
            told = torch.rand_like(encoded.s[:, :1]) >= UNTOLD
            blur = BLUR * torch.randn_like(encoded.s[:, -self.outlined :])
            encoded = replace(encoded, s=encoded.s + pad(blur, (encoded.s.shape[1] - self.outlined, 0)))
        given = self._given(encoded.s, encoded.condition, told)
        carried = self._carried(x)
        before = pad(carried, (0, 0, 1, 0))[:, :-1]
        change = pad(((carried - before) * self.numbers)[:, 1:], (0, 0, 1, 0))
        level = before[:, :: self.patch] * self.numbers
        reference = self._patches(level.repeat_interleave(self.patch, dim=1))
        offset = torch.where(self.numbers > 0, carried, x)
        offset = self._patches(offset) - reference
        past, recent = (pad(self._patches(part), (0, 0, 1, 0))[:, :-1] for part in (carried, change))
        usual = self._habits(x)
        state, _ = self._read(past, recent, usual, given)
        context = torch.cat([state + self.place, given[:, None].expand(-1, self.steps, -1)], dim=-1)
        earlier = pad(recent, (0, 0, 1, 0))[:, :-1]
        direct = torch.cat([recent, earlier, past - reference, level], dim=-1)
        values = self._patches(x)
        seen = pad(self._measured(x).cummax(dim=1).values, (0, 0, 1, 0))[:, :-1]
        latest = self._patches(torch.where(seen > 0, before, torch.nan))
        first = self.first_laws.log_likelihood(
            given, values[:, 0], offset[:, 0], reference[:, 0], direct[:, 0, :0], usual[:, 0, :0], latest[:, 0]
        )
        later = [part[:, 1:] for part in (context, values, offset, reference, direct, usual, latest)]
        each = torch.cat([first[:, None], self.laws.log_likelihood(*later)], dim=1)
        return (each * self._weights(x)).sum(dim=(1, 2)) + self.static_likelihood(encoded)

    def forward(
        self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"], fixed: Fixed | None = None
    ) -> Encoded:
        """Turn noise into sequences, column by column."""
        held_s, held = (None, [None] * self.steps) if fixed is None else self._held(fixed)
        static, rest = noise.split([self.static_laws.noise, noise.shape[1] - self.static_laws.noise], dim=1)
        zeros = noise.new_zeros(noise.shape[0], self.static_laws.columns)
        s = self.static_laws.draw(condition, static, zeros, noise[:, :0], noise[:, :0], zeros, held=held_s)
        told = None if fixed is None else ~fixed.known.flatten(1).any(dim=1, keepdim=True)
        given = self._given(s, condition, told)
        width = self.patch * self.channels
        carried = change = earlier = noise.new_zeros(noise.shape[0], width)
        last = seen = noise.new_zeros(noise.shape[0], self.channels)
        counts = noise.new_zeros(noise.shape[0], 2, 2, len(self.masks))
        now = counts[:, 0, 0]
        alive: Tensor | None = None
        states: list[tuple[Tensor, Tensor]] | None = None
        patches = []
        for step, drawn in enumerate(rest.split(self.laws.noise, dim=1)):
            usual = habits(counts, now)
            state, states = self._read(carried[:, None], change[:, None], usual[:, None], given, states)
            level = last * self.numbers
            reference = level.repeat(1, self.patch)
            latest = torch.where(seen > 0, last, torch.nan)
            if step == 0:
                values = self.first_laws.draw(
                    given, drawn, reference, change[:, :0], usual[:, :0], latest, held=held[0]
                )
            else:
                context = torch.cat([state[:, 0] + self.place[step], given], dim=1)
                direct = torch.cat([change, earlier, carried - reference, level], dim=1)
                values = self.laws.draw(context, drawn, reference, direct, usual, latest, alive, held[step])
            patches.append(values)
            seen = torch.maximum(seen, self._measured(values.unflatten(1, (self.patch, -1))).amax(dim=1))
            masks = values.unflatten(1, (self.patch, -1))[..., self.masks]
            counts, now = counts + _transitions(now, masks).sum(dim=1), masks[:, -1]
            before = last if step else values[:, : self.channels]  # the first step changes nothing
            earlier, (carried, change, last) = change, self._follow(values, before)
            if self.alive is not None:
                alive = values[:, width - self.channels + self.alive]
        x = torch.cat(patches, dim=1).unflatten(1, (-1, self.channels))[:, : self.length]
        return Encoded(x, s, condition)

    def _given(self, s: Float[Tensor, "n statics"], condition: Tensor, told: Bool[Tensor, "n 1"] | None) -> Tensor:
        """Return what all steps are given: statics, their outline where it is told and whether it is, the condition."""
        if not self.outlined:
            return torch.cat([s, condition], dim=1)
        told = torch.ones_like(s[:, :1]) if told is None else told.to(s.dtype)
        own, outline = s.split([s.shape[1] - self.outlined, self.outlined], dim=1)
        return torch.cat([own, outline * told, told, condition], dim=1)

    def _held(self, fixed: Fixed) -> tuple[Held, list[Held]]:
        """Return which statics, and which columns of every patch, hold what."""
        over = (0, 0, 0, self.steps * self.patch - self.length)
        patches = (self._patches(pad(part, over)).unbind(1) for part in (fixed.x, fixed.known))
        return (fixed.s, fixed.known_s), list(zip(*patches, strict=True))

    def _read(
        self,
        carried: Float[Tensor, "n steps width"],
        change: Float[Tensor, "n steps width"],
        usual: Float[Tensor, "n steps habits"],
        given: Float[Tensor, "n given"],
        states: Sequence[tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Float[Tensor, "n steps hidden"], list[tuple[Tensor, Tensor]]]:
        """Run the recurrence over past patches; what is large is squashed, what is small spread out."""
        fixed = given[:, None].expand(-1, carried.shape[1], -1)
        change = _squashed(change / self.pace.repeat(self.patch))
        features = torch.cat([_squashed(carried), change, _squashed(usual), fixed], dim=-1)
        after = []
        for depth, layer in enumerate(self.recurrence):
            out, state = layer(features, None if states is None else states[depth])
            features = out if depth == 0 else features + out
            features = dropout(features, self.dropout, self.training)
            after.append(state)
        return features, after

    def _carried(self, x: Float[Tensor, "n length channels"]) -> Float[Tensor, "n length channels"]:
        """Return the values last measured."""
        return last_measured(x, self._measured(x)) if self.gates else x

    def _measured(self, x: Float[Tensor, "*n channels"]) -> Float[Tensor, "*n channels"]:
        """Return 1 where a column was measured, or needs not be, and 0 elsewhere."""
        return torch.where(self.gated, x[..., self.gate], 1.0)

    def _habits(self, x: Float[Tensor, "n length channels"]) -> Float[Tensor, "n steps habits"]:
        """Return the habits of the masks before every patch."""
        now = x[..., self.masks]
        counts = _transitions(torch.zeros_like(now[:, 0]), now).cumsum(dim=1)
        ends = slice(self.patch - 1, x.shape[1] - 1, self.patch)
        late = (torch.cat([torch.zeros_like(part[:, :1]), part[:, ends]], dim=1) for part in (counts, now))
        return habits(*late)  # with no masks they are empty, which torch 2.7 does not pad

    def _follow(self, values: Float[Tensor, "n width"], last: Float[Tensor, "n channels"]) -> tuple[Tensor, ...]:
        """Return the values last measured and their changes over a patch that was drawn, and the last of them."""
        carried, changes = [], []
        for now in values.split(self.channels, dim=1):
            parts = torch.where(self._measured(now) > 0.5, now, last)
            changes.append((parts - last) * self.numbers)
            carried.append(parts)
            last = parts
        return torch.cat(carried, dim=1), torch.cat(changes, dim=1), last

    def _weights(self, x: Float[Tensor, "n length channels"]) -> Float[Tensor, "n steps slots"]:
        """Return which columns count: those measured, of steps that are not over; the alive column until it falls."""
        there = torch.ones_like(x[..., 0])
        there[:, self.length :] = 0
        alive, before = there, there
        if self.alive is not None:
            alive = there * x[..., self.alive]
            before = there * pad(x[..., self.alive], (1, 0))[:, :-1]  # at first it is 1 and says nothing
        weights = [
            before if slot.alive else alive if slot.gate is None else alive * x[..., slot.gate] for slot in self.slots
        ]
        return self._patches(torch.stack(weights, dim=-1))

    def _patches(self, x: Shaped[Tensor, "n length k"]) -> Shaped[Tensor, "n steps width"]:
        return x.reshape(x.shape[0], self.steps, -1)

    def static_likelihood(self, encoded: Encoded) -> Float[Tensor, " n"]:
        """Return the part of it that is of the statics, and so of the outline."""
        if not self.static_laws.slots:
            return encoded.x.new_zeros(len(encoded))
        s = encoded.s
        each = self.static_laws.log_likelihood(encoded.condition, s, s, torch.zeros_like(s), s[:, :0], s[:, :0], s)
        weights = [
            torch.ones_like(s[:, 0]) if slot.gate is None else s[:, slot.gate] for slot in self.static_laws.slots
        ]
        return (each * torch.stack(weights, dim=1)).sum(dim=1)


def _squashed(x: Tensor) -> Tensor:
    """Return x where it is small and its logarithm where it is large."""
    return torch.sign(x) * torch.log1p(x.abs())


def habits(counts: Float[Tensor, "*n 2 2 masks"], now: Float[Tensor, "*n masks"]) -> Float[Tensor, "*n habits"]:
    """Return each mask, and what a sequence's own past says of its next value, as log odds.

    Some patients are weighed every hour, most are not: a recurrence has to learn to tell them apart, counting need not.
    The estimators are those of Krichevsky and Trofimov (1981, doi 10.1109/TIT.1981.1056331) for a coin, and for a chain
    of two states given the last.

    Args:
        counts: How often the mask went from 0 or 1 to 0 or 1.
        now: The mask.
    """
    odds = lambda counted: torch.log((counted[..., 1, :] + 0.5) / (counted[..., 0, :] + 0.5))  # noqa: E731
    chain = odds(counts)
    stays = torch.where(now > 0.5, chain[..., 1, :], chain[..., 0, :])
    return torch.cat([now, odds(counts.sum(dim=-3)), stays], dim=-1)


def _transitions(
    before: Float[Tensor, "n masks"], masks: Float[Tensor, "n steps masks"]
) -> Float[Tensor, "n steps 2 2 masks"]:
    """Return from what to what each mask went, step by step: 1 there, else 0."""
    last = torch.cat([before[:, None], masks[:, :-1]], dim=1)
    either = lambda part: torch.stack([1 - part, part], dim=2)  # noqa: E731
    return either(last)[:, :, :, None] * either(masks)[:, :, None]
