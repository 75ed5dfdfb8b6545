"""The literature's scores: its formulas recomputed plainly, closed forms, and what they let pass.

The published anchor, a predictive score of 0.119 of real windows on ETTh, takes the published 5,000 iterations:
benchmarks/literature_anchors.py.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats

from families import cohort
from vitalsynth.evaluation import (
    correlational_score,
    discriminative_score,
    measures,
    predictive_score,
    tsgbench,
)
from vitalsynth.evaluation.literature import TinyGRU, foretold, over_judges, told_apart
from vitalsynth.evaluation.tsgbench import (
    autocorrelation_difference,
    euclidean_distances,
    kurtosis_difference,
    marginal_distribution_difference,
    skewness_difference,
    warped_distances,
)
from vitalsynth.sequences import Column, Schema, Sequences

QUICK = {"iterations": 150, "repeats": 2}


def coupled(count, seed, rho=0.9, together=0.7, length=24, channels=3):
    """A Gaussian process that forgets slowly, whose channels go together."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(np.full((channels, channels), together) + (1 - together) * np.eye(channels))
    x = rng.standard_normal((count, length, channels)) @ root.T
    for t in range(1, length):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * x[:, t]
    return Sequences(x, Schema(tuple(Column(f"x{j}") for j in range(channels))))


@pytest.fixture
def pair(rng):
    return rng.gamma(2, size=(40, 7, 3)).cumsum(axis=1), 1.3 * rng.gamma(3, size=(40, 7, 3)).cumsum(axis=1)


def test_first_weights_are_tensorflows():
    """Glorot uniform over the kernels [x, h] -> 2 h and [x, h] -> h; gates start half open (bias 1)."""
    torch.manual_seed(0)
    judge = TinyGRU(inputs=30, units=20)
    of_gates, of_candidate = judge.recurrence.weight_ih_l0.detach().split([40, 20])
    assert of_gates.abs().max().item() == pytest.approx(np.sqrt(6 / (50 + 40)), rel=0.02)
    assert of_candidate.abs().max().item() == pytest.approx(np.sqrt(6 / (50 + 20)), rel=0.02)
    biases = judge.recurrence.bias_ih_l0 + judge.recurrence.bias_hh_l0
    assert biases.tolist() == [1.0] * 40 + [0.0] * 20
    assert judge.out.bias.item() == 0


def test_skewness_and_kurtosis_are_scipys(pair):
    flat = [x.reshape(-1, 3) for x in pair]
    unbiased = ((len(flat[0]) - 1) / len(flat[0])) ** 1.5
    skew, kurtosis = ([of(x, axis=0) for x in flat] for of in (stats.skew, stats.kurtosis))
    assert skewness_difference(*pair) == pytest.approx(np.abs(skew[0] - skew[1]).mean() * unbiased)
    assert kurtosis_difference(*pair) == pytest.approx(np.abs(kurtosis[0] - kurtosis[1]).mean())


def test_the_autocorrelation_difference_step_by_step(pair):
    def of(x, lag):
        x = x - x.mean()
        pairs = [x[i, t] * x[i, t + lag] for i in range(len(x)) for t in range(x.shape[1] - lag)]
        return np.mean(pairs) / (x**2).mean()

    each = [
        np.sqrt(sum((of(pair[0][..., j], lag) - of(pair[1][..., j], lag)) ** 2 for lag in range(7))) for j in range(3)
    ]
    assert autocorrelation_difference(*pair) == pytest.approx(np.mean(each))


def test_the_marginal_distribution_difference_bin_by_bin(pair):
    real, made = pair
    each = []
    for t in range(1, 7):
        for j in range(3):
            known, borders = np.histogram(real[:, t, j], 50, density=True)
            width, middle = borders[1] - borders[0], (borders[1:] + borders[:-1]) / 2
            counted = np.abs(made[:, t, j, None] - middle) < width / 2
            each.append(np.abs(counted.mean(axis=0) / width - known).mean())
    assert marginal_distribution_difference(real, made) == pytest.approx(np.mean(each))
    assert marginal_distribution_difference(real, real) > 0  # the largest and smallest value are forgotten


def test_distances_of_pairs_one_by_one(pair):
    def warped(x, y, i, j):
        if i < 0 or j < 0:
            return 0.0 if i == j else np.inf
        return ((x[i] - y[j]) ** 2).sum() + min(warped(x, y, *at) for at in ((i - 1, j - 1), (i - 1, j), (i, j - 1)))

    few = [x[:3, :5] for x in pair]
    wanted = [np.sqrt(warped(x, y, 4, 4)) for x, y in zip(*few, strict=True)]
    np.testing.assert_allclose(warped_distances(*few), wanted)
    wanted = [np.mean([np.linalg.norm(x[:, j] - y[:, j]) for j in range(3)]) for x, y in zip(*few, strict=True)]
    np.testing.assert_allclose(euclidean_distances(*few), wanted)


def test_a_constant_beats_real_data_in_distance_of_pairs():
    train, test, other = (coupled(100, seed) for seed in (1, 2, 3))
    flat = replace(other, values=train.values.mean(axis=(0, 1)) + 1e-3 * other.values)
    got = tsgbench(train, test, flat)
    assert got["ed_high"] < got["ed_floor_low"] and got["dtw"] < got["dtw_floor"]
    assert got["mdd_low"] > got["mdd_floor_high"]


def test_the_correlational_score_of_two_gaussians():
    train, test, other = (coupled(1500, seed, rho=0) for seed in (1, 2, 3))
    apart = coupled(1500, 4, rho=0, together=0.1)
    assert correlational_score(train, test, apart)["score"] == pytest.approx(3 * 0.6 / 10, abs=0.01)
    honest = correlational_score(train, test, other)
    assert 0 < honest["score"] < 0.02 and honest["score_low"] < honest["score"] < honest["score_high"]


def test_judges_tell_a_shift_and_not_the_same_law():
    train, test, other = (coupled(300, seed, channels=6, length=12) for seed in (1, 2, 3))
    assert discriminative_score(train, test, other, **QUICK)["score"] < 0.15
    shifted = replace(other, values=other.values + 4)
    assert discriminative_score(train, test, shifted, **QUICK)["score"] > 0.4


def test_a_predictor_learns_what_can_be_foretold_and_no_more(rng):
    """The last channel is the first a step later, on [0, 1]; or it is noise, whose error is that of its median: 1/4."""
    x = torch.from_numpy(rng.uniform(size=(400, 10, 4))).float()
    follows = x.clone()
    follows[:, 1:, -1] = x[:, :-1, 0]
    torch.manual_seed(0)
    assert foretold(follows, follows, 1000) < 0.12
    assert foretold(x, x, 300) == pytest.approx(0.25, abs=0.01)
    assert foretold(x, follows, 300) == pytest.approx(0.25, abs=0.02)


def test_the_last_value_carried_on_beats_the_predictor():
    train, test, other = (coupled(300, seed, rho=0.99) for seed in (1, 2, 3))
    got = predictive_score(train, test, other, **QUICK)
    span = train.values[..., -1].max() - train.values[..., -1].min()
    assert got["mae_trivial"] == pytest.approx(np.abs(np.diff(test.values[..., -1], axis=1)).mean() / span)
    assert 2 * got["mae_trivial"] < got["mae_floor"]


def test_as_published_copies_are_the_best_there_is():
    """Against the training windows; the same code says so against held-out ones only as far as they are alike."""
    train, test = coupled(60, 1), coupled(60, 2)
    assert tsgbench(train, test, train, against="train")["acd"] == 0
    assert tsgbench(train, test, train)["acd"] == pytest.approx(tsgbench(train, test, train)["acd_floor"])


def test_the_interval_is_students_over_judges_and_seeds_are_the_judges_own():
    before = torch.get_rng_state()
    draws = iter([0.1, 0.2, 0.3])
    value, low, high = over_judges(lambda: next(draws), 3, 0)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 2, 0.2, stats.sem([0.1, 0.2, 0.3])) * np.array([0, 1]))
    assert value == pytest.approx(0.2)
    x = torch.rand(60, 5, 2)
    state = torch.get_rng_state()
    judged = partial(over_judges, lambda: told_apart(x, x, 3), 1, 5)
    assert judged()[0] == judged()[0] and np.isnan(judged()[1])
    assert torch.equal(torch.get_rng_state(), state) and not torch.equal(before, state)


def test_gaps_are_not_theirs_to_judge():
    for metric in (discriminative_score, predictive_score, correlational_score, tsgbench):
        with pytest.raises(measures.Unanswerable, match="without gaps"):
            metric(cohort(), cohort(), cohort())
