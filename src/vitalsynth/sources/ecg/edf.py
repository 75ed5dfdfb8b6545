"""ECG as EDF+ (Kemp and Olivan 2003): one file that any viewer opens, sequences laid one after another.

Written with pyedflib: wfdb's own `wfdb_to_edf` knows no annotations, counts a block too many, and rounds samples.
"""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from ...frames import Writer
from ...sequences import Column, Schema, Sequences
from .records import peak, rhythms, symbols
from .waveforms import MOST, digital, needs_wfdb, rate_of

BEGINNING = datetime(1985, 1, 1)  # the first date that EDF can hold
MOST_MARKS = 64  # annotation signals in a file; each holds one annotation a block


class EDFWriter(Writer):
    """EDF+ with an annotation per sequence: of a beat its symbol at the R peak, of a window its rhythm and length.

    Steps are those of the schema's resolution, so that values are kept exactly. The last block is filled up with zeros.

    Raises:
        ValueError: if the schema is not of ECG.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        super().__init__(path, schema)
        needs_wfdb()
        if odd := [c.name for c in schema.channels if c.unit != "mV" or c.resolution is None]:
            raise ValueError(f"EDF holds voltages in steps; {odd[0]!r} is not in mV with a known resolution")
        if schema.step_unit != "s":
            raise ValueError(f"EDF needs steps in seconds, not in {schema.step_unit or 'steps'!r}")
        self.file: Any = None
        self.rest = np.zeros((0, len(schema.channels)), dtype=np.int64)
        self.samples = 0

    def _append(self, sequences: Sequences) -> None:
        numbers = digital(sequences.values[sequences.alive], self.schema)
        if gaps := int((numbers == -MOST - 1).sum()):
            raise ValueError(f"EDF has no sign for what was not measured, and {gaps:,} values were not; write a folder")
        if self.file is None:
            self._open(sequences)
        self._mark(sequences)
        self._write(np.concatenate([self.rest, numbers]))

    def _open(self, sequences: Sequences) -> None:
        import pyedflib

        self.file = pyedflib.EdfWriter(str(self.path), len(self.schema.channels), pyedflib.FILETYPE_EDFPLUS)
        self.file.setSignalHeaders([_signal(column, rate_of(self.schema)) for column in self.schema.channels])
        self.file.setStartdatetime(BEGINNING)
        self.block = round(rate_of(self.schema) * self.file.record_duration)
        self.file.set_number_of_annotation_signals(
            min(MOST_MARKS, 1 + math.ceil(self.block / int(sequences.lengths.min())))
        )

    def _mark(self, sequences: Sequences) -> None:
        beats = peak(self.schema) is not None
        texts = symbols(sequences) if beats else [rhythm or "window" for rhythm in rhythms(sequences)]
        firsts = self.samples + np.concatenate([[0], np.cumsum(sequences.lengths)])
        for first, length, text in zip(firsts, sequences.lengths, texts, strict=False):
            at = (int(first) + (peak(self.schema) or 0)) * self.schema.step
            self.file.writeAnnotation(at, -1 if beats else int(length) * self.schema.step, text)
        self.samples = int(firsts[-1])

    def _write(self, numbers: Int[ndarray, "m channels"]) -> None:
        """Write whole blocks, and keep the rest."""
        whole = len(numbers) // self.block * self.block
        if whole:
            self.file.writeSamples(np.ascontiguousarray(numbers[:whole].T.astype(np.int32)), digital=True)
        self.rest = numbers[whole:]

    def close(self, complete: bool) -> None:
        if self.file is None:
            return
        if complete and len(self.rest):
            self._write(np.pad(self.rest, ((0, self.block - len(self.rest)), (0, 0))))
        self.file.close()


def _signal(column: Column, rate: float) -> dict[str, Any]:
    reach = float(f"{MOST * (column.resolution or 1.0):.6g}")  # EDF writes numbers with 8 characters
    return {
        "label": f"ECG {column.name}"[:16],
        "dimension": column.unit,
        "sample_frequency": rate,
        "physical_min": -reach,
        "physical_max": reach,
        "digital_min": -MOST,
        "digital_max": MOST,
        "transducer": "",
        "prefilter": "",
    }
