"""Sequences that are images."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...sequences import Column, Schema, Sequences
from ...sequences.pictures import fold
from .limits import span
from .style import WIDTH, styled


def pooled_pixels(sequences: Sequences) -> Sequences:
    """Return the columns of images as sequences of one channel, `pixel`: what one figure can say of 784 channels."""
    columns = np.moveaxis(fold(sequences), 1, 3)
    schema = Schema((Column("pixel"),), step_unit="", time="row")
    return Sequences(columns.reshape(-1, columns.shape[3], 1), schema)


@styled
def mosaic(
    sequences: Sequences, shades: tuple[float, float], count: int = 48, seed: int = 0, columns: int = 8
) -> Figure:
    """Draw sequences as the images they are; `shades` says what is black and what is white."""
    chosen = np.random.default_rng(seed).permutation(len(sequences))[:count]
    drawn = fold(sequences.take(chosen)).astype(np.float64)
    drawn = np.nan_to_num((drawn - shades[0]) / (shades[1] - shades[0]), nan=0.0).clip(0, 1)
    _, height, width, colours = drawn.shape
    columns = max(1, min(columns, len(chosen)))
    rows = -(-len(chosen) // columns)
    edge = max(1, width // 14)
    sheet = np.ones((rows * (height + edge), columns * (width + edge), colours))
    for k, picture in enumerate(drawn):
        top, left = (k // columns) * (height + edge), (k % columns) * (width + edge)
        sheet[top : top + height, left : left + width] = picture
    sheet = sheet[:-edge, :-edge] if rows else np.ones((1, 1, colours))
    figure = Figure(figsize=(WIDTH, WIDTH * sheet.shape[0] / sheet.shape[1]))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.imshow(sheet[..., 0] if colours == 1 else sheet[..., :3], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return figure


def pixel_span(real: Sequences) -> tuple[float, float]:
    """Return what is black and what is white, for real and synthetic images alike."""
    return span(real.values, 0.001, 0.999)
