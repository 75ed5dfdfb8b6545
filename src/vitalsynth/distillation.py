"""Learning from what another run draws, in place of the data: a small, fast network takes after a large, slow one.

A parent draws as many sequences as are wanted, so its offspring does not run out of data, and what it learns can go no
further than what the parent knows: it never sees a real sequence (distillation; Hinton et al. 2015, arXiv 1503.02531,
by samples, as for networks of sequences in Kim and Rush 2016, arXiv 1606.07947).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from .objectives import Batch, Likelihood
from .runs import Run
from .sampling import draw, load_generator
from .seeds import derive
from .sequences import Encoded, Shape
from .stabilisers import Stabiliser


class Distillation(Likelihood):
    """Maximum likelihood of what a parent draws."""

    private = False  # whatever the parent knows

    def __init__(self, parent: str = "", draws: int = 50_000) -> None:
        """Set the objective.

        Args:
            parent: Folder of the run to learn from, of any generator, trained on the same data with the same
                preparation.
            draws: How many sequences it draws to be learned from; the same ones whenever training goes on.
        """
        if draws < 1:
            raise ValueError(f"draws must be at least 1, got {draws}")
        self.parent, self.draws = parent, draws

    def settle(self, shape: Shape, stabilisers: Sequence[Stabiliser]) -> None:
        """Let the parent draw.

        Raises:
            ValueError: if there is no parent, or its data or their preparation differ.
        """
        super().settle(shape, stabilisers)
        if not self.parent:
            raise ValueError("Distillation needs a run to learn from: --objective.parent RUN")
        run = Run(self.parent)
        if run.preparation.shape != shape:
            raise ValueError(
                f"the parent {self.parent} learned from other data, or prepared otherwise; the same data, --condition, "
                "--drop, --normalise, --whiten, --outline, --seed and --held_out are needed"
            )
        self.drawn = _drawn(self.parent, run.step, self.draws)

    def loss(self, player: str, networks: Mapping[str, nn.Module], batch: Batch, step: int) -> dict[str, Tensor]:
        """Negative log likelihood of the parent's sequences, in nats per step."""
        index = torch.randint(len(self.drawn), (len(batch.noise),))
        drawn = self.drawn.take(index).to(batch.noise.device)
        return super().loss(player, networks, Batch(drawn, batch.noise), step)


@lru_cache(maxsize=1)  # drawn once for the rehearsal and the training
def _drawn(path: str, step: int, count: int) -> Encoded:
    """Let a run's generator draw sequences, with conditions as its training set had them."""
    run = Run(path)
    generator, _ = load_generator(run, step, device="cpu")
    return Encoded.joined(*(encoded for _, encoded in draw(run, generator, count, seed=derive(0, "distillation"))))
