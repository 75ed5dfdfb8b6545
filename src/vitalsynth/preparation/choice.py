"""Which normaliser each column takes: as asked, or as the data call for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .. import normalisation
from ..sequences import Schema, Sequences, nearest

MOST_LOOKED_AT = 20_000
"""Sequences by which a normaliser is chosen."""

NAMED = 12
"""Channels that are named of as many as have something in common."""


def choose(sequences: Sequences, scale_free: bool = False, whole: bool = True) -> tuple[dict[str, str], list[str]]:
    """Choose how to normalise unknown data.

    Args:
        sequences: To learn from.
        scale_free: Whether the learner has a scale of its own at every step.
        whole: Whether sequences are always encoded whole; no pasts are.

    Returns:
        Normalisers by name, with `*` for all others; and why, in lines to be shown.
    """
    chosen, channels = {"*": "standard"}, {}
    if sequences.schema.image is not None:
        return {"*": "minmax"}, ["pixels: minmax"]
    for j, column in enumerate(sequences.schema.channels):
        if column.kind == "continuous" and not np.isnan(sequences.values[..., j]).all():
            kind, why = normalisation.choose(sequences.values[:MOST_LOOKED_AT, :, j], scale_free, whole)
            channels.setdefault(f"{kind} ({why})", []).append(column.name)
            if kind != chosen["*"]:
                chosen[column.name] = kind
    return chosen, [f"{_few(names)}: {what}" for what, names in channels.items()]


def _few(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED + 1 else ""
    return ", ".join(names[:NAMED] if more else names) + more


def spelled_out(schema: Schema, normalise: str | Mapping[str, str]) -> dict[str, str]:
    """Spell out which normaliser each column takes."""
    by_name = {"*": normalise} if isinstance(normalise, str) else dict(normalise)
    names = [column.name for column in schema.columns]
    for name, kind in by_name.items():
        normalisation.named(kind)
        if name != "*" and name not in names:
            raise ValueError(f"no column {name!r} to normalise; {nearest(name, names)}")
    default = by_name.get("*", "standard")
    plain = {name for name, known in normalisation.NORMALISERS.items() if not known.width}
    chosen = {column.name: by_name.get(column.name, default) for column in schema.channels}
    for column in schema.statics:
        chosen[column.name] = by_name.get(column.name, default if default in plain else "standard")
        if chosen[column.name] not in plain:
            raise ValueError(
                f"static column {column.name!r} cannot be normalised by {chosen[column.name]!r}, which takes something "
                f"out of a sequence; use {', '.join(sorted(plain))}"
            )
    return chosen
