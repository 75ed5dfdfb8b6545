"""Sequences of which everything is known, for the corruption ladder (`ladder`).

Real data have few subjects, or few blocks of time, and hide from a weak metric what it could see in more. In these as
many independent subjects as one likes have all that the ladder spoils: a direction of time, channels that belong
together, a kind of subject apart from the others, and a label that is to be read from all of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..sequences import Column, Schema, Sequences

LENGTH = 16
BEFORE = 20
"""Steps that a process has run before it is looked at."""
RATE = 100.0


def vitals(count: int, seed: int) -> Sequences:
    """Return three channels of 16 steps, of subjects of two sexes, with a label.

    `a` jumps up and decays; men are 3 above women. `b` follows `a`, 1 or 3 steps later. `c` is a wave that becomes
    faster or slower; it hardly leaves its bounds. In women the label is that `b` is late, in men that `c` becomes
    faster.
    """
    rng = np.random.default_rng(seed)
    man, label = rng.integers(0, 2, (2, count))
    late, rising = (np.where(man == sex, label, rng.integers(0, 2, count)) for sex in (0, 1))
    steps = np.arange(LENGTH)
    shocks = rng.exponential(size=(count, BEFORE + LENGTH)) - 1
    for t in range(1, BEFORE + LENGTH):
        shocks[:, t] += 0.7 * shocks[:, t - 1]
    a = (3.0 * man + rng.standard_normal(count))[:, None] + shocks
    b = np.take_along_axis(a, BEFORE + steps - (1 + 2 * late)[:, None], axis=1)
    b += 0.5 * rng.standard_normal(b.shape)
    speed = 0.5 + 0.5 * np.where(rising[:, None], steps, steps[::-1]) / LENGTH
    c = np.sin(speed.cumsum(axis=1) + rng.uniform(0, 2 * np.pi, (count, 1)))
    c += 0.2 * rng.standard_normal(c.shape)
    schema = Schema(
        (Column("a"), Column("b"), Column("c", low=-1.8, high=1.8)),
        (Column("sex", "binary", categories=("F", "M")), Column("label", "binary")),
    )
    static = np.stack([man, label], axis=1).astype(float)
    return Sequences(np.stack([a[:, BEFORE:], b, c], axis=2), schema, static=static, subject=_subjects(count, seed))


def labs(count: int, seed: int) -> Sequences:
    """Return `vitals` in which `b` is measured at 0.2 of the steps in women, and at 0.7 in men, and `c` mostly with it.

    Where `a` is below its subject's mean both are measured a tenth as often.
    """
    whole = vitals(count, seed)
    rng = np.random.default_rng([seed, 1])
    a = whole.values[:, :, 0]
    often = (0.2 + 0.5 * whole.static_column("sex"))[:, None] * np.where(a < a.mean(axis=1, keepdims=True), 0.1, 1.0)
    drawn = rng.random(a.shape) < often
    measured = np.stack([np.ones(drawn.shape, dtype=bool), drawn, drawn ^ (rng.random(drawn.shape) < 0.1)], axis=2)
    return replace(whole, values=np.where(measured, whole.values, np.nan))


def hearts(count: int, seed: int, interval: float = 0.8, height: float = 1.0) -> Sequences:
    """Return five seconds of narrow peaks, their intervals regular but for each heart its own, and a wave after each.

    Args:
        count: How many.
        seed: Of all.
        interval: Mean seconds from peak to peak.
        height: Of a peak, in mV.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(500) / RATE
    own = interval * rng.uniform(0.9, 1.1, count)
    since = (t + rng.uniform(0, 1, (count, 1)) * own[:, None]) % own[:, None] - 0.3 * own[:, None]
    beat = height * np.exp(-0.5 * (since / 0.015) ** 2) + 0.2 * np.exp(-0.5 * ((since - 0.25) / 0.05) ** 2)
    signal = beat + 0.01 * rng.standard_normal(beat.shape)
    schema = Schema((Column("II", unit="mV"),), step=1 / RATE, step_unit="s")
    return Sequences(signal[..., None], schema, subject=_subjects(count, seed))


def _subjects(count: int, seed: int) -> np.ndarray:
    return 100_000 * seed + np.arange(count)
