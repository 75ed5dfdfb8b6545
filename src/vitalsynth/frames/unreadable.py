"""Cells of a table that cannot be read: all of them are told at once, so that they are mended at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Int
from numpy import ndarray

P = ParamSpec("P")
T = TypeVar("T")

MOST = 10
"""Cells that an error names; of more it says how many."""

LINE = "line in the file"
"""Name of the index of a table that knows in which line of its file each row stands."""


class Unreadable(ValueError):
    """Cells that cannot be read.

    Args:
        rows: In which rows they are, from 0.
        say: Says of such a row which cell it is, and what is wrong with it.
        advice: What to do about them.
    """

    def __init__(self, rows: Int[ndarray, " k"] | Sequence[int], say: Callable[[int], str], advice: str = "") -> None:
        self.count, self.advice = len(rows), advice
        self.first = [(int(row), say(int(row))) for row in rows[:MOST]]
        super().__init__(_sentence(self.first, self.count, [advice]))


class Gathering:
    """Goes on after cells that cannot be read, until all are known."""

    def __init__(self) -> None:
        self.errors: list[Unreadable] = []

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Call a function; return None, and remember why, if it came upon such cells."""
        try:
            return function(*args, **kwargs)
        except Unreadable as error:
            self.errors.append(error)
            return None

    def settle(self) -> None:
        """Raise a ValueError that names the first of all cells that were found, and counts them."""
        if self.errors:
            first = sorted(cell for error in self.errors for cell in error.first)[:MOST]
            raise ValueError(
                _sentence(first, sum(error.count for error in self.errors), [error.advice for error in self.errors])
            )


def _sentence(first: list[tuple[int, str]], count: int, advices: list[str]) -> str:
    cells = [f"row {row + 1}, {what}" for row, what in first]
    more = [f"and {count - len(first):,} more"] if count > len(first) else []
    advices = [advice for advice in dict.fromkeys(advices) if advice]
    beginning = f"{count:,} cells cannot be read: " if count > 1 else ""
    return beginning + "; ".join([*cells, *more, *advices])


def with_lines(text: str, index: pd.Index) -> str:
    """Say beside rows in which line of the file they stand, if the index of the table knows."""
    if index.name != LINE:
        return text
    lines = np.asarray(index)

    def placed(found: re.Match[str]) -> str:
        row = int(found[1] or 0)
        return f"{found[0]} (line {lines[row - 1]})" if 1 <= row <= len(lines) else found[0]

    return re.sub(r"'[^']*'|\brow (\d+)\b", placed, text)  # what a user wrote stays as it is
