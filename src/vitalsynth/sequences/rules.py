"""What physiology allows: bounds of a channel, and an order between channels, such as `dbp <= map <= sbp`.

A rule is a chain of channels, each at most the next at every step at which both were measured.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from .cohort import Sequences
from .schema import Column


def violations(sequences: Sequences) -> dict[str, tuple[Int[ndarray, " n"], Int[ndarray, " n"]]]:
    """Return how often each sequence breaks each rule and bound of the schema, and at how many steps it could.

    A rule can be broken where two of its channels were measured, a bound where its channel was.
    """
    schema, found = sequences.schema, {}
    for rule in schema.rules:
        values = sequences.values[:, :, schema.chain(rule)]
        found[rule] = (values < _largest_before(values)).any(axis=2), (~np.isnan(values)).sum(axis=2) > 1
    for j, column in enumerate(schema.channels):
        values = sequences.values[:, :, j]
        if column.low is not None:
            found[f"{column.low:g} <= {column.name}"] = values < column.low, ~np.isnan(values)
        if column.high is not None:
            found[f"{column.name} <= {column.high:g}"] = values > column.high, ~np.isnan(values)
    return {name: (broken.sum(axis=1), possible.sum(axis=1)) for name, (broken, possible) in found.items()}


def enforce(sequences: Sequences) -> Sequences:
    """Return sequences that keep to the rules and bounds of their schema, changed as little as possible.

    Values out of order become, of all that are in order, the nearest in the sum of squares: isotonic regression, by its
    min-max formula (Robertson, Wright and Dykstra 1988, Order Restricted Statistical Inference, section 1.4), then put
    back into the steps in which they are recorded. Rules that share channels are kept to in turns until none is broken.

    Raises:
        ValueError: if rules contradict each other.
    """
    schema, values = sequences.schema, sequences.values.astype(np.float64)
    chains = [schema.chain(rule) for rule in schema.rules]
    for _ in range(100):
        before = values.copy()
        for positions in chains:
            values[:, :, positions] = _ordered(values[:, :, positions])
        for j, column in enumerate(schema.channels):
            changed = values[:, :, j] != before[:, :, j]
            values[:, :, j] = np.where(changed, on_grid(values[:, :, j], column), values[:, :, j])
            if column.low is not None or column.high is not None:
                values[:, :, j] = np.clip(values[:, :, j], column.low, column.high)
        if np.array_equal(before, values, equal_nan=True):
            return replace(sequences, values=values.astype(sequences.values.dtype))
    raise ValueError(f"no values keep to all of these rules: {'; '.join(schema.rules)}")


def _ordered(values: Float[ndarray, "n length k"]) -> Float[ndarray, "n length k"]:
    """Return the nearest values that do not fall along the last axis; NaN are left out."""
    k = values.shape[2]
    out = values.copy()
    rows = (values < _largest_before(values)).any(axis=2)
    part = values[rows]
    there = ~np.isnan(part)
    total = np.concatenate([np.zeros((len(part), 1)), np.cumsum(np.where(there, part, 0.0), axis=1)], axis=1)
    count = np.concatenate([np.zeros((len(part), 1)), np.cumsum(there, axis=1)], axis=1)
    mean = lambda a, b: (total[:, b + 1] - total[:, a]) / (count[:, b + 1] - count[:, a])  # noqa: E731
    with np.errstate(invalid="ignore"):
        fitted = [
            np.fmax.reduce([np.fmin.reduce([mean(a, b) for b in range(i, k)]) for a in range(i + 1)]) for i in range(k)
        ]
    out[rows] = np.where(there, np.stack(fitted, axis=1), np.nan)
    return out


def _largest_before(values: Float[ndarray, "n length k"]) -> Float[ndarray, "n length k"]:
    """Return the largest of each value and those before it along the last axis; NaN are left out."""
    return np.maximum.accumulate(np.where(np.isnan(values), -np.inf, values), axis=2)


def on_grid(values: Float[ndarray, "*shape"], column: Column) -> Float[ndarray, "*shape"]:
    """Round values to the steps in which the column is recorded."""
    if column.resolution is None:
        return values
    return (
        np.round((values - column.origin) / column.resolution) / (1 / column.resolution) + column.origin + 0.0
    )  # no -0
