"""Every metric answers every corruption as it says it does, and the corruptions do what they say they do."""

from dataclasses import replace

import numpy as np
import pytest

from vitalsynth import evaluation
from vitalsynth.evaluation import ladder, metric
from vitalsynth.evaluation.ladder import RUNGS
from vitalsynth.sequences import Column, Schema, Sequences

QUICK = {"battery": {"judges": ("minirocket", "boosting")}}  # test_battery asks the others
ELSEWHERE = {  # on data of their own: test_clinical_measures, test_dynamics, test_literature and test_utility
    *("gaps", "heartbeats"),
    *("autocorrelations", "cross_correlations", "marginals", "sliced_wasserstein", "spectra"),
    *("correlational_score", "discriminative_score", "predictive_score", "tsgbench"),
    *("augmented", "forecast", "subgroups", "trts", "tstr"),
}


def process(n, seed, length=16):
    """Three channels that depend on each other and on the direction of time, and a class that one of them shows.

    `a` jumps and decays around a level of its own, `b` follows it two steps later, `c` is a wave, twice as fast in the
    second class.
    """
    rng = np.random.default_rng(seed)
    fast = rng.integers(0, 2, (n, 1))
    shocks = rng.exponential(size=(n, length + 20)) - 1
    a = np.zeros_like(shocks)
    for t in range(1, length + 20):
        a[:, t] = 0.8 * a[:, t - 1] + shocks[:, t]
    a += 1.5 * rng.standard_normal((n, 1))
    b = a[:, -length - 2 : -2] + 0.3 * rng.standard_normal((n, length))
    phase = rng.uniform(0, 2 * np.pi, (n, 1))
    c = np.sin((1 + fast) * np.arange(length) / 2 + phase) + 0.1 * rng.standard_normal((n, length))
    schema = Schema(tuple(Column(name) for name in "abc"), (Column("fast", "binary"),))
    values = np.stack([a[:, -length:], b, c], axis=2)
    return Sequences(values, schema, static=fast.astype(float), subject=10_000 * seed + np.arange(n))


@pytest.fixture(scope="module")
def three():
    return process(150, 1), process(150, 2), process(150, 3)


def climbers():
    found = {name: getattr(evaluation, name) for name in evaluation.__all__}
    return [name for name, each in found.items() if metric.said(each).responds is not None and name not in ELSEWHERE]


@pytest.mark.parametrize("name", climbers())
def test_every_metric_answers_as_it_says(name, three):
    asked = metric.find(name)
    assert {rung for rungs in metric.said(asked).responds.values() for rung in rungs} <= set(RUNGS)
    settings = QUICK.get(name, {}) | ({"label": "fast"} if metric.takes(asked, "label") else {})
    for answer in ladder.climb(asked, *three, **settings):
        assert ladder.kept(asked, answer.rung, answer.response), answer


def test_the_strong_ones_are_asked_and_none_is_blind_to_all():
    assert {"two_sample", "battery", "mmd", "coverage", "copying"} <= set(climbers())
    for name in climbers():
        assert metric.said(metric.find(name)).responds["worse"], name


def a_row(value, low=None, high=None, floor=(None, None), better="near floor"):
    ends = {"value": value, "low": low, "high": high, "floor": 0.5, "floor_low": floor[0], "floor_high": floor[1]}
    return metric.row("f", ends, better, "", "")


@pytest.mark.parametrize(
    ("values", "better", "response"),
    [
        ((0.5, 0.6, 0.8, 0.9), "near floor", "worse"),
        ((0.5, 0.45, 0.8, 0.9), "near floor", "worse"),  # a step back within chance
        ((0.5, 0.9, 0.5, 0.9), "near floor", "unclear"),  # and one beyond
        ((0.5, 0.6, 0.8, 0.9), "higher", "better"),
        ((0.9, 0.8, 0.6, 0.5), "higher", "worse"),
        ((0.5, 0.45, 0.55, 0.6), "near floor", "blind"),
        ((0.5, 0.9, 0.9, 0.5), "lower", "unclear"),
    ],
)
def test_how_answers_are_named(values, better, response):
    """Figures of half-width 0.1 each: beyond 0.14 is no chance."""
    assert ladder._response(*(a_row(v, v - 0.1, v + 0.1, better=better) for v in values)) == response


def test_a_wide_floor_is_chance_too_and_a_figure_without_interval_is_taken_at_its_word():
    values = (0.5, 0.6, 0.8, 0.9)
    assert ladder._response(*(a_row(v, v, v, (0.0, 1.0)) for v in values)) == "blind"
    assert ladder._response(*(a_row(v) for v in values)) == "worse"
    assert ladder._response(*(a_row(0.5) for _ in values)) == "blind"


def spoilt(rung, three, strength=1.0, honest=None):
    return RUNGS[rung](honest or three[2], three[0], strength, np.random.default_rng(0))


def test_noise_is_as_large_as_it_says_and_leaves_codes_and_gaps(three):
    moved = spoilt("noise", three, 0.5).values - three[2].values
    np.testing.assert_allclose(moved.std(axis=(0, 1)) / three[0].values.std(axis=(0, 1)), 0.5, rtol=0.05)
    coded = replace(three[2], schema=Schema((Column("a"), Column("b", "binary"), Column("c")), three[2].schema.statics))
    holed = replace(coded, values=np.where(np.arange(16)[:, None] < 3, np.nan, coded.values))
    noisy = spoilt("noise", three, 1.0, holed)
    np.testing.assert_array_equal(noisy.values[:, :, 1], holed.values[:, :, 1])
    np.testing.assert_array_equal(np.isnan(noisy.values), np.isnan(holed.values))


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("rung", ["reversed time", "shuffled steps", "permuted channels", "collapsed", "copied"])
def test_a_share_of_the_sequences_is_spoilt(rung, strength, three):
    changed = (spoilt(rung, three, strength).values != three[2].values).any(axis=(1, 2)).sum()
    expected = round(strength * 150)
    assert expected - 3 <= changed <= expected  # a permutation, and a collapse, leave some where they are


def test_time_runs_backwards_up_to_the_end_of_a_sequence(three):
    short = replace(three[2], lengths=np.full(150, 10))
    back = spoilt("reversed time", three, 1.0, short)
    np.testing.assert_array_equal(back.values[:, :10], short.values[:, 9::-1])
    assert np.isnan(back.values[:, 10:]).all()


def test_steps_keep_their_values_when_shuffled(three):
    shuffled = spoilt("shuffled steps", three).values
    np.testing.assert_array_equal(np.sort(shuffled[:, :, 0]), np.sort(three[2].values[:, :, 0]))
    step = {tuple(row) for row in three[2].values[7]}
    assert {tuple(row) for row in shuffled[7]} == step


def test_channels_keep_their_own_law_when_permuted(three):
    honest, permuted = three[2].values, spoilt("permuted channels", three).values
    np.testing.assert_array_equal(permuted[:, :, 0], honest[:, :, 0])
    for j in (1, 2):
        assert {part.tobytes() for part in permuted[:, :, j]} == {part.tobytes() for part in honest[:, :, j].copy()}
    together = lambda v: np.mean([np.corrcoef(x[2:, 1], x[:-2, 0])[0, 1] for x in v])  # noqa: E731
    assert together(honest) > 0.8 and abs(together(permuted)) < 0.15


def test_the_highest_half_is_dropped(three):
    level = lambda s: np.sort((s.values / three[0].values.std(axis=(0, 1))).mean(axis=(1, 2)))  # noqa: E731
    honest, dropped = level(three[2]), level(spoilt("dropped mode", three))
    assert dropped[-1] == pytest.approx(honest[74]) and len(dropped) == 150
    assert level(spoilt("dropped mode", three, 0.5))[-1] == pytest.approx(honest[111])


def test_one_sequence_is_left_and_copies_are_of_the_training_set(three):
    collapsed, copied = spoilt("collapsed", three), spoilt("copied", three)
    assert (collapsed.values == collapsed.values[:1]).all() and len(np.unique(collapsed.subject)) == 150
    assert (collapsed.static == collapsed.static[0]).all()
    source = {part.tobytes(): k for k, part in enumerate(three[0].values)}
    for k in range(150):
        found = source[copied.values[k].tobytes()]
        assert copied.static[k] == three[0].static[found]
    few = three[0].take(slice(0, 10))
    assert len(RUNGS["copied"](three[2], few, 1.0, np.random.default_rng(0))) == 150
