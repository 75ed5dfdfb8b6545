"""What is not left to a generator: the past of sequences that are to go on, and masks that are imposed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from ..sequences import Fixed, Sequences
from .preparation import Preparation


def past(preparation: Preparation, sequences: Sequences, steps: int) -> tuple[Fixed, Float[Tensor, "n condition"]]:
    """Return the first steps of sequences as fixed, and their conditions; what comes later is not looked at.

    Statics that are known are fixed as well; those that are not are left to the generator.

    Args:
        preparation: Of the run that is to go on.
        sequences: Of the same schema and length, each longer than `steps`.
        steps: How many are given.

    Raises:
        ValueError: if a channel is encoded by what comes later, or a condition is unknown.
    """
    check_steps_alone(preparation)
    for part in preparation.given:
        unknown = np.isnan(sequences.static_column(part.column.name))
        if not part.gaps and unknown.any():
            raise ValueError(
                f"{part.column.name!r}, which the run is conditioned on, is unknown in {unknown.sum():,} of the "
                f"{len(unknown):,} sequences; give it with --condition {part.column.name}=..."
            )
    encoded = preparation.encode(_cut_off(preparation, sequences, steps))
    known = (torch.arange(preparation.length) < steps)[None, :, None].expand_as(encoded.x)
    widths = [(part, part.width + part.gaps) for part in preparation.generated]
    known_s = [
        torch.from_numpy(~np.isnan(sequences.static_column(part.column.name)))[:, None].expand(-1, width)
        for part, width in widths
    ]
    outline = torch.zeros(len(sequences), preparation.outline.width if preparation.outline else 0, dtype=torch.bool)
    return Fixed(encoded.x, known, encoded.s, torch.cat([*known_s, outline], dim=1)), encoded.condition


def check_steps_alone(preparation: Preparation) -> None:
    """Refuse a preparation by which the beginning of a sequence is encoded by what comes later.

    Raises:
        ValueError: with the first such channel, and what to do.
    """
    for part in preparation.channels:
        if part.normaliser is not None and part.normaliser.width:
            raise ValueError(
                f"channel {part.column.name!r} is normalised by each whole sequence, which a past is not; "
                "train with --normalise standard, minmax or quantile to go on from one"
            )


def _cut_off(preparation: Preparation, sequences: Sequences, steps: int) -> Sequences:
    """Return sequences of full length that repeat their last step of the past, with any value for unknown statics."""
    index = np.minimum(np.arange(preparation.length), steps - 1)
    anything = np.array([part.extremes[0] for part in preparation.statics])
    static = np.where(np.isnan(sequences.static), anything, sequences.static)
    return replace(
        sequences,
        values=sequences.values[:, index],
        lengths=np.full(len(sequences), preparation.length),
        static=static.astype(sequences.static.dtype),
    )


@dataclass(frozen=True, eq=False)
class Pattern:
    """What is measured, imposed on whatever a generator draws.

    Args:
        never: Channels that are never measured.
        like: Sequences whose patterns, and lengths, are drawn whole; None leaves other channels to the generator.
    """

    never: tuple[str, ...] = ()
    like: Sequences | None = None

    def draw(self, preparation: Preparation, count: int, seed: int) -> tuple[Fixed, Bool[ndarray, "n length channels"]]:
        """Return masks as fixed, and the same for all channels: those without gaps in training have no mask to fix.

        Raises:
            ValueError: if there is no such channel.
        """
        shape = preparation.shape
        measured = np.ones((count, preparation.length, len(preparation.channels)), dtype=bool)
        x = torch.zeros(count, shape.length, shape.channels)
        known = torch.zeros_like(x, dtype=torch.bool)
        if self.like is not None:
            rows = np.random.default_rng(seed).integers(len(self.like), size=count)
            measured = ~np.isnan(self.like.values[rows])
            if shape.alive is not None:
                x[..., shape.alive] = torch.from_numpy(self.like.alive[rows]).float()
                known[..., shape.alive] = True
        for name in self.never:
            measured[..., preparation.schema.channel_index(name)] = False
        for name, gate in preparation.gates.items():
            if self.like is not None or name in self.never:
                x[..., gate] = torch.from_numpy(measured[..., preparation.schema.channel_index(name)]).float()
                known[..., gate] = True
        s = torch.zeros(count, shape.statics)
        return Fixed(x, known, s, torch.zeros_like(s, dtype=torch.bool)), measured
