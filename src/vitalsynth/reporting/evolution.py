"""What one fixed noise becomes through a training: as a moving picture, and as a strip.

evolution.write("evolution.gif", [(100, pixels), (200, pixels), ...])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from ..storage import atomic_path
from .figures import SYNTHETIC

MOVING, STILL = (".gif", ".webp"), (".png",)
STRIP, HEADER, GAP = 8, 26, 8
"""Most pictures in a strip, the height of the progress bar above each, and what is between them, in pixels."""
Frame = tuple[int, UInt8[ndarray, "height width 3"]]


def check(path: str | Path) -> None:
    """Refuse a file that is no kind of picture known here.

    Raises:
        ValueError: naming those that are.
    """
    if Path(path).suffix.lower() not in (*MOVING, *STILL):
        raise ValueError(f"{path}: a moving picture is a {' or '.join(MOVING)}, a strip a {STILL[0]}")


def write(path: str | Path, frames: Sequence[Frame], seconds: float = 8.0) -> None:
    """Write a moving picture, which dwells on the last frame, or a strip of up to eight, whole or not at all.

    Args:
        path: Where to; its ending says which.
        frames: Step and picture, all of one size.
        seconds: How long a moving picture takes.

    Raises:
        ValueError: if the ending is not known.
    """
    check(path)
    last = frames[-1][0]
    moving = Path(path).suffix.lower() in MOVING
    shown = frames if moving else [frames[j] for j in spread(len(frames), STRIP)]
    pictures = [_with_progress(Image.fromarray(pixels), step, last) for step, pixels in shown]
    with atomic_path(path) as temporary:
        if moving:
            each = max(20, round(1000 * seconds / len(pictures)))
            times = [each] * (len(pictures) - 1) + [each + 1500]
            pictures[0].save(temporary, save_all=True, append_images=pictures[1:], duration=times, loop=0)
        else:
            _strip(pictures).save(temporary)


def spread(count: int, most: int) -> list[int]:
    """Return at most so many places of a row, the first and last among them, evenly apart."""
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))


def _with_progress(picture: Image.Image, step: int, last: int) -> Image.Image:
    """Put a bar above a picture that says how far training had come."""
    framed = Image.new("RGB", (picture.width, picture.height + HEADER), "white")
    framed.paste(picture, (0, HEADER))
    draw = ImageDraw.Draw(framed)
    draw.rectangle((0, HEADER - 6, picture.width, HEADER - 3), fill="#E4E4E4")
    draw.rectangle((0, HEADER - 6, round(picture.width * step / max(last, 1)), HEADER - 3), fill=SYNTHETIC)
    draw.text((3, 2), f"step {step:,}", fill="#222222", font=ImageFont.load_default(13))
    return framed


def _strip(pictures: Sequence[Image.Image]) -> Image.Image:
    """Put pictures beside each other, or wide ones below each other."""
    width, height = pictures[0].size
    right, down = (0, height + GAP) if width > 1.5 * height else (width + GAP, 0)
    size = [side + aside * (len(pictures) - 1) for side, aside in ((width, right), (height, down))]
    strip = Image.new("RGB", (size[0], size[1]), "white")
    for k, picture in enumerate(pictures):
        strip.paste(picture, (k * right, k * down))
    return strip
