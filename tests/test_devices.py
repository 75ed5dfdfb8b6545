"""Several processes train one run: bit for bit what one process makes of the same parts of every batch."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from families import SMALL, cohort
from vitalsynth import discriminators, methods, objectives
from vitalsynth.autoregressive import Autoregressive
from vitalsynth.cli import main
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.train import train
from vitalsynth.differential import Privacy
from vitalsynth.embedding import Embedding, Matching
from vitalsynth.flows import Flow
from vitalsynth.stabilisers import InstanceNoise

DATA = cohort(count=60)
ALONE = {**SMALL, "discriminator": None}
CASES = {
    "NonSaturating": {**SMALL, "objective": objectives.NonSaturating},
    "Hinge, spectral normalisation": {
        **SMALL,
        "objective": objectives.Hinge,
        "discriminator": partial(discriminators.Convolutional, width=4, blocks=1, spectral=True),
    },
    "Wasserstein": {**SMALL, "objective": objectives.Wasserstein},
    "Relativistic, extragradient, noise": {
        **SMALL,
        "method": methods.Extragradient,
        "stabilisers": [InstanceNoise],
    },
    "Likelihood": {
        **ALONE,
        "objective": objectives.Likelihood,
        "generator": partial(Autoregressive, hidden=4, head=4, components=2),
    },
    "FlowMatching": {
        **ALONE,
        "objective": objectives.FlowMatching,
        "generator": partial(Flow, hidden=8, blocks=1),
    },
    "Matching": {**SMALL, "discriminator": partial(Embedding, features=20), "objective": Matching},
    "privacy": {
        **SMALL,
        "objective": objectives.NonSaturating,
        "privacy": Privacy(epsilon=9, length=6, public="all", noise=1.0, complete="died"),
        "limits": "hr=0:250,temp=25:45,age=0:120",
        "normalise": "minmax",
    },
}


def trained(out, steps=4, **more):
    about = {"condition": "died", "batch": 8, "steps": steps, "checkpoint_every": 2, "quiet": True}
    return train(DATA, **{**about, "out": str(out), **more})


def same(one, other):
    """Check that two runs have the same log, byte for byte, and the same weights, bit for bit."""
    assert (one.path / "log.jsonl").read_bytes() == (other.path / "log.jsonl").read_bytes()
    weights = [load_file(run.checkpoint(run.step) / "networks.safetensors") for run in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@pytest.mark.parametrize("case", CASES)
def test_two_processes_make_what_one_does(case, tmp_path, monkeypatch):
    if case == "privacy":  # who is drawn, and all noise, follow from secrets that each run draws for itself
        pytest.importorskip("opacus")
        chance = np.random.default_rng
        monkeypatch.setattr("secrets.token_hex", lambda size: "0123456789abcdef" * (size // 8))
        monkeypatch.setattr("numpy.random.default_rng", lambda seed=0: chance(seed))
    one = trained(tmp_path / "one", microbatches=2, **CASES[case])
    two = trained(tmp_path / "two", devices=2, **CASES[case])
    assert two.record["microbatches"] == 2 and len(two.log()) == 4
    same(one, two)


def test_the_mean_over_parts_is_that_of_the_batch(tmp_path):
    """Where nothing is random and nothing of the batch as a whole, a step in parts is a step."""
    settings = CASES["Likelihood"] | {"generator": partial(Autoregressive, hidden=4, head=4, components=2, dropout=0.0)}
    whole, parted = (trained(tmp_path / str(n), steps=2, microbatches=n, **settings) for n in (1, 4))
    weights = [load_file(run.checkpoint(2) / "networks.safetensors") for run in (whole, parted)]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-5)
    assert (whole.path / "log.jsonl").read_bytes() != (parted.path / "log.jsonl").read_bytes()


def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    whole = trained(tmp_path / "whole", steps=6, microbatches=2, **SMALL)
    began = trained(tmp_path / "began", steps=2, devices=2, **SMALL)
    continue_(str(began.path), steps=4, quiet=True, data=DATA)
    (ended,) = continue_(str(began.path), steps=6, devices=2, quiet=True, data=DATA)
    same(whole, ended)


@dataclass
class Training:
    """A training by the command line, with a second process."""

    process: subprocess.Popen

    @property
    def other(self):
        """The process id of the second one."""
        task = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return int(open(task).read().split()[0])


ASKED = ["icu-demo", "--condition", "died", "--batch", "8", "--checkpoint_every", "3", "--similarity.every", "0"]
ASKED += ["--generator.hidden", "4", "--gradients", "0", "--quiet"]


@pytest.fixture
def begun(tmp_path):
    if not os.path.exists(f"/proc/{os.getpid()}/task"):
        pytest.skip("processes are found in /proc, which there is on Linux alone")
    command = [sys.executable, "-m", "vitalsynth", "train", *ASKED, "--out", "run", "--devices", "2"]
    process = subprocess.Popen(
        [*command, "--steps", "1000000"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "run" / "checkpoints" / "00000003"
    while not log.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    yield Training(process)
    process.kill()
    process.wait()


def gone(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_when_one_is_killed_both_stop_and_the_run_goes_on(begun, tmp_path, monkeypatch):
    other = begun.other
    os.kill(other, signal.SIGKILL)
    _, said = begun.process.communicate()
    assert begun.process.returncode == 75
    assert "another process of this training is gone; the run is kept at step" in said and "Traceback" not in said
    assert "carry on with: vitalsynth continue run --steps 1000000" in said
    assert gone(other)
    monkeypatch.chdir(tmp_path)
    (run,) = continue_("run", steps=1, quiet=True)  # which is at a later step already
    steps = run.step + 4
    (ended,) = continue_("run", steps=steps, quiet=True)
    assert main(["train", *ASKED, "--out", "whole", "--microbatches", "2", "--steps", str(steps)]) == 0
    assert (tmp_path / "whole" / "log.jsonl").read_bytes() == (ended.path / "log.jsonl").read_bytes()


def test_when_the_first_is_killed_the_other_ends(begun):
    other = begun.other
    begun.process.kill()
    begun.process.wait()
    while not gone(other):  # or this never ends
        time.sleep(0.05)


def test_a_signal_saves_and_stops_both(begun, tmp_path):
    other = begun.other
    begun.process.send_signal(signal.SIGTERM)
    _, said = begun.process.communicate()
    assert begun.process.returncode == 75 and "stopped at step" in said and gone(other)


def test_torchrun_starts_them_as_well(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command = [*torchrun, "vitalsynth", "train", *ASKED, "--steps", "4", "--out", "run"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert main(["train", *ASKED, "--steps", "4", "--microbatches", "2", "--out", str(tmp_path / "one")]) == 0
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == (tmp_path / "one" / "log.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"devices": 3}, "cannot be divided into 3 equal"),
        ({"devices": 3, "microbatches": 4}, "--devices may be 1, 2, 4"),
        ({"devices": 0}, "devices must be at least 1"),
        ({"devices": 2, "device": "cuda:1"}, "--device cuda:1 is one"),
        ({"microbatches": 2, "method": methods.Consensus}, "Consensus differentiates the gradient of a whole batch"),
    ],
)
def test_what_cannot_be_shared_is_refused(wrong, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        trained(tmp_path / "run", **SMALL | wrong)
    assert not (tmp_path / "run").exists()


def test_a_run_cannot_go_on_with_more_processes_than_parts(tmp_path):
    run = trained(tmp_path / "run", steps=1, **SMALL)
    with pytest.raises(ValueError, match="2 devices cannot share batches of 1 microbatches evenly"):
        continue_(str(run.path), steps=2, devices=2, quiet=True, data=DATA)
