"""TS2Vec: an encoder of sequences learned by contrast (Yue et al. 2022, arXiv 2106.10466).

Two overlapping crops of a sequence, with half of the steps masked, are to have the same representation where they
overlap: more alike than other sequences of the batch are at that step, and more alike than other steps of that sequence
are; at every scale of time, by pooling two steps into one again and again. With dot products for likeness,

    loss = mean over scales of (contrast among sequences + contrast among steps) / 2

Smaller than the authors' (width 32 for 64, 64 outputs for 320, as many dilated convolutions as the length needs for
10), and without averaged weights and crops shifted by sequence.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor, nn

WIDTH, OUTPUTS = 32, 64
ITERATIONS, BATCH, RATE = 200, 16, 1e-3


class Encoder(nn.Module):
    """A linear map of every step, which a mask may hide, and residual pairs of dilated convolutions."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, WIDTH)
        depth = max(1, int(np.ceil(np.log2(length))))
        self.blocks = nn.ModuleList(_Block(2**k, OUTPUTS if k == depth - 1 else WIDTH) for k in range(depth))

    def forward(
        self, x: Float[Tensor, "n length channels"], shown: Bool[Tensor, "n length"] | None = None
    ) -> Float[Tensor, "n length outputs"]:
        """Return a representation of every step."""
        z = self.enter(x)
        z = (z if shown is None else z * shown[..., None]).transpose(1, 2)
        for block in self.blocks:
            z = block(z)
        return z.transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, dilation: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(WIDTH, outputs, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv1d(outputs, outputs, 3, padding=dilation, dilation=dilation)
        self.past = nn.Identity() if outputs == WIDTH else nn.Conv1d(WIDTH, outputs, 1)

    def forward(self, x: Float[Tensor, "n width length"]) -> Float[Tensor, "n outputs length"]:
        gelu = nn.functional.gelu
        return self.past(x) + self.second(gelu(self.first(gelu(x))))


def contrast(first: Float[Tensor, "n groups width"], second: Float[Tensor, "n groups width"]) -> Float[Tensor, ""]:
    """Return the mean error of telling, within each group, which of the other items is an item in its other view."""
    both = torch.cat([first, second]).transpose(0, 1)
    items = both.shape[1]
    alike = (both @ both.transpose(1, 2)).masked_fill(torch.eye(items, dtype=torch.bool), float("-inf"))
    other = torch.arange(items).roll(items // 2).repeat(len(both))
    return nn.functional.cross_entropy(alike.flatten(0, 1), other)


def hierarchical(first: Float[Tensor, "n length width"], second: Float[Tensor, "n length width"]) -> Float[Tensor, ""]:
    """Return the mean over scales of the contrasts among sequences and among steps, half each."""
    losses = []
    while True:
        losses.append(contrast(first, second) / 2)
        if first.shape[1] == 1:
            return torch.stack(losses).mean()
        losses[-1] = losses[-1] + contrast(first.transpose(0, 1), second.transpose(0, 1)) / 2
        first, second = (nn.functional.max_pool1d(z.transpose(1, 2), 2).transpose(1, 2) for z in (first, second))


def learn(x: Float[ndarray, "n length channels"], iterations: int = ITERATIONS, seed: int = 0) -> Encoder:
    """Train an encoder on sequences of at least 2 steps."""
    rng = np.random.default_rng(seed)
    series = torch.from_numpy(x).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(x.shape[2], x.shape[1])
        optimizer = torch.optim.AdamW(encoder.parameters(), RATE)
        for _ in range(iterations):
            batch = series[torch.from_numpy(rng.permutation(len(series))[:BATCH])]
            loss = hierarchical(*_overlap(encoder, batch, rng))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return encoder.eval()


def _overlap(
    encoder: Encoder, batch: Float[Tensor, "n length channels"], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return what the encoder makes of the overlap of two random crops, seen within each of them."""
    length = batch.shape[1]
    size = int(rng.integers(2, length + 1))
    begin = int(rng.integers(length - size + 1))
    before, after = int(rng.integers(begin + 1)), int(rng.integers(begin + size, length + 1))
    crops = batch[:, before : begin + size], batch[:, begin:after]
    left, right = (encoder(crop, torch.rand(crop.shape[:2]) < 0.5) for crop in crops)
    return left[:, -size:], right[:, :size]


def embed(encoder: Encoder, x: Float[ndarray, "n length channels"]) -> Float[ndarray, "n outputs"]:
    """Return one representation of each sequence: the largest of its steps'."""
    with torch.inference_mode():
        parts = torch.from_numpy(x).float().split(500)
        return torch.cat([encoder(part).amax(dim=1) for part in parts]).double().numpy()
