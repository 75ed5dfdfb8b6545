"""Who is near whom: worked by hand on a line, and on data that were copied, collapsed, or neither."""

from dataclasses import replace

import numpy as np
import pytest

from vitalsynth.evaluation import copying, coverage, density, evaluate, precision, recall, verdict, verdicts
from vitalsynth.evaluation.measures import Unanswerable
from vitalsynth.evaluation.neighbours import _evened
from vitalsynth.sequences import Column, Schema, Sequences


def line(points):
    return Sequences(np.array(points, float)[:, None, None], Schema((Column("x"),)))


def walks(n, seed, length=12):
    """Random walks of two channels, every subject with two that begin at the same place."""
    rng = np.random.default_rng(seed)
    start = 3 * rng.standard_normal((n // 2, 1, 2)).repeat(2, axis=0)
    values = start + rng.standard_normal((n, length, 2)).cumsum(axis=1)
    return Sequences(values, Schema((Column("a"), Column("b"))), subject=1000 * seed + np.arange(n) // 2)


@pytest.fixture(scope="module")
def three():
    return walks(400, 1), walks(200, 2), walks(200, 3)


def test_by_hand_on_a_line():
    """At 0, 1, ..., 9 the second neighbour within the set is 1 away, or 2 at the ends.

    Of the synthetic ones, three lie in balls: 1.5 in those of 1 and 2 and in that of 0, which reaches to 2; 2.4 in
    those of 2 and 3; 10.9 in that of 9. Balls of the synthetic ones: 1.5 reaches 4.5 far, up to 6; 2.4 up to 7.8; -3 up
    to 2.4; 10.9 down to 1.5; those at 100 nowhere.
    """
    test, made = line(range(10)), line([-3, 1.5, 2.4, 100, 100, 100, 100, 100, 100, 10.9])
    train = line(np.arange(10) + 0.3)
    sets = (train, test, made)
    assert coverage(*sets, neighbours=2)["coverage"] == pytest.approx(0.5)  # 0, 1, 2, 3, 9
    assert precision(*sets, neighbours=2)["precision"] == pytest.approx(0.3)
    assert density(*sets, neighbours=2)["density"] == pytest.approx((3 + 2 + 1) / 10 / 2)
    assert recall(*sets, neighbours=2)["recall"] == 1.0
    got = coverage(*sets, neighbours=2)
    assert got["coverage_floor"] == 1.0
    assert got["coverage_low"] < 0.5 < got["coverage_high"]
    far = line([-30, -31, -32, *range(100, 107)])
    assert recall(train, test, far, neighbours=2)["recall"] == 0
    with pytest.raises(Unanswerable, match="10 sequences have no 10 neighbours"):
        recall(*sets, neighbours=10)


def test_all_four_against_their_definitions(three):
    train, test, made = three
    x, y = ((s.values - train.values.mean(axis=(0, 1))) / train.values.std(axis=(0, 1)) for s in (test, made))
    x, y = (part.reshape(200, -1) for part in (x, y))
    far = lambda a, b: np.array([[np.linalg.norm(p - q) for q in b] for p in a])  # noqa: E731
    reach = lambda a: np.sort(far(a, a), axis=1)[:, 5]  # noqa: E731
    between, real, synthetic = far(x, y), reach(x), reach(y)
    expected = {
        precision: np.mean([(between[:, j] <= real).any() for j in range(200)]),
        recall: np.mean([(between[i] <= synthetic).any() for i in range(200)]),
        density: sum((between[:, j] <= real).sum() for j in range(200)) / 5 / 200,
        coverage: np.mean([(between[i] <= real[i]).any() for i in range(200)]),
    }
    for metric, value in expected.items():
        assert metric(train, test, made)[metric.__name__] == pytest.approx(value)


def test_a_collapsed_generator_has_precision_and_covers_little(three):
    train, test, made = three
    centre = np.abs(made.values).sum(axis=(1, 2)).argmin()
    collapsed = replace(made.take(np.repeat(centre, 200)), subject=np.arange(200))
    for metric in (coverage, precision):
        name, got = metric.__name__, metric(train, test, made)
        assert got[f"{name}_floor_low"] < got[name] < got[f"{name}_floor_high"]
    assert coverage(train, test, collapsed)["coverage"] < 0.3
    assert precision(train, test, collapsed)["precision"] == 1
    nearest = evaluate(train, test, collapsed, metrics=["copying"])[0]
    assert nearest["value"] in (0, 1) and (nearest["low"], nearest["high"]) == (0, 1)
    assert verdict(nearest) == verdicts.NO_NEARER


def test_density_is_above_its_floor_for_what_keeps_to_the_middle(rng):
    train, test, made = (Sequences(rng.standard_normal((200, 12, 1)), Schema((Column("x"),))) for _ in range(3))
    got, shrunk = (density(train, test, each) for each in (made, replace(made, values=0.5 * made.values)))
    assert got["density"] == pytest.approx(1, abs=0.15)
    assert shrunk["density_low"] > 2 * got["density_floor_high"]


def test_copies_are_flagged_and_honest_data_are_not(three):
    train, test, made = three
    copies = replace(train.take(np.arange(200)), subject=np.arange(200))
    half = replace(copies, values=np.where(np.arange(200)[:, None, None] < 100, copies.values, made.values))
    noisy = replace(copies, values=copies.values + 0.1 * np.random.default_rng(0).standard_normal(copies.values.shape))
    told = {}
    for name, synthetic in {"copies": copies, "half": half, "noisy": noisy, "made": made, "test": test}.items():
        rows = evaluate(train, test, synthetic, metrics=["copying"])
        told[name] = [(row["value"], verdict(row)) for row in rows]
    for name in ("copies", "half", "noisy"):
        assert [said for _, said in told[name]] == [verdicts.NEARER, "copies of the training data"], name
    for name in ("made", "test"):
        assert all(said.startswith("no ") for _, said in told[name]), name
    assert [value for value, _ in told["copies"]] == [1.0, 1.0]
    assert told["half"][1][0] == pytest.approx(0.5, abs=0.05)
    assert told["test"][0][0] == 0


def test_honest_data_are_nearest_to_either_alike_whatever_the_sizes():
    """Twice as many training sequences as test ones, or half as many: one half, on average."""
    for n, m in ((400, 100), (100, 200)):
        found = [
            copying(walks(n, 3 * seed + 1), walks(m, 3 * seed + 2), walks(100, 3 * seed + 3)) for seed in range(20)
        ]
        values = np.array([each["nearest"] for each in found])
        assert abs(values.mean() - 0.5) < 4 * values.std() / np.sqrt(20)
        within = [each["nearest_floor_low"] <= each["nearest"] <= each["nearest_floor_high"] for each in found]
        assert sum(within) >= 16
        copies = np.array([each["near_copies"] - each["near_copies_floor"] for each in found])
        assert abs(copies.mean()) < 4 * copies.std() / np.sqrt(20)


def test_a_share_as_if_there_were_as_many_of_both():
    """Of 4 training sequences to 1 of the test set, 0.8 are nearest by chance; half copied, 0.9."""
    np.testing.assert_allclose(_evened(np.array([0.8, 0.9, 1.0, 0.0]), 4), [0.5, 0.9 / 1.3, 1, 0])


def test_what_copying_cannot_answer(three):
    train, test, made = three
    with pytest.raises(Unanswerable, match="2 test subjects"):
        copying(train, replace(test, subject=np.zeros(200, int)), made)
