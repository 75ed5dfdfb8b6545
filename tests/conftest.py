"""Shared by all tests: types are checked at run time, everything random is seeded, one thread."""

import os
import subprocess
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("vitalsynth", "typecheck.checker")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

torch.set_num_threads(1)
settings.register_profile(
    "default", deadline=None, max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def shared_data(*parts: str) -> Path:
    """Return a path below the shared data, or skip the test, saying why."""
    root = Path(os.environ.get("VITALSYNTH_DATA", Path(__file__).parents[2] / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{path} is missing, and CI must have it")
        pytest.skip(f"{path} is not on this machine; set VITALSYNTH_DATA to a folder that has it")
    return path


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of half a MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        if os.environ.get("CI"):
            pytest.fail("a small file system cannot be mounted, and CI must be able to")
        pytest.skip("a small file system cannot be mounted here (needs root on Linux)")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
