"""Small layers that any network may hold."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Dropout(nn.Module):
    """Drop features of a sequence at random, the same ones at every step (Gal and Ghahramani 2016, arXiv 1512.05287).

    Drawn from torch's own generator, which a training step seeds; the dropout of cuDNN's recurrences keeps a state of
    its own, which no checkpoint holds. What stays is scaled by 1 / (1 - share), and evaluation drops nothing.

    Args:
        share: Of features to drop, in [0, 1).

    Raises:
        ValueError: if the share is not in that range.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {share}")
        self.share = share

    def forward(self, x: Float[Tensor, "n length features"]) -> Float[Tensor, "n length features"]:
        """Drop, in training."""
        if not self.share or not self.training:
            return x
        kept = torch.rand(len(x), 1, x.shape[2], dtype=x.dtype, device=x.device) >= self.share
        return x * kept / (1 - self.share)


class RMSNorm(nn.Module):
    """x / √(mean x²), times a learnt scale (Zhang and Sennrich 2019, arXiv 1910.07467); twice differentiable."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))

    def forward(self, x: Float[Tensor, "*n features"]) -> Float[Tensor, "*n features"]:
        """Divide by the root mean square of the features."""
        return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + 1e-6) * self.scale


class GatedPerceptron(nn.Module):
    """W (silu(U x) * V x): a perceptron whose hidden layer is gated (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(features, 2 * hidden)
        self.outer = nn.Linear(hidden, features)

    def forward(self, x: Float[Tensor, "*n features"]) -> Float[Tensor, "*n features"]:
        """Apply to every step alike."""
        gate, value = self.inner(x).chunk(2, dim=-1)
        return self.outer(nn.functional.silu(gate) * value)
