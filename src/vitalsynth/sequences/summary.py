"""What sequences are, in a sentence and in a row a column."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from .. import markup
from .cohort import Sequences
from .schema import Column

HEAD = ("column", "kind", "measured", "min", "5 %", "median", "95 %", "max", "over time")
NUMBERS = range(2, 8)
MOST = 40
"""Channels that are described."""
MOST_CATEGORIES = 10
"""Categories that are named, the most frequent first."""


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
    """Return name with unit, kind, how much is known, and extremes and quantiles of numbers."""
    known = values[~np.isnan(values)]
    share = f"{len(known) / max(len(values), 1):.0%}"
    numbers = [""] * 5
    if column.kind == "continuous" and len(known):
        numbers = [f"{number:.4g}" for number in np.quantile(known, [0, 0.05, 0.5, 0.95, 1])]
    return column.title, column.kind, share, *numbers


def categories(column: Column, values: ndarray) -> str:
    """Return the shares of categories, or of 0 and 1; nothing for numbers."""
    known = values[~np.isnan(values)]
    if column.kind == "continuous" or not len(known):
        return ""
    labels = column.categories or (0, 1)
    counts = np.bincount(known.astype(int), minlength=len(labels)) / len(known)
    common = sorted(zip(counts, labels, strict=True), key=lambda pair: -pair[0])
    named = [f"{label} {_percent(part)}" for part, label in common[:MOST_CATEGORIES]]
    left = len(common) - MOST_CATEGORIES
    return ", ".join([*named, *([f"and {left} more"] if left > 0 else [])])


def _percent(part: float) -> str:
    return "<1%" if 0 < part < 0.005 else f"{part:.0%}"


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
        rows.append((*row(column, values[alive]), categories(column, values) or markup.line(means(values))))
    for column in schema.statics:
        values = sequences.static_column(column.name)
        rows.append((*row(column, values), " ".join(["static", categories(column, values)]).strip()))
    left = len(schema.channels) - MOST
    note = f"and {left} more channels" if left > 0 else ""
    return markup.block(sentence(sequences), note, markup.table(HEAD, rows, NUMBERS, len(HEAD) - 1))
