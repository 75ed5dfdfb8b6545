"""What a cohort can be asked to be: going on from a past, measured so and not otherwise, balanced; and its card."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import vitalsynth
from vitalsynth import frames, generators, sampling, sources
from vitalsynth.commands.evaluate import evaluate
from vitalsynth.commands.sample import sample
from vitalsynth.preparation.fixing import Pattern

TINY = {"steps": 3, "checkpoint_every": 3, "batch": 8, "quiet": True}
PASTS = partial(generators.LSTM, hidden=8, pasts=0.5)


@pytest.fixture(scope="module")
def stays():
    return sources.icu_demo().take(slice(0, 120))


@pytest.fixture(scope="module")
def run(stays, tmp_path_factory):
    """A tiny autoregressive run on real vitals, conditioned on the outcome."""
    out = tmp_path_factory.mktemp("runs") / "strong"
    preset = vitalsynth.preset("strong")
    generator = partial(preset["generator"], hidden=8, head=4, components=2, layers=1)
    return vitalsynth.train(stays, out=str(out), condition="died", **preset | TINY | {"generator": generator})


@pytest.fixture(scope="module")
def gan(stays, tmp_path_factory):
    return vitalsynth.train(stays, out=str(tmp_path_factory.mktemp("runs") / "gan"), **TINY)


@pytest.fixture(scope="module")
def gan_with_pasts(stays, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "gan_with_pasts"
    return vitalsynth.train(stays, out=str(out), condition="died", **TINY, generator=PASTS)


@pytest.fixture(scope="module")
def flow_with_pasts(stays, tmp_path_factory):
    out, preset = tmp_path_factory.mktemp("runs") / "flow_with_pasts", vitalsynth.preset("flow")
    generator = partial(preset["generator"], hidden=8, heads=2, blocks=1, pasts=0.5)
    return vitalsynth.train(stays, out=str(out), condition="died", **preset | TINY | {"generator": generator})


def drawn(run, *, count=40, **settings):
    generator, _ = sampling.load_generator(run)
    return sampling.collect(sampling.sample(run, generator, count, **settings))


@pytest.mark.parametrize("which", ["run", "gan_with_pasts", "flow_with_pasts"])
def test_stays_go_on_from_their_past_and_nothing_else(which, request, stays):
    run = request.getfixturevalue(which)
    generator, _ = sampling.load_generator(run)
    past = stays.take(slice(0, 30))
    go_on = lambda stays: sampling.collect(sampling.continued(run, generator, stays, 9, draws=3))  # noqa: E731
    found = go_on(past)
    assert_array_equal(found.subject, np.repeat(past.subject, 3))
    resolution = np.array([column.resolution for column in past.schema.channels])
    begun = np.repeat(past.values[:, :9], 3, axis=0)
    assert_array_equal(np.isnan(found.values[:, :9]), np.isnan(begun))
    assert (np.abs(found.values[:, :9] - begun) <= resolution / 2 + 1e-3)[~np.isnan(begun)].all()
    assert_array_equal(found.static, np.repeat(past.static, 3, axis=0))
    assert (found.values[0, 9:] != found.values[1, 9:]).any()

    blank = past.values.copy()
    blank[:, 9:] = 1e4
    again = go_on(replace(past, values=blank))
    assert_array_equal(again.values, found.values)
    unknown = past.static.copy()
    unknown[:, past.schema.static_index("age")] = np.nan
    ages = go_on(replace(past, static=unknown)).static_column("age")
    assert len(np.unique(ages[~np.isnan(ages)])) > 2


@pytest.mark.parametrize("which", ["run", "gan"])
def test_masks_are_obeyed(which, request, stays):
    run = request.getfixturevalue(which)
    never = drawn(run, pattern=Pattern(never=("temp", "hr")))
    assert np.isnan(never.channel("temp")).all() and np.isnan(never.channel("hr")).all()
    assert 0 < np.isnan(never.channel("map")).mean() < 1
    ward = stays.take(np.isnan(stays.values[:, :, 3]).mean(axis=1) > 0.5)
    alike = drawn(run, pattern=Pattern(like=ward))
    patterns = {row.tobytes() for row in np.isnan(ward.values)}
    assert {row.tobytes() for row in np.isnan(alike.values)} <= patterns
    assert len({row.tobytes() for row in np.isnan(alike.values)}) > 5
    both = drawn(run, pattern=Pattern(never=("temp",), like=ward))
    assert np.isnan(both.channel("temp")).all() and not np.isnan(both.channel("sbp")).all()


def test_a_mask_changes_only_what_it_says_in_a_gan(gan):
    """Values of a GAN do not depend on its masks; so what is measured either way is the same."""
    free, masked = drawn(gan), drawn(gan, pattern=Pattern(never=("temp",)))
    others = [j for j, column in enumerate(free.schema.channels) if column.name != "temp"]
    assert_array_equal(free.values[:, :, others], masked.values[:, :, others])


def test_channels_always_measured_can_be_hidden_too(tmp_path):
    waves = sources.sines(40)
    run = vitalsynth.train(waves, out=str(tmp_path / "run"), **TINY)
    name = waves.schema.channels[1].name
    found = drawn(run, count=5, pattern=Pattern(never=(name,)))
    assert np.isnan(found.channel(name)).all() and np.isnan(found.values).mean() == 1 / len(waves.schema.channels)


def test_the_first_of_many_are_the_few(run, stays):
    pattern = Pattern(like=stays)
    assert_array_equal(drawn(run, count=7, pattern=pattern).values, drawn(run, count=30, pattern=pattern).values[:7])


def test_the_command_line_writes_whose_past_it_was(run, stays, tmp_path):
    frames.save(stays.take(slice(0, 5)), tmp_path / "begun.parquet")
    for suffix in ("csv", "parquet"):
        out = tmp_path / f"on.{suffix}"
        sample(str(run.path), count=4, past=str(tmp_path / "begun.parquet"), past_steps=6, out=str(out), quiet=True)
        table = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
        assert table.groupby("subject").id.nunique().tolist() == [4] * 5
        assert set(table.subject) == set(stays.subject[:5])
    died = sample(
        str(run.path), count=2, condition="died=1", past=str(tmp_path / "begun.parquet"), past_steps=6, quiet=True
    )
    assert frames.load(died[0]).static_column("died").tolist() == [1.0] * 10
    sample(str(run.path), count=4, never="temp,map", pattern="icu-demo", out=str(tmp_path / "no.csv"), quiet=True)
    assert pd.read_csv(tmp_path / "no.csv")[["temp", "map"]].isna().all(axis=None)


def mistake(message, **settings):
    return pytest.param(settings, message, id=message[:30])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        mistake("no channel 'lactat'", never="lactat"),
        mistake("go together", past="icu-demo"),
        mistake("go together", past_steps=3),
        mistake("between 1 and 24 steps", past="icu-demo", past_steps=25),
        mistake("does not go together with", past="icu-demo", past_steps=3, never="temp"),
        mistake("no such file", pattern="nowhere.csv"),
        mistake("no channel 'hr'|schema", pattern="sines"),
    ],
)
def test_mistakes_are_named_in_one_line(run, settings, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        sample(str(run.path), count=2, out=str(tmp_path / "x.csv"), quiet=True, **settings)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_what_cannot_go_on_says_so(gan, run, stays, tmp_path):
    def go_on(run, past, steps=5):
        return next(sampling.continued(run, sampling.load_generator(run)[0], past, steps))

    with pytest.raises(ValueError, match=r"LSTM did not learn to go on from a past; .* with --generator.pasts 0.5, or"):
        go_on(gan, stays)
    lengths = np.where(np.arange(len(stays)) < 4, 3, stays.lengths)
    with pytest.raises(ValueError, match="4 of the 120 sequences end before step 5"):
        go_on(run, replace(stays, lengths=lengths))
    static = stays.static.copy()
    static[:3, stays.schema.static_index("died")] = np.nan
    with pytest.raises(ValueError, match=r"'died', which the run is conditioned on, is unknown in 3 of the .*died="):
        go_on(run, replace(stays, static=static))
    preset = vitalsynth.preset("strong") | TINY | {"normalise": "local"}
    local = vitalsynth.train(stays, out=str(tmp_path / "local"), **preset)
    with pytest.raises(ValueError, match="'hr' is normalised by each whole sequence"):
        go_on(local, stays)
    with pytest.raises(ValueError, match="'hr' is normalised by each whole sequence"):
        vitalsynth.train(stays, out=str(tmp_path / "no"), normalise="local", generator=PASTS, **TINY)
    assert not (tmp_path / "no").exists()

    class Stubborn(generators.LSTM):
        takes_masks = False

    with pytest.raises(ValueError, match="a Stubborn takes no masks"):
        next(sampling.sample(gan, Stubborn(gan.preparation.shape), 1, pattern=Pattern(("hr",))))


def test_a_balanced_cohort_has_as_many_of_each(run):
    died = drawn(run, count=2000, balance="died").static_column("died")
    assert abs(died.mean() - 0.5) < 4 * 0.5 / 2000**0.5 < 0.5 - drawn(run, count=2000).static_column("died").mean()
    with pytest.raises(ValueError, match="--balance: the run is not conditioned on 'dead'; did you mean 'died'"):
        drawn(run, count=5, balance="dead")


def test_a_cohort_does_not_travel_without_its_card(run, tmp_path):
    out = tmp_path / "cohort.csv"
    sample(str(run.path), count=5, condition="died=1", never="temp", seed=3, out=str(out), quiet=True)
    card = (tmp_path / "cohort.csv.card.md").read_text()
    assert "drawn: 5 sequences, seed 3, died 1, never temp" in card
    assert "hidden 8" in card and "ODbL 1.0" in card and "has not been judged" in card
    scores = {"value": 0.7, "low": 0.6, "high": 0.8, "floor": 0.5, "floor_low": 0.45, "floor_high": 0.55}
    row = {"metric": "two-sample AUROC", "label": None, "step": 3, "better": "near floor", "baseline": None}
    run.add_evaluations([row | scores])
    sample(str(run.path), count=5, out=str(tmp_path / "judged.csv"), quiet=True)
    judged = (tmp_path / "judged.csv.card.md").read_text()
    assert "| two-sample AUROC | 0.700 [0.600, 0.800] | 0.500 [0.450, 0.550] | differs from real data |" in judged


def test_what_came_is_set_against_how_it_might_have_gone_on(gan_with_pasts, gan, stays):
    rows = evaluate(str(gan_with_pasts.path), past_steps=12, metrics="coverage", data=stays, quiet=True)
    assert rows[-1]["metric"] == "outside the 80 % band" and 0 <= rows[-1]["value"] <= 1
    assert gan_with_pasts.evaluations()[-1]["metric"] == rows[-1]["metric"]
    with pytest.raises(ValueError, match="did not learn to go on"):
        evaluate([str(gan.path)], past_steps=12, data=stays, quiet=True)
    with pytest.raises(ValueError, match=r"no held-out sequence of .* has more than 25 steps"):
        evaluate([str(gan_with_pasts.path)], past_steps=25, data=stays, quiet=True)
