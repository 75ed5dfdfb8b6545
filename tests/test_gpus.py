"""Runs that are started together spread over GPUs; what nvidia-smi tells is tested with the watchman."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from vitalsynth import gpus

CHOOSING = """
import sys
from pathlib import Path
from vitalsynth.gpus import choose
print(choose([("GPU-a", 70), ("GPU-b", 80), ("GPU-c", 30)], Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


class Chooser:
    """A process that chooses a GPU and holds it."""

    def __init__(self, folder):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-c", CHOOSING, str(folder)], text=True, **pipes)
        self.chosen = int(self.process.stdout.readline())

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def test_each_process_takes_another_gpu_while_there_are_good_ones(tmp_path):
    """The one with most memory first, then another with at least half as much, then they share; what ends lets go."""
    choosers = [Chooser(tmp_path) for _ in range(3)]
    assert [each.chosen for each in choosers] == [1, 0, 1]
    choosers[1].end()
    choosers.append(Chooser(tmp_path))
    assert choosers[-1].chosen == 0
    for each in choosers:
        each.end()


def test_where_locks_cannot_be_had_the_one_with_most_memory_is_taken(tmp_path):
    assert gpus.choose([("GPU-a", 1), ("GPU-b", 2)], tmp_path / "missing") == 1


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """A machine as PyTorch and nvidia-smi would describe it; PyTorch sees its GPUs the other way round."""
    (tmp_path / "nvidia-smi").write_text(
        "#!/bin/sh\ncase $1 in *gpu=*) printf '0, GPU-a, 10, 99\\n1, GPU-b, 50, 99\\n';; esac"
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="ba"[index]))
    gpus.chosen.cache_clear()
    yield tmp_path
    gpus.chosen.cache_clear()


def test_auto_is_the_gpu_with_most_memory_free_and_stays_it(two_gpus):
    assert gpus.pick_device("auto") == torch.device("cuda", 1)  # nvidia-smi calls it 0
    assert gpus.pick_device("auto") == torch.device("cuda", 1)
    other = Chooser(two_gpus)
    assert other.chosen == 1  # GPU-b; GPU-a is ours
    other.end()


def test_without_nvidia_smi_any_will_do(two_gpus):
    (two_gpus / "nvidia-smi").unlink()
    assert gpus.pick_device("auto") == torch.device("cuda", 0)
