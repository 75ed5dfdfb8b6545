"""What a mean of random features costs and says: its law is that of a kernel, one patient changes it by at most 1."""

import json
import math
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from families import cohort
from test_differential import PROMISE, limits, log_of, private, state_of
from vitalsynth import differential, generators, objectives
from vitalsynth.commands.audit import audit
from vitalsynth.commands.branch import branch
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.train import train
from vitalsynth.differential import Mechanism, epsilon
from vitalsynth.discriminators import Convolutional
from vitalsynth.embedding import Embedding, Matching
from vitalsynth.runs import Run
from vitalsynth.sequences import Block, Encoded, Shape

MEAN = {
    "generator": partial(generators.LSTM, hidden=8),
    "discriminator": partial(Embedding, features=50),
    "objective": Matching,
}


def encoded_cohort():
    """Return encoded sequences of 20 patients with two sequences each."""
    known = differential.known(replace(cohort(40), schema=cohort().schema.limited((), limits())), PROMISE)
    preparation = differential.prepare(known, ("died",), PROMISE)
    return preparation.encode(known), preparation, [np.array([2 * j, 2 * j + 1]) for j in range(20)]


def released(embedding, data, members, noise=0.0, sequences=1):
    privacy = replace(PROMISE, noise=noise, sequences=sequences)
    mechanism = Mechanism(privacy, members, 10, lambda count, seed: torch.zeros(count, 1), key="of this test")
    return mechanism.release(partial(embedding.total, data), torch.device("cpu"))


def test_features_are_those_of_the_kernel():
    """Of windows that are everything, and one scale: exp(-s²|x - y|² / 2m), m columns (Rahimi and Recht 2007)."""
    shape = Shape(1, (Block("continuous"),))
    embedding = Embedding(shape, features=40_000, coarse=1.5, fine=1.5)
    x = torch.tensor([[[0.3]], [[1.1]]])
    one, other = embedding.features(Encoded(x, torch.zeros(2, 0), torch.zeros(2, 0)))
    assert one @ other == pytest.approx(math.exp(-(1.5**2) * 0.8**2 / 2), abs=0.01)


@pytest.mark.parametrize("image", [None, (6, 5, 1)])
def test_features_look_at_windows_of_all_sizes(image):
    embedding = Embedding(Shape(6, (Block("continuous"),) * 5, image=image), features=500)
    seen = embedding.frequencies.t().reshape(500, 6, 5) != 0
    times, columns = (seen.any(dim=axis).sum(dim=1) for axis in (2, 1))
    assert {*times.tolist()} == {1, 2, 3, 4, 5, 6} and {*columns.tolist()} == {1, 2, 3, 4, 5}
    edges = seen.any(dim=1).int().diff(dim=1).abs().sum(dim=1)
    assert (edges.max() <= 2) == (image is not None)  # places of a picture that are near each other, any channels


@pytest.mark.parametrize("sequences", [1, 2])
def test_one_patient_changes_the_sum_by_no_more_than_1(sequences):
    data, preparation, members = encoded_cohort()
    embedding = Embedding(preparation.shape, features=50)
    x, condition = data.x.clone(), data.condition.clone()
    x[6:8], condition[6:8] = 1e4 * torch.randn_like(x[6:8]), 1e4
    without = [own if j != 3 else own[:0] for j, own in enumerate(members)]
    whole, other = (
        released(embedding, d, members, 0.0, sequences) for d in (data, replace(data, x=x, condition=condition))
    )
    rest = released(embedding, data, without, 0.0, sequences)
    assert 0.1 < (whole - rest).norm() <= 1 + 1e-4
    assert 0.1 < (other - rest).norm() <= 1 + 1e-4


def test_the_sum_is_that_of_brute_force_with_the_noise_that_is_accounted_for():
    data, preparation, members = encoded_cohort()
    embedding = Embedding(preparation.shape, features=2000)
    each = torch.einsum("nt,nf->ntf", embedding.told(data.condition), embedding.features(data))
    exact = released(embedding, data, members, 0.0, sequences=2)
    torch.testing.assert_close(exact, each.sum(dim=0) / 2, rtol=1e-4, atol=1e-5)
    noise = released(embedding, data, members, 3.0, sequences=2) - exact
    assert noise.std().item() == pytest.approx(3.0, rel=0.03)


def test_the_loss_is_without_bias_and_that_of_a_hand_worked_batch():
    data, preparation, _ = encoded_cohort()
    embedding = Embedding(preparation.shape, features=50)
    embedding.learn(embedding.total(data, torch.arange(40), torch.full((40,), 1 / 40)))
    few = data.take(slice(0, 6))

    class Given(torch.nn.Module):
        def forward(self, noise, condition):
            return few

    (found,) = (
        Matching()
        .loss(
            "generator",
            {"generator": Given(), "discriminator": embedding},
            objectives.Batch(few, torch.zeros(6, 1)),
            0,
        )
        .values()
    )
    told = embedding.told(few.condition)
    each = torch.einsum("nt,nf->ntf", told, embedding.features(few)) / told.square().mean(dim=0).sqrt()[:, None]
    mean = (embedding.mean / told.square().mean(dim=0).sqrt()[:, None]).flatten()
    each = each.flatten(1)
    pairs = torch.stack([each[j] @ each[k] for j in range(6) for k in range(6) if j != k]).mean()
    assert found.item() == pytest.approx((pairs - 2 * each.mean(dim=0) @ mean + mean @ mean).item(), abs=1e-5)


def test_a_generator_learns_what_the_mean_says(tmp_path):
    data = cohort(400)
    settings = {
        **MEAN,
        "discriminator": partial(Embedding, features=300),
        "generator": partial(generators.LSTM, hidden=16),
    }
    quick = {"generator_optimizer": partial(torch.optim.Adam, lr=1e-2), "average": 0.9}
    run = train(
        data, out=str(tmp_path / "run"), steps=60, batch=64, normalise="minmax", quiet=True, **settings, **quick
    )
    losses = [row["generator.discrepancy"] for row in log_of(run)]
    assert np.mean(losses[-5:]) < 0.2 * losses[0]


def test_the_data_cost_once_however_long_a_generator_learns(tmp_path):
    run = private(tmp_path / "run", 4, replace(PROMISE, epsilon=3, noise=0.0), condition="died", **MEAN)
    state = state_of(run)
    assert state["spent"] == [(20.0, 1.0, 1), (run.record["privacy"]["noise"], 1.0, 1)]
    assert 2.9 < state["epsilon"] <= 3 and state["epsilon"] == pytest.approx(epsilon(state["spent"], 1e-5))
    (longer,) = continue_(str(run.path), steps=9, quiet=True, data=cohort())
    assert state_of(longer) == state and len(log_of(longer)) == 9
    (child,) = branch(str(run.path), out=str(tmp_path / "child"), steps=12, data=cohort(), quiet=True)
    assert state_of(child) == state
    mean = [Run(path).newest()[0]["networks"]["discriminator.mean"] for path in (longer.path, child.path)]
    assert torch.equal(*mean)


def test_an_interrupted_run_is_the_run_that_never_was(tmp_path):
    whole = private(tmp_path / "whole", 6, PROMISE, condition="died", **MEAN)
    for kept in (4, 0):  # stopped after a checkpoint, and before there was any
        again = tmp_path / f"again{kept}"
        shutil.copytree(whole.path, again)
        for folder in (again / "checkpoints").iterdir():
            if int(folder.name) > kept:
                shutil.rmtree(folder)
        if not kept:
            (again / "log.jsonl").write_text("")
        (found,) = continue_(str(again), steps=6, quiet=True, data=cohort())
        assert log_of(found) == log_of(whole) and state_of(found) == state_of(whole)
        for name, value in found.newest()[0]["networks"].items():
            assert torch.equal(value, whole.newest()[0]["networks"][name]), name


def test_a_mean_that_the_budget_does_not_pay_for_is_refused_in_a_line(tmp_path):
    with pytest.raises(ValueError, match="costs more than the budget of epsilon 1;") as refused:
        private(tmp_path / "run", 2, replace(PROMISE, epsilon=1, noise=0.5), **MEAN)
    assert "\n" not in str(refused.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"discriminator": Convolutional}, "--discriminator Embedding"),
        ({"objective": objectives.NonSaturating}, "needs a discriminator that learns"),
    ],
)
def test_neither_goes_without_the_other(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        train(cohort(), out=str(tmp_path / "run"), steps=1, batch=8, quiet=True, **{**MEAN, **settings})


def test_what_has_no_gradients_of_patients_has_none_to_audit(tmp_path):
    run = private(tmp_path / "run", 1, **MEAN)
    with pytest.raises(ValueError, match="learned from one mean of the data"):
        audit(str(run.path), out=str(tmp_path / "audit"), data=cohort(), quiet=True)


def test_the_preset_takes_a_budget_from_the_command_line(tmp_path, capsys):
    from vitalsynth import cli

    out = str(tmp_path / "run")
    given = [
        "train",
        "icu-demo",
        "--preset",
        "differential",
        "--condition",
        "died",
        "--out",
        out,
        "--steps",
        "1",
        "--batch",
        "8",
    ]
    given += ["--discriminator.features", "20", "--generator.hidden", "4", "--quiet", "--privacy.epsilon", "3"]
    public = ["--privacy.length", "25", "--privacy.public", "all"]
    bounds = "hr=0:300,resp=0:80,o2sat=0:100,map=0:250,sbp=0:300,dbp=0:250,temp=25:45,age=0:90"
    assert cli.main([*given, *public, "--limits", bounds]) == 0
    assert json.loads((Run(out).path / "run.json").read_text())["privacy"]["epsilon"] == 3
