"""The networks' world: dense tensors, and what a network must know of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .schema import Kind


@dataclass(frozen=True)
class Block:
    """Neighbouring encoded columns that belong together.

    Args:
        kind: `continuous` (any number), `binary` (one column of 0 and 1) or `categorical` (one-hot).
        width: Number of columns.
        gate: Position of the 0/1 column that says whether this block was measured (it is 0 where not); None if always.
    """

    kind: Kind
    width: int = 1
    gate: int | None = None


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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Shape:
        blocks = {part: tuple(Block(**block) for block in record[part]) for part in ("x", "s")}
        image = tuple(record["image"]) if record.get("image") else None  # records before 2026-11-25 have none
        return cls(**{**record, **blocks, "image": image})


@dataclass(frozen=True, eq=False)
class Encoded:
    """Dense sequences of roughly unit scale: what networks emit and see.

    Args:
        x: `(n, length, channels)`, no NaN.
        s: `(n, statics)`, no NaN.
        condition: `(n, condition)`, what was conditioned on.
        coarse: Where a generator emits them, the sequences at coarser resolutions, the coarsest last: each half as long
            as the one before, and for images half as wide. Empty elsewhere: then they are `x` pooled.
    """

    x: Float[Tensor, "n length channels"]
    s: Float[Tensor, "n statics"]
    condition: Float[Tensor, "n condition"]
    coarse: tuple[Float[Tensor, "n _ _"], ...] = field(default=(), kw_only=True)

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Int[Tensor, " k"] | slice) -> Encoded:
        """Select sequences by position."""
        return self.map(lambda part: part[index])

    def to(self, target: torch.device | torch.dtype) -> Encoded:
        """Move to a device, or convert to a dtype."""
        return self.map(lambda part: part.to(target))

    def map(self, function: Callable[[Tensor], Tensor]) -> Encoded:
        """Apply a function to each tensor."""
        coarse = tuple(function(part) for part in self.coarse)
        return Encoded(function(self.x), function(self.s), function(self.condition), coarse=coarse)
