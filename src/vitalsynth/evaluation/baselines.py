"""Generators that learn next to nothing: what every model must beat, and a copy, which every judge should flag.

Each is `(train, count, seed) -> Sequences`, for any data: gaps, categories, statics and lengths go through the same
preparation as a model's. A Gaussian fitted to whole windows passes many a published score (`literature`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy import ndarray

from ..preparation import Preparation
from ..sequences import Encoded, Sequences

BLOCKS = 4


def copy(train: Sequences, count: int, seed: int = 0) -> Sequences:
    """Return training sequences as they are, each once before any comes twice: faithful, and private to nobody."""
    order = np.random.default_rng(seed).permutation(len(train))
    return train.take(np.sort(np.resize(order, count)))


def block_bootstrap(train: Sequences, count: int, seed: int = 0) -> Sequences:
    """Return sequences whose quarters of time each come from another training sequence, statics as of the first."""
    preparation = Preparation.fit(train)
    encoded = preparation.encode(train)
    chosen = np.random.default_rng(seed).integers(len(train), size=(BLOCKS, count))
    blocks = np.array_split(encoded.x.numpy(), BLOCKS, axis=1)
    x = np.concatenate([block[own] for block, own in zip(blocks, chosen, strict=True)], axis=1)
    return _decoded(preparation, encoded, x, encoded.s.numpy()[chosen[0]])


def gaussian(train: Sequences, count: int, seed: int = 0) -> Sequences:
    """Return draws from the normal distribution with mean and covariance of all encoded steps and statics at once."""
    preparation = Preparation.fit(train)
    encoded = preparation.encode(train)
    flat = torch.cat([encoded.x.flatten(1), encoded.s], dim=1).double().numpy()
    law = flat.mean(axis=0), np.cov(flat, rowvar=False)
    drawn = np.random.default_rng(seed).multivariate_normal(*law, count, method="eigh")
    x, s = np.split(drawn.astype(np.float32), [encoded.x[0].numel()], axis=1)
    return _decoded(preparation, encoded, x.reshape(count, *encoded.x.shape[1:]), s)


BASELINES: dict[str, Callable[[Sequences, int, int], Sequences]] = {
    "copy": copy,
    "block-bootstrap": block_bootstrap,
    "gaussian": gaussian,
}


def _decoded(preparation: Preparation, like: Encoded, x: ndarray, s: ndarray) -> Sequences:
    drawn = Encoded(torch.from_numpy(x), torch.from_numpy(s), like.condition[:1].expand(len(x), -1))
    return preparation.decode(drawn, within_extremes=True)
