"""From the raw cells of one column to numbers, and what the column is: a binary, a category or a measurement.

Cells that are empty, NA or `nan` are missing, and become NaN. Errors name the data row, counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..sequences import Column, Label
from .unreadable import Unreadable

MOST_CATEGORIES = 100
RESOLUTIONS = (1.0, 0.5, 0.1, 0.01)
FEWEST_FOR_RESOLUTION = 20
RECURRENCE = 5
"""How often a value must recur, on average, before an odd step between values is believed to be one."""


def infer(cells: pd.Series, name: str, categorical: bool = False) -> tuple[Column, Float[ndarray, " rows"]]:
    """Find out what a column is, and read it.

    Args:
        cells: As pandas read them.
        name: Of the column.
        categorical: Numbers are names of categories, too.

    Returns:
        The column and its numbers or codes; NaN is missing.

    Raises:
        ValueError: if it is empty, holds dates, mixes numbers with text, or has too many categories.
    """
    if cells.dtype.kind in "mM" or pd.api.types.is_datetime64_any_dtype(cells.dtype):
        raise column_error(name, "holds dates or durations; drop it, or turn it into numbers")
    codes, labels = _distinct(cells)
    if not (codes >= 0).any():
        raise column_error(name, "is empty; drop it")
    if categorical or isinstance(cells.dtype, pd.CategoricalDtype):
        return _categories(codes, labels, name)
    numbers = _numbers(codes, labels, name)
    if numbers is None:
        return _categories(codes, labels, name)
    return measurement(numbers, name), numbers


def measurement(numbers: Float[ndarray, " rows"], name: str) -> Column:
    """Say whether numbers are a binary or a measurement, in which steps and from where on.

    Raises:
        ValueError: if none is measured.
    """
    measured = numbers[~np.isnan(numbers)]
    if not len(measured):
        raise column_error(name, "is empty; drop it")
    if np.isin(measured, (0.0, 1.0)).all():
        return Column(name, "binary")
    low = 0.0 if measured.min() >= 0 else None
    step, origin = resolution(measured)
    return Column(name, resolution=step, origin=origin, low=low)


def resolution(measured: Float[ndarray, " rows"]) -> tuple[float | None, float]:
    """Return the step in which values were recorded, and where the steps begin; None if they were not, or are too few.

    That is the largest of 1, 0.5, 0.1, 0.01 of which all are multiples, to a few float32 steps of each value and at
    most a hundredth of the resolution; or any other step, as of a converter's count, seen where values often recur.
    """
    measured = measured.astype(np.float64)
    if len(measured) < FEWEST_FOR_RESOLUTION:
        return None, 0.0
    for step in RESOLUTIONS:
        error = np.abs(measured - step * np.round(measured / step))
        if (error <= np.minimum(1e-6 * np.abs(measured), 0.01 * step)).all():
            return step, 0.0
    return _steps(*np.unique(measured, return_counts=True)) or (None, 0.0)


def with_resolution(column: Column, numbers: Float[ndarray, "*shape"]) -> Column:
    """Return a column with the steps that its numbers are found to lie in; only a measurement has steps."""
    if column.kind != "continuous":
        return column
    step, origin = resolution(numbers[~np.isnan(numbers)])
    return replace(column, resolution=step, origin=origin)


def _steps(values: Float[ndarray, " m"], counts: Int[ndarray, " m"]) -> tuple[float, float] | None:
    """Fit steps to distinct values that keep to any, to a tenth of one."""
    if len(values) < FEWEST_FOR_RESOLUTION or counts.mean() < RECURRENCE:
        return None
    gaps, weights = np.diff(values), np.sqrt(counts)
    place = np.concatenate([[0.0], np.cumsum(np.round(gaps / np.median(gaps)))])
    for _ in range(3):  # where values are rare, so that gaps are wide, the median gap is not exact enough at first
        slope, start = np.polyfit(place, values, 1, w=weights)
        place = np.round((values - start) / slope)
    step, origin = np.polyfit(place, values, 1, w=weights)
    fits = np.diff(place).min() >= 1 and np.abs(values - origin - step * place).max() < step / 10
    return (float(step), float(origin)) if fits else None


def read(cells: pd.Series, column: Column) -> Float[ndarray, " rows"]:
    """Read a column that is known.

    Raises:
        ValueError: if a cell is not a number, or not of a known category.
    """
    codes, labels = _distinct(cells, strip=False)
    if column.kind == "continuous":
        return _known_numbers(codes, labels, column.name)
    values = np.full(len(labels) + 1, np.nan)  # the last stands for missing
    wrong: dict[int, str] = {}
    for position, label in enumerate(labels):
        try:
            values[position] = column.code(_plain_label(label, column))
        except ValueError as error:
            wrong[position] = str(error)
    if wrong:
        raise Unreadable(_rows_of(codes, wrong), lambda row: wrong[int(codes[row])])
    return values[codes]


def column_error(name: str, message: str, row: int | None = None) -> ValueError:
    """Return an error that names the column, and the data row if there is one."""
    where = f"row {row}, " if row is not None else ""
    return ValueError(f"{where}column {name!r} {message}")


def _plain_label(label: Any, column: Column) -> Any:
    if isinstance(label, bool) and not column.categories:
        return int(label)
    if isinstance(label, str) and label not in column.categories:
        return label.strip()
    return label


def _distinct(cells: pd.Series, strip: bool = True) -> tuple[Int[ndarray, " rows"], list[Any]]:
    """Return which of the distinct labels each cell holds, -1 where missing, and the labels as plain Python values."""
    codes, found = pd.factorize(cells)
    raw = [label.item() if isinstance(label, np.generic) else label for label in found]
    plain = [label.strip() if strip and isinstance(label, str) else label for label in raw]
    position: dict[tuple[type, Any], int] = {}
    places = []
    for label in plain:
        missing = isinstance(label, str) and label.strip().lower() in ("", "nan")
        places.append(-1 if missing else position.setdefault((type(label), label), len(position)))
    return np.array([*places, -1])[codes], [label for _, label in position]


def _as_number(label: Any) -> float | None:
    try:
        return float(label)
    except (TypeError, ValueError):
        return None


def _numbers(codes: Int[ndarray, " rows"], labels: list[Any], name: str) -> Float[ndarray, " rows"] | None:
    """Return numbers; None if it is a column of text."""
    numbers = [_as_number(label) for label in labels]
    is_number = np.array([number is not None for number in numbers] + [False])[codes]
    if not is_number.any():
        return None
    return _known_numbers(codes, labels, name)


def _known_numbers(codes: Int[ndarray, " rows"], labels: list[Any], name: str) -> Float[ndarray, " rows"]:
    values = np.full(len(labels) + 1, np.nan)
    wrong: dict[int, str] = {}
    for position, label in enumerate(labels):
        number = _as_number(label)
        if number is None:
            wrong[position] = f"holds numbers, but here the text {label!r}"
        elif np.isinf(number):
            wrong[position] = "is infinite"
        else:
            values[position] = number
    if wrong:
        say = lambda row: f"column {name!r} {wrong[int(codes[row])]}"  # noqa: E731
        raise Unreadable(_rows_of(codes, wrong), say, "empty the cell where nothing was measured")
    return values[codes]


def _rows_of(codes: Int[ndarray, " rows"], positions: Iterable[int]) -> Int[ndarray, " k"]:
    return np.flatnonzero(np.isin(codes, list(positions)))


def _categories(codes: Int[ndarray, " rows"], labels: Sequence[Any], name: str) -> tuple[Column, ndarray]:
    if len(labels) > MOST_CATEGORIES:
        raise column_error(
            name,
            f"has {len(labels):,} distinct categories; at most {MOST_CATEGORIES} are allowed; drop it, or group them",
        )
    plain = _uniform([int(v) if isinstance(v, float) and v.is_integer() else v for v in labels])
    categories = tuple(sorted(set(plain)))
    code = np.array([categories.index(label) for label in plain] + [np.nan])
    two_texts = len(categories) == 2 and isinstance(categories[0], str)
    return Column(name, "binary" if two_texts else "categorical", categories=categories), code[codes]


def _uniform(labels: list[Any]) -> list[Label]:
    """Numbers stay numbers if all are; else everything becomes text."""
    if all(isinstance(label, int | float) for label in labels):
        return labels
    return [str(label) for label in labels]


def same_within(
    cells: pd.Series, group: Int[ndarray, " rows"], first: Int[ndarray, " groups"]
) -> Bool[ndarray, " rows"]:
    """Say for each row whether its cell is that of its group's first row; missing cells are alike."""
    codes, _ = pd.factorize(cells)
    return codes == codes[first][group]
