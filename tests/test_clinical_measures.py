"""When things are measured and how hearts beat: by hand, against annotated beats, and by the corruption ladder."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from conftest import shared_data
from vitalsynth import sources
from vitalsynth.evaluation import gaps, heartbeats, ladder, measures
from vitalsynth.evaluation.clinical import ages, beating, peaks
from vitalsynth.evaluation.examples import RATE, hearts, labs
from vitalsynth.evaluation.metric import Figure, said, says
from vitalsynth.sequences import Column, Schema, Sequences


def test_how_old_a_measurement_is_by_hand():
    measured = np.array([[0, 1, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0]], bool)[..., None]
    alive = np.arange(6) < np.array([[6], [5]])
    got = ages(measured, alive)[..., 0]
    np.testing.assert_array_equal(got, [[1, 0, 1, 2, 0, 1], [1, 2, 3, 0, 1, np.nan]])


def masked(count, seed, often=0.5):
    """Two channels measured together in a share of steps, and one measured always."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((count, 20, 3))
    values[rng.random((count, 20)) > often, :2] = np.nan
    return Sequences(values, Schema(tuple(map(Column, "abc"))))


def test_measured_half_as_often():
    train, test, other = (masked(300, seed) for seed in (1, 2, 3))
    got = gaps(train, test, other)
    assert got["columns"] == 2 and "of c" not in got
    assert got["rate"] < 3 and got["age"] < 0.1 and got["together"] < 0.05
    seldom = gaps(train, test, masked(300, 4, often=0.25))
    assert seldom["rate"] == pytest.approx(25, abs=2)
    assert seldom["rate_low"] > seldom["rate_floor_high"]
    # of geometric laws, one never above the other, the distance is the difference of means; 20 steps cut them short
    ago = lambda p: sum((1 - p) ** k for t in range(20) for k in range(1, t + 2)) / 20  # noqa: E731
    assert seldom["age"] == pytest.approx(ago(0.25) - ago(0.5), abs=0.1)
    apart = other.values.copy()
    apart[..., 1] = masked(300, 5).values[..., 1]
    assert gaps(train, test, replace(other, values=apart))["together"] == pytest.approx(1, abs=0.05)
    bursts = other.values.copy()
    bursts[:, :10], bursts[:, 10:, :2] = 1.0, np.nan
    early = gaps(train, test, replace(other, values=bursts))
    assert early["rate"] < 3
    assert early["age"] == pytest.approx(55 / 20 - ago(0.5), abs=0.1)
    with pytest.raises(measures.Unanswerable, match="nothing is missing"):
        gaps(*[train.drop(["a", "b"])] * 3)


ANSWERS = {
    "rate": said(gaps).responds,
    "age": {"worse": ("collapsed",), "blind or worse": ("dropped mode",)},
    "together": {"worse": ("permuted channels", "collapsed"), "blind or worse": ("dropped mode",)},
}


@pytest.mark.parametrize("key", ANSWERS)
def test_each_figure_of_gaps_answers_the_ladder(key):
    @says(Figure(key, key, "near floor", ""), part="", doing="", responds=ANSWERS[key])
    def one(train, test, synthetic):
        return gaps(train, test, synthetic)

    for answer in ladder.climb(one, *(labs(600, seed) for seed in (1, 2, 3))):
        assert ladder.kept(one, answer.rung, answer.response), answer


def test_hearts_that_beat_slower_and_lower():
    train, test, other = (hearts(60, seed) for seed in (1, 2, 3))
    honest = heartbeats(train, test, other)
    assert honest["rr"] < 0.03 and honest["amplitude"] < 0.03 and honest["rr_spread"] < 0.01
    slow = heartbeats(train, test, hearts(60, 4, interval=1.0, height=0.6))
    assert slow["rr"] == pytest.approx(0.2, abs=0.03)
    assert slow["amplitude"] == pytest.approx(0.4, abs=0.04)
    assert slow["rr_low"] > slow["rr_floor_high"]
    found = [beating(part.values[..., 0], RATE) for part in (test, other)]
    flat = [each["rr"][~np.isnan(each["rr"])] for each in found]
    assert honest["rr"] == pytest.approx(wasserstein_distance(*flat), rel=1e-2)


def test_only_a_heart_is_asked_for_its_beat():
    train = hearts(20, 1)
    for schema, words in (
        (replace(train.schema, step_unit="h"), "steps in seconds, not h"),
        (replace(train.schema, step=0.1), "more than 30 samples"),
        (replace(train.schema, channels=(Column("II"),)), "no channel is in mV"),
    ):
        other = replace(train, schema=schema)
        with pytest.raises(measures.Unanswerable, match=words):
            heartbeats(other, other, other)
    unnamed = replace(train, schema=replace(train.schema, channels=(Column("II"),)))
    assert heartbeats(unnamed, unnamed, unnamed, channel="II")["rr"] == 0
    with pytest.raises(ValueError, match="no channel 'V1'"):
        heartbeats(train, train, train, channel="V1")
    holed = np.where(np.arange(20)[:, None, None] < 1, np.nan, train.values)
    assert np.isnan(beating(holed[..., 0], RATE)["rr"][0]).all()


@pytest.mark.parametrize(("record", "share"), [("100", 0.98), ("223", 0.98)])
def test_peaks_are_the_annotated_beats(record, share):
    """Against the annotations of cardiologists, within 0.1 s."""
    folder = shared_data("mitdb")
    windows = sources.ecg(records=record, leads="MLII", rate=RATE, take="windows", seconds=10.0, folder=str(folder))
    beats = sources.ecg(records=record, leads="MLII", rate=RATE, folder=str(folder))
    found = sum(len(peaks(signal, RATE)) for signal in windows.values[..., 0].astype(float))
    assert found == pytest.approx(len(beats), rel=1 - share)
