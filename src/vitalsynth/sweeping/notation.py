"""How a command line says that a setting takes several values.

32,64,128             these
0..4                  the whole numbers from 0 to 4
1e-4..1e-2            any number between, for a search; evenly by its logarithm, as the ends are 100 times apart
log:1..20             evenly by its logarithm in any case; linear:1..1000 in none
{died,"died,sex"}     values of a setting that takes commas, or words, itself
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass

import yaml

MAGNITUDES = 100
"""Ends that are so many times apart are searched evenly by their logarithm."""


@dataclass(frozen=True)
class Values:
    """Some values, as they are written."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included.

    Args:
        low: The smallest.
        high: The largest.
        log: They are drawn evenly by their logarithm.
        whole: They are whole numbers.

    Raises:
        ValueError: if the ends are the wrong way round, or have no logarithm.
    """

    low: float
    high: float
    log: bool
    whole: bool

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"{self.low:g}..{self.high:g} must go from the smaller to the larger")
        if self.log and self.low <= 0:
            raise ValueError(f"log:{self.low:g}..{self.high:g} must be above 0")

    def listed(self) -> Values:
        """Return all of them.

        Raises:
            ValueError: if they are not whole numbers.
        """
        if not self.whole:
            raise ValueError(
                f"{self.low:g}..{self.high:g} is any number between; list values, or use --search random or tpe"
            )
        return Values(tuple(map(str, range(int(self.low), int(self.high) + 1))))


Several = Values | Range


def several(text: str) -> Several | None:
    """Read several values; None if a text can only be one.

    Raises:
        ValueError: if they contradict themselves.
    """
    if explicit(text) and text.startswith("{"):
        return Values(tuple(_parts(text[1:-1])))
    found = re.fullmatch(r"(?:(log|linear):)?(.+?)\.\.(.+)", text)
    if found and (between := _range(*found.groups())):
        return between
    parts = [part.strip() for part in text.split(",")]
    return Values(tuple(parts)) if len(parts) > 1 and all(parts) else None


def explicit(text: str) -> bool:
    """Say whether a text is several values whatever the setting would take: in braces, or with the kind of a range."""
    if text.startswith(("log:", "linear:")):
        return True
    if not (text.startswith("{") and text.endswith("}") and len(_parts(text[1:-1])) > 1):
        return False
    try:
        mapping = yaml.safe_load(text)  # {"hr": "local"} is one value, for a setting that takes names and values
    except yaml.YAMLError:
        return True
    return all(value is None for value in mapping.values())


def listed(text: str) -> tuple[str, ...]:
    """Read one or several values that can be listed.

    Raises:
        ValueError: if they cannot.
    """
    found = several(text)
    if found is None:
        return (text,) if text else ()
    return (found.listed() if isinstance(found, Range) else found).values


def _parts(text: str) -> list[str]:
    return next(csv.reader([text], skipinitialspace=True), [])


def _range(kind: str | None, low: str, high: str) -> Range | None:
    try:
        ends = float(low), float(high)
    except ValueError:
        return None
    if not all(map(math.isfinite, ends)):
        return None
    whole = all(re.fullmatch(r"-?\d+", end) for end in (low, high))
    far = ends[0] > 0 and ends[1] / ends[0] >= MAGNITUDES
    return Range(*ends, log=kind == "log" or (kind is None and far), whole=whole)
