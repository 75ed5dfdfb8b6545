"""Where data sets lie that do not come with the package."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "VITALSYNTH_DATA"


def default_folder(name: str) -> Path:
    """Return the folder of a data set below $VITALSYNTH_DATA.

    Raises:
        ValueError: if the variable is not set.
    """
    root = os.environ.get(VARIABLE)
    if not root:
        raise ValueError(f"where is {name}? give its folder, or set {VARIABLE} to the folder that holds {name}/")
    return Path(root) / name
