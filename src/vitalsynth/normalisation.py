"""Ways to bring one continuous column to unit scale, each exactly invertible.

A normaliser is fitted on training values `(n, length)` in which NaN is not measured. `encode` gives values of roughly
unit scale, still `(n, length)` with the same NaN, and `(n, k)` statics: what was taken out of each sequence and has to
be generated beside it (its level, its scale), k being `width`. `decode` undoes it, in operations on float64 tensors, so
that a generator can be exported together with the way back to physical units.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from scipy.special import ndtri
from torch import Tensor

from .sequences import nearest

Values = Float[ndarray, "n length"]
Statics = Float[ndarray, "n k"]
One = Float[ndarray, "n 1"]
Decoded = Float64[Tensor, "n length"]
DecodedStatics = Float64[Tensor, "n k"]


class Normaliser(ABC):
    """One way to normalise a column."""

    width: ClassVar[int] = 0

    @classmethod
    @abstractmethod
    def fit(cls, values: Values) -> Normaliser:
        """Read what is needed off training values, of which at least one is measured."""

    @abstractmethod
    def encode(self, values: Values) -> tuple[Values, Statics]:
        """Normalise."""

    @abstractmethod
    def decode(self, values: Decoded, statics: DecodedStatics) -> Decoded:
        """Undo `encode`."""

    @property
    def affine(self) -> tuple[float, float] | None:
        """Level and scale of `(values - level) / scale`, if that is all that `encode` does."""
        return None


def _none(values: Values) -> Statics:
    return np.zeros((len(values), 0))


@dataclass(frozen=True)
class MinMax(Normaliser):
    """To [-1, 1] by the smallest and largest training value."""

    low: float
    high: float

    @classmethod
    def fit(cls, values: Values) -> MinMax:
        return cls(float(np.nanmin(values)), float(np.nanmax(values)))

    @property
    def _half(self) -> float:
        return (self.high - self.low) / 2 or 1.0

    @property
    def affine(self) -> tuple[float, float]:
        return self.low + self._half, self._half

    def encode(self, values: Values) -> tuple[Values, Statics]:
        return (values - self.low) / self._half - 1, _none(values)

    def decode(self, values: Decoded, statics: DecodedStatics) -> Decoded:
        return self.low + (values + 1) * self._half


@dataclass(frozen=True)
class Standard(Normaliser):
    """To mean 0 and standard deviation 1 over the training set."""

    mean: float
    scale: float

    @classmethod
    def fit(cls, values: Values) -> Standard:
        return cls(float(np.nanmean(values)), _spread(values))

    @property
    def affine(self) -> tuple[float, float]:
        return self.mean, self.scale

    def encode(self, values: Values) -> tuple[Values, Statics]:
        return (values - self.mean) / self.scale, _none(values)

    def decode(self, values: Decoded, statics: DecodedStatics) -> Decoded:
        return self.mean + values * self.scale


@dataclass(frozen=True)
class Quantile(Normaliser):
    """To a standard normal through the empirical distribution, linear between knots and beyond the outermost.

    Equal values share one knot at the middle of their probability mass, so ties keep the map strictly increasing.
    """

    knots: tuple[float, ...]
    scores: tuple[float, ...]
    most: ClassVar[int] = 256

    @classmethod
    def fit(cls, values: Values) -> Quantile:
        measured = np.sort(values[~np.isnan(values)].astype(np.float64))
        smallest_gap = 1e-6 * max(measured[-1] - measured[0], 1e-6 * np.abs(measured).max())
        unique, counts = np.unique(measured, return_counts=True)
        middle = (np.cumsum(counts) - counts / 2) / len(measured)
        keep = np.unique(np.searchsorted(middle, np.linspace(middle[0], middle[-1], cls.most)).clip(0, len(unique) - 1))
        kept = [int(keep[0])]
        for position in keep[1:]:
            if unique[position] - unique[kept[-1]] > smallest_gap:
                kept.append(int(position))
        return cls(tuple(unique[kept].tolist()), tuple(ndtri(middle[kept]).tolist()))

    def encode(self, values: Values) -> tuple[Values, Statics]:
        x, y = np.array(self.knots), np.array(self.scores)
        slope = (y[-1] - y[0]) / (x[-1] - x[0]) if len(x) > 1 else 1.0
        beyond = np.minimum(values - x[0], 0) + np.maximum(values - x[-1], 0)
        return np.interp(values, x, y) + slope * beyond, _none(values)

    def decode(self, values: Decoded, statics: DecodedStatics) -> Decoded:
        x, y = (torch.tensor(knots, dtype=torch.float64, device=values.device) for knots in (self.scores, self.knots))
        if len(x) == 1:
            return y + (values - x)
        if torch.compiler.is_exporting():  # ONNX has no search
            bin = (values[..., None] >= x).sum(dim=-1)
        else:
            bin = torch.searchsorted(x, values.contiguous(), right=True)
        bin = bin.clamp(1, len(x) - 1) - 1
        within = values.clamp(x[0], x[-1])
        inside = y[bin] + (within - x[bin]) * (y.diff() / x.diff())[bin]
        return inside + (y[-1] - y[0]) / (x[-1] - x[0]) * (values - within)


@dataclass(frozen=True)
class Local(Normaliser):
    """To mean 0 and deviation 1 within each sequence; its level and log scale become statics.

    A quiet sequence keeps its fine structure beside a restless one (the idea of per-sequence normalisation in
    DoppelGANger, Lin et al. 2020, there with minimum and maximum). The scale has a floor of a thousandth of the
    training set's, so that a constant sequence stays finite. What is decoded is first brought to mean 0 and deviation
    1, as every encoded sequence is, so that it has exactly the level and the scale that its statics say.
    """

    level: Standard
    log_scale: Standard
    floor: float
    width: ClassVar[int] = 2

    @staticmethod
    def _level_and_scale(values: Values, floor: float) -> tuple[One, One]:
        with warnings.catch_warnings():  # a sequence with nothing measured has neither: NaN, as wanted
            warnings.simplefilter("ignore", RuntimeWarning)
            level = np.nanmean(values, axis=1, keepdims=True)
            scale = np.nanstd(values, axis=1, keepdims=True)
        return level, np.maximum(scale, floor)

    @classmethod
    def fit(cls, values: Values) -> Local:
        floor = 1e-3 * _spread(values)
        level, scale = cls._level_and_scale(values, floor)
        return cls(Standard.fit(level), Standard.fit(np.log(scale)), floor)

    def encode(self, values: Values) -> tuple[Values, Statics]:
        level, scale = self._level_and_scale(values, self.floor)
        statics = [self.level.encode(level)[0], self.log_scale.encode(np.log(scale))[0]]
        return (values - level) / scale, np.concatenate(statics, axis=1)

    def decode(self, values: Decoded, statics: DecodedStatics) -> Decoded:
        level = self.level.decode(statics[:, :1], statics)
        scale = torch.exp(self.log_scale.decode(statics[:, 1:], statics))
        measured = ~torch.isnan(values)
        count = measured.sum(dim=1, keepdim=True).clamp(min=1)
        centred = values - torch.where(measured, values, 0.0).sum(dim=1, keepdim=True) / count
        spread = (torch.where(measured, centred, 0.0).square().sum(dim=1, keepdim=True) / count).sqrt()
        quiet = (scale < 1.001 * self.floor) | (spread < 1e-6)  # its deviation was less than 1
        return level + centred / torch.where(quiet, 1.0, spread) * scale


@dataclass(frozen=True)
class LocalMax(Normaliser):
    """To at most 1 in size within each sequence, by its largest absolute value, whose log becomes a static."""

    log_scale: Standard
    floor: float
    width: ClassVar[int] = 1

    @staticmethod
    def _scale(values: Values, floor: float) -> One:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return np.maximum(np.nanmax(np.abs(values), axis=1, keepdims=True), floor)

    @classmethod
    def fit(cls, values: Values) -> LocalMax:
        floor = 1e-3 * _spread(values)
        return cls(Standard.fit(np.log(cls._scale(values, floor))), floor)

    def encode(self, values: Values) -> tuple[Values, Statics]:
        scale = self._scale(values, self.floor)
        return values / scale, self.log_scale.encode(np.log(scale))[0]

    def decode(self, values: Decoded, statics: DecodedStatics) -> Decoded:
        return values * torch.exp(self.log_scale.decode(statics, statics))


@dataclass(frozen=True)
class Integrated(Normaliser):
    """Differences between successive measurements, in units of their training deviation; the first becomes a static.

    Decoding sums them up. The difference at a sequence's first measurement carries nothing and is 0.
    """

    first: Standard
    scale: float
    width: ClassVar[int] = 1

    @staticmethod
    def _first(values: Values) -> One:
        position = np.argmax(~np.isnan(values), axis=1)
        return np.take_along_axis(values, position[:, None], axis=1)

    @staticmethod
    def _differences(values: Values) -> Values:
        out = np.full_like(values, np.nan)
        previous = values[:, 0].copy()
        out[:, 0] = np.where(np.isnan(previous), np.nan, 0.0)
        for t in range(1, values.shape[1]):
            now = values[:, t]
            out[:, t] = np.where(np.isnan(previous) & ~np.isnan(now), 0.0, now - previous)
            previous = np.where(np.isnan(now), previous, now)
        return out

    @classmethod
    def fit(cls, values: Values) -> Integrated:
        values = values.astype(np.float64)
        return cls(Standard.fit(cls._first(values)), _spread(cls._differences(values)))

    def encode(self, values: Values) -> tuple[Values, Statics]:
        values = values.astype(np.float64)
        return self._differences(values) / self.scale, self.first.encode(self._first(values))[0]

    def decode(self, values: Decoded, statics: DecodedStatics) -> Decoded:
        measured = ~torch.isnan(values)
        later = measured & (torch.cumsum(measured.long(), dim=1) > 1)
        walked = torch.cumsum(torch.where(later, values * self.scale, 0.0), dim=1)
        return torch.where(measured, self.first.decode(statics, statics) + walked, torch.nan)


def _spread(values: Values) -> float:
    """Return the standard deviation, or 1 where it is 0 or lost in rounding."""
    spread = float(np.nanstd(values))
    return spread if spread > 1e-9 * float(np.nanmax(np.abs(values))) else 1.0


NORMALISERS: dict[str, type[Normaliser]] = {
    "minmax": MinMax,
    "standard": Standard,
    "quantile": Quantile,
    "local": Local,
    "local-max": LocalMax,
    "integrated": Integrated,
}


def choose(values: Values, scale_free: bool = False, whole: bool = True) -> tuple[str, str]:
    """Choose a normaliser for a continuous channel of unknown data.

    Where a sequence's own level or scale says most of what sets sequences apart, they are taken out (`local`), unless
    gaps make them uncertain, and likewise where all sequences have the same, having been normalised one by one; what
    has heavy tails is spread by `quantile`; all else is `standard`.

    Args:
        values: `(n, length)`, NaN where nothing was measured.
        scale_free: Whether the learner has a scale of its own at every step, as one by maximum likelihood has. It then
            needs none of this, but cannot keep exactly to a level and scale that all sequences have.
        whole: Whether all of a sequence is there to take its level and scale from, as of a past it is not.

    Returns:
        The name, and why.
    """
    gaps = float(np.isnan(values).mean())
    known = values[~np.isnan(values)].astype(np.float64)
    spread = known.std()
    if whole and gaps <= MOST_GAPS and values.shape[1] >= FEWEST_STEPS and spread > 0:
        level, scale = Local._level_and_scale(values, 1e-3 * _spread(values))
        between, ratio = float(np.nanvar(level) / spread**2), float(np.nanstd(np.log(scale)))
        if max(between, ratio) < SAME:
            return "local", "every sequence has the same level and scale"
        if not scale_free and max(between, ratio) > 0.5:
            return (
                "local",
                f"{between:.0%} of the variance is between sequences, scales differ by a factor {np.exp(ratio):.1f}",
            )
    if scale_free:
        return "standard", "learned at any scale"
    if spread > 0 and (tails := float((((known - known.mean()) / spread) ** 4).mean())) > HEAVY:
        return "quantile", f"heavy tails (kurtosis {tails:.0f})"
    return "standard", f"{gaps:.0%} gaps" if gaps > MOST_GAPS else "nothing calls for another"


MOST_GAPS, FEWEST_STEPS, HEAVY, SAME = 0.05, 8, 12.0, 1e-3
"""Up to which share of gaps and from how many steps on a sequence's own level is certain; a kurtosis that is heavy; by
how much levels (in shares of the variance) and scales (in logarithms) differ that are the same."""


def named(name: str) -> type[Normaliser]:
    """Return the normaliser of a name.

    Raises:
        ValueError: if there is none.
    """
    if name not in NORMALISERS:
        raise ValueError(f"no normalisation {name!r}; {nearest(name, NORMALISERS)}")
    return NORMALISERS[name]


def to_json(normaliser: Normaliser) -> dict[str, Any]:
    """Return a normaliser as plain numbers under its name."""
    name = next(name for name, known in NORMALISERS.items() if type(normaliser) is known)
    return {"kind": name, **asdict(normaliser)}  # type: ignore[call-overload]


def from_json(record: dict[str, Any]) -> Normaliser:
    """Undo `to_json`."""
    numbers = {key: value for key, value in record.items() if key != "kind"}
    parts = {
        key: Standard(**v) if isinstance(v, dict) else tuple(v) if isinstance(v, list) else v
        for key, v in numbers.items()
    }
    return named(record["kind"])(**parts)
