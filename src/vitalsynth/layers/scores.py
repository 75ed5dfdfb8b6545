"""What a discriminator sees, and how it scores what it found."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def every_step(x: Float[Tensor, "n length channels"], *fixed: Float[Tensor, "n _"]) -> Tensor:
    """Set what is fixed for a sequence beside its channels at every step."""
    parts = [part[:, None, :].expand(-1, x.shape[1], -1) for part in fixed if part.shape[1]]
    return torch.cat([x, *parts], dim=-1) if parts else x


class Score(nn.Module):
    """One score per sequence from its features, and from how well they suit the condition.

    `w·h + (V c)·h`, the projection discriminator (Miyato and Koyama 2018, arXiv 1802.05637), whose inner product takes
    labels and continuous conditions alike. With no condition, or without `projection`, it is `w·h`.
    """

    def __init__(self, features: int, condition: int, projection: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.embedding = nn.Linear(condition, features, bias=False) if projection and condition else None

    def forward(
        self, features: Float[Tensor, "n features"], condition: Float[Tensor, "n condition"]
    ) -> Float[Tensor, " n"]:
        score = self.linear(features)[:, 0]
        if self.embedding is not None:
            score = score + (self.embedding(condition) * features).sum(dim=1)
        return score
