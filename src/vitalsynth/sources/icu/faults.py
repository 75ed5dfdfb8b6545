"""What is wrong with data as they are read: named and counted, then refused in one line, or repaired on request."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ...sequences import Column

log = logging.getLogger(__name__)

LEAVE_OUT = "leaves them out"

OTHER_UNITS: dict[str, tuple[str, float, float, Callable[[ndarray], ndarray]]] = {
    "°C": ("°F", 68.0, 113.0, lambda fahrenheit: (fahrenheit - 32) / 1.8),  # 20 to 45 °C: no living body is hotter
    "fraction": ("%", 20.0, 100.0, lambda percent: percent / 100),
}
"""By a column's unit: the unit mistaken for it, from where to where it gives itself away, and how to convert."""


class Faults:
    """Collects what is wrong with one set of data.

    Args:
        origin: File or folder, begins the message.
        repair: Whether to go on without what is wrong, with a warning.
    """

    def __init__(self, origin: str, repair: bool) -> None:
        self.origin, self.repair = origin, repair
        self.found: dict[str, tuple[int, str, str]] = {}

    def note(self, count: int | np.integer, what: str, first: object = "", mend: str = LEAVE_OUT) -> None:
        """Add to a count.

        Args:
            count: How many; 0 is no fault.
            what: What they are, in words that follow a number.
            first: The first of them.
            mend: What a repair does about them.
        """
        if count:
            before, example, _ = self.found.get(what, (0, str(first), mend))
            self.found[what] = (before + int(count), example, mend)

    def physical(self, numbers: Float[ndarray, " rows"], column: Column) -> Float[ndarray, " rows"]:
        """Convert what is in another unit, and make NaN what no measurement can be; both are noted."""
        if column.unit in OTHER_UNITS:
            unit, low, high, convert = OTHER_UNITS[column.unit]
            other = (numbers >= low) & (numbers <= high)
            what = f"values of {column.name} in {unit} instead of {column.unit}"
            self.note(other.sum(), what, _first(numbers, other), "converts them")
            numbers = np.where(other, convert(numbers), numbers)
        impossible, limits = _outside(numbers, column)
        self.note(impossible.sum(), f"values of {column.name} {limits}", _first(numbers, impossible))
        return np.where(impossible, np.nan, numbers)

    def settle(self) -> None:
        """End the reading: nothing happens if nothing is wrong.

        Raises:
            ValueError: with all that is wrong, unless it was to be repaired; then a warning says so.
        """
        if not self.found:
            return
        counted = "; ".join(
            f"{count:,} {what}" + (f" (first: {first})" if first else "")
            for what, (count, first, _) in self.found.items()
        )
        mends = ", ".join(dict.fromkeys(mend for _, _, mend in self.found.values()))
        if not self.repair:
            raise ValueError(f"{self.origin}: {counted}; repair=True (--source.repair true) {mends}")
        log.warning("%s: %s; repair %s", self.origin, counted, mends)


def _first(numbers: ndarray, wrong: ndarray) -> str:
    return f"{numbers[wrong.argmax()]:g}" if wrong.any() else ""


def _outside(numbers: ndarray, column: Column) -> tuple[ndarray, str]:
    """Say which numbers cannot be, and what they are outside of."""
    if allowed := column.categories or ((0, 1) if column.kind == "binary" else ()):
        return ~np.isin(numbers, allowed) & ~np.isnan(numbers), f"other than {', '.join(map(str, allowed))}"
    low, high = (-np.inf if column.low is None else column.low), (np.inf if column.high is None else column.high)
    limits = f"below {low:g}" if np.isinf(high) and np.isfinite(low) else f"outside {low:g} to {high:g}"
    return (numbers < low) | (numbers > high) | np.isinf(numbers), limits
