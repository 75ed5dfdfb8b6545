"""ECG from WFDB records: beats cut around their annotations, or windows of fixed length; and written back.

A beat is a sequence that begins before time 0, at which its R peak lies; a window begins at 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Int, Shaped
from numpy import ndarray

from ...frames import Writer, written
from ...sequences import Column, Schema, Sequences, listed, nearest
from ..faults import Faults
from ..folders import default_folder
from .cuts import AAMI, CHANGE, CLASSES, Cut, Piece
from .waveforms import Header, needs_wfdb, rate_of, write_record

_RUNS = ((100, 109), (111, 119), (121, 124), (200, 203), (205, 205), (207, 210), (212, 215), (217, 217), (219, 223),
         (228, 228), (230, 234))  # fmt: skip
MITDB = frozenset(str(number) for first, last in _RUNS for number in range(first, last + 1))
MITDB_RATE = 360
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
    asked = _labels(labels, take)
    names = _names(where, records)
    faults, damaged = Faults(where, repair), f"of {len(names)} records are wrong"
    headers: dict[str, Header] = {}
    for name in names:
        with faults.noting(damaged, name):
            headers[name] = Header.read(where / name)
    faults.settle()
    is_mitdb = MITDB.issuperset(names) and {header.rate for header in headers.values()} == {MITDB_RATE}
    owner = _owners(patients, names) if patients or not is_mitdb else _owners(MITDB_PATIENTS)
    cut = Cut.fit(list(headers.values()), listed(leads), rate, bandpass)
    cut = cut.beats(before, after) if take == "beats" else cut.windows(seconds, overlap)
    pieces: list[Piece] = []
    for name, header in headers.items():
        with faults.noting(damaged, name):
            piece, wrong = cut(header, annotations, needs_annotations=take == "beats" or bool(labels))
            faults.note(bool(wrong), damaged, f"{name}: {', '.join(wrong)}")
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
            f"name others (records=...), {nearest(unknown[0], there)}"
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
    if take not in LABELS:
        raise ValueError(f"take is {take!r}; allowed are {', '.join(LABELS)}")
    asked = listed(labels) or LABELS[take][:1]
    if unknown := [label for label in asked if label not in LABELS[take]]:
        raise ValueError(f"no label {unknown[0]!r} of {take}; allowed are {', '.join(LABELS[take])}")
    return tuple(asked)


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
