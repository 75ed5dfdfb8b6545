"""`Preparation`: from what the user has to what networks see, and back without loss.

    Sequences --encode--> Encoded(x, s, condition) --decode--> Sequences

`x` holds the channels, then a 0/1 mask for every channel with gaps (so that a generator also learns *when* something is
measured), then a 0/1 alive channel if lengths differ. `s` holds the static columns that are generated and what a
normaliser took out of each sequence; `condition` the static columns that are given. Whatever was not measured is 0.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from numpy import ndarray
from torch import Tensor

from . import normalisation
from .normalisation import Normaliser
from .sequences import Block, Column, Encoded, Schema, Sequences, Shape, nearest
from .whitening import Whitening

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """How one column is encoded.

    Args:
        column: What it is.
        normaliser: How a continuous column is scaled; None for the others.
        gaps: Whether it is missing anywhere in the training set, so that it needs a mask.
        statics_gaps: Whether any training sequence lacks what the normaliser takes out of it.
        extremes: Smallest and largest training value.
        change: By how much the encoded value changes from one measurement to the next, where it does: the median size;
            None if it never does.
    """

    column: Column
    normaliser: Normaliser | None
    gaps: bool
    statics_gaps: bool
    extremes: tuple[float, float]
    change: float | None = None

    @property
    def width(self) -> int:
        return len(self.column.categories) if self.column.kind == "categorical" else 1

    def block(self, gate: int | None) -> Block:
        """Return what a network is told of the encoded column."""
        if self.normaliser is None or self.normaliser.width:
            return Block(self.column.kind, self.width, gate, change=self.change)
        low, high = self.normaliser.encode(np.array([self.extremes]))[0][0].tolist()
        step, affine = self.column.resolution, self.normaliser.affine
        grid = None if step is None or affine is None else (step / affine[1], -affine[0] / affine[1])
        return Block("continuous", 1, gate, grid, (low, high), self.change)

    @classmethod
    def fit(cls, column: Column, values: Float[ndarray, "n length"], alive: ndarray, kind: str) -> Part:
        missing = np.isnan(values)
        if missing.all():
            raise ValueError(f"column {column.name!r} has no measured value; leave it out (--drop {column.name})")
        normaliser = normalisation.named(kind).fit(values) if column.kind == "continuous" else None
        taken_out = normaliser is not None and normaliser.width > 0
        statics_gaps = taken_out and bool(missing.all(axis=1).any())
        extremes = (float(np.nanmin(values)), float(np.nanmax(values)))
        change = _typical_change(normaliser.encode(values)[0]) if normaliser else None
        return cls(column, normaliser, bool((missing & alive).any()), statics_gaps, extremes, change)

    def encode(self, values: Float[ndarray, "n length"]) -> tuple[Float[ndarray, "n length width"], ndarray]:
        """Return the encoded columns, NaN where not measured, and what was taken out of each sequence."""
        if self.normaliser is not None:
            scaled, statics = self.normaliser.encode(values)
            return scaled[..., None], statics
        nothing = np.zeros((len(values), 0))
        if self.column.kind == "binary":
            return values[..., None], nothing
        hot = (values[..., None] == np.arange(self.width)).astype(np.float64)
        return np.where(np.isnan(values)[..., None], np.nan, hot), nothing

    def decode(
        self, encoded: Float64[Tensor, "n length width"], statics: Float64[Tensor, "n k"], within_extremes: bool = False
    ) -> Float64[Tensor, "n length"]:
        """Undo `encode`, onto the column's resolution and within its bounds or the extremes seen in training."""
        missing = torch.isnan(encoded[..., 0])
        if self.column.kind == "categorical":
            return torch.where(missing, torch.nan, encoded.argmax(dim=-1).double())
        if self.column.kind == "binary":
            return torch.where(missing, torch.nan, (encoded[..., 0] > 0.5).double())
        assert self.normaliser is not None
        values = self.normaliser.decode(encoded[..., 0], statics)
        if (step := self.column.resolution) is not None:
            values = torch.round(values / step) / (1 / step) + 0.0  # no -0
        low, high = self.extremes if within_extremes else (self.column.low, self.column.high)
        return values if low is None and high is None else values.clamp(low, high)


@dataclass(frozen=True, eq=False)
class Preparation:
    """A fitted way between `Sequences` and `Encoded`: numbers only, saved as JSON.

    Args:
        schema: Of the sequences it was fitted on.
        length: Time steps.
        channels: How each channel is encoded.
        statics: How each static column is encoded.
        condition: Names of the static columns that are given, not generated, in order.
        varying: Whether lengths differ.
        combinations: Of conditions in the training set, rounded to 20 quantiles where continuous.
        counts: How often each occurred.
        whitening: How continuous channels without gaps are whitened; None if they are not.
    """

    schema: Schema
    length: int
    channels: tuple[Part, ...]
    statics: tuple[Part, ...]
    condition: tuple[str, ...]
    varying: bool
    combinations: Float[ndarray, "m condition"]
    counts: Shaped[ndarray, " m"]
    whitening: Whitening | None = None

    @classmethod
    def fit(
        cls,
        sequences: Sequences,
        normalise: str | Mapping[str, str] = "standard",
        condition: Sequence[str] = (),
        whiten: float = 0.0,
    ) -> Preparation:
        """Read everything off the training sequences.

        Args:
            sequences: What to learn from.
            normalise: One of `minmax`, `standard`, `quantile`, `local`, `local-max`, `integrated` for all continuous
                channels, or by name, `{"hr": "local", "*": "standard"}`. Static columns take the first three only.
            condition: Static columns that will be given when sampling.
            whiten: Floor of the eigenvalues when continuous channels without gaps are whitened, as a share of the
                largest; 0 leaves channels as they are.

        Raises:
            ValueError: if a column is unknown, has no value, or cannot be normalised that way.
        """
        if not len(sequences):
            raise ValueError("there are no sequences to learn from")
        schema = sequences.schema
        for name in condition:
            if name in [column.name for column in schema.channels]:
                raise ValueError(f"{name!r} changes with time; a condition must be a static column")
            schema.static_index(name)
        if twice := [name for name in condition if list(condition).count(name) > 1]:
            raise ValueError(f"condition {twice[0]!r} is named twice")
        chosen = _choice(schema, normalise)
        alive = sequences.alive
        channels = tuple(
            Part.fit(column, sequences.values[:, :, j], alive, chosen[column.name])
            for j, column in enumerate(schema.channels)
        )
        once = np.ones((len(sequences), 1), dtype=bool)
        statics = tuple(
            Part.fit(column, sequences.static[:, j : j + 1], once, chosen[column.name])
            for j, column in enumerate(schema.statics)
        )
        combinations, counts = _combinations(sequences, tuple(condition))
        varying = bool((sequences.lengths < sequences.length).any())
        fitted = cls(schema, sequences.length, channels, statics, tuple(condition), varying, combinations, counts)
        return fitted._whitened(sequences, whiten) if whiten else fitted

    def _whitened(self, sequences: Sequences, floor: float) -> Preparation:
        starts = np.cumsum([0, *(part.width for part in self.channels)])
        free = [int(j) for j, part in zip(starts, self.channels, strict=False) if part.normaliser and not part.gaps]
        x = self._encode_channels(sequences)[0][sequences.alive][:, free]
        return replace(self, whitening=Whitening.fit(x, free, floor)) if len(free) > 1 and x.any() else self

    @property
    def generated(self) -> tuple[Part, ...]:
        return tuple(part for part in self.statics if part.column.name not in self.condition)

    @property
    def given(self) -> tuple[Part, ...]:
        return tuple(self.statics[self.schema.static_index(name)] for name in self.condition)

    @property
    def shape(self) -> Shape:
        """What networks are told of the data."""
        gaps = [part for part in self.channels if part.gaps]
        starts = np.cumsum([0, *(part.width for part in self.channels)]).tolist()
        mixed = self.whitening.positions if self.whitening else ()
        components = self.whitening.components if self.whitening else 0
        first_mask = components + starts[-1] - len(mixed)
        gates = {part.column.name: first_mask + j for j, part in enumerate(gaps)}
        x = [Block("continuous")] * components
        x += [
            part.block(gates.get(part.column.name))
            for part, start in zip(self.channels, starts, strict=False)
            if start not in mixed
        ]
        x += [Block("binary")] * (len(gaps) + self.varying)
        s: list[Block] = []
        for blocks, gated in self._static_blocks():
            gate = sum(block.width for block in s) + sum(block.width for block in blocks)
            s += [*(replace(block, gate=gate) for block in blocks), Block("binary")] if gated else blocks
        condition = sum(part.width + part.gaps for part in self.given)
        alive = first_mask + len(gaps) if self.varying else None
        return Shape(self.length, tuple(x), tuple(s), condition, alive, self._image(x))

    def _image(self, x: Sequence[Block]) -> tuple[int, int, int] | None:
        """Return the size of the images, if their encoded columns are still the pixels of a row, each like the next."""
        image = self.schema.image
        if image is None or self.varying or self.whitening is not None or any(part.gaps for part in self.channels):
            return None
        height, width, colours = image
        if self.schema.tile == (height, 1):  # read by columns: the image lies on its side
            height, width = width, height
        elif self.schema.tile not in (None, (1, width)):
            return None
        forms = [(block.kind, block.width) for block in x]
        return (height, width, colours) if height == self.length and forms == width * forms[:colours] else None

    def _static_blocks(self) -> Iterator[tuple[list[Block], bool]]:
        for part in self.generated:
            yield [part.block(None)], part.gaps
        for part in self.channels:
            if part.normaliser is not None and part.normaliser.width:
                yield [Block("continuous")] * part.normaliser.width, part.statics_gaps

    def encode(self, sequences: Sequences) -> Encoded:
        """Encode sequences of the same schema.

        Lossless for those it was fitted on, to float32 precision, but for the names of subjects.

        Raises:
            ValueError: if the schema differs, or a gap occurs where none did in training.
        """
        self._check(sequences)
        x, masks, taken_out = self._encode_channels(sequences)
        if self.whitening:
            x = self.whitening.encode(x)
        own = [self._encode_static(part, sequences) for part in self.generated]
        given = [self._encode_static(part, sequences) for part in self.given]
        nothing = np.zeros((len(sequences), 0))
        tensor = lambda parts: torch.from_numpy(np.concatenate(parts, axis=-1).astype(np.float32))  # noqa: E731
        return Encoded(tensor([x, *masks]), tensor([*own, *taken_out, nothing]), tensor([*given, nothing]))

    def _encode_channels(self, sequences: Sequences) -> tuple[Float[ndarray, "n length columns"], list, list]:
        """Return the columns of the channels, their masks, and what was taken out of each sequence."""
        alive = sequences.alive
        values, masks, taken_out = [], [], []
        for j, part in enumerate(self.channels):
            column = sequences.values[:, :, j].astype(np.float64)
            missing = np.isnan(column)
            if not part.gaps and (missing & alive).any():
                raise ValueError(f"channel {part.column.name!r} has gaps, but had none when the preparation was fitted")
            encoded, statics = part.encode(column)
            values.append(np.nan_to_num(encoded, nan=0.0))
            if part.gaps:
                masks.append(~missing[..., None])
            if statics.shape[1]:
                taken_out.append(_with_gate(statics, part.statics_gaps))
        if self.varying:
            masks.append(alive[..., None])
        return np.concatenate(values, axis=-1), masks, taken_out

    def _check(self, sequences: Sequences) -> None:
        if found := self.schema.differences(sequences.schema):
            raise ValueError(f"the sequences are not like those the preparation was fitted on: {'; '.join(found)}")
        if sequences.length != self.length:
            raise ValueError(f"sequences have {sequences.length} steps; the preparation was fitted on {self.length}")
        if not self.varying and (sequences.lengths < self.length).any():
            raise ValueError("sequences differ in length, but did not when the preparation was fitted")

    def _encode_static(self, part: Part, sequences: Sequences) -> ndarray:
        column = sequences.static_column(part.column.name)[:, None].astype(np.float64)
        if not part.gaps and np.isnan(column).any():
            raise ValueError(
                f"static column {part.column.name!r} is missing, but never was when the preparation was fitted"
            )
        return _with_gate(part.encode(column)[0][:, 0], part.gaps)

    def decode(
        self, encoded: Encoded, subject: Shaped[ndarray, " n"] | None = None, within_extremes: bool = False
    ) -> Sequences:
        """Undo `encode`; generated values may be soft, and 0/1 columns are cut at one half.

        Args:
            encoded: From `encode`, or from a generator.
            subject: Whose sequences they are; numbered from 0 by default.
            within_extremes: Keep generated numbers between the smallest and the largest that training saw.
        """
        x, s, condition = (part.detach().cpu() for part in (encoded.x, encoded.s, encoded.condition))
        values, lengths, static = (part.numpy() for part in self.physical(Encoded(x, s, condition), within_extremes))
        return Sequences(values, self.schema, lengths, static, np.arange(len(values)) if subject is None else subject)

    def physical(
        self, encoded: Encoded, within_extremes: bool = False
    ) -> tuple[Float64[Tensor, "n length channels"], Int64[Tensor, " n"], Float64[Tensor, "n statics"]]:
        """Return values, lengths and statics in physical units: what `decode` does, on tensors alone."""
        x, s, condition = (part.double() for part in (encoded.x, encoded.s, encoded.condition))
        first_mask = sum(part.width for part in self.channels)
        if self.whitening:
            x = self.whitening.decode(x, first_mask)
        lengths = torch.full_like(x[:, 0, 0], self.length, dtype=torch.int64)
        if self.varying:
            ended = (x[:, :, -1] < 0.5).long()
            lengths = torch.where(ended.amax(dim=1) > 0, ended.argmax(dim=1), lengths).clamp(min=1)
        alive = torch.arange(self.length, device=x.device) < lengths[:, None]

        columns = _Reader(s)
        own = {part.column.name: self._decode_static(part, columns, within_extremes) for part in self.generated}
        reader = _Reader(condition)
        own |= {part.column.name: self._decode_static(part, reader, False) for part in self.given}
        values = []
        offset = 0
        for part in self.channels:
            measured = alive
            if part.gaps:
                measured = alive & (x[:, :, first_mask] > 0.5)
                first_mask += 1
            width = part.normaliser.width if part.normaliser else 0
            taken_out = columns.take(width, part.statics_gaps and width > 0, fill=0.0)
            block = torch.where(measured[..., None], x[:, :, offset : offset + part.width], torch.nan)
            values.append(part.decode(block, taken_out, within_extremes))
            offset += part.width
        static = [own[column.name] for column in self.schema.statics]
        return torch.stack(values, dim=2), lengths, torch.stack(static, dim=1) if static else x[:, 0, :0]

    @staticmethod
    def _decode_static(part: Part, reader: _Reader, within_extremes: bool) -> Float64[Tensor, " n"]:
        block = reader.take(part.width, part.gaps, fill=torch.nan)
        return part.decode(block[:, None], block[:, :0], within_extremes)[:, 0]

    def conditions(
        self, count: int, given: Mapping[str, Any] | None = None, seed: int = 0
    ) -> Float[Tensor, "n condition"]:
        """Draw conditions as the training set had them, with some columns fixed: `{"died": 1}`.

        A combination never seen is allowed, with a warning: the other columns are then drawn as if independent of it.

        Raises:
            ValueError: if a fixed column is not conditioned on, has no such category, or the number was never near.
        """
        fixed = {name: self._code(name, label) for name, label in (given or {}).items()}
        if not self.condition:
            return torch.zeros(count, 0)
        match = np.ones(len(self.combinations), dtype=bool)
        for name, code in fixed.items():
            column = self.combinations[:, self.condition.index(name)]
            if self._part(name).normaliser is not None:  # combinations hold the middles of its quantile bins
                code = column[np.nanargmin(np.abs(column - code))]
            match &= column == code
        if not match.any():
            log.warning("no training sequence has %s together", ", ".join(f"{k}={v}" for k, v in (given or {}).items()))
            match[:] = True
        rows, weights = self.combinations[match], self.counts[match].astype(np.float64)
        chosen = rows[np.random.default_rng(seed).choice(len(rows), size=count, p=weights / weights.sum())]
        for name, code in fixed.items():
            chosen[:, self.condition.index(name)] = code
        return self._encode_conditions(chosen)

    def condition_table(
        self,
    ) -> tuple[Float[ndarray, "m columns"], Float[Tensor, "m condition"], Shaped[ndarray, " m"]]:
        """Return the combinations of conditions that the training set had: codes, encoded, and how often."""
        return self.combinations, self._encode_conditions(self.combinations), self.counts

    def _encode_conditions(self, codes: Float[ndarray, "m columns"]) -> Float[Tensor, "m condition"]:
        encoded = [
            _with_gate(part.encode(codes[:, j : j + 1])[0][:, 0], part.gaps) for j, part in enumerate(self.given)
        ]
        nothing = np.zeros((len(codes), 0))
        return torch.from_numpy(np.concatenate([*encoded, nothing], axis=1).astype(np.float32))

    def _part(self, name: str) -> Part:
        return self.given[self.condition.index(name)]

    def _code(self, name: str, label: Any) -> float:
        if name not in self.condition:
            what = nearest(name, self.condition) if self.condition else "it was trained without a condition"
            raise ValueError(f"the run is not conditioned on {name!r}; {what}")
        part = self._part(name)
        code = part.column.code(label)
        low, high = part.extremes
        if part.normaliser is not None and not low <= code <= high:
            raise ValueError(f"{name} = {label} is outside of what training saw, {low:g} to {high:g}")
        return code

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and names."""

        def parts(rows: tuple[Part, ...]) -> list[dict[str, Any]]:
            return [
                {
                    "normaliser": normalisation.to_json(part.normaliser) if part.normaliser else None,
                    "gaps": part.gaps,
                    "statics_gaps": part.statics_gaps,
                    "extremes": part.extremes,
                    "change": part.change,
                }
                for part in rows
            ]

        return {
            "schema": self.schema.to_json(),
            "length": self.length,
            "channels": parts(self.channels),
            "statics": parts(self.statics),
            "condition": list(self.condition),
            "varying": self.varying,
            "combinations": [[None if np.isnan(v) else v for v in row] for row in self.combinations.tolist()],
            "counts": self.counts.tolist(),
            "whitening": self.whitening.to_json() if self.whitening else None,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Preparation:
        """Undo `to_json`."""
        schema = Schema.from_json(record["schema"])

        def parts(columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> tuple[Part, ...]:
            read = lambda row: normalisation.from_json(row) if row else None  # noqa: E731
            return tuple(
                Part(
                    column,
                    read(row["normaliser"]),
                    row["gaps"],
                    row["statics_gaps"],
                    tuple(row["extremes"]),
                    row.get("change"),
                )
                for column, row in zip(columns, rows, strict=True)
            )

        condition = tuple(record["condition"])
        rows = [[np.nan if v is None else v for v in row] for row in record["combinations"]]
        return cls(
            schema,
            record["length"],
            parts(schema.channels, record["channels"]),
            parts(schema.statics, record["statics"]),
            condition,
            record["varying"],
            np.array(rows, dtype=np.float64).reshape(len(rows), len(condition)),
            np.array(record["counts"], dtype=np.int64),
            Whitening.from_json(record["whitening"]) if record.get("whitening") else None,
        )


def _typical_change(encoded: Float[ndarray, "n length"]) -> float | None:
    sizes = np.abs(np.diff(encoded, axis=1))
    sizes = sizes[sizes > 1e-9]  # neither NaN nor rounding
    return float(np.median(sizes)) if len(sizes) else None


class _Reader:
    """Walks through encoded statics from left to right."""

    def __init__(self, columns: Float64[Tensor, "n k"]) -> None:
        self.columns, self.position = columns, 0

    def take(self, width: int, gated: bool, fill: float) -> Tensor:
        block = self.columns[:, self.position : self.position + width]
        self.position += width
        if gated:
            gate = self.columns[:, self.position : self.position + 1]
            self.position += 1
            block = torch.where(gate > 0.5, block, fill)
        return block


def _with_gate(columns: ndarray, gated: bool) -> ndarray:
    missing = np.isnan(columns)
    filled = np.where(missing, 0.0, columns)
    return np.concatenate([filled, ~missing[:, :1]], axis=1) if gated else filled


def choose(sequences: Sequences) -> tuple[dict[str, str], list[str]]:
    """Choose how to normalise unknown data.

    Returns:
        A normaliser for every continuous channel by name, with `*` for the statics; and why, in lines to be shown.
    """
    chosen, reasons = {"*": "standard"}, []
    for j, column in enumerate(sequences.schema.channels):
        if column.kind == "continuous" and not np.isnan(sequences.values[..., j]).all():
            if sequences.schema.image is not None:
                chosen["*"] = "minmax"
                continue
            chosen[column.name], why = normalisation.choose(sequences.values[..., j][:MOST_LOOKED_AT])
            reasons.append(f"{column.name}: {chosen[column.name]} ({why})")
    return chosen, reasons or ["pixels: minmax"]


MOST_LOOKED_AT = 20_000
"""Sequences by which a normaliser is chosen."""


def _choice(schema: Schema, normalise: str | Mapping[str, str]) -> dict[str, str]:
    """Spell out which normaliser each column takes."""
    by_name = {"*": normalise} if isinstance(normalise, str) else dict(normalise)
    names = [column.name for column in schema.columns]
    for name, kind in by_name.items():
        normalisation.named(kind)
        if name != "*" and name not in names:
            raise ValueError(f"no column {name!r} to normalise; {nearest(name, names)}")
    default = by_name.get("*", "standard")
    plain = {name for name, known in normalisation.NORMALISERS.items() if not known.width}
    chosen = {column.name: by_name.get(column.name, default) for column in schema.channels}
    for column in schema.statics:
        chosen[column.name] = by_name.get(column.name, default if default in plain else "standard")
        if chosen[column.name] not in plain:
            raise ValueError(
                f"static column {column.name!r} cannot be normalised by {chosen[column.name]!r}, which takes something "
                f"out of a sequence; use {', '.join(sorted(plain))}"
            )
    return chosen


def _combinations(sequences: Sequences, condition: tuple[str, ...]) -> tuple[ndarray, ndarray]:
    """Return distinct combinations of conditions and their counts, continuous ones as medians of 20 quantile bins."""
    if not condition:
        return np.zeros((0, 0)), np.zeros(0, dtype=np.int64)
    columns = []
    for name in condition:
        values = sequences.static_column(name).astype(np.float64)
        if sequences.schema.statics[sequences.schema.static_index(name)].kind == "continuous":
            edges = np.unique(np.nanquantile(values, np.linspace(0, 1, 21)))
            bins = np.searchsorted(edges[1:-1], values, side="right")
            middles = {b: float(np.nanmedian(values[bins == b])) for b in np.unique(bins[~np.isnan(values)])}
            values = np.array([np.nan if np.isnan(v) else middles[b] for v, b in zip(values, bins, strict=True)])
        columns.append(values)
    return np.unique(np.stack(columns, axis=1), axis=0, return_counts=True, equal_nan=True)
