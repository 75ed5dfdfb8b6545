"""Signatures of paths: all iterated integrals up to a depth.

    S(x)_{i1 ... ik} = integral over t1 < ... < tk of dx_{i1}(t1) ... dx_{ik}(tk)

They tell a path up to where it stands still, and their expectation tells a law of paths (Chevyrev and Oberhauser 2022,
arXiv 1810.10971). Of a straight line of increment d, level k is d^k / k! (a tensor power); of two paths one after the
other, S is the tensor product of both (Chen's identity), which is how it is computed, step by step.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def augmented(x: Float[ndarray, "n length width"]) -> Float[ndarray, "n more wider"]:
    """Put time, from 0 to 1, beside the channels, and the origin before the first step.

    Time makes a path tell how fast it was run through, the origin makes it tell where it lies.
    """
    time = np.broadcast_to(np.linspace(0, 1, x.shape[1] + 1)[:, None], (len(x), x.shape[1] + 1, 1))
    return np.concatenate([time, np.pad(x, ((0, 0), (1, 0), (0, 0)))], axis=2)


def signature(path: Float[ndarray, "n length width"], depth: int) -> Float[ndarray, "n features"]:
    """Return the levels 1 to `depth` of the signature of piecewise linear paths: width + ... + width^depth numbers."""
    n, _, width = path.shape
    levels = [np.ones((n, 1)), *(np.zeros((n, width**k)) for k in range(1, depth + 1))]
    for step in np.diff(path, axis=1).transpose(1, 0, 2):
        for k in range(depth, 0, -1):  # from above, so that lower levels are still those before this step
            levels[k] = _extended(levels, step, k)
    return np.concatenate(levels[1:], axis=1)


def _extended(
    levels: list[Float[ndarray, "n _"]], step: Float[ndarray, "n width"], k: int
) -> Float[ndarray, "n features"]:
    """Return level k of the levels times exp(step): the sum over j of level j times step^(k - j) / (k - j)!.

    As ((step / k + level 1) step / (k - 1) + level 2) ... + level k.
    """
    out = levels[0]
    for j in range(1, k + 1):
        out = (out[:, :, None] * step[:, None, :]).reshape(len(step), -1) / (k - j + 1) + levels[j]
    return out
