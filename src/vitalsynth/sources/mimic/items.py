"""Which item ids are which variable: a CSV, a row per item id, that also says units, limits and what texts mean.

    itemid      id in D_ITEMS or D_LABITEMS
    name        of the variable; several ids may have one
    table       chartevents (or empty), labevents, outputevents
    recorded    unit the item is written in, the variable's own if empty; `%|fraction` where both occur
    factor      from the recorded unit to the variable's, where it is not one of `CONVERSIONS`

and, in the first row of a variable (other rows may repeat them, or leave them empty):

    unit        of the variable
    kind        continuous (or empty), binary, categorical
    low, high   beyond these a value is a mistake, and left out
    valid_low, valid_high   beyond these, up to those, it is set to these
    resolution  values are rounded to multiples of it
    aggregate   what stands for several values in a step: last (or empty), mean, sum
    texts       what texts mean, `Normal <3 secs=0|Delayed=1`; of a categorical, its categories, `SR|AF`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ... import frames
from ...sequences import Column, nearest
from ..tables import read_csv
from ..units import CONVERSIONS

PACKAGED = Path(str(resources.files("vitalsynth") / "data" / "mimic_items.csv"))
TABLES = ("chartevents", "labevents", "outputevents")
PRESSURES = "Diastolic blood pressure <= Mean blood pressure <= Systolic blood pressure"
"""What orders the benchmark's variables."""
AGGREGATES = ("last", "mean", "sum")
NEEDED = ("itemid", "name")
OF_ITEM = ("table", "recorded", "factor", "label")
OF_VARIABLE = ("unit", "kind", "low", "valid_low", "valid_high", "high", "resolution", "aggregate", "texts")
LIMITS = ("low", "valid_low", "valid_high", "high")

SPELLINGS = {
    "°C": ("c", "deg c", "deg. c", "?c", "celsius"),
    "°F": ("f", "deg f", "deg. f", "?f", "fahrenheit"),
    "kg": ("kgs",),
    "lb": ("lbs", "lbs.", "pounds"),
    "oz": ("oz.", "ounces"),
    "cm": ("cms",),
    "inch": ("in", "in.", "inches"),
    "kPa": (),
}
"""How else units are written in `valueuom`."""


Frame = Any
"""A pandas DataFrame, and Cells a column of it: their own types are too vague to be checked."""
Cells = Any


@dataclass(frozen=True, eq=False)
class Variable:
    """A channel to be, and how its values are cleaned.

    Args:
        column: The channel.
        limits: low, valid_low, valid_high, high; NaN where there is none.
        aggregate: What stands for several values in a step.
        texts: Numbers that texts stand for.
    """

    column: Column
    limits: tuple[float, float, float, float]
    aggregate: str
    texts: Mapping[str, float]

    def number(self, text: str) -> float:
        """Return what a text stands for; NaN where it is none of the texts known, and no number."""
        if text in self.texts or self.column.kind == "categorical":
            return self.texts.get(text, np.nan)
        try:
            number = float(text)
        except ValueError:
            return np.nan
        return number if np.isfinite(number) else np.nan

    @property
    def words(self) -> dict[float, str]:
        """The first text of each number."""
        return {number: text for text, number in reversed(list(self.texts.items()))}


@dataclass(frozen=True, eq=False)
class Items:
    """Item ids in ascending order, and the variables that they are measurements of.

    Args:
        ids: Of items.
        table: Of `TABLES`, where each is found.
        channel: Which variable each is.
        recorded: Units in which each may be written, the usual one first.
        factors: Conversions that the user gave, by (channel, unit).
        variables: In the order of the channels.
    """

    ids: Int[ndarray, " items"]
    table: ndarray
    channel: Int[ndarray, " items"]
    recorded: tuple[tuple[str, ...], ...]
    factors: Mapping[tuple[int, str], float]
    variables: tuple[Variable, ...]

    def take(self, keep: Bool[ndarray, " items"]) -> Items:
        """Select items; all variables stay."""
        recorded = tuple(units for units, kept in zip(self.recorded, keep, strict=True) if kept)
        return Items(self.ids[keep], self.table[keep], self.channel[keep], recorded, self.factors, self.variables)

    def only_measurable(self) -> Items:
        """Leave out variables without items."""
        there = np.unique(self.channel)
        place = {int(old): new for new, old in enumerate(there)}
        factors = {(place[j], unit): factor for (j, unit), factor in self.factors.items() if j in place}
        variables = tuple(self.variables[j] for j in there)
        return Items(self.ids, self.table, np.searchsorted(there, self.channel), self.recorded, factors, variables)

    @cached_property
    def units(self) -> tuple[str, ...]:
        """All units that any value may be in."""
        own = [variable.column.unit for variable in self.variables]
        recorded = [unit for units in self.recorded for unit in units]
        return tuple(dict.fromkeys([*own, *recorded, *(unit for _, unit in self.factors), *SPELLINGS]))

    @cached_property
    def conversion(self) -> Float[ndarray, "channels units two"]:
        """Factor and offset of each unit to each channel's own; NaN where there is none."""
        table = np.full((len(self.variables), len(self.units), 2), np.nan)
        for j, variable in enumerate(self.variables):
            own = variable.column.unit
            for u, unit in enumerate(self.units):
                if (known := (1.0, 0.0) if unit == own else CONVERSIONS.get((unit, own))) is not None:
                    table[j, u] = known
        for (j, unit), factor in self.factors.items():
            table[j, self.units.index(unit)] = factor, 0.0
        return table

    @cached_property
    def usual(self) -> Int[ndarray, " items"]:
        """Unit in which each item is usually written."""
        return np.array([self.units.index(units[0]) for units in self.recorded], dtype=np.int64)

    @cached_property
    def accepted(self) -> Bool[ndarray, "items units"]:
        """Units in which an item may be written, that of its variable among them."""
        own = [self.variables[j].column.unit for j in self.channel]
        rows = [
            [unit in units or unit == mine for unit in self.units]
            for units, mine in zip(self.recorded, own, strict=True)
        ]
        return np.array(rows, dtype=bool).reshape(len(self.ids), len(self.units))

    @property
    def aggregates(self) -> list[str]:
        """What stands for several values in a step, by channel."""
        return [variable.aggregate for variable in self.variables]

    @cached_property
    def limits(self) -> Float[ndarray, "channels four"]:
        return np.array([variable.limits for variable in self.variables])

    @cached_property
    def codes(self) -> Int[ndarray, " channels"]:
        """How many codes each channel has; 0 where it is a number."""
        columns = [variable.column for variable in self.variables]
        return np.array([0 if column.kind == "continuous" else len(column.categories) or 2 for column in columns])

    @cached_property
    def named(self) -> Bool[ndarray, " channels"]:
        """Which channels are read by their texts alone."""
        return np.array([variable.column.kind == "categorical" for variable in self.variables])

    @cached_property
    def per_unit(self) -> Float[ndarray, " channels"]:
        """Steps of recording in a unit; 0 where values are not rounded."""
        return np.array([1 / v.column.resolution if v.column.resolution else 0.0 for v in self.variables])

    def unit_codes(self, written: Iterable[str]) -> Int[ndarray, " k"]:
        """Return the positions of units as `valueuom` writes them; -1 where it is none of ours."""
        known = {unit.lower(): u for u, unit in enumerate(self.units) if unit}
        known |= {word: self.units.index(unit) for unit, words in SPELLINGS.items() for word in words}
        return np.array([known.get(word.strip().lower(), -1) for word in written], dtype=np.int64)


def read_items(path: str | Path = PACKAGED, limited: bool = True) -> Items:
    """Read an item table.

    Args:
        path: The CSV; by default the 17 variables of the benchmark.
        limited: Whether the limits apply: a channel's column has them.

    Raises:
        ValueError: naming file, row and column, if it is not as the module's docstring says.
    """
    frame: Frame = read_csv(Path(path), dtype=str, keep_default_na=False)
    with frames.prefixed(str(path)):
        return _items(frame.rename(columns=str.strip), limited)


def _items(frame: Frame, limited: bool) -> Items:
    known = (*NEEDED, *OF_ITEM, *OF_VARIABLE)
    if missing := [name for name in NEEDED if name not in frame]:
        raise ValueError(f"no column {missing[0]!r}; {nearest(missing[0], frame.columns)}")
    if unknown := [name for name in frame if name not in known]:
        raise ValueError(f"no column {unknown[0]!r} in an item table; {nearest(unknown[0], known)}")
    if not len(frame):
        raise ValueError("the item table is empty; at least one row is needed")
    frame = frame.reindex(columns=list(known), fill_value="").apply(lambda cells: cells.str.strip())
    frame["id"] = _numbers(frame["itemid"], "itemid")
    if (bad := frame["id"].isna() | (frame["name"] == "")).any():
        raise ValueError(f"row {int(bad.to_numpy().argmax()) + 1} needs a whole number as itemid, and a name")
    if (twice := frame["id"].duplicated()).any():
        raise ValueError(f"itemid {frame['itemid'][twice].iloc[0]} is there twice; an item is one variable")
    names = list(dict.fromkeys(frame["name"]))
    variables = tuple(_variable(name, rows, limited) for name, rows in frame.groupby("name", sort=False))
    frame["channel"] = frame["name"].map(names.index)
    frame = frame.sort_values("id")
    own = frame["channel"].map(lambda j: variables[j].column.unit)
    recorded = tuple(
        tuple(cell.split("|")) if cell else (unit,) for cell, unit in zip(frame["recorded"], own, strict=True)
    )
    factor = _numbers(frame["factor"], "factor")
    given = zip(frame["channel"], recorded, factor, strict=True)
    factors = {(j, units[0]): number for j, units, number in given if not np.isnan(number)}
    for id, j, units, mine in zip(frame["itemid"], frame["channel"], recorded, own, strict=True):
        for unit in units:
            if unit != mine and (unit, mine) not in CONVERSIONS and (j, unit) not in factors:
                there = ", ".join(f"{a} to {b}" for a, b in CONVERSIONS)
                raise ValueError(f"itemid {id}: how is {unit!r} converted to {mine!r}? give its factor; known: {there}")
    table = _choice(frame["table"], "table", TABLES)
    return Items(
        frame["id"].to_numpy(np.int64), table, frame["channel"].to_numpy(np.int64), recorded, factors, variables
    )


def _variable(name: str, rows: Frame, limited: bool) -> Variable:
    cell = {key: _one(rows[key], name) for key in OF_VARIABLE}
    kind = cell["kind"] or "continuous"
    if kind not in ("continuous", "binary", "categorical"):
        raise ValueError(f"{name}: kind is {kind!r}; allowed are continuous, binary, categorical")
    low, valid_low, valid_high, high = (_number(cell[key], f"{name}: {key}") for key in LIMITS)
    limits = (low, low if np.isnan(valid_low) else valid_low, high if np.isnan(valid_high) else valid_high, high)
    texts, categories = _texts(cell["texts"], name, kind)
    bound = lambda number: None if np.isnan(number) or not limited else float(number)  # noqa: E731
    column = Column(
        name,
        kind,
        cell["unit"],
        categories,
        resolution=None if not cell["resolution"] else _number(cell["resolution"], f"{name}: resolution"),
        low=bound(limits[1]),
        high=bound(limits[2]),
        key=_written(rows, cell["unit"]),
    )
    aggregate = str(_choice(pd.Series([cell["aggregate"]]), f"{name}: aggregate", AGGREGATES)[0])
    if aggregate != "last" and kind != "continuous":
        raise ValueError(f"{name}: aggregate is {aggregate}, but a {kind} variable has no {aggregate}; leave it out")
    return Variable(column, limits, aggregate, texts)


def _written(rows: Frame, unit: str) -> str:
    """Return table and id of the item that a variable is written back as: the first in its own unit, or the first."""
    ours = rows[[not cell or unit in cell.split("|") for cell in rows["recorded"]]]
    row = (ours if len(ours) else rows).iloc[0]
    return f"{row['table'] or TABLES[0]}/{row['itemid']}"


def _texts(cell: str, name: str, kind: str) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return what texts mean, and the categories."""
    texts: dict[str, float] = {}
    for position, part in enumerate(part for part in cell.split("|") if part):
        text, _, number = part.rpartition("=") if "=" in part and kind != "categorical" else (part, "", str(position))
        texts[text.strip()] = _number(number, f"{name}: texts {part!r}")
    return texts, tuple(texts) if kind == "categorical" else ()


def _one(cells: Cells, name: str) -> str:
    different = list(dict.fromkeys(cell for cell in cells if cell))
    if len(different) > 1:
        raise ValueError(
            f"{name} has {len(different)} values of {cells.name} ({', '.join(different[:3])}); one is needed"
        )
    return different[0] if different else ""


def _number(cell: str, what: str) -> float:
    try:
        return float(cell) if cell else np.nan
    except ValueError:
        raise ValueError(f"{what} is {cell!r}; a number is needed") from None


def _numbers(cells: Cells, name: str) -> Float[ndarray, " rows"]:
    return np.array([_number(cell, f"row {row}: {name}") for row, cell in enumerate(cells, start=1)])


def _choice(cells: Cells, name: str, allowed: tuple[str, ...]) -> ndarray:
    chosen = cells.str.lower().replace("", allowed[0])
    if unknown := [cell for cell in chosen if cell not in allowed]:
        raise ValueError(f"{name} is {unknown[0]!r}; allowed are {', '.join(allowed)}")
    return chosen.to_numpy(str)
