"""The baseline of differential privacy: every column of every step drawn by itself, by a noisy histogram.

Whatever costs more has to beat it. A patient counts once, with the first sequence, in at most one bin of each of K
histograms, so the counts change by at most √K in norm, and one Gaussian mechanism pays for all of them (Dwork and Roth
2014, theorem A.1). Given a condition, each of its classes has histograms of its own, at no further cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ..preparation import Part, Preparation
from ..sequences import Sequences
from .budget import Budget, calibrated
from .privacy import Privacy
from .public import known, prepare


@dataclass(frozen=True, eq=False)
class Marginals:
    """Noisy histograms of the length, every static, and every channel at every step, for each class of a condition.

    Args:
        preparation: Says what is public.
        bins: Of a number; a class has one for each category. The last of all histograms is for what is missing.
        counts: Noisy counts of patients, none below 0; 0 in bins that a column has not.
        classes: Noisy counts of the classes of the condition.
    """

    preparation: Preparation
    bins: int
    counts: Float[ndarray, "classes k bins"]
    classes: Float[ndarray, " classes"]

    @classmethod
    def learn(cls, train: Sequences, privacy: Privacy, condition: str = "", bins: int = 16) -> Marginals:
        """Spend the whole budget on the histograms; what is drawn of them later costs nothing.

        Args:
            train: To learn from; bounds, categories and length must be public, as for a run.
            privacy: The budget, and what is public; of the other settings none is of account.
            condition: A static class given which all else is independent.
            bins: Of a number, equally wide between its bounds.

        Raises:
            ValueError: if bounds, categories or the length are not public.
        """
        train = known(train, privacy)
        preparation = prepare(train, (), privacy)
        parts, length = _parts(preparation), preparation.length
        widths = np.array([length, *(bins if part.normaliser else int(part.extremes[1]) + 1 for part in parts)])
        first = train.take(np.unique(train.subject, return_index=True)[1])
        codes, missing = _codes(first, parts, bins), int(widths.max())
        codes[codes < 0] = missing
        own = 1 + train.schema.static_index(condition) if condition else 0
        group = codes[:, own] if condition else np.zeros(len(first), dtype=int)
        counts = np.zeros((missing + 1 if condition else 1, len(widths), missing + 1))
        there = np.repeat(first.alive, len(preparation.channels), axis=1)  # what has ended is not missing besides
        there = np.concatenate([np.ones((len(first), len(widths) - there.shape[1]), dtype=bool), there], axis=1)
        np.add.at(counts, (group[:, None], np.arange(len(widths)), codes), there)
        noise = calibrated(Budget(privacy), 1.0, 1) * np.sqrt(len(widths))
        noisy = (counts + np.random.default_rng().normal(0, noise, counts.shape)).clip(min=0)
        gaps = np.array([False, *(part.gaps for part in parts)])
        noisy *= np.concatenate([np.arange(missing) < widths[:, None], gaps[:, None]], axis=1)
        return cls(preparation, bins, noisy, noisy[:, own].diagonal() if condition else np.ones(1))

    def draw(self, count: int, seed: int = 0) -> Sequences:
        """Draw sequences."""
        rng, schema = np.random.default_rng(seed), self.preparation.schema
        group = rng.choice(len(self.classes), size=count, p=_shares(self.classes))
        upto = _shares(self.counts).cumsum(axis=2)
        codes = np.stack([(rng.random((len(row), 1)) >= row[:, :-1]).sum(axis=1) for row in upto[group]])
        parts = _parts(self.preparation)
        values = np.stack([self._value(part, codes[:, k + 1], rng) for k, part in enumerate(parts)], axis=1)
        static, flat = np.split(values, [len(schema.statics)], axis=1)
        x = flat.reshape(count, self.preparation.length, -1)
        return Sequences(x, schema, codes[:, 0] + 1, static, np.arange(count))

    def _value(self, part: Part, code: Int[ndarray, " n"], rng: np.random.Generator) -> Float[ndarray, " n"]:
        low, high = part.extremes
        found = low + (code + rng.random(len(code))) / self.bins * (high - low) if part.normaliser else code
        return np.where(code == self.counts.shape[2] - 1, np.nan, found)


def _shares(counts: Float[ndarray, "*some bins"]) -> Float[ndarray, "*some bins"]:
    """Return counts as shares along the last axis; where nothing is left of them, all in the first bin."""
    shares = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1e-12)
    shares[..., 0] += 1 - shares.sum(axis=-1)
    return shares


def _parts(preparation: Preparation) -> list[Part]:
    """Return the columns in the order of the histograms: statics, then the channels of each step."""
    return [*preparation.statics, *(part for _ in range(preparation.length) for part in preparation.channels)]


def _codes(sequences: Sequences, parts: Sequence[Part], bins: int) -> Int[ndarray, "n k"]:
    """Return in which bin the length and each column of each sequence is; -1 where it is missing."""
    flat = np.concatenate([sequences.static, sequences.values.reshape(len(sequences), -1)], axis=1).astype(np.float64)
    found = [sequences.lengths - 1]
    for part, value in zip(parts, flat.T, strict=True):
        low, high = part.extremes
        if part.normaliser:
            value = ((value - low) / (high - low) * bins).clip(0, bins - 1)
        found.append(np.nan_to_num(np.floor(value), nan=-1).astype(np.int64))
    return np.stack(found, axis=1)
