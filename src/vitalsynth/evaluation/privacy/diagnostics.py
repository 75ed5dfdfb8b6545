"""Distances between sets, as the literature reports them: diagnostics, not measures of privacy.

With d(x, A) the distance of x to its nearest other in A, of real x_i and synthetic y_j, as many of both,

    identifiability  share of x_i with d(x_i, Y) < d(x_i, X)             Yoon, Drumright, van der Schaar 2020 (ADS-GAN)
    authenticity     share of y_j farther from its nearest x_i than d(x_i, X)    Alaa et al. 2022, arXiv 2102.08921
    AA               [mean 1(d(x_i, Y) > d(x_i, X)) + mean 1(d(y_j, X) > d(y_j, Y))] / 2    Yale et al. 2020 (NNAA)

A perfect generator has an identifiability and an AA of 0.5, and an authenticity that grows with the dimension; useless
ones can have the same, and none of them sees one leaked patient. So each stands beside what other real data give, as
many of them, in the place of the synthetic.
"""

from __future__ import annotations

from sklearn.metrics import pairwise_distances_argmin_min

from ..fidelity import equal_parts
from .figures import Row, row
from .points import Parts, Points, nearest, points, view_of

MOST = 2000


def identifiability(real: Points, synthetic: Points) -> float:
    """Return the share of real sequences that have a synthetic one nearer than any other real one."""
    return float((nearest(real, synthetic)[:, 0] < nearest(real, real, own=False)[:, 0]).mean())


def authenticity(real: Points, synthetic: Points) -> float:
    """Return the share of synthetic sequences farther from a real one than that is from the other real ones."""
    apart = nearest(real, real, own=False)[:, 0]
    whose, distance = pairwise_distances_argmin_min(synthetic.x, real.x)
    return float((distance > apart[whose]).mean())


def adversarial_accuracy(real: Points, synthetic: Points) -> float:
    """Return how often a nearest-neighbour rule tells real from synthetic: 0.5 if it cannot, 0 for copies."""
    of_real = nearest(real, synthetic)[:, 0] > nearest(real, real, own=False)[:, 0]
    of_made = nearest(synthetic, real)[:, 0] > nearest(synthetic, synthetic, own=False)[:, 0]
    return float((of_real.mean() + of_made.mean()) / 2)


MEASURES = {
    "identifiability": identifiability,
    "authenticity": authenticity,
    "adversarial accuracy": adversarial_accuracy,
}


def diagnostics(parts: Parts, seed: int = 0) -> list[Row]:
    """Return each measure of members and synthetic sequences, and as `chance` that of members and other real ones.

    As many sequences of each are taken, at most 2,000; `about` has the measure of held-out and synthetic ones.
    """
    view = view_of(parts)
    sets = equal_parts([*parts.asked, parts.reference, parts.synthetic], MOST, seed)
    members, others, perfect, made = (points(view, part) for part in sets)
    return [
        row(
            name,
            measure(members, made),
            chance=measure(members, perfect),
            about=f"Held-out in the members' place: {measure(others, made):.2f} ({len(members.x)} sequences each).",
        )
        for name, measure in MEASURES.items()
    ]
