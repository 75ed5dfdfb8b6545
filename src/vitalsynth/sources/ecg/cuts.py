"""Beats and windows of an ECG: which annotations are beats, and how a record is brought to one form and cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from ...sequences import Column
from .waveforms import Annotations, Band, Header, brought_to

CLASSES = ("N", "S", "V", "F", "Q")
AAMI = {
    symbol: name
    for name, symbols in zip(CLASSES, ("NLRBejn", "AaJS", "VEr", "F", "/fQ"), strict=True)
    for symbol in symbols
}
"""The class of each beat after ANSI/AAMI EC57, as in de Chazal, O'Dwyer and Reilly 2004 (doi 10.1109/TBME.2004.827359).

`B`, `n` and `r`, which their records lack, stand with the bundle branch blocks, escape beats and premature beats.
"""
FLUTTER, PACED, CHANGE = "!", "/", "+"


@dataclass(frozen=True, eq=False)
class Piece:
    """What was cut from one record.

    Args:
        values: In mV.
        symbols: Of the beats; empty for windows.
        rhythm: Of each, without its bracket; empty where unknown.
        rr: Seconds from the beat before and to the next; empty for windows.
        paced: Whether any beat of the record is.
        subject: The patient.
    """

    values: Float[ndarray, "n length leads"]
    symbols: Shaped[ndarray, " n"]
    rhythm: Shaped[ndarray, " n"]
    rr: Float[ndarray, "n 2"]
    paced: bool
    subject: str = ""


@dataclass(frozen=True)
class Cut:
    """How records are brought to one form and cut.

    Args:
        leads: Their columns; the resolution is the finest of any record's.
        rate: Samples a second.
        band: To pass, if any.
        length: Samples of a sequence.
        before: Samples of a beat before its R peak; None for windows.
        stride: Samples from one window to the next.
    """

    leads: tuple[Column, ...]
    rate: float
    band: Band | None
    length: int = 0
    before: int | None = None
    stride: int = 1

    @classmethod
    def fit(cls, headers: Sequence[Header], leads: Sequence[str], rate: float | None, bandpass: str) -> Cut:
        """Choose leads and rate.

        Raises:
            ValueError: if records have no lead in common or different rates, or the band is none.
        """
        counts = Counter(name for header in headers for name in header.columns)
        chosen = list(leads) or [name for name in counts if counts[name] == len(headers)]
        there = ", ".join(f"{name} in {count}" for name, count in counts.most_common(12))
        if not chosen:
            raise ValueError(f"no lead is in all {len(headers)} records; name leads: {there}")
        if unknown := [name for name in chosen if name not in counts]:
            raise ValueError(f"no record has a lead {unknown[0]!r}; there are: {there}")
        rates = {header.rates[name] for header in headers for name in chosen if name in header.rates}
        if rate is None and len(rates) > 1:
            raise ValueError(f"leads are recorded at {', '.join(f'{r:g}' for r in sorted(rates))} Hz; give one rate")
        if rate is not None and rate <= 0:
            raise ValueError(f"rate must be greater than 0, got {rate}")
        at = rate or rates.pop()
        band = Band.parse(bandpass, min({at, *rates}))
        described = [[h.columns[name] for h in headers if name in h.columns] for name in chosen]
        return cls(tuple(alike(columns, band is None) for columns in described), at, band)

    def beats(self, before: float, after: float) -> Cut:
        """Cut beats, so many seconds around their R peak.

        Raises:
            ValueError: if those are none.
        """
        ahead, behind = round(before * self.rate), round(after * self.rate)
        if ahead < 1 or behind < 1:
            raise ValueError(
                f"before and after must be at least one sample of 1/{self.rate:g} s, got {before}, {after}"
            )
        return replace(self, length=ahead + behind, before=ahead)

    def windows(self, seconds: float, overlap: float) -> Cut:
        """Cut windows of so many seconds.

        Raises:
            ValueError: if they have no length, or do not move on.
        """
        length, stride = round(seconds * self.rate), round((seconds - overlap) * self.rate)
        if length < 2 or not 1 <= stride <= length:
            raise ValueError(f"seconds must be more than overlap, and overlap at least 0; got {seconds} and {overlap}")
        return replace(self, length=length, stride=stride)

    def __call__(self, header: Header, extension: str, needs_annotations: bool) -> tuple[Piece, list[str]]:
        """Cut a record.

        Returns:
            The piece, and what was wrong with its annotations and left out.

        Raises:
            ValueError: if the record cannot be read.
        """
        names = [column.name for column in self.leads]
        raw = header.signals(names)
        parts = [
            brought_to(signal, header.rates[column.name], self.rate, self.band, column)
            for signal, column in zip(raw, self.leads, strict=True)
        ]
        signal = np.stack([part[: min(map(len, parts))] for part in parts], axis=1).astype(np.float32)
        end = len(raw[0]) / header.rates[names[0]]
        found, wrong = Annotations.none(), []
        if needs_annotations or header.path.with_name(f"{header.path.name}.{extension}").exists():
            found, wrong = Annotations.read(header, extension, AAMI, end)
        piece = self._windows(signal, found) if self.before is None else self._beats(signal, found)
        return piece, wrong

    def _beats(self, signal: Float[ndarray, "m leads"], found: Annotations) -> Piece:
        known = found.take(np.isin(found.symbols, [*AAMI, FLUTTER]))
        peaks = np.round(known.seconds * self.rate).astype(np.int64)
        gaps = np.concatenate([[np.nan], np.diff(peaks) / self.rate, [np.nan]])
        first = peaks - (self.before or 0)
        whole = (first >= 0) & (first + self.length <= len(signal)) & (known.symbols != FLUTTER)
        return Piece(
            _slices(signal, first[whole], self.length),
            known.symbols[whole],
            _rhythms(found, self.rate, len(signal))[peaks[whole]],
            np.stack([gaps[:-1], gaps[1:]], axis=1)[whole],
            PACED in known.symbols,
        )

    def _windows(self, signal: Float[ndarray, "m leads"], found: Annotations) -> Piece:
        first = np.arange(0, len(signal) - self.length + 1, self.stride)
        rhythms, codes = np.unique(_rhythms(found, self.rate, len(signal)), return_inverse=True)
        most = [np.bincount(codes[at : at + self.length]).argmax() for at in first]
        return Piece(
            _slices(signal, first, self.length),
            np.full(len(first), ""),
            rhythms[np.array(most, dtype=np.int64)],
            np.full((len(first), 2), np.nan),
            PACED in found.symbols,
        )


def alike(columns: Sequence[Column], bounded: bool = True) -> Column:
    """Describe a lead of several records: the finest steps, the widest range; none where a filter moves values."""
    lows, highs = ([getattr(column, end) for column in columns] for end in ("low", "high"))
    bounded = bounded and None not in lows
    return Column(
        columns[0].name,
        unit=columns[0].unit,
        resolution=min((c.resolution for c in columns if c.resolution), default=None),
        low=min(lows) if bounded else None,
        high=max(highs) if bounded else None,
    )


def _slices(signal: Float[ndarray, "m leads"], first: Int[ndarray, " n"], length: int) -> Float[ndarray, "n k leads"]:
    return signal[first[:, None] + np.arange(length)]


def _rhythms(found: Annotations, rate: float, count: int) -> Shaped[ndarray, " m"]:
    """Return the rhythm at each sample, without its bracket; empty before the first is annotated."""
    changes = found.take((found.symbols == CHANGE) & np.char.startswith(found.notes, "("))
    names = np.array(["", *(note[1:] for note in changes.notes)])
    until = np.append(np.minimum(np.round(changes.seconds * rate).astype(np.int64), count), count)
    return np.repeat(names, np.diff(until, prepend=0))
