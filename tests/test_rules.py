"""Rules and bounds of physiology: declared, counted, reported and kept to."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.isotonic import IsotonicRegression

import vitalsynth
from vitalsynth import frames, sources
from vitalsynth.commands.sample import sample
from vitalsynth.evaluation import measures, scorecard, verdict
from vitalsynth.evaluation.plausibility import BOUNDS, violations
from vitalsynth.sequences import Column, Schema, Sequences, rules
from vitalsynth.sequences.rules import _ordered

PRESSURES = Schema((Column("dbp", low=0.0), Column("map"), Column("sbp", high=250.0)), rules=("dbp <= map <= sbp",))


def pressures(*rows):
    return Sequences(np.array([rows], dtype=float), PRESSURES)


def test_what_is_broken_is_counted_by_hand():
    nan = np.nan
    found = rules.violations(
        pressures([60, 80, 120], [90, 80, 120], [130, nan, 120], [nan, nan, 120], [nan, 90, 300], [-5, nan, nan])
    )
    assert {name: (int(broken[0]), int(possible[0])) for name, (broken, possible) in found.items()} == {
        "dbp <= map <= sbp": (2, 4),
        "0 <= dbp": (1, 4),
        "sbp <= 250": (1, 5),
    }


def test_what_is_kept_to_is_nearest():
    nan = np.nan
    kept = rules.enforce(pressures([60, 80, 120], [90, 80, 120], [130, nan, 120], [-5, 90, 300], [100, 90, 80]))
    assert_array_equal(
        kept.values[0],
        [[60, 80, 120], [85, 85, 120], [125, nan, 125], [0, 90, 250], [90, 90, 90]],
    )


@given(st.lists(st.one_of(st.none(), st.floats(-100, 100)), min_size=2, max_size=6))
def test_order_is_restored_as_isotonic_regression_does(cells):
    values = np.array([np.nan if cell is None else cell for cell in cells])
    there = ~np.isnan(values)
    expected = values.copy()
    if there.any():
        expected[there] = IsotonicRegression().fit_transform(np.arange(there.sum()), values[there])
    assert_allclose(_ordered(values[None, None])[0, 0], expected, atol=1e-9)


def test_steps_of_recording_are_kept():
    schema = replace(PRESSURES, channels=tuple(replace(c, resolution=0.5) for c in PRESSURES.channels))
    rng = np.random.default_rng(0)
    wild = Sequences(np.round(rng.uniform(0, 250, (20, 30, 3)) * 2) / 2, schema)
    kept = rules.enforce(wild)
    assert all(not broken.sum() for broken, _ in rules.violations(kept).values())
    assert_array_equal(kept.values * 2 % 1, 0)
    ordered = (np.diff(wild.values, axis=2) >= 0).all(axis=2)
    assert_array_equal(kept.values[ordered], wild.values[ordered])


def test_rules_that_share_channels_are_kept_together():
    schema = replace(PRESSURES, rules=("dbp <= map", "map <= sbp"))
    kept = rules.enforce(replace(pressures([100, 90, 80], [90, 80, 120]), schema=schema))
    assert all(not broken.sum() for broken, _ in rules.violations(kept).values())


def test_columns_that_leave_take_their_rules_along():
    cohort = pressures([60, 80, 120])
    assert cohort.drop(["map"]).schema.rules == ("dbp <= sbp",)
    assert cohort.drop(["map", "sbp"]).schema.rules == ()
    assert Schema.from_json(cohort.schema.to_json()) == cohort.schema


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rules": ["dbp <= mapp"]}, "no channel 'mapp'; did you mean 'map'"),
        ({"rules": ["dbp < map"]}, "channels with <= between them"),
        ({"rules": ["dbp <= "]}, "channels with <= between them"),
        ({"rules": ["dbp <= map <= dbp"]}, "names 'dbp' twice"),
        ({"limits": {"map": "20"}}, "LOW:HIGH"),
        ({"limits": {"map": "90:20"}}, "LOW:HIGH"),
        ({"limits": {"map": "a:20"}}, "LOW:HIGH"),
        ({"limits": {"hr": "0:20"}}, "no column 'hr'"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        PRESSURES.limited(**asked)


def test_real_data_break_rules_too_and_a_scorecard_says_so():
    stays = sources.icu_demo()
    train, test = stays.take(slice(0, 200)), stays.take(slice(200, 700))
    wild = replace(test, values=np.roll(test.values, -1, axis=2))
    found, rule = violations(train, test, wild), "dbp <= map <= sbp"
    ends = [found[rule + end] for end in ("_floor_low", "_floor", "_floor_high", "_low")]
    assert 0 < ends[0] < ends[1] < ends[2] < 0.01 < 0.5 < ends[3]
    rows = {row["metric"]: row for row in scorecard.evaluate(train, test, wild, metrics=["violations"])}
    assert verdict(rows["broken: dbp <= map <= sbp"]) == "more often than real data"
    assert verdict(rows[f"broken: {BOUNDS}"]) == "more often than real data"  # saturations beyond 100 %
    same = {row["metric"]: row for row in scorecard.evaluate(train, test, test, metrics=["violations"])}
    assert verdict(same["broken: dbp <= map <= sbp"]) == "no more often than real data"


def test_a_run_knows_its_rules_and_keeps_to_them_if_asked(tmp_path):
    settings = {"steps": 3, "checkpoint_every": 3, "quiet": True, "rules": "dbp <= sbp", "limits": "hr=95:100"}
    run = vitalsynth.train(sources.icu_demo().take(slice(0, 200)), out=str(tmp_path / "run"), **settings)
    assert run.preparation.schema.rules == ("dbp <= map <= sbp", "dbp <= sbp")
    kept, free = (
        frames.load(sample(str(run.path), count=50, enforce=enforce, quiet=True)[0]) for enforce in (True, False)
    )
    assert all(not broken.sum() for broken, _ in rules.violations(kept).values())
    assert sum(broken.sum() for broken, _ in rules.violations(free).values()) > 100
    train, _ = run.data(sources.icu_demo().take(slice(0, 200)))
    assert train.schema.rules == run.preparation.schema.rules and train.schema.channels[0].high == 100


def test_what_nothing_is_known_of_breaks_nothing():
    free = Sequences(np.zeros((4, 3, 1)), Schema((Column("x"),)), subject=np.arange(4))
    with pytest.raises(measures.Inapplicable, match="no rule or bound"):
        violations(free, free, free)
