"""Everything random, derived from (seed, step) by a digest: no random state and no place in the data is ever kept."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def derive(seed: int, *parts: int | str) -> int:
    """Return a 63-bit seed that depends on all parts, by SHA-256 (unlike `hash`, the same in every process)."""
    text = "/".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@lru_cache(maxsize=8)
def _order(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)


def batch_index(seed: int, step: int, turn: int, batch: int, count: int) -> Tensor:
    """Return which sequences a turn sees: the data in an order shuffled anew each epoch, cut into batches.

    Every turn of a step has its own order, so that what one player has seen does not depend on the others.
    """
    positions = np.arange(step * batch, (step + 1) * batch)
    epochs = positions // count
    parts = [
        _order(derive(seed, "order", turn, int(e)), count)[positions[epochs == e] % count] for e in np.unique(epochs)
    ]
    return torch.from_numpy(np.concatenate(parts))
