"""Controls: a leak that an attack must find, and released data that know no member, in which it must find nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from ...sequences import Sequences
from ..ladder import noise
from .points import Parts

SHARE = 0.1
NOISE = 0.1
"""Of the standard deviation of a channel."""


def planted(
    parts: Parts, share: float = SHARE, strength: float = NOISE, seed: int = 0
) -> tuple[Parts, Bool[ndarray, " members"]]:
    """Return parts in which some of the members were copied into what was released, and which members those are.

    Copies, with white noise on their numbers, take the places of synthetic sequences, so that there are as many.

    Args:
        parts: Without a leak, or with one.
        share: Of the members who are copied, with all their sequences.
        strength: Of the noise, in standard deviations of each channel.
        seed: Of who is copied, where to, and the noise.
    """
    rng = np.random.default_rng(seed)
    subjects = np.unique(parts.members.subject)
    leaked = np.isin(subjects, rng.permutation(subjects)[: max(1, round(share * len(subjects)))])
    copied = parts.members.take(np.isin(parts.members.subject, subjects[leaked]))
    copies = noise(copied, parts.reference, strength, rng)
    return replace(parts, synthetic=_put(copies, parts.synthetic, rng)), leaked


def strangers(parts: Parts, seed: int = 0) -> Parts:
    """Return parts in which half of the reference is what was released: real data, and of no member.

    Raises:
        ValueError: if the reference is of one subject.
    """
    known, released = parts.reference.split(0.5, seed)
    return replace(parts, reference=known, synthetic=released)


def _put(some: Sequences, into: Sequences, rng: np.random.Generator) -> Sequences:
    """Put sequences in the places of random others."""
    places = rng.permutation(len(into))[: len(some)]
    fields = {name: getattr(into, name).copy() for name in ("values", "lengths", "static")}
    for name, field in fields.items():
        field[places] = getattr(some, name)[: len(places)]
    return replace(into, **fields)
