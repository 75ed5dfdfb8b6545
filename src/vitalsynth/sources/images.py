"""Images as sequences: rows are time steps, columns (times colours) are channels, values from 0 to 1.

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
from ..storage import atomic_path
from .folders import VARIABLE, default_folder

Split = Literal["train", "test", "all"]
IMAGES, LABELS = 0x803, 0x801  # magic numbers of idx files of unsigned bytes with 3 and 1 axes
SMALLEST_DRAWN = 64  # pixels of one image's longer side in a mosaic


def digits() -> Sequences:
    """Handwritten digits, 1,797 images of 8 x 8: scikit-learn's sample of the UCI set, always there.

    The label is a static column. From Alpaydin and Kaynak 1998, UCI Machine Learning Repository, CC BY 4.0.
    """
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    return as_sequences(data.images[..., None] / 16, labels=data.target)


def mnist(folder: str | None = None, split: Split = "train") -> Sequences:
    """Handwritten digits, 70,000 images of 28 x 28: MNIST, from its four idx files.

    The label is a static column. From LeCun, Cortes and Burges 1998, CC BY-SA 3.0.

    Args:
        folder: Holds train-images-idx3-ubyte and the others, gzipped or not; $VITALSYNTH_DATA/mnist by default.
        split: train (60,000), test (10,000) or all.
    """
    return _idx_set("mnist", folder, split)


def fashion_mnist(folder: str | None = None, split: Split = "train") -> Sequences:
    """Clothing, 70,000 images of 28 x 28 in ten classes: Fashion-MNIST, from its four idx files.

    The label is a static column: 0 T-shirt, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker,
    8 bag, 9 ankle boot. From Zalando SE (Xiao, Rasul, Vollgraf 2017), MIT licence.

    Args:
        folder: Holds train-images-idx3-ubyte and the others, gzipped or not; $VITALSYNTH_DATA/fashion-mnist by default.
        split: train (60,000), test (10,000) or all.
    """
    return _idx_set("fashion-mnist", folder, split)


def faces(
    folder: str | None = None, height: int | None = None, width: int | None = None, colour: bool = False
) -> Sequences:
    """Faces, or any folder of images; without a folder, Labelled Faces in the Wild.

    Folders are searched to the bottom; the folder an image lies in says who it shows, and one person's images are
    never parted by a split. Without a folder: scikit-learn's copy of LFW if it was downloaded before, else 100 faces
    of 25 x 25 that come with scikit-image. LFW (Huang et al. 2007) states no licence; it is for research.

    Args:
        folder: Of images in any common format.
        height: Resize to so many rows; give the width too. By default all must have one size.
        width: Resize to so many columns.
        colour: Keep colours: three channels a column.
    """
    size = None if height is None or width is None else (height, width)
    if (height is None) != (width is None) or (size is not None and min(size) < 1):
        raise ValueError(f"give height and width together, both at least 1; got {height} and {width}")
    if folder is not None:
        pixels, people = _image_folder(Path(folder), size, colour)
        return as_sequences(pixels / np.float32(255), subject=people)
    pixels, people = _lfw(colour)
    if size is not None:
        pixels = np.stack([_resized(image, size) for image in pixels])
    return as_sequences(pixels, subject=people)


def as_sequences(
    images: Float[ndarray, "n height width colours"],
    labels: Shaped[ndarray, " n"] | None = None,
    subject: Shaped[ndarray, " n"] | None = None,
) -> Sequences:
    """Read images from top to bottom, a row a step.

    Args:
        images: Values from 0 to 1.
        labels: Classes 0 to 9, if there are any; become the static column `label`.
        subject: Who is on it; each image stands for itself by default.
    """
    n, height, width, colours = images.shape
    names = [f"x{j}" for j in range(width)]
    if colours > 1:
        names = [f"{name}_{'rgb'[c]}" for name in names for c in range(colours)]
    statics = (Column("label", "categorical", categories=tuple(range(10))),) if labels is not None else ()
    channels = tuple(Column(name, low=0.0, high=1.0) for name in names)
    schema = Schema(channels, statics, image=(height, width, colours))
    values = np.ascontiguousarray(images, dtype=np.float32).reshape(n, height, width * colours)
    static = np.zeros((n, 0), dtype=np.float32) if labels is None else labels.astype(np.float32)[:, None]
    return Sequences(values, schema, static=static, subject=np.arange(n) if subject is None else subject)


def draw(sequences: Sequences) -> UInt8[ndarray, "n height width colours"]:
    """Turn sequences back into images; what was not measured is black.

    Raises:
        ValueError: if they are not images.
    """
    if sequences.schema.image is None:
        raise ValueError("these sequences are not images; only what an image source gave can be drawn")
    pixels = np.nan_to_num(sequences.values, nan=0.0).reshape(len(sequences), *sequences.schema.image)
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


def _idx_set(name: str, folder: str | None, split: str) -> Sequences:
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
    return as_sequences(pixels, labels=np.concatenate(labels))


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
    folder: Path, size: tuple[int, int] | None, colour: bool
) -> tuple[UInt8[ndarray, "n height width colours"], Shaped[ndarray, " n"]]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    files = list(_image_files(folder))
    if not files:
        raise ValueError(f"{folder}: no image in it or below (.png, .jpg, .tif, ... are read)")
    images = [_open(file, size, colour) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            ours, first = (f"{shape[1]}x{shape[0]}" for shape in (image.shape, images[0].shape))
            raise ValueError(
                f"{file}: is {ours} (width x height), but {files[0]} is {first}; give height and width to resize all"
            )
    people = [file.parent.relative_to(folder) if file.parent != folder else file.relative_to(folder) for file in files]
    return np.stack(images), np.array([str(person) for person in people])


def _image_files(folder: Path) -> Iterator[Path]:
    from PIL import Image

    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in suffixes and path.is_file() and not hidden:
            yield path


def _open(path: Path, size: tuple[int, int] | None, colour: bool) -> UInt8[ndarray, "height width colours"]:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits; Pillow's own conversion would cut at 255
                image = Image.fromarray((np.asarray(image).astype(np.float64) / 257).clip(0, 255).astype(np.uint8))
            image = image.convert("RGB" if colour else "L")
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
