"""Presets: settings of `train` that are good together, each a file that --config could read.

    vitalsynth train stays.csv --preset strong --out runs/stays        # what follows on the command line wins
    vitalsynth.train("stays.csv", out="runs/stays", **vitalsynth.preset("strong"))

A preset is only a beginning: every setting of it can be changed, and a run's record spells all of them out.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from .. import components
from ..sequences import nearest


def names() -> dict[str, str]:
    """Return the presets and what each is for: the first line of its file."""
    found = {
        path.stem: path.read_text("utf-8").partition("\n")[0].removeprefix("# ") for path in _folder().glob("*.yaml")
    }
    return dict(sorted(found.items()))


def path(name: str) -> Path:
    """Return the file of a preset.

    Raises:
        ValueError: if there is none; names the nearest.
    """
    if name not in names():
        raise ValueError(f"no preset {name!r}; {nearest(name, names())}")
    return _folder() / f"{name}.yaml"


def preset(name: str) -> dict[str, Any]:
    """Return a preset as keyword arguments of `vitalsynth.train` and `Synthesizer`.

    Raises:
        ValueError: if there is none; names the nearest.
    """
    settings = yaml.safe_load(path(name).read_text("utf-8"))
    return {
        key: components.factory(v) if isinstance(v, dict) and "class_path" in v else v for key, v in settings.items()
    }


def _folder() -> Path:
    return Path(str(files(__name__)))
