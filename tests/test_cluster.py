"""Jobs on a real SLURM of one node, and in the background without: the same commands, the same states."""

import signal
import subprocess
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

import slurm as real_slurm
import vitalsynth
from slurm import until
from vitalsynth import checkpoints
from vitalsynth.cli import main
from vitalsynth.cluster import slurm
from vitalsynth.cluster.jobs import Job, Task
from vitalsynth.cluster.launching import RUNNER
from vitalsynth.runs import Run

NETS = """
import os
import time

from vitalsynth.generators import LSTM


class Slow(LSTM):
    calls = 0

    def forward(self, noise, condition):
        self.calls += 1
        if self.calls > 20 and "SLURM_RESTART_COUNT" not in os.environ:  # something is saved by then
            time.sleep(float(os.environ.get("SLOW", "0")))
        return super().forward(noise, condition)
"""
TINY = ["--source.count", "40", "--source.length", "6", "--batch", "4", "--discriminator.hidden", "4"]
TINY += ["--generator.hidden", "4", "--gradients", "0", "--similarity.every", "0"]
SINES = ["train", "sines", *TINY, "--steps", "2"]
SLOW = ["train", "sines", *TINY, "--steps", "60", "--generator", "slow_nets.Slow", "--checkpoint_every", "5"]
ENDED = {"done", "failed", "stopped", "cancelled", "dead"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A folder to work in, as a user does, with networks of their own."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "slow_nets.py").write_text(NETS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SLOW", "2")
        yield folder


@pytest.fixture(scope="module")
def cluster(bench, tmp_path_factory):
    with (
        real_slurm.running(tmp_path_factory.mktemp("slurm")) as environment,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("PATH", "SLURM_CONF"):
            patch.setenv(name, environment[name])
        yield


def submit(*words):
    """Submit, and return the names of the jobs."""
    with redirect_stdout(StringIO()) as out:
        assert main(["submit", *words]) == 0
    return [Path(line).name for line in out.getvalue().splitlines()]


def rows(*names):
    return vitalsynth.jobs(names, json=True)


def states(*names):
    return [row["state"] for row in rows(*names)]


def ended(*names):
    until(lambda: set(states(*names)) <= ENDED, 600, f"the end of {names}")
    return states(*names)


@pytest.fixture(scope="module")
def jobs(cluster):
    """All jobs, submitted at once, as most of the time is SLURM's; it may tell a job of its end a minute early."""
    submitted = {
        "limited": ["--time", "3", "--notice", "30", "--then", "evaluate,report", *SLOW, "--out", "runs/limited"],
        "unwanted": ["--then", "report", *SLOW, "--steps", "600", "--out", "runs/unwanted"],
        "array": ["--array", "seed=0..3", "--at-most", "2", *SINES, "--out", "runs/{seed}"],
        "held": ["--array", "seed=0..3", "--then", "report", "--sbatch", "hold", *SINES, "--out", "runs/held-{seed}"],
    }
    return {name: submit(*words) for name, words in submitted.items()}


def test_cancelled_training_has_saved_and_what_waits_for_it_never_runs(jobs):
    until(lambda: checkpoints.steps(Path("runs/unwanted/checkpoints")), 240, "training")
    assert states(*jobs["unwanted"]) == ["running", "waiting"]
    assert main(["jobs", jobs["unwanted"][0], "--cancel"]) == 0
    assert ended(*jobs["unwanted"]) == ["cancelled", "cancelled"]
    until(lambda: Run("runs/unwanted").state() == "stopped", 20, "saving")
    assert 600 > Run("runs/unwanted").step == len(Run("runs/unwanted").log()) >= 5
    assert not Path("runs/unwanted/report.html").exists()


def test_each_task_of_an_array_is_followed_by_its_own(jobs, capsys):
    queued = subprocess.run(["squeue", "--noheader", "--format=%j %E"], capture_output=True, text=True).stdout
    waiting = next(line for line in queued.splitlines() if line.startswith(jobs["held"][1]))
    assert f"aftercorr:{rows(jobs['held'][0])[0]['number'].partition('_')[0]}_" in waiting
    assert main(["jobs", "--cancel", *jobs["held"]]) == 0
    assert ended(*jobs["held"]) == ["cancelled"] * 8
    capsys.readouterr()
    assert main(["jobs"]) == 0
    assert "4 cancelled" in capsys.readouterr().out


def test_an_array_of_four(jobs):
    assert ended(*jobs["array"]) == ["done"] * 4
    assert [Run(f"runs/{seed}").record["seed"] for seed in range(4)] == [0, 1, 2, 3]
    for task in rows(*jobs["array"]):
        assert task["starts"] == 1 and task["last"][-1] == f"runs/{task['task']}"


def test_training_whose_time_is_up_goes_on_as_if_nothing_had_happened(jobs, monkeypatch):
    """Byte for byte, with a network of the user's own, which a run alone may not name; what follows it, waits."""
    monkeypatch.delenv("SLOW")
    assert main([*SLOW, "--out", "runs/whole", "--quiet"]) == 0
    assert ended(*jobs["limited"]) == ["done"] * 3
    assert [row["starts"] > 1 for row in rows(*jobs["limited"])] == [True, False, False]
    assert Path("runs/limited/log.jsonl").read_bytes() == Path("runs/whole/log.jsonl").read_bytes()
    run = Run("runs/limited")
    assert run.step == 60 and run.evaluations()[0]["step"] == 60 and (run.path / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian", "icu-demo"], "no command 'trian' to submit; did you mean 'train'?"),
        (["--tiem", "3", *SINES, "--out", "x"], "no option --tiem; did you mean '--time'?"),
        ([*SINES, "--out", "x", "--time", "1"], "--time is an option of submit, which come before the command, train"),
        ([*SINES, "--out", "x", "--stepz", "3"], "no option --stepz; did you mean '--steps'?"),
        ([*SINES, "--out", "x", "--generator", "LSTN"], "no class 'LSTN'; did you mean 'LSTM'?"),
        (["train", "sinus", "--out", "x"], "did you mean 'sines'?"),
        ([*SINES, "--out", "x", "--batch", "0"], "--batch must be at least 1, got 0"),
        ([*SINES, "--out", "there"], "there exists; carry it on with 'vitalsynth continue there'"),
        ([*SINES], "needs --out"),
        (["continue", "runs/nothing", "--steps", "3"], "nothing is at 'runs/nothing'"),
        (["--array", "seed=0..3", *SINES, "--out", "x"], "x is one place for 4 tasks; write {NAME} in --out"),
        (["--array", "seed=3..0", *SINES, "--out", "{seed}"], "3..0 must go from the smaller to the larger"),
        (
            ["--array", "seed=", *SINES, "--out", "{seed}"],
            "--array takes NAME=FROM..TO or NAME=VALUE,VALUE,..., got 'seed='",
        ),
        (["--array", "sede=0..3", *SINES, "--out", "{sede}"], "no option --sede; did you mean '--seed'?"),
        (["--after", "train-9", *SINES, "--out", "x"], "no job 'train-9'"),
        (["--then", "reprot", *SINES, "--out", "x"], "no command 'reprot' to submit; did you mean 'report'?"),
        (["--then", "report", "data"], "data trains none"),
        (["--cpus", "0", *SINES, "--out", "x"], "--cpus must be at least 1, got 0"),
        (["--gpus", "many", *SINES, "--out", "x"], "--gpus: must be a whole number, got many"),
        (["--time", "1"], "needs COMMAND"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_submitted(words, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    assert main(["submit", "--local", *words]) == 2
    said = capsys.readouterr().err
    assert expected in said and said.count("\n") == 1, said
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_dry_run_shows_what_sbatch_would_be_asked_for_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--time", "02:00:00", "--gpus", "1", "--array", "seed=0..1", "--then", "report", *SINES, "--out", "{seed}"]
    assert main(["submit", "--dry-run", *words]) == 0
    said = capsys.readouterr().out
    assert said.count("sbatch ") == 2 and "--time=02:00:00 --gres=gpu:1" in said and "--array=0-1" in said
    assert "1: vitalsynth train sines" in said and "--out 1 --seed 1" in said and "report 1" in said
    assert "--dependency=aftercorr:TRAIN-1" in said and not list(tmp_path.iterdir())


def test_what_slurm_refuses_is_one_line_and_nothing_stays_in_the_queue(cluster, tmp_path, monkeypatch, capsys):
    """A whole chain or nothing: of this one, only the first job is taken."""
    arguments = ["submit", "--folder", str(tmp_path), "--then", "report", *SINES, "--out", "x"]
    assert main([*arguments[:3], "--sbatch", "partition=lnog", *arguments[3:]]) == 2
    said = capsys.readouterr().err
    assert "invalid partition" in said and said.count("\n") == 1
    submit_job, numbers = slurm.submit, []

    def once(options, script):
        if numbers:
            raise ValueError("sbatch refused: no more of them")
        numbers.append(submit_job([*options, "--hold"], script))
        return numbers[0]

    monkeypatch.setattr(slurm, "submit", once)
    assert main(arguments) == 2
    assert "no more of them" in capsys.readouterr().err
    assert slurm.queue()[numbers[0], 0].state == "cancelled" and not list(tmp_path.iterdir())


def test_without_slurm_it_runs_in_the_background_with_the_same_states(bench, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    (first,) = submit(*SLOW, "--out", "runs/here")
    assert "no SLURM here" in capsys.readouterr().err
    (second,) = submit("--after", first, "report", "runs/here")
    until(lambda: checkpoints.steps(Path("runs/here/checkpoints")), 120, "training")
    assert states(first, second) == ["running", "waiting"]
    assert main(["jobs", first, "--cancel"]) == 0
    assert ended(first, second) == ["cancelled"] * 2
    assert Run("runs/here").state() == "stopped" and Run("runs/here").step < 60
    assert rows(second)[0]["why"] == f"{first} did not end well"
    (failed,) = submit("--local", "--folder", "jobs", "list", "nowhere")
    assert ended(failed) == ["failed"]
    assert "no folder matches 'nowhere'" in rows(failed)[0]["last"][-1]


def test_training_that_never_gets_as_far_as_saving_is_not_started_for_ever(bench):
    task = Task([*SINES, "--out", "runs/never"], ["continue", "runs/never", "--steps", "2"], ["runs/never"])
    job = Job.create(Path("jobs").absolute(), [task], slurm=True, cpus=1, at_most=1, after=[], trusted=[])
    process = subprocess.Popen([*RUNNER, str(job.path)])
    until(lambda: job.account(0), 60, "its start")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert job.account(0)["state"] == "failed" and "ask for more --time" in job.account(0)["why"]


def test_what_left_the_queue_long_ago_is_asked_of_the_accounting(tmp_path, monkeypatch):
    """As sacct of a SLURM 22.05 with accounting answered."""
    said = "1|COMPLETED\n2|FAILED\n4|CANCELLED by 0\n3_0|COMPLETED\n3_1|TIMEOUT\n6_[0-3]|PENDING\n"
    (tmp_path / "sacct").write_text(f"#!/bin/sh\nprintf '{said}'\n")
    (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.remembered(["1", "2", "3", "4", "6"]) == {
        ("1", 0): ("done", ""),
        ("2", 0): ("failed", ""),
        ("3", 0): ("done", ""),
        ("3", 1): ("failed", "TIMEOUT"),
        ("4", 0): ("cancelled", ""),
    }
    (tmp_path / "sacct").unlink()
    assert slurm.remembered(["1"]) == {}
