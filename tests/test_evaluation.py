"""Each metric is held to what it must say of data whose relation to the real ones is known."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.spatial.distance import cdist
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, roc_auc_score

from vitalsynth import sources
from vitalsynth.evaluation import (
    calibration,
    evaluate,
    kid,
    measures,
    mmd,
    scorecard,
    table,
    tstr,
    two_sample,
    verdict,
)
from vitalsynth.evaluation.calibration import placed
from vitalsynth.evaluation.features import View, convolution_features, draw_kernels, features
from vitalsynth.evaluation.fidelity import cubic, rbf_mixture, shuffled_mmd, unbiased_mmd
from vitalsynth.evaluation.judge import Judge
from vitalsynth.sequences import Column, Schema, Sequences

QUICK = {"cap": 300, "kernels": 150}


def sines(n, seed, length=24, channels=3):
    """Sines as in the TimeGAN code: frequency and phase uniform on [0, 0.1], values in [0, 1]."""
    rng = np.random.default_rng(seed)
    frequency, phase = rng.uniform(0, 0.1, (2, n, 1, channels))
    values = (np.sin(frequency * np.arange(length)[:, None] + phase) + 1) / 2
    return Sequences(values, Schema(tuple(Column(f"x{j}") for j in range(channels))))


def gaussian_fit(sequences, n, seed):
    """Return draws from the Gaussian with the mean and covariance of flattened sequences."""
    flat = sequences.values.reshape(len(sequences), -1)
    drawn = np.random.default_rng(seed).multivariate_normal(flat.mean(axis=0), np.cov(flat.T), n)
    return replace(
        sequences.take(np.zeros(n, int)), values=drawn.reshape(n, *sequences.values.shape[1:]), subject=np.arange(n)
    )


def ward(n, seed):
    """Vitals with gaps, lengths, a categorical channel, repeated subjects, and statics; who dies has a rising pulse."""
    rng = np.random.default_rng(seed)
    died = (rng.random(n) < 0.4).astype(float)
    drift = np.where(died == 1, 0.5, 0.0)[:, None] * np.arange(12)
    pulse = 80 + drift + 2 * rng.standard_normal((n, 12)) + 3 * rng.standard_normal((n, 1))
    rhythm = rng.integers(0, 3, (n, 12)).astype(float)
    alarm = (rng.random((n, 12)) < 0.2).astype(float)
    values = np.stack([pulse, rhythm, alarm], axis=2)
    values[rng.random(values.shape) < 0.2] = np.nan
    age = np.where(rng.random(n) < 0.1, np.nan, rng.uniform(20, 90, n))
    static = np.stack([died, age, rng.integers(0, 3, n).astype(float)], axis=1)
    schema = Schema(
        (
            Column("pulse", unit="1/min"),
            Column("rhythm", "categorical", categories=("sinus", "AF", "other")),
            Column("alarm", "binary"),
        ),
        (Column("died", "binary"), Column("age"), Column("ward", "categorical", categories=("A", "B", "C"))),
    )
    return Sequences(values, schema, rng.integers(6, 13, n), static, 1000 * seed + rng.integers(0, n // 2, n))


@pytest.fixture(scope="module")
def three():
    return sines(300, 1), sines(300, 2), sines(300, 3)


def test_convolution_features_are_those_of_a_plain_loop(rng):
    x = rng.standard_normal((4, 23, 3))
    kernels = draw_kernels(40, 23, 3, seed=5)
    got, position = convolution_features(x, kernels), 0
    sizes, dilations, paddings = set(), set(), set()
    for group in kernels:
        weights, count = group.weights.double().numpy(), len(group.bias)
        sizes.add(weights.shape[2]), dilations.add(group.dilation), paddings.add(group.padding > 0)
        for k in range(count):
            np.testing.assert_allclose(weights[k].sum(axis=1), 0, atol=1e-6)
            padded = np.pad(x, ((0, 0), (group.padding, group.padding), (0, 0)))
            steps = padded.shape[1] - (weights.shape[2] - 1) * group.dilation
            z = np.full((4, steps), group.bias[k].item())
            for t in range(steps):
                for i in range(weights.shape[2]):
                    z[:, t] += padded[:, t + i * group.dilation] @ weights[k, :, i]
            np.testing.assert_allclose(got[:, position + k], (z > 0).mean(axis=1), atol=1e-6)
            np.testing.assert_allclose(got[:, position + count + k], z.max(axis=1), atol=1e-5)
        position += 2 * count
    assert position == got.shape[1] == 80
    assert sizes == {7, 9, 11}
    assert len(dilations) > 1
    assert paddings == {True, False}


def test_kernels_look_at_some_channels_and_short_sequences_are_padded(rng):
    looked_at = [int((w != 0).any(axis=1).sum()) for g in draw_kernels(300, 50, 16) for w in g.weights.numpy()]
    assert min(looked_at) == 1
    assert 8 < max(looked_at) < 12
    for length in (1, 3, 7):
        got = convolution_features(rng.standard_normal((5, length, 2)), draw_kernels(50, length, 2))
        assert got.shape == (5, 100)
        assert np.isfinite(got).all()


def test_the_view_by_hand():
    schema = Schema(
        (Column("hr"), Column("rhythm", "categorical", categories=("a", "b"))), (Column("age"), Column("sex", "binary"))
    )
    hr = np.array([[np.nan, 1, np.nan, 3], [1, 3, 1, 3]])
    rhythm = np.array([[0, 1, np.nan, 1], [1, 1, 1, 0]], dtype=float)
    static = np.array([[40.0, 1], [60, np.nan]])
    s = Sequences(np.stack([hr, rhythm], axis=2), schema, np.array([4, 3]), static)
    scale = np.array([1, 3, 1, 3, 1]).std()
    low, high = ((v - 9 / 5) / scale for v in (1, 3))
    view = View.fit(s)
    np.testing.assert_allclose(
        view.dense(s)[0],  # hr, rhythm a, rhythm b, hr measured, rhythm measured, alive
        [[0, 1, 0, 0, 1, 1], [low, 0, 1, 1, 1, 1], [low, 0, 1, 0, 0, 1], [high, 0, 1, 1, 1, 1]],
    )
    np.testing.assert_allclose(view.dense(s)[1, 3], 0)
    np.testing.assert_allclose(view.statics(s), [[-1, 1, 1], [1, 0, 0]])
    np.testing.assert_allclose(view.statics(s, without=["sex"]), [[-1], [1]])


def test_a_gap_where_training_has_none_is_seen():
    train = sines(20, 1)
    holed = train.values.copy()
    holed[:, 3, 1] = np.nan
    assert View.fit(train, replace(train, values=holed)).dense(train).shape[2] == 4


def test_sets_that_do_not_fit_are_refused(three):
    train, test, _ = three
    with pytest.raises(ValueError, match="same channels: x0, x1, x2 against x0, x1"):
        two_sample(train, test, test.drop(["x2"]))
    with pytest.raises(ValueError, match="same number of steps: 24 against 12"):
        mmd(train, test, sines(9, 1, length=12))
    with pytest.raises(ValueError, match="smallest set has 1"):
        mmd(train, test, test.take(slice(1)))
    with pytest.raises(ValueError, match="single subject"):
        two_sample(train, test, replace(test, subject=np.zeros(len(test))))


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=25)
def test_measures_agree_with_scikit_learn(seed, ties):
    rng = np.random.default_rng(seed)
    n = 30
    labels = rng.permutation(np.repeat([0, 1, 2], 10))
    scores = rng.dirichlet(np.ones(3), n)
    scores = np.round(scores, 1) if ties else scores
    weights = rng.integers(0, 3, (2, n)).astype(float)
    weights[:, ::2] += 1
    positive, first = labels == 1, scores[:, 0]
    for w, area, ap in zip(
        weights,
        measures.auroc(positive, first, weights),
        measures.average_precision(positive, first, weights),
        strict=True,
    ):
        assert area == pytest.approx(roc_auc_score(positive, first, sample_weight=w))
        assert ap == pytest.approx(average_precision_score(positive, first, sample_weight=w))
    one, predicted = np.ones((1, n)), scores.argmax(axis=1)
    macro = np.mean([roc_auc_score(labels == c, scores[:, c]) for c in range(3)])
    assert measures.macro_auroc(labels, scores, one)[0] == pytest.approx(macro)
    assert measures.accuracy(labels, predicted, one)[0] == pytest.approx(accuracy_score(labels, predicted))
    assert measures.balanced_accuracy(labels, predicted, one)[0] == pytest.approx(
        balanced_accuracy_score(labels, predicted)
    )


def test_the_bootstrap_draws_subjects_and_its_interval_is_as_wide_as_theory_says(rng):
    weights = measures.resamples(np.array(["b", "a", "b", "c"]), count=500)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    right = np.arange(400) < 300
    value, low, high = measures.with_interval(
        lambda w: measures.accuracy(right.astype(int), np.ones(400, int), w), measures.resamples(np.arange(400))
    )
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert value == 0.75
    assert low == pytest.approx(0.75 - half, abs=0.006)
    assert high == pytest.approx(0.75 + half, abs=0.006)


def rbf(*bandwidths):
    return partial(rbf_mixture, bandwidths=bandwidths)


def test_mmd_of_two_gaussians_is_its_closed_form(rng):
    d, shift, wide, widths = 3, 0.8, 1.5, [1.0, 2.5]
    values = [
        unbiased_mmd(rng.standard_normal((400, d)), shift + wide * rng.standard_normal((300, d)), rbf(*widths))[0]
        for _ in range(60)
    ]

    def kernel_mean(variance, distance):
        return np.mean(
            [(h * h / (h * h + variance)) ** (d / 2) * np.exp(-distance / (2 * (h * h + variance))) for h in widths]
        )

    truth = kernel_mean(2, 0) + kernel_mean(2 * wide**2, 0) - 2 * kernel_mean(1 + wide**2, d * shift**2)
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - truth) < 4 * error
    assert error < 0.02 * truth


def test_mmd_of_equal_laws_is_zero_on_average_and_sometimes_negative(rng):
    values = [
        unbiased_mmd(rng.standard_normal((60, 4)), rng.standard_normal((60, 4)), rbf(1.0, 3.0))[0] for _ in range(200)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    assert min(values) < 0


def test_resampling_does_not_bias_mmd(rng):
    x, y = rng.standard_normal((2, 80, 4))
    weights = tuple(measures.resamples(np.arange(80), seed) for seed in (1, 2))
    drawn = unbiased_mmd(x, y, rbf(2.0), weights)
    assert abs(drawn.mean() - unbiased_mmd(x, y, rbf(2.0))[0]) < 4 * drawn.std() / np.sqrt(len(drawn))


def test_shuffled_mmd_is_what_chance_gives(rng):
    x, y = rng.standard_normal((2, 100, 3))
    chance = shuffled_mmd(x, y, np.arange(200), rbf(2.0), 200, 0)
    apart = unbiased_mmd(x, y + 1, rbf(2.0))[0]
    assert abs(chance.mean()) < 0.1 * apart
    assert chance.max() < apart
    order = np.random.default_rng(0).permutation(200)  # the first division, by the definition
    both, first = np.concatenate([x, y]), np.isin(np.arange(200), order[:100])
    assert chance[0] == pytest.approx(unbiased_mmd(both[first], both[~first], rbf(2.0))[0])


def test_the_p_value_of_mmd_is_its_permutation_test(rng):
    """Uniform where the laws are equal, least where they are not, and its definition in between."""
    cases = [
        [replace(sines(40, 3 * seed + k), subject=100 * k + np.arange(40)) for k in range(3)] for seed in range(20)
    ]
    ps = np.array([mmd(*case)["mmd2_p"] for case in cases])
    assert 0.3 < ps.mean() < 0.7 and ps.min() > 0.005 and ps.max() > 0.7
    train, test, made = cases[0]
    assert mmd(train, test, replace(made, values=made.values + 0.3))["mmd2_p"] == pytest.approx(1 / 301)
    view, bandwidth = View.fit(train, test), mmd(*cases[0])["bandwidth"]
    x, y = view.flat(test), view.flat(made)
    kernel = rbf(*(multiple * bandwidth for multiple in (0.25, 0.5, 1, 2, 4)))
    chance = shuffled_mmd(x, y, np.arange(80), kernel, 300, 3)
    assert ps[0] == pytest.approx((1 + (chance >= unbiased_mmd(x, y, kernel)[0]).sum()) / 301)


def test_unbiased_mmd_with_the_cubic_kernel_is_its_definition_over_pairs(rng):
    x, y = rng.standard_normal((7, 3)), 1 + rng.standard_normal((5, 3))
    k = lambda a, b: (float(a @ b) / 3 + 1) ** 3  # noqa: E731
    within = lambda z: np.mean([k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j])  # noqa: E731
    by_pairs = within(x) + within(y) - 2 * np.mean([k(a, b) for a in x for b in y])
    assert unbiased_mmd(x, y, cubic)[0] == pytest.approx(by_pairs)


def test_the_cubic_kernel_compares_moments_up_to_the_third(rng):
    """(xy + 1)^3 = sum of binom(3, k) x^k y^k, so MMD^2 = sum of binom(3, k) (E x^k - E y^k)^2 in one dimension."""
    shift = 0.7
    values = [
        unbiased_mmd(rng.standard_normal((400, 1)), shift + rng.standard_normal((400, 1)), cubic)[0] for _ in range(60)
    ]
    truth = 3 * shift**2 + 3 * shift**4 + (3 * shift + shift**3) ** 2
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(len(values))
    assert np.std(values) / np.sqrt(len(values)) < 0.05 * truth


def test_kid_metric_on_images():
    """Digits cut into three, judged by their pixels: copies are at the floor, one digit alone and noise far above."""
    s = sources.digits()
    train, test, other = (s.take(slice(600 * j, 600 * (j + 1))) for j in range(3))
    pixels = lambda images: images.values.reshape(len(images), -1)  # noqa: E731
    same, copied = kid(train, test, other, pixels), kid(train, test, train, pixels)
    assert same["kid"] < 3 * same["kid_floor_high"]  # other writers: a little more than chance
    assert copied["kid"] == pytest.approx(copied["kid_floor"])
    noisy = replace(test, values=(test.values + np.random.default_rng(0).normal(0, 0.3, test.values.shape)).clip(0, 1))
    zeros = test.take(np.resize(np.flatnonzero(test.static_column("label") == 0), len(test)))
    for broken in (noisy, replace(zeros, subject=np.arange(len(zeros)))):
        worse = kid(train, test, broken, pixels)
        assert worse["kid_low"] > same["kid_high"]
    brighter = lambda images: 7 * pixels(images)  # noqa: E731
    assert kid(train, test, other, brighter)["kid"] == pytest.approx(same["kid"])


def test_mmd_metric_on_sequences(three):
    train, test, other = three
    same, copied = mmd(train, test, other), mmd(train, test, train)
    assert same["mmd2_low"] < 0 < same["mmd2_high"]
    assert same["mmd2_floor_low"] < same["mmd2"] < same["mmd2_floor_high"]
    assert copied["mmd2"] == pytest.approx(copied["mmd2_floor"])
    levels = [mmd(train, test, replace(other, values=other.values + shift))["mmd2"] for shift in (0.05, 0.1, 0.2)]
    assert same["mmd2_floor_high"] < levels[0] < levels[1] < levels[2]
    flat = np.concatenate([View.fit(train, test).dense(s).reshape(300, -1) for s in (test, train)])
    distances = cdist(flat, flat)[np.triu_indices(600, 1)]
    assert same["bandwidth"] == pytest.approx(np.median(distances))


def test_two_sample_does_not_tell_equal_laws_apart(three):
    got = two_sample(*three, **QUICK)
    assert got["auroc_low"] < 0.5 < got["auroc_high"]
    assert got["auroc_floor_low"] < 0.5 < got["auroc_floor_high"]
    assert got["auroc_high"] - got["auroc_low"] < 0.3


def reversed_time(s, rng):
    return replace(s, values=s.values[:, ::-1].copy())


def shuffled_steps(s, rng):
    order = rng.random(s.values.shape[:2]).argsort(axis=1)
    return replace(s, values=np.take_along_axis(s.values, order[..., None], axis=1))


def noisy(s, rng):
    return replace(s, values=s.values + 0.02 * rng.standard_normal(s.values.shape))


def swapped_channels(s, rng):
    """Every marginal stays as it is, but channels of different sequences are put together."""
    values = s.values.copy()
    values[:, :, 1] = values[rng.permutation(len(s)), :, 0]
    values[:, :, 2] = values[:, :, 1]
    return replace(s, values=values)


def one_mode(s, rng):
    return s.take(np.repeat([0, 1, 2], len(s) // 3))


@pytest.mark.parametrize("corrupt", [reversed_time, shuffled_steps, noisy, swapped_channels, one_mode])
def test_two_sample_sees_corruption(three, corrupt, rng):
    train, test, other = three
    spoilt = replace(corrupt(other, rng), subject=np.arange(len(other)))
    got = two_sample(train, test, spoilt, **QUICK)
    assert got["auroc"] > 0.8
    assert got["auroc_low"] > got["auroc_floor_high"]


def test_two_sample_tells_a_gaussian_fit_of_sines(three):
    train, test, _ = three
    assert two_sample(train, test, gaussian_fit(train, 300, 4), **QUICK)["auroc_low"] > 0.8


def test_two_sample_grows_with_noise(three, rng):
    train, test, other = three
    noise = rng.standard_normal(other.values.shape)
    areas = [
        two_sample(train, test, replace(other, values=other.values + e * noise), **QUICK)["auroc"]
        for e in (0, 1e-3, 4e-3, 2e-2)
    ]
    assert areas == sorted(areas)
    assert areas[-1] > 0.95


def test_two_sample_is_seeded(three):
    assert two_sample(*three, **QUICK) == two_sample(*three, **QUICK)
    assert two_sample(*three, **QUICK)["auroc"] != two_sample(*three, **QUICK, seed=1)["auroc"]


def test_several_sequences_of_a_subject_stay_in_one_fold(rng):
    """Ten near copies of each sequence: a judge that meets a copy in training tells any two sets apart."""

    def copies(seed):
        base = np.random.default_rng(seed).standard_normal((20, 10, 2)).repeat(10, axis=0)
        noise = 0.01 * np.random.default_rng(seed + 100).standard_normal(base.shape)
        return Sequences(base + noise, Schema((Column("a"), Column("b"))), subject=np.arange(20).repeat(10))

    grouped = two_sample(copies(1), copies(2), copies(3), **QUICK)
    apart = [replace(copies(seed), subject=np.arange(200)) for seed in (1, 2, 3)]
    assert grouped["auroc_low"] < 0.5 < grouped["auroc_high"]
    assert two_sample(*apart, **QUICK)["auroc"] > 0.95


@pytest.fixture(scope="module")
def wards():
    return ward(300, 1), ward(300, 2), ward(300, 3)


def test_gaps_lengths_categories_and_statics_go_through(wards):
    train, test, other = wards
    assert two_sample(train, test, other, **QUICK)["auroc_low"] < 0.5
    assert mmd(train, test, other)["mmd2"] < mmd(train, test, other)["mmd2_floor_high"]
    for name, column in (("lengths", np.full(300, 12)), ("static", other.static + np.array([0, 40, 0]))):
        assert two_sample(train, test, replace(other, **{name: column}), **QUICK)["auroc_low"] > 0.5, name
    filled = np.where(np.isnan(other.values), np.nanmean(other.values, axis=(0, 1)).round(), other.values)
    assert two_sample(train, test, replace(other, values=filled), **QUICK)["auroc_low"] > 0.8


def test_tstr_of_a_copy_is_trtr_and_of_shuffled_labels_is_chance(wards, rng):
    train, test, _ = wards
    copied = tstr(train, test, train, "died", **QUICK)
    assert copied["auroc_floor"] > 0.7
    assert copied["auroc_floor_low"] > copied["auroc_trivial"] == 0.5
    for name in ("auroc", "accuracy", "balanced_accuracy", "average_precision"):
        assert copied[name] == pytest.approx(copied[f"{name}_floor"], abs=0.02)
        assert copied[f"{name}_low"] <= copied[name] <= copied[f"{name}_high"]
    prevalence = test.static_column("died").mean()
    assert copied["accuracy_trivial"] == pytest.approx(1 - prevalence)
    assert copied["average_precision_trivial"] == pytest.approx(prevalence)
    areas = []
    for _ in range(5):
        static = train.static.copy()
        static[:, 0] = rng.permutation(static[:, 0])
        areas.append(tstr(train, test, replace(train, static=static), "died", **QUICK)["auroc"])
    assert abs(np.mean(areas) - 0.5) < 0.1


def test_tstr_does_not_see_the_label(wards):
    """`ward` is drawn at random: to predict it, one would have to look at it."""
    got = tstr(*wards, "ward", **QUICK)
    assert 0.4 < got["auroc_floor"] < 0.6
    assert got["accuracy"] < 0.5
    assert got["balanced_accuracy_trivial"] == pytest.approx(1 / 3)
    assert "average_precision" not in got


def test_tstr_of_many_classes(rng):
    def classes(seed, n=240):
        rng = np.random.default_rng(seed)
        label = rng.integers(0, 4, n)
        wave = np.sin((1 + label[:, None]) * np.arange(20) / 5 + rng.uniform(0, 6, (n, 1)))
        values = wave[..., None] + 0.3 * rng.standard_normal((n, 20, 1))
        return Sequences(
            values,
            Schema((Column("x"),), (Column("kind", "categorical", categories=tuple("abcd")),)),
            static=label[:, None] * 1.0,
            subject=1000 * seed + np.arange(n),
        )

    train, test, other = classes(1), classes(2), classes(3)
    assert tstr(train, test, other, "kind", **QUICK)["accuracy"] > 0.9
    without = other.take(other.static_column("kind") != 3)
    got = tstr(train, test, without, "kind", **QUICK)
    assert got["accuracy"] < 0.8 < got["accuracy_floor"]
    rows = evaluate(train, test, without, "kind", metrics=["tstr"])
    row = next(r for r in rows if r["metric"] == "TSTR accuracy")
    assert "No synthetic sequence has kind d" in row["about"]


def test_tstr_with_one_class_or_unknown_labels(wards):
    train, test, other = wards
    alive = other.take(other.static_column("died") == 0)
    got = tstr(train, test, alive, "died", **QUICK)
    assert got["auroc"] == 0.5
    assert got["accuracy"] == got["accuracy_trivial"]
    with pytest.raises(ValueError, match="the test set has 1 of the classes of 'died'"):
        tstr(train, test.take(test.static_column("died") == 1), other, "died", **QUICK)
    with pytest.raises(ValueError, match="no static column 'dyed'; did you mean 'died'"):
        evaluate(train, test, other, "dyed")
    static = other.static.copy()
    static[:150, 0] = np.nan
    assert tstr(train, test, replace(other, static=static), "died", **QUICK)["trained_on"] == 150
    static[:, 0] = np.nan
    with pytest.raises(ValueError, match="no synthetic sequence has a value of 'died'"):
        tstr(train, test, replace(other, static=static), "died", **QUICK)


def test_a_judge_gives_unseen_classes_no_probability(rng):
    x = rng.standard_normal((60, 5))
    labels = np.where(x[:, 0] > 0, 2, 0)
    p = Judge.fit(x, labels, np.arange(60), classes=4).probabilities(x)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p[:, [1, 3]] == 0).all()
    assert (p.argmax(axis=1) == labels).mean() > 0.9
    np.testing.assert_array_equal(
        Judge.fit(x, np.full(60, 1), np.arange(60), 3).probabilities(x), np.tile([0, 1, 0], (60, 1))
    )


def test_the_scorecard_of_a_ward(wards):
    told = []
    rows = evaluate(*wards, "died", progress=told.append)
    names = [r["metric"] for r in rows]
    assert names[0] == "AUROC of the best of four judges"
    assert {"two-sample AUROC", "MMD²", "coverage", "nearest to training data", "near copies", "TSTR AUROC"} <= set(
        names
    )
    assert len(told) == len(scorecard.METRICS)
    again = json.loads(json.dumps(rows, allow_nan=False))
    assert again == rows
    for row in rows:
        assert row["low"] <= row["value"] <= row["high"]
        assert row["floor_low"] <= row["floor"] <= row["floor_high"]
        assert row["better"] in ("near floor", "higher", "lower")
        assert row["about"].endswith(".")
    assert "no difference" in verdict(rows[0])
    useful = rows[names.index("TSTR AUROC")]
    assert verdict(useful).endswith("of what real data gain over the trivial answer")
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(rows))
    text = console.export_text()
    assert "two-sample AUROC" in text
    assert f"{rows[2]['value']:.3f}" in text


def test_what_does_not_apply_is_left_out_unless_it_is_asked_for(three):
    apart = [replace(s, subject=s.subject + 1000 * k) for k, s in enumerate(three)]
    assert "missing rate, worst channel" not in {row["metric"] for row in evaluate(*apart)}
    (row,) = evaluate(*apart, metrics=["gaps"])
    assert row["value"] is None and row["about"] == "Not computed: nothing is missing in any of the sets."


def test_what_cannot_be_answered_is_said_in_the_row(wards):
    train, test, other = wards
    asked = ("two_sample", "mmd", "coverage", "tstr")
    rows = evaluate(train, test.take(test.static_column("died") == 0), other, "died", metrics=asked)
    assert rows[-1]["value"] is None
    assert rows[-1]["about"].startswith("Not computed: the test set has 1 of the classes")
    assert verdict(rows[-1]) == "not computed"
    assert table(rows).row_count == 4
    alone = evaluate(train, replace(test, subject=np.zeros(300, int)), other, metrics=asked)
    assert alone[0]["value"] is None
    assert alone[1]["value"] is not None


def test_features_leave_the_label_out_and_are_seeded(wards):
    train = wards[0]
    view = View.fit(train)
    assert (
        features(view, train, 20, seed=1).shape[1] == features(view, train, 20, without=["died"], seed=1).shape[1] + 1
    )
    np.testing.assert_array_equal(features(view, train, 20, seed=1), features(view, train, 20, seed=1))


def walks(n, seed, spread=1.0, draws=1):
    """Walks of unit steps; from the third step on, `draws` ways on from each, of steps so many times as large."""
    begun = np.random.default_rng(7).standard_normal((n, 3)).cumsum(axis=1)
    on = spread * np.random.default_rng(seed).standard_normal((n, draws, 5)).cumsum(axis=2) + begun[:, None, 2:]
    values = np.concatenate([np.repeat(begun[:, None], draws, axis=1), on], axis=2).reshape(-1, 8, 1)
    return Sequences(values, Schema((Column("x"),)), subject=np.repeat(np.arange(n), draws))


def test_bands_of_the_true_law_cover_80_percent_and_narrow_ones_fewer():
    """A band of half the width of a normal law's covers erf(1.2816 / 2 / sqrt 2) = 0.478 of it."""
    came, others = walks(800, 0), walks(800, 1)
    true, narrow, wide = (calibration(others, came, walks(800, 2, spread, 40), 3) for spread in (1.0, 0.5, 2.0))
    assert true["outside_low"] < 0.2 < true["outside_high"] < true["outside_low"] + 0.06
    assert narrow["outside"] == pytest.approx(1 - 0.478, abs=0.04) and wide["outside"] < 0.05
    assert narrow["width"] == pytest.approx(true["width"] / 2, rel=0.05) and true["width"] < 1
    assert true["outside x"] == pytest.approx(true["outside"]) and true["values"] == 4000
    assert true["outside_floor_low"] < 0.2 < true["outside_floor_high"]
    row = scorecard.continuation(others, came, walks(800, 2, 0.5, 40), 3)[0]
    assert row["value"] == pytest.approx(narrow["outside"]) and row["low"] < row["value"] < row["high"]
    assert verdict(row) == "differs from real data"
    row = scorecard.continuation(others, came, walks(800, 2, 1.0, 40), 3)[0]
    assert verdict(row) == "no difference from real data found"
    nothing = replace(came, values=np.where(np.arange(8)[:, None] < 3, came.values, np.nan))
    assert scorecard.continuation(others, nothing, walks(800, 2, 1.0, 2), 3)[0]["value"] is None


def test_a_value_is_placed_among_its_draws_where_it_was_measured():
    draws = np.array([1.0, 2.0, 2.0, 5.0, np.nan])[None, :, None, None].repeat(3, axis=2)
    draws[:, :, 2] = np.nan
    u, width = placed(np.array([2.0, np.nan, 3.0])[None, :, None], draws, np.random.default_rng(0))
    assert 1 / 5 <= u[0, 0, 0] <= 4 / 5 and np.isnan(u[0, 1:]).all()
    assert width[0, 0, 0] == pytest.approx(np.quantile([1, 2, 2, 5], 0.9) - np.quantile([1, 2, 2, 5], 0.1))
    assert np.isnan(width[0, 1:]).all()
