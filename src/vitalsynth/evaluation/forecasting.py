"""Forecasting: does a forecaster that learned from synthetic sequences foretell real ones?

At every step t it is told the last values of all channels, carried forward, with their masks, and their mean so far. It
foretells each continuous channel at t + ahead, by ridge regression of how that differs from the last value measured.
Only targets that were measured count. Its error stands beside that of persistence, which foretells the last value:

    error = mean over channels of sqrt(sum (y - forecast)^2 / sum (y - last value)^2)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from ..sequences import Sequences
from . import measures, predictors
from .features import View
from .fidelity import equal_parts
from .measures import Unanswerable, Weights
from .metric import Figure, Interval, beside, says

LIMIT = 10.0
"""Scaled values are cut here in what is told, not in what is to be foretold."""
FEWEST = 10
"""Test sequences in which a channel must have something to foretell, to count."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps of a set of sequences, with what follows each.

    Args:
        x: `(n, features)` what is told.
        y: `(n, targets)` what follows, scaled; NaN where it was not measured.
        last: `(n, targets)` the last value measured, scaled; 0, the mean in training, before the first.
        row: `(n,)` which sequence.
    """

    x: Float[ndarray, "n features"]
    y: Float[ndarray, "n targets"]
    last: Float[ndarray, "n targets"]
    row: Int[ndarray, " n"]

    @classmethod
    def of(cls, view: View, sequences: Sequences, ahead: int, past: int) -> Steps:
        """Lay the steps of sequences out that have one `ahead` of them."""
        targets = np.flatnonzero([column.kind == "continuous" for column in view.schema.channels])
        widths = np.array([len(c.categories) if c.kind == "categorical" else 1 for c in view.schema.channels])
        places = (np.cumsum(widths) - widths)[targets]  # of the channels in what `View.dense` returns
        dense = view.dense(sequences)
        seen = np.clip(dense, -LIMIT, LIMIT)
        n, length, width = seen.shape
        padded = np.concatenate([np.zeros((n, past - 1, width)), seen], axis=1)
        before = [padded[:, k : k + length] for k in range(past)]
        so_far = np.cumsum(seen, axis=1) / np.arange(1, length + 1)[:, None]
        statics = np.broadcast_to(view.statics(sequences)[:, None], (n, length, view.statics(sequences).shape[1]))
        told = np.concatenate([*before, so_far, statics, np.ones((n, length, 1))], axis=2)
        y = (sequences.values[:, :, targets] - view.mean[targets]) / view.scale[targets]
        row, step = np.nonzero(sequences.alive[:, ahead:])
        return cls(told[row, step], y[row, step + ahead], dense[row[:, None], step[:, None], places], row)


def learn(steps: Steps, subject: Shaped[ndarray, " n"], seed: int) -> Float[ndarray, "features targets"]:
    """Return the coefficients of each target; 0, which is persistence, of one that was never measured.

    Args:
        steps: To learn from.
        subject: Whose each step is.
        seed: Of the choice of subjects on which the penalty is chosen.
    """
    held = predictors.held_out(subject, seed)
    known = ~np.isnan(steps.y)
    change = steps.y - steps.last
    columns = [predictors.ridge(steps.x[there], change[there, j], held[there]) for j, there in enumerate(known.T)]
    return np.stack(columns, axis=1)


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the steps of each test sequence, `(n, targets)`, of what was foretold in it.

    Args:
        count: How many values were measured.
        value: Of these values.
        square: Of their squares.
        persistence: Of the squared errors of persistence.
    """

    count: Float[ndarray, "n targets"]
    value: Float[ndarray, "n targets"]
    square: Float[ndarray, "n targets"]
    persistence: Float[ndarray, "n targets"]

    def errors(self, wrong: Float[ndarray, "n targets"], weights: Weights) -> Float[ndarray, " resamples"]:
        """Return the error of forecasts beside that of persistence; `wrong` are sums of squared errors."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt((weights @ wrong) / (weights @ self.persistence)).mean(axis=1)

    def r2(self, wrong: Float[ndarray, "n targets"], weights: Weights) -> Float[ndarray, " resamples"]:
        """Return the share of the variance that is foretold."""
        with np.errstate(invalid="ignore", divide="ignore"):
            varying = weights @ self.square - (weights @ self.value) ** 2 / (weights @ self.count)
            return (1 - (weights @ wrong) / varying).mean(axis=1)


def _per_sequence(steps: Steps, of: Float[ndarray, "steps targets"], n: int) -> Float[ndarray, "n targets"]:
    out = np.zeros((n, of.shape[1]))
    np.add.at(out, steps.row, np.nan_to_num(of))
    return out


@says(
    Figure(
        *("error", "forecast error", "lower"),
        "How far off a forecaster trained on {trained_on:.0f} synthetic sequences is in {tested_on:.0f} real ones, "
        "{ahead:.0f} steps ahead in {channels:.0f} channels, as a share of how far off one is that always foretells "
        "the last value: 1 is no better than that.",
    ),
    Figure(
        "r2", "forecast R²", "higher", "The share of the variance of what follows that the same forecaster foretells."
    ),
    part="usefulness",
    doing="foretelling real sequences",
    responds={
        "worse": ("noise", "reversed time", "shuffled steps", "permuted channels", "collapsed"),
        "blind or worse": ("dropped mode",),
    },
)
def forecast(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    ahead: int = 1,
    past: int = 6,
    cap: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Return how well real sequences are foretold after training on synthetic ones.

    Figures: `error` and `r2`, both averaged over the continuous channels that vary in the test set; the floor is
    training on as many real sequences, the trivial answer is persistence. Intervals are over the test subjects. For
    sequences of 24 x 6 it takes 0.6 CPU-seconds, however many there are.

    Args:
        train: Real, scales the data and trains the floor.
        test: Real, of other subjects.
        synthetic: Trains the forecaster.
        ahead: How many steps.
        past: How many steps back values are told one by one.
        cap: Most sequences taken of each set.
        seed: Of the choice and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, or `ahead` or `past` is below 1.
        Unanswerable: if there is nothing to foretell.
    """
    if ahead < 1 or past < 1:
        raise ValueError(f"ahead and past must be at least 1, got {ahead} and {past}")
    view = View.fit(train, test, synthetic)
    own, made = equal_parts([train, synthetic], cap, seed)
    asked = test.take(np.sort(np.random.default_rng(seed).permutation(len(test))[:cap]))
    told = Steps.of(view, asked, ahead, past)
    sums = partial(_per_sequence, told, n=len(asked))
    count = sums((~np.isnan(told.y)).astype(float))
    persistence = sums((told.y - told.last) ** 2)
    kept = ((count > 0).sum(axis=0) >= FEWEST) & (persistence.sum(axis=0) > 0)
    if not kept.any():
        raise Unanswerable(f"no continuous channel varies {ahead} steps ahead in {FEWEST} test sequences")
    known = Sums(*(part[:, kept] for part in (count, sums(told.y), sums(told.y**2), persistence)))
    weights = measures.resamples(asked.subject, seed + 1)

    def figures(part: Sequences) -> list[Interval]:
        steps = Steps.of(view, part, ahead, past)
        foretold = told.last + told.x @ learn(steps, part.subject[steps.row], seed)
        wrong = sums((told.y - foretold) ** 2)[:, kept]
        return [measures.with_interval(partial(measure, wrong), weights) for measure in (known.errors, known.r2)]

    (error, r2), (error_floor, r2_floor) = figures(made), figures(own)
    trivial = float(known.r2(known.persistence, np.ones((1, len(asked))))[0])
    out = (
        beside("error", error, error_floor) | beside("r2", r2, r2_floor) | {"error_trivial": 1.0, "r2_trivial": trivial}
    )
    sizes = {"trained_on": len(made), "tested_on": len(asked), "ahead": ahead, "channels": kept.sum()}
    return out | {name: float(size) for name, size in sizes.items()}
