"""Closed forms: eigenvalues of games whose field of gradients is [[-g, c], [-c, -d]], and of steps along it.

c is how strongly the players push each other (the derivative of the loss at 0: 1/2 for logarithms, 1 for Wasserstein
and hinge), d what pulls the discriminator back, and g the generator. A field's eigenvalue λ has real part < 0 where it
attracts; a step of size h multiplies what is left by μ, and converges if |μ| < 1. Mescheder et al. 2018
(arXiv 1801.04406), Gidel et al. 2019 (arXiv 1802.10551, 1807.04740), Daskalakis et al. 2018 (arXiv 1711.00141),
Chavdarova et al. 2021 (arXiv 2006.14567); each was derived anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

Eigenvalues = list[complex]


def field(c: float, d: float = 0.0, g: float = 0.0) -> Eigenvalues:
    """Return -(d + g)/2 ± √((d - g)²/4 - c²): R1 and R2 of weight γ each add γ to d."""
    root = np.emath.sqrt((d - g) ** 2 / 4 - c**2)
    return [complex(-(d + g) / 2 + sign * root) for sign in (1, -1)]


def consensus(c: float, weight: float) -> Eigenvalues:
    """Return those of a rotating field, (0, c), with the gradient of (γ/2)‖v‖² taken off: -γ c² ± i c."""
    return [complex(-weight * c**2, sign * c) for sign in (1, -1)]


def simultaneous(fields: Eigenvalues, h: float) -> Eigenvalues:
    """Return 1 + h λ."""
    return [1 + h * each for each in fields]


def two_rates(c: float, d: float, h_generator: float, h_discriminator: float) -> Eigenvalues:
    """Return 1 - h_d d/2 ± √(h_d² d²/4 - h_g h_d c²), of players that move at once at rates of their own."""
    root = np.emath.sqrt((h_discriminator * d) ** 2 / 4 - h_generator * h_discriminator * c**2)
    return [complex(1 - h_discriminator * d / 2 + sign * root) for sign in (1, -1)]


def alternating(c: float, h: float, d: float = 0.0) -> Eigenvalues:
    """Return those of the discriminator's move and then the generator's: trace 2 - h d - h² c², determinant 1 - h d."""
    return quadratic(2 - h * d - (h * c) ** 2, 1 - h * d)


def lazy(c: float, h: float, d: float, every: int) -> Eigenvalues:
    """Return those of k alternating steps of which the first has k times the pull d, and the others none."""

    def step(d: float) -> np.ndarray:
        return np.array([[1 - (h * c) ** 2, h * c * (1 - h * d)], [-h * c, 1 - h * d]])

    return list(np.linalg.eigvals(np.linalg.matrix_power(step(0.0), every - 1) @ step(every * d)))


def extragradient(fields: Eigenvalues, h: float) -> Eigenvalues:
    """Return 1 + h λ + h² λ²."""
    return [1 + h * each + (h * each) ** 2 for each in fields]


def optimistic(fields: Eigenvalues, h: float) -> Eigenvalues:
    """Return (1 + 2 h λ ± √(1 + 4 h² λ²)) / 2: an optimistic step remembers, so there are two for each λ."""
    return list(chain.from_iterable(quadratic(1 + 2 * h * each, h * each) for each in fields))


def momentum(fields: Eigenvalues, h: float, beta: float) -> Eigenvalues:
    """Return the roots of μ² - (1 + β + h λ) μ + β, of players that move at once."""
    return list(chain.from_iterable(quadratic(1 + beta + h * each, beta) for each in fields))


def momentum_alternating(c: float, h: float, beta: float) -> Eigenvalues:
    """Return the roots of (μ - 1)² (μ - β)² + h² c² μ³."""
    both = np.polymul([1, -1], [1, -beta])
    return list(np.roots(np.polyadd(np.polymul(both, both), [(h * c) ** 2, 0, 0, 0])))


def lookahead(steps: Eigenvalues, every: int, share: float) -> Eigenvalues:
    """Return (1 - α) + α μᵏ."""
    return [1 - share + share * each**every for each in steps]


def quadratic(trace: complex, determinant: complex) -> Eigenvalues:
    """Return the roots of μ² - trace μ + determinant."""
    root = np.emath.sqrt(trace**2 - 4 * determinant)
    return [complex(trace + sign * root) / 2 for sign in (1, -1)]


def radius(eigenvalues: Sequence[complex]) -> float:
    """Return the largest modulus: by so much what is left is multiplied in the long run."""
    return float(np.abs(np.asarray(eigenvalues)).max())
