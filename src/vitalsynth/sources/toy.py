"""Toy processes whose laws are known in closed form."""

from __future__ import annotations

import numpy as np

from ..sequences import Column, Schema, Sequences


def sines(count: int = 1000, length: int = 24, channels: int = 5, seed: int = 0) -> Sequences:
    """Sine waves of random frequency and phase, as in the code of TimeGAN (Yoon et al. 2019).

        x[t] = (sin(f t + p) + 1) / 2,   f, p ~ U(0, 0.1)

    The frequencies are in radians a step: 24 steps never make a full period. Generated here; no licence applies.

    Args:
        count: Number of sequences.
        length: Steps.
        channels: Independent waves in a sequence.
        seed: Another seed gives other sequences.
    """
    _at_least_one(count=count, length=length, channels=channels)
    frequency, phase = np.random.default_rng(seed).uniform(0, 0.1, (2, count, 1, channels))
    values = (np.sin(frequency * np.arange(length)[None, :, None] + phase) + 1) * 0.5
    return Sequences(values, Schema(tuple(Column(f"x{j}", low=0.0, high=1.0) for j in range(channels))))


def ar1(count: int = 1000, length: int = 24, coefficient: float = 0.9, noise: float = 1.0, seed: int = 0) -> Sequences:
    """An autoregressive process of order one, started in its stationary law.

        x[t] = c x[t-1] + s e[t],   var x = s^2 / (1 - c^2),   corr(x[t], x[t+k]) = c^k

    Generated here; no licence applies.

    Args:
        count: Number of sequences.
        length: Steps.
        coefficient: c, between -1 and 1.
        noise: s, standard deviation of what each step adds.
        seed: Another seed gives other sequences.
    """
    _at_least_one(count=count, length=length)
    if not -1 < coefficient < 1:
        raise ValueError(f"coefficient must lie between -1 and 1, got {coefficient}; beyond there is no stationary law")
    if noise <= 0:
        raise ValueError(f"noise must be greater than 0, got {noise}")
    values = _stationary(count, length, coefficient, noise / np.sqrt(1 - coefficient**2), seed)
    return Sequences(values[..., None], Schema((Column("x"),)))


def ornstein_uhlenbeck(
    count: int = 1000,
    length: int = 24,
    rate: float = 0.2,
    volatility: float = 1.0,
    step: float = 1.0,
    gap: float = 0.3,
    seed: int = 0,
) -> Sequences:
    """An Ornstein-Uhlenbeck process, sampled by its exact transition, with values missing at random.

        dx = -r x dt + v dW,   var x = v^2 / (2 r),   corr(x[t], x[t+h]) = exp(-r h)

    Generated here; no licence applies.

    Args:
        count: Number of sequences.
        length: Steps.
        rate: r, per unit of time.
        volatility: v.
        step: Time between two values.
        gap: Chance that a value was not measured, each by itself.
        seed: Another seed gives other sequences.
    """
    _at_least_one(count=count, length=length)
    for name, number in (("rate", rate), ("volatility", volatility), ("step", step)):
        if number <= 0:
            raise ValueError(f"{name} must be greater than 0, got {number}")
    if not 0 <= gap < 1:
        raise ValueError(f"gap must be at least 0 and less than 1, got {gap}")
    values = _stationary(count, length, np.exp(-rate * step), volatility / np.sqrt(2 * rate), seed)
    missing = np.random.default_rng((seed, 1)).uniform(size=values.shape) < gap
    return Sequences(np.where(missing, np.nan, values)[..., None], Schema((Column("x"),), step=step))


def _stationary(count: int, length: int, correlation: float, deviation: float, seed: int) -> np.ndarray:
    """Draw a Gaussian Markov chain from its stationary law."""
    values = np.random.default_rng(seed).standard_normal((count, length))
    for t in range(1, length):
        values[:, t] = correlation * values[:, t - 1] + np.sqrt(1 - correlation**2) * values[:, t]
    return deviation * values


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
