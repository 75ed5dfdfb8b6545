"""The user's world: sequences in physical units, NaN where nothing was measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

from .schema import Column, Schema
from .words import nearest


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

    values: Float[ndarray, "n length channels"]
    schema: Schema
    lengths: Int[ndarray, " n"] = field(default=None)  # type: ignore[assignment]
    static: Float[ndarray, "n statics"] = field(default=None)  # type: ignore[assignment]
    subject: Shaped[ndarray, " n"] = field(default=None)  # type: ignore[assignment]

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

    def _repr_html_(self) -> str:
        from . import summary

        return summary.html(self)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def length(self) -> int:
        return self.values.shape[1]

    @property
    def alive(self) -> Bool[ndarray, "n length"]:
        """Which steps lie within their sequence."""
        return np.arange(self.values.shape[1])[None, :] < self.lengths[:, None]

    def take(self, index: Shaped[ndarray, " k"] | slice) -> Sequences:
        """Select sequences by position or mask."""
        parts = {name: getattr(self, name)[index] for name in ("values", "lengths", "static", "subject")}
        return replace(self, **parts)

    def channel(self, name: str) -> Float[ndarray, "n length"]:
        """Return one channel by name."""
        return self.values[:, :, self.schema.channel_index(name)]

    def static_column(self, name: str) -> Float[ndarray, " n"]:
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
            rules=(),
            channels=tuple(self.schema.channels[j] for j in keep_channels),
            statics=tuple(self.schema.statics[j] for j in keep_statics),
            image=self.schema.image if len(keep_channels) == len(self.schema.channels) else None,
            gap=None if self.schema.gap in names else self.schema.gap,
        ).keeping(*self.schema.rules)
        return replace(
            self, schema=schema, values=self.values[:, :, keep_channels], static=self.static[:, keep_statics]
        )

    def until(self, length: int) -> Sequences:
        """Leave out all steps from a number of them on."""
        return replace(self, values=self.values[:, :length], lengths=np.minimum(self.lengths, length))

    def like(self, schema: Schema, length: int) -> Sequences:
        """Bring columns into the order and the codes of a schema, and pad to a length, as ended.

        Raises:
            ValueError: with the differences, if that cannot be done without loss.
        """
        if self.length == length and not schema.differences(self.schema):
            return self
        channels, statics = self.schema.channels, self.schema.statics
        ours = replace(self.schema, channels=_alike(channels, schema.channels), statics=_alike(statics, schema.statics))
        if found := schema.differences(ours):
            raise ValueError(f"the data are of another schema: {'; '.join(found)}")
        if length < self.length:
            raise ValueError(f"the data have {self.length} steps, and at most {length} are possible here")
        padded = np.pad(self.values, ((0, 0), (0, length - self.length), (0, 0)), constant_values=np.nan)
        values, static = _recoded(padded, channels, ours.channels), _recoded(self.static, statics, ours.statics)
        return replace(self, schema=ours, values=values, static=static)

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


def _alike(columns: tuple[Column, ...], wanted: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return columns in the order of others of the same names, and with their codes where they can be taken over."""
    ours = {column.name: column for column in columns}
    if ours.keys() != {column.name for column in wanted}:
        return columns
    pairs = [(ours[column.name], column) for column in wanted]
    return tuple(
        replace(our, kind=their.kind, categories=their.categories) if _recoding(our, their) else our
        for our, their in pairs
    )


def _recoded(array: ndarray, old: tuple[Column, ...], new: tuple[Column, ...]) -> ndarray:
    """Put columns, the last axis, into another order and other codes."""
    names = [column.name for column in old]
    out = np.empty_like(array)
    for j, column in enumerate(new):
        k = names.index(column.name)
        codes = _recoding(old[k], column)
        assert codes is not None
        out[..., j] = codes(array[..., k])
    return out


def _recoding(old: Column, new: Column) -> Callable[[ndarray], ndarray] | None:
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


def _three_axes(values: ndarray) -> tuple[int, int, int]:
    if values.ndim != 3:
        raise ValueError(f"values need 3 axes (n, length, channels), got shape {values.shape}")
    n, length, channels = values.shape
    return n, length, channels
