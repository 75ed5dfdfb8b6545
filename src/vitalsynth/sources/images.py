"""Images as sequences: a time step is a row, a column or a patch; its pixels (times colours) are channels, from 0 to 1.

The eye test: everybody sees at a glance whether a sample is good. `draw` turns sequences back into images.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Num, Shaped, UInt8
from numpy import ndarray

from ..sequences import Column, Schema, Sequences
from ..sequences.pictures import fold, unfold
from ..storage import atomic_path
from .folders import VARIABLE, default_folder

Split = Literal["train", "test", "all"]
Order = Literal["rows", "columns", "patches"]
IMAGES, LABELS = 0x803, 0x801  # magic numbers of idx files of unsigned bytes with 3 and 1 axes
SMALLEST_DRAWN = 64  # pixels of one image's longer side in a mosaic
LFW_FACE = 0.5  # share of the height and width of an image of LFW that its face fills


def digits(order: Order = "rows", patch: int = 4) -> Sequences:
    """Handwritten digits, 1,797 images of 8 x 8: scikit-learn's sample of the UCI set, always there.

    The label is a static column. From Alpaydin and Kaynak 1998, UCI Machine Learning Repository, CC BY 4.0.

    Args:
        order: What a time step is: rows from the top, columns from the left, or square patches as words on a page.
        patch: Side of the patches.
    """
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    return as_sequences(data.images[..., None] / 16, data.target, order=order, patch=patch)


def mnist(folder: str | None = None, split: Split = "train", order: Order = "rows", patch: int = 4) -> Sequences:
    """Handwritten digits, 70,000 images of 28 x 28: MNIST, from its four idx files.

    The label is a static column. From LeCun, Cortes and Burges 1998, CC BY-SA 3.0.

    Args:
        folder: Holds train-images-idx3-ubyte and the others, gzipped or not; $VITALSYNTH_DATA/mnist by default.
        split: train (60,000), test (10,000) or all.
        order: What a time step is: rows from the top, columns from the left, or square patches as words on a page.
        patch: Side of the patches.
    """
    return _idx_set("mnist", folder, split, order, patch)


def fashion_mnist(
    folder: str | None = None, split: Split = "train", order: Order = "rows", patch: int = 4
) -> Sequences:
    """Clothing, 70,000 images of 28 x 28 in ten classes: Fashion-MNIST, from its four idx files.

    The label is a static column: 0 T-shirt, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker,
    8 bag, 9 ankle boot. From Zalando SE (Xiao, Rasul, Vollgraf 2017), MIT licence.

    Args:
        folder: Holds train-images-idx3-ubyte and the others, gzipped or not; $VITALSYNTH_DATA/fashion-mnist by default.
        split: train (60,000), test (10,000) or all.
        order: What a time step is: rows from the top, columns from the left, or square patches as words on a page.
        patch: Side of the patches.
    """
    return _idx_set("fashion-mnist", folder, split, order, patch)


def faces(
    folder: str | None = None,
    size: int | None = None,
    height: int | None = None,
    width: int | None = None,
    crop: float | None = None,
    colour: bool = False,
    order: Order = "rows",
    patch: int = 4,
) -> Sequences:
    """Faces, or any folder of images; without a folder, Labelled Faces in the Wild.

    Folders are searched to the bottom; the folder an image lies in says who it shows, and one person's images are
    never parted by a split. Without a folder: scikit-learn's copy of LFW if it was downloaded before, else 100 faces
    of 25 x 25 that come with scikit-image. LFW (Huang et al. 2007) states no licence; it is for research.

    Args:
        folder: Of images in any common format.
        size: Resize to a square of so many rows and columns. By default all must have one size.
        height: Resize to so many rows; give the width too.
        width: Resize to so many columns.
        crop: Share of the height and of the width to keep, around the middle, before resizing: 0.5 cuts the face out
            of an image of LFW, and is what scikit-learn's copy is cut to; a folder of your own is not cut by default.
        colour: Keep colours: three channels a pixel.
        order: What a time step is: rows from the top, columns from the left, or square patches as words on a page.
        patch: Side of the patches.
    """
    asked = _size(size, height, width)
    if crop is not None and not 0 < crop <= 1:
        raise ValueError(f"crop must be more than 0 and at most 1, got {crop}")
    if folder is None and (asked is not None or crop is not None) and (cache := _lfw_cache()).is_dir():
        folder, crop = str(cache), crop or LFW_FACE
    if folder is not None:
        pixels, people = _image_folder(Path(folder), asked, crop or 1.0, colour)
        pixels = pixels / np.float32(255)
    else:
        if crop is not None:
            raise ValueError(
                "LFW is not in scikit-learn's cache, and the sample of faces is cut already; give a folder"
            )
        pixels, people = _lfw(colour)
        if asked is not None:
            pixels = np.stack([_resized(image, asked) for image in pixels])
    return as_sequences(pixels, subject=people, order=order, patch=patch)


def _size(size: int | None, height: int | None, width: int | None) -> tuple[int, int] | None:
    if size is not None and (height is not None or width is not None):
        raise ValueError("give size, or height and width, not both")
    height, width = (size, size) if size is not None else (height, width)
    if height is None and width is None:
        return None
    if height is None or width is None or min(height, width) < 1:
        raise ValueError(f"give height and width together, both at least 1; got {height} and {width}")
    return height, width


def as_sequences(
    images: Float[ndarray, "n height width colours"],
    labels: Shaped[ndarray, " n"] | None = None,
    subject: Shaped[ndarray, " n"] | None = None,
    order: Order = "rows",
    patch: int = 4,
) -> Sequences:
    """Read images a row, a column or a patch a step.

    Args:
        images: Values from 0 to 1.
        labels: Classes 0 to 9, if there are any; become the static column `label`.
        subject: Who is on it; each image stands for itself by default.
        order: What a time step is: rows from the top, columns from the left, or square patches as words on a page.
        patch: Side of the patches.

    Raises:
        ValueError: if patches do not cover an image exactly.
    """
    n, height, width, colours = images.shape
    tile = _tile(order, patch, height, width)
    names = [_pixel(order, i, j) for i in range(tile[0]) for j in range(tile[1])]
    if colours > 1:
        names = [f"{name}_{'rgb'[c]}" for name in names for c in range(colours)]
    statics = (Column("label", "categorical", categories=tuple(range(10))),) if labels is not None else ()
    channels = tuple(Column(name, low=0.0, high=1.0) for name in names)
    schema = Schema(channels, statics, image=(height, width, colours), tile=None if order == "rows" else tile)
    values = np.ascontiguousarray(unfold(images, tile), dtype=np.float32)
    static = np.zeros((n, 0), dtype=np.float32) if labels is None else labels.astype(np.float32)[:, None]
    return Sequences(values, schema, static=static, subject=np.arange(n) if subject is None else subject)


def _tile(order: str, patch: int, height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of pixels that one step shows."""
    tiles = {"rows": (1, width), "columns": (height, 1), "patches": (patch, patch)}
    if order not in tiles:
        raise ValueError(f"order is {order!r}; allowed are {', '.join(tiles)}")
    if order == "patches" and (patch < 1 or height % patch or width % patch):
        fit = [str(k) for k in range(1, min(height, width) + 1) if not height % k and not width % k]
        raise ValueError(f"patches of {patch} x {patch} do not cover {height} x {width} pixels; {', '.join(fit)} do")
    return tiles[order]


def _pixel(order: str, row: int, column: int) -> str:
    """Name a pixel by its place in the tile: `x7` in a row, `y7` in a column, `y2x3` in a patch."""
    return {"rows": f"x{column}", "columns": f"y{row}"}.get(order, f"y{row}x{column}")


def draw(sequences: Sequences) -> UInt8[ndarray, "n height width colours"]:
    """Turn sequences back into images; what was not measured is black.

    Raises:
        ValueError: if they are not images.
    """
    pixels = np.nan_to_num(fold(sequences), nan=0.0)
    return np.round(255 * pixels.clip(0, 1)).astype(np.uint8)


def save_grid(sequences: Sequences, path: str | Path) -> None:
    """Write all images as one PNG mosaic, as square as can be, small images enlarged.

    Raises:
        ValueError: if they are not images, or there are none.
    """
    from PIL import Image

    images = draw(sequences)
    if not len(images):
        raise ValueError(f"{path}: there are no images to draw")
    n, height, width, colours = images.shape
    across = math.ceil(math.sqrt(n * height / width))
    down = math.ceil(n / across)
    padded = np.zeros((down * across, height + 1, width + 1, colours), dtype=np.uint8)
    padded[:n, :height, :width] = images
    mosaic = padded.reshape(down, across, height + 1, width + 1, colours).swapaxes(1, 2)
    mosaic = mosaic.reshape(down * (height + 1), across * (width + 1), colours)
    scale = max(1, SMALLEST_DRAWN // max(height, width)) if n <= 1000 else 1
    mosaic = mosaic.repeat(scale, axis=0).repeat(scale, axis=1)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Image.fromarray(mosaic[..., 0] if colours == 1 else mosaic).save(temporary, format="PNG")


def _idx_set(name: str, folder: str | None, split: str, order: Order, patch: int) -> Sequences:
    where = Path(folder) if folder is not None else default_folder(name)
    parts = [(read_idx(_idx_file(where, f"{part}-images"), IMAGES), part) for part in _parts(split)]
    labels = []
    for images, part in parts:
        path = _idx_file(where, f"{part}-labels")
        labels.append(read_idx(path, LABELS))
        if len(labels[-1]) != len(images):
            raise ValueError(f"{path}: has {len(labels[-1])} labels for {len(images)} images; one each is needed")
        if labels[-1].max(initial=0) > 9:
            raise ValueError(f"{path}: has a label {labels[-1].max()}; 0 to 9 are allowed")
    pixels = np.concatenate([images for images, _ in parts])[..., None] / np.float32(255)
    return as_sequences(pixels, np.concatenate(labels), order=order, patch=patch)


def _parts(split: str) -> tuple[str, ...]:
    parts = {"train": ("train",), "test": ("t10k",), "all": ("train", "t10k")}
    if split not in parts:
        raise ValueError(f"split is {split!r}; allowed are {', '.join(parts)}")
    return parts[split]


def _idx_file(folder: Path, stem: str) -> Path:
    axes = 3 if stem.endswith("images") else 1
    names = [f"{stem}{mark}idx{axes}-ubyte{end}" for mark in "-." for end in (".gz", "")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(
        f"{folder}: no file {names[1]} or {names[0]} there; give the folder that has it, or set {VARIABLE}"
    )


def read_idx(path: Path, magic: int) -> UInt8[ndarray, "n ..."]:
    """Read an idx file of unsigned bytes, gzipped or not.

    Raises:
        ValueError: if it is not of that kind, or truncated.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: is truncated or no gzip file ({error}); fetch it again") from None
    axes = magic & 0xFF
    header = 4 + 4 * axes
    found = int.from_bytes(content[:4], "big")
    if len(content) >= 4 and found != magic:
        raise ValueError(
            f"{path}: begins with the number {found:#010x}, expected {magic:#010x}; is it another idx file?"
        )
    shape = struct.unpack(f">{axes}I", content[4:header]) if len(content) >= header else ()
    if not shape or len(content) != header + math.prod(shape):
        expected = f"{header + math.prod(shape):,}" if shape else f"at least {header}"
        raise ValueError(
            f"{path}: has {len(content):,} bytes, expected {expected}; it is truncated or damaged, fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _image_folder(
    folder: Path, size: tuple[int, int] | None, crop: float, colour: bool
) -> tuple[UInt8[ndarray, "n height width colours"], Shaped[ndarray, " n"]]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    files = list(_image_files(folder))
    if not files:
        raise ValueError(f"{folder}: no image in it or below (.png, .jpg, .tif, ... are read)")
    images = [_open(file, size, crop, colour) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            ours, first = (f"{shape[1]}x{shape[0]}" for shape in (image.shape, images[0].shape))
            raise ValueError(f"{file}: is {ours} (width x height), but {files[0]} is {first}; give size to resize all")
    people = [file.parent.relative_to(folder) if file.parent != folder else file.relative_to(folder) for file in files]
    return np.stack(images), np.array([str(person) for person in people])


def _image_files(folder: Path) -> Iterator[Path]:
    from PIL import Image

    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in suffixes and path.is_file() and not hidden:
            yield path


def _open(
    path: Path, size: tuple[int, int] | None, crop: float, colour: bool
) -> UInt8[ndarray, "height width colours"]:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits; Pillow's own conversion would cut at 255
                image = Image.fromarray((np.asarray(image).astype(np.float64) / 257).clip(0, 255).astype(np.uint8))
            image = image.convert("RGB" if colour else "L")
            across, down = (max(1, round(crop * pixels)) for pixels in image.size)
            left, top = (image.width - across) // 2, (image.height - down) // 2
            image = image.crop((left, top, left + across, top + down))
            if size is not None:
                image = image.resize((size[1], size[0]), Image.Resampling.LANCZOS)
            return np.asarray(image).reshape(image.height, image.width, 3 if colour else 1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: cannot be read as an image ({error}); repair or remove it") from None


def _resized(image: Num[ndarray, "height width colours"], size: tuple[int, int]) -> Float[ndarray, "h w colours"]:
    from PIL import Image

    planes = [Image.fromarray(np.asarray(image[..., c], dtype=np.float32)) for c in range(image.shape[2])]
    resized = [np.asarray(plane.resize((size[1], size[0]), Image.Resampling.LANCZOS)) for plane in planes]
    return np.stack(resized, axis=-1).clip(0, 1)


def _lfw_cache() -> Path:
    from sklearn.datasets import get_data_home

    return Path(get_data_home()) / "lfw_home" / "lfw_funneled"


def _lfw(colour: bool) -> tuple[Float[ndarray, "n height width colours"], Shaped[ndarray, " n"] | None]:
    """Read LFW from scikit-learn's cache, or the sample in scikit-image, which never needs a network."""
    from sklearn.datasets import fetch_lfw_people

    try:
        data: Any = fetch_lfw_people(color=colour, download_if_missing=False)
    except OSError:
        if colour:
            raise ValueError(
                "the sample of faces is grey; give a folder of images for colour, or leave colour out"
            ) from None
        return _lfw_sample()[..., None], None
    images = data.images if colour else data.images[..., None]
    return images.astype(np.float32), data.target_names[data.target]


def _lfw_sample() -> Float[ndarray, "n height width"]:
    try:
        from skimage.data import lfw_subset
    except ImportError:
        raise ValueError(
            "a sample of faces needs scikit-image: pip install 'vitalsynth[faces]'; or give a folder of images"
        ) from None
    return lfw_subset()[:100].astype(np.float32)  # the other 100 are not faces
