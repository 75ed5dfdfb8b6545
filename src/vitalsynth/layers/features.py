"""Features of sequences that nobody learns."""

from __future__ import annotations

import math
from itertools import takewhile

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..sequences import Encoded, Shape, last_measured

SIZES = (2, 3, 5, 9)
"""Lengths of the kernels; every one comes at every dilation 1, 2, 4, ... that a sequence has room for."""
PLACES = 4096
"""Most numbers of the sequence itself where there are no gaps: a longer one is averaged over neighbouring steps."""
SHARPNESS = 4.0
BOUND = 8.0


class RandomFeatures(nn.Module):
    """What random convolutions find in a sequence, and the sequence itself, all at unit scale.

    A kernel gives three numbers: the mean of σ(4(z - b)) for a random threshold b, the largest z, and the mean of z²,
    where z are its outputs at unit scale (after ROCKET, whose features these are but for the smooth step and the mean
    square; Dempster, Petitjean and Webb 2020, arXiv 1910.13051). Most kernels have weights of mean 0, so that small
    quick changes weigh no less than large slow ones. Every feature is then brought to unit scale, once, on real
    sequences, and bounded smoothly, f / (1 + |f|/8).

    With `carry` a value that was not measured is seen as the last one before it that was, as judges see it, rather than
    as the 0 it is encoded as: kernels then see how values went, and the masks, which stay as they are, when they were
    measured. Where there is anything to carry, the sequence itself is told in no more numbers than the kernels give,
    averaged over time: of single hours in which a single variable may have been measured there can be thousands, and
    nothing else would be heard among them.

    Args:
        shape: Of the encoded data.
        kernels: Number of kernels, rounded up so that every size and dilation has as many.
        carry: Carry what was measured forward into gaps.
    """

    def __init__(self, shape: Shape, kernels: int, carry: bool = False) -> None:
        super().__init__()
        gates = [block.gate if carry else None for block in shape.x for _ in range(block.width)]
        self.gated = {column: gate for column, gate in enumerate(gates) if gate is not None}
        self.alive = shape.alive
        room = lambda size: takewhile(lambda d: (size - 1) * d < shape.length, (2**k for k in range(32)))  # noqa: E731
        self.dilations = [dilation for size in SIZES for dilation in room(size)] or [1]
        sizes = [size for size in SIZES for _ in room(size)] or [1]
        each = -(-kernels // len(sizes))
        for k, size in enumerate(sizes):
            self.register_buffer(f"weights{k}", _kernels(each, shape.channels, size))
        count = each * len(sizes)
        places = 3 * count if self.gated else PLACES
        self.steps = max(1, min(shape.length, places // shape.channels))
        self.width = 3 * count + self.steps * shape.channels + shape.statics
        self.threshold: Tensor
        self.output_mean: Tensor
        self.output_scale: Tensor
        self.feature_mean: Tensor
        self.feature_scale: Tensor
        self.met: Tensor
        self.register_buffer("threshold", torch.randn(count))
        for name, width in (("output", count), ("feature", self.width)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_scale", torch.ones(width))
        self.register_buffer("met", torch.zeros(()))

    def meet(self, real: Encoded) -> None:
        """Bring outputs and features to unit scale on real sequences, unless that has been done."""
        if self.met:
            return
        with torch.no_grad():
            self._settle("output", [z.transpose(0, 1).flatten(1) for z in self._outputs(self._carried(real.x))])
            self._settle("feature", [self._features(real).T])
            self.met.fill_(1)

    def _settle(self, name: str, found: list[Float[Tensor, "_ _"]]) -> None:
        mean, scale = torch.cat([z.mean(dim=1) for z in found]), torch.cat([z.std(dim=1, correction=0) for z in found])
        getattr(self, f"{name}_mean").copy_(mean)
        getattr(self, f"{name}_scale").copy_(scale.clamp(min=1e-2))  # what never varies is seen as soon as it does

    def forward(self, encoded: Encoded) -> Float[Tensor, "n width"]:
        """Return all features."""
        features = (self._features(encoded) - self.feature_mean) / self.feature_scale
        return features / (1 + features.abs() / BOUND)

    def _carried(self, x: Float[Tensor, "n length channels"]) -> Float[Tensor, "n length channels"]:
        """Return sequences with the last measured value in every gap; 0 before the first, and after the end."""
        if not self.gated:
            return x
        seen = x.clone()
        columns, masks = list(self.gated), list(self.gated.values())
        seen[..., columns] = last_measured(x[..., columns], x[..., masks])
        return seen if self.alive is None else seen * x[..., self.alive, None]

    def _outputs(self, x: Float[Tensor, "n length channels"]) -> list[Tensor]:
        """Return what the kernels of each size and dilation give, `(n, kernels, steps)`."""
        series = x.transpose(1, 2)
        return [
            nn.functional.conv1d(series, getattr(self, f"weights{k}"), dilation=dilation)
            for k, dilation in enumerate(self.dilations)
        ]

    def _features(self, encoded: Encoded) -> Float[Tensor, "n width"]:
        x = self._carried(encoded.x)
        outputs = self._outputs(x)
        found: list[list[Tensor]] = [[], [], []]
        parts = (self.output_mean, self.output_scale, self.threshold)
        for z, mean, scale, threshold in zip(outputs, *(part.chunk(len(outputs)) for part in parts), strict=True):
            z = (z - mean[:, None]) / scale[:, None]
            found[0].append(torch.sigmoid(SHARPNESS * (z - threshold[:, None])).mean(dim=2))
            found[1].append(z.max(dim=2).values)
            found[2].append(z.square().mean(dim=2))
        if self.steps < x.shape[1]:
            x = nn.functional.adaptive_avg_pool1d(x.transpose(1, 2), self.steps)
        return torch.cat([*(part for kind in found for part in kind), x.flatten(1), encoded.s], dim=1)


def _kernels(count: int, channels: int, size: int) -> Float[Tensor, "count channels size"]:
    """Draw kernels, most of mean 0, that look at a few channels, their number uniform in the logarithm."""
    weights = torch.randn(count, channels, size)
    if size > 1:
        weights = torch.where(torch.rand(count, 1, 1) < 0.8, weights - weights.mean(dim=2, keepdim=True), weights)
    looked_at = torch.exp2(torch.rand(count, 1) * math.log2(channels + 1)).floor()
    order = torch.rand(count, channels).argsort(dim=1).argsort(dim=1)
    return weights * (order < looked_at)[:, :, None]
