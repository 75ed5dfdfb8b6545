"""Leaks: is what the judge holds out really held out?

If a subject, or a sequence, is both in the training set and in the test set, every figure flatters a generator that has
learned its training data by heart, and none can tell.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from ..sequences import Sequences

TELLING = 10
"""Different measured values from which on a sequence is taken to be nobody else's: short or empty ones recur."""
NAMED = 3


def refuse(train: Sequences, test: Sequences) -> None:
    """Refuse sets that share subjects, or more sequences than the training subjects share among each other.

    Identical sequences of different subjects occur in honest data, too. So sequences with fewer than ten different
    measured values do not count, and up to three times as many of the test sequences may have a twin as of the training
    sequences have one among other training subjects.

    Raises:
        ValueError: naming some of what is shared.
    """
    if len(shared := np.intersect1d(train.subject, test.subject)):
        raise ValueError(
            f"{_some(shared)} in both the training and the test set, so nothing is held out: split by subject "
            f"(Sequences.split), and give subjects ids of their own"
        )
    known, asked = (_contents(part) for part in (train, test))
    owners: dict[bytes, set[object]] = {}
    for content, subject in zip(known, train.subject.tolist(), strict=True):
        owners.setdefault(content, set()).add(subject)
    recurring = sum(len(owners[content]) > 1 for content in known if content)
    twins = test.subject[[content != b"" and content in owners for content in asked]]
    if len(twins) > 3 * recurring * len(test) / max(1, len(train)):
        raise ValueError(
            f"{len(twins)} of {len(test)} test sequences are also in the training set, value by value "
            f"({_some(np.unique(twins))} of the test set), so they are not held out: split before sequences are copied"
        )


def copies(train: Sequences, synthetic: Sequences) -> int:
    """Return how many synthetic sequences are training sequences, value by value, and tell whose they are."""
    known = set(_contents(train))
    return sum(content != b"" and content in known for content in _contents(synthetic))


def _some(subjects: Shaped[ndarray, " n"]) -> str:
    """Name a few subjects and count the rest."""
    rest = f" and {len(subjects) - NAMED} more" if len(subjects) > NAMED else ""
    return f"subject{'s' * (len(subjects) > 1)} {', '.join(map(str, subjects[:NAMED].tolist()))}{rest}"


def _contents(sequences: Sequences) -> list[bytes]:
    """Return the values of every sequence as bytes; none of one that tells too little of whose it is."""
    values = sequences.values.astype(np.float64)
    ordered = np.sort(np.where(np.isnan(values), np.inf, values), axis=1)  # per channel; what is missing comes last
    first = np.isfinite(ordered[:, :1])
    changes = np.isfinite(ordered[:, 1:]) & (ordered[:, 1:] != ordered[:, :-1])
    different = first.sum(axis=(1, 2)) + changes.sum(axis=(1, 2))
    filled = np.where(np.isnan(values), np.inf, values + 0.0)  # -0 and 0 are one
    return [part.tobytes() if told else b"" for part, told in zip(filled, different >= TELLING, strict=True)]
