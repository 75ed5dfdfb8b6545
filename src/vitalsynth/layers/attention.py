"""Attention over time (Vaswani et al. 2017, arXiv 1706.03762), normalised before each part (Xiong et al. 2020)."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from .basic import Dropout, GatedPerceptron, RMSNorm


class Transformer(nn.Module):
    """Layers of attention and perceptron, over inputs to which the place in time has been added.

    Args:
        inputs: Width of the inputs.
        width: Of the features.
        layers: How many, one on top of the other.
        heads: Of every attention; they share the width.
        dropout: Share of features that each part of a layer leaves out, the same ones at every step.
        causal: A step sees itself and what came before it only.
        penalised: Use the kernel that can be differentiated twice, as gradient penalties need; its memory grows with
            the square of the length.
    """

    def __init__(
        self, inputs: int, width: int, layers: int, heads: int, dropout: float, *, causal: bool, penalised: bool
    ) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(_Layer(width, heads, dropout, causal, penalised) for _ in range(layers))

    def forward(self, x: Float[Tensor, "n length inputs"]) -> Float[Tensor, "n length width"]:
        """Return the features of every step."""
        features = self.first(x)
        features = features + places(x.shape[1], features.shape[2]).to(features)
        for layer in self.layers:
            features = layer(features)
        return features


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float, causal: bool, penalised: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList([RMSNorm(width), RMSNorm(width)])
        self.attention = Attention(width, heads, causal, penalised)
        self.perceptron = GatedPerceptron(width, 2 * width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "n length width"]) -> Float[Tensor, "n length width"]:
        x = x + self.dropout(self.attention(self.norms[0](x)))
        return x + self.dropout(self.perceptron(self.norms[1](x)))


class Attention(nn.Module):
    """softmax(Q Kᵀ / √d) V in several heads of d features each.

    Raises:
        ValueError: if the heads cannot share the width.
    """

    def __init__(self, width: int, heads: int, causal: bool, penalised: bool) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads cannot share a width of {width}; it must be a multiple of their number")
        self.heads, self.causal, self.penalised = heads, causal, penalised
        self.inner = nn.Linear(width, 3 * width)
        self.outer = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "n length width"]) -> Float[Tensor, "n length width"]:
        """Let every step look at the others."""
        query, key, value = self.inner(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # The fused kernels have no double backward; PyTorch's own arithmetic has.
        with sdpa_kernel(SDPBackend.MATH) if self.penalised else nullcontext():
            seen = scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.outer(seen.transpose(1, 2).flatten(2))


def places(length: int, width: int) -> Float[Tensor, "length width"]:
    """Return sines and cosines of the time, of periods from 2π steps to 10,000 times that."""
    periods = torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
    angles = torch.arange(length)[:, None] * periods
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]
