"""What an attacker sees: sequences as points, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ...sequences import Sequences
from ..features import View
from ..measures import Unanswerable

MEMORY = 128
"""MiB of distances held at once."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Who is who in an attack; no subject is in two of them.

    Args:
        members: Of the training set.
        others: Held out: the attack shall not take them for members.
        reference: Held out, too: what the attacker holds of the same population.
        synthetic: What was released.
    """

    members: Sequences
    others: Sequences
    reference: Sequences
    synthetic: Sequences

    @property
    def asked(self) -> tuple[Sequences, Sequences]:
        """Those of whom an attack says how likely they are members."""
        return self.members, self.others

    @property
    def real(self) -> tuple[Sequences, Sequences, Sequences]:
        """All that is not synthetic."""
        return self.members, self.others, self.reference


def deal(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    reference: float = 0.5,
    most: int = 2000,
    seed: int = 0,
) -> Parts:
    """Deal the roles.

    Args:
        train: What was learned from.
        test: Of subjects that were held out.
        synthetic: What was released.
        reference: Share of the held-out subjects that the attacker holds.
        most: Most subjects in each role; costs grow in proportion to it.
        seed: Of the choice.

    Raises:
        Unanswerable: if a role has fewer than 2 subjects, or nothing was released.
        ValueError: if the share is not between 0 and 1.
    """
    if not 0 < reference < 1:
        raise ValueError(f"reference must lie between 0 and 1, got {reference}")
    rng = np.random.default_rng(seed)
    if (count := len(np.unique(test.subject))) < FEWEST:
        raise Unanswerable(
            f"{count} subject{'s' * (count != 1)} held out: an attack needs at least {FEWEST}, 2 it knows and 2 to "
            "recognise; train on more subjects, or hold out more of them ('vitalsynth train --held_out')"
        )
    members, *held = (_some(part, most, rng) for part in (train, *test.split(reference, seed)))
    if min(len(np.unique(part.subject)) for part in (members, *held)) < 2 or not len(synthetic):
        raise Unanswerable("an attack needs at least 2 members, 2 others, a reference of 2, and 1 synthetic sequence")
    return Parts(members, held[0], held[1], synthetic)


def _some(sequences: Sequences, most: int, rng: np.random.Generator) -> Sequences:
    """Return the sequences of at most so many subjects."""
    subjects = np.unique(sequences.subject)
    return sequences.take(np.isin(sequences.subject, rng.permutation(subjects)[:most]))


FEWEST = 4
"""Subjects held out, below which nobody can be attacked."""


@dataclass(frozen=True, eq=False)
class Points:
    """Sequences as an attacker sees them.

    Args:
        x: `(n, width)`.
        subject: `(n,)` numbers from 0 on.
    """

    x: Float[ndarray, "n width"]
    subject: Int[ndarray, " n"]

    def highest(self, scores: Float[ndarray, " n"]) -> Float[ndarray, " subjects"]:
        """Return the highest score of each subject's sequences: one leaked sequence is a leaked patient."""
        out = np.full(self.subject.max() + 1, -np.inf)
        np.maximum.at(out, self.subject, scores)
        return out


def mean_of(subject: Int[ndarray, " n"], scores: Float[ndarray, " n"]) -> Float[ndarray, " subjects"]:
    """Return the mean score of each subject's sequences: what is known of all of them tells more than of one."""
    return np.bincount(subject, scores) / np.bincount(subject)


def numbered(*parts: Sequences) -> Int[ndarray, " n"]:
    """Number the subjects of several sets, those of the first set first."""
    codes, start = [], 0
    for part in parts:
        _, code = np.unique(part.subject, return_inverse=True)
        codes.append(code + start)
        start += code.max() + 1
    return np.concatenate(codes)


def view_of(parts: Parts) -> View:
    """Return how an attacker sees sequences: scaled by the reference, for an attacker has no training set."""
    return View.fit(parts.reference, *parts.asked, parts.synthetic)


def points(view: View, *several: Sequences) -> Points:
    """Return sets, one after the other, as points: all steps, channels, masks and statics."""
    return Points(np.concatenate([view.flat(part) for part in several]), numbered(*several))


def look(parts: Parts) -> tuple[Points, Points, Points]:
    """Return those in question (members first), the synthetic and the reference ones as an attacker sees them."""
    view = view_of(parts)
    return points(view, *parts.asked), points(view, parts.synthetic), points(view, parts.reference)


def nearest(points: Points, among: Points, count: int = 1, own: bool = True) -> Float[ndarray, "n count"]:
    """Return the distances of each point to the nearest others, in ascending order.

    Args:
        points: Whose neighbours are looked for.
        among: Where.
        count: How many; fewer if there are fewer.
        own: Whether points of the same subject count.
    """
    from sklearn.metrics import pairwise_distances_chunked  # a second, which training need not wait for

    count = min(count, len(among.x))

    def lowest(distances: ndarray, start: int) -> ndarray:
        if not own:
            same = points.subject[start : start + len(distances), None] == among.subject
            distances = np.where(same, np.inf, distances)
        return np.sort(np.partition(distances, count - 1, axis=1)[:, :count], axis=1)

    chunks = pairwise_distances_chunked(points.x, among.x, reduce_func=lowest, working_memory=MEMORY)
    return np.concatenate(list(chunks))


def isolation(points: Points, count: int = 5) -> Float[ndarray, " subjects"]:
    """Return how far each subject is from its nearest others, on average: the farthest are the most vulnerable.

    (Meeus et al. 2023, Achilles' Heels, arXiv 2306.10308.)
    """
    found = nearest(points, points, count, own=False)
    reached = np.isfinite(found)
    return points.highest(np.where(reached, found, 0).sum(axis=1) / np.maximum(1, reached.sum(axis=1)))
