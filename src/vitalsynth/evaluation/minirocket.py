"""MiniRocket: features of sequences from 84 fixed kernels (Dempster, Schmidt and Webb 2021, arXiv 2012.08791).

The kernels are all the ways to give three of nine places the weight 2 and the others -1. With a dilation d and some of
the channels, each gives as many features as it has biases b,

    PPV = mean over t of [z(t) > b],   z(t) = sum_{c, i} w[i] x[c, t + (i - 4) d]

where every other kernel looks at the whole sequence, with zeros around it, and the rest only at where it fits. Biases
are quantiles of z of random training sequences. As the authors' multivariate version, and aeon's, do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

SIZE = 9
PLACES = np.array(list(combinations(range(SIZE), 3)))
KERNELS = len(PLACES)
DILATIONS = 32
"""Most dilations of a kernel."""
CHUNK = 25_000_000
"""Numbers held at once: about 100 MB."""


@dataclass(frozen=True, eq=False)
class MiniRocket:
    """Fitted features: one entry per dilation in each of its parts.

    Args:
        dilations: Steps between neighbouring weights.
        channels: `(84, channels)` which ones a kernel looks at.
        biases: `(84, count)`, of which later dilations have fewer.
    """

    dilations: tuple[int, ...]
    channels: tuple[Bool[ndarray, "kernels channels"], ...]
    biases: tuple[Float[ndarray, "kernels _"], ...]

    @classmethod
    def fit(cls, x: Float[ndarray, "n length channels"], features: int, seed: int = 0) -> MiniRocket:
        """Draw channels, and read biases off random sequences; `features` are rounded down to a multiple of 84."""
        rng = np.random.default_rng(seed)
        series = _series(x)
        dilations, counts = spread(series.shape[2], max(1, features // KERNELS))
        width = series.shape[1]
        golden = np.arange(1, KERNELS * sum(counts) + 1) * (np.sqrt(5) + 1) / 2 % 1
        quantiles = np.split(golden, KERNELS * np.cumsum(counts)[:-1])
        channels, biases = [], []
        for dilation, count, asked in zip(dilations, counts, quantiles, strict=True):
            looked_at = (2 ** rng.uniform(0, np.log2(min(width, SIZE) + 1), KERNELS)).astype(int)
            ranks = rng.random((KERNELS, width)).argsort(axis=1).argsort(axis=1)
            channels.append(ranks < looked_at[:, None])
            chosen = series[torch.from_numpy(rng.integers(len(series), size=KERNELS))]
            z = [_convolved(chosen[k : k + 1], channels[-1], dilation)[0, k].numpy() for k in range(KERNELS)]
            shares = asked.reshape(KERNELS, count)
            biases.append(np.stack([np.quantile(z[k], shares[k]) for k in range(KERNELS)]))
        return cls(tuple(dilations), tuple(channels), tuple(biases))

    def transform(self, x: Float[ndarray, "n length channels"]) -> Float[ndarray, "n features"]:
        """Return the share of steps at which each kernel exceeds each of its biases."""
        series = _series(x)
        chunk = max(1, CHUNK // (3 * KERNELS * series.shape[2]))
        with torch.inference_mode():
            return torch.cat([self._transform(part) for part in series.split(chunk)]).double().numpy()

    def _transform(self, series: Float[Tensor, "n channels length"]) -> Float[Tensor, "n features"]:
        parts = []
        for j, (dilation, channels, biases) in enumerate(zip(self.dilations, self.channels, self.biases, strict=True)):
            z = _convolved(series, channels, dilation)
            inside = z[:, :, 4 * dilation : z.shape[2] - 4 * dilation]
            padded = torch.arange(KERNELS) % 2 == j % 2
            shares = torch.empty(len(z), *biases.shape)
            for k, bias in enumerate(torch.tensor(biases, dtype=torch.float32).T[..., None]):
                shares[:, padded, k] = (z[:, padded] > bias[padded]).float().mean(dim=2)
                shares[:, ~padded, k] = (inside[:, ~padded] > bias[~padded]).float().mean(dim=2)
            parts.append(shares.flatten(1))
        return torch.cat(parts, dim=1)


def spread(length: int, count: int) -> tuple[list[int], list[int]]:
    """Return dilations, from 1 up to what just fits, and how many of a kernel's features have each."""
    exponents = np.linspace(0, np.log2((length - 1) / (SIZE - 1)), min(count, DILATIONS))
    dilations, times = np.unique((2**exponents).astype(int), return_counts=True)
    counts = times * count // min(count, DILATIONS)
    for i in range(count - counts.sum()):
        counts[i % len(counts)] += 1
    return dilations.tolist(), counts.tolist()


def _series(x: Float[ndarray, "n length channels"]) -> Float[Tensor, "n channels steps"]:
    """Put channels before steps; what is shorter than a kernel is followed by zeros."""
    short = max(0, SIZE - x.shape[1])
    padded = np.pad(x, ((0, 0), (0, short), (0, 0))).transpose(0, 2, 1)
    return torch.from_numpy(np.ascontiguousarray(padded, dtype=np.float32))


def _convolved(
    series: Float[Tensor, "n channels length"], channels: Bool[ndarray, "kernels channels"], dilation: int
) -> Float[Tensor, "n kernels length"]:
    weights = np.full((KERNELS, SIZE), -1.0)
    np.put_along_axis(weights, PLACES, 2.0, axis=1)
    kernels = torch.tensor(weights[:, None, :] * channels[:, :, None], dtype=torch.float32)
    return torch.nn.functional.conv1d(series, kernels, padding=4 * dilation, dilation=dilation)
