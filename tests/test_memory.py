"""What training holds at most is told before: allocations are counted, and the rest of the steps is a straight line."""

import re
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

import vitalsynth
from vitalsynth import differential, memory, objectives
from vitalsynth.autoregressive import Autoregressive
from vitalsynth.learner import Learner
from vitalsynth.memory import ALLOWANCE, Need
from vitalsynth.presets import preset


def test_what_is_held_at_most_is_counted_to_the_byte():
    def work():
        first = torch.zeros(1000)
        del first
        both = torch.zeros(300, dtype=torch.float64), torch.zeros(50)
        del both

    assert memory._on_processor(work) == 4000
    assert memory._on_processor(lambda: torch.zeros(300, dtype=torch.float64).sum()) == 2400 + 8


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return lambda name, **more: _trained(name, tmp_path_factory.mktemp(name) / "run", **more)


def _trained(name, path, **more):
    settings = {**preset(name), "steps": 1, "batch": 4, "condition": "died"} | more
    run = vitalsynth.train("icu-demo", out=str(path), quiet=True, **settings)
    part, _ = run.data()
    return run, run.preparation.encode(part), differential.patients(part.subject)


@pytest.mark.parametrize("name", ["rcgan", "strong", "flow"])
def test_few_sequences_tell_of_many(name, trained):
    """What 200 sequences take, counted, is what 16 and 32 say of them; no more than a batch are ever tried."""
    run, encoded, patients = trained(name)
    need = memory.needed({**run.record, "batch": 200}, encoded, run.preparation, patients)
    many = memory._peak({**run.record, "batch": 200}, encoded, run.preparation, patients)
    assert need.of(200) / ALLOWANCE == pytest.approx(many, rel=0.05)
    need = memory.needed(run.record, encoded, run.preparation, patients)
    assert need.of(4) / ALLOWANCE == pytest.approx(memory._peak(run.record, encoded, run.preparation, patients))
    weights = sum(p.nbytes for p in Learner.build(run.record, torch.device("cpu")).average.parameters())
    assert need.fixed > 2 * weights  # the weights and their average


def test_parts_of_a_batch_take_less(trained):
    run, encoded, patients = trained("rcgan")
    whole, parts = (
        memory.needed({**run.record, "batch": 240, "microbatches": n}, encoded, run.preparation, patients)
        for n in (1, 4)
    )
    assert parts.each == pytest.approx(whole.each / 4, rel=0.1)
    assert parts.of(400) < whole.of(400) / 2


def test_measuring_changes_nothing(trained):
    """Neither the random numbers nor the state of whoever measures."""
    run, encoded, patients = trained("rcgan")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    memory.needed(run.record, encoded, run.preparation, patients)
    assert torch.equal(torch.rand(4), expected)


def test_under_privacy_patients_are_worked_out_one_by_one(trained):
    """So a larger batch takes no more."""
    promise = differential.Privacy(epsilon=9, length=25, public="all", noise=1.0)
    public = {
        "limits": "hr=0:300,resp=0:60,o2sat=0:100,map=0:200,sbp=0:300,dbp=0:200,temp=25:45,age=0:120",
        "normalise": "minmax",
        "whiten": 0.0,
    }
    run, encoded, patients = trained("flow", **public, privacy=promise)
    need = memory.needed(run.record, encoded, run.preparation, patients)
    assert 0 <= need.each < 0.1 * memory.needed({**run.record, "privacy": None}, encoded, run.preparation).each


def test_what_cannot_be_trained_is_left_to_others_to_say(trained):
    run, encoded, patients = trained("rcgan")
    broken = {**run.record, "objective": {"class_path": "vitalsynth.objectives.Likelihood", "init_args": {}}}
    assert memory.needed(broken, encoded, run.preparation, patients) is None


GIGABYTE = 1e9 / ALLOWANCE


@pytest.mark.parametrize(
    ("need", "batch", "said"),
    [
        (Need(GIGABYTE, GIGABYTE), 8, ""),
        (Need(GIGABYTE, GIGABYTE), 12, "13.0 GB of memory, and 10.0 GB are free: --microbatches 2 fits, or --batch 9"),
        (Need(GIGABYTE, GIGABYTE), 40, "--microbatches 5 fits, or --batch 9"),
        (Need(GIGABYTE, GIGABYTE / 4, microbatches=4), 60, "--microbatches 10 fits, or --batch 36"),
        (Need(9.5 * GIGABYTE, GIGABYTE), 8, "too little for one sequence"),
    ],
)  # fmt: skip
def test_advice_by_hand(need, batch, said):
    advice = need.advice(batch, 10e9)
    assert advice.endswith(said) and bool(advice) == bool(said)


def test_weights_are_counted_before_they_are_made(trained):
    """Of each player weights, gradients and two moments of Adam, and the average of the generator; 4 bytes each."""
    for name in ("strong", "rcgan"):
        run, *_ = trained(name)
        learner = Learner.build(run.record, torch.device("cpu"))
        sizes = {player: sum(p.numel() for p in network.parameters()) for player, network in learner.networks.items()}
        counters = sum(len(list(network.parameters())) for network in learner.networks.values())
        assert memory.of_weights(run.record) == 4 * (4 * sum(sizes.values()) + sizes["generator"] + counters)


def test_networks_too_large_for_the_machine_are_refused(tmp_path, monkeypatch):
    """Nothing of them was made: terabytes fit nowhere."""
    columns = [f"c{k}" for k in range(110)]
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 110)), columns=columns)
    table.insert(0, "time", np.tile([0, 1], 20))
    table.insert(0, "id", np.repeat(np.arange(20), 2))
    settings = {
        "generator": partial(Autoregressive, hidden=200_000),
        "discriminator": None,
        "objective": objectives.Likelihood,
    }
    with pytest.raises(ValueError, match=r"for 110 columns, gaps included, take about .* TB to train, and .* are free"):
        vitalsynth.train(table, out=str(tmp_path / "run"), quiet=True, **settings)
    assert not (tmp_path / "run").exists()


def test_what_will_not_fit_is_told_in_a_line_and_advice_helps(tmp_path, monkeypatch, caplog):
    """The machine is made small: what is advised fits into it."""
    monkeypatch.setattr(memory, "free", lambda device: 60e6)
    settings = {"steps": 1, "batch": 240, "condition": "died", "quiet": True}
    vitalsynth.train("icu-demo", out=str(tmp_path / "a"), **settings)
    (said,) = [record.getMessage() for record in caplog.records if "are free" in record.getMessage()]
    parts, fewer = map(int, re.search(r"--microbatches (\d+) fits, or --batch (\d+)$", said).groups())
    assert 1 < fewer < 240 and parts > 1
    caplog.clear()
    vitalsynth.train("icu-demo", out=str(tmp_path / "b"), **settings, microbatches=parts)
    vitalsynth.train("icu-demo", out=str(tmp_path / "c"), **{**settings, "batch": fewer})
    assert not [record for record in caplog.records if "are free" in record.getMessage()]


def test_a_training_holds_what_it_said(tmp_path):
    """A process of its own, its resident set; benchmarks/memory.py does it for five models and larger batches."""
    command = [sys.executable, "-m", "vitalsynth", "train", "icu-demo", "--out", str(tmp_path / "run")]
    said = subprocess.run(
        [*command, "--steps", "3", "--batch", "256"], capture_output=True, text=True, check=True
    ).stderr
    told, held = (float(amount) for amount in re.findall(r"^memory: (?:about )?([\d.]+) MB", said, re.MULTILINE))
    assert told == pytest.approx(held, rel=0.15)
    run = vitalsynth.runs.Run(tmp_path / "run")
    assert run.most_memory() == pytest.approx(1e6 * held, rel=1e-3)
