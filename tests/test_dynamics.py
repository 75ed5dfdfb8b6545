"""Measures of shape and dynamics: against scipy and numpy, against closed forms, and by the corruption ladder."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import wasserstein_distance

from families import cohort
from vitalsynth.evaluation import (
    autocorrelations,
    cross_correlations,
    marginals,
    measures,
    sliced_wasserstein,
    spectra,
)
from vitalsynth.evaluation.distances import between_means, channel_sums, correlation, lag_sums, of_values
from vitalsynth.sequences import Column, Schema, Sequences

METRICS = (marginals, autocorrelations, cross_correlations, spectra)


def plain(values):
    return Sequences(values, Schema(tuple(Column(f"x{j}") for j in range(values.shape[2]))))


def autoregressive(rng, n, length, rho):
    x = rng.standard_normal((n, length))
    for t in range(1, length):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * x[:, t]
    return x[..., None]


def three(make):
    return [plain(make(np.random.default_rng(seed))) for seed in (1, 2, 3)]


@pytest.mark.parametrize("decimals", [0, 12])
def test_the_distance_of_laws_is_scipys(rng, decimals):
    first = np.round(rng.standard_t(3, (400, 5)), decimals)
    second = np.round(2 * rng.standard_t(3, (300, 5)) + 0.3, decimals)
    second[rng.random(second.shape) < 0.3] = np.nan
    u, v = rng.integers(0, 4, (2, 400)).astype(float), rng.integers(0, 4, (2, 300)).astype(float)
    got = between_means(*of_values([first, second], 2.0), u, v)
    for k in range(2):
        known = ~np.isnan(second)
        wanted = wasserstein_distance(
            first.ravel(), second[known], np.repeat(u[k], 5), np.repeat(v[k][:, None], 5, axis=1)[known]
        )
        assert got[k] == pytest.approx(wanted / 2, rel=1e-9 if decimals == 0 else 3e-3)


def test_correlations_are_numpys_over_complete_pairs(rng):
    x = 100 + rng.standard_normal((50, 9, 3)).cumsum(axis=1)
    x[rng.random(x.shape) < 0.4] = np.nan
    x[..., 2] = 7.0

    def complete(a, b):
        both = ~np.isnan(a) & ~np.isnan(b)
        return np.corrcoef(a[both], b[both])[0, 1]

    between = correlation(channel_sums(x).sum(axis=0))
    assert between[0] == pytest.approx(complete(x[..., 0], x[..., 1]), abs=1e-8)
    assert np.isnan(between[1:]).all()
    later = correlation(lag_sums(x, [1, 4]).sum(axis=0))
    for j in range(2):
        assert later[j, 1] == pytest.approx(complete(x[:, :-4, j], x[:, 4:, j]), abs=1e-8)
    assert np.isnan(correlation(lag_sums(x[:5], [8]).sum(axis=0))).all()


def test_a_shift_of_one_deviation_is_one_and_categories_are_shares():
    train, test, other = cohort(300, seed=1), cohort(300, seed=2), cohort(300, seed=3)
    got = marginals(train, test, other)
    assert got["mean"] < got["worst"] < 0.3
    values = other.values.copy()
    values[..., 0] += 3 * np.nanstd(train.channel("hr"))
    values[..., 3] = np.where(np.isnan(values[..., 3]), np.nan, 1)
    spoilt = marginals(train, test, replace(other, values=values))
    assert spoilt["of hr"] == pytest.approx(3, abs=0.15)
    assert spoilt["of rhythm"] == pytest.approx(2 / 3, abs=0.04)
    assert spoilt["of age"] == got["of age"] and spoilt["of died"] == 0
    assert spoilt["worst"] == spoilt["of hr"]
    assert spoilt["worst_low"] < spoilt["worst"] < spoilt["worst_high"]
    assert spoilt["worst_low"] > spoilt["worst_floor_high"]
    unseen = marginals(train, test, replace(other, values=np.where(np.arange(4) == 1, np.nan, other.values)))
    assert (unseen["columns"], unseen["compared"]) == (7, 6)


def test_autocorrelations_of_autoregressive_processes():
    train, test, _ = three(lambda rng: autoregressive(rng, 1500, 40, 0.9))
    other = plain(autoregressive(np.random.default_rng(4), 1500, 40, 0.5))
    lags = np.arange(1, 11)
    got = autocorrelations(train, test, other)
    assert got["mean"] == got["worst"] == pytest.approx(np.abs(0.9**lags - 0.5**lags).mean(), abs=0.03)
    assert got["mean_floor"] < 0.03
    holes = np.where(np.random.default_rng(5).random(other.values.shape) < 0.5, np.nan, other.values)
    assert autocorrelations(train, test, replace(other, values=holes))["mean"] == pytest.approx(got["mean"], abs=0.02)


def test_cross_correlations_of_two_gaussians():
    def make(rho):
        return lambda rng: rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], (500, 10))

    train, test, _ = three(make(0.8))
    got = cross_correlations(train, test, three(make(-0.1))[2])
    assert got["mean"] == pytest.approx(0.9, abs=0.04)
    never_together = np.where([[True, False]], np.nan, train.values)
    never_together[::2] = np.where([[False, True]], np.nan, train.values[::2])
    assert cross_correlations(train, test, replace(train, values=never_together))["mean"] == pytest.approx(
        0.8, abs=0.04
    )


def test_twice_the_amplitude_is_six_decibels():
    train, test, other = three(lambda rng: autoregressive(rng, 800, 32, 0.7))
    got = spectra(train, test, replace(other, values=2 * other.values))
    assert got["mean"] == pytest.approx(20 * np.log10(2), abs=0.3)
    assert got["mean_floor"] < 0.5


def test_sliced_wasserstein_of_shifted_gaussians():
    """Along a direction the laws are a shift apart: the mean is |shift| times that of |a coordinate| on the sphere."""
    width = 12
    train, test, other = three(lambda rng: rng.standard_normal((1000, 4, 3)))
    got = sliced_wasserstein(train, test, replace(other, values=other.values + 2), 100)
    coordinate = np.exp(gammaln(width / 2) - gammaln((width + 1) / 2)) / np.sqrt(np.pi)
    assert got["distance"] == pytest.approx(2 * np.sqrt(width) * coordinate, rel=0.15)
    assert got["distance_floor"] < 0.08


def test_what_cannot_be_compared_is_said():
    holed, single = cohort(40), plain(np.ones((40, 1, 1)))
    with pytest.raises(measures.Unanswerable, match="without a gap"):
        spectra(*[holed.drop(["hr", "ventilated", "rhythm"])] * 3)
    for metric in (autocorrelations, cross_correlations, spectra):
        with pytest.raises(measures.Unanswerable, match="single"):
            metric(single, single, single)
    with pytest.raises(measures.Unanswerable, match="no column has enough"):
        cross_correlations(*[plain(np.ones((40, 5, 2)))] * 3)
