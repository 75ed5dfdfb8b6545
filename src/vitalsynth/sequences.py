"""What the data are: the user's world (`Sequences`) and the networks' world (`Encoded`).

The order of axes is always `(n, length, channels)`: sequences, time steps, variables. In `Sequences` the values are in
physical units and **NaN means not measured**. `Encoded` is dense and of roughly unit scale; `Preparation` goes between.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

Kind = Literal["continuous", "binary", "categorical"]
Label = str | int | float | bool


@dataclass(frozen=True)
class Column:
    """A variable: a channel that changes with time, or a static that belongs to the whole sequence.

    Args:
        name: As in the user's table.
        kind: `continuous` (a number), `binary` (0 or 1) or `categorical` (the index of a category).
        unit: As printed on axes, `mmHg`, or empty.
        categories: What the codes 0, 1, ... stand for. A binary column has two, or none if it is 0 and 1 itself.
        resolution: Recorded values are multiples of this (0.5 for half degrees); None if they are not rounded.
        low: No value lies below (a saturation of 0 %); None if unbounded.
        high: No value lies above.
    """

    name: str
    kind: Kind = "continuous"
    unit: str = ""
    categories: tuple[Label, ...] = ()
    resolution: float | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.kind == "categorical" and not self.categories:
            raise ValueError(f"column {self.name!r} is categorical but lists no categories")
        if self.kind == "binary" and len(self.categories) not in (0, 2):
            raise ValueError(f"column {self.name!r} is binary but has {len(self.categories)} categories; 2 are allowed")

    @property
    def title(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def form(self) -> str:
        """What kind of column it is, with its categories, in words."""
        return f"{self.kind} ({', '.join(map(str, self.categories))})" if self.categories else self.kind

    def code(self, label: Any) -> float:
        """Return the number that stands for a label, `"Male"` -> 1.0.

        Raises:
            ValueError: if the column has no such label.
        """
        labels = self.categories or ((0, 1) if self.kind == "binary" else ())
        if not labels:
            try:
                return float(label)
            except (TypeError, ValueError):
                raise ValueError(f"{self.name} is a number; {label!r} is not") from None
        by_text = {str(known): code for code, known in enumerate(labels)}
        text = str(label)
        if text not in by_text and _is_number(text):  # 1 and 1.0 are the same class
            by_text = {str(float(k)) if _is_number(k) else k: code for k, code in by_text.items()}
            text = str(float(text))
        if text not in by_text:
            known = ", ".join(map(str, labels[:12])) + (", ..." if len(labels) > 12 else "")
            raise ValueError(f"{self.name} has no category {label!r}; it has {known}")
        return float(by_text[text])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Schema:
    """The names, kinds and units of a set of sequences, and how their table is written.

    Args:
        channels: Variables that change with time, in the order of the last axis of `values`.
        statics: One value per sequence, in the order of the last axis of `static`.
        step: Duration of one time step, in `step_unit`.
        step_unit: `h`, `s`, or empty when steps are only counted.
        id: Name of the column that says to which sequence a row belongs.
        time: Name of the time column.
        subject: Name of the column that says whose sequence it is; None where the id does.
        time_kind: How time is written: a `number`, a `timedelta`, or a `datetime`.
        start: Time of the first step, in `step_unit`.
        image: (height, width, colours) where the sequences are images read row by row; None elsewhere.
    """

    channels: tuple[Column, ...]
    statics: tuple[Column, ...] = ()
    step: float = 1.0
    step_unit: str = ""
    id: str = "id"
    time: str = "time"
    subject: str | None = None
    time_kind: Literal["number", "timedelta", "datetime"] = "number"
    start: float = 0.0
    image: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"column names must differ; given twice: {', '.join(twice)}")
        if not self.channels:
            raise ValueError("a schema needs at least one channel")

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.channels + self.statics

    def static_index(self, name: str) -> int:
        """Return the position of a static column.

        Raises:
            ValueError: if there is none of that name.
        """
        return _position(name, self.statics, "static column")

    def channel_index(self, name: str) -> int:
        """Return the position of a channel.

        Raises:
            ValueError: if there is none of that name.
        """
        return _position(name, self.channels, "channel")

    def differences(self, other: Schema) -> list[str]:
        """Say how another schema differs in what networks depend on: names, order, kinds and categories."""
        found: list[str] = []
        for what, ours, theirs in (
            ("channel", self.channels, other.channels),
            ("static column", self.statics, other.statics),
        ):
            mine, others = ({column.name: column for column in columns} for columns in (ours, theirs))
            found += [f"no {what} {name!r}" for name in mine if name not in others]
            found += [f"a {what} {name!r} too many" for name in others if name not in mine]
            both = [name for name in mine if name in others]
            found += [
                f"{name!r} is {others[name].form}, not {mine[name].form}"
                for name in both
                if mine[name].form != others[name].form
            ]
            if not found and list(mine) != list(others):
                found.append(f"the {what}s are in another order")
        return found

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Schema:
        def columns(rows: Iterable[dict[str, Any]]) -> tuple[Column, ...]:
            return tuple(Column(**{**row, "categories": tuple(row["categories"])}) for row in rows)

        image = tuple(record["image"]) if record["image"] else None
        own = {"channels": columns(record["channels"]), "statics": columns(record["statics"]), "image": image}
        return cls(**{**record, **own})


def _position(name: str, columns: Sequence[Column], what: str) -> int:
    names = [column.name for column in columns]
    if name not in names:
        raise ValueError(f"no {what} {name!r}; {nearest(name, names)}")
    return names.index(name)


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known word was probably meant: the end of an error message."""
    import difflib

    known = list(known)
    if close := difflib.get_close_matches(word, known, n=1, cutoff=0.5):
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}" if known else "there are none"


def listed(text: str | list[str]) -> list[str]:
    """Read a comma-separated list."""
    parts = text.split(",") if isinstance(text, str) else text
    return [part.strip() for part in parts if part.strip()]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences in physical units, with gaps, lengths, static columns and subjects.

    Args:
        values: `(n, length, channels)`; NaN is not measured; binary and categorical channels hold codes.
        schema: What the columns are.
        lengths: `(n,)` steps of each sequence, at least 1; all full by default. Later steps become NaN.
        static: `(n, statics)`; NaN is unknown.
        subject: `(n,)` whose sequence it is; a subject of its own for each by default. Splits never part a subject.

    Raises:
        ValueError: if the parts do not fit together.
    """

    values: Float[np.ndarray, "n length channels"]
    schema: Schema
    lengths: Int[np.ndarray, " n"] = field(default=None)  # type: ignore[assignment]
    static: Float[np.ndarray, "n statics"] = field(default=None)  # type: ignore[assignment]
    subject: Shaped[np.ndarray, " n"] = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        set_field = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731 (frozen)
        n, length, channels = _three_axes(self.values)
        if channels != len(self.schema.channels):
            raise ValueError(f"values have {channels} channels, the schema names {len(self.schema.channels)}")
        if self.lengths is None:
            set_field("lengths", np.full(n, length, dtype=np.int64))
        if self.static is None:
            set_field("static", np.zeros((n, 0), dtype=self.values.dtype))
        if self.subject is None:
            set_field("subject", np.arange(n))
        if self.static.shape != (n, len(self.schema.statics)):
            raise ValueError(f"static has shape {self.static.shape}, expected {(n, len(self.schema.statics))}")
        for name in ("lengths", "subject"):
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {(n,)}")
        if n and not (self.lengths.min() >= 1 and self.lengths.max() <= length):
            raise ValueError(f"lengths must lie between 1 and {length}")
        if np.isinf(self.values).any() or np.isinf(self.static).any():
            raise ValueError("values must be finite, or NaN where nothing was measured")
        if not np.isnan(self.values[~self.alive]).all():
            set_field("values", np.where(self.alive[..., None], self.values, np.nan).astype(self.values.dtype))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def length(self) -> int:
        return self.values.shape[1]

    @property
    def alive(self) -> Bool[np.ndarray, "n length"]:
        """Which steps lie within their sequence."""
        return np.arange(self.values.shape[1])[None, :] < self.lengths[:, None]

    def take(self, index: Shaped[np.ndarray, " k"] | slice) -> Sequences:
        """Select sequences by position or mask."""
        parts = {name: getattr(self, name)[index] for name in ("values", "lengths", "static", "subject")}
        return replace(self, **parts)

    def channel(self, name: str) -> Float[np.ndarray, "n length"]:
        """Return one channel by name."""
        return self.values[:, :, self.schema.channel_index(name)]

    def static_column(self, name: str) -> Float[np.ndarray, " n"]:
        """Return one static column by name."""
        return self.static[:, self.schema.static_index(name)]

    def drop(self, names: Iterable[str]) -> Sequences:
        """Leave out channels and static columns by name.

        Raises:
            ValueError: if there is no such column.
        """
        names = set(names)
        if unknown := sorted(names - {column.name for column in self.schema.columns}):
            raise ValueError(f"no column {unknown[0]!r}; {nearest(unknown[0], [c.name for c in self.schema.columns])}")
        keep_channels = [j for j, c in enumerate(self.schema.channels) if c.name not in names]
        keep_statics = [j for j, c in enumerate(self.schema.statics) if c.name not in names]
        schema = replace(
            self.schema,
            channels=tuple(self.schema.channels[j] for j in keep_channels),
            statics=tuple(self.schema.statics[j] for j in keep_statics),
        )
        return replace(
            self, schema=schema, values=self.values[:, :, keep_channels], static=self.static[:, keep_statics]
        )

    def like(self, schema: Schema, length: int) -> Sequences:
        """Bring columns into the order and the codes of a schema, and pad to a length, as ended.

        Raises:
            ValueError: with the differences, if that cannot be done without loss.
        """
        if self.length == length and not schema.differences(self.schema):
            return self
        names = {"channels": [c.name for c in schema.channels], "statics": [c.name for c in schema.statics]}
        ordered = self
        if all({c.name for c in getattr(self.schema, part)} == set(names[part]) for part in names):
            j, k = ([[c.name for c in getattr(self.schema, part)].index(n) for n in names[part]] for part in names)
            ours = replace(
                self.schema,
                channels=tuple(self.schema.channels[i] for i in j),
                statics=tuple(self.schema.statics[i] for i in k),
            )
            ordered = replace(self, schema=ours, values=self.values[:, :, j].copy(), static=self.static[:, k].copy())
            for part, array in (("channels", ordered.values), ("statics", ordered.static)):
                columns = [list(getattr(one, part)) for one in (ordered.schema, schema)]
                for position, (old, new) in enumerate(zip(*columns, strict=True)):
                    if (codes := _recoding(old, new)) is not None:
                        array[..., position] = codes(array[..., position])
                        columns[0][position] = replace(old, kind=new.kind, categories=new.categories)
                ordered = replace(ordered, schema=replace(ordered.schema, **{part: tuple(columns[0])}))
        if found := schema.differences(ordered.schema):
            raise ValueError(f"the data are of another schema: {'; '.join(found)}")
        if missing := length - self.length:
            if missing < 0:
                raise ValueError(f"the data have {self.length} steps, and at most {length} are possible here")
            values = np.pad(ordered.values, ((0, 0), (0, missing), (0, 0)), constant_values=np.nan)
            ordered = replace(ordered, values=values)
        return ordered

    def cut(self, fraction: float, seed: int = 0) -> str:
        """Return the mark up to which subjects are held out so that they are a fraction of all.

        Raises:
            ValueError: if there is one subject only.
        """
        marks = sorted(_mark(subject, seed) for subject in np.unique(self.subject))
        if len(marks) < 2:
            raise ValueError(
                "one subject cannot be split; at least 2 are needed to hold some out (--held_out 0 does not)"
            )
        return marks[min(max(1, round(fraction * len(marks))), len(marks) - 1) - 1]

    def split_at(self, cut: str, seed: int = 0) -> tuple[Sequences, Sequences]:
        """Part by subject into (the rest, those held out), by a mark from `cut`.

        Who is held out depends on the mark, the seed and the subject's id alone: with more subjects, or others, each
        stays on its side.

        Raises:
            ValueError: if either part would be empty.
        """
        subjects, position = np.unique(self.subject, return_inverse=True)
        held_out = np.array([_mark(subject, seed) <= cut for subject in subjects])[position]
        if held_out.all() or not held_out.any():
            raise ValueError(f"of these {len(subjects)} subjects {'all' if held_out.all() else 'none'} are held out")
        return self.take(~held_out), self.take(held_out)

    def split(self, fraction: float, seed: int = 0) -> tuple[Sequences, Sequences]:
        """Part by subject into (the rest, a held-out fraction of the subjects); see `split_at`.

        Raises:
            ValueError: if either part would be empty.
        """
        return self.split_at(self.cut(fraction, seed), seed)

    def digest(self) -> str:
        """Return a SHA-256 over values, lengths, statics, subjects and columns: the same data give the same text.

        Of a column its name, kind and categories count, not its unit and bounds.
        """
        columns = [(column.name, column.kind, column.categories) for column in self.schema.columns]
        sha = hashlib.sha256(json.dumps(columns).encode())
        for part in (self.values, self.lengths, self.static):
            sha.update(repr(part.shape).encode() + np.nan_to_num(part, nan=1e30).tobytes())
        sha.update("\n".join(map(str, self.subject)).encode())
        return sha.hexdigest()


def _recoding(old: Column, new: Column) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return how codes of one column become those of another that has all its categories; None if it cannot be done."""
    if old.form == new.form:
        return lambda codes: codes
    if old.kind == "binary" and not old.categories and new.kind == "continuous":
        return lambda codes: codes
    if not old.categories or not set(old.categories) <= set(new.categories):
        return None
    positions = np.array([new.categories.index(label) for label in old.categories], dtype=float)
    return lambda codes: np.where(np.isnan(codes), np.nan, positions[np.nan_to_num(codes).astype(int)])


def _mark(subject: object, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{subject}".encode()).hexdigest()


def _three_axes(values: np.ndarray) -> tuple[int, int, int]:
    if values.ndim != 3:
        raise ValueError(f"values need 3 axes (n, length, channels), got shape {values.shape}")
    n, length, channels = values.shape
    return n, length, channels


@dataclass(frozen=True)
class Block:
    """Neighbouring encoded columns that belong together.

    Args:
        kind: `continuous` (any number), `binary` (one column of 0 and 1) or `categorical` (one-hot).
        width: Number of columns.
        gate: Position of the 0/1 column that says whether this block was measured (it is 0 where not); None if always.
    """

    kind: Kind
    width: int = 1
    gate: int | None = None


@dataclass(frozen=True)
class Shape:
    """All that a network must know of the data; nobody configures it.

    Args:
        length: Time steps.
        x: What the encoded channels are, in order.
        s: What the encoded statics are, in order.
        condition: Width of the condition, 0 if there is none.
        alive: Position of the 0/1 channel that is 1 until the sequence ends; None if all have full length.
    """

    length: int
    x: tuple[Block, ...]
    s: tuple[Block, ...] = ()
    condition: int = 0
    alive: int | None = None

    @property
    def channels(self) -> int:
        return sum(block.width for block in self.x)

    @property
    def statics(self) -> int:
        return sum(block.width for block in self.s)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Shape:
        blocks = {part: tuple(Block(**block) for block in record[part]) for part in ("x", "s")}
        return cls(**{**record, **blocks})


@dataclass(frozen=True, eq=False)
class Encoded:
    """Dense sequences of roughly unit scale: what networks emit and see.

    Args:
        x: `(n, length, channels)`, no NaN.
        s: `(n, statics)`, no NaN.
        condition: `(n, condition)`, what was conditioned on.
    """

    x: Float[Tensor, "n length channels"]
    s: Float[Tensor, "n statics"]
    condition: Float[Tensor, "n condition"]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Int[Tensor, " k"] | slice) -> Encoded:
        """Select sequences by position."""
        return Encoded(self.x[index], self.s[index], self.condition[index])

    def to(self, target: torch.device | torch.dtype) -> Encoded:
        """Move to a device, or convert to a dtype."""
        return Encoded(self.x.to(target), self.s.to(target), self.condition.to(target))
