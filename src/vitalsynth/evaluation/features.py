"""What judges see: dense arrays scaled by the training set, and random convolution features of them.

A random kernel w of length 7, 9 or 11 with bias b, dilation d and some of the channels gives two numbers per sequence,

    PPV = mean over t of [z(t) > 0],   max = max over t of z(t),   z(t) = b + sum_{c, i} w[c, i] x[c, t + i d]

(ROCKET: Dempster, Petitjean and Webb 2020, arXiv 1910.13051). The weights have mean 0, so the level of a channel and
the time of day hardly show in them; a few plain summaries of every channel stand beside them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from ..sequences import Column, Schema, Sequences

KERNELS = 500
"""Random kernels of a judge: 1,000 features, seconds for 1,000 sequences."""


@dataclass(frozen=True, eq=False)
class View:
    """How judges see sequences; scaled by the training set, so that every set is scaled alike.

    Args:
        schema: What the columns are.
        length: Time steps.
        mean: `(channels,)` level of each channel in the training set; 0 unless continuous.
        scale: `(channels,)` its standard deviation; 1 unless continuous.
        static_mean: `(statics,)` the same of the static columns.
        static_scale: `(statics,)`
        gaps: `(channels,)` whether it is missing anywhere, in any of the sets: it then has a mask.
        static_gaps: `(statics,)`
        varying: Whether lengths differ, in any of the sets: there is then an alive channel.
        masks: Whether judges are told what was measured.
    """

    schema: Schema
    length: int
    mean: Float[ndarray, " channels"]
    scale: Float[ndarray, " channels"]
    static_mean: Float[ndarray, " statics"]
    static_scale: Float[ndarray, " statics"]
    gaps: Bool[ndarray, " channels"]
    static_gaps: Bool[ndarray, " statics"]
    varying: bool
    masks: bool = True

    @classmethod
    def fit(cls, train: Sequences, *others: Sequences, masks: bool = True) -> View:
        """Read level and scale off the training set, and off all sets which columns need a mask.

        A gap where the training set has none must not be hidden from the judge, hence the others. Without masks no
        channel has one: for sets that were given gaps alike (`borrow_gaps`).

        Raises:
            ValueError: if there are no training sequences, or the sets differ in columns or length.
        """
        if not len(train):
            raise ValueError("the training set has no sequences; at least 1 is needed to scale by")
        for other in others:
            _check(train, other)
        sets = (train, *others)
        gaps = np.any([(np.isnan(s.values) & s.alive[..., None]).any(axis=(0, 1)) for s in sets], axis=0)
        static_gaps = np.any([np.isnan(s.static).any(axis=0) for s in sets], axis=0)
        varying = any(bool((s.lengths < s.length).any()) for s in sets)
        flat = train.values.reshape(-1, len(train.schema.channels))
        mean, scale = _level_and_scale(train.schema.channels, flat)
        static_mean, static_scale = _level_and_scale(train.schema.statics, train.static)
        return cls(
            train.schema, train.length, mean, scale, static_mean, static_scale, gaps, static_gaps, varying, masks
        )

    def dense(self, sequences: Sequences) -> Float[ndarray, "n length width"]:
        """Return channels (gaps carried forward, then 0; categories one-hot), then masks, then alive."""
        measured = ~np.isnan(sequences.values)
        carried = (_carry_forward(sequences.values.astype(np.float64)) - self.mean) / self.scale
        carried = np.where(sequences.alive[..., None], carried, np.nan)
        parts = [_columns(column, carried[..., j]) for j, column in enumerate(self.schema.channels)]
        if self.masks:
            parts.append(measured[..., self.gaps].astype(np.float64))
        if self.varying:
            parts.append(sequences.alive[..., None].astype(np.float64))
        return np.concatenate(parts, axis=-1)

    def flat(self, sequences: Sequences) -> Float[ndarray, "n width"]:
        """Return all columns of all steps, one after the other, then the statics."""
        return np.concatenate([self.dense(sequences).reshape(len(sequences), -1), self.statics(sequences)], axis=1)

    def statics(self, sequences: Sequences, without: Collection[str] = ()) -> Float[ndarray, "n width"]:
        """Return static columns (missing is 0; categories one-hot), then masks; some left out by name."""
        scaled = (sequences.static.astype(np.float64) - self.static_mean) / self.static_scale
        parts = [np.zeros((len(sequences), 0))]
        for j, column in enumerate(self.schema.statics):
            if column.name in without:
                continue
            parts.append(_columns(column, scaled[:, j]))
            if self.static_gaps[j]:
                parts.append(~np.isnan(scaled[:, j : j + 1]))
        return np.concatenate(parts, axis=-1)


def borrow_gaps(sequences: Sequences, real: Sequences, seed: int = 0) -> Sequences:
    """Give sequences without a single gap those of random real ones; return others as they are.

    A generator that makes no gaps is then not told from real sequences by them. Where a real sequence has ended,
    nothing is made missing.
    """
    if not len(real) or np.isnan(sequences.values[sequences.alive]).any():
        return sequences
    missing = np.isnan(real.values) & real.alive[..., None]
    lent = missing[np.random.default_rng(seed).integers(len(real), size=len(sequences))]
    return replace(sequences, values=np.where(lent, np.nan, sequences.values))


def _check(train: Sequences, other: Sequences) -> None:
    for what in ("channels", "statics"):
        ours, theirs = ([(c.name, c.kind, c.categories) for c in getattr(s.schema, what)] for s in (train, other))
        if ours != theirs:
            raise ValueError(
                f"the sets to compare must have the same {what}: {', '.join(c[0] for c in ours) or 'none'} against "
                f"{', '.join(c[0] for c in theirs) or 'none'}, of the same kinds and categories"
            )
    if train.length != other.length:
        raise ValueError(
            f"the sets to compare must have the same number of steps: {train.length} against {other.length}"
        )


def _level_and_scale(columns: Sequence[Column], values: Float[ndarray, "n k"]) -> tuple[ndarray, ndarray]:
    mean, scale = np.zeros(len(columns)), np.ones(len(columns))
    for j, column in enumerate(columns):
        known = values[~np.isnan(values[:, j]), j].astype(np.float64)
        if column.kind == "continuous" and len(known):
            mean[j] = known.mean()
            scale[j] = known.std() if known.std() > 1e-9 * np.abs(known).max() else 1.0
    return mean, scale


def _carry_forward(values: Float[ndarray, "n length channels"]) -> Float[ndarray, "n length channels"]:
    steps = np.arange(values.shape[1])[None, :, None]
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, steps), axis=1)
    return np.take_along_axis(values, last, axis=1)


def _columns(column: Column, values: ndarray) -> ndarray:
    """Return one column as dense ones along a new last axis; NaN, and a code that is no category, give 0."""
    if column.kind == "categorical":
        return (values[..., None] == np.arange(len(column.categories))).astype(np.float64)
    return np.nan_to_num(values, nan=0.0)[..., None]


@dataclass(frozen=True, eq=False)
class Kernels:
    """Random kernels that share length, dilation and padding, so that one convolution computes them all.

    Args:
        weights: `(kernels, channels, length)`, 0 for the channels a kernel does not look at.
        bias: `(kernels,)`
        dilation: Steps between neighbouring weights.
        padding: Zeros put before and after a sequence.
    """

    weights: Float[Tensor, "kernels channels length"]
    bias: Float[Tensor, " kernels"]
    dilation: int
    padding: int

    def features(self, x: Float[Tensor, "n channels length"]) -> Float[Tensor, "n features"]:
        """Return the share of positive outputs, then the largest output, of every kernel."""
        z = torch.nn.functional.conv1d(x, self.weights, self.bias, dilation=self.dilation, padding=self.padding)
        return torch.cat([(z > 0).float().mean(dim=2), z.amax(dim=2)], dim=1)


def draw_kernels(count: int, length: int, channels: int, seed: int = 0) -> list[Kernels]:
    """Draw random kernels as in ROCKET, for sequences of so many steps and channels.

    A sequence shorter than a kernel is always padded, which the paper need not.
    """
    rng = np.random.default_rng(seed)
    groups: dict[tuple[int, int, int], list[tuple[ndarray, float]]] = {}
    for _ in range(count):
        size = int(rng.choice([7, 9, 11]))
        looked_at = int(2 ** rng.uniform(0, math.log2(min(channels, size) + 1)))
        weights = np.zeros((channels, size))
        own = rng.standard_normal((looked_at, size))
        weights[rng.choice(channels, looked_at, replace=False)] = own - own.mean(axis=1, keepdims=True)
        dilation = int(2 ** rng.uniform(0, math.log2((length - 1) / (size - 1)))) if length > size else 1
        padded = rng.random() < 0.5 or length < size
        key = (size, dilation, (size - 1) * dilation // 2 if padded else 0)
        groups.setdefault(key, []).append((weights, rng.uniform(-1, 1)))
    return [
        Kernels(
            torch.tensor(np.stack([w for w, _ in drawn]), dtype=torch.float32),
            torch.tensor([b for _, b in drawn], dtype=torch.float32),
            dilation,
            padding,
        )
        for (_, dilation, padding), drawn in sorted(groups.items())
    ]


def convolution_features(
    x: Float[ndarray, "n length channels"], kernels: list[Kernels]
) -> Float[ndarray, "n features"]:
    """Return all features of all kernels, in chunks that keep memory to about 100 MB."""
    n, length, channels = x.shape
    widest = max([channels, *(len(group.bias) for group in kernels)])
    chunk = max(1, 25_000_000 // (12 * length * widest))
    series = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 2, 1), dtype=np.float32))
    with torch.inference_mode():
        parts = [torch.cat([group.features(part) for group in kernels], dim=1) for part in series.split(chunk)]
        return torch.cat(parts).double().numpy() if n else np.zeros((0, 2 * sum(len(g.bias) for g in kernels)))


def summaries(x: Float[ndarray, "n length channels"]) -> Float[ndarray, "n features"]:
    """Return mean, deviation, smallest and largest value of every channel, and its mean in each quarter of the time."""
    quarters = [part.mean(axis=1) for part in np.array_split(x, min(4, x.shape[1]), axis=1)]
    return np.concatenate([x.mean(axis=1), x.std(axis=1), x.min(axis=1), x.max(axis=1), *quarters], axis=1)


def descriptions(
    x: Float[ndarray, "n length channels"], pairs: int = 100, seed: int = 0
) -> Float[ndarray, "n features"]:
    """Return `summaries`, and what they leave out: how channels move, and move together.

    Of every channel the mean size and the skewness of its steps (which changes sign when time runs backwards), its
    correlation with itself one step before, and how its energy is divided among four bands of frequency; of pairs of
    channels, at most so many, their correlation, at once and with one a step later. What a constant channel leaves
    undefined is 0.
    """
    moved = np.diff(x, axis=1, append=x[:, -1:])
    centred = x - x.mean(axis=1, keepdims=True)
    energy = np.square(np.abs(np.fft.rfft(centred, axis=1)))[:, 1:]
    bands = [part.sum(axis=1) for part in np.array_split(energy, 4, axis=1)]
    first, second = np.triu_indices(x.shape[2], 1)
    chosen = np.random.default_rng(seed).permutation(len(first))[:pairs]
    first, second = first[chosen], second[chosen]
    return np.concatenate(
        [
            summaries(x),
            np.abs(moved).mean(axis=1),
            _ratio((moved**3).mean(axis=1), np.square(moved).mean(axis=1) ** 1.5),
            _correlation(centred[:, 1:], centred[:, :-1]),
            *(_ratio(band, energy.sum(axis=1)) for band in bands),
            _correlation(centred[..., first], centred[..., second]),
            _correlation(centred[:, 1:, first], centred[:, :-1, second]),
            _correlation(centred[:, :-1, first], centred[:, 1:, second]),
        ],
        axis=1,
    )


def _correlation(x: Float[ndarray, "n length k"], y: Float[ndarray, "n length k"]) -> Float[ndarray, "n k"]:
    """Return mean products of centred values over what they are at most."""
    return _ratio((x * y).sum(axis=1), np.sqrt(np.square(x).sum(axis=1) * np.square(y).sum(axis=1)))


def _ratio(above: ndarray, below: ndarray) -> ndarray:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 1e-12)


def features(
    view: View, sequences: Sequences, kernels: int = KERNELS, without: Collection[str] = (), seed: int = 0
) -> Float[ndarray, "n features"]:
    """Return all that a judge is told of sequences.

    Args:
        view: How to see them.
        sequences: `n` of them.
        kernels: Number of random kernels.
        without: Static columns to keep from the judge: the label it shall predict.
        seed: Of the kernels; the same seed gives the same features.
    """
    x = view.dense(sequences)
    drawn = draw_kernels(kernels, view.length, x.shape[2], seed)
    return np.concatenate([convolution_features(x, drawn), summaries(x), view.statics(sequences, without)], axis=1)
