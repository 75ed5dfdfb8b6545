"""Plausibility: how often are the rules and bounds of physiology broken?"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from ..sequences import Sequences, rules
from . import measures
from .measures import Inapplicable
from .metric import Figure, beside, says

BOUNDS = "any bound"


@says(
    Figure(
        *("*", "broken: {key}", "lower"),
        "The share of steps at which this is broken ({key}), of those at which it could be seen; real data have some, "
        "too.",
    ),
    part="plausibility",
    doing="looking for what physiology forbids",
    responds={"worse": ("noise",)},
)
def violations(train: Sequences, test: Sequences, synthetic: Sequences, seed: int = 0) -> dict[str, float]:
    """Return, for each rule of the schema and for all its bounds together, the share of steps at which it is broken.

    The floor is that of the real test sequences: a nurse's typing error breaks rules too. A rule can be broken where
    two of its channels were measured, a bound where its channel was. Intervals are over subjects.

    Args:
        train: Real; its schema says what the rules are.
        test: Real, of subjects that training never saw.
        synthetic: To be judged.
        seed: Of the bootstrap.

    Raises:
        Inapplicable: if the schema has neither rules nor bounds.
    """
    sets = [replace(part, schema=train.schema) for part in (synthetic, test)]
    counts = [_by_rule(part) for part in sets]
    drawn = [measures.resamples(part.subject, seed) for part in sets]
    if not counts[0]:
        raise Inapplicable("no rule or bound is known of these columns")
    out: dict[str, float] = {}
    for rule in counts[0]:
        both = zip(counts, drawn, strict=True)
        value, floor = (measures.with_interval(partial(measures.share, *part[rule]), weights) for part, weights in both)
        out |= beside(rule, value, floor)
    return out


def _by_rule(sequences: Sequences) -> dict[str, tuple[Int[ndarray, " n"], Int[ndarray, " n"]]]:
    """Return what `rules.violations` finds, with all bounds as one."""
    found = rules.violations(sequences)
    bounds = [counts for rule, counts in found.items() if rule not in sequences.schema.rules]
    kept = {rule: found[rule] for rule in sequences.schema.rules}
    return kept | ({BOUNDS: tuple(np.sum(part, axis=0) for part in zip(*bounds, strict=True))} if bounds else {})  # type: ignore[dict-item]
