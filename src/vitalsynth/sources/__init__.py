"""Where sequences come from: each source is a plain function `source(**settings) -> Sequences`.

`find` takes what a user may write: the name of a source here, a file, a folder of a known layout or of images, or the
import path of a function of their own that returns `Sequences`.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

from .. import frames
from ..components import locate, trust
from ..frames import Writer
from ..sequences import Schema, Sequences, nearest
from .clinical import ecg5000, icu_demo
from .ecg import EDFWriter, PTBXLWriter, WFDBWriter, ecg, ptbxl
from .icu import (
    EICUWriter,
    MEDSWriter,
    PhysioNet2012Writer,
    PhysioNet2019Writer,
    YAIBWriter,
    eicu,
    meds,
    physionet2012,
    physionet2019,
    yaib,
)
from .images import digits, faces, fashion_mnist, mnist
from .mimic import EpisodeWriter, MIMIC3Writer, MIMIC4Writer, mimic3, mimic3_benchmark, mimic4
from .series import energy, etth1, series
from .tables import table
from .toy import ar1, ornstein_uhlenbeck, sines

__all__ = [
    "ar1",
    "digits",
    "ecg",
    "ecg5000",
    "eicu",
    "energy",
    "etth1",
    "faces",
    "fashion_mnist",
    "icu_demo",
    "meds",
    "mimic3",
    "mimic3_benchmark",
    "mimic4",
    "mnist",
    "ornstein_uhlenbeck",
    "physionet2012",
    "physionet2019",
    "ptbxl",
    "series",
    "sines",
    "table",
    "yaib",
]

Source = Callable[..., Sequences]

PLACES = ("folder", "path")
"""Settings of sources that name a place on this machine."""

FORMS: dict[str, type[Writer]] = {
    "eicu": EICUWriter,
    "meds": MEDSWriter,
    "physionet2012": PhysioNet2012Writer,
    "physionet2019": PhysioNet2019Writer,
    "ptbxl": PTBXLWriter,
    "wfdb": WFDBWriter,
    "yaib": YAIBWriter,
    "mimic3": MIMIC3Writer,
    "mimic3-benchmark": EpisodeWriter,
    "mimic4": MIMIC4Writer,
}
"""What writes sequences as folders laid out like those they were read from, by `Schema.form`."""

FILES: dict[str, type[Writer]] = {".edf": EDFWriter}
"""What writes files that hold one kind of data only, by suffix."""

LAYOUTS: dict[str, Source] = {
    "set-[abc].tar.gz": physionet2012,
    "set-[abc]": physionet2012,
    "training*.tar.gz": physionet2019,
    "**/p[0-9]*.psv": physionet2019,
    "dyn.parquet": yaib,
    "data/**/*.parquet": meds,
    "vitalPeriodic.csv*": eicu,
    "ptbxl_database.csv": ptbxl,
    "[Cc][Hh][Aa][Rr][Tt][Ee][Vv][Ee][Nn][Tt][Ss].csv*": mimic3,
    "icu/chartevents.csv*": mimic4,
    "*/listfile.csv": mimic3_benchmark,
    "*.hea": ecg,
}
"""What reads a folder, by a pattern that something in it matches; the first that matches counts."""


def writer(path: str | Path, schema: Schema) -> AbstractContextManager[Writer]:
    """Open a file, or a folder in the form of the data's own, that takes sequences chunk by chunk; see `frames.writer`.

    Raises:
        ValueError: if that cannot be written.
    """
    return frames.writer(path, schema, FORMS.get(schema.form), FILES)


def names() -> dict[str, str]:
    """Return the sources here, as written on the command line, and what each is."""
    return {name.replace("_", "-"): (inspect.getdoc(globals()[name]) or "").splitlines()[0] for name in __all__}


def find(name: str) -> Source:
    """Return the source that a name, a file, a folder or an import path stands for.

    A folder is read as what it looks like, see `LAYOUTS`, or else as images.

    Raises:
        ValueError: if it stands for nothing; names the nearest source.
    """
    if (plain := name.replace("-", "_")) in __all__:
        return globals()[plain]
    path = Path(name)
    if path.is_dir():
        return _bound(next((read for like, read in LAYOUTS.items() if any(path.glob(like))), faces), name)
    if path.exists():
        return _bound(table, name)
    if is_code(name):
        return _imported(name)
    what = "no such file or folder" if _looks_like_a_file(name) else "no such source, file or folder"
    raise ValueError(
        f"{name}: {what}; sources: {nearest(name, names())} (a file may be .csv, .csv.gz, .parquet or .npz)"
    )


def is_code(name: str) -> bool:
    """Say whether a name would be imported: it is no source here and nothing on the disk, but has a dot."""
    known = name.replace("-", "_") in __all__ or Path(name).exists()
    return not known and "." in name and not _looks_like_a_file(name)


def _looks_like_a_file(name: str) -> bool:
    return os.sep in name or Path(name).suffix.lower() in {".csv", ".parquet", ".npz", ".gz", ".tsv", ".txt"}


def pinned(name: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a name and settings that find the same data from any working directory: paths made absolute."""
    absolute = lambda value: str(Path(value).resolve()) if isinstance(value, str) and Path(value).exists() else value  # noqa: E731
    named = name if name.replace("-", "_") in __all__ else absolute(name)
    return named, {key: absolute(value) if key in PLACES else value for key, value in settings.items()}


def accepted(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings of one source that another takes too, but for places."""
    known = inspect.signature(find(name)).parameters
    return {key: value for key, value in settings.items() if key in known and key not in PLACES}


def read(name: str, **settings: Any) -> Sequences:
    """Read sequences from whatever `find` finds.

    Raises:
        ValueError: if there is no such source or setting, or the data are not as they should be.
    """
    source = find(name)
    known = inspect.signature(source).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    if not takes_any and (unknown := [key for key in settings if key not in known]):
        raise ValueError(f"source {name} has no setting {unknown[0]!r}; {nearest(unknown[0], known)}")
    missing = [
        key for key, p in known.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD and key not in settings
    ]
    if missing:
        raise ValueError(f"source {name} needs the setting {missing[0]!r}")
    sequences = source(**settings)
    if not isinstance(sequences, Sequences):
        raise ValueError(f"source {name} returned a {type(sequences).__name__}; a source must return Sequences")
    return sequences


def _bound(function: Source, first: str) -> Source:
    """Fix the first setting; unlike a `partial`, the result has a name and a signature that jsonargparse can read."""

    def source(**settings: Any) -> Sequences:
        return function(first, **settings)

    signature = inspect.signature(function, eval_str=True)
    rest = list(signature.parameters.values())[1:]
    source.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
    source.__doc__, source.__module__ = function.__doc__, function.__module__
    source.__name__ = source.__qualname__ = function.__name__
    return source


def _imported(name: str) -> Source:
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        trust(name)
        source = locate(name)
    except ValueError as error:
        raise ValueError(f"{name}: no such source or file, and {error}; sources: {nearest(name, names())}") from None
    if not callable(source):
        raise ValueError(f"{name} is a {type(source).__name__}; a source is a function that returns Sequences")
    return cast(Source, source)
