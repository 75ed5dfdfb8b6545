"""A recurrent generator trained by maximum likelihood: each value given all before it.

    log p(s, x | c) = Σ_j log p(s_j | s_<j, c) + Σ_t Σ_j log p(x_tj | x_t,<j, x_<t, s, c)

A recurrence reads the past, patch by patch of time; within a patch a small masked network gives every column its law
from the state of the recurrence and the columns before it. A number has a mixture of normal distributions (Bishop 1994,
mixture density networks); where values were recorded on a grid, each has the probability of its cell, and the outermost
cells the tails (Salimans et al. 2017, PixelCNN++, arXiv 1701.05517). A 0/1 column is Bernoulli, a category categorical,
and a mask comes before the value it gates: so what is discrete in the data is exactly discrete in the samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout, log_softmax, pad, silu, softplus

from .generators import Generator
from .sequences import Block, Encoded, Shape

PATCH = 8
"""Columns that a patch should have: fewer make the recurrence long, more make the masked network wide."""
FAR = 30.0
"""Deviations from the mean beyond which a cell's mass is that of the tail, by its asymptotic form."""
WIDEST = 20.0
"""Largest deviation of a component."""


class Autoregressive(Generator):
    """Statics one after the other, then every column of every step given all before it."""

    numbers: Tensor

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
            head: Hidden units that each column's law has of its own.
            components: Normal distributions in the mixture of a number.
            patch: Steps that the recurrence takes at once; 0 takes as many as make about 8 columns.
            finest: Smallest deviation of a component, in units of the encoded column. Where values repeat exactly, a
                density would grow without bound, and learning care for nothing else.
        dropout: Share of the recurrence's outputs that are silenced while training.
        """
        super().__init__()
        self.length = shape.length
        self.patch = min(patch or max(1, PATCH // shape.channels), shape.length)
        self.steps = -(-shape.length // self.patch)
        self.dropout, self.alive = dropout, shape.alive
        self.slots = _slots(shape.x, shape.alive)
        self.static_laws = Laws(_slots(shape.s), shape.statics, shape.condition, 0, head, components, finest)
        slots = [slot.at(step, shape.channels) for step in range(self.patch) for slot in self.slots]
        width = self.patch * shape.channels
        given = shape.statics + shape.condition
        sizes = [2 * width + given] + [hidden] * (layers - 1)
        self.recurrence = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.place = nn.Parameter(0.1 * torch.randn(self.steps, hidden))
        self.laws = Laws(slots, width, hidden + given, 2 * width, head, components, finest)
        self.channels = shape.channels
        self.gates = [(slot.columns, slot.gate) for slot in self.slots if slot.gate is not None]
        numbers = torch.zeros(shape.channels)
        for slot in self.slots:
            numbers[slot.columns] = float(slot.kind == "continuous")
        self.register_buffer("numbers", numbers, persistent=False)
        self.noise = self.static_laws.noise + self.steps * self.laws.noise

    def log_likelihood(self, encoded: Encoded) -> Float[Tensor, " n"]:
        """Return the log likelihood of each sequence, in nats: of cells where values lie on a grid, else a density."""
        x = pad(encoded.x, (0, 0, 0, self.steps * self.patch - self.length))
        given = torch.cat([encoded.s, encoded.condition], dim=1)
        carried = self._carried(x)
        before = pad(carried, (0, 0, 1, 0))[:, :-1]
        change = (carried - before) * self.numbers
        reference = before[:, :: self.patch] * self.numbers
        reference = self._patches(reference.repeat_interleave(self.patch, dim=1))
        offset = torch.where(self.numbers > 0, carried, x)
        offset = self._patches(offset) - reference
        past = [pad(part, (0, 0, 1, 0))[:, :-1] for part in (self._patches(carried), self._patches(change))]
        state, _ = self._read(past[0], past[1], given)
        context = torch.cat([state + self.place, given[:, None].expand(-1, self.steps, -1)], dim=-1)
        direct = torch.cat([past[1], past[0] - reference], dim=-1)
        each = self.laws.log_likelihood(context, self._patches(x), offset, reference, direct)
        total = (each * self._weights(x)).sum(dim=(1, 2))
        return total + self._static_likelihood(encoded)

    def forward(self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"]) -> Encoded:
        """Turn noise into sequences, column by column."""
        static, rest = noise.split([self.static_laws.noise, noise.shape[1] - self.static_laws.noise], dim=1)
        zeros = noise.new_zeros(len(noise), self.static_laws.columns)
        s = self.static_laws.draw(condition, static, zeros, noise[:, :0])
        given = torch.cat([s, condition], dim=1)
        width = self.patch * self.channels
        carried = change = noise.new_zeros(len(noise), width)
        last = noise.new_zeros(len(noise), self.channels)
        alive: Tensor | None = None
        states: list[tuple[Tensor, Tensor]] | None = None
        patches = []
        for step, drawn in enumerate(rest.split(self.laws.noise, dim=1)):
            state, states = self._read(carried[:, None], change[:, None], given, states)
            reference = (last * self.numbers).repeat(1, self.patch)
            context = torch.cat([state[:, 0] + self.place[step], given], dim=1)
            direct = torch.cat([change, carried - reference], dim=1)
            values = self.laws.draw(context, drawn, reference, direct, alive, first=step == 0)
            patches.append(values)
            carried, change, last = self._follow(values, last)
            if self.alive is not None:
                alive = values[:, width - self.channels + self.alive]
        x = torch.cat(patches, dim=1).unflatten(1, (-1, self.channels))[:, : self.length]
        return Encoded(x, s, condition)

    def _read(
        self,
        carried: Float[Tensor, "n steps width"],
        change: Float[Tensor, "n steps width"],
        given: Float[Tensor, "n given"],
        states: Sequence[tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Float[Tensor, "n steps hidden"], list[tuple[Tensor, Tensor]]]:
        """Run the recurrence over past patches; what is large is squashed, what is small spread out."""
        fixed = given[:, None].expand(-1, carried.shape[1], -1)
        features = torch.cat([torch.asinh(carried), torch.asinh(100 * change) / 4, fixed], dim=-1)
        after = []
        for depth, layer in enumerate(self.recurrence):
            out, state = layer(features, None if states is None else states[depth])
            features = out if depth == 0 else features + out
            features = dropout(features, self.dropout, self.training)
            after.append(state)
        return features, after

    def _carried(self, x: Float[Tensor, "n length channels"]) -> Float[Tensor, "n length channels"]:
        """Return the values last measured."""
        if not self.gates:
            return x
        step = torch.arange(x.shape[1], device=x.device)[:, None]
        when = step.expand_as(x).clone()
        for columns, gate in self.gates:
            when[..., columns] = torch.where(x[..., gate : gate + 1] > 0.5, step, 0)
        return torch.take_along_dim(x, when.cummax(dim=1).values, dim=1)

    def _follow(self, values: Float[Tensor, "n width"], last: Float[Tensor, "n channels"]) -> tuple[Tensor, ...]:
        """Return the values last measured and their changes over a patch that was drawn, and the last of them."""
        carried, changes = [], []
        for now in values.split(self.channels, dim=1):
            parts = now.clone()
            for columns, gate in self.gates:
                parts[:, columns] = torch.where(now[:, gate : gate + 1] > 0.5, now[:, columns], last[:, columns])
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

    def _patches(self, x: Float[Tensor, "n length k"]) -> Float[Tensor, "n steps width"]:
        return x.reshape(len(x), self.steps, -1)

    def _static_likelihood(self, encoded: Encoded) -> Float[Tensor, " n"]:
        if not self.static_laws.slots:
            return encoded.x.new_zeros(len(encoded))
        s = encoded.s
        each = self.static_laws.log_likelihood(encoded.condition, s, s, torch.zeros_like(s), s[:, :0])
        weights = [
            torch.ones_like(s[:, 0]) if slot.gate is None else s[:, slot.gate] for slot in self.static_laws.slots
        ]
        return (each * torch.stack(weights, dim=1)).sum(dim=1)


@dataclass(frozen=True)
class Slot:
    """Columns drawn at once, and what they may be.

    Args:
        kind: As of a block.
        columns: Where they lie.
        gate: The column that says whether they were measured.
        grid: Spacing and origin of the values recorded; None if any number may be.
        range: Smallest and largest value.
        alive: Whether it says that the sequence goes on.
        earlier: The same columns one step before, in the same patch; None in its first step.
    """

    kind: str
    columns: slice
    gate: int | None
    grid: tuple[float, float] | None
    range: tuple[float, float] | None
    alive: bool
    earlier: slice | None = None

    @property
    def width(self) -> int:
        return self.columns.stop - self.columns.start

    def at(self, step: int, channels: int) -> Slot:
        """Return the slot at another step of the patch."""
        move = lambda by: slice(self.columns.start + by * channels, self.columns.stop + by * channels)  # noqa: E731
        gate = None if self.gate is None else self.gate + step * channels
        return replace(self, columns=move(step), gate=gate, earlier=move(step - 1) if step else None)


def _slots(blocks: Sequence[Block], alive: int | None = None) -> list[Slot]:
    """Return a slot for each block, gates before what they gate."""
    slots, start = [], 0
    for block in blocks:
        columns = slice(start, start + block.width)
        slots.append(Slot(block.kind, columns, block.gate, block.grid, block.range, start == alive))
        start += block.width
    gates = {slot.gate for slot in slots}
    return sorted(slots, key=lambda slot: (not slot.alive, slot.columns.start not in gates))


class Laws(nn.Module):
    """The law of every slot of a patch, given a context and the slots before it.

    Slot j sees the offsets e of the columns before it from their references (the value last measured), through

        u = silu(A_j context + B_j (e masked)),   v = u + silu(C_j u),   parameters = O_j v

    and the mean of a number is its reference, plus a linear function of what is before it, plus what the network says.

    Args:
        slots: In the order in which they are drawn.
        columns: How many there are.
        context: Width of the context.
        direct: Width of what enters the means of numbers linearly.
        hidden: Hidden units of each slot.
        components: Of a mixture.
        finest: Smallest deviation of a component.
    """

    mask: Tensor
    mask_numbers: Tensor
    positions: Tensor
    cells: Tensor

    def __init__(
        self,
        slots: Sequence[Slot],
        columns: int,
        context: int,
        direct: int,
        hidden: int,
        components: int,
        finest: float,
    ) -> None:
        super().__init__()
        self.slots, self.columns, self.components = tuple(slots), columns, components
        self.between = (math.log(finest), math.log(WIDEST))
        count, outputs = len(slots), max([3 * components + 1, *(slot.width for slot in slots)])
        weights = lambda *size, fan: nn.Parameter(torch.randn(*size) / math.sqrt(max(1, fan)))  # noqa: E731
        self.context = weights(context, count, hidden, fan=context)
        self.bias = nn.Parameter(torch.zeros(count, hidden))
        self.before = weights(columns, count, hidden, fan=columns)
        self.middle, self.middle_bias = (
            weights(count, hidden, hidden, fan=hidden),
            nn.Parameter(torch.zeros(count, hidden)),
        )
        self.out = nn.Parameter(0.1 * torch.randn(count, hidden, outputs) / math.sqrt(hidden))
        out_bias = torch.zeros(count, outputs)
        for j, slot in enumerate(slots):
            if slot.kind == "continuous":
                out_bias[j, components : 2 * components] = torch.linspace(-1.5, 1.5, components)
                out_bias[j, 3 * components] = -0.5
        self.out_bias = nn.Parameter(out_bias)
        self.of_numbers = [j for j, slot in enumerate(slots) if slot.kind == "continuous"]
        self.straight = nn.Parameter(torch.zeros(direct, len(self.of_numbers)))
        self.straight_before = nn.Parameter(torch.zeros(columns, len(self.of_numbers)))
        mask = torch.zeros(columns, count)
        for j, _ in enumerate(slots):
            for earlier in slots[:j]:
                mask[earlier.columns, j] = 1
        self.register_buffer("mask", mask, persistent=False)
        positions = torch.tensor([slots[j].columns.start for j in self.of_numbers], dtype=torch.int64)
        self.register_buffer("positions", positions, persistent=False)
        self.register_buffer("mask_numbers", mask[:, self.of_numbers], persistent=False)
        cells = [_cell(slots[j]) for j in self.of_numbers]
        self.register_buffer("cells", torch.tensor(cells).reshape(len(cells), 4), persistent=False)
        self.noise_widths = [2 if slot.kind == "continuous" else 1 for slot in slots]
        self.noise = sum(self.noise_widths)

    def _hidden(self, context: Float[Tensor, "*n context"]) -> Float[Tensor, "*n slots hidden"]:
        return (context @ self.context.flatten(1)).unflatten(-1, self.bias.shape) + self.bias

    def _outputs(self, u: Float[Tensor, "m some hidden"], which: slice) -> Float[Tensor, "m some outputs"]:
        u = silu(u).transpose(0, 1)
        u = u + silu(torch.baddbmm(self.middle_bias[which, None], u, self.middle[which]))
        return torch.baddbmm(self.out_bias[which, None], u, self.out[which]).transpose(0, 1)

    def log_likelihood(
        self,
        context: Float[Tensor, "*n context"],
        values: Float[Tensor, "*n columns"],
        offset: Float[Tensor, "*n columns"],
        reference: Float[Tensor, "*n columns"],
        direct: Float[Tensor, "*n direct"],
    ) -> Float[Tensor, "*n slots"]:
        """Return the log likelihood of every slot, given the true values of those before it."""
        batch = values.shape[:-1]
        context, values, offset, reference, direct = (
            part.flatten(0, -2) for part in (context, values, offset, reference, direct)
        )
        before = (self.before * self.mask[..., None]).flatten(1)
        u = self._hidden(context) + (offset @ before).unflatten(-1, self.bias.shape)
        outputs = self._outputs(u, slice(None))
        each: list[Tensor] = [values[:, :0]] * len(self.slots)
        if self.of_numbers:
            straight = direct @ self.straight + offset @ (self.straight_before * self.mask_numbers)
            mean = reference[:, self.positions] + straight
            numbers = _log_mixture(
                values[:, self.positions], outputs[:, self.of_numbers], mean, self.cells, self.components, self.between
            )
            for place, j in enumerate(self.of_numbers):
                each[j] = numbers[:, place]
        for j, slot in enumerate(self.slots):
            if slot.kind == "binary":
                each[j] = -softplus((1 - 2 * values[:, slot.columns.start]) * outputs[:, j, 0])
            elif slot.kind == "categorical":
                each[j] = (log_softmax(outputs[:, j, : slot.width], dim=-1) * values[:, slot.columns]).sum(dim=-1)
        return torch.stack(each, dim=-1).unflatten(0, batch)

    def draw(
        self,
        context: Float[Tensor, "n context"],
        noise: Float[Tensor, "n noise"],
        reference: Float[Tensor, "n columns"],
        direct: Float[Tensor, "n direct"],
        alive: Float[Tensor, " n"] | None = None,
        first: bool = False,
    ) -> Float[Tensor, "n columns"]:
        """Draw slot after slot.

        Args:
            context: As for the likelihood.
            noise: Standard normal: two numbers for a number (which component, and where), one for anything else.
            reference: As for the likelihood.
            direct: As for the likelihood.
            alive: Whether the step before was alive; None if there is no alive column, or nothing was before.
            first: Whether this is the first patch, whose first step is alive.
        """
        hidden, straight = self._hidden(context), direct @ self.straight
        values = torch.zeros_like(reference)
        offset = torch.zeros_like(reference)
        going = alive
        number = 0
        for j, (slot, drawn) in enumerate(zip(self.slots, noise.split(self.noise_widths, dim=1), strict=True)):
            u = hidden[:, j] + offset @ (self.before[:, j] * self.mask[:, j, None])
            out = self._outputs(u[:, None], slice(j, j + 1))[:, 0]
            if slot.kind == "continuous":
                column = slot.columns.start
                mean = straight[:, number] + offset @ (self.straight_before[:, number] * self.mask[:, j])
                new = self._number(out, drawn, reference[:, column] + mean, self.cells[number])[:, None]
                number += 1
            elif slot.kind == "binary":
                new = (torch.special.ndtr(drawn) < torch.sigmoid(out[:, :1])).to(out.dtype)
            else:
                new = _category(out[:, : slot.width], drawn)
            if slot.alive:
                going = torch.ones_like(new[:, 0]) if first and going is None else new[:, 0] * going
                new = going[:, None]
            elif going is not None:
                new = new * going[:, None]
            kept = new if slot.gate is None else torch.where(values[:, slot.gate : slot.gate + 1] > 0.5, new, 0.0)
            values = _put(values, slot.columns, kept)
            offset = _put(offset, slot.columns, self._offset(slot, kept, values, offset, reference))
        return values

    @staticmethod
    def _offset(slot: Slot, kept: Tensor, values: Tensor, offset: Tensor, reference: Tensor) -> Tensor:
        """Return how far a slot's value last measured lies from its reference."""
        if slot.kind != "continuous":
            return kept
        there = kept - reference[:, slot.columns]
        if slot.gate is None:
            return there
        before = torch.zeros_like(there) if slot.earlier is None else offset[:, slot.earlier]
        return torch.where(values[:, slot.gate : slot.gate + 1] > 0.5, there, before)

    def _number(
        self, out: Float[Tensor, "n outputs"], noise: Float[Tensor, "n 2"], mean: Float[Tensor, " n"], cell: Tensor
    ) -> Float[Tensor, " n"]:
        logits, means, log_scales = _mixture(out, mean, self.components, self.between)
        pick = _category(logits, noise[:, :1])
        value = (pick * means).sum(dim=-1) + torch.exp((pick * log_scales).sum(dim=-1)) * noise[:, 1]
        spacing, origin, low, high = cell.unbind()
        rounded = torch.round((value - origin) / spacing.clamp(min=1e-9)) * spacing + origin
        return torch.where(spacing > 0, rounded, value).clamp(low, high)


def _put(values: Float[Tensor, "n columns"], columns: slice, new: Float[Tensor, "n k"]) -> Float[Tensor, "n columns"]:
    return torch.cat([values[:, : columns.start], new, values[:, columns.stop :]], dim=1)


def _cell(slot: Slot) -> list[float]:
    """Return spacing (0: none), origin, smallest and largest value of a number."""
    spacing, origin = slot.grid or (0.0, 0.0)
    low, high = slot.range or (-math.inf, math.inf)
    return [spacing, origin, low, high]


def _category(logits: Float[Tensor, "n k"], noise: Float[Tensor, "n 1"]) -> Float[Tensor, "n k"]:
    """Draw one-hot categories by inverting their distribution function."""
    upto = torch.softmax(logits, dim=-1).cumsum(dim=-1)[:, :-1]
    chosen = (torch.special.ndtr(noise) > upto).sum(dim=-1)
    return nn.functional.one_hot(chosen, logits.shape[1]).to(logits.dtype)


def _mixture(
    out: Float[Tensor, "*n outputs"], mean: Float[Tensor, "*n"], components: int, between: tuple[float, float]
) -> tuple[Float[Tensor, "*n k"], Float[Tensor, "*n k"], Float[Tensor, "*n k"]]:
    """Return log weights, means and log deviations; the means are spread in units of a common scale."""
    logits, places, ratios, common = out[..., : 3 * components + 1].split([components] * 3 + [1], dim=-1)
    log_scales = (common + ratios).clamp(*between)
    return logits, mean[..., None] + torch.exp(common.clamp(*between)) * places, log_scales


def _log_mixture(
    x: Float[Tensor, "m numbers"],
    out: Float[Tensor, "m numbers outputs"],
    mean: Float[Tensor, "m numbers"],
    cells: Float[Tensor, "numbers 4"],
    components: int,
    between: tuple[float, float],
) -> Float[Tensor, "m numbers"]:
    """Return log densities, or log probabilities of cells where there is a grid."""
    logits, means, log_scales = _mixture(out, mean, components, between)
    z = (x[..., None] - means) * torch.exp(-log_scales)
    each = -0.5 * z.square() - log_scales - 0.5 * math.log(2 * math.pi)
    gridded = torch.nonzero(cells[:, 0] > 0)[:, 0]
    if len(gridded):
        spacing, _, low, high = (cells[gridded, k] for k in range(4))
        own = x[:, gridded]
        far = 1e3
        lower = own - spacing / 2 - far * (own < low + spacing / 2)
        upper = own + spacing / 2 + far * (own > high - spacing / 2)
        scale = torch.exp(-log_scales[:, gridded])
        ends = [(edge[..., None] - means[:, gridded]) * scale for edge in (lower, upper)]
        cell = _log_between(ends[0], ends[1], each[:, gridded] + torch.log(spacing)[:, None])
        each = each.index_copy(1, gridded, cell)
    return torch.logsumexp(log_softmax(logits, dim=-1) + each, dim=-1)


def _log_between(lower: Tensor, upper: Tensor, narrow: Tensor) -> Tensor:
    """Return log(Φ(upper) - Φ(lower)), in the lower tail, where it loses least; `narrow` where the two nearly agree."""
    flip = lower + upper > 0
    a, b = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    near = b.clamp(min=-FAR)
    log_near = torch.special.log_ndtr(near)
    share = -torch.expm1((torch.special.log_ndtr(a.clamp(min=-FAR - 10)) - log_near).clamp(max=-1e-6))
    far = -0.5 * b.square() - torch.log(-b.clamp(max=-1.0)) - 0.5 * math.log(2 * math.pi)  # Mills' ratio
    inside = torch.where(b < -FAR, far, log_near + torch.log(share.clamp(min=1e-9)))
    return torch.where(upper - lower < 1e-2, narrow, inside)
