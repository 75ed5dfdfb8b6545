"""The members of each family, and data to try them on: a law holds for every member."""

from functools import partial

import numpy as np

from vitalsynth import discriminators, generators, objectives
from vitalsynth.preparation import Preparation
from vitalsynth.sequences import Column, Schema, Sequences

GENERATORS = {
    "LSTM": generators.LSTM,
    "GRU": generators.GRU,
    "bidirectional": partial(generators.LSTM, bidirectional=True, layers=2),
    "no step noise": partial(generators.GRU, step_noise=0),
    "MinGRU": generators.MinGRU,
    "RGLRU": partial(generators.RGLRU, bidirectional=True, layers=2),
    "Attention": generators.Attention,
    "with pasts": partial(generators.LSTM, pasts=0.5, patch=2),
    "Attention with pasts": partial(generators.Attention, pasts=0.5),
    "renewing": partial(generators.LSTM, renewal=3),
    "ConvolutionalRecurrent": generators.ConvolutionalRecurrent,
    "MultiScale": generators.MultiScale,
}
DISCRIMINATORS = {
    "LSTM": discriminators.LSTM,
    "GRU": discriminators.GRU,
    "Convolutional": discriminators.Convolutional,
    "Projected": partial(discriminators.Projected, minibatch=0),
    "one way": partial(discriminators.LSTM, bidirectional=False, layers=2),
    "MinGRU": discriminators.MinGRU,
    "RGLRU": partial(discriminators.RGLRU, bidirectional=False, layers=2),
    "Attention": discriminators.Attention,
    "ConvolutionalRecurrent": discriminators.ConvolutionalRecurrent,
    "MultiScale": discriminators.MultiScale,
}
OBJECTIVES = {
    "NonSaturating": objectives.NonSaturating,
    "noisy labels": partial(objectives.NonSaturating, noisy=True),
    "Hinge": objectives.Hinge,
    "Wasserstein": partial(objectives.Wasserstein, discriminator_steps=2),
    "Wasserstein by difference": partial(objectives.Wasserstein, estimator="finite-difference", discriminator_steps=1),
    "Relativistic": objectives.Relativistic,
    "Relativistic by difference": partial(objectives.Relativistic, estimator="finite-difference"),
}


def cohort(count=60, length=6, seed=0):
    """Sequences with every kind of column, gaps and varying lengths; one in four died, with a faster heart."""
    rng = np.random.default_rng(seed)
    died = (np.arange(count) % 4 == 0).astype(float)
    hr = (
        80
        + 15 * died[:, None]
        + rng.standard_normal((count, 1)) * 8
        + rng.standard_normal((count, length)).cumsum(axis=1)
    )
    temp = np.where(rng.random((count, length)) < 0.5, 37 + 0.4 * rng.standard_normal((count, length)), np.nan)
    vent = (rng.random((count, length)) < 0.3).astype(float)
    rhythm = rng.integers(0, 3, (count, length)).astype(float)
    age = np.where(rng.random(count) < 0.1, np.nan, rng.uniform(20, 90, count))
    schema = Schema(
        (
            Column("hr", unit="1/min", low=0.0),
            Column("temp", unit="°C"),
            Column("ventilated", "binary"),
            Column("rhythm", "categorical", categories=("sinus", "flutter", "paced")),
        ),
        (Column("died", "binary"), Column("sex", "binary", categories=("F", "M")), Column("age", unit="years")),
        step_unit="h",
    )
    static = np.stack([died, rng.integers(0, 2, count).astype(float), age], axis=1)
    lengths = np.concatenate([[length], rng.integers(2, length + 1, count - 1)])
    return Sequences(np.stack([hr, temp, vent, rhythm], axis=2), schema, lengths, static)


def prepared(condition=("died",), normalise="local"):
    sequences = cohort()
    preparation = Preparation.fit(sequences, normalise, condition)
    return preparation, preparation.encode(sequences)


SMALL = {
    "generator": partial(generators.LSTM, hidden=4),
    "discriminator": partial(discriminators.Convolutional, width=4, blocks=1),
    "batch": 4,
    "checkpoint_every": 5,
    "quiet": True,
}
"""Settings of `train` for a run of seconds, with checkpoints."""
