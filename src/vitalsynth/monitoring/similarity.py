"""How far what is generated is from held-out real sequences, while training, by measures that cost milliseconds.

The same held-out sequences, the same noise and the conditions of those sequences each time, so that what changes is the
generator (the averaged one, which is sampled from). Lower is better in all four:

- `mmd`: the unbiased squared maximum mean discrepancy with random Fourier features (Rahimi and Recht 2007),
  φ(x) = cos(w·x + b), E 2 φ(x) φ(y) = k(x, y), k the mixture of RBFs of `evaluation.mmd`; may be below 0 by chance.
- `sliced_wasserstein`: the 1-Wasserstein distance along random directions, in standard deviations.
- `autocorrelation`: the mean difference of autocorrelations, over channels and a few lags.
- `two_sample`: the AUROC of a linear classifier on random convolution features (ROCKET), fitted on half of the subjects
  and tested on the other half, and the other way round; 0.5 is chance.

For every class of a condition of which there are enough, the same of its sequences alone, `mmd[died=1]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from .. import sampling
from ..evaluation.distances import correlations_apart, lag_sums
from ..evaluation.dynamics import numeric, spread_lags
from ..evaluation.features import View, convolution_features, draw_kernels, summaries
from ..evaluation.fidelity import MULTIPLES, median_distance
from ..evaluation.judge import LIMIT, held_aside
from ..evaluation.measures import auroc
from ..learner import Learner
from ..runs import Run
from ..seeds import derive
from ..sequences import Sequences

Measure = Literal["mmd", "sliced_wasserstein", "autocorrelation", "two_sample"]
FEWEST = 20
"""Sequences that anything is said of, at least."""
FREQUENCIES = 100
"""Random Fourier features of each bandwidth."""
DIRECTIONS = 50
LAGS = 8
KERNELS = 84
STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
"""Ridge penalties that the classifier chooses from, by leaving one out."""


@dataclass(frozen=True)
class Similarity:
    """When similarity to held-out sequences is measured, and by which measure a checkpoint is the best.

    Args:
        every: In every how many steps, and at every checkpoint; 0 for never.
        count: Held-out sequences, and as many synthetic ones, that are compared: 20 to 1,024. Costs grow with it.
        best: Measure by which a checkpoint is the best, which 'prune' keeps and 'sample --checkpoint best' takes: mmd,
            sliced_wasserstein, autocorrelation or two_sample.

    Raises:
        ValueError: if a number is out of its range.
    """

    every: int = 1000
    count: int = 256
    best: Measure = "mmd"

    def __post_init__(self) -> None:
        if self.every < 0:
            raise ValueError(f"--similarity.every must be at least 0, which is never; got {self.every}")
        if not FEWEST <= self.count <= sampling.CHUNK:
            raise ValueError(f"--similarity.count must lie between {FEWEST} and {sampling.CHUNK:,}, got {self.count}")


@dataclass(frozen=True, eq=False)
class _Told:
    """What the measures are told of `n` sequences."""

    waves: Float[ndarray, "n frequencies"]
    along: Float[ndarray, "n directions"]
    lagged: Float[ndarray, "n channels lags 6"]
    features: Float[ndarray, "n features"]


class Comparison:
    """Real sequences, to which as many synthetic ones with the same conditions are compared again and again.

    Args:
        train: Scales the data.
        real: Held out; 20 at least.
        condition: Static columns that were conditioned on.
        seed: Of frequencies, directions, kernels and who is tested on.
    """

    def __init__(self, train: Sequences, real: Sequences, condition: Sequence[str] = (), seed: int = 0) -> None:
        self.view, self.seed = View.fit(train, real), seed
        rng = np.random.default_rng(seed)
        points = self.view.flat(real)
        bandwidths = np.repeat(median_distance(points) * np.array(MULTIPLES), FREQUENCIES)
        self.frequencies = rng.standard_normal((points.shape[1], len(bandwidths))) / bandwidths
        self.phases = rng.uniform(0, 2 * np.pi, len(bandwidths))
        directions = rng.standard_normal((points.shape[1], DIRECTIONS))
        self.directions = directions / np.linalg.norm(directions, axis=0)
        self.lags = spread_lags(real.length, LAGS)
        self.kernels = draw_kernels(KERNELS, real.length, self.view.dense(real.take(slice(0, 1))).shape[2], seed)
        self.fold = held_aside(real.subject, 0.5, seed)
        self.classes = dict(_classes(real, condition))
        self.real = self._told(real)

    def _told(self, sequences: Sequences) -> _Told:
        points, dense = self.view.flat(sequences), self.view.dense(sequences)
        parts = [convolution_features(dense, self.kernels), summaries(dense), self.view.statics(sequences)]
        return _Told(
            np.cos(points @ self.frequencies + self.phases),
            points @ self.directions,
            lag_sums(numeric(self.view, sequences)[0], self.lags),
            np.concatenate(parts, axis=1),
        )

    def figures(self, synthetic: Sequences) -> dict[str, float]:
        """Return all measures, of all sequences and of every class by itself; what is not defined is left out.

        Args:
            synthetic: As many as there are real ones, the i-th with the condition of the i-th.
        """
        told = self._told(synthetic)
        found: dict[str, float] = {}
        for name, own in {"": np.ones(len(synthetic), dtype=bool), **self.classes}.items():
            figures = {
                "mmd": discrepancy(self.real.waves[own], told.waves[own]),
                "sliced_wasserstein": apart_along(self.real.along[own], told.along[own]),
                "autocorrelation": self._autocorrelation(told, own),
                "two_sample": self._two_sample(told, own),
            }
            found |= {f"{measure}{name}": value for measure, value in figures.items() if np.isfinite(value)}
        return found

    def _autocorrelation(self, told: _Told, own: Bool[ndarray, " n"]) -> float:
        if not self.lags:
            return np.nan
        weights = own[None].astype(np.float64)
        each = correlations_apart([told.lagged, self.real.lagged])(0, weights, weights)
        return float(np.nanmean(each)) if np.isfinite(each).any() else np.nan

    def _two_sample(self, told: _Told, own: Bool[ndarray, " n"]) -> float:
        """Return the mean of both AUROCs; the i-th synthetic sequence goes with the i-th real one's subject."""
        from sklearn.linear_model import RidgeClassifierCV

        scores = []
        for tested in (own & self.fold, own & ~self.fold):
            fitted = own & ~tested
            if not tested.any() or not fitted.any():
                return np.nan
            x, y = (np.concatenate([self.real.features[rows], told.features[rows]]) for rows in (fitted, tested))
            mean, scale = x.mean(axis=0), x.std(axis=0)
            x, y = (np.clip((part - mean) / np.where(scale > 1e-9, scale, 1.0), -LIMIT, LIMIT) for part in (x, y))
            synthetic = [np.arange(len(part)) >= len(part) // 2 for part in (x, y)]
            score = RidgeClassifierCV(STRENGTHS).fit(x, synthetic[0]).decision_function(y)
            scores.append(float(auroc(synthetic[1], score, np.ones((1, len(y))))[0]))
        return float(np.mean(scores))


def _classes(real: Sequences, condition: Sequence[str]) -> Iterator[tuple[str, Bool[ndarray, " n"]]]:
    """Yield every class of which there are enough, `[died=1]`, and which sequences are of it."""
    for name in condition:
        column = real.schema.statics[real.schema.static_index(name)]
        if column.kind == "continuous":
            continue
        for code, label in enumerate(column.categories or (0, 1)):
            own = real.static_column(name) == code
            if own.sum() >= FEWEST:
                yield f"[{name}={label}]", own


def discrepancy(x: Float[ndarray, "n frequencies"], y: Float[ndarray, "m frequencies"]) -> float:
    """Return the unbiased MMD^2 of two samples of which random Fourier features cos(w·x + b) are given.

    With 2 φ(x)·φ(y) / frequencies as kernel; no item is paired with itself (`fidelity.unbiased_mmd`).
    """

    def within(waves: ndarray) -> float:
        n, total = len(waves), waves.sum(axis=0)
        return float(total @ total - np.square(waves).sum()) / (n * (n - 1))

    between = float(x.mean(axis=0) @ y.mean(axis=0))
    return (within(x) + within(y) - 2 * between) * 2 / x.shape[1]


def apart_along(x: Float[ndarray, "n directions"], y: Float[ndarray, "n directions"]) -> float:
    """Return the mean over directions of the 1-Wasserstein distance of two samples of the same size."""
    return float(np.abs(np.sort(x, axis=0) - np.sort(y, axis=0)).mean())


class SimilarityWatcher:
    """Logs how far the averaged generator is from held-out sequences, as `similarity.<measure>`.

    Args:
        run: Whose generator it is.
        settings: When, with how many.
        train: What it is trained on.
        held_out: What it is not; 20 at least.

    Raises:
        ValueError: if held-out sequences cannot be encoded as the training sequences were.
    """

    name = "similarity"

    def __init__(self, run: Run, settings: Similarity, train: Sequences, held_out: Sequences) -> None:
        self.run, self.every = run, settings.every
        self.seed = derive(run.record["seed"], "similarity")
        real = drawn(held_out, settings.count, self.seed)
        self.condition = run.preparation.encode(real).condition
        self.comparison = Comparison(
            drawn(train, sampling.CHUNK, self.seed), real, run.preparation.condition, self.seed
        )

    def due(self, step: int) -> bool:
        """Look at every `every`-th step, and at those that a checkpoint is written at."""
        return step % self.every == 0 or step % self.run.record["checkpoint_every"] == 0

    def before(self, learner: Learner) -> None:
        """Look at nothing."""

    def after(self, learner: Learner) -> dict[str, float]:
        """Draw, and compare."""
        generator: Any = learner.average
        synthetic = sampling.under(self.run, generator.eval(), self.condition, self.seed)
        return {f"similarity.{name}": value for name, value in self.comparison.figures(synthetic).items()}


def drawn(sequences: Sequences, count: int, seed: int) -> Sequences:
    """Return so many, or all, drawn at random."""
    chosen = np.random.default_rng(seed).permutation(len(sequences))[:count]
    return sequences.take(np.sort(chosen))
