"""A preparation that knows nothing of the data but what is public, or paid for.

Numbers are brought to [-1, 1] by bounds that are known without the data; every column that is not declared complete has
a mask, and sequences may end early, whether or not any does. What is drawn at sampling time by the law of the data, the
conditions, is a histogram over all combinations that the schema allows, one count a patient, with Gaussian noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from ..normalisation import MinMax
from ..preparation import Part, Preparation
from ..sequences import Column, Sequences, listed, nearest
from .privacy import Privacy


def known(sequences: Sequences, privacy: Privacy) -> Sequences:
    """Return sequences of a length known without them, and of a schema less what was read off values.

    Those are the steps in which numbers were recorded, and the time of the first step.

    Raises:
        ValueError: if the length is not known.
    """
    schema = sequences.schema
    if not privacy.length and schema.image is None:
        raise ValueError(
            f"under --privacy the number of steps must be known without the data, whose longest sequence has "
            f"{sequences.length}: --privacy.length {sequences.length}, if that is known, or another"
        )
    channels, statics = (
        tuple(replace(column, resolution=None, origin=0.0) for column in columns)
        for columns in (schema.channels, schema.statics)
    )
    schema = replace(schema, channels=channels, statics=statics, start=0.0)
    length = privacy.length or sequences.length
    return replace(sequences.until(length), schema=schema).like(schema, length)


def prepare(sequences: Sequences, condition: Sequence[str], privacy: Privacy) -> Preparation:
    """Return the preparation of sequences whose form is `known`; only counts of conditions are taken from them.

    Raises:
        ValueError: if bounds or categories are not known, or a condition is a number.
    """
    schema = sequences.schema
    _check(schema.columns, condition, privacy)
    complete = _named(privacy.complete, schema.columns, "complete") if schema.image is None else schema.columns
    channels, statics = (
        tuple(_part(column, column not in complete) for column in columns)
        for columns in (schema.channels, schema.statics)
    )
    given = [statics[schema.static_index(name)] for name in condition]
    codes = [[*range(int(part.extremes[1]) + 1), *([np.nan] if part.gaps else [])] for part in given]
    combined = list(product(*codes)) if given else []
    cells = np.array(combined, dtype=np.float64).reshape(len(combined), len(given))
    return Preparation(
        schema,
        sequences.length,
        channels,
        statics,
        tuple(condition),
        schema.image is None,
        cells,
        _counted(sequences, condition, cells, privacy.counts),
    )


def _check(columns: Sequence[Column], condition: Sequence[str], privacy: Privacy) -> None:
    public = _named(privacy.public, columns, "public")
    numbers = [column for column in columns if column.kind == "continuous"]
    if unbounded := [column.name for column in numbers if column.low is None or column.high is None]:
        limits = ",".join(f"{name}=LOW:HIGH" for name in unbounded)
        raise ValueError(
            f"under --privacy numbers need bounds that are known without the data; {', '.join(unbounded)} "
            f"{'have' if len(unbounded) > 1 else 'has'} none: --limits {limits}, or --drop"
        )
    if unknown := [column.name for column in columns if column not in numbers and column not in public]:
        raise ValueError(
            f"under --privacy categories must be known without the data; if those of {', '.join(unknown)} are, say so: "
            f"--privacy.public {','.join([*listed(privacy.public), *unknown])}; else --drop them"
        )
    if bad := [column.name for column in numbers if column.name in condition]:
        raise ValueError(
            f"under --privacy a condition must be a class, whose counts can be paid for; {bad[0]!r} is a number"
        )


def _named(names: str, columns: Sequence[Column], what: str) -> list[Column]:
    if names == "all":
        return list(columns)
    known = [column.name for column in columns]
    if unknown := [name for name in listed(names) if name not in known]:
        raise ValueError(f"--privacy.{what}: no column {unknown[0]!r}; {nearest(unknown[0], known)}")
    return [column for column in columns if column.name in listed(names)]


def _part(column: Column, gaps: bool) -> Part:
    if column.kind == "continuous":
        low, high = float(column.low or 0.0), float(column.high or 0.0)
        return Part(column, MinMax(low, high), gaps, False, (low, high))
    return Part(column, None, gaps, False, (0.0, float(max(len(column.categories), 2) - 1)))


def _counted(
    sequences: Sequences, condition: Sequence[str], cells: Float[ndarray, "m condition"], noise: float
) -> Int64[ndarray, " m"]:
    """Count patients by their first sequence, with noise that nobody can repeat; one patient changes one count by 1."""
    if not condition:
        return np.zeros(0, dtype=np.int64)
    _, first = np.unique(sequences.subject, return_index=True)
    codes = np.stack([sequences.static_column(name)[first] for name in condition], axis=1)[:, None]
    counts = ((codes == cells) | (np.isnan(codes) & np.isnan(cells))).all(axis=2).sum(axis=0)
    noisy = np.round(counts + np.random.default_rng().normal(0, noise, len(cells))).clip(min=0).astype(np.int64)
    return noisy if noisy.any() else np.ones_like(noisy)
