"""Everything random, derived from (seed, step) by a digest: no random state and no place in the data is ever kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def derive(seed: int, *parts: int | str) -> int:
    """Return a 63-bit seed that depends on all parts, by SHA-256 (unlike `hash`, the same in every process)."""
    text = "/".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_torch(seed: int) -> None:
    """Seed PyTorch's random numbers, on the processor and on GPUs in use, to what `torch.manual_seed` seeds them.

    That writes down the whole call stack for every kind of device that is not in use, which takes 0.16 ms.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@lru_cache(maxsize=8)
def _order(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)


def batch_index(seed: int, step: int, turn: int, batch: int, count: int) -> Tensor:
    """Return which sequences a turn sees: the data in an order shuffled anew each epoch, cut into batches.

    Every turn of a step has its own order, so that what one player has seen does not depend on the others.
    """
    return torch.from_numpy(_shuffled(np.arange(step * batch, (step + 1) * batch), count, seed, "order", turn))


def balanced_index(seed: int, step: int, turn: int, batch: int, groups: Sequence[np.ndarray]) -> Tensor:
    """Return which sequences a turn sees if groups are to be equally frequent: they take turns, from batch to batch.

    Each is shuffled anew whenever all of it has been seen, so that the members of small ones come the more often.
    """
    positions = np.arange(step * batch, (step + 1) * batch)
    index = np.empty(batch, dtype=np.int64)
    for j, members in enumerate(groups):
        mine = positions % len(groups) == j
        index[mine] = members[
            _shuffled(positions[mine] // len(groups), len(members), seed, "order", turn, f"group {j}")
        ]
    return torch.from_numpy(index)


def _shuffled(positions: np.ndarray, count: int, seed: int, *parts: int | str) -> np.ndarray:
    """Return what is at these positions of so many, shuffled again and again; positions ascend."""
    epochs = positions // count
    found = [_order(derive(seed, *parts, int(e)), count)[positions[epochs == e] % count] for e in np.unique(epochs)]
    return np.concatenate([np.empty(0, dtype=np.int64), *found])
