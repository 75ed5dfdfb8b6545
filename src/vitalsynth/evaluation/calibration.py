"""Calibration: do sequences that go on from a past know what they do not know?

Every value that came is placed among the draws of it, u = (draws below it + U (draws equal to it + 1)) / (draws + 1), U
uniform, which is uniform if the draws have its law (the randomised probability integral transform; Smith 1985, J.
Forecasting 4, 283). In the 80 % band is what has 0.1 <= u <= 0.9.
"""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..sequences import Sequences
from . import measures
from .measures import Unanswerable
from .metric import Figure, beside, says

LOW, HIGH = 0.1, 0.9
"""The ends of the band, as shares of the draws below."""


@says(
    Figure(
        *("outside", "outside the 80 % band", "near floor"),
        "The share of {values:.0f} later values of {sequences:.0f} real sequences, given {steps:.0f} steps, outside "
        "the 80 % band of the draws that go on from there: 0.2 if those know what they do not know. The bands are "
        "{width:.0%} as wide as those of other sequences at the same time, whose share is the floor.",
    ),
    part="continuation",
    doing="setting what came against how it might have gone on",
)
def calibration(train: Sequences, test: Sequences, continued: Sequences, steps: int, seed: int = 0) -> dict[str, float]:
    """Return how often what came lies outside the 80 % bands of what was drawn, and how wide those are.

    Of continuous channels, where a value came and was measured in any of its draws: `outside`, the share, with its
    interval over subjects, and `outside NAME` of each channel; `values`, how many. The floor is that of as many other
    sequences of the training set at the same step, which know nothing of the past; `width` is that of the bands as a
    share of theirs.

    Args:
        train: Real, what the generator learned from.
        test: Real, of subjects it never saw: what came.
        continued: Draws of how each test sequence goes on, as `sampling.continued` yields them: those of the first
            test sequence, those of the second, and so on.
        steps: How many steps were given.
        seed: Of ties, of other stays, and of the bootstrap.

    Raises:
        Unanswerable: if no number came.
    """
    rng = np.random.default_rng(seed)
    numbers = [j for j, column in enumerate(test.schema.channels) if column.kind == "continuous"]
    came, draws = test.values[:, steps:, numbers], len(continued) // len(test)
    others = train.values[rng.integers(len(train), size=(len(test), draws))]
    drawn = continued.values.reshape(others.shape)
    if not numbers or np.isnan(came).all():
        raise Unanswerable(f"no number was measured after step {steps}")
    weights = measures.resamples(test.subject, seed)
    (u, width), (other, usual) = (placed(came, each[:, :, steps:][..., numbers], rng) for each in (drawn, others))
    value, floor = (measures.with_interval(partial(_outside, each), weights) for each in (u, other))
    by_channel = {
        f"outside {test.schema.channels[j].name}": float(_outside(u[..., [k]], np.ones((1, len(test))))[0])
        for k, j in enumerate(numbers)
    }
    about = {"values": float((~np.isnan(u)).sum()), "sequences": float(len(test)), "steps": float(steps)}
    usual = np.where(np.isnan(width), np.nan, usual)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # a channel that was never measured again
        about["width"] = float(np.nanmean(width / np.nanmean(usual, axis=(0, 1))))
    return beside("outside", value, floor) | about | by_channel


def _outside(u: Float[ndarray, "n length channels"], weights: measures.Weights) -> Float[ndarray, " resamples"]:
    counts = (((u < LOW) | (u > HIGH)).sum(axis=(1, 2)), (~np.isnan(u)).sum(axis=(1, 2)))
    return measures.share(*counts, weights)


def placed(
    came: Float[ndarray, "n length channels"],
    draws: Float[ndarray, "n draws length channels"],
    rng: np.random.Generator,
) -> tuple[Float[ndarray, "n length channels"], Float[ndarray, "n length channels"]]:
    """Return where values lie among their draws, and how wide the 80 % band of those is.

    Args:
        came: NaN where not measured; so is what is returned, and where it was in no draw.
        draws: Likewise.
        rng: Breaks ties.
    """
    below = (draws < came[:, None]).sum(axis=1)
    equal = (draws == came[:, None]).sum(axis=1)
    count = (~np.isnan(draws)).sum(axis=1)
    u = (below + rng.uniform(size=came.shape) * (equal + 1)) / (count + 1)
    u[np.isnan(came) | (count == 0)] = np.nan
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # what no draw has measured
        low, high = np.nanquantile(draws, [LOW, HIGH], axis=1)
    return u, np.where(np.isnan(u), np.nan, high - low)
