"""Fitting, encoding, decoding, and what is saved of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from numpy import ndarray
from torch import Tensor

from .. import normalisation
from ..outline import Outline
from ..sequences import Block, Column, Encoded, Schema, Sequences, Shape
from ..whitening import Whitening
from .choice import spelled_out
from .conditions import Conditions, combinations
from .part import Part, Reader, with_gate


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
        outline: What a generator draws of a whole sequence before its steps; None if nothing.
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
    outline: Outline | None = None

    @classmethod
    def fit(
        cls,
        sequences: Sequences,
        normalise: str | Mapping[str, str] = "standard",
        condition: Sequence[str] = (),
        whiten: float = 0.0,
        outline: int = 0,
    ) -> Preparation:
        """Read everything off the training sequences.

        Args:
            sequences: What to learn from.
            normalise: One of `minmax`, `standard`, `quantile`, `local`, `local-max`, `integrated` for all continuous
                channels, or by name, `{"hr": "local", "*": "standard"}`. Static columns take the first three only.
            condition: Static columns that will be given when sampling.
            whiten: Floor of the eigenvalues when continuous channels without gaps are whitened, as a share of the
                largest; 0 leaves channels as they are.
            outline: How many principal components of whole sequences are made statics, which decoding does not read:
                of channels without gaps, if all sequences have the same length.

        Raises:
            ValueError: if a column is unknown, has no value, or cannot be normalised that way.
        """
        if not len(sequences):
            raise ValueError("there are no sequences to learn from")
        if not 0 <= whiten <= 1:
            raise ValueError(f"the floor of whitening must lie between 0 and 1, got {whiten}")
        if outline < 0:
            raise ValueError(f"an outline has 0 components or more, got {outline}")
        schema = sequences.schema
        for name in condition:
            if name in [column.name for column in schema.channels]:
                where = _where_it_changes(sequences.channel(name))
                raise ValueError(f"{name!r} changes with time{where}; a condition must be a static column")
            schema.static_index(name)
        if twice := [name for name in condition if list(condition).count(name) > 1]:
            raise ValueError(f"condition {twice[0]!r} is named twice")
        chosen = spelled_out(schema, normalise)
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
        found, counts = combinations(sequences, tuple(condition))
        varying = bool((sequences.lengths < sequences.length).any())
        fitted = cls(schema, sequences.length, channels, statics, tuple(condition), varying, found, counts)
        fitted = fitted._whitened(sequences, whiten) if whiten else fitted
        return fitted._outlined(sequences, outline) if outline else fitted

    def _whitened(self, sequences: Sequences, floor: float) -> Preparation:
        starts = np.cumsum([0, *(part.width for part in self.channels)])
        free = [int(j) for j, part in zip(starts, self.channels, strict=False) if part.normaliser and not part.gaps]
        x = self._encode_channels(sequences)[0][sequences.alive][:, free]
        return replace(self, whitening=Whitening.fit(x, free, floor)) if len(free) > 1 and x.any() else self

    def _outlined(self, sequences: Sequences, count: int) -> Preparation:
        x = self.shape.x
        blocks = x[: len(x) - len(self.gates) - self.varying]
        whole = np.flatnonzero(np.repeat([block.gate is None for block in blocks], [block.width for block in blocks]))
        if self.varying or not len(whole):
            return self
        return replace(self, outline=Outline.fit(self._encode_steps(sequences)[0], whole.tolist(), count))

    @property
    def generated(self) -> tuple[Part, ...]:
        return tuple(part for part in self.statics if part.column.name not in self.condition)

    @property
    def given(self) -> tuple[Part, ...]:
        return tuple(self.statics[self.schema.static_index(name)] for name in self.condition)

    @property
    def gates(self) -> dict[str, int]:
        """Encoded columns that say where a channel was measured, by its name; channels without gaps have none."""
        first = sum(part.width for part in self.channels)
        first += self.whitening.components - len(self.whitening.positions) if self.whitening else 0
        gaps = [part.column.name for part in self.channels if part.gaps]
        return {name: first + j for j, name in enumerate(gaps)}

    @property
    def shape(self) -> Shape:
        """What networks are told of the data."""
        starts = np.cumsum([0, *(part.width for part in self.channels)]).tolist()
        mixed = self.whitening.positions if self.whitening else ()
        components = self.whitening.components if self.whitening else 0
        gates = self.gates
        x = [Block("continuous")] * components
        x += [
            part.block(gates.get(part.column.name))
            for part, start in zip(self.channels, starts, strict=False)
            if start not in mixed
        ]
        x += [Block("binary")] * (len(gates) + self.varying)
        alive = sum(block.width for block in x) - 1 if self.varying else None
        s: list[Block] = []
        for blocks, gated in self._static_blocks():
            gate = sum(block.width for block in s) + sum(block.width for block in blocks)
            s += [*(replace(block, gate=gate) for block in blocks), Block("binary")] if gated else blocks
        s += [Block("continuous", outline=True)] * (self.outline.width if self.outline else 0)
        condition = sum(part.width + part.gaps for part in self.given)
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
        x, taken_out = self._encode_steps(sequences)
        if self.outline:
            taken_out.append(self.outline.encode(x))
        own = [self._encode_static(part, sequences) for part in self.generated]
        given = [self._encode_static(part, sequences) for part in self.given]
        nothing = np.zeros((len(sequences), 0))
        tensor = lambda parts: torch.from_numpy(np.concatenate(parts, axis=-1).astype(np.float32))  # noqa: E731
        return Encoded(tensor([x]), tensor([*own, *taken_out, nothing]), tensor([*given, nothing]))

    def _encode_steps(self, sequences: Sequences) -> tuple[Float[ndarray, "n length columns"], list]:
        """Return all that is encoded of the steps, and what was taken out of each sequence."""
        x, masks, taken_out = self._encode_channels(sequences)
        return np.concatenate([self.whitening.encode(x) if self.whitening else x, *masks], axis=-1), taken_out

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
                taken_out.append(with_gate(statics, part.statics_gaps))
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
        return with_gate(part.encode(column)[0][:, 0], part.gaps)

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

        columns = Reader(s)
        own = {part.column.name: self._decode_static(part, columns, within_extremes) for part in self.generated}
        reader = Reader(condition)
        own |= {part.column.name: self._decode_static(part, reader, False) for part in self.given}
        values = []
        offset = 0
        x = x.movedim(2, 0).contiguous()  # a column at a time is read, several times over
        for part in self.channels:
            block = x[offset : offset + part.width].movedim(0, 2)
            if part.gaps:
                block = torch.where((alive & (x[first_mask] > 0.5))[..., None], block, torch.nan)
                first_mask += 1
            elif self.varying:
                block = torch.where(alive[..., None], block, torch.nan)
            width = part.normaliser.width if part.normaliser else 0
            taken_out = columns.take(width, part.statics_gaps and width > 0, fill=0.0)
            values.append(part.decode(block, taken_out, within_extremes))
            offset += part.width
        static = [own[column.name] for column in self.schema.statics]
        return torch.stack(values, dim=2), lengths, torch.stack(static, dim=1) if static else s[:, :0]

    @staticmethod
    def _decode_static(part: Part, reader: Reader, within_extremes: bool) -> Float64[Tensor, " n"]:
        block = reader.take(part.width, part.gaps, fill=torch.nan)
        return part.decode(block[:, None], block[:, :0], within_extremes)[:, 0]

    def conditions(
        self, count: int, given: Mapping[str, Any] | None = None, seed: int = 0, balance: str = ""
    ) -> Float[Tensor, "n condition"]:
        """Draw conditions as the training set had them, with some columns fixed; see `Conditions.draw`."""
        return self._conditions.draw(count, given, seed, balance)

    def groups(self, encoded: Encoded, balance: str) -> list[Int64[ndarray, " _"]]:
        """Return which sequences have each value of a column that is conditioned on; see `Conditions.groups`."""
        return self._conditions.groups(encoded.condition, balance)

    def condition_table(
        self,
    ) -> tuple[Float[ndarray, "m columns"], Float[Tensor, "m condition"], Shaped[ndarray, " m"]]:
        """Return the combinations of conditions that the training set had: codes, encoded, and how often."""
        return self._conditions.table()

    @property
    def _conditions(self) -> Conditions:
        return Conditions(self.given, self.combinations, self.counts)

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
                    "repeats": part.repeats,
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
            "outline": self.outline.to_json() if self.outline else None,
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
                    row.get("repeats", 0.0),
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
            Outline.from_json(record["outline"]) if record.get("outline") else None,
        )


def _where_it_changes(values: Float[ndarray, "n length"]) -> str:
    """Say within how few sequences a channel changes, if they are so few that it was probably meant to be static."""
    known = ~np.isnan(values)
    asked = known.sum(axis=1) > 1
    changes = np.where(known, values, -np.inf).max(axis=1) > np.where(known, values, np.inf).min(axis=1)
    count = int((changes & asked).sum())
    if count > 0.05 * asked.sum():
        return ""
    return (
        f", though within only {count:,} of the {asked.sum():,} sequences to learn from ('vitalsynth data' says where)"
    )
