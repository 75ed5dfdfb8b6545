"""The judges of the battery, each where its own kind of difference is planted, and none where there is none."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from vitalsynth.evaluation import battery
from vitalsynth.evaluation.battery import JUDGES, _boosted, _logistic, _out_of_fold
from vitalsynth.evaluation.features import View, borrow_gaps, descriptions
from vitalsynth.evaluation.networks import Convolutional, Recurrent, learn, patched
from vitalsynth.sequences import Column, Schema, Sequences


def waves(n, seed, length=24):
    """A noisy wave, and what follows it two steps later."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, length + 2)).cumsum(axis=1)
    values = np.stack([noise[:, 2:], noise[:, :-2] + 0.3 * rng.standard_normal((n, length))], axis=2)
    static = rng.standard_normal((n, 1))
    return Sequences(
        values, Schema((Column("a"), Column("b")), (Column("age"),)), static=static, subject=1000 * seed + np.arange(n)
    )


@pytest.fixture(scope="module")
def three():
    return waves(120, 1), waves(120, 2), waves(120, 3)


def test_equal_laws_are_not_told_apart_and_the_worst_is_the_largest(three):
    got = battery(*three)
    for end in ("", "_floor"):
        assert got[f"worst{end}"] == max(got[f"{name}{end}"] for name in JUDGES)
        for name in JUDGES:
            assert got[f"{name}{end}_low"] < 0.5 < got[f"{name}{end}_high"], name
        assert got[f"worst{end}_low"] < got[f"worst{end}"] < got[f"worst{end}_high"]
    assert got["worst"] < got["worst_floor_high"]
    alone = battery(*three, judges=("cnn",))
    assert alone["worst"] == alone["cnn"] == got["cnn"]
    with pytest.raises(ValueError, match="no judge 'rnn'; it has minirocket, boosting, gru, cnn"):
        battery(*three, judges=("rnn",))


def test_judges_see_time_run_backwards_and_the_statics(three):
    train, test, other = three
    backwards = replace(other, values=other.values[:, ::-1].copy())
    for spoilt in (backwards, replace(other, static=other.static + 2)):
        got = battery(train, test, spoilt)
        assert got["worst_low"] > max(0.8, got["worst_floor_high"])
        assert sorted(got[name] for name in JUDGES)[1] > 0.65  # a GRU has too few of them to learn from


def gappy(s, seed):
    """Each sequence lacks a stretch of its own of channel a, and a third of channel b."""
    rng = np.random.default_rng(seed)
    begin = rng.integers(0, 18, (len(s), 1))
    step = np.arange(s.length)
    missing = np.stack([(step >= begin) & (step < begin + 6), rng.random((len(s), s.length)) < 0.3], axis=2)
    return replace(s, values=np.where(missing, np.nan, s.values))


def test_sequences_without_gaps_are_told_by_them_unless_they_borrow_some(three):
    train, test, full = (gappy(three[0], 1), gappy(three[1], 2), three[2])
    judge = partial(battery, judges=("minirocket", "boosting", "cnn"))
    assert judge(train, test, full)["worst"] > 0.99  # the generator made no gaps, which is a difference
    lent = judge(train, test, full, gaps="borrowed")
    assert lent["worst"] < lent["worst_floor_high"]
    shuffled = replace(full, values=np.random.default_rng(0).permuted(full.values, axis=1))
    assert judge(train, test, shuffled, gaps="borrowed")["worst_low"] > 0.8
    honest = judge(train, test, gappy(full, 3))
    assert honest["worst"] < honest["worst_floor_high"]


def test_gaps_are_those_of_real_sequences(three):
    real, full = gappy(three[0], 1).take(slice(0, 3)), three[2]
    short = replace(real, lengths=np.array([24, 24, 20]))
    lent = np.isnan(borrow_gaps(full, short).values)
    patterns = np.isnan(short.values) & short.alive[..., None]
    assert all((lent[k] == patterns).all(axis=(1, 2)).any() for k in range(len(full)))
    assert len({part.tobytes() for part in lent}) == 3
    assert borrow_gaps(real, full) is real
    view = View.fit(real, full, masks=False)
    assert view.dense(real).shape[2] == 2 and View.fit(real, full).dense(real).shape[2] == 4


def test_a_network_learns_what_a_line_cannot_and_stops(rng):
    """An exclusive or of two steps: of no use to a linear judge."""
    signs = rng.choice([-1.0, 1.0], (600, 2))
    x = 0.1 * rng.standard_normal((600, 12, 1))
    x[:, [2, 9], 0] += 2 * signs
    labels = (signs.prod(axis=1) > 0).astype(int)
    before = torch.random.get_rng_state()
    for network in (Recurrent, Convolutional):
        score = learn(network, x[:400], labels[:400], np.arange(400))
        assert ((score(x[400:]) > 0) == labels[400:]).mean() > 0.9, network
    assert (torch.random.get_rng_state() == before).all()
    linear = _logistic(x[:400, :, 0], labels[:400], np.arange(400), 0)
    assert ((linear(x[400:, :, 0]) > 0.5) == labels[400:]).mean() < 0.7


def test_scores_are_of_subjects_left_out(rng):
    """Labels drawn at random for subjects that have ten sequences each: only who has met a subject can tell."""
    subject = np.arange(40).repeat(10)
    own = rng.standard_normal((40, 5)).repeat(10, axis=0)
    labels = rng.permutation(np.arange(40) % 2).repeat(10)
    scores = _out_of_fold(_boosted, own, labels, subject, 5, 0)
    right = ((scores > 0) == labels).mean()
    assert right < 0.75
    assert ((_boosted(own, labels, subject, 0)(own) > 0) == labels).mean() == 1


def test_patches_keep_every_value():
    x = np.arange(2 * 7 * 3, dtype=float).reshape(2, 7, 3) + 1
    np.testing.assert_array_equal(patched(x, 7), x)
    halved = patched(x, 4)
    assert halved.shape == (2, 4, 6)
    np.testing.assert_array_equal(halved.reshape(2, 8, 3)[:, :7], x)
    assert (halved[:, -1, 3:] == 0).all()


def test_descriptions_by_hand():
    x = np.array([[0.0, 1, 3, 0]])[..., None] * np.array([1.0, -2.0])
    summary = 8 * 2
    got = descriptions(x)[0, summary:]
    moved = np.array([1.0, 2, -3, 0])
    np.testing.assert_allclose(got[:2], [np.abs(moved).mean(), 2 * np.abs(moved).mean()])
    skewness = (moved**3).mean() / (moved**2).mean() ** 1.5
    np.testing.assert_allclose(got[2:4], [skewness, -skewness])
    c = np.array([0.0, 1, 3, 0]) - 1
    along = (c[1:] @ c[:-1]) / np.sqrt((c[1:] @ c[1:]) * (c[:-1] @ c[:-1]))
    np.testing.assert_allclose(got[4:6], along)
    np.testing.assert_allclose(got[6:14].reshape(4, 2).sum(axis=0), 1)  # shares of energy
    np.testing.assert_allclose(got[14:], [-1, -along, -along])
    assert (descriptions(np.ones((2, 5, 2)))[:, summary:] == 0).all()
