"""What networks that are released tell of a subject: the discriminator's score (LOGAN), or how well it is learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from ..learner import Learner
from ..objectives import Batch, Objective, resolved
from ..preparation import Preparation
from ..sequences import Encoded, Fixed, Sequences

DISCRIMINATOR, LIKELIHOOD, LOSS = "discriminator score", "likelihood", "training loss"
HELD = {DISCRIMINATOR: "discriminator", LIKELIHOOD: "generator", LOSS: "generator"}
"""What each holds."""
DRAWS = 32
"""Of noise, for a loss that depends on it; the same for every sequence."""
BATCH = 256


def scores(
    learner: Learner, objective: Objective, preparation: Preparation, sequences: Sequences
) -> dict[str, Float[ndarray, " n"]]:
    """Return a score of each sequence by every attack that the networks allow; higher is rather a member.

    The discriminator's score (Hayes et al. 2019, LOGAN, arXiv 1705.07663) of a game; the log likelihood per measured
    value of a generator that has one; else, of what has one player, its loss (Yeom et al. 2018, arXiv 1709.01604). The
    generator is the averaged one, which is the one released.

    Args:
        learner: The networks, trained.
        objective: What they were trained by.
        preparation: How they see sequences.
        sequences: In question.
    """
    networks = {name: network.eval() for name, network in learner.networks.items()} | {"generator": learner.average}
    generator: Any = networks["generator"].eval()
    encoded = encode(preparation, sequences).to(next(generator.parameters()).device)
    with torch.no_grad(), torch.random.fork_rng():
        if "discriminator" in networks:
            return {DISCRIMINATOR: _numbers(_discriminated(networks, encoded, preparation.shape.row))}
        if hasattr(generator, "log_likelihood"):
            measured = np.maximum(1, (~np.isnan(sequences.values)).sum(axis=(1, 2)))
            parts = [generator.log_likelihood(part) for part in _batches(encoded)]
            return {LIKELIHOOD: _numbers(torch.cat(parts)) / measured}
        return {LOSS: -_numbers(torch.stack([_loss(objective, networks, encoded, j) for j in range(len(encoded))]))}


def encode(preparation: Preparation, sequences: Sequences) -> Encoded:
    """Return sequences as networks see them; gaps where training had none, which they cannot see, become medians."""
    values, static = sequences.values.copy(), sequences.static.copy()
    for columns, parts in ((values, preparation.channels), (static, preparation.statics)):
        for j, part in enumerate(parts):
            if not part.gaps and np.isnan(columns[..., j]).any():
                columns[..., j] = np.where(np.isnan(columns[..., j]), np.nanmedian(columns[..., j]), columns[..., j])
    return preparation.encode(replace(sequences, values=values, static=static))


def _discriminated(networks: Mapping[str, nn.Module], encoded: Encoded, row: int) -> Float[Tensor, " n"]:
    """Score sequences in random order: some discriminators compare those of a batch."""
    generator, discriminator = cast(Any, networks["generator"]), networks["discriminator"]
    like = generator(torch.zeros(1, generator.noise, device=encoded.x.device), encoded.condition[:1])
    encoded = resolved(encoded, like, row)
    if getattr(generator, "pasts", 0.0):
        encoded = encoded.under(Fixed.nothing(encoded.x, generator.shape).extent)
    order = torch.randperm(len(encoded), generator=torch.Generator().manual_seed(0))
    drawn = torch.cat([discriminator(part, part.condition) for part in _batches(encoded.take(order))])
    return drawn[order.argsort()]


def _loss(objective: Objective, networks: Mapping[str, nn.Module], encoded: Encoded, place: int) -> Tensor:
    torch.manual_seed(0)
    copies = encoded.take(torch.full((DRAWS,), place))
    noise = torch.randn(DRAWS, networks["generator"].noise, device=encoded.x.device)  # type: ignore[arg-type]
    return torch.stack(list(objective.loss("generator", networks, Batch(copies, noise), 0).values())).sum()


def _batches(encoded: Encoded) -> list[Encoded]:
    return [encoded.take(slice(first, first + BATCH)) for first in range(0, len(encoded), BATCH)]


def _numbers(scores: Tensor) -> Float[ndarray, " n"]:
    return scores.double().cpu().numpy()
