"""What is a difference, how a figure is to be taken, and in which words."""

import numpy as np
import pytest
from scipy.stats import norm

from vitalsynth.evaluation import metric
from vitalsynth.evaluation.verdicts import beyond, excess, judged, told, tone, verdict

NAMES = ("value", "low", "high", "floor", "floor_low", "floor_high", "baseline")


def row(better, *numbers, name="a figure", part="fidelity"):
    return metric.row(name, dict(zip(NAMES, numbers, strict=False)), better, "What it is.", part)


POOR = row("near floor", 0.9, 0.85, 0.95, 0.5, 0.45, 0.55)
SAME = row("near floor", 0.54, 0.48, 0.6, 0.5, 0.45, 0.55)
DOUBTFUL = row("near floor", 0.58, 0.53, 0.63, 0.5, 0.45, 0.55)  # 0.08, where chance carries it 0.0707
COPIED = row("lower", 0.4, 0.35, 0.45, 0.0, 0.0, 0.02, part="copying")
COVERED = row("higher", 0.3, 0.25, 0.35, 0.9, 0.85, 0.95, 0.0)
USEFUL = row("higher", 0.7, 0.65, 0.75, 0.8, 0.75, 0.85, 0.5)


def test_how_far_chance_carries_a_difference_by_hand():
    """The lower limit of the one and the upper limit of the other count: 0.03 and 0.04 make 0.05."""
    assert beyond((0.6, 0.57, 0.9), (0.5, 0.1, 0.54)) == pytest.approx(0.1 / 0.05)
    assert beyond((0.5, 0.1, 0.54), (0.6, 0.57, 0.9)) == pytest.approx(-0.1 / np.hypot(0.4, 0.3))
    assert beyond((0.6, 0.57, 0.9), (0.5, 0.1, 0.54), among=20) == pytest.approx(2 * 1.959964 / 3.023341, rel=1e-5)
    assert beyond((0.1, 0.1, 0.1), (0.0, 0.0, 0.0)) > 1e6 and beyond((0.1,) * 3, (0.1,) * 3) == 0


@pytest.mark.parametrize("among", [1, 20])
def test_equal_means_differ_as_often_as_is_allowed(among):
    """Of 20,000 families of figures of equal means, but unequal spreads, 2.5 % have one that is above the other."""
    rng = np.random.default_rng(0)
    value, floor = rng.standard_normal((2, 20_000, among)) * np.array([1.0, 0.4])[:, None, None]
    z = norm.ppf(0.975)
    worst = np.argmax(value - floor, axis=1)
    largest = zip(value[np.arange(20_000), worst], floor[np.arange(20_000), worst], strict=True)
    told = [beyond((v, v - z, v + z), (f, f - 0.4 * z, f + 0.4 * z), among) > 1 for v, f in largest]
    assert np.mean(told) == pytest.approx(0.025, abs=0.004)


def test_which_side_is_bad():
    assert excess(row("near floor", 0.7, 0.6, 0.8, 0.5, 0.5, 0.5)) == pytest.approx(2)
    assert excess(row("lower", 0.7, 0.6, 0.8, 0.5, 0.5, 0.5)) == pytest.approx(2)
    assert excess(row("higher", 0.7, 0.6, 0.8, 0.9, 0.9, 0.9)) == pytest.approx(2)
    assert excess(row("higher", 0.7, 0.6, 0.8, 0.5, 0.5, 0.5)) == pytest.approx(-2)
    assert excess(row("near floor", 0.7, None, None, 0.5, 0.4, 0.6)) is None
    assert excess(row("lower", 0.7, 0.6, 0.8, 0.5, None, None)) == pytest.approx(2)  # what is known without doubt


def test_figures_that_were_not_computed_do_not_count_among_those_looked_at():
    assert judged([POOR, SAME, row("near floor"), row("near floor", 0.5, None, None, 0.4)]) == 2
    assert judged([]) == 1


@pytest.mark.parametrize(
    ("figure", "among", "expected"),
    [
        (SAME, 1, "good"),
        (POOR, 1, "bad"),
        (POOR, 20, "bad"),
        (DOUBTFUL, 1, "bad"),
        (DOUBTFUL, 20, "fair"),
        (USEFUL, 1, "fair"),
        ({**USEFUL, "value": 0.74, "high": 0.79}, 1, "good"),
        ({**USEFUL, "low": 0.45, "high": 0.71}, 1, "bad"),  # no more than a trivial answer, perhaps
        (COVERED, 1, "bad"),  # a third of what could be had
        (row("lower", 3.0, 2.5, 3.5, 2.0, 1.9, 2.1, 5.0), 1, "fair"),
        (row("lower", 2.2, 1.9, 2.5, 2.0, 1.9, 2.1, 5.0), 1, "good"),
        (COPIED, 20, "bad"),
        ({**POOR, "part": "copying"}, 1, "fair"),
        ({**SAME, "low": None}, 1, "unknown"),
        (row("higher"), 1, "unknown"),
    ],
)
def test_the_tone_of_a_figure(figure, among, expected):
    assert tone(figure, among) == expected


@pytest.mark.parametrize(
    ("figure", "among", "words"),
    [
        (POOR, 20, "differs from real data"),
        (SAME, 1, "no difference from real data found"),
        (DOUBTFUL, 1, "differs from real data"),
        (DOUBTFUL, 20, "differs from real data, but no more than one of 20 figures does by chance"),
        (
            row("higher", 0.7, 0.6, 0.8, 0.9, 0.85, 0.95, 0.5),
            1,
            "reaches 50% of what real data gain over the trivial answer",
        ),
        (
            row("lower", 0.4, 0.3, 0.5, 0.2, 0.1, 0.3, 0.6),
            1,
            "reaches 50% of what real data gain over the trivial answer",
        ),
        (
            row("higher", 0.7, 0.6, 0.8, 0.6, 0.45, 0.7, 0.5),
            1,
            "real data themselves do no better than the trivial answer, within chance",
        ),
        (
            row("lower", 0.4, 0.3, 0.5, 0.2, 0.1, 0.7, 0.6),
            1,
            "real data themselves do no better than the trivial answer, within chance",
        ),
        (row("higher", 0.4, 0.3, 0.5, 0.9, 0.85, 0.95), 1, "less than real data"),
        (row("higher", 0.87, 0.8, 0.9, 0.9, 0.85, 0.95), 1, "no less than real data"),
        (row("lower", 0.04, 0.03, 0.05, 0.0, 0.0, 0.0), 1, "more often than real data"),
        (row("lower", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 1, "no more often than real data"),
        (COPIED, 1, "copies of the training data"),
        ({**COPIED, "value": 0.0, "low": 0.0}, 1, "no more copies of the training data than among real sequences"),
        ({**POOR, "part": "copying"}, 1, "nearer to the training data than to those held out"),
        ({**SAME, "part": "copying"}, 1, "no nearer to the training data than chance"),
        ({**SAME, "low": None}, 1, "no interval"),
        (row("higher"), 1, "not computed"),
    ],
)
def test_verdicts(figure, among, words):
    assert verdict(figure, among) == words


def test_copies_of_the_held_out_data_are_not_praised():
    close = row("near floor", 0.24, 0.18, 0.31, 0.54, 0.47, 0.61, name="two-sample AUROC")
    assert "copies" in verdict(close)
    assert "copies" not in verdict({**close, "value": 0.45, "high": 0.52})


def told_of(*rows):
    return [(one.tone, one.words) for one in told(rows)]


def test_a_figure_that_is_bad_for_its_interval_names_its_end():
    """51 % and bad: because by its interval it may be no better than the trivial answer."""
    wide = row("higher", 0.653, 0.45, 0.7, 0.8, 0.75, 0.85, 0.5)
    assert tone(wide) == "bad"
    assert verdict(wide) == (
        "reaches 51% of what real data gain over the trivial answer, but perhaps nothing: its interval reaches 0.450, "
        "and trivial is 0.500"
    )
    assert "perhaps nothing" not in verdict({**wide, "low": 0.55})
    assert "0.610, and trivial is 0.600" in verdict(row("lower", 0.4, 0.3, 0.61, 0.2, 0.1, 0.3, 0.6))


def test_the_best_of_four_judges_is_no_better_than_what_one_of_them_says():
    best = row("near floor", 0.705, 0.6, 0.8, 0.62, 0.5, 0.74, name="AUROC of the best of four judges")
    trees = row("near floor", 0.705, 0.68, 0.73, 0.5, 0.48, 0.52, name="AUROC: boosted trees on summaries")
    plain = row("near floor", 0.52, 0.47, 0.57, 0.5, 0.45, 0.55, name="AUROC: GRU of 64 units")
    assert told_of(best, trees, plain) == [
        ("bad", "differs from real data, by boosted trees on summaries"),
        ("bad", "differs from real data"),
        ("good", "no difference from real data found"),
    ]
    assert told_of({**best, "high": 0.73, "floor_low": 0.6}, plain)[0][0] == "good"  # nobody sees anything


def test_what_is_too_wide_to_tell_good_from_bad_is_unclear():
    auroc = row("near floor", 0.6, 0.4, 0.75, 0.5, 0.35, 0.65, name="two-sample AUROC")
    ((said, words),) = told_of({**auroc, "held_out": 65})
    assert said == "unclear" and words.startswith("cannot say (65 held out): ")
    assert told_of({**auroc, "high": 0.65, "floor_low": 0.45}) == [("good", "no difference from real data found")]
    assert told_of(row("higher", 0.7, 0.55, 0.9, 0.8, 0.65, 0.9, 0.5))[0][0] == "unclear"  # half of the gain is 0.65
    assert told_of(row("lower", 0.3, 0.2, 0.5, 0.2, 0.1, 0.35, 0.6))[0][0] == "unclear"
    assert told_of(row("higher", 0.78, 0.7, 0.9, 0.8, 0.65, 0.9, 0.5))[0][0] == "good"
    assert told_of(POOR, COPIED) == [(tone(each, 2), verdict(each, 2)) for each in (POOR, COPIED)]
