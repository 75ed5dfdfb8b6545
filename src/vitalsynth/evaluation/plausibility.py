"""Plausibility: how often are the rules and bounds of physiology broken?"""

from __future__ import annotations

from functools import partial

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ..sequences import Sequences, rules
from . import measures

BOUNDS = "any bound"


def violations(train: Sequences, test: Sequences, synthetic: Sequences, seed: int = 0) -> dict[str, dict[str, float]]:
    """Return, for each rule of the schema and for all its bounds together, the share of steps at which it is broken.

    By rule `share`, `share_low`, `share_high` (95 %, over subjects) of the synthetic sequences and `floor`,
    `floor_low`, `floor_high` of the real test sequences: a nurse's typing error breaks rules too. A rule can be broken
    where two of its channels were measured, a bound where its channel was.

    Args:
        train: Real; its schema says what the rules are.
        test: Real, of subjects that training never saw.
        synthetic: To be judged.
        seed: Of the bootstrap.
    """
    del train
    found = [_by_rule(part) for part in (synthetic, test)]
    drawn = [measures.resamples(part.subject, seed) for part in (synthetic, test)]
    out = {}
    for rule in found[0]:
        row: dict[str, float] = {}
        for name, counts, weights in zip(("share", "floor"), (part[rule] for part in found), drawn, strict=True):
            value, low, high = measures.with_interval(partial(_share, *counts), weights)
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        out[rule] = row
    return out


def _by_rule(sequences: Sequences) -> dict[str, tuple[Int[ndarray, " n"], Int[ndarray, " n"]]]:
    """Return what `rules.violations` finds, with all bounds as one."""
    found = rules.violations(sequences)
    bounds = [counts for rule, counts in found.items() if rule not in sequences.schema.rules]
    kept = {rule: found[rule] for rule in sequences.schema.rules}
    return kept | ({BOUNDS: tuple(np.sum(part, axis=0) for part in zip(*bounds, strict=True))} if bounds else {})  # type: ignore[dict-item]


def _share(
    broken: Int[ndarray, " n"], possible: Int[ndarray, " n"], weights: measures.Weights
) -> Float[ndarray, " resamples"]:
    with np.errstate(invalid="ignore"):
        return (weights * broken).sum(axis=1) / (weights * possible).sum(axis=1)
