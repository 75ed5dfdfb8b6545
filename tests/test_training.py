"""The law of part 1: however a run was interrupted, its log and its weights are those of one never interrupted."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import forks
from families import cohort
from vitalsynth import checkpoints, methods, objectives, seeds, storage, training
from vitalsynth.commands.branch import branch
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.merge import merge
from vitalsynth.commands.train import train
from vitalsynth.discriminators import LSTM as Judge
from vitalsynth.discriminators import Convolutional, Projected
from vitalsynth.flows import Flow
from vitalsynth.generators import GRU, LSTM
from vitalsynth.learner import Learner
from vitalsynth.optimizers import OptimisticAdam
from vitalsynth.runs import Run, rows
from vitalsynth.sequences import Encoded

SMALL = {
    "discriminator": partial(Convolutional, width=8, blocks=1),
    "batch": 8,
    "quiet": True,
    "checkpoint_every": 20,
}


def small(out, steps=40, **settings):
    return train(
        cohort(), **{"out": str(out), "steps": steps, "generator": partial(LSTM, hidden=8), **SMALL, **settings}
    )


def log_of(run):
    return (Run(run).path / "log.jsonl").read_bytes()


def weights_of(run, step):
    folder = Run(run).checkpoints / f"{step:08d}"
    return load_file(folder / "networks.safetensors") | load_file(folder / "optimizers.safetensors")


def assert_same_run(a, b, step):
    assert log_of(a) == log_of(b)
    ours, theirs = weights_of(a, step), weights_of(b, step)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("condition", ["", "died"])
@pytest.mark.parametrize("network", ["LSTM", "GRU"])
def test_400_steps_are_150_and_250_and_ten_kills(tmp_path, network, condition):
    """Straight, in two pieces, and killed with SIGKILL at ten random moments: one and the same run."""
    sizes = "--generator.hidden 8 --discriminator.hidden 8 --batch 8 --checkpoint_every 30 --steps 400 --quiet"
    settings = [*sizes.split(), "--condition", condition, "--generator", network, "--discriminator", network]
    straight, pieces, killed = (tmp_path / name for name in ("straight", "pieces", "killed"))
    forks.run("train", "icu-demo", "--out", straight, *settings)
    forks.run("train", "icu-demo", "--out", pieces, *settings, "--steps", "150")
    forks.run("continue", pieces, "--steps", "400", "--quiet")
    assert_same_run(straight, pieces, 400)

    moments = random.Random(network + condition)
    kills = 0
    targets = sorted(moments.randrange(0, 380) for _ in range(10))
    words = ["train", "icu-demo", "--out", killed, *settings]
    for target in targets:
        process = forks.start(*words)
        while process.is_alive() and _rows(killed) < target:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        if (killed / "run.json").exists():
            words = ["continue", killed, "--steps", "400", "--quiet"]
    assert kills == 10
    forks.run(*words)
    assert_same_run(straight, killed, 400)


def _rows(run):
    log = run / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": partial(objectives.Wasserstein, discriminator_steps=2, estimator="finite-difference")},
        {"objective": partial(objectives.NonSaturating, noisy=True), "discriminator": partial(Judge, hidden=8)},
        {"objective": objectives.Hinge, "generator": partial(GRU, hidden=8, layers=2), "normalise": "local"},
        {"generator_optimizer": partial(torch.optim.SGD, lr=0.01, momentum=0.5), "average": 0.9},
        {"precision": "bfloat16"},
        {"objective": partial(objectives.Relativistic, every=4)},
        {"clip": 0.05},
        {"generator": partial(GRU, hidden=8, pasts=0.5), "condition": "died"},
        {"condition": "sex,died", "balance": "died"},
        {
            "generator": partial(Flow, hidden=8, blocks=1, pasts=0.5),
            "objective": objectives.FlowMatching,
            "discriminator": None,
        },
        {"method": methods.Extragradient, "discriminator": partial(Judge, hidden=8)},
        {"method": partial(methods.Consensus, weight=0.1), "discriminator": partial(Judge, hidden=8)},
        {"method": partial(methods.Lookahead, every=7)},
        {"method": partial(methods.Lookahead, every=7, within="extragradient"), "clip": 0.05},
        {"generator_optimizer": OptimisticAdam, "discriminator_optimizer": partial(OptimisticAdam, betas=[0.5, 0.9])},
    ],
    ids=[
        "wasserstein",
        "noisy labels",
        "hinge",
        "sgd",
        "bfloat16",
        "lazy",
        "clip",
        "pasts",
        "balance",
        "flow with pasts",
        "extragradient",
        "consensus",
        "lookahead",
        "lookahead at extragradient",
        "optimistic",
    ],
)
def test_pieces_make_the_whole_for_other_settings(tmp_path, settings):
    small(tmp_path / "straight", 40, **settings)
    small(tmp_path / "pieces", 13, **settings)
    continue_([str(tmp_path / "pieces")], steps=40, quiet=True, data=cohort())
    assert_same_run(tmp_path / "straight", tmp_path / "pieces", 40)


def test_a_branch_and_a_merge_within_a_lookahead_are_the_run_itself(tmp_path):
    """Where the players will go back to comes along; with another method it is forgotten."""
    lookahead = partial(methods.Lookahead, every=9)
    small(tmp_path / "straight", 40, method=lookahead)
    small(tmp_path / "parent", 20, method=lookahead)
    branch([str(tmp_path / "parent")], out=str(tmp_path / "branch"), steps=40, data=cohort(), quiet=True)
    merge([str(tmp_path / "parent"), str(tmp_path / "branch")], out=str(tmp_path / "merged"))
    assert_same_run(tmp_path / "straight", tmp_path / "merged", 40)
    other = partial(methods.Lookahead, every=9, share=0.9)
    branch([str(tmp_path / "parent")], out=str(tmp_path / "other"), method=other, data=cohort(), quiet=True)
    kept, forgotten = (checkpoints.load(Run(tmp_path / name).checkpoint(20))[0] for name in ("parent", "other"))
    assert "method" in kept and "method" not in forgotten


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": methods.Extragradient, "objective": objectives.Wasserstein}, "discriminator_steps 1"),
        (
            {"method": partial(methods.Lookahead, within="simultaneous"), "objective": objectives.Wasserstein},
            "one turn",
        ),
        ({"method": partial(methods.Lookahead, every=0)}, "lookahead needs every"),
        ({"method": partial(methods.Consensus, weight=-1.0)}, "at least 0"),
    ],
)
def test_methods_that_cannot_play_are_refused_in_a_line(tmp_path, settings, said):
    with pytest.raises(ValueError, match=said):
        small(tmp_path / "run", 2, **settings)
    assert not (tmp_path / "run").exists()


def test_a_stopped_run_is_saved_and_exits_75(tmp_path):
    arguments = ["train", "icu-demo", "--out", str(tmp_path / "run"), "--steps", "100000", "--batch", "8"]
    arguments += ["--generator.hidden", "8", "--discriminator.hidden", "8"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vitalsynth", *arguments], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    while _rows(tmp_path / "run") < 20:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 75
    run = Run(tmp_path / "run")
    (step,) = checkpoints.steps(run.checkpoints)
    assert step == _rows(run.path)
    assert f"stopped at step {step}; carry on with: vitalsynth continue" in said.splitlines()[-1]


class Watching(objectives.Hinge):
    """Notes on how many threads each step is taken."""

    threads: ClassVar[list[int]] = []

    def players(self, step):
        self.threads.append(torch.get_num_threads())
        return super().players(step)


def test_a_run_keeps_its_number_of_threads(tmp_path):
    """Sums round differently on two threads, so a run carried on elsewhere trains on as many as it began with."""
    small(tmp_path / "run", 2, objective=Watching)
    torch.set_num_threads(2)
    try:
        continue_([str(tmp_path / "run")], steps=4, quiet=True, data=cohort())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert set(Watching.threads) == {1} and len(Watching.threads) >= 4


@pytest.mark.parametrize(
    ("said", "asked", "taken"), [("", 0, 1), ("2", 0, 2), ("3,2", 0, 3), ("many", 0, 1), ("3", 2, 2)]
)
def test_a_run_takes_one_thread_unless_more_are_asked_for(tmp_path, monkeypatch, said, asked, taken):
    """However many PyTorch would take."""
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr(Watching, "threads", [])
    small(tmp_path / "run", 2, objective=Watching, threads=asked)
    assert max(Watching.threads) == taken
    with pytest.raises(ValueError, match="--threads must be 0 or more, got -1"):
        small(tmp_path / "none", 2, threads=-1)


def test_a_command_takes_one_thread_unless_more_are_asked_for(tmp_path):
    """Judges, too; a process of its own, where PyTorch has not counted the cores yet."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    told = "from vitalsynth.cli import main; main(['list']); import torch; print(torch.get_num_threads())"
    for said, taken in (({}, "1"), ({"OMP_NUM_THREADS": "2"}, "2")):
        done = subprocess.run([sys.executable, "-c", told], env=environment | said, cwd=tmp_path, stdout=-1, text=True)
        assert done.stdout.split()[-1] == taken


def test_training_leaves_the_callers_random_numbers_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    small(tmp_path / "run", 3)
    assert torch.equal(torch.rand(3), expected)


def test_the_average_starts_short_and_ends_long():
    network, average = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(network.parameters())
    learner = Learner({"generator": network}, average, {"generator": optimizer})
    for value, step, decay in ((1.0, 0, 0.1), (5.0, 10, 11 / 20), (7.0, 100_000, 0.99)):
        with torch.no_grad():
            network.weight.fill_(value)
        before, learner.step = average.weight.item(), step
        training._average(learner, 0.99)
        assert average.weight.item() == pytest.approx(decay * before + (1 - decay) * value, rel=1e-5)


def test_groups_are_equally_frequent_and_all_of_each_are_seen():
    groups = [np.arange(0, 50, 2), np.array([1]), np.arange(3, 50, 2)]
    batches = [seeds.balanced_index(3, step, 0, 10, groups) for step in range(150)]
    counts = np.bincount(torch.cat(batches).numpy(), minlength=50)
    assert [counts[members].sum() for members in groups] == [500, 500, 500]
    assert [int(counts[members].max() - counts[members].min()) for members in groups] == [0, 0, 1]
    assert all(abs(int((batch == 1).sum()) - 10 / 3) < 1 for batch in batches)
    assert torch.equal(batches[7], seeds.balanced_index(3, 7, 0, 10, groups))
    assert not torch.equal(batches[7], seeds.balanced_index(3, 7, 1, 10, groups))
    assert len(seeds.balanced_index(3, 7, 0, 1, groups)) == 1


def test_balanced_batches_have_as_many_of_each_and_samples_as_the_data_have(tmp_path, monkeypatch):
    seen, played = [], objectives.Hinge.loss
    monkeypatch.setattr(
        objectives.Hinge,
        "loss",
        lambda self, player, networks, batch, step: (
            seen.append(batch.real.condition) or played(self, player, networks, batch, step)
        ),
    )
    run = small(tmp_path / "run", 4, objective=objectives.Hinge, condition="died", balance="died")
    assert run.record["balance"] == "died"
    assert len(seen) == 10 and all(condition.sum() == 4 for condition in seen)  # the rehearsal's two, too
    assert run.preparation.conditions(4000).mean() == pytest.approx(0.25, abs=0.07)
    branched = branch([str(tmp_path / "run")], out=str(tmp_path / "plain"), balance="", data=cohort(), quiet=True)
    assert branched[0].record["balance"] == ""


@pytest.mark.parametrize("clip", [0.0, 1e-3, 1e3])
def test_clipping_bounds_the_norm_of_a_step(tmp_path, clip):
    """With plain gradient descent a step's length is the rate times the norm in the log, or times the limit."""
    descent = partial(torch.optim.SGD, lr=0.1)
    run = small(tmp_path / "run", 1, generator_optimizer=descent, discriminator_optimizer=descent, clip=clip)
    learner, data = Learner.build(run.record, torch.device("cpu")), run.preparation.encode(run.data(cohort())[0])
    before = {player: [p.detach().clone() for p in n.parameters()] for player, n in learner.networks.items()}
    row = training.take_step(learner, data, training.Plan.of(run.record))
    for player, network in learner.networks.items():
        after = list(network.parameters())
        moved = sum(float((a - b).detach().square().sum()) for a, b in zip(after, before[player], strict=True)) ** 0.5
        norm = row[f"{player}.gradient_norm"]
        assert 2e-3 < norm < 1e3  # what is logged is not clipped
        assert moved == pytest.approx(0.1 * min(norm, clip or norm), rel=1e-3)


def test_an_epoch_shows_every_sequence_once():
    count, batch = 23, 5
    for turn in (0, 1):
        seen = torch.cat([seeds.batch_index(3, step, turn, batch, count) for step in range(23)])
        for epoch in range(5):
            part = seen[epoch * count : (epoch + 1) * count]
            assert torch.equal(part.sort().values, torch.arange(count))
    assert not torch.equal(seeds.batch_index(3, 0, 0, 23, 23), seeds.batch_index(3, 0, 1, 23, 23))
    assert len(seeds.batch_index(3, 0, 0, 50, 23)) == 50  # a batch larger than the data runs through it again


def test_derived_seeds_are_the_same_everywhere():
    assert seeds.derive(0, 1, 0, 0) == 6015636589008938256
    drawn = {seeds.derive(seed, step, turn) for seed in range(20) for step in range(50) for turn in range(2)}
    assert len(drawn) == 2000


class Exploding(objectives.Relativistic):
    """Becomes NaN at step 33."""

    def discriminator_loss(self, discriminator, real, synthetic, step=0):
        terms = super().discriminator_loss(discriminator, real, synthetic, step)
        self.calls = getattr(self, "calls", 0) + 1
        return {**terms, "r1": terms["r1"] * (float("nan") if self.calls == 33 else 1.0)}


def test_nan_is_caught_at_its_step_and_the_run_kept(tmp_path):
    with pytest.raises(
        training.Diverged, match=r"step 33: discriminator\.r1 is nan; the run is kept at step 20\. Try a lower"
    ):
        small(tmp_path / "run", 60, objective=Exploding)
    run = Run(tmp_path / "run")
    assert checkpoints.steps(run.checkpoints) == [20]
    assert [row["step"] for row in map(json.loads, log_of(run.path).splitlines())] == list(range(1, 33))
    assert all(torch.isfinite(value).all() for value in weights_of(run.path, 20).values())


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "garbage"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage, caplog):
    small(tmp_path / "whole", 60)
    small(tmp_path / "run", 50)
    run = Run(tmp_path / "run")
    assert checkpoints.steps(run.checkpoints) == [20, 40, 50]
    file = run.checkpoints / "00000050" / "networks.safetensors"
    content = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(content[:-7])
    elif damage == "flip":
        file.write_bytes(content[:900] + bytes([content[900] ^ 1]) + content[901:])
    elif damage == "delete":
        file.unlink()
    else:
        (file.parent / "state.json").write_text("{")
    continue_([str(run.path)], steps=60, quiet=True, data=cohort())
    assert "it is passed over" in caplog.text
    assert_same_run(tmp_path / "whole", run.path, 60)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    small(tmp_path / "run", 20)
    write = storage.write

    def full(path, content):
        if path.name.startswith("optimizers"):
            write(path, content[:100])
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(storage, "write", full)
    with pytest.raises(OSError, match="No space left"):
        continue_([str(tmp_path / "run")], steps=40, quiet=True, data=cohort())
    monkeypatch.undo()
    run = Run(tmp_path / "run")
    assert [path.name for path in run.checkpoints.iterdir()] == ["00000020"]
    continue_([str(run.path)], steps=40, quiet=True, data=cohort())
    small(tmp_path / "whole", 40)
    assert_same_run(tmp_path / "whole", run.path, 40)


def test_continuing_on_other_data_is_refused(tmp_path):
    small(tmp_path / "run", 5)
    with pytest.raises(ValueError, match="not what it was trained on"):
        continue_([str(tmp_path / "run")], steps=9, quiet=True, data=cohort(seed=1))
    with pytest.raises(ValueError, match="in memory"):
        continue_([str(tmp_path / "run")], steps=9, quiet=True)


def test_what_is_done_already_is_left_alone(tmp_path, caplog):
    small(tmp_path / "a", 5)
    small(tmp_path / "b", 3)
    before = log_of(tmp_path / "a")
    runs = continue_([str(tmp_path / "*")], steps=5, quiet=True, data=cohort())
    assert "a is at step 5 already, of the 5 asked for" in caplog.text and len(runs) == 2
    assert log_of(tmp_path / "a") == before == log_of(tmp_path / "b")


def test_two_processes_cannot_train_one_run(tmp_path):
    """The second is refused while the first runs, and welcome when that is dead, however it died."""
    small(tmp_path / "run", 5)
    hold = "import sys, time; from vitalsynth import Run; run = Run(sys.argv[1])\n"
    hold += "with run.lock(): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"is in use by process {holder.pid} on"):
        continue_([str(tmp_path / "run")], steps=9, quiet=True, data=cohort())
    holder.kill()
    holder.wait()
    continue_([str(tmp_path / "run")], steps=9, quiet=True, data=cohort())
    assert _rows(tmp_path / "run") == 9


def test_a_run_with_no_whole_checkpoint_is_left_as_it_is(tmp_path):
    small(tmp_path / "run", 40)
    run = Run(tmp_path / "run")
    for step in (20, 40):
        (run.checkpoints / f"{step:08d}" / "networks.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has no whole checkpoint: .*00000040.* was truncated or changed"):
        continue_([str(run.path)], steps=60, quiet=True, data=cohort())
    shutil.rmtree(run.checkpoints)
    with pytest.raises(ValueError, match="its checkpoints are gone"):
        continue_([str(run.path)], steps=60, quiet=True, data=cohort())
    assert _rows(run.path) == 40


@pytest.mark.parametrize("change", [{"step": 999}, {"learning rate": 0.5}])
def test_a_changed_state_is_noticed(tmp_path, change):
    small(tmp_path / "run", 20)
    file = Run(tmp_path / "run").checkpoints / "00000020" / "state.json"
    state = json.loads(file.read_text())
    if "step" in change:
        state |= change
    else:
        state["optimizers"]["generator"]["groups"][0]["lr"] = 0.5
    file.write_text(json.dumps(state))
    with pytest.raises(checkpoints.DamagedCheckpoint, match=r"state\.json was changed"):
        checkpoints.load(file.parent)


class Freezing(LSTM):
    """Holds a frozen parameter, and one that is not contiguous."""

    def __init__(self, shape, hidden: int = 8):
        super().__init__(shape, hidden)
        self.frozen = torch.nn.Parameter(torch.ones(1), requires_grad=False)
        self.turned = torch.nn.Parameter(torch.randn(3, 4).t())

    def forward(self, noise, condition):
        out = super().forward(noise, condition)
        return Encoded(out.x * self.frozen + 0 * self.turned.sum(), out.s, out.condition)


def test_what_a_network_froze_stays_frozen(tmp_path):
    small(tmp_path / "run", 20, generator=Freezing)
    weights = weights_of(tmp_path / "run", 20)
    assert weights["generator.frozen"] == 1 and weights["average.frozen"] == 1
    small(tmp_path / "pieces", 11, generator=Freezing)
    continue_([str(tmp_path / "pieces")], steps=20, quiet=True, data=cohort())
    assert_same_run(tmp_path / "run", tmp_path / "pieces", 20)


def test_a_torn_line_in_the_clock_goes(tmp_path):
    small(tmp_path / "run", 5)
    with (tmp_path / "run" / "clock.jsonl").open("a") as file:
        file.write('{"step": 40, "ti')
    continue_([str(tmp_path / "run")], steps=9, quiet=True, data=cohort())
    found = [(row["event"], row["step"]) for row in rows(tmp_path / "run" / "clock.jsonl")]
    assert found == [("begin", 0), ("save", 5), ("end", 5), ("begin", 5), ("save", 9), ("end", 9)]
    (tmp_path / "run" / "evaluation.jsonl").write_text("{]\n")
    with pytest.raises(ValueError, match=r"evaluation\.jsonl is damaged"):
        Run(tmp_path / "run").evaluations()


def test_nothing_is_left_behind_when_a_run_cannot_start(tmp_path):
    for bad, message in [
        ({"condition": "dyed"}, "did you mean 'died'"),
        ({"normalise": "locl"}, "did you mean 'local'"),
        ({"device": "cuda:7"}, "not on this machine"),
        ({"batch": 0}, "--batch must be at least 1"),
        ({"held_out": 1.5}, "--held_out must lie"),
        ({"generator": lambda shape: LSTM(shape)}, "cannot be written to a run's record"),
        ({"drop": "hrr"}, "no column 'hrr'"),
        ({"average": 7.0}, "--average must lie in"),
        ({"clip": -1.0}, "--clip must be at least 0"),
        ({"balance": "died"}, "--balance: the run is not conditioned on 'died'"),
        ({"balance": "age", "condition": "age"}, "--balance: 'age' is a number"),
        ({"condition": "died,died"}, "named twice"),
        ({"condition": "hr"}, "'hr' changes with time"),
        ({"discriminator": None}, "needs a discriminator that learns, and none was given"),
        ({"discriminator": partial(Convolutional, width=0)}, "at least 1 channel"),
        ({"discriminator": partial(Projected, kernels=0)}, "at least 1 kernel"),
        ({"discriminator": partial(Projected, hidden=0)}, "and 1 unit"),
        ({"generator": partial(LSTM, places=-1)}, "places, patch and renewal must be 0 or more"),
        ({"generator": partial(LSTM, step_noise=-3)}, "the first step fails|cannot be built"),
        ({"generator_optimizer": torch.optim.LBFGS}, "the first step fails"),
        ({"device": "meta"}, "not on this machine"),
        ({"out": ""}, "--out is empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            small(bad.pop("out", tmp_path / "run"), **bad)
        assert not list(tmp_path.iterdir())
    small(tmp_path / "run", 2)
    before = log_of(tmp_path / "run")
    with pytest.raises(ValueError, match="exists; carry it on with"):
        small(tmp_path / "run", 2)
    assert log_of(tmp_path / "run") == before


def test_held_out_subjects_are_never_trained_on(tmp_path):
    data = cohort()
    train_part, test_part = small(tmp_path / "run", 2).data(data)
    assert not set(train_part.subject) & set(test_part.subject)
    assert len(test_part) == 12 and len(train_part) == 48
    shuffled = data.take(np.random.default_rng(0).permutation(len(data)))
    assert set(shuffled.split(0.2, 0)[1].subject) == set(test_part.subject)
