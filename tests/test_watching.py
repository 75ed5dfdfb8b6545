"""What is logged of gradients and of similarity while training is right, cheap to lose, and the same in any pieces."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from scipy.stats import wasserstein_distance

from families import cohort
from vitalsynth import checkpoints, sources, training
from vitalsynth.commands.branch import branch
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.prune import prune
from vitalsynth.commands.report import report
from vitalsynth.commands.sample import sample
from vitalsynth.commands.train import train
from vitalsynth.differential import Privacy
from vitalsynth.discriminators import Convolutional
from vitalsynth.evaluation import fidelity, ladder
from vitalsynth.generators import LSTM
from vitalsynth.learner import Learner
from vitalsynth.monitoring import gradients
from vitalsynth.monitoring.similarity import Comparison, Similarity, apart_along, discrepancy
from vitalsynth.monitoring.watchers import watchers
from vitalsynth.objectives import NonSaturating, Wasserstein
from vitalsynth.reporting import figures
from vitalsynth.runs import Run, pruning

DATA = cohort(160)
SMALL = {
    "generator": partial(LSTM, hidden=8),
    "discriminator": partial(Convolutional, width=8, blocks=1),
    "batch": 8,
    "quiet": True,
    "checkpoint_every": 10,
    "gradients": 3,
    "similarity": Similarity(every=4, count=32),
}
MEASURES = {"mmd", "sliced_wasserstein", "autocorrelation", "two_sample"}


def small(out, steps, **settings):
    return train(DATA, **{"out": str(out), "steps": steps, **SMALL, **settings})


def rows_of(run):
    return list(map(json.loads, (run.path / "log.jsonl").read_bytes().splitlines()))


def steps_with(run, beginning):
    return [row["step"] for row in rows_of(run) if any(key.startswith(beginning) for key in row)]


@pytest.mark.parametrize("settings", [{}, {"objective": partial(Wasserstein, discriminator_steps=2), "clip": 0.1}])
def test_a_watched_run_in_pieces_is_the_run_in_one(tmp_path, settings):
    straight = small(tmp_path / "straight", 24, condition="died", **settings)
    small(tmp_path / "pieces", 5, condition="died", **settings)  # between a measured step and the one before
    for steps in (6, 11, 23, 24):
        pieces = continue_([str(tmp_path / "pieces")], steps=steps, quiet=True, data=DATA)[0]
    assert (straight.path / "log.jsonl").read_bytes() == (pieces.path / "log.jsonl").read_bytes()
    assert steps_with(straight, "gradients.") == list(range(3, 25, 3))
    assert steps_with(straight, "similarity.") == [4, 8, 10, 12, 16, 20, 24]


def test_looking_on_changes_nothing(tmp_path):
    watched = small(tmp_path / "watched", 12)
    alone = small(tmp_path / "alone", 12, gradients=0, similarity=Similarity(every=0))
    kept = [
        {key: value for key, value in row.items() if not key.startswith(("gradients.", "similarity."))}
        for row in rows_of(watched)
    ]
    assert kept == rows_of(alone) != rows_of(watched)
    ours, theirs = (checkpoints.load(run.checkpoint(12))[0]["networks"] for run in (watched, alone))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_figures_of_a_layer_are_what_they_say(tmp_path):
    """Against the definitions, on two steps that are really taken, with plain gradient descent."""
    descent = partial(torch.optim.SGD, lr=0.1)
    run = small(tmp_path / "run", 3, generator_optimizer=descent, discriminator_optimizer=descent)
    logged = rows_of(run)[2]
    learner, plan = Learner.build(run.record, torch.device("cpu")), training.Plan.of(run.record)
    data = run.preparation.encode(run.data(DATA)[0])
    before: dict[str, torch.Tensor] = {}
    for _ in range(3):
        before = {name: p.detach().clone() for player in learner.trains.values() for name, p in player.items()}
        training.take_step(learner, data, plan)
    first = gradients.gradients(learner.trains)
    first = {name: g.clone() for name, g in first.items()}
    training.take_step(learner, data, plan)
    second = gradients.gradients(learner.trains)
    flat = lambda parts, layer: torch.cat([v.flatten() for k, v in parts.items() if gradients.layer(k) == layer])  # noqa: E731
    layers = {gradients.layer(name) for name in before}
    assert "discriminator.blocks.0.1" in layers and "generator.recurrence" in layers
    for layer in layers:
        g, h, w = (flat(parts, layer) for parts in (first, second, before))
        told = {
            key.rpartition(".")[2]: v for key, v in logged.items() if key.rpartition(".")[0] == f"gradients.{layer}"
        }
        assert told["norm"] == pytest.approx(float(g.norm()), rel=1e-4)
        assert told["dead"] == pytest.approx(float((g == 0).float().mean()))
        assert told["update"] == pytest.approx(0.1 * float(g.norm() / w.norm()), rel=1e-2)
        assert told["cosine"] == pytest.approx(float(torch.cosine_similarity(g, h, dim=0)), abs=1e-4)


def test_random_features_estimate_the_mmd_of_the_exact_kernel(rng):
    x, y = rng.standard_normal((150, 5)), rng.standard_normal((120, 5)) * 1.5 + 0.3
    bandwidths = np.repeat([1.0, 3.0], 20_000)
    frequencies, phases = rng.standard_normal((5, len(bandwidths))) / bandwidths, rng.uniform(0, 2 * np.pi, 40_000)
    waves = [np.cos(points @ frequencies + phases) for points in (x, y)]
    exact = fidelity.unbiased_mmd(x, y, partial(fidelity.rbf_mixture, bandwidths=[1.0, 3.0]))[0]
    assert exact > 0.03
    assert discrepancy(*waves) == pytest.approx(exact, abs=0.003)


def test_distances_along_directions_are_wasserstein_distances(rng):
    x, y = rng.standard_normal((50, 3)), rng.standard_normal((50, 3)) * 2 + 1
    assert apart_along(x, y) == pytest.approx(np.mean([wasserstein_distance(x[:, j], y[:, j]) for j in range(3)]))


@pytest.fixture(scope="module")
def stays():
    whole = sources.read("icu-demo")
    return whole.split_at(whole.cut(0.4, 0), 0)


def test_measures_are_small_for_real_sequences_and_grow_with_what_is_wrong(stays):
    train_part, test = stays
    order = np.random.default_rng(0).permutation(len(test))  # as they come, they are of other hospitals
    real, other = test.take(order[:250]), test.take(order[250:500])
    comparison = Comparison(train_part, real, ("died",))
    floor = comparison.figures(other)
    assert floor.keys() >= MEASURES
    assert floor["mmd"] < 0.003 and floor["two_sample"] == pytest.approx(0.5, abs=0.08)
    for rung, seen_by in {
        "noise": MEASURES,
        "collapsed": MEASURES,
        "shuffled steps": {"autocorrelation", "two_sample"},
    }.items():
        found = comparison.figures(ladder.RUNGS[rung](other, train_part, 0.5, np.random.default_rng(0)))
        for measure in seen_by:
            assert found[measure] > floor[measure] + 0.003, (rung, measure, found[measure], floor[measure])


def test_a_class_gone_wrong_shows_in_its_own_figures(stays):
    train_part, test = stays
    died = test.static_column("died") == 1
    real = test.take(np.concatenate([np.flatnonzero(died)[:30], np.flatnonzero(~died)[:80]]))
    values = real.values.copy()
    values[real.static_column("died") == 1] += 20
    comparison = Comparison(train_part, real, ("died",))
    wrong, right = (comparison.figures(s) for s in (replace(real, values=values), real))
    assert wrong["mmd[died=1]"] > right["mmd[died=1]"] + 0.05
    assert wrong["mmd[died=0]"] == right["mmd[died=0]"]
    assert set(wrong) == {f"{m}{c}" for m in MEASURES for c in ("", "[died=0]", "[died=1]")}


def test_nobody_looks_at_held_out_patients_under_privacy(tmp_path, capsys):
    run = train(
        DATA,
        out=str(tmp_path / "run"),
        steps=6,
        normalise="minmax",
        generator=partial(LSTM, hidden=8),
        discriminator=partial(Convolutional, width=8, blocks=1),
        objective=NonSaturating,
        privacy=Privacy(100.0, noise=1.0, length=6, public="all"),
        limits={"hr": "0:200", "temp": "30:45", "age": "0:120"},
        gradients=2,
        similarity=Similarity(every=2, count=32),
        batch=8,
    )
    assert "under --privacy nobody looks at held-out patients" in capsys.readouterr().err
    assert run.record["similarity"]["every"] == 0
    assert not steps_with(run, "similarity.") and steps_with(run, "gradients.") == [2, 4, 6]
    assert not any(key.endswith(".cosine") for row in rows_of(run) for key in row)  # an unpaid look ahead


def test_nothing_to_be_similar_to(tmp_path):
    for name, settings in {"few": {"held_out": 0.1}, "none": {"held_out": 0.0}}.items():
        assert not steps_with(small(tmp_path / name, 4, **settings), "similarity.")


def test_a_run_of_before_is_not_watched(tmp_path):
    run = small(tmp_path / "run", 2)
    run.record = {key: value for key, value in run.record.items() if key not in ("gradients", "similarity")}
    train_part, held_out = run.data(DATA)
    assert watchers(run, run.preparation.encode(train_part), train_part, held_out) == []
    assert pruning.most_similar(run) is None


def test_the_best_checkpoint_is_kept_and_can_be_sampled(tmp_path, capsys):
    run = small(tmp_path / "run", 45)
    logged = {row["step"]: row["similarity.mmd"] for row in rows_of(run) if "similarity.mmd" in row}
    best = min((10, 20, 30, 40), key=logged.__getitem__)
    log = run.path / "log.jsonl"
    assert pruning.most_similar(run) == best
    (file,) = sample(str(run.path), count=3, checkpoint="best", quiet=True)
    assert file.name.startswith(f"{best:08d}-3-")
    two = pruning.best(run, "two_sample")
    assert two == min((10, 20, 30, 40), key=lambda s: rows_of(run)[s - 1]["similarity.two_sample"])
    prune([str(run.path)], quiet=True)
    assert checkpoints.steps(run.checkpoints) == sorted({best, 45})
    log.write_text("")
    with pytest.raises(ValueError, match=r"no checkpoint that .* still has was compared by mmd"):
        pruning.named(run, "best")
    with pytest.raises(ValueError, match="--checkpoint takes a step, or best; got 'last'"):
        pruning.named(run, "last")


def test_a_branch_watches_as_it_is_told(tmp_path):
    small(tmp_path / "run", 10)
    made = branch([str(tmp_path / "run")], out=str(tmp_path / "b"), steps=20, data=DATA, quiet=True, gradients=5)[0]
    assert steps_with(made, "gradients.") == [15, 20] and steps_with(made, "similarity.") == [12, 16, 20]


def test_the_clock_says_how_long_looking_on_took(tmp_path):
    run = small(tmp_path / "run", 10)
    end = [json.loads(line) for line in (run.path / "clock.jsonl").read_text().splitlines()][-1]
    assert set(end["watching"]) == {"gradients", "similarity"}
    assert 0 < sum(end["watching"].values()) < end["seconds"]


@pytest.mark.parametrize("wrong", [{"every": -1}, {"count": 5}, {"count": 5000}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="similarity"):
        Similarity(**wrong)


def test_settings_are_taken_from_the_command_line(tmp_path):
    from vitalsynth.cli import main

    arguments = ["train", "icu-demo", "--out", str(tmp_path / "r"), "--steps", "2", "--quiet", "--gradients", "1"]
    arguments += ["--similarity.every", "2", "--similarity.best", "two_sample", "--generator.hidden", "8"]
    assert main(arguments) == 0
    run = Run(tmp_path / "r")
    assert run.record["similarity"] == {"every": 2, "count": 256, "best": "two_sample"}
    assert steps_with(run, "gradients.") == [1, 2] and steps_with(run, "similarity.") == [2]
    assert main(["branch", str(run.path), "--out", str(tmp_path / "b"), "--similarity.every", "0"]) == 0
    assert Run(tmp_path / "b").record["similarity"] == {"every": 0, "count": 256, "best": "two_sample"}


def test_the_report_draws_losses_by_gradient_norm_and_similarity_by_measure(tmp_path):
    run = small(tmp_path / "run", 24, condition="died")
    log = run.log()
    groups = figures.terms(log)
    assert groups["mmd"][0] == "similarity.mmd" and "similarity.mmd[died=0]" in groups["mmd"]
    assert not any(column.startswith("gradients.") for columns in groups.values() for column in columns)
    assert figures.losses(log) == ["discriminator.adversarial", "generator.adversarial"]
    drawn = figures.coloured(log, "generator.adversarial")
    (line,) = [part for part in drawn.axes[0].collections if isinstance(part, LineCollection)]
    np.testing.assert_allclose(np.asarray(line.get_array()), log["generator.gradient_norm"].to_numpy()[:-1])
    (path,) = report([str(run.path)], data=DATA, count=20)
    assert "generator.adversarial over the steps of training, coloured" in path.read_text()
