"""What is wrong with data as they are read: named and counted, then refused in one line, or repaired on request.

What every reading leaves out, such as values before a stay begins, is no fault: it is counted and told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..frames import columns
from ..sequences import Column
from .units import CONVERSIONS, GIVEN_AWAY, conversion

log = logging.getLogger(__name__)

LEAVE_OUT, FIRST, CONVERT = "leaves them out", "takes the first of each", "converts them"
CONVERT_ALL = "converts whole columns"
TRUSTED = "not-units"
Repair = bool | Literal["not-units"]
MOST_NAMED = 5  # examples of each kind in a message


@dataclass
class _Kind:
    """So many of one kind, the first of them, and what a repair does about them."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    mend: str = ""


class Faults:
    """Collects what is wrong with one set of data.

    Args:
        origin: File or folder, begins the message.
        repair: Whether to go on without what is wrong, with a warning; `not-units`: do, but take units at their word.
    """

    def __init__(self, origin: str | Path, repair: Repair) -> None:
        self.origin, self.repair = origin, repair
        self.found: dict[str, _Kind] = {}
        self.left_out: dict[str, _Kind] = {}

    def note(self, count: int | np.integer, what: str, first: object = "", mend: str = LEAVE_OUT) -> None:
        """Add to the count of a fault.

        Args:
            count: How many; 0 is no fault.
            what: What they are, in words that follow a number.
            first: The first of them.
            mend: What a repair does about them.
        """
        _add(self.found, count, what, first, mend)

    def leave_out(self, count: int | np.integer, what: str, first: object = "") -> None:
        """Add to the count of what is left out in any case."""
        _add(self.left_out, count, what, first)

    @contextmanager
    def noting(self, what: str, name: str) -> Iterator[None]:
        """Note a ValueError of the block, which ends it: what is named is left out."""
        try:
            yield
        except ValueError as error:
            self.note(1, what, f"{name}: {error}", "leaves out what is wrong")

    def wrong(
        self, checks: Sequence[tuple[str, Bool[ndarray, " rows"]]], example: Callable[[int], object]
    ) -> Bool[ndarray, " rows"]:
        """Note rows in which something is wrong, and say which they are.

        Args:
            checks: What is wrong, and with which rows.
            example: Says what to call a row.
        """
        masks = [np.asarray(bad) for _, bad in checks]
        for (what, _), bad in zip(checks, masks, strict=True):
            self.note(bad.sum(), what, example(int(bad.argmax())) if bad.any() else "")
        return np.logical_or.reduce(masks)

    def physical(self, numbers: Float[ndarray, " rows"], column: Column) -> Float[ndarray, " rows"]:
        """Convert what is in another unit, and make NaN what no measurement can be; both are noted."""
        if column.unit in GIVEN_AWAY:
            unit, low, high = GIVEN_AWAY[column.unit]
            other = (numbers >= low) & (numbers <= high)
            what = f"values of {column.name} in {unit} instead of {column.unit}"
            self.note(other.sum(), what, _first(numbers, other), CONVERT)
            factor, offset = CONVERSIONS[unit, column.unit]
            numbers = np.where(other, numbers * factor + offset, numbers)
        impossible, limits = _outside(numbers, column)
        self.note(impossible.sum(), f"values of {column.name} {limits}", _first(numbers, impossible))
        return np.where(impossible, np.nan, numbers)

    def factor(self, sample: Float[ndarray, " n"], column: Column) -> float:
        """Return what to multiply a column by that is in another unit as a whole, which is noted; 1 if nobody asks.

        Args:
            sample: A value of each sequence; NaN where there is none.
            column: What they are said to be.
        """
        unit, factor = (column.unit, 1.0) if self.repair == TRUSTED else conversion(sample, column)
        if factor != 1:
            known = sample[~np.isnan(sample)]
            what = f"sequences whose {column.name} is in {unit} instead of {column.unit}"
            self.note(len(known), what, f"median {np.median(known):.3g}", CONVERT_ALL)
        return factor

    def measured(
        self, values: Float[ndarray, "n ... columns"], described: Sequence[Column], unchecked: Sequence[str] = ()
    ) -> tuple[Column, ...]:
        """Convert, in place, columns that are in another unit as a whole, and return all with their resolution."""
        for j, column in enumerate(described):
            if column.name not in unchecked:
                values[..., j] *= self.factor(first_of_each(values[..., j]), column)
        return tuple(columns.with_resolution(column, values[..., j]) for j, column in enumerate(described))

    def settle(self) -> None:
        """Say what was found, and forget it; nothing happens if nothing is wrong.

        Raises:
            ValueError: with all that is wrong, unless it was to be repaired; then a warning says so.
        """
        found, self.found = self.found, {}
        if not found:
            return
        mends = ", ".join(dict.fromkeys(kind.mend for kind in found.values()))
        if not self.repair:
            trusted = f"; repair={TRUSTED} leaves those as they are" if CONVERT_ALL in mends else ""
            raise ValueError(f"{self.origin}: {counted(found)}; repair=True (--source.repair true) {mends}{trusted}")
        log.warning("%s: %s; repair %s", self.origin, counted(found), mends)

    def tell(self) -> None:
        """Say what was left out, and forget it."""
        left_out, self.left_out = self.left_out, {}
        if left_out:
            log.warning("%s: left out: %s", self.origin, counted(left_out))


def first_of_each(values: Float[ndarray, "n ..."]) -> Float[ndarray, " n"]:
    """Return the first value that each sequence has."""
    cells = values.reshape(len(values), -1)
    return cells[np.arange(len(cells)), np.argmax(~np.isnan(cells), axis=1)]


def named(ids: Sequence[object]) -> str:
    """Return the first of some ids."""
    return ", ".join([*map(str, ids[:MOST_NAMED]), *["..."] * (len(ids) > MOST_NAMED)])


def counted(kinds: Mapping[str, _Kind]) -> str:
    """Return counts in words: `3 rows without a time (first: a.txt); 1 files ...`."""
    return "; ".join(f"{kind.count:,} {what}{_examples(kind.examples)}" for what, kind in kinds.items())


def _examples(examples: list[str]) -> str:
    more = "; ..." if len(examples) > MOST_NAMED else ""
    return f" (first: {'; '.join(examples[:MOST_NAMED])}{more})" if examples else ""


def _add(kinds: dict[str, _Kind], count: int | np.integer, what: str, first: object, mend: str = "") -> None:
    if not count:
        return
    kind = kinds.setdefault(what, _Kind(mend=mend))
    kind.count += int(count)
    if (example := str(first)) and example not in kind.examples and len(kind.examples) <= MOST_NAMED:
        kind.examples.append(example)


def _first(numbers: ndarray, wrong: ndarray) -> str:
    return f"{numbers[wrong.argmax()]:g}" if wrong.any() else ""


def _outside(numbers: ndarray, column: Column) -> tuple[ndarray, str]:
    """Say which numbers cannot be, and what they are outside of."""
    if allowed := column.categories or ((0, 1) if column.kind == "binary" else ()):
        return ~np.isin(numbers, allowed) & ~np.isnan(numbers), f"other than {', '.join(map(str, allowed))}"
    low, high = (-np.inf if column.low is None else column.low), (np.inf if column.high is None else column.high)
    limits = f"below {low:g}" if np.isinf(high) and np.isfinite(low) else f"outside {low:g} to {high:g}"
    return (numbers < low) | (numbers > high) | np.isinf(numbers), limits
