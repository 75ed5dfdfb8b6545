"""Pictures that say nothing but what is in the sequence: same size, colour and axes for all, no names, no metadata."""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping

from PIL import Image

from ..reporting import figures
from ..sequences import Sequences

CHANNELS = 4
"""Most channels that are drawn."""


def pictures(
    of: Mapping[str, Sequences], limits: figures.Limits, channels: int = CHANNELS
) -> tuple[dict[str, list[str]], dict[str, bytes]]:
    """Draw a picture of each sequence.

    Args:
        of: Sequences by whose they are.
        limits: Of the axes, from real sequences.
        channels: Most that are drawn.

    Returns:
        The file names of each, and the pictures (PNG) by file name.
    """
    names: dict[str, list[str]] = {}
    drawn: dict[str, bytes] = {}
    for key, sequences in of.items():
        for k in range(len(sequences)):
            name = f"{secrets.token_hex(8)}.png"
            file = io.BytesIO()
            figure = figures.blind(sequences.take(slice(k, k + 1)), limits, channels)
            image = Image.fromarray(figures.pixels(figure, dpi=100))
            lines = sequences.schema.image is None  # of which 32 shades are enough
            (image.quantize(32) if lines else image).save(file, "png", optimize=True)
            names.setdefault(key, []).append(name)
            drawn[name] = file.getvalue()
    return names, drawn
