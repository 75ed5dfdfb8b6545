"""ECG from WFDB records: beats cut around their annotations, or windows of fixed length; and written back.

A beat is a sequence that begins before time 0, at which its R peak lies; a window begins at 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from ..frames import Writer, written
from ..sequences import Column, Schema, Sequences, listed, nearest
from .folders import default_folder
from .waveforms import Annotations, Band, Faults, Header, brought_to, needs_wfdb, rate_of, write_record

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

_RUNS = ((100, 109), (111, 119), (121, 124), (200, 203), (205, 205), (207, 210), (212, 215), (217, 217), (219, 223),
         (228, 228), (230, 234))  # fmt: skip
MITDB = frozenset(str(number) for first, last in _RUNS for number in range(first, last + 1))
MITDB_PATIENTS = "201+202"
MITDB_LICENCE = (
    "MIT-BIH Arrhythmia Database 1.0.0: Open Data Commons Attribution License 1.0; cite Moody and Mark 2001, "
    "doi 10.1109/51.932724, and Goldberger et al. 2000, doi 10.1161/01.CIR.101.23.e215"
)
LABELS = {"beats": ("aami", "beat", "rhythm"), "windows": ("rhythm",)}
BEATS_A_RECORD = 1000


def ecg(
    folder: str | None = None,
    records: str = "",
    take: Literal["beats", "windows"] = "beats",
    leads: str = "",
    rate: float | None = None,
    bandpass: str = "",
    before: float = 0.25,
    after: float = 0.4,
    seconds: float = 10.0,
    overlap: float = 0.0,
    labels: str = "",
    annotations: str = "atr",
    paced: bool = True,
    patients: str = "",
    repair: bool = False,
) -> Sequences:
    """ECG from WFDB records, in mV: beats with their class and RR intervals, or windows with their rhythm.

    By default the MIT-BIH Arrhythmia Database (Moody and Mark 2001; licence ODC-By 1.0); of other databases the licence
    is theirs. Of a beat, `rr_before` and `rr_after` are the seconds from the beat before and to the next (flutter waves
    count), unknown at the ends of a record. What does not lie in its record as a whole is left out. Values lie on the
    grid of the recorder, also where they were filtered or resampled.

    Args:
        folder: Holds .hea and .dat files and annotations, and perhaps a list RECORDS; $VITALSYNTH_DATA/mitdb by
            default.
        records: Records to read, comma separated; all by default.
        take: What a sequence is: beats around annotations, or windows.
        leads: Leads to read, comma separated; by default those that all records have.
        rate: Samples a second to resample to, anti-aliased; as recorded by default.
        bandpass: Band to pass in Hz, such as 0.5-40, by a Butterworth filter without phase shift; all by default.
        before: Seconds of a beat before its R peak.
        after: Seconds of a beat from its R peak on.
        seconds: Length of a window.
        overlap: Seconds that a window shares with the one before.
        labels: Static columns, comma separated. Of beats: aami (the default; classes N, S, V, F, Q), beat (the symbol),
            rhythm; of windows: rhythm, that which fills most of it (by default if any is annotated).
        annotations: Suffix of the files of annotations.
        paced: Keep records with paced beats (102, 104, 107 and 217 of MIT-BIH), which AAMI leaves out.
        patients: Records that are of one patient, whom no split parts, such as I01+I02,I03+I04+I05; of MIT-BIH, 201+202
            is known. By default each record is a patient.
        repair: Leave out records that are damaged or lack a lead, and annotations that cannot be, with a warning that
            counts them; by default they are refused.

    Raises:
        ValueError: naming and counting the records in which something is wrong, or the setting that is.
    """
    needs_wfdb()
    where = Path(folder) if folder else default_folder("mitdb")
    names = _names(where, records)
    is_mitdb = MITDB.issuperset(names)
    owner = _owners(patients, names) if patients or not is_mitdb else _owners(MITDB_PATIENTS)
    faults = Faults(where, len(names), repair)
    headers: dict[str, Header] = {}
    for name in names:
        with faults.of(name):
            headers[name] = Header.read(where / name)
    faults.settle()
    cut = Cut.fit(list(headers.values()), listed(leads), take, rate, bandpass)
    cut = cut.beats(before, after) if take == "beats" else cut.windows(seconds, overlap)
    asked = _labels(labels, take)
    pieces: list[Piece] = []
    for name, header in headers.items():
        with faults.of(name):
            piece, wrong = cut(header, annotations, needs_annotations=take == "beats" or bool(labels))
            faults.note(name, wrong)
            pieces.append(replace(piece, subject=owner.get(name, name)))
    faults.settle()
    kept = [piece for piece in pieces if len(piece.values) and (paced or not piece.paced)]
    if not kept:
        raise ValueError(f"{where}: {len(names)} records hold no {take} of that length")
    return _joined(kept, cut, asked, not labels, MITDB_LICENCE if is_mitdb else "")


def _names(where: Path, records: str) -> list[str]:
    """Return which records to read, as their paths below the folder."""
    if not where.is_dir():
        raise ValueError(f"{where}: no such folder; give --source.folder, or set VITALSYNTH_DATA")
    there = sorted(str(path.relative_to(where).with_suffix("")) for path in where.rglob("*.hea"))
    if not there:
        raise ValueError(f"{where}: no WFDB record (no .hea file) in it or below")
    index = where / "RECORDS"
    named = listed(records) or (index.read_text().split() if index.is_file() else there)
    if unknown := [name for name in named if name not in there]:
        raise ValueError(
            f"{where}: {len(unknown)} of {len(named)} records are not there: {', '.join(unknown[:5])}; "
            f"{nearest(unknown[0], there)}"
        )
    if twice := [name for name, count in Counter(named).items() if count > 1]:
        raise ValueError(f"{where}: {len(twice)} records are named twice: {', '.join(twice[:5])}; name each once")
    return named


def _owners(patients: str, names: Sequence[str] | None = None) -> dict[str, str]:
    """Return for records that share a patient the first of them."""
    groups = [[name.strip() for name in group.split("+")] for group in listed(patients)]
    for name in (name for group in groups for name in group):
        if names is not None and name not in names:
            raise ValueError(f"patients names a record {name!r} that is not read; {nearest(name, names)}")
    return {name: group[0] for group in groups for name in group}


def _labels(labels: str, take: str) -> tuple[str, ...]:
    asked = listed(labels) or LABELS[take][:1]
    if unknown := [label for label in asked if label not in LABELS[take]]:
        raise ValueError(f"no label {unknown[0]!r} of {take}; allowed are {', '.join(LABELS[take])}")
    return tuple(asked)


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
    def fit(cls, headers: Sequence[Header], leads: Sequence[str], take: str, rate: float | None, bandpass: str) -> Cut:
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
    until = np.append(np.round(changes.seconds * rate).astype(np.int64), count)
    return np.repeat(names, np.diff(until, prepend=0))


def _joined(pieces: Sequence[Piece], cut: Cut, labels: Iterable[str], if_any: bool, licence: str) -> Sequences:
    """Make sequences of all pieces.

    Args:
        pieces: Of all records.
        cut: How they were cut.
        labels: Static columns.
        if_any: Leave out a label that no sequence has.
        licence: Of the data.
    """
    symbols, rhythms = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("symbols", "rhythm"))
    named = {"aami": np.array([AAMI.get(symbol, "") for symbol in symbols]), "beat": symbols, "rhythm": rhythms}
    statics, columns = [], []
    for label in labels:
        there = set(named[label]) - {""}
        if not there and not if_any:
            raise ValueError(f"no {label} is annotated in these {len(pieces)} records; leave labels out")
        if there:
            names = CLASSES if label == "aami" else tuple(sorted(there))
            code = {name: float(number) for number, name in enumerate(names)} | {"": np.nan}
            columns.append(Column(label, "categorical", categories=names))
            statics.append(np.array([code[name] for name in named[label]]))
    if cut.before is not None:
        columns += [Column(name, unit="s", resolution=1 / cut.rate, low=0.0) for name in ("rr_before", "rr_after")]
        statics += list(np.concatenate([piece.rr for piece in pieces]).T)
    values = np.concatenate([piece.values for piece in pieces])
    schema = Schema(
        cut.leads,
        tuple(columns),
        step=1 / cut.rate,
        step_unit="s",
        start=-(cut.before or 0) / cut.rate,
        form="wfdb",
        licence=licence,
    )
    subject = np.repeat([piece.subject for piece in pieces], [len(piece.values) for piece in pieces])
    static = np.stack(statics, axis=1) if statics else np.zeros((len(values), 0))
    return Sequences(values, schema, static=static, subject=subject)


def peak(schema: Schema) -> int | None:
    """Return the sample at which the R peak of a beat lies; None for windows."""
    return round(-schema.start / schema.step) if schema.start < 0 else None


def _written(sequences: Sequences, name: str) -> Shaped[ndarray, " n"]:
    column = sequences.schema.statics[sequences.schema.static_index(name)]
    return written(sequences.static_column(name), column)


def symbols(sequences: Sequences) -> list[str]:
    """Return the symbol to annotate a beat with: its own, else the letter of its class, else Q (unclassifiable)."""
    for name in ("beat", "aami"):
        if name in [column.name for column in sequences.schema.statics]:
            return [str(label) or "Q" for label in _written(sequences, name)]
    return ["Q"] * len(sequences)


def rhythms(sequences: Sequences) -> list[str]:
    """Return the rhythm of each sequence, empty where it is not known."""
    there = "rhythm" in [column.name for column in sequences.schema.statics]
    return _written(sequences, "rhythm").tolist() if there else [""] * len(sequences)


class WFDBWriter(Writer):
    """WFDB records: one for each window, or a thousand beats laid one after another in one.

    Annotations (.atr) hold the symbol of each beat at its R peak, and changes of rhythm; `statics.csv` holds the static
    columns of each sequence with its record and the sample of its R peak (of windows: its first); RECORDS lists all.
    Where one beat ends the next begins: that its RR interval was another, only `statics.csv` tells.
    """

    def _append(self, sequences: Sequences) -> None:
        size = 1 if peak(self.schema) is None else BEATS_A_RECORD
        for first in range(0, len(sequences), size):
            self._write_record(sequences.take(slice(first, first + size)))

    def _write_record(self, sequences: Sequences) -> None:
        name = f"s{sequences.subject[0]:07d}"
        firsts = np.concatenate([[0], np.cumsum(sequences.lengths)[:-1]])
        write_record(self.path, name, sequences.values[sequences.alive], self.schema)
        at = firsts + (peak(self.schema) or 0)
        self._annotate(name, sequences, firsts, at)
        frame = pd.DataFrame({"record": name, "sample": at})
        for column in self.schema.statics:
            frame[column.name] = _written(sequences, column.name)
        with (self.path / "statics.csv").open("a", newline="") as file:
            frame.to_csv(file, index=False, header=file.tell() == 0)
        with (self.path / "RECORDS").open("a") as file:
            file.write(f"{name}\n")

    def _annotate(self, name: str, sequences: Sequences, firsts: Int[ndarray, " n"], at: Int[ndarray, " n"]) -> None:
        import wfdb

        rows: list[tuple[int, str, str]] = []
        now = ""
        beats = symbols(sequences) if peak(self.schema) is not None else [""] * len(sequences)
        for first, place, symbol, rhythm in zip(firsts, at, beats, rhythms(sequences), strict=True):
            if rhythm and rhythm != now:
                rows.append((int(first), CHANGE, f"({rhythm}"))
                now = rhythm
            if symbol:
                rows.append((int(place), symbol, ""))
        if rows:
            samples, marks, notes = zip(*rows, strict=True)
            wfdb.wrann(
                name,
                "atr",
                np.array(samples),
                list(marks),
                aux_note=list(notes),
                fs=rate_of(self.schema),
                write_dir=str(self.path),
            )

    def close(self, complete: bool) -> None:
        """Every record is whole when it is written."""
