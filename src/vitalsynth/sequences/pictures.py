"""Images as sequences: a time step shows one tile of the image, and tiles follow each other as words on a page.

With tiles of p x q pixels an image of (height, width, colours) is height/p · width/q steps of p · q · colours channels.
A row is a tile of 1 x width, a column one of height x 1, a patch one of k x k: three orders, one formula.
"""

from __future__ import annotations

from jaxtyping import Num
from numpy import ndarray

from .cohort import Sequences
from .schema import Schema


def unfold(images: Num[ndarray, "n height width colours"], tile: tuple[int, int]) -> Num[ndarray, "n length channels"]:
    """Read images tile by tile.

    Raises:
        ValueError: if tiles of so many rows and columns of pixels do not cover an image exactly.
    """
    n, height, width, colours = images.shape
    down, across = tile
    if min(tile) < 1 or height % down or width % across:
        raise ValueError(f"tiles of {down} x {across} pixels do not cover an image of {height} x {width} exactly")
    tiles = images.reshape(n, height // down, down, width // across, across, colours).swapaxes(2, 3)
    return tiles.reshape(n, (height // down) * (width // across), down * across * colours)


def fold(sequences: Sequences) -> Num[ndarray, "n height width colours"]:
    """Turn sequences back into the images they were read from; NaN stays NaN.

    Raises:
        ValueError: if they are not images, or columns of theirs are missing.
    """
    schema, values = sequences.schema, sequences.values
    if schema.image is None:
        raise ValueError("these sequences are not images: their schema has no image shape")
    height, width, colours = schema.image
    down, across = schema.tile or (1, width)
    grid = (height // down, width // across)
    if values.shape[1:] != (grid[0] * grid[1], down * across * colours):
        raise ValueError(f"sequences of {values.shape[1]} steps x {values.shape[2]} are not whole images")
    tiles = values.reshape(len(values), *grid, down, across, colours).swapaxes(2, 3)
    return tiles.reshape(len(values), height, width, colours)


def reading(schema: Schema) -> str:
    """Say in which order the images were read: `row by row`."""
    assert schema.image is not None
    height, width, _ = schema.image
    down, across = schema.tile or (1, width)
    if (down, across) == (1, width):
        return "row by row"
    return "column by column" if (down, across) == (height, 1) else f"in patches of {down} x {across} pixels"
