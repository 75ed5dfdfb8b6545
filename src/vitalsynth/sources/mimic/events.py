"""CHARTEVENTS, LABEVENTS and OUTPUTEVENTS, streamed: blocks of a few MiB, only wanted columns and items kept.

What a row must be to count, in the order in which rows fall: of an item wanted; of a sequence (its subject's, between
its start and its end, of its admission and stay); not marked as an error; a number, or a text that stands for one;
within limits, after its unit was converted to the variable's.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ...sequences import nearest, one_line
from ..faults import CONVERT, Faults, named
from .cohort import HOUR, Cohort
from .items import Items

pc: Any = pyarrow.compute  # its functions are made at run time
BLOCK = 1 << 23
NUMBERS = {"subject_id": pa.int64(), "hadm_id": pa.int64(), "icustay_id": pa.int64(), "itemid": pa.int32()}
TYPES = {
    **NUMBERS,
    "charttime": pa.timestamp("s"),
    "value": pa.string(),
    "valuenum": pa.float64(),
    "valueuom": pa.string(),
    "error": pa.string(),
}
NAMES = {"stay_id": "icustay_id", "iserror": "error"}
"""Other names of columns: in MIMIC-IV, and in OUTPUTEVENTS."""
NEEDED = ("subject_id", "hadm_id", "itemid", "charttime", "value", "valueuom")


@dataclass(frozen=True, eq=False)
class Rows:
    """Measurements placed: of which sequence, when (seconds since its start), which channel, what."""

    sequence: Int[ndarray, " rows"]
    seconds: Int[ndarray, " rows"]
    channel: Int[ndarray, " rows"]
    value: Float[ndarray, " rows"]

    def take(self, keep: Bool[ndarray, " rows"]) -> Rows:
        return Rows(self.sequence[keep], self.seconds[keep], self.channel[keep], self.value[keep])

    @classmethod
    def together(cls, parts: list[Rows]) -> Rows:
        """Join rows; there may be none."""
        none = np.zeros(0, dtype=np.int64)
        parts = [*parts, cls(none, none, none, np.zeros(0))]
        names = ("sequence", "seconds", "channel", "value")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, eq=False)
class Scale:
    """By what channels are judged to be in another unit than their items are usually written in, and converted.

    Args:
        sample: A value of each sequence, before limits; NaN where there is none.
        factor: What to multiply values by.
    """

    sample: Float[ndarray, "n channels"]
    factor: Float[ndarray, " channels"]

    @classmethod
    def of(cls, n: int, items: Items) -> Scale:
        """Return what has seen nothing yet, and converts nothing."""
        return cls(np.full((n, len(items.variables)), np.nan), np.ones(len(items.variables)))

    def __call__(
        self, sequence: Int[ndarray, " rows"], channel: Int[ndarray, " rows"], value: Float[ndarray, " rows"]
    ) -> Float[ndarray, " rows"]:
        known = ~np.isnan(value)
        self.sample[sequence[known], channel[known]] = value[known]
        return value * self.factor[channel]


def batches(path: Path, needed: tuple[str, ...] = NEEDED) -> Iterator[pa.RecordBatch]:
    """Yield the columns that count, under their names in MIMIC-III, a block at a time.

    Raises:
        ValueError: if the file cannot be read, is truncated, or lacks a column.
    """
    written = {NAMES.get(name.lower(), name.lower()): name for name in _header(path)}
    if missing := [name for name in needed if name not in written]:
        raise ValueError(f"{path}: no column {missing[0]!r}; {nearest(missing[0], written)}")
    kept = [name for name in TYPES if name in written]
    convert = pyarrow.csv.ConvertOptions(
        include_columns=[written[name] for name in kept],
        column_types={written[name]: TYPES[name] for name in kept},
        strings_can_be_null=False,  # None is a text: no response
    )
    try:
        with pyarrow.csv.open_csv(
            path, read_options=pyarrow.csv.ReadOptions(block_size=BLOCK), convert_options=convert
        ) as reader:
            for batch in reader:
                yield batch.rename_columns(kept)
    except (pa.ArrowException, OSError) as error:
        what = "is truncated; fetch it again" if "runcated" in str(error) else "cannot be read"
        raise ValueError(f"{path}: {what} ({one_line(error)})") from None


def _header(path: Path) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            return [name.strip().strip('"') for name in file.readline().split(",")]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({one_line(error)})") from None


@dataclass(frozen=True, eq=False)
class Windows:
    """Between which times rows belong to which sequence; found by a search in (subject, start).

    Args:
        subjects: Whom there are sequences of, in ascending order.
        keys: Subject (its place in `subjects`) and start of each sequence in one number, in ascending order.
        group: The place of the subject of each.
        start: Seconds.
        end: Seconds.
        admission: Id; -1 where the sequence is not of one.
        stay: Id; -1 where the sequence is not of one.
    """

    subjects: Int[ndarray, " s"]
    keys: Int[ndarray, " n"]
    group: Int[ndarray, " n"]
    start: Int[ndarray, " n"]
    end: Int[ndarray, " n"]
    admission: Int[ndarray, " n"]
    stay: Int[ndarray, " n"]

    @classmethod
    def of(cls, cohort: Cohort, hours: float) -> Windows:
        """Return the windows of a cohort, of each the first so many hours."""
        frame = cohort.frame
        subjects, group = np.unique(frame["subject_id"].to_numpy(np.int64), return_inverse=True)
        start, end = (frame[name].to_numpy(np.int64) for name in ("start", "end"))
        end = np.minimum(end, start + round(hours * HOUR))
        ids = (frame[name].to_numpy(np.int64) for name in ("hadm_id", "icustay_id"))
        return cls(subjects, group.astype(np.int64) << 36 | start, group.astype(np.int64), start, end, *ids)

    def place(
        self,
        subject: Int[ndarray, " rows"],
        admission: Int[ndarray, " rows"],
        stay: Int[ndarray, " rows"],
        time: Int[ndarray, " rows"],
        faults: Faults,
        lenient: bool,
    ) -> Int[ndarray, " rows"]:
        """Return the sequence of each row; -1 where there is none.

        Args:
            subject: Whose row.
            admission: -1 where the row names none.
            stay: -1 where the row names none.
            time: In seconds.
            faults: Counts what is near a sequence, but not of it.
            lenient: Whether a row may name no admission.
        """
        group = np.minimum(np.searchsorted(self.subjects, subject), len(self.subjects) - 1)
        ours = self.subjects[group] == subject
        found = np.searchsorted(self.keys, group << 36 | np.maximum(time, 0), side="right") - 1
        at = np.maximum(found, 0)
        named = lambda row, own: (own < 0) | (row < 0) | (row == own)  # noqa: E731
        inside = ours & (found >= 0) & (self.group[at] == group) & (time <= self.end[at])
        nameless = inside & (admission < 0) & (self.admission[at] >= 0) & (not lenient)
        good = inside & ~nameless & named(admission, self.admission[at]) & named(stay, self.stay[at])
        following = np.minimum(found + 1, len(self.keys) - 1)
        of_next = (stay == self.stay[following]) & (stay >= 0) | (admission == self.admission[following]) & (stay < 0)
        early = ours & ~inside & (self.group[following] == group) & (time < self.start[following]) & of_next
        faults.leave_out((early & (admission >= 0)).sum(), "values before their sequence begins")
        faults.leave_out(nameless.sum(), "values that name no admission")
        faults.leave_out((inside & ~nameless & ~good).sum(), "values that name another admission or stay")
        return np.where(good, found, -1)


def measurements(
    path: Path,
    table: str,
    items: Items,
    windows: Windows,
    scale: Scale,
    faults: Faults,
    *,
    lenient: bool,
    ranges: bool,
    own: bool,
) -> Iterator[Rows]:
    """Stream a table of events: yield what was measured of the items wanted, in the channels' units.

    Args:
        path: The file.
        table: Its name, as in the item table.
        items: What is wanted.
        windows: Of the sequences.
        scale: Sees the values, and converts them.
        faults: What was left out, and wrong units, are counted there.
        lenient: Whether a row may name no admission.
        ranges: Whether the limits apply.
        own: Whether items are the user's, who is told which of them no row has.

    Raises:
        ValueError: if the file cannot be read.
    """
    seen: set[int] = set()
    ours = items.take(items.table == table)
    wanted = pa.array(ours.ids.astype(np.int32))
    for batch in batches(path):
        kept = batch.filter(pc.is_in(batch["itemid"], value_set=wanted))
        if not len(kept):
            continue
        numbers = {
            name: pc.fill_null(kept[name], -1).to_numpy() if name in kept.schema.names else np.full(len(kept), -1)
            for name in NUMBERS
        }
        item = np.searchsorted(ours.ids, numbers["itemid"])
        seen.update(np.unique(numbers["itemid"]).tolist())
        time = kept["charttime"].cast(pa.int64()).fill_null(-1).to_numpy()
        faults.leave_out((time < 0).sum(), "values without a time")
        sequence = windows.place(
            numbers["subject_id"], numbers["hadm_id"], numbers["icustay_id"], time, faults, lenient
        )
        good = sequence >= 0
        if "error" in kept.schema.names:
            error = np.isin(kept["error"].to_numpy(zero_copy_only=False), ("1", "1.0"))
            faults.leave_out((error & good).sum(), "values marked as errors")
            good &= ~error
        kept, item, sequence = kept.filter(pa.array(good)), item[good], sequence[good]
        value = _converted(ours, item, _values(ours, item, kept, faults), kept["valueuom"], faults)
        value = scale(sequence, ours.channel[item], value)
        value = limited(ours, ours.channel[item], value, ranges, faults)
        rows = Rows(sequence, time[good] - windows.start[sequence], ours.channel[item], value)
        yield rows.take(~np.isnan(value))
    if own and (unseen := sorted(set(ours.ids.tolist()) - seen)):
        faults.leave_out(len(unseen), f"items wanted that no row of {table} has", named(unseen))


def _values(
    items: Items, item: Int[ndarray, " rows"], batch: pa.RecordBatch, faults: Faults
) -> Float[ndarray, " rows"]:
    """Return numbers as recorded: `valuenum`, else what the text stands for; NaN where it is empty, or no number."""
    channel = items.channel[item]
    value = np.full(len(batch), np.nan)
    if "valuenum" in batch.schema.names:
        value = np.where(items.named[channel], np.nan, batch["valuenum"].to_numpy(zero_copy_only=False))
    rest = np.flatnonzero(~np.isfinite(value))
    texts: Any
    codes, texts = pd.factorize(batch["value"].take(pa.array(rest)).to_numpy(zero_copy_only=False))
    pairs, position, count = np.unique(channel[rest] * len(texts) + codes, return_inverse=True, return_counts=True)
    words = [texts[pair % len(texts)].strip() for pair in pairs]
    numbers = [items.variables[pair // len(texts)].number(word) for pair, word in zip(pairs, words, strict=True)]
    value[rest] = np.array(numbers, dtype=np.float64)[position]
    strange = np.isnan(numbers) & np.array([word != "" for word in words], dtype=bool)
    faults.leave_out(count[strange].sum(), "values that are no number")
    return value


def _converted(
    items: Items, item: Int[ndarray, " rows"], value: Float[ndarray, " rows"], written: pa.Array, faults: Faults
) -> Float[ndarray, " rows"]:
    """Convert to the units of the channels; a value in a unit that its item is not written in is counted as wrong.

    What unit a value is in, `valueuom` says if it is a known one; else the item's usual one, but where the value then
    lies beyond the limits, and in one other unit within the valid ones, that. (So 98.6 in a Celsius item is
    Fahrenheit, and from 79 on; FiO2 above 1 is per cent: the rules of the benchmark.)
    """
    channel = items.channel[item]
    codes, names = pd.factorize(written.to_numpy(zero_copy_only=False))
    unit = items.unit_codes(names)[codes] if len(names) else codes
    known = (unit >= 0) & ~np.isnan(items.conversion[channel, unit, 0])
    unit = np.where(known, unit, items.usual[item])
    own = _convert(items, channel, unit, value)
    low, valid_low, valid_high, high = items.limits[channel].T
    outside = np.flatnonzero((own < low) | (own > high))
    for at in outside:
        factor, offset = items.conversion[channel[at]].T
        fits = np.flatnonzero((others := value[at] * factor + offset) >= valid_low[at])
        fits = fits[others[fits] <= valid_high[at]]
        if len(fits) == 1:
            unit[at], own[at] = fits[0], others[fits[0]]
    wrong = ~items.accepted[item, unit] & ~np.isnan(own)
    pairs, count = np.unique(np.stack([item[wrong], unit[wrong]]), axis=1, return_counts=True)
    for k, u, times in zip(*pairs, count, strict=True):
        column = items.variables[items.channel[k]].column
        what = f"values of {column.name} in {items.units[u]} instead of {column.unit}"
        faults.note(times, what, f"item {items.ids[k]}", CONVERT)
    return own


def _convert(items: Items, channel: ndarray, unit: ndarray, value: Float[ndarray, " rows"]) -> Float[ndarray, " rows"]:
    factor, offset = items.conversion[channel, unit].T
    return value * factor + offset


def limited(
    items: Items, channel: Int[ndarray, " rows"], value: Float[ndarray, " rows"], ranges: bool, faults: Faults
) -> Float[ndarray, " rows"]:
    """Apply the limits, and round to the steps of recording; NaN beyond the limits.

    Codes of binary and categorical channels must be ones that there are.
    """
    if ranges:
        low, valid_low, valid_high, high = items.limits[channel].T
        beyond = (value < low) | (value > high)
        faults.leave_out(beyond.sum(), "values beyond the limits")
        within = np.fmin(np.fmax(value, valid_low), valid_high)
        value = np.where(beyond | np.isnan(value), np.nan, within)
    count = items.codes[channel]
    stray = (count > 0) & ((value < 0) | (value >= count) | (value % 1 != 0)) & ~np.isnan(value)
    faults.leave_out(stray.sum(), "values that are no code of their variable")
    per_unit = items.per_unit[channel]
    rounded = np.where(per_unit > 0, np.round(value * per_unit) / np.maximum(per_unit, 1e-9), value)
    return np.where(stray, np.nan, rounded)
