"""WFDB records: a text header (.hea), samples (.dat), annotations (.atr); read with every check there is, and written.

A sample is the whole number d that a converter gave, and x = (d - baseline) / gain. The header states for each signal
the sum of its samples modulo 65,536, which `wfdb` computes only on request; here it is always compared. Format:
Moody, WFDB Applications Guide, header(5), signal(5), annot(5).
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from ...sequences import Column, Schema, nearest, one_line

MILLIVOLTS = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "µV": 1e-3}
BITS = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12}
"""Of a sample, by format; other formats are compressed or padded, and left to wfdb."""
MOST = 2**15 - 1  # of 16 bits; -32768 says that nothing was measured
UNREADABLE = (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError)  # what wfdb raises on bad files


def needs_wfdb() -> None:
    """Refuse to go on without the extra.

    Raises:
        ValueError: with the command that installs it.
    """
    if lacking := [name for name in ("wfdb", "pyedflib") if importlib.util.find_spec(name) is None]:
        raise ValueError(f"ECG files need {lacking[0]}: pip install 'vitalsynth[ecg]'")


@dataclass(frozen=True, eq=False)
class Header:
    """What a record's header says, leads by name.

    Args:
        path: Of the record, without suffix.
        rate: Frames a second; a lead may have several samples a frame.
        frames: Length of the record; None if the header does not say.
        columns: The leads, in mV: `resolution` is a step of the converter, `low` and `high` its range.
        rates: Samples a second of each lead.
        content: As wfdb read it.
    """

    path: Path
    rate: float
    frames: int | None
    columns: dict[str, Column]
    rates: dict[str, float]
    content: Any

    @classmethod
    def read(cls, path: Path) -> Header:
        """Read a header.

        Raises:
            ValueError: if it is missing, damaged, or of a record that is no plain ECG.
        """
        import wfdb

        try:
            content: Any = wfdb.rdheader(str(path))
        except FileNotFoundError:
            raise ValueError(f"no file {path.name}.hea") from None
        except UNREADABLE as error:
            raise ValueError(f"its header cannot be read ({_line(error)})") from None
        if isinstance(content, wfdb.MultiRecord):
            raise ValueError("it is of several segments; give single ones")
        listed = len(content.sig_name or ())
        if not listed or listed != content.n_sig:
            raise ValueError(f"its header lists {listed} of {content.n_sig} signals")
        if not content.fs > 0:
            raise ValueError(f"its header says {content.fs} samples a second")
        columns = {name: _column(content, j) for j, name in enumerate(content.sig_name)}
        rates = {name: content.fs * content.samps_per_frame[j] for j, name in enumerate(content.sig_name)}
        return cls(path, float(content.fs), content.sig_len, columns, rates, content)

    def signals(self, leads: Sequence[str]) -> list[Float[ndarray, " samples"]]:
        """Read leads, in mV; NaN where nothing was measured.

        Raises:
            ValueError: if a file is missing or truncated, a checksum fails, or a lead is not there or no voltage.
        """
        import wfdb

        for lead in leads:
            if lead not in self.columns:
                raise ValueError(f"no lead {lead!r}; {nearest(lead, self.columns)}")
            if self.columns[lead].unit != "mV":
                raise ValueError(f"lead {lead} is in {self.columns[lead].unit!r}; allowed are {', '.join(MILLIVOLTS)}")
        self._check_sizes()
        try:
            record: Any = wfdb.rdrecord(str(self.path), physical=False, smooth_frames=False)
            physical = dict(zip(record.sig_name, record.dac(expanded=True), strict=True))
        except UNREADABLE as error:
            raise ValueError(f"its samples cannot be read ({_line(error)})") from None
        for name, digital, stated in zip(record.sig_name, record.e_d_signal, record.checksum, strict=True):
            found = int(digital.sum()) % 65536
            if stated is not None and found != stated % 65536:
                raise ValueError(f"checksum of lead {name} is {stated % 65536}, its samples give {found}")
        units = dict(zip(record.sig_name, record.units, strict=True))
        return [physical[lead] * MILLIVOLTS[units[lead]] for lead in leads]

    def _check_sizes(self) -> None:
        """Compare the sizes of the files of samples with what the header promises."""
        content = self.content
        for name in dict.fromkeys(content.file_name):
            here = [j for j, each in enumerate(content.file_name) if each == name]
            file, form = self.path.parent / name, content.fmt[here[0]]
            if not file.is_file():
                raise ValueError(f"no file {name}")
            if form in BITS and self.frames is not None:
                samples = self.frames * sum(content.samps_per_frame[j] for j in here)
                wanted = math.ceil(samples * BITS[form] / 8) + (content.byte_offset[here[0]] or 0)
                if (size := file.stat().st_size) < wanted:
                    raise ValueError(f"{name} has {size:,} of {wanted:,} bytes: it is truncated")


def _column(content: Any, j: int) -> Column:
    """Describe a lead; one that is no voltage keeps its unit, and is refused when it is read."""
    name, unit, gain = content.sig_name[j], content.units[j], content.adc_gain[j]
    if unit not in MILLIVOLTS:
        return Column(name, unit=unit)
    per_millivolt = abs(gain) / MILLIVOLTS[unit]
    low = high = None
    if content.adc_res[j] in range(1, 33):
        half = 2 ** (content.adc_res[j] - 1)
        middle = (content.adc_zero[j] or 0) - content.baseline[j]
        ends = ((middle - half) / gain, (middle + half - 1) / gain)
        low, high = (end * MILLIVOLTS[unit] for end in sorted(ends))
    return Column(name, unit="mV", resolution=1 / per_millivolt, low=low, high=high)


def _line(error: Exception) -> str:
    return one_line(error)[:200]


@dataclass(frozen=True, eq=False)
class Annotations:
    """What is annotated in a record, in order of time.

    Args:
        seconds: When.
        symbols: Of what kind: `N`, `V`, `+` for a change of rhythm.
        notes: Text beside, such as `(AFIB`.
    """

    seconds: Float[ndarray, " m"]
    symbols: Shaped[ndarray, " m"]
    notes: Shaped[ndarray, " m"]

    @classmethod
    def none(cls) -> Annotations:
        """Return no annotations."""
        return cls(np.zeros(0), np.zeros(0, dtype=str), np.zeros(0, dtype=str))

    @classmethod
    def read(cls, header: Header, extension: str, beats: Iterable[str], end: float) -> tuple[Annotations, list[str]]:
        """Read annotations, and put right what is wrong with them.

        Args:
            header: Of the record.
            extension: Of the file.
            beats: Symbols that stand for beats.
            end: Length of the record in seconds.

        Returns:
            Those that can be used; and what was wrong with the others, in words.

        Raises:
            ValueError: if there is no such file, or it is damaged.
        """
        import wfdb

        try:
            read: Any = wfdb.rdann(str(header.path), extension)
        except FileNotFoundError:
            raise ValueError(f"no annotations {header.path.name}.{extension}") from None
        except UNREADABLE as error:
            raise ValueError(f"its annotations cannot be read ({_line(error)})") from None
        seconds = np.asarray(read.sample, dtype=np.float64) / (read.fs or header.rate)
        order = np.argsort(seconds, kind="stable")
        notes = np.array([note.strip("\0 ") for note in read.aux_note], dtype=str)
        all_ = cls(seconds[order], np.array(read.symbol, dtype=str)[order], notes[order])
        outside = (all_.seconds < 0) | (all_.seconds >= end)
        places = np.flatnonzero(np.isin(all_.symbols, list(beats)))
        again = np.zeros(len(order), dtype=bool)
        again[places[1:]] = np.diff(all_.seconds[places]) == 0
        found = {
            "out of order": int((np.diff(seconds) < 0).sum()),
            "outside the record": int(outside.sum()),
            "of a beat that is annotated already": int((again & ~outside).sum()),
        }
        return all_.take(~(outside | again)), [
            f"{count} annotations are {what}" for what, count in found.items() if count
        ]

    def take(self, index: Shaped[ndarray, " k"]) -> Annotations:
        """Select by position or mask."""
        return Annotations(self.seconds[index], self.symbols[index], self.notes[index])


@dataclass(frozen=True)
class Band:
    """A zero-phase Butterworth band-pass: one of second order run forwards and backwards.

    Args:
        low: Edge in Hz, where amplitudes are halved.
        high: The other edge.
    """

    low: float
    high: float

    @classmethod
    def parse(cls, text: str, rate: float) -> Band | None:
        """Read `0.5-40`; None if nothing is asked for.

        Raises:
            ValueError: if that is no band below half of the smallest rate.
        """
        if not text:
            return None
        try:
            low, high = map(float, text.split("-"))
        except ValueError:
            raise ValueError(f"bandpass is {text!r}; give two frequencies in Hz, such as 0.5-40") from None
        if not 0 < low < high < rate / 2:
            raise ValueError(f"bandpass is {text!r}; between 0 and {rate / 2:g} Hz (half the rate) is needed")
        return cls(low, high)

    def __call__(self, signal: Float[ndarray, " m"], rate: float) -> Float[ndarray, " m"]:
        from scipy.signal import butter, sosfiltfilt

        return sosfiltfilt(butter(2, (self.low, self.high), "bandpass", fs=rate, output="sos"), signal)


def brought_to(
    signal: Float[ndarray, " m"], rate: float, wanted: float, band: Band | None, column: Column
) -> Float[ndarray, " k"]:
    """Filter a signal and resample it (anti-aliased, by a polyphase filter), back on the grid of the recorder.

    Gaps are bridged by straight lines for the filters, and are gaps again afterwards.

    Args:
        signal: In mV; NaN where nothing was measured.
        rate: Of its samples, in Hz.
        wanted: Rate to bring it to.
        band: To pass; None for all.
        column: Of the lead.
    """
    from scipy.signal import resample_poly

    gaps = np.isnan(signal)
    if gaps.any() and not gaps.all():
        at = np.arange(len(signal))
        signal = np.interp(at, at[~gaps], signal[~gaps])
    if band is not None and not gaps.all():
        signal = band(signal, rate)
    ratio = (Fraction(wanted) / Fraction(rate)).limit_denominator(10_000)
    if ratio != 1:
        signal = resample_poly(signal, ratio.numerator, ratio.denominator, padtype="line")
    if band is None:
        signal = np.clip(signal, column.low, column.high) if column.low is not None else signal
    nearest_sample = np.round(np.arange(len(signal)) / float(ratio)).astype(np.int64)
    per_unit = 1 / (column.resolution or 1.0)
    return np.where(gaps[np.minimum(nearest_sample, len(gaps) - 1)], np.nan, np.round(signal * per_unit) / per_unit)


def rate_of(schema: Schema) -> float:
    """Return samples a second."""
    return round(1 / schema.step, 6)


def digital(values: Float[ndarray, "m channels"], schema: Schema) -> Int[ndarray, "m channels"]:
    """Turn voltages into the numbers of a converter, with -32768 for what was not measured.

    Raises:
        ValueError: if a value does not fit into 16 bits.
    """
    steps = np.array([column.resolution for column in schema.channels])
    numbers = np.round(values / steps)
    if (beyond := np.abs(np.nan_to_num(numbers)) > MOST).any():
        name = schema.channels[int(beyond.any(axis=0).argmax())].name
        raise ValueError(f"{beyond.sum():,} values of {name} do not fit into 16 bits in steps of its resolution")
    return np.where(np.isnan(numbers), -MOST - 1, numbers).astype(np.int64)


def write_record(folder: Path, name: str, values: Float[ndarray, "m channels"], schema: Schema) -> None:
    """Write header and samples of a record, 16 bits a sample, gain and unit as the schema has them."""
    import wfdb

    wfdb.wrsamp(
        name,
        fs=rate_of(schema),
        units=[column.unit for column in schema.channels],
        sig_name=[column.name for column in schema.channels],
        d_signal=digital(values, schema),
        fmt=["16"] * len(schema.channels),
        adc_gain=[1 / (column.resolution or 1.0) for column in schema.channels],
        baseline=[0] * len(schema.channels),
        write_dir=str(folder),
    )
