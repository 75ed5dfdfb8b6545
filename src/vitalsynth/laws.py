"""The laws of columns, each given a context and the columns before it: what is likely, and draws of it.

A number has a mixture of normal distributions (Bishop 1994, mixture density networks); where values were recorded on a
grid, each has the probability of its cell, and the outermost cells the tails (Salimans et al. 2017, PixelCNN++, arXiv
1701.05517). Where the value measured before often comes again, as settings and weights do, that has a probability of
its own. A 0/1 column is Bernoulli, a category categorical, and a mask comes before the value it gates: so what is
discrete in the data is exactly discrete in the samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import dropout, log_softmax, logsigmoid, silu, softplus

from .sequences import Block

CHANGE = 0.1
"""How much a column of unit scale is taken to change from step to step, if that is not known."""
FAR = 30.0
"""Deviations from the mean beyond which a cell's mass is that of the tail, by its asymptotic form."""
WIDEST = 20.0
"""Largest deviation of a component."""


Held = tuple[Float[Tensor, "n _"], Bool[Tensor, "n _"]]


@dataclass(frozen=True)
class Slot:
    """Columns drawn at once, in one of the steps of a patch.

    Args:
        block: What they are.
        columns: Where they lie.
        gate: The column that says whether they were measured.
        alive: Whether it says that the sequence goes on.
        earlier: The same columns one step before, in the same patch; None in its first step.
    """

    block: Block
    columns: slice
    gate: int | None
    alive: bool
    earlier: slice | None = None

    @property
    def change(self) -> float:
        """How much it typically changes from step to step."""
        return self.block.change or CHANGE

    @property
    def cell(self) -> tuple[float, float, float, float]:
        """Spacing (0: none), origin, smallest and largest value of a number."""
        return *(self.block.grid or (0.0, 0.0)), *(self.block.range or (-math.inf, math.inf))

    def at(self, step: int, channels: int) -> Slot:
        """Return the slot at another step of the patch."""
        move = lambda by: slice(self.columns.start + by * channels, self.columns.stop + by * channels)  # noqa: E731
        gate = None if self.gate is None else self.gate + step * channels
        return replace(self, columns=move(step), gate=gate, earlier=move(step - 1) if step else None)


def slots_of(blocks: Sequence[Block], alive: int | None = None) -> list[Slot]:
    """Return a slot for each block, gates before what they gate."""
    slots, start = [], 0
    for block in blocks:
        columns = slice(start, start + block.width)
        slots.append(Slot(block, columns, block.gate, start == alive))
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
        odds: Width of what enters the log odds of 0/1 columns linearly.
        hidden: Hidden units of each slot.
        components: Of a mixture.
        finest: Smallest deviation of a component, in units of a column's change from step to step.
        dropout: Share of the hidden units, u and v, that are silenced while training.
    """

    mask: Tensor
    mask_numbers: Tensor
    positions: Tensor
    cells: Tensor
    floors: Tensor

    def __init__(
        self,
        slots: Sequence[Slot],
        columns: int,
        context: int,
        direct: int,
        odds: int,
        hidden: int,
        components: int,
        finest: float,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.slots, self.columns, self.components = tuple(slots), columns, components
        self.finest, self.dropout = finest, dropout
        parameters = 3 * components + 1 + any(slot.block.repeats > 0 for slot in slots)
        count, outputs = len(slots), max([parameters, *(slot.block.width for slot in slots)])
        weights = lambda *size, fan: nn.Parameter(torch.randn(*size) / math.sqrt(max(1, fan)))  # noqa: E731
        self.context = weights(context, count, hidden, fan=context)
        self.bias = nn.Parameter(torch.zeros(count, hidden))
        self.before = weights(columns, count, hidden, fan=columns)
        self.middle = weights(count, hidden, hidden, fan=hidden)
        self.middle_bias = nn.Parameter(torch.zeros(count, hidden))
        self.out = nn.Parameter(0.1 * torch.randn(count, hidden, outputs) / math.sqrt(hidden))
        out_bias = torch.zeros(count, outputs)
        for j, slot in enumerate(slots):
            if slot.block.kind == "continuous":
                out_bias[j, components : 2 * components] = torch.linspace(-1.5, 1.5, components)
                out_bias[j, 3 * components] = math.log(slot.change) + 1 if direct else -0.5
            if slot.block.repeats:
                out_bias[j, -1] = math.log(slot.block.repeats / (1.01 - slot.block.repeats))
        self.out_bias = nn.Parameter(out_bias)
        of = lambda kind: [j for j, slot in enumerate(slots) if slot.block.kind == kind]  # noqa: E731
        self.of_numbers, self.of_binaries, self.of_categories = of("continuous"), of("binary"), of("categorical")
        self.gated = [j for j, slot in enumerate(slots) if slot.gate is not None and slot.block.kind == "continuous"]
        self.straight = nn.Parameter(torch.zeros(direct, len(self.of_numbers)))
        self.straight_before = nn.Parameter(torch.zeros(columns, len(self.of_numbers)))
        self.straight_binaries = nn.Parameter(torch.zeros(odds, len(self.of_binaries)))
        mask = torch.zeros(columns, count)
        for j, slot in enumerate(slots):
            mask[slot.columns, j + 1 :] = 1
        self.register_buffer("mask", mask, persistent=False)
        positions = torch.tensor([slots[j].columns.start for j in self.of_numbers], dtype=torch.int64)
        self.register_buffer("positions", positions, persistent=False)
        self.register_buffer("mask_numbers", mask[:, self.of_numbers], persistent=False)
        floors = torch.tensor([self._floor(slots[j]) for j in self.of_numbers])[:, None]
        self.register_buffer("floors", floors, persistent=False)
        cells = [slots[j].cell for j in self.of_numbers]
        self.register_buffer("cells", torch.tensor(cells).reshape(len(cells), 4), persistent=False)
        self.order = [column for slot in slots for column in range(slot.columns.start, slot.columns.stop)]
        self.noise_widths = [2 if slot.block.kind == "continuous" else 1 for slot in slots]
        self.noise = sum(self.noise_widths)

    def log_likelihood(
        self,
        context: Float[Tensor, "*n context"],
        values: Float[Tensor, "*n columns"],
        offset: Float[Tensor, "*n columns"],
        reference: Float[Tensor, "*n columns"],
        direct: Float[Tensor, "*n direct"],
        odds: Float[Tensor, "*n odds"],
        latest: Float[Tensor, "*n columns"],
    ) -> Float[Tensor, "*n slots"]:
        """Return the log likelihood of every slot, given the true values of those before it.

        What it says of values that were not measured means nothing.

        `latest` is the value measured before that of a slot, NaN if there was none.
        """
        batch = values.shape[:-1]
        context, values, offset, reference, direct, odds, latest = (
            part.flatten(0, -2) for part in (context, values, offset, reference, direct, odds, latest)
        )
        rows = self._measured_rows(values)
        outputs = self._outputs(context, offset, rows)
        each = [values.new_zeros(len(values))] * len(self.slots)
        if self.of_numbers:
            straight = direct @ self.straight + offset @ (self.straight_before * self.mask_numbers)
            mean = reference[:, self.positions] + straight
            numbers = self._numbers(values, mean, outputs, rows, latest)
            for j, found in zip(self.of_numbers, numbers, strict=True):
                each[j] = each[j].masked_scatter(rows[j], found) if j in rows else found
        if self.of_binaries:
            columns = [self.slots[j].columns.start for j in self.of_binaries]
            logits = torch.stack([outputs[j][:, 0] for j in self.of_binaries], dim=1) + odds @ self.straight_binaries
            binaries = -softplus((1 - 2 * values[:, columns]) * logits)
            for j, found in zip(self.of_binaries, binaries.unbind(1), strict=True):
                each[j] = found
        for j in self.of_categories:
            slot = self.slots[j]
            each[j] = (log_softmax(outputs[j][:, : slot.block.width], dim=-1) * values[:, slot.columns]).sum(dim=-1)
        return torch.stack(each, dim=-1).unflatten(0, batch)

    def _measured_rows(self, values: Float[Tensor, "n columns"]) -> dict[int, Bool[Tensor, " n"]]:
        """Return the slots that are worked out for some rows alone, and which: those where a number was measured.

        On a GPU there are none: it would wait while the rows of every slot are counted; one large product is faster.
        """
        return {} if values.is_cuda else {j: values[:, self.slots[j].gate] > 0.5 for j in self.gated}

    def _outputs(
        self,
        context: Float[Tensor, "n context"],
        offset: Float[Tensor, "n columns"],
        rows: Mapping[int, Bool[Tensor, " n"]],
    ) -> list[Float[Tensor, "_ outputs"]]:
        """Return what each slot's network says: of some for the rows alone in which they were measured."""
        before = self.before * self.mask[..., None]
        whole = [j for j in range(len(self.slots)) if j not in rows]
        chosen = whole if rows else slice(None)
        u = context @ self.context[:, chosen].flatten(1) + offset @ before[:, chosen].flatten(1)
        u = self._dropped(silu(u.unflatten(-1, (len(whole), -1)) + self.bias[chosen])).transpose(0, 1)
        u = self._dropped(u + silu(torch.baddbmm(self.middle_bias[chosen][:, None], u, self.middle[chosen])))
        found = dict(zip(whole, torch.baddbmm(self.out_bias[chosen][:, None], u, self.out[chosen]), strict=True))
        if rows:  # unbound once: the gradient of every single slice would be as large as the whole
            contexts, befores = self.context.unbind(1), before.unbind(1)
            middles, middle_biases = self.middle.unbind(), self.middle_bias.unbind()
            outs, out_biases, biases = self.out.unbind(), self.out_bias.unbind(), self.bias.unbind()
            for j, measured in rows.items():
                u = self._dropped(silu(context[measured] @ contexts[j] + offset[measured] @ befores[j] + biases[j]))
                u = self._dropped(u + silu(torch.addmm(middle_biases[j], u, middles[j])))
                found[j] = torch.addmm(out_biases[j], u, outs[j])
        return [found[j] for j in range(len(self.slots))]

    def _dropped(self, u: Tensor) -> Tensor:
        return dropout(u, self.dropout, self.training) if self.dropout else u

    def _numbers(
        self,
        values: Float[Tensor, "n columns"],
        mean: Float[Tensor, "n numbers"],
        outputs: Sequence[Float[Tensor, "_ outputs"]],
        rows: Mapping[int, Bool[Tensor, " n"]],
        latest: Float[Tensor, "n columns"],
    ) -> Sequence[Float[Tensor, " _"]]:
        """Return the log likelihood of every number where it was measured."""
        own = lambda part, j: part[rows[j]] if j in rows else part  # noqa: E731
        means = zip(self.of_numbers, mean.unbind(1), strict=True)
        counts = torch.tensor([len(outputs[j]) for j in self.of_numbers], device=values.device)
        found = _log_mixture(
            torch.cat([own(values[:, self.slots[j].columns.start], j) for j in self.of_numbers]),
            torch.cat([outputs[j] for j in self.of_numbers]),
            torch.cat([own(part, j) for j, part in means]),
            self.cells.repeat_interleave(counts, dim=0),
            self.components,
            self.floors.repeat_interleave(counts, dim=0),
        )
        each = list(found.split(counts.tolist()))
        for k, j in enumerate(self.of_numbers):
            if self.slots[j].block.repeats:
                place = self.slots[j].columns.start
                each[k] = _with_repeats(
                    each[k],
                    outputs[j][:, -1],
                    own(values[:, place], j),
                    own(latest[:, place], j),
                    bool(self.cells[k, 0]),
                )
        return each

    def draw(
        self,
        context: Float[Tensor, "n context"],
        noise: Float[Tensor, "n noise"],
        reference: Float[Tensor, "n columns"],
        direct: Float[Tensor, "n direct"],
        odds: Float[Tensor, "n odds"],
        last: Float[Tensor, "n channels"],
        alive: Float[Tensor, " n"] | None = None,
        held: Held | None = None,
    ) -> Float[Tensor, "n columns"]:
        """Draw slot after slot.

        Args:
            context: As for the likelihood.
            noise: Standard normal: two numbers for a number (which component, and where), one for anything else.
            reference: As for the likelihood.
            direct: As for the likelihood.
            odds: As for the likelihood.
            last: The value last measured of every channel, NaN if there was none.
            alive: Whether the step before was alive; None if there is no alive column, or nothing was before.
            held: Values that are not drawn, and where they are put in.
        """
        if not self.slots:
            return reference
        # Every column is a row here, so that what is done to it runs along memory.
        context, noise, direct, reference = (part.t().contiguous() for part in (context, noise, direct, reference))
        hidden = torch.addmm(self.bias.flatten()[:, None], self.context.flatten(1).t(), context)
        hidden, straight = hidden.unflatten(0, self.bias.shape), self.straight.t() @ direct
        straight_binaries = self.straight_binaries.t() @ odds.t()
        before, straight_before = self.before[self.order], self.straight_before[self.order]
        rows: list[Tensor] = [reference[0]] * self.columns
        offsets: list[Tensor] = [reference[0]] * self.columns
        latests = [*last.unbind(1)] * (self.columns // last.shape[1])  # of every step of the patch
        earlier = reference[:0]
        going, number, binary, start = alive, 0, 0, 0
        for j, (slot, width) in enumerate(zip(self.slots, self.noise_widths, strict=True)):
            drawn, start = noise[start : start + width], start + width
            done, latest = earlier.shape[0], latests[(slot.earlier or slot.columns).start]
            u = silu(torch.addmm(hidden[j], before[:done, j].t(), earlier) if done else hidden[j])
            u = u + silu(torch.addmm(self.middle_bias[j][:, None], self.middle[j].t(), u))
            out = torch.addmm(self.out_bias[j][:, None], self.out[j].t(), u)
            if slot.block.kind == "continuous":
                mean = reference[slot.columns.start] + straight[number]
                if done:
                    mean = mean + straight_before[:done, number] @ earlier
                new = self._number(slot, out, drawn, mean, latest)[None]
                number += 1
            elif slot.block.kind == "binary":
                logit = out[:1] + straight_binaries[binary]
                new = (torch.special.ndtr(drawn) < torch.sigmoid(logit)).to(out.dtype)
                binary += 1
            else:
                new = _category(out[: slot.block.width], drawn)
            if held is not None:
                new = torch.where(held[1].t()[slot.columns], held[0].t()[slot.columns], new)
            if slot.alive:
                going = torch.ones_like(new[0]) if going is None else new[0] * going
                new = going[None]
            elif going is not None:
                new = new * going
            measured = None if slot.gate is None else rows[slot.gate] > 0.5
            if measured is not None:
                new = torch.where(measured, new, 0.0)
            rows[slot.columns] = new
            if slot.block.kind == "continuous":
                latests[slot.columns.start] = new[0] if measured is None else torch.where(measured, new[0], latest)
                new = self._offset(slot, new[0] - reference[slot.columns.start], measured, offsets)[None]
            offsets[slot.columns] = new
            earlier = torch.cat([earlier, new])
        return torch.stack(rows, dim=1)

    @staticmethod
    def _offset(slot: Slot, there: Tensor, measured: Tensor | None, offsets: Sequence[Tensor]) -> Tensor:
        """Return how far a number's value last measured lies from its reference."""
        if measured is None:
            return there
        before = torch.zeros_like(there) if slot.earlier is None else offsets[slot.earlier.start]
        return torch.where(measured, there, before)

    def _number(
        self,
        slot: Slot,
        out: Float[Tensor, "outputs n"],
        noise: Float[Tensor, "2 n"],
        mean: Float[Tensor, " n"],
        latest: Float[Tensor, " n"],
    ) -> Float[Tensor, " n"]:
        logits, places, ratios, (common,) = out[: 3 * self.components + 1].split([self.components] * 3 + [1])
        chance, again = torch.special.ndtr(noise[0]), None
        if slot.block.repeats:
            share = torch.where(torch.isnan(latest), 0.0, torch.sigmoid(out[-1]).clamp(max=1 - 1e-6))
            again, chance = chance < share, ((chance - share) / (1 - share)).clamp(min=0.0)
        pick, widest = _picked(logits, chance[None]), math.log(WIDEST)
        log_scale = (common + ratios.gather(0, pick)[0]).clamp(self._floor(slot), widest)
        place = torch.exp(common.clamp(max=widest)) * places.gather(0, pick)[0]
        value = mean + place + torch.exp(log_scale) * noise[1]
        spacing, origin, low, high = slot.cell
        if spacing:
            value = torch.round((value - origin) / spacing) * spacing + origin
        value = value.clamp(low, high)
        return value if again is None else torch.where(again, latest, value)

    def _floor(self, slot: Slot) -> float:
        """Return the logarithm of the smallest deviation of a number's components."""
        return math.log(self.finest * slot.change)


def _picked(logits: Float[Tensor, "k n"], chance: Float[Tensor, "1 n"]) -> Int[Tensor, "1 n"]:
    """Draw categories by inverting their distribution function at numbers from 0 to 1."""
    upto = torch.exp(logits - logits.amax(dim=0)).cumsum(dim=0)
    return (chance * upto[-1:] > upto[:-1]).sum(dim=0, keepdim=True)


def _category(logits: Float[Tensor, "k n"], noise: Float[Tensor, "1 n"]) -> Float[Tensor, "k n"]:
    """Draw one-hot categories."""
    which = torch.arange(logits.shape[0], device=logits.device)[:, None]
    return (_picked(logits, torch.special.ndtr(noise)) == which).to(logits.dtype)


def _mixture(
    out: Float[Tensor, "*n outputs"], mean: Float[Tensor, "*n"], components: int, finest: Float[Tensor, "*some 1"]
) -> tuple[Float[Tensor, "*n k"], Float[Tensor, "*n k"], Float[Tensor, "*n k"]]:
    """Return log weights, means and log deviations; the means are spread in units of a common scale."""
    logits, places, ratios, common = out[..., : 3 * components + 1].split([components] * 3 + [1], dim=-1)
    log_scales = torch.minimum(torch.maximum(common + ratios, finest), torch.full_like(finest, math.log(WIDEST)))
    return logits, mean[..., None] + torch.exp(common.clamp(max=math.log(WIDEST))) * places, log_scales


def _log_mixture(
    x: Float[Tensor, " m"],
    out: Float[Tensor, "m outputs"],
    mean: Float[Tensor, " m"],
    cells: Float[Tensor, "m 4"],
    components: int,
    finest: Float[Tensor, "m 1"],
) -> Float[Tensor, " m"]:
    """Return log densities, or log probabilities of cells where there is a grid."""
    logits, means, log_scales = _mixture(out, mean, components, finest)
    z = (x[:, None] - means) * torch.exp(-log_scales)
    each = -0.5 * z.square() - log_scales - 0.5 * math.log(2 * math.pi)
    gridded = torch.nonzero(cells[:, 0] > 0)[:, 0]
    if len(gridded):
        spacing, _, low, high = cells[gridded].unbind(1)
        own = x[gridded]
        far = 1e3
        lower = own - spacing / 2 - far * (own < low + spacing / 2)
        upper = own + spacing / 2 + far * (own > high - spacing / 2)
        scale = torch.exp(-log_scales[gridded])
        ends = [(edge[:, None] - means[gridded]) * scale for edge in (lower, upper)]
        cell = _log_between(ends[0], ends[1], each[gridded] + torch.log(spacing)[:, None])
        each = each.index_copy(0, gridded, cell)
    return torch.logsumexp(log_softmax(logits, dim=-1) + each, dim=-1)


def _with_repeats(
    other: Float[Tensor, " m"],
    logit: Float[Tensor, " m"],
    x: Float[Tensor, " m"],
    latest: Float[Tensor, " m"],
    cells: bool,
) -> Float[Tensor, " m"]:
    """Return the log likelihood of values that are those measured before, with some probability, or else as `other`.

    Of a density nothing falls on a point, of cells something does. Where nothing was measured before, `other` is all.
    """
    changed = logsigmoid(-logit) + other
    again = torch.logaddexp(logsigmoid(logit), changed) if cells else logsigmoid(logit)
    return torch.where(torch.isnan(latest), other, torch.where(x == latest, again, changed))


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
