"""Usefulness on data of which it is known what can be foretold, and how well."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, r2_score, roc_auc_score

import vitalsynth
from conftest import shared_data
from vitalsynth import sources
from vitalsynth.evaluation import (
    augmented,
    evaluate,
    forecast,
    measures,
    predictors,
    subgroups,
    tasks,
    trts,
    tstr,
)
from vitalsynth.evaluation.features import View
from vitalsynth.evaluation.targets import Samples
from vitalsynth.sequences import Column, Schema, Sequences

NAMES = ("auroc", "accuracy", "balanced_accuracy", "average_precision")


def autoregression(n, seed, phi=0.7, length=24, channels=2):
    """x[t + 1] = phi x[t] + noise, of variance 1."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, length, channels))
    for t in range(1, length):
        x[:, t] = phi * x[:, t - 1] + np.sqrt(1 - phi**2) * x[:, t]
    return Sequences(x, Schema(tuple(Column(f"x{j}") for j in range(channels))))


def stays(n, seed, rise=6.0):
    """Who dies has a rising pulse; who is old a high one. A third of the values is missing."""
    rng = np.random.default_rng(seed)
    died, sex = (rng.random(n) < 0.4) * 1.0, (rng.random(n) < 0.5) * 1.0
    age = rng.uniform(20, 90, n)
    rising = (2 * died[:, None] - 1) * np.linspace(-rise, rise, 12)
    pulse = 80 + rising + 0.3 * (age[:, None] - 55) + 5 * rng.standard_normal((n, 12))
    values = np.stack([pulse, rng.integers(0, 3, (n, 12)), rng.standard_normal((n, 12))], axis=2)
    values[rng.random(values.shape) < 0.3] = np.nan
    channels = (Column("pulse"), Column("rhythm", "categorical", categories=("a", "b", "c")), Column("other"))
    statics = (Column("died", "binary"), Column("age", unit="years"), Column("sex", "binary", categories=("F", "M")))
    subject = 10_000 * seed + np.arange(n)
    static = np.stack([died, age, sex], axis=1)
    return Sequences(values, Schema(channels, statics), rng.integers(9, 13, n), static, subject)


def with_static(sequences, name, values):
    static = sequences.static.copy()
    static[:, sequences.schema.static_index(name)] = values
    return replace(sequences, static=static)


@pytest.fixture(scope="module")
def three():
    return stays(300, 1), stays(300, 2), stays(300, 3)


def test_measures_of_numbers_agree_with_scikit_learn(rng):
    truth, weights = rng.standard_normal(60), rng.integers(1, 4, (2, 60)).astype(float)
    predicted = truth + rng.standard_normal(60)
    codes, guessed = (np.digitize(x, (-1, 0, 0.5, 1)) for x in (truth, predicted))
    for w, r2, error, kappa in zip(
        weights,
        measures.r2(truth, predicted, weights),
        measures.mean_absolute_error(truth, predicted, weights),
        measures.linear_kappa(codes, guessed, weights),
        strict=True,
    ):
        assert r2 == pytest.approx(r2_score(truth, predicted, sample_weight=w))
        assert error == pytest.approx(mean_absolute_error(truth, predicted, sample_weight=w))
        assert kappa == pytest.approx(cohen_kappa_score(codes, guessed, weights="linear", sample_weight=w))
    assert np.isnan(measures.r2(np.ones(60), predicted, weights)).all()
    assert np.isnan(measures.linear_kappa(np.ones(60, int), np.ones(60, int), weights)).all()
    assert measures.linear_kappa(codes, np.full(60, 2), weights) == pytest.approx(0)


@pytest.mark.parametrize("predictor", predictors.PREDICTORS)
def test_a_copy_is_as_useful_as_the_real_and_shuffled_labels_are_of_no_use(three, predictor, rng):
    train, test, _ = three
    copied = tstr(train, test, train, "died", predictor=predictor, kernels=100)
    assert copied["auroc_floor_low"] > 0.7
    for name in NAMES:
        assert copied[name] == pytest.approx(copied[f"{name}_floor"], abs=0.02)
    number = tstr(train, test, train, "age", predictor=predictor, kernels=100)
    assert number["r2"] == pytest.approx(number["r2_floor"], abs=0.02)
    assert number["r2_floor_low"] > 0.3 > 0 >= number["r2_trivial"] > -0.05
    assert number["mae_high"] < number["mae_trivial"] == pytest.approx(35 / 2, rel=0.1)  # uniform over 70 years
    shuffled = with_static(train, "age", rng.permutation(train.static_column("age")))
    assert tstr(train, test, shuffled, "age", predictor=predictor, kernels=100)["r2"] < 0.05
    died = with_static(train, "died", rng.permutation(train.static_column("died")))
    assert tstr(train, test, died, "died", predictor=predictor, kernels=100)["auroc"] < 0.65


@pytest.mark.parametrize("predictor", predictors.PREDICTORS)
def test_a_predictor_answers_for_classes_it_never_saw_and_for_one_alone(three, predictor):
    view, found = View.fit(*three), predictors.find(predictor, kernels=20)
    x, subject = found.see(view, three[0], 0), np.arange(300)
    for answers in (np.full(300, 1.0), 2 * (np.arange(300) % 2.0)):
        said = found.fit(x, answers, subject, 3, 0)(x)
        np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-6)
        unseen = sorted({0, 1, 2} - set(answers.astype(int)))
        assert said[:, unseen].max() < 0.1


def test_summaries_by_hand():
    schema = Schema((Column("hr"), Column("rhythm", "categorical", categories=("a", "b"))), (Column("ward", "binary"),))
    hr, rhythm = [np.nan, 4, 1, np.nan, 3], [0, np.nan, 1, 1, np.nan]
    values = np.stack([np.stack([hr, rhythm], axis=1), np.full((5, 2), np.nan)])
    s = Sequences(values, schema, np.array([5, 2]), np.array([[1.0], [np.nan]]))
    got = predictors.summaries(View.fit(s), s, 0)
    first, last, least, mean, largest, count = got[0, :18].reshape(6, 3)  # of hr, a, b
    np.testing.assert_allclose([first, last, least], [[4, 1, 0], [3, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose([mean, largest, count], [[8 / 3, 1 / 3, 2 / 3], [4, 1, 1], [3, 3, 3]])
    np.testing.assert_allclose(got[0, 18:], [1, 5])
    np.testing.assert_array_equal(got[1], [*[np.nan] * 15, 0, 0, 0, np.nan, 2])


def test_what_comes_after_the_end_does_not_reach_a_gru(three):
    x = torch.from_numpy(predictors.steps(View.fit(*three), three[0], 0))
    network = predictors.Recurrent(x.shape[2], 2).eval()
    longer = torch.cat([x, 0 * x[:, :3]], dim=1)
    torch.testing.assert_close(network(x), network(longer))


def test_trts_of_the_test_set_is_trtr_and_of_noise_is_chance(three, rng):
    train, test, _ = three
    same = trts(train, test, test, "died", predictor="linear")
    for name in NAMES:
        assert same[name] == pytest.approx(same[f"{name}_floor"])
    noise = replace(test, values=np.where(np.isnan(test.values), np.nan, test.values[rng.permutation(300)]))
    assert trts(train, test, noise, "died", predictor="linear")["auroc"] < 0.65
    assert trts(train, test, with_static(test, "died", 1.0), "died", predictor="linear")["auroc"] == 0.5


def test_more_synthetic_sequences_than_real_ones_may_teach(three):
    few, test, more = three[0].take(slice(40)), three[1], three[2]
    as_many, thrice = (tstr(few, test, more, "age", predictor="linear", times=times) for times in (1, 3))
    assert (as_many["trained_on"], thrice["trained_on"]) == (40, 120)
    assert thrice["r2"] > as_many["r2"] and thrice["r2_floor"] == as_many["r2_floor"]
    scarce = tstr(three[0], test, more.take(slice(50)), "age", predictor="linear", times=3)
    assert scarce["trained_on"] == 48  # against 16 real ones


def test_augmentation_helps_with_more_of_the_same_and_not_with_noise(three, rng):
    few, test, more = three[0].take(slice(40)), three[1], three[2]
    helped = augmented(few, test, more, "age", predictor="linear")
    assert helped["gain_low"] > 0
    assert helped["gain"] == pytest.approx(helped["r2"] - helped["r2_floor"])
    assert (helped["trained_on"], helped["added"]) == (40, 300)
    useless = with_static(more, "age", rng.permutation(more.static_column("age")))
    row = evaluate(three[0], test, useless, "age", metrics=["augmented"])[0]
    assert row["value"] < row["floor_low"]
    assert "gains -0." in row["about"]


def test_subgroups_by_hand():
    """A model that ranks women rightly and men at chance: its figures, its gap, and who is too few."""
    train, test = stays(400, 1), stays(400, 2)
    women = train.static_column("sex") == 0
    puzzled = replace(train, values=train.values.copy())
    puzzled.values[~women, :, 0] = np.nan  # nothing is learned of men, whose pulse is never taken
    blind = replace(test, values=test.values.copy())
    blind.values[test.static_column("sex") == 1, :, 0] = np.nan
    got = subgroups(puzzled, blind, puzzled, "died", by="sex", predictor="boosting")
    names = [name for name in got if name.startswith("sex") and name.endswith(")")]
    assert names == [f"sex {c} ({int((test.static_column('sex') == k).sum())})" for k, c in enumerate("FM")]
    assert got[names[0]] > 0.75 and abs(got[names[1]] - 0.5) < 0.1
    assert got["gap"] == pytest.approx(got[names[0]] - got[names[1]]) == got["gap_floor"]
    assert got["gap_low"] > 0.1

    trained = predictors.find("boosting")
    view = View.fit(*(s.drop(["died"]) for s in (puzzled, blind)))
    x, asked = (predictors.summaries(view, s.drop(["died"]), 0) for s in (puzzled, blind))
    said = trained.fit(x, puzzled.static_column("died"), puzzled.subject, 2, 0)(asked)[:, 1]
    hers = blind.static_column("sex") == 0
    assert got[names[0]] == pytest.approx(roc_auc_score(blind.static_column("died")[hers], said[hers]))


def test_a_subgroup_that_is_too_small_says_so(three):
    train, test, other = three
    few = with_static(test, "sex", np.arange(300) < 15)
    rows = evaluate(train, few, other, "died", metrics=["subgroups"])
    small = next(row for row in rows if "sex M" in row["metric"])
    assert small["metric"] == "TSTR of sex M (15)" and small["value"] is None
    assert "fewer than 10 subjects" in small["about"]
    assert sum("age" in row["metric"] for row in rows) == 3  # thirds
    assert {row["part"] for row in rows} == {"fairness"}
    with pytest.raises(measures.Unanswerable, match="fewer than two subgroups"):
        subgroups(train, with_static(few, "sex", 1.0), other, "died", by="sex")
    with pytest.raises(measures.Unanswerable, match="no static column of sex"):
        subgroups(*(s.drop(["sex", "age"]) for s in three), "died")


@pytest.mark.parametrize("ahead", [1, 2])
def test_an_autoregression_is_foretold_as_well_as_can_be(ahead):
    """R^2 is at best phi^(2 ahead); persistence has 2 phi^ahead - 1."""
    got = forecast(*(autoregression(600, seed) for seed in (1, 2, 3)), ahead=ahead)
    power = 0.7**ahead
    assert got["r2"] == pytest.approx(power**2, abs=0.02) == got["r2_floor"]
    assert got["error"] == pytest.approx(np.sqrt((1 + power) / 2), abs=0.01)
    assert got["error_high"] - got["error_low"] < 0.02
    assert got["r2_trivial"] == pytest.approx(2 * power - 1, abs=0.03)
    assert got["error_trivial"] == 1
    assert (got["trained_on"], got["channels"], got["ahead"]) == (600, 2, ahead)


def test_only_what_was_measured_is_foretold_and_gaps_cost_what_they_must():
    """With every other step missing, what is measured comes two steps after what was: R^2 is phi^4 at best."""
    halved = []
    for seed in (1, 2, 3):
        whole = autoregression(600, seed)
        values = whole.values.copy()
        values[:, 1::2] = np.nan
        halved.append(replace(whole, values=values))
    got = forecast(*halved)
    assert got["r2"] == pytest.approx(0.7**4, abs=0.02)
    assert got["r2_trivial"] == pytest.approx(2 * 0.7**2 - 1, abs=0.03)


def test_a_forecaster_of_noise_or_of_nothing_is_no_better_than_persistence(rng):
    train, test, other = (autoregression(400, seed) for seed in (1, 2, 3))
    noise = replace(other, values=rng.standard_normal(other.values.shape))
    assert forecast(train, test, noise)["r2"] < 0.05 < forecast(train, test, noise)["r2_trivial"]
    never = replace(other, values=np.where(np.arange(2) == 0, other.values, np.nan))
    got = forecast(train, test, never)
    assert 0.92 < got["error"] < 0.97  # of two channels, one is foretold by persistence
    with pytest.raises(measures.Unanswerable, match="no continuous channel varies"):
        forecast(*(replace(s, values=0 * s.values) for s in (train, test, other)))
    with pytest.raises(ValueError, match="at least 1, got 0 and 6"):
        forecast(train, test, other, ahead=0)


def hours_to_live(n, seed):
    """A channel that falls to 0 with the hours that remain, seen with noise; how long is drawn at random."""
    rng = np.random.default_rng(seed)
    end = rng.uniform(24, 24 * 9, n)[:, None]
    remaining = end - np.arange(1, 13) * 2
    seen = remaining + 5 * rng.standard_normal((n, 12))
    remaining[:, :4] = np.nan
    soon = np.where(np.isnan(remaining), np.nan, remaining < 48)
    schema = Schema((Column("remaining_hours", unit="h", low=0.0), Column("decompensation", "binary"), Column("seen")))
    return Sequences(np.stack([remaining, soon, seen], axis=2), schema, rng.integers(6, 13, n))


def test_a_label_of_every_step_is_foretold_from_what_came_up_to_it():
    train, test, other = (hours_to_live(80, seed) for seed in (1, 2, 3))
    target = tasks.target(train, "length-of-stay")
    samples = Samples.of(target, train)
    assert len(samples) == (~np.isnan(train.values[:, :, 0])).sum()
    shown = samples.shown()
    assert [column.name for column in shown.schema.channels] == ["seen"]  # neither is shown: both are outcomes
    assert (shown.lengths > 4).all() and (shown.lengths[:2] == [5, 6]).all()
    np.testing.assert_array_equal(samples.answers[0], train.values[0, 4, :1])
    got = tstr(train, test, other, "length-of-stay", predictor="linear")
    assert next(iter(got)) == "kappa"
    assert got["kappa"] > 0.7 and got["kappa_trivial"] == pytest.approx(0) and got["mae"] < 8
    assert tstr(train, test, other, "decompensation", predictor="linear")["auroc"] > 0.95
    assert tstr(train, test, other, "length-of-stay", predictor="linear", cap=50)["tested_on"] == 50


def test_phenotypes_are_predicted_each_by_itself():
    def coded(seed):
        base = stays(200, seed)
        names = list(tasks.PHENOTYPES)[:3]
        labels = np.stack([base.static_column("died"), base.static_column("age") > 55, np.zeros(200)], axis=1)
        schema = replace(base.schema, statics=tuple(Column(name, "binary") for name in names))
        return replace(base, schema=schema, static=labels.astype(float))

    train, test, other = coded(1), coded(2), coded(3)
    got = tstr(train, test, other, "phenotyping", predictor="linear")
    assert [name for name in got if "_" not in name] == ["auroc"]
    each = [tstr(train, test, other.drop([]), name, predictor="linear") for name in list(tasks.PHENOTYPES)[:2]]
    assert got["auroc"] == pytest.approx(np.mean([g["auroc"] for g in each]), abs=0.05)  # the third nobody has
    assert got["auroc_trivial"] == 0.5


def test_a_task_whose_labels_are_not_there_says_how_to_read_them(three):
    with pytest.raises(
        ValueError, match=r"no label of length-of-stay; .* --source.task length-of-stay, or physionet2012"
    ):
        tstr(*three, "length-of-stay")
    with pytest.raises(ValueError, match="no task 'length_of_stay'; did you mean 'length-of-stay'"):
        tasks.check("length_of_stay")
    with pytest.raises(ValueError, match="no predictor 'boost'; did you mean 'boosting'"):
        tstr(*three, "died", predictor="boost")
    with pytest.raises(ValueError, match="is a dict; what is needed is a Predictor"):
        tstr(*three, "died", predictor="vitalsynth.evaluation.predictors.PREDICTORS")


@pytest.fixture(scope="module")
def physionet():
    """The first 600 stays of set A, parted."""
    whole = sources.physionet2012(str(shared_data("physionet2012")), scores=True)
    rest, test = whole.take(slice(900)).split(0.3)
    return *rest.split(0.5, 1), test


def test_tasks_of_physionet_2012(physionet):
    train, synthetic, test = physionet
    target = tasks.target(train, "in-hospital-mortality")
    shown = {column.name for column in Samples.of(target, train).shown().schema.statics}
    assert shown == {"Age", "Gender", "Height", "ICUType", "static_Weight"}
    died = tstr(train, test, synthetic, "in-hospital-mortality", predictor="boosting")
    assert died["auroc_floor_low"] > 0.6 and died["auroc_low"] > 0.6
    assert died["average_precision"] > died["average_precision_trivial"]
    stay = tstr(train, test, synthetic, "length-of-stay", predictor="boosting")
    assert stay["kappa_low"] > 0.05 > stay["kappa_trivial"]
    assert stay["mae"] == pytest.approx(stay["mae_floor"], rel=0.2)


@pytest.mark.parametrize("task", ["in-hospital-mortality", "length-of-stay", "decompensation"])
def test_tasks_of_the_mimic_demo_are_split_by_patient(task):
    whole = sources.mimic3(str(shared_data("mimic3-demo")), task=task, include="all", repair=True)
    train, test = whole.split(0.4)
    assert not set(train.subject) & set(test.subject)
    got = tstr(train, test, train, task, predictor="linear", cap=1500)
    key = next(iter(got))
    assert key == ("kappa" if task == "length-of-stay" else "auroc")
    assert got[key] == pytest.approx(got[f"{key}_floor"], abs=0.06)  # of a copy, but other samples of it
    assert got[f"{key}_low"] < got[key] < got[f"{key}_high"]


def test_a_task_from_the_command_line(tmp_path):
    """A run is asked for a task by name: both directions are in its scorecard."""
    vitalsynth.train("icu-demo", out=str(tmp_path / "run"), steps=3, batch=8, condition="died", quiet=True)
    rows = vitalsynth.evaluate([str(tmp_path / "run")], task="in-hospital-mortality", count=200, quiet=True)
    assert {"TSTR AUROC", "TRTS AUROC", "TSTR average precision"} <= {row["metric"] for row in rows}
    assert {row["label"] for row in rows} == {"in-hospital-mortality"}
    with pytest.raises(ValueError, match="leave out --label"):
        vitalsynth.evaluate([str(tmp_path / "run")], task="in-hospital-mortality", label="died", quiet=True)


def test_boosting_learns_beside_what_was_never_measured():
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=200), np.full(200, np.nan)], axis=1)
    told = predictors.fit_boosting(x, (x[:, 0] > 0).astype(float), np.arange(200), 2, 0)
    known = np.array([[1.0, 3.0], [-1.0, np.nan]])
    np.testing.assert_allclose(told(known)[:, 1], [1, 0], atol=0.05)
