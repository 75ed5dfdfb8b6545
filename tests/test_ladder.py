"""Every metric answers every corruption as it says it does, and the corruptions do what they say they do."""

from dataclasses import replace

import numpy as np
import pytest

from vitalsynth import evaluation
from vitalsynth.evaluation import ladder, metric
from vitalsynth.evaluation.examples import vitals
from vitalsynth.evaluation.ladder import RUNGS
from vitalsynth.sequences import Column, Schema

QUICK = {  # the others of the battery are asked in test_battery
    "battery": {"judges": ("minirocket", "boosting")},
    "discriminative_score": {"iterations": 250, "rungs": ("noise", "collapsed")},
    "predictive_score": {"iterations": 250, "rungs": ("collapsed",)},
    "heartbeats": {"count": 200},
}
TWICE = (  # a second or two each, so asked on another draw as well
    *("autocorrelations", "copying", "correlational_score", "coverage", "cross_correlations", "density", "forecast"),
    *("gaps", "marginals", "precision", "recall", "spectra", "violations"),
)


@pytest.fixture(scope="module")
def three():
    return vitals(150, 1), vitals(150, 2), vitals(150, 3)


def climbers():
    found = {name: getattr(evaluation, name) for name in evaluation.__all__}
    return [name for name, each in found.items() if metric.said(each).responds is not None]


@pytest.mark.parametrize(("name", "seed"), [(name, 0) for name in climbers()] + [(name, 1) for name in TWICE])
def test_every_metric_answers_as_it_says(name, seed):
    asked = metric.find(name)
    promises = metric.said(asked).responds
    assert {rung for rungs in promises.values() for rung in rungs} <= set(RUNGS)
    assert {answer for promise in promises for answer in promise.split(" or ")} <= {
        "worse",
        "blind",
        "better",
        "unclear",
    }
    for answer in ladder.tried(asked, seed=seed, **QUICK.get(name, {})):
        assert ladder.kept(asked, answer.rung, answer.response), answer


def test_who_promises_nothing_and_that_all_others_see_something():
    """Those of one signature that cannot be asked: a distance of images needs an embedding, a band needs a past."""
    every = {name for name in evaluation.__all__ if name not in ("evaluate", "table", "verdict")}
    assert every - set(climbers()) == {"kid", "calibration"}
    for name in climbers():
        assert any("worse" in promise for promise in metric.said(metric.find(name)).responds), name


def test_who_sees_everything_but_copies():
    """The others are named in docs/judging.md as narrow or weak."""
    said = {name: metric.said(metric.find(name)) for name in climbers()}
    all_but = set(RUNGS) - {"copied"}
    strong = {name for name, each in said.items() if all(each.promised(rung) == "worse" for rung in all_but)}
    assert strong == {"battery", "two_sample", "signature_mmd", "frechet", "coverage"}


@pytest.mark.parametrize(
    ("values", "higher", "response"),
    [
        ((0.5, 0.6, 0.8, 0.9), False, "worse"),
        ((0.5, 0.45, 0.8, 0.9), False, "worse"),  # a step back within chance
        ((0.5, 0.9, 0.5, 0.9), False, "worse"),
        ((0.5, 0.3, 0.5, 0.9), False, "unclear"),  # better first
        ((0.5, 0.6, 0.8, 0.9), True, "better"),
        ((0.9, 0.8, 0.6, 0.5), True, "worse"),
        ((0.5, 0.45, 0.55, 0.6), False, "blind"),
        ((0.5, 0.9, 0.9, 0.5), False, "unclear"),
    ],
)
def test_how_answers_are_named(values, higher, response):
    """Figures of half-width 0.1 each: beyond 0.14 is no chance."""
    assert ladder._response([(v, v - 0.1, v + 0.1) for v in values], higher) == response


def test_a_figure_without_interval_is_taken_at_its_word():
    assert ladder._response([(v, v, v) for v in (0.5, 0.6, 0.8, 0.9)], False) == "worse"
    assert ladder._response([(0.5, 0.5, 0.5)] * 4, False) == "blind"


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
    together = lambda v: np.mean([max(np.corrcoef(x[k:, 1], x[:-k, 0])[0, 1] for k in (1, 3)) for x in v])  # noqa: E731
    assert together(honest) > 0.8 and abs(together(permuted)) < 0.25


def test_the_highest_half_is_dropped(three):
    level = lambda s: np.sort((s.values / three[0].values.std(axis=(0, 1))).mean(axis=(1, 2)))  # noqa: E731
    honest, dropped = level(three[2]), level(spoilt("dropped mode", three))
    assert dropped[-1] == pytest.approx(honest[74]) and len(dropped) == 150
    assert level(spoilt("dropped mode", three, 0.5))[-1] == pytest.approx(honest[111])


def test_a_promise_may_leave_open_which_of_two_answers_comes():
    @metric.says(part="", doing="", responds={"worse": ("noise",), "blind or worse": ("copied",)})
    def faint(train, test, synthetic): ...

    kept = {(rung, said) for rung in RUNGS for said in ("worse", "blind", "better") if ladder.kept(faint, rung, said)}
    assert kept == {("noise", "worse"), ("copied", "blind"), ("copied", "worse")} | {
        (rung, "blind") for rung in set(RUNGS) - {"noise"}
    }


def test_one_sequence_is_left_and_copies_are_of_the_training_set(three):
    collapsed, copied = spoilt("collapsed", three), spoilt("copied", three)
    assert (collapsed.values == collapsed.values[:1]).all() and len(np.unique(collapsed.subject)) == 150
    assert (collapsed.static == collapsed.static[0]).all()
    far = lambda x: np.linalg.norm((x - three[2].values.mean(axis=0)) / three[0].values.std(axis=(0, 1)))  # noqa: E731
    assert far(collapsed.values[0]) == min(map(far, three[2].values))
    source = {part.tobytes(): k for k, part in enumerate(three[0].values)}
    for k in range(150):
        found = source[copied.values[k].tobytes()]
        np.testing.assert_array_equal(copied.static[k], three[0].static[found])
    few = three[0].take(slice(0, 10))
    assert len(RUNGS["copied"](three[2], few, 1.0, np.random.default_rng(0))) == 150
