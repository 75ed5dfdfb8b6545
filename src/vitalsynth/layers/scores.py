"""What a discriminator sees, and how it scores what it found."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Minibatch(nn.Module):
    """Let features know how much the sequences around them differ (Karras et al. 2018, arXiv 1710.10196).

    The statistic is the standard deviation over a group of sequences, averaged over steps and features; a collapsed
    generator shows by it at once. Groups are neighbours in the batch, the most up to `group` that part half of it
    evenly: objectives score real and synthetic sequences in one pass, one after the other, and no group may hold both.

    Args:
        features: Width of the features.
        group: Most sequences in a group.

    Raises:
        ValueError: if there are fewer than 2.
    """

    def __init__(self, features: int, group: int) -> None:
        super().__init__()
        if group < 2:
            raise ValueError(f"a group needs at least 2 sequences to differ, got {group}; 0 leaves the statistic out")
        self.group = group
        self.mix = nn.Linear(features + 1, features)

    def forward(
        self, steps: Float[Tensor, "n length features"], pooled: Float[Tensor, "n features"]
    ) -> Float[Tensor, "n features"]:
        """Mix the statistic of the features of every step into those of the whole sequences."""
        return pooled + nn.functional.leaky_relu(self.mix(torch.cat([pooled, self.statistic(steps)], dim=1)), 0.2)

    def statistic(self, steps: Float[Tensor, "n length features"]) -> Float[Tensor, "n 1"]:
        """Return the deviation within the group of each sequence."""
        n = len(steps)
        evenly = n // 2 if n % 2 == 0 else n
        size = max(k for k in range(1, self.group + 1) if evenly % k == 0)
        groups = steps.unflatten(0, (-1, size))
        deviation = (groups.var(dim=1, correction=0) + 1e-8).sqrt().mean(dim=(1, 2))
        return deviation.repeat_interleave(size)[:, None]


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
