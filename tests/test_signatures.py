"""Signatures against closed forms, and the distance built on them against data whose relation is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from vitalsynth.evaluation import signature_mmd
from vitalsynth.evaluation.fidelity import principal
from vitalsynth.evaluation.signatures import augmented, signature
from vitalsynth.sequences import Column, Schema, Sequences


def levels(flat, width, depth):
    """Split the numbers of one signature into tensors."""
    ends = np.cumsum([width**k for k in range(1, depth + 1)])
    return [part.reshape((width,) * (k + 1)) for k, part in enumerate(np.split(flat, ends[:-1]))]


def product(a, b):
    """Return the tensor product of two signatures without their 1."""
    ones = [np.ones(()), *a], [np.ones(()), *b]
    return [sum(np.multiply.outer(ones[0][j], ones[1][k - j]) for j in range(k + 1)) for k in range(1, len(a) + 1)]


def test_a_straight_line_is_the_exponential_however_it_is_cut(rng):
    d = rng.standard_normal(3)
    line = np.array([0, 0.1, 0.1, 0.7, 1])[None, :, None] * d + 5
    tensor = np.ones(())
    for k, level in enumerate(levels(signature(line, 4)[0], 3, 4), start=1):
        tensor = np.multiply.outer(tensor, d)
        np.testing.assert_allclose(level, tensor / math.factorial(k), atol=1e-12)


def test_chens_identity_and_running_back_undoes_a_path(rng):
    path = rng.standard_normal((1, 9, 2))
    whole, first, second = (levels(signature(p, 4)[0], 2, 4) for p in (path, path[:, :5], path[:, 4:]))
    for got, expected in zip(whole, product(first, second), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-10)
    there_and_back = np.concatenate([path, path[:, ::-1]], axis=1)
    np.testing.assert_allclose(signature(there_and_back, 4), 0, atol=1e-9)


def test_the_second_level_is_an_area(rng):
    """Shuffle identity S_ij + S_ji = S_i S_j, and half of S_12 - S_21 of a unit square is its area."""
    path = rng.standard_normal((20, 7, 3))
    got = signature(path, 2)
    for one, two in (levels(each, 3, 2) for each in got):
        np.testing.assert_allclose(two + two.T, np.multiply.outer(one, one), atol=1e-10)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], float)[None]
    _, two = levels(signature(square, 2)[0], 2, 2)
    assert (two[0, 1] - two[1, 0]) / 2 == pytest.approx(1)


def test_time_and_origin_tell_speed_and_level():
    path = np.array([[1.0, 2, 4], [1, 3, 4], [2, 3, 5]])[..., None]
    plain, told = signature(path - path[:, :1], 3), signature(augmented(path), 3)
    assert (plain[0] == plain[1]).all() and (plain[0] == plain[2]).all()  # all rise by 3
    assert np.abs(told[0] - told[1]).max() > 0.1 and np.abs(told[0] - told[2]).max() > 0.1
    np.testing.assert_allclose(augmented(path)[0], [[0, 0], [1 / 3, 1], [2 / 3, 2], [1, 4]])


def turns(n, seed, direction=1.0, width=2):
    """Noisy circles, run through one way or the other; further channels are noise."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 6, (n, 1)) + direction * np.arange(12) / 3
    circle = np.stack([np.sin(angle), np.cos(angle)], axis=2) + 0.3 * rng.standard_normal((n, 12, 2))
    values = np.concatenate([circle, 0.1 * rng.standard_normal((n, 12, width - 2))], axis=2)
    return Sequences(values, Schema(tuple(Column(f"x{j}") for j in range(width))), subject=1000 * seed + np.arange(n))


def test_equal_laws_are_0_apart_and_a_turn_the_other_way_is_seen():
    values, ps = [], []
    for seed in range(12):
        got = signature_mmd(*(turns(60, 3 * seed + k) for k in range(3)))
        values.append(got["signature_mmd2"])
        ps.append(got["signature_mmd2_p"])
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(12)
    assert min(values) < 0 and 0.2 < np.mean(ps) < 0.8
    other = signature_mmd(turns(60, 1), turns(60, 2), turns(60, 3, -1.0))
    assert other["signature_mmd2_low"] > other["signature_mmd2_floor_high"]
    assert other["signature_mmd2_p"] == pytest.approx(1 / 301)


def test_many_channels_and_gaps():
    train, test, made = (turns(40, k, width=12) for k in (1, 2, 3))
    holed = [
        replace(s, values=np.where(np.arange(12)[:, None] % 4 == 3, np.nan, s.values)) for s in (train, test, made)
    ]
    got = signature_mmd(*holed)
    assert got["signature_mmd2_floor_low"] < got["signature_mmd2"] < got["signature_mmd2_floor_high"]


def test_principal_directions(rng):
    x = rng.standard_normal((500, 5)) * [1, 3, 0.1, 2, 0.5]
    np.testing.assert_allclose(np.abs(principal(x, 2)), np.eye(5)[:, [1, 3]], atol=0.1)
    np.testing.assert_array_equal(principal(x, 5), np.eye(5))
