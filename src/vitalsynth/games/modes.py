"""How many of the known modes of a law a generator has caught, and how evenly.

The test of Stacked-MNIST (Metz et al. 2017, arXiv 1611.02163; Lin et al. 2018, arXiv 1712.04086), with modes that need
no classifier: as many narrow normal laws as are wanted, on a ring or a square grid. A sample belongs to a mode if it
lies within three standard deviations of its centre; a mode is caught if any sample does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def ring(count: int = 8) -> Float[ndarray, "modes 2"]:
    """Return centres on a circle of radius 1."""
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def grid(side: int = 5) -> Float[ndarray, "modes 2"]:
    """Return centres on a square grid from -1 to 1."""
    line = np.linspace(-1, 1, side)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def draw(centres: Float[ndarray, "modes 2"], count: int, std: float, seed: int = 0) -> Float[ndarray, "n 2"]:
    """Draw points, each mode as often as any other."""
    rng = np.random.default_rng(seed)
    return centres[rng.integers(len(centres), size=count)] + std * rng.standard_normal((count, 2))


@dataclass(frozen=True)
class Caught:
    """What a generator has caught.

    Args:
        modes: How many modes have a sample.
        near: Share of the samples that belong to a mode.
        divergence: KL of how often modes are drawn from all alike, in nats; infinite if no sample belongs to any.
    """

    modes: int
    near: float
    divergence: float


def caught(samples: Float[ndarray, "n 2"], centres: Float[ndarray, "modes 2"], std: float) -> Caught:
    """Count the modes that samples have caught."""
    distances = np.linalg.norm(samples[:, None] - centres, axis=2)
    nearest = distances.argmin(axis=1)[distances.min(axis=1) <= 3 * std]
    shares = np.bincount(nearest, minlength=len(centres)) / max(1, len(nearest))
    there = shares[shares > 0]
    divergence = float((there * np.log(there * len(centres))).sum()) if len(nearest) else float("inf")
    return Caught(len(there), len(nearest) / len(samples), divergence)
