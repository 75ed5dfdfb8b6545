"""What the data are: the user's world (`Sequences`) and the networks' world (`Encoded`).

The order of axes is always `(n, length, channels)`: sequences, time steps, variables. In `Sequences` the values are in
physical units and **NaN means not measured**. `Encoded` is dense and of roughly unit scale; `Preparation` goes between.
"""

from __future__ import annotations

from . import rules
from .cohort import Sequences
from .encoded import Block, Encoded, Fixed, Shape, halved, last_measured, owners
from .schema import Column, Kind, Label, Schema
from .words import listed, nearest, one_line, printable

__all__ = [
    "Block",
    "Column",
    "Encoded",
    "Fixed",
    "Kind",
    "Label",
    "Schema",
    "Sequences",
    "Shape",
    "halved",
    "last_measured",
    "listed",
    "nearest",
    "one_line",
    "owners",
    "printable",
    "rules",
]
