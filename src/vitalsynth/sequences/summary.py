"""What sequences are, in a sentence and in a row a column."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from .. import markup
from .cohort import Sequences
from .schema import Column

HEAD = ("column", "kind", "unit", "measured", "5 %", "median", "95 %", "mean over time")
MOST = 40
"""Channels that are described."""


def sentence(sequences: Sequences) -> str:
    """Return how many there are, of how many subjects, and how long."""
    schema, lengths = sequences.schema, sequences.lengths
    steps = f"{sequences.length} steps"
    if len(lengths) and lengths.min() < sequences.length:
        steps = f"{lengths.min()} to {lengths.max()} steps"
    step = f" of {schema.step:g} {schema.step_unit}" if schema.step_unit else ""
    step = step if schema.gap is None else " at times of their own"
    return f"{len(sequences):,} sequences of {len(np.unique(sequences.subject)):,} subjects, {steps}{step}"


def row(column: Column, values: ndarray) -> tuple[str, ...]:
    """Return name, kind, unit, how much is known, and quantiles; of classes, the three most frequent."""
    known = values[~np.isnan(values)]
    share = f"{len(known) / max(len(values), 1):.0%}"
    if column.kind == "continuous" and len(known):
        numbers = tuple(f"{number:.4g}" for number in np.quantile(known, [0.05, 0.5, 0.95]))
    elif len(known):
        labels = column.categories or (0, 1)
        counts = np.bincount(known.astype(int), minlength=len(labels)) / len(known)
        common = sorted(zip(counts, labels, strict=True), key=lambda pair: -pair[0])[:3]
        numbers = ("", ", ".join(f"{label} {share_:.0%}" for share_, label in common), "")
    else:
        numbers = ("", "", "")
    return column.name, column.kind, column.unit, share, *numbers


def means(values: ndarray, width: int = 24) -> list[float | None]:
    """Return the mean over sequences, in so many parts of time; None where nothing was measured."""
    parts = [part[~np.isnan(part)] for part in np.array_split(values, min(width, values.shape[1]), axis=1)]
    return [float(part.mean()) if part.size else None for part in parts]


def html(sequences: Sequences) -> str:
    """Return the summary as a notebook shows it."""
    schema, alive = sequences.schema, sequences.alive
    rows: list[tuple[str, ...]] = []
    for column in schema.channels[:MOST]:
        values = sequences.channel(column.name)
        rows.append((*row(column, values[alive]), markup.line(means(values))))
    rows += [(*row(column, sequences.static_column(column.name)), "static") for column in schema.statics]
    left = len(schema.channels) - MOST
    note = f"and {left} more channels" if left > 0 else ""
    return markup.block(sentence(sequences), note, markup.table(HEAD, rows, (3, 4, 5, 6)))
