"""Membership: was this patient in the training set? Attacks that hold released samples, and nothing else of the run.

An attack is `attack(asked, synthetic, reference) -> (subjects,)`: from those in question, what was released, and other
real data of the same population, a score for every subject in question; higher is rather a member. With d_S and d_R the
distances to the nearest synthetic and reference sequence,

    closest     - d_S                          GAN-Leaks, black box (Chen et al. 2020, arXiv 1909.03935), ranks alike
    calibrated  d_R - d_S                      GAN-Leaks, calibrated by what lies near anyway
    ball        synthetic ones within eps      Monte Carlo (Hilprecht, Härterich and Bernau 2019, PoPETs)
    domias      log p_S - log p_R              local overfitting (van Breugel et al. 2023, DOMIAS, arXiv 2302.12580)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import KernelDensity

from .points import MEMORY, Points, nearest

Attack = Callable[[Points, Points, Points], Float[ndarray, " subjects"]]
COMPONENTS = 8


def closest(asked: Points, synthetic: Points, reference: Points) -> Float[ndarray, " subjects"]:
    """Score subjects by how near a synthetic sequence comes to one of theirs."""
    return asked.highest(-nearest(asked, synthetic)[:, 0])


def calibrated(asked: Points, synthetic: Points, reference: Points) -> Float[ndarray, " subjects"]:
    """Score subjects by how much nearer the synthetic sequences come than other real ones."""
    return asked.highest(nearest(asked, reference)[:, 0] - nearest(asked, synthetic)[:, 0])


def ball(asked: Points, synthetic: Points, reference: Points) -> Float[ndarray, " subjects"]:
    """Score subjects by how many synthetic sequences lie in a ball around one of theirs.

    Its radius is the median distance of those in question to the nearest synthetic sequence (the paper's heuristic).
    """
    radius = np.median(nearest(asked, synthetic)[:, 0])

    def within(distances: ndarray, start: int) -> ndarray:
        return (distances <= radius).mean(axis=1)

    chunks = pairwise_distances_chunked(asked.x, synthetic.x, reduce_func=within, working_memory=MEMORY)
    return asked.highest(np.concatenate(list(chunks)))


def domias(asked: Points, synthetic: Points, reference: Points) -> Float[ndarray, " subjects"]:
    """Score subjects by the ratio of the densities of synthetic and reference sequences at theirs.

    Densities are kernel estimates on the first 8 whitened principal components of both sets: in hundreds of dimensions
    every kernel estimate is its nearest neighbour, and that ratio is `calibrated`. So this one sees what is overfitted
    in a region, the other single copies. Bandwidth: n^(-1 / (d + 4)) (Scott), for each set its own.
    """
    seen = np.concatenate([synthetic.x, reference.x])
    components = PCA(min(COMPONENTS, *seen.shape), whiten=True, random_state=0).fit(seen)
    at, *sets = (components.transform(part.x) for part in (asked, synthetic, reference))
    made, real = (_log_density(x, at) for x in sets)
    return asked.highest(made - real)


def _log_density(x: Float[ndarray, "n d"], at: Float[ndarray, "m d"]) -> Float[ndarray, " m"]:
    return KernelDensity(bandwidth=len(x) ** (-1 / (x.shape[1] + 4))).fit(x).score_samples(at)


ATTACKS: dict[str, Attack] = {
    "closest synthetic": closest,
    "calibrated GAN-Leaks": calibrated,
    "ball count": ball,
    "DOMIAS": domias,
}


def above_expected(attack: Attack, expected: Float[ndarray, " subjects"]) -> Attack:
    """Return an attack whose scores are less what generators that never saw each subject give it.

    That is the likelihood ratio attack, offline, with one variance for all, as is best for few shadow models (Carlini
    et al. 2022, LiRA, arXiv 2112.03570).
    """
    return lambda asked, synthetic, reference: attack(asked, synthetic, reference) - expected
