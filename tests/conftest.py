"""Shared by all tests: types are checked at run time, everything random is seeded, one thread."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("vitalsynth", "typecheck.checker")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from vitalsynth import sources  # noqa: E402

torch.set_num_threads(1)
settings.register_profile(
    "default", deadline=None, max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def forgotten(tmp_path_factory):
    """A module that a test wrote is forgotten with it: the next one may write another by the same name."""
    known, own = set(sys.modules), str(tmp_path_factory.getbasetemp())
    yield
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(own):
            del sys.modules[name]


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


def chromium(page, folder, *arguments):
    """Open a file or an address in headless Chromium with no network, or skip the test, saying why."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing, and CI must have it")
        pytest.skip("chromium is not on this machine (Debian: apt-get install chromium)")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    flags += "--disable-component-update --disable-sync --host-resolver-rules=MAP\x00*\x00~NOTFOUND"
    command = [program, *(flag.replace("\x00", " ") for flag in flags.split()), f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run(
        [*command, *arguments, getattr(page, "as_uri", lambda: page)()], capture_output=True, text=True, timeout=120
    )


def written(sequences, folder, chunk=30):
    """Write in the data's own form, in chunks as sampling does."""
    with sources.writer(folder, sequences.schema) as out:
        for first in range(0, len(sequences), chunk):
            out.write(sequences.take(slice(first, first + chunk)))
    return folder


def assert_same(ours, theirs, rtol=0.0, atol=0.0):
    assert ours.schema == theirs.schema
    np.testing.assert_allclose(ours.values, theirs.values, rtol=rtol, atol=atol)
    np.testing.assert_allclose(ours.static, theirs.static, rtol=rtol)
    np.testing.assert_array_equal(ours.lengths, theirs.lengths)


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
