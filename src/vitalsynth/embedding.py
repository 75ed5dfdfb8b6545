"""What is known of the data is one mean, which costs privacy once; a generator learns from it for nothing ever after.

    M = 1/N Σ_i φ(x_i) ψ(c_i)ᵀ + noise,   the generator minimises ‖M - E φ(G(z, c)) ψ(c)ᵀ‖²

φ are random Fourier features (Rahimi and Recht 2007), so that the distance is the maximum mean discrepancy of a kernel
(Gretton et al. 2012); released with noise it is DP-MERF (Harder, Adamczewski and Park 2021, arXiv 2002.11603). Here a
feature sees a random window of steps and columns, at a random scale: what is near in time, or on a picture, is
known finely, and what is far apart coarsely. |φ| = |ψ| = 1, so one patient changes the sum by at most 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .discriminators import Discriminator, Total
from .objectives import Batch, Objective
from .seeds import derive
from .sequences import Encoded, Shape

AT_ONCE = 1000
"""Sequences whose features are held at once."""


class Embedding(Discriminator):
    """A mean of random features of the data, in the place of a discriminator; it learns nothing else of them, ever.

    Its score is what that mean says of a sequence, the witness function of Gretton et al. 2012.
    """

    frequencies: Tensor
    mean: Tensor
    met: Tensor

    def __init__(self, shape: Shape, features: int = 2000, coarse: float = 0.5, fine: float = 4.0) -> None:
        """Build the features, the same ones for any seed.

        Args:
            shape: Of the encoded data.
            features: Frequencies, each a cosine and a sine.
            coarse: Smallest scale: of windows that change by 1 in every column, the phase changes by as much.
            fine: Largest scale.
        """
        super().__init__()
        if features < 1 or not 0 < coarse <= fine:
            raise ValueError(
                f"features must be at least 1 and coarse above 0, and at most fine, got {features}, {coarse} and {fine}"
            )
        random = torch.Generator().manual_seed(derive(0, "embedding"))
        self.register_buffer("frequencies", _frequencies(shape, features, coarse, fine, random), persistent=False)
        self.register_buffer("mean", torch.zeros(1 + shape.condition, 2 * features))
        self.register_buffer("met", torch.zeros(()))

    def features(self, encoded: Encoded) -> Float[Tensor, "n features"]:
        """Return φ, of norm 1."""
        phase = torch.cat([encoded.x.flatten(1), encoded.s], dim=1) @ self.frequencies
        return torch.cat([phase.cos(), phase.sin()], dim=1) / math.sqrt(phase.shape[1])

    def told(self, condition: Float[Tensor, "n condition"]) -> Float[Tensor, "n told"]:
        """Return ψ: 1 and the condition, scaled to norm 1."""
        return nn.functional.normalize(nn.functional.pad(condition, (1, 0), value=1.0))

    def total(
        self, encoded: Encoded, index: Int[Tensor, " m"], weights: Float[Tensor, " m"]
    ) -> Float[Tensor, "told features"]:
        """Return the weighted sum over some sequences; each adds at most its weight, in norm."""
        out = torch.zeros_like(self.mean)
        for few, weight in zip(index.split(AT_ONCE), weights.split(AT_ONCE), strict=True):
            part = encoded.take(few)
            out += (weight[:, None] * self.told(part.condition)).t() @ self.features(part)
        return out

    def know(self, real: Encoded, mean: Callable[[Total], Tensor]) -> None:
        """Learn the mean, once."""
        if not self.met:
            self.learn(mean(partial(self.total, real)))

    def learn(self, mean: Float[Tensor, "told features"]) -> None:
        """Take a mean for that of the data."""
        self.mean.copy_(mean)
        self.met.fill_(1)

    def forward(self, encoded: Encoded, condition: Float[Tensor, "n condition"]) -> Float[Tensor, " n"]:
        """Score sequences."""
        return (self.features(encoded) * (self.told(condition) @ self.mean)).sum(dim=1)


class Matching(Objective):
    """One player, the generator, whose mean features shall be those that an `Embedding` knows of the data."""

    private = True

    def players(self, step: int) -> tuple[str, ...]:
        """The generator alone."""
        return ("generator",)

    def loss(self, player: str, networks: Mapping[str, nn.Module], batch: Batch, step: int) -> dict[str, Tensor]:
        """Squared distance to the mean, without bias from the batch; what conditions are rare counts as much more."""
        embedding: Any = networks.get("discriminator")
        if not isinstance(embedding, Embedding):
            raise ValueError("Matching needs to know a mean of the data: --discriminator Embedding")
        condition = batch.real.condition
        told, drawn = embedding.told(condition), embedding.features(networks["generator"](batch.noise, condition))
        n, often = len(told), told.square().mean(dim=0).clamp(min=1e-3)
        mean = told.t() @ drawn / n
        squared = lambda part: (part.square().sum(dim=1) / often).sum()  # noqa: E731
        own = (told.square() / often).sum()  # of each sequence with itself
        among = (n * n * squared(mean) - own) / (n * max(1, n - 1))
        towards = ((mean * embedding.mean).sum(dim=1) / often).sum()
        return {"discrepancy": among - 2 * towards + squared(embedding.mean)}


def _frequencies(
    shape: Shape, features: int, coarse: float, fine: float, random: torch.Generator
) -> Float[Tensor, "inputs features"]:
    """Return normal weights on random windows, all else 0: of times, and of a row's places or of any columns."""
    uniform = lambda *size: torch.rand(*size, generator=random)  # noqa: E731
    times = _windows(shape.length, features, uniform)[:, :, None]
    if shape.row > 1:
        columns = _windows(shape.row, features, uniform).repeat_interleave(shape.channels // shape.row, dim=1)
    else:
        columns = _some(shape.channels, features, uniform)
    seen = torch.cat([(times & columns[:, None]).flatten(1), _some(shape.statics, features, uniform)], dim=1)
    weights = torch.randn(seen.shape, generator=random) * seen / seen.sum(dim=1, keepdim=True).clamp(min=1).sqrt()
    return (weights * (coarse * (fine / coarse) ** uniform(features, 1))).t().contiguous()


def _windows(length: int, count: int, uniform: Any) -> Tensor:
    """Return random windows, their widths spread evenly on a logarithmic scale."""
    width = (length ** uniform(count, 1)).round()
    start = (uniform(count, 1) * (length - width + 1)).floor()
    place = torch.arange(length)
    return (place >= start) & (place < start + width)


def _some(columns: int, count: int, uniform: Any) -> Tensor:
    """Return random sets of columns, their sizes spread likewise."""
    size = (max(columns, 1) ** uniform(count, 1)).round()
    return uniform(count, columns).argsort(dim=1) < size
