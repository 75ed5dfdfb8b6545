"""The networks' world: dense tensors, and what a network must know of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from .schema import Kind


@dataclass(frozen=True)
class Block:
    """Neighbouring encoded columns that belong together.

    Args:
        kind: `continuous` (any number), `binary` (one column of 0 and 1) or `categorical` (one-hot).
        width: Number of columns.
        gate: Position of the 0/1 column that says whether this block was measured (it is 0 where not); None if always.
        grid: Spacing and origin of the values of a continuous column that was recorded in steps; None if it was not.
        range: Smallest and largest value of a continuous column in the training set; None if not known.
        change: Median size of a continuous channel's changes from step to step; None if not known, or none.
        repeats: Share of a continuous channel's values that are the one measured before, exactly; 0 where they are few.
        outline: Whether it says of all steps, roughly, what they say themselves, see `outline`.
    """

    kind: Kind
    width: int = 1
    gate: int | None = None
    grid: tuple[float, float] | None = None
    range: tuple[float, float] | None = None
    change: float | None = None
    repeats: float = 0.0
    outline: bool = False

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Block:
        pairs = {name: tuple(record[name]) for name in ("grid", "range") if record.get(name) is not None}
        return cls(**{**record, **pairs})


@dataclass(frozen=True)
class Shape:
    """All that a network must know of the data; nobody configures it.

    Args:
        length: Time steps.
        x: What the encoded channels are, in order.
        s: What the encoded statics are, in order.
        condition: Width of the condition, 0 if there is none.
        alive: Position of the 0/1 channel that is 1 until the sequence ends; None if all have full length.
        image: (height, width, colours) where the channels of a step are the pixels of a row, and nothing else.
    """

    length: int
    x: tuple[Block, ...]
    s: tuple[Block, ...] = ()
    condition: int = 0
    alive: int | None = None
    image: tuple[int, int, int] | None = None

    @property
    def row(self) -> int:
        """How many places a step has: the pixels of a row of an image, and 1 elsewhere."""
        return 1 if self.image is None else self.image[1]

    @property
    def channels(self) -> int:
        return sum(block.width for block in self.x)

    @property
    def statics(self) -> int:
        return sum(block.width for block in self.s)

    @property
    def binary(self) -> int:
        """How many channels are 0/1, as masks are, but for `alive`."""
        return sum(block.kind == "binary" for block in self.x) - (self.alive is not None)

    def patches(self, asked: int) -> tuple[int, int]:
        """Return how many steps of time make a patch, and how many patches a sequence has.

        Args:
            asked: Steps of a patch; 0 takes as many as make about 8 columns: with fewer a sequence is long, with more
                each patch is hard to learn.
        """
        patch = min(asked or max(1, 8 // self.channels), self.length)
        return patch, -(-self.length // patch)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Shape:
        blocks = {part: tuple(Block.from_json(block) for block in record[part]) for part in ("x", "s")}
        image = tuple(record["image"]) if record.get("image") else None  # records before 2026-11-25 have none
        return cls(**{**record, **blocks, "image": image})


@dataclass(frozen=True, eq=False)
class Encoded:
    """Dense sequences of roughly unit scale: what networks emit and see.

    Args:
        x: `(n, length, channels)`, no NaN.
        s: `(n, statics)`, no NaN.
        condition: `(n, condition)`, what was conditioned on.
        coarse: The same channels at coarser resolutions, the coarsest last: each half as long as the one before, and
            for images half as wide. Only multi-scale generators fill it.
    """

    x: Float[Tensor, "n length channels"]
    s: Float[Tensor, "n statics"]
    condition: Float[Tensor, "n condition"]
    coarse: tuple[Float[Tensor, "n _ _"], ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """All that is real or synthetic about it, and so all but the condition: x, s and what is coarse."""
        return (self.x, self.s, *self.coarse)

    def replaced(self, parts: Iterable[Tensor]) -> Encoded:
        """Return other parts under the same condition."""
        x, s, *coarse = parts
        return Encoded(x, s, self.condition, tuple(coarse))

    def under(self, further: Float[Tensor, "n _"]) -> Encoded:
        """Return the same under a further condition."""
        return replace(self, condition=torch.cat([self.condition, further], dim=1))

    @staticmethod
    def joined(*several: Encoded) -> Encoded:
        """Set batches one after the other."""
        x, s, *coarse = (torch.cat(same) for same in zip(*(each.parts for each in several), strict=True))
        return Encoded(x, s, torch.cat([each.condition for each in several]), tuple(coarse))

    def take(self, index: Int[Tensor, " k"] | slice) -> Encoded:
        """Select sequences by position."""
        return Encoded(self.x[index], self.s[index], self.condition[index], tuple(c[index] for c in self.coarse))

    def to(self, target: torch.device | torch.dtype) -> Encoded:
        """Move to a device, or convert to a dtype."""
        coarse = tuple(c.to(target) for c in self.coarse)
        return Encoded(self.x.to(target), self.s.to(target), self.condition.to(target), coarse)


@dataclass(frozen=True, eq=False)
class Fixed:
    """Columns that are not left to a generator, and what they hold: a past to go on from, or a mask that is imposed.

    Args:
        x: `(n, length, channels)`, as encoded; of no account where nothing is fixed.
        known: Which columns of which steps are fixed.
        s: `(n, statics)`.
        known_s: Which statics are fixed.
    """

    x: Float[Tensor, "n length channels"]
    known: Bool[Tensor, "n length channels"]
    s: Float[Tensor, "n statics"]
    known_s: Bool[Tensor, "n statics"]

    def split(self, size: int) -> list[Fixed]:
        """Return the same in batches."""
        parts = (self.x, self.known, self.s, self.known_s)
        return [Fixed(*batch) for batch in zip(*(part.split(size) for part in parts), strict=True)]

    def to(self, device: torch.device) -> Fixed:
        """Move to a device."""
        return Fixed(*(part.to(device) for part in (self.x, self.known, self.s, self.known_s)))

    @classmethod
    def nothing(cls, like: Tensor, shape: Shape) -> Fixed:
        """Leave all to the generator, for as many sequences as a tensor has rows."""
        x, s = like.new_zeros(len(like), shape.length, shape.channels), like.new_zeros(len(like), shape.statics)
        return cls(x, torch.zeros_like(x, dtype=torch.bool), s, torch.zeros_like(s, dtype=torch.bool))

    @property
    def past(self) -> Float[Tensor, "n length _"]:
        """The steps that are known whole, each with a 1 behind it; 0 for all others."""
        whole = self.known.all(dim=2, keepdim=True)
        return torch.cat([torch.where(whole, self.x, 0.0), whole.to(self.x.dtype)], dim=2)

    @property
    def extent(self) -> Float[Tensor, "n _"]:
        """How much is known: which share of the steps, and which statics."""
        return torch.cat([self.past[..., -1:].mean(dim=1), self.known_s.to(self.s.dtype)], dim=1)

    @property
    def told(self) -> Float[Tensor, "n _"]:
        """The statics that are known, 0 for the others, and which those are."""
        return torch.cat([torch.where(self.known_s, self.s, 0.0), self.known_s.to(self.s.dtype)], dim=1)

    def put(self, x: Float[Tensor, "n length channels"]) -> Float[Tensor, "n length channels"]:
        """Return channels with what is fixed put in."""
        return torch.where(self.known, self.x, x)

    def put_statics(self, s: Float[Tensor, "n statics"]) -> Float[Tensor, "n statics"]:
        """Return statics with what is fixed put in."""
        return torch.where(self.known_s, self.s, s)


def owners(blocks: Iterable[Block]) -> list[int]:
    """Return for each column the first of those that share its fate: its mask, or the first of its categories."""
    found: list[int] = []
    for block in blocks:
        found += [len(found) if block.gate is None else block.gate] * block.width
    return found


def last_measured(x: Float[Tensor, "n length channels"], measured: Shaped[Tensor, "n length channels"]) -> Tensor:
    """Return the values last measured; before the first one that was, what the first step holds."""
    step = torch.arange(x.shape[1], device=x.device)[:, None]
    return torch.take_along_dim(x, torch.where(measured > 0.5, step, 0).cummax(dim=1).values, dim=1)


def halved(x: Tensor, axis: int) -> Tensor:
    """Return the next coarser resolution: neighbouring pairs along an axis averaged, a last one alone as it is."""
    if x.shape[axis] == 1:
        return x
    if x.shape[axis] % 2:
        x = torch.cat([x, x.narrow(axis, x.shape[axis] - 1, 1)], dim=axis)
    return x.unflatten(axis, (-1, 2)).mean(dim=axis + 1)
