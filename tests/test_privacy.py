"""Attacks: figures against closed forms, leaks that are found, and honest data that are not."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, mannwhitneyu, norm
from torch import nn

import vitalsynth
from vitalsynth import Generator, sources
from vitalsynth.autoregressive import Autoregressive
from vitalsynth.cli import main
from vitalsynth.commands import whitebox
from vitalsynth.discriminators import Convolutional
from vitalsynth.evaluation.examples import labs, vitals
from vitalsynth.evaluation.measures import Inapplicable, Unanswerable
from vitalsynth.evaluation.privacy import controls, diagnostics, figures, membership, points, report, risks
from vitalsynth.evaluation.privacy.points import Parts, Points
from vitalsynth.flows import Flow
from vitalsynth.learner import Learner
from vitalsynth.objectives import FlowMatching, Likelihood, NonSaturating
from vitalsynth.preparation import Preparation
from vitalsynth.reporting import attacks as pages
from vitalsynth.runs import Run
from vitalsynth.sequences import Column, Encoded, Schema, Sequences


def cloud(x):
    x = np.asarray(x, float)
    return Points(x.reshape(len(x), -1), np.arange(len(x)))


def parts_of(make, members=300, others=300, reference=200, synthetic=300):
    return Parts(*(make(count, k + 1) for k, count in enumerate((members, others, reference, synthetic))))


# Figures


@pytest.mark.parametrize(("above", "members", "rate"), [(0, 50, 0.01), (3, 200, 0.01), (40, 40, 0.1), (17, 90, 0.1)])
def test_the_interval_is_clopper_and_pearsons_once_the_threshold_is_known(above, members, rate):
    exact = binomtest(above, members).proportion_ci(method="exact")
    got = figures.interval(above, members, rate, others=10**8)
    np.testing.assert_allclose(got, [exact.low, exact.high], rtol=2e-3, atol=1e-9)
    p = binomtest(above, members, rate, alternative="greater").pvalue
    assert figures.p_value(above, members, rate, 10**8) == pytest.approx(p, rel=1e-2, abs=1e-12)


@pytest.mark.parametrize(("members", "others", "rate"), [(400, 137, 0.01), (200, 1000, 0.01), (100, 50, 0.1)])
def test_the_interval_holds_the_truth_of_an_attack_that_knows_nothing(rng, members, others, rate):
    """With the threshold read off few non-members, Clopper and Pearson's alone would not."""
    drawn = [
        figures.true_positives(rng.standard_normal(members), rng.standard_normal(others), rate) for _ in range(1000)
    ]
    ends = {above: figures.interval(above, members, rate, others) for above in set(drawn)}
    plain = {above: binomtest(above, members).proportion_ci(method="exact") for above in set(drawn)}
    held = np.mean([ends[above][0] <= rate <= ends[above][1] for above in drawn])
    assert held >= 0.94
    assert np.mean([plain[above].low <= rate <= plain[above].high for above in drawn]) < held
    assert np.mean([figures.p_value(above, members, rate, others) <= 0.05 for above in drawn[:300]]) <= 0.08


def test_the_interval_holds_the_truth_of_an_attack_that_knows_something(rng):
    truth = norm.sf(norm.isf(0.01) - 1)
    drawn = [figures.true_positives(rng.standard_normal(300) + 1, rng.standard_normal(200), 0.01) for _ in range(300)]
    ends = {above: figures.interval(above, 300, 0.01, 200) for above in set(drawn)}
    assert np.mean([ends[above][0] <= truth <= ends[above][1] for above in drawn]) >= 0.95


def test_the_least_that_could_be_shown_is_shown_four_times_in_five(rng):
    members, others, rate = 300, 200, 0.01
    least = figures.least(members, rate, others)
    assert least is not None and least > 3 * rate
    drawn = []
    for _ in range(300):  # on the line from (0, 0) to (rate, least), along which the model holds
        scores, rest = 1 - rng.random(members) * rate / least, rng.random(others)
        drawn.append(figures.true_positives(scores, rest, rate))
    ends = {above: figures.interval(above, members, rate, others) for above in set(drawn)}
    assert np.mean([ends[above][0] > rate for above in drawn]) == pytest.approx(0.8, abs=0.08)
    assert figures.least(1, 0.1, 100) is None  # one member above the threshold is no wonder


def test_true_positives_by_hand():
    """Of ten non-members 0, ..., 9 one may be mistaken at 10 %, so the threshold is 8; who equals it is not above."""
    others = np.arange(10.0)
    assert figures.true_positives(np.array([8.0, 8.5, 9.5, 1.0]), others, 0.1) == 2
    assert figures.true_positives(np.full(4, 8.0), others, 0.1) == 0
    rows = {row["figure"]: row for row in figures.figures(np.array([8.0, 8.5, 9.5, 1.0]), others)}
    assert rows["TPR at 10 % FPR"]["value"] == 0.5
    assert rows["AUROC"]["value"] == pytest.approx((8.5 + 9 + 10 + 1.5) / 40)
    for name in ("TPR at 1 % FPR", "TPR at 0.1 % FPR"):
        assert rows[name]["value"] is None and "10 non-members cannot show it" in rows[name]["about"]


def test_an_auroc_says_what_it_could_have_shown(rng):
    """At the least true AUROC, Mann and Whitney's test of 5 % (two-sided) finds it in four samples of five."""
    least = figures.figures(rng.random(150), rng.random(100))[0]["least"]
    shift = np.sqrt(2) * norm.ppf(least)
    drawn = [(rng.standard_normal(150) + shift, rng.standard_normal(100)) for _ in range(400)]
    found = [mannwhitneyu(*pair, alternative="greater").pvalue <= 0.025 for pair in drawn]
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)
    assert figures.figures(*drawn[0])[0]["p"] == mannwhitneyu(*drawn[0], alternative="greater").pvalue


# Attacks on samples


def test_attacks_by_hand_on_a_line():
    """Asked are 0, 10 and 20; synthetic lie at 1, 11, 11 and 40, the reference at 4 and 30."""
    asked, made, known = cloud([[0], [10], [20]]), cloud([[1], [11], [11], [40]]), cloud([[4], [30]])
    np.testing.assert_allclose(membership.closest(asked, made, known), [-1, -1, -9])
    np.testing.assert_allclose(membership.calibrated(asked, made, known), [3, 5, 1])
    np.testing.assert_allclose(membership.ball(asked, made, known), [0.25, 0.5, 0])  # the median distance is 1
    usual = membership.above_expected(membership.closest, np.array([-2.0, 0.0, -9.0]))
    np.testing.assert_allclose(usual(asked, made, known), [1, -1, 0])


def test_a_subject_is_as_near_as_its_nearest_sequence():
    asked = Points(np.array([[0.0], [10.0], [20.0]]), np.array([0, 1, 0]))
    np.testing.assert_allclose(membership.closest(asked, cloud([[19.0]]), cloud([[0.0]])), [-1, -9])
    np.testing.assert_allclose(points.mean_of(asked.subject, np.array([1.0, 5.0, 2.0])), [1.5, 5])


def test_domias_on_normal_laws_of_known_densities(rng):
    """Synthetic N(1, I), reference N(0, I) in two dimensions: the log ratio is x + y - 1."""
    made, known = cloud(rng.standard_normal((4000, 2)) + 1), cloud(rng.standard_normal((4000, 2)))
    asked = rng.uniform(-0.5, 1.5, (200, 2))
    got, truth = membership.domias(cloud(asked), made, known), asked.sum(axis=1) - 1
    assert np.corrcoef(got, truth)[0, 1] > 0.98
    assert np.abs(got - truth).mean() < 0.2


def test_the_most_isolated_are_far_from_others_not_from_themselves():
    x = np.array([[0.0], [0.1], [5.0], [5.1], [100.0], [100.0]])
    far = points.isolation(Points(x, np.array([0, 1, 2, 3, 4, 4])), count=2)
    np.testing.assert_allclose(far, [2.55, 2.5, 2.5, 2.55, 94.95], atol=1e-6)


@pytest.mark.parametrize("make", [vitals, labs])
def test_a_planted_leak_is_found_and_strangers_are_not(make):
    """Done when: of 10 % copied with noise, the strongest attack finds more than half at 1 % FPR; else nobody."""
    rows = report.attack(parts_of(make, 400, 300, 200, 400))
    at = lambda control: {  # noqa: E731
        row["attack"]: row
        for row in rows
        if row["control"] == control and row["among"] == "all" and row["figure"] == "TPR at 1 % FPR"
    }
    assert set(at("")) == set(at("positive")) == set(at("negative")) == set(membership.ATTACKS)
    assert max(row["value"] for row in at("positive").values()) > 0.9
    assert at("positive")["calibrated GAN-Leaks"]["low"] > 0.1
    for row in (*at("").values(), *at("negative").values()):
        assert row["low"] <= 0.01 <= row["high"], row
    assert not report.found(rows) and not report.found(rows, "negative")
    said = report.verdict(rows)
    assert "found nothing beyond chance" in said and "planted, are found by closest synthetic, calibrated" in said
    assert "anonym" not in said


def test_a_release_that_leaks_is_found_in_real_data():
    """ICU stays, with gaps: other patients in the place of synthetic ones are no leak; with copies among them, one."""
    train, rest = sources.read("icu-demo").split(0.5, 0)
    test, made = rest.split(0.4, 1)
    honest = points.deal(train, test, made)
    leak, leaked = controls.planted(honest, share=0.1, seed=3)
    assert leaked.mean() == pytest.approx(0.1, abs=0.01)
    found = {name: report.found(report.attack(each)) for name, each in (("honest", honest), ("leak", leak))}
    assert not found["honest"]
    assert {row["attack"] for row in found["leak"]} & {"calibrated GAN-Leaks", "DOMIAS"}


def test_held_out_people_who_differ_are_an_alarm_not_a_leak():
    parts = parts_of(vitals)
    shifted = replace(parts, others=replace(parts.others, values=parts.others.values + 3.0))
    rows = report.attack(shifted)
    assert report.found(rows, "negative")
    assert "are not to be trusted" in report.verdict(rows)


def test_too_few_subjects_are_told():
    make = partial(vitals, seed=1)
    with pytest.raises(Unanswerable, match="at least 2 members"):
        points.deal(vitals(1, 1), vitals(8, 2), vitals(5, 3))
    with pytest.raises(ValueError, match="reference must lie between 0 and 1"):
        points.deal(make(20), vitals(20, 2), vitals(5, 3), reference=1.0)
    assert len(points.deal(vitals(200, 1), vitals(20, 2), vitals(5, 3), most=7).members) == 7


# Other risks


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (7, 50), (50, 50)])
def test_rates_are_wilsons(successes, trials):
    rate = risks.Rate(successes, trials)
    exact = binomtest(successes, trials).proportion_ci(method="wilson")
    np.testing.assert_allclose([rate.value - rate.error, rate.value + rate.error], exact, atol=1e-12)


def test_a_risk_by_hand():
    """Rates of a million trials, so the counts are the rates: (0.6 - 0.2) / 0.8; nothing is gained by doing worse."""
    million = 1_000_000
    value, low, high = risks.risk(risks.Rate(600_000, million), risks.Rate(200_000, million))
    assert value == pytest.approx(0.5, abs=1e-5)
    half = 1.96 * np.hypot(np.sqrt(0.6 * 0.4) / 0.8, np.sqrt(0.2 * 0.8) * 0.4 / 0.8**2) / 1000
    assert [low, high] == pytest.approx([0.5 - half, 0.5 + half], abs=1e-5)
    assert risks.risk(risks.Rate(1, 100), risks.Rate(40, 100))[0] == 0


def test_copies_are_inferred_linked_and_singled_out_and_honest_data_are_not():
    honest = parts_of(labs)
    copied = replace(honest, synthetic=honest.members)
    asked = {
        "inference": partial(risks.attribute_inference, secret="sex"),
        "linkability": risks.linkability,
        "singling out": risks.singling_out,
    }
    for name, risk in asked.items():
        of_copies, of_honest = risk(copied), risk(honest)
        assert of_copies["low"] > 0 and of_copies["p"] < 0.01, name
        assert of_honest["p"] > 0.01 and of_honest["low"] < 0.05, name
    one = Sequences(np.zeros((20, 5, 1)), Schema((Column("x"),)))
    with pytest.raises(Inapplicable, match="one channel has no halves"):
        risks.linkability(Parts(one, one, one, one))
    with pytest.raises(ValueError, match="no static column 'sexx'"):
        report.attack(honest, secret="sexx")


def test_a_column_of_one_value_is_left_out_and_what_shows_nothing_is_a_dash():
    """In one hospital there is nothing to infer, though all guesses are right."""
    parts = parts_of(labs, 60, 60, 40, 60)
    schema = parts.members.schema
    where = schema.static_index("sex")

    def of_one(part):
        static = part.static.copy()
        static[:, where] = 0
        return replace(part, static=static)

    one = Parts(*map(of_one, (parts.members, parts.others, parts.reference, parts.synthetic)))
    name = schema.statics[where].categories
    with pytest.raises(Inapplicable, match=f"^always {name[0] if name else 0}, nothing to infer$"):
        risks.attribute_inference(one, "sex")
    rows = report._risks(one, ["sex"], 0)
    assert rows[0]["value"] is None and "nothing to infer" in rows[0]["about"]
    assert report.grids(rows)[1][1][0][:3] == ["attribute inference: sex", "–", "–"]
    nothing = {**rows[1], "value": 0.856, "low": 0.653, "high": 1.0, "p": 0.0, "about": f"Members 1. {risks.NOTHING}"}
    assert report.grids([nothing])[1][1][0][1] == "–" and not report.found([nothing])
    assert report.found([{**nothing, "about": "Members 1."}])


def test_a_page_is_red_only_where_it_should_not_be_and_explains_what_it_has():
    def row(control, figure, value, p):
        return {
            **{"attack": "closest", "released": "samples", "among": "all", "control": control, "figure": figure},
            **{"value": value, "low": 0.5, "high": 1.0, "chance": 0.5, "p": p, "least": None, "about": ""},
            **{"members": 30, "others": 30},
        }

    rows = [
        row("", "AUROC", 0.9, 0.04),
        row("", "TPR at 10 % FPR", 0.2, 0.2),
        row("positive", "AUROC", 0.99, 1e-9),
        row("positive", "TPR at 10 % FPR", 0.2, 0.2),
        row("negative", "TPR at 10 % FPR", 0.2, 0.2),
        row("negative", "AUROC", 0.5, 0.5),
    ]
    said = report.verdict(rows)
    assert "nothing beyond chance (after correction for 2 figures of 1 attacks" in said
    page = pages._html({"one": [*rows, {"about": said}]})
    assert page.count("verdict bad") == 0 and "*0.990" in page
    assert "TPR at 10 % FPR: the share" in page and "TPR at 1 % FPR: the share" not in page
    alarm = pages._html({"one": [*rows[:-1], row("negative", "AUROC", 0.99, 1e-9), {"about": said}]})
    assert alarm.count("verdict bad") == 1


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_held_out_are_refused_in_words_that_help(count):
    some = labs(40, 0)
    with pytest.raises(Unanswerable, match=f"^{count} subjects? held out: an attack needs at least 4"):
        points.deal(some.take(slice(0, 30)), some.take(slice(30, 30 + count)), some, 0.5, 100, 0)


# Diagnostics, against the table of perfect and useless generators of normal laws


@pytest.mark.parametrize(("width", "authentic"), [(2, 0.39), (10, 0.62), (50, 0.81)])
def test_diagnostics_of_a_perfect_generator_and_of_copies(rng, width, authentic):
    real, other, made, more = (cloud(rng.standard_normal((n, width))) for n in (1000, 1000, 1000, 4000))
    copies = cloud(real.x + 0.001 * rng.standard_normal(real.x.shape))
    for known in (real, other):
        assert diagnostics.identifiability(known, made) == pytest.approx(0.5, abs=0.06)
        assert diagnostics.adversarial_accuracy(known, made) == pytest.approx(0.5, abs=0.06)
    assert diagnostics.identifiability(real, more) == pytest.approx(0.79, abs=0.05)
    assert diagnostics.authenticity(real, made) == pytest.approx(authentic, abs=0.05)
    assert diagnostics.identifiability(real, copies) > 0.94
    assert diagnostics.authenticity(real, copies) < 0.06
    assert diagnostics.adversarial_accuracy(real, copies) < 0.06


def test_diagnostics_take_garbage_for_ideal_in_many_dimensions(rng):
    real, useless = cloud(rng.standard_normal((1000, 50))), cloud(3 * rng.standard_normal((1000, 50)))
    assert diagnostics.adversarial_accuracy(real, useless) == pytest.approx(0.51, abs=0.03)
    assert diagnostics.identifiability(real, useless) == 0
    assert diagnostics.authenticity(real, useless) == 1


# Attacks on networks


class Perfect(Generator):
    """Draws from the very law of the data, white noise: a discriminator wins only by learning them by heart."""

    def __init__(self, shape):
        super().__init__()
        self.noise, self.shape = shape.length * shape.channels, shape
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, noise, condition):
        x = noise.unflatten(1, (self.shape.length, self.shape.channels)) + 0 * self.nothing
        return Encoded(x, noise[:, :0], condition)


@pytest.fixture(scope="module")
def white():
    rng = np.random.default_rng(5)
    return Sequences(rng.standard_normal((300, 12, 2)), Schema((Column("a"), Column("b"))))


def membership_rows(rows, attack):
    return {
        row["figure"]: row for row in rows if row["attack"] == attack and row["among"] == "all" and not row["control"]
    }


def test_an_overfitted_discriminator_is_caught_where_samples_are_innocent(white, tmp_path):
    vitalsynth.train(
        white,
        out=str(tmp_path / "run"),
        steps=100,
        held_out=0.8,
        quiet=True,
        generator=Perfect,
        discriminator=partial(Convolutional, width=16),
        objective=NonSaturating,
        discriminator_optimizer=partial(torch.optim.Adam, lr=1e-2),
    )
    rows = vitalsynth.attack([str(tmp_path / "run")], data=white, quiet=True)
    assert membership_rows(rows, "discriminator score")["AUROC"]["low"] > 0.7
    assert {row["attack"] for row in report.found(rows[:-1])} == {"discriminator score"}
    assert "They found: discriminator score (discriminator" in rows[-1]["about"]
    innocent = vitalsynth.attack([str(tmp_path / "run")], data=white, quiet=True, released="samples")
    assert not report.found(innocent[:-1]) and "found nothing" in innocent[-1]["about"]


def test_what_was_learned_by_heart_is_caught_by_its_likelihood_more_so_by_shadow_models(tmp_path):
    data = vitals(400, 1)
    vitalsynth.train(
        data,
        out=str(tmp_path / "run"),
        steps=30,
        held_out=0.6,
        quiet=True,
        average=0.9,
        generator=partial(Autoregressive, hidden=24, head=16, dropout=0.0, patch=4),
        discriminator=None,
        objective=Likelihood,
        generator_optimizer=partial(torch.optim.Adam, lr=1e-2),
    )
    rows = vitalsynth.attack([str(tmp_path / "run")], data=data, quiet=True, shadows=2)
    alone, beyond = (membership_rows(rows, name)["AUROC"] for name in ("likelihood", "likelihood beyond shadow models"))
    assert alone["low"] > 0.6 and beyond["low"] > 0.8
    assert beyond["value"] > alone["value"] + 0.1
    assert {row["released"] for row in (alone, beyond)} == {"generator"}
    assert "closest synthetic beyond shadow models" in {row["attack"] for row in rows}
    with pytest.raises(ValueError, match="--shadows must be an even number"):
        vitalsynth.attack([str(tmp_path / "run")], data=data, quiet=True, shadows=3)


def test_a_flow_is_asked_for_its_loss_by_the_same_noise_for_all(tmp_path):
    data = vitals(40, 1)
    run = vitalsynth.train(
        data,
        out=str(tmp_path / "run"),
        steps=2,
        held_out=0.5,
        quiet=True,
        generator=partial(Flow, hidden=8, blocks=1),
        discriminator=None,
        objective=FlowMatching,
    )
    rows = vitalsynth.attack([str(run.path)], data=data, quiet=True)
    assert membership_rows(rows, "training loss")["AUROC"]["members"] == 20
    twice = data.take(np.array([0, 1, 0]))
    state = run.newest()
    learner = Learner.build(run.record, torch.device("cpu"))
    learner.load(*state, run.record)
    scores = whitebox.scores(learner, FlowMatching(), run.preparation, twice)[whitebox.LOSS]
    assert scores[0] == scores[2] != scores[1]


@pytest.mark.parametrize(
    "settings",
    [("--preset", "images"), ("--preset", "rcgan", "--generator.pasts", "0.5"), ("--preset", "rgan")],
    ids=["coarse resolutions", "pasts", "last layer"],
)
def test_every_kind_of_discriminator_gives_a_score(tmp_path, settings):
    data = ["digits"] if "images" in settings else ["icu-demo", "--condition", "died"]
    path = tmp_path / "run"
    assert main(["train", *data, *settings, "--steps", "1", "--batch", "8", "--out", str(path), "--quiet"]) == 0
    assert main(["attack", str(path), "--count", "40", "--most", "30", "--quiet"]) == 0
    row = membership_rows(Run(path).attacks(), "discriminator score")["AUROC"]
    assert row["released"] == "discriminator" and 0 <= row["value"] <= 1


def test_a_discriminator_is_shown_real_sequences_at_every_resolution(tmp_path):
    path = tmp_path / "run"
    scales = ["--generator.scales", "2", "--discriminator.scales", "2", "--steps", "1", "--batch", "4", "--quiet"]
    assert main(["train", "digits", "--preset", "images", *scales, "--out", str(path)]) == 0
    run, shown = Run(path), []
    learner = Learner.build(run.record, torch.device("cpu"))
    learner.networks["discriminator"].register_forward_pre_hook(lambda _, given: shown.append(given[0]))
    few = run.data()[1].take(slice(0, 5))
    scores = whitebox.scores(learner, NonSaturating(), run.preparation, few)[whitebox.DISCRIMINATOR]
    made = learner.average(torch.zeros(5, learner.average.noise), torch.zeros(5, run.preparation.shape.condition))
    assert [c.shape for c in shown[0].coarse] == [c.shape for c in made.coarse] and made.coarse
    assert np.isfinite(scores).all() and len(scores) == 5


def test_gaps_where_training_had_none_are_filled_for_networks():
    whole = vitals(30, 1)
    holed = replace(whole, values=whole.values.copy(), static=whole.static.copy())
    holed.values[0, 3, 1] = holed.static[0, 0] = np.nan
    preparation = Preparation.fit(whole)
    with pytest.raises(ValueError, match="had none"):
        preparation.encode(holed)
    filled, plain = whitebox.encode(preparation, holed), preparation.encode(whole)
    assert torch.isfinite(filled.x).all()
    assert torch.equal(filled.x[1:], plain.x[1:]) and torch.equal(filled.s[1:], plain.s[1:])


# The command


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "icu"
    arguments = ["--condition", "died", "--steps", "2", "--batch", "8", "--generator.hidden", "8", "--quiet"]
    assert main(["train", "icu-demo", "--out", str(path), *arguments]) == 0
    return path


def test_attack_from_the_command_line(trained, tmp_path, capsys):
    asked = ["attack", str(trained), "--secret", "sex"]
    for end in (".md", ".html", ".json"):
        assert main([*asked, "--report", str(tmp_path / f"report{end}"), *(["--quiet"] if end != ".md" else [])]) == 0
    out = capsys.readouterr().out
    assert all(name.split()[0] in out for name in membership.ATTACKS) and "diagnostic" in out
    assert "attacks that were not tried, are not excluded" in " ".join(out.split())
    rows = Run(trained).attacks()
    assert [row["attack"] for row in rows].count("verdict") == 3
    assert {row["step"] for row in rows} == {2} and {row["of"] for row in rows} == {"icu"}
    assert [row["attack"] for row in rows if "inference" in row["attack"]] == 3 * ["attribute inference: sex"]
    text, page, plain = ((tmp_path / f"report{end}").read_text() for end in (".md", ".html", ".json"))
    said = rows[-1]["about"]
    for each in (text, page.replace("&#39;", "'")):
        assert said in each and "DOMIAS" in each and "of others" in each
    assert json.loads(plain)["cohorts"]["icu at step 2"][-1]["about"] == said
    assert not any("anonym" in each for each in (text, page, plain, said))


def test_the_data_card_has_the_verdict_and_the_archive_the_rows(trained, tmp_path):
    assert main(["attack", str(trained), "--quiet"]) == 0
    assert main(["sample", str(trained), "--count", "9", "--out", str(tmp_path / "c.csv"), "--quiet"]) == 0
    card = (tmp_path / "c.csv.card.md").read_text()
    assert Run(trained).attacks()[-1]["about"] in card and "No attack was run" not in card
    assert main(["pack", str(trained), "--out", str(tmp_path / "run.zip")]) == 0
    assert main(["unpack", str(tmp_path / "run.zip"), "--out", str(tmp_path / "back")]) == 0
    assert Run(tmp_path / "back").attacks() == Run(trained).attacks()


def test_a_file_is_attacked_beside_the_run_it_is_from(trained, tmp_path, capsys):
    cohort = str(tmp_path / "c.csv")
    assert main(["sample", str(trained), "--count", "300", "--out", cohort, "--quiet"]) == 0
    before = len(Run(trained).attacks())
    assert main(["attack", cohort, "--data", str(trained), "--report", str(tmp_path / "r.json"), "--quiet"]) == 0
    rows = json.loads((tmp_path / "r.json").read_text())["cohorts"]["c.csv"]
    assert {row["released"] for row in rows[:-1]} == {"samples"}
    assert len(Run(trained).attacks()) == before
    capsys.readouterr()
    for arguments, said in [
        ([cohort], "name the real data, or the run it is from, with --data"),
        ([cohort, "--data", str(trained), "--shadows", "2"], "--shadows needs a run"),
        ([str(trained), "--report", "x.pdf"], "a privacy report is written as .html, .md, .json"),
        ([str(trained), "--secret", "agee"], "did you mean 'age'"),
        ([str(trained), "--reference", "1.5"], "reference must lie between 0 and 1"),
        ([str(trained), "--isolated", "0"], "isolated must lie between 0 and 1"),
        ([str(trained), "--released", "everything"], "samples"),
        (["nowhere"], "no run matches 'nowhere'"),
    ]:
        assert main(["attack", *arguments, "--quiet"]) == 2
        error = capsys.readouterr().err.strip()
        assert said in error and len(error.splitlines()) == 1, error
