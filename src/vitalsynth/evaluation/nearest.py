"""Who is nearest: the real sequences that each synthetic one is closest to, and how close real ones are to each other.

Distances are root mean square differences over all steps, channels and statics, in standard deviations of the training
set, gaps carried forward and masks compared too (`features.View`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float, Int
from numpy import ndarray

from ..sequences import Sequences
from .features import View
from .fidelity import equal_parts


@dataclass(frozen=True, eq=False)
class Nearest:
    """Nearest real neighbours of synthetic sequences.

    Args:
        train: The training sequences that were looked among.
        test: The held-out sequences.
        synthetic: Those whose neighbours were looked for.
        in_train: `(n,)` place of each one's nearest training sequence, and `to_train` its distance.
        to_train: `(n,)`
        in_test: `(n,)` the same among the held-out ones.
        to_test: `(n,)`
        between: `(n,)` distance of each held-out sequence to its nearest training sequence: other people.
    """

    train: Sequences
    test: Sequences
    synthetic: Sequences
    in_train: Int[ndarray, " n"]
    to_train: Float[ndarray, " n"]
    in_test: Int[ndarray, " n"]
    to_test: Float[ndarray, " n"]
    between: Float[ndarray, " n"]

    @property
    def closer(self) -> float:
        """Share of synthetic sequences that are closer to a training sequence than half of the held-out ones are."""
        return float((self.to_train < np.median(self.between)).mean())


def find_nearest(
    train: Sequences, test: Sequences, synthetic: Sequences, cap: int = 1000, among: int = 4000, seed: int = 0
) -> Nearest:
    """Find them, for at most `cap` held-out and synthetic sequences, as many of each, among the training ones.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: Whose neighbours are looked for.
        cap: Most held-out and synthetic sequences.
        among: Most training sequences.
        seed: Of the choice.

    Raises:
        ValueError: if the sets differ in columns or length, or have fewer than 2 sequences.
    """
    view = View.fit(train, test, synthetic)
    held, made = equal_parts([test, synthetic], cap, seed)
    some = train.take(np.sort(np.random.default_rng(seed).permutation(len(train))[:among]))
    at_train, at_test, at_made = (view.flat(part) for part in (some, held, made))
    cdist, root = scipy.spatial.distance.cdist, np.sqrt(at_train.shape[1])
    to_train, to_test = cdist(at_made, at_train) / root, cdist(at_made, at_test) / root
    return Nearest(
        train=some,
        test=held,
        synthetic=made,
        in_train=to_train.argmin(axis=1),
        to_train=to_train.min(axis=1),
        in_test=to_test.argmin(axis=1),
        to_test=to_test.min(axis=1),
        between=cdist(at_test, at_train).min(axis=1) / root,
    )
