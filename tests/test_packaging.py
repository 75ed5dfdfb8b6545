"""The wheel, installed alone where the repository is not, trains, samples, evaluates and reports."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BUILD = "from setuptools import build_meta; print(build_meta.build_{0}('dist'))"


def called(*words, where):
    """Run a program without what leads to the repository, and return what it says."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(list(map(str, words)), cwd=where, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def built(what, source):
    """Build an sdist or a wheel of a source tree."""
    return source / "dist" / called(sys.executable, "-c", BUILD.format(what), where=source).split()[-1]


def contents(wheel):
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what git knows or would add, without what earlier builds left behind."""
    folder = tmp_path_factory.mktemp("source")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0"):
        if (ROOT / name).is_file() and (name.startswith("src/") or "/" not in name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def sdist(source):
    return built("sdist", source)


@pytest.fixture(scope="module")
def wheel(source):
    return built("wheel", source)


@pytest.fixture(scope="module")
def alone(wheel, tmp_path_factory):
    """The programs of an environment that has vitalsynth from the wheel, and all else from the tests' environment."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"]
    called(*pip, "--no-deps", wheel, where=folder)
    (library,) = folder.glob("lib/python*/site-packages")
    (library / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    called(*pip, "--constraint", ROOT / "constraints.txt", f"{wheel}[{','.join(extras())}]", where=folder)
    return folder / "bin"


def extras():
    """What the tests need, and every extra of users; ruff and pyright are for those who work on it."""
    return [name for name in PROJECT["optional-dependencies"] if name != "dev"]


def test_the_wheel_alone_trains_samples_evaluates_and_reports(alone, tmp_path):
    foreign = tmp_path / "elsewhere"
    foreign.mkdir()
    (home,) = called(alone / "python", "-c", "import vitalsynth; print(vitalsynth.__file__)", where=foreign).split()
    assert Path(home).is_relative_to(alone.parent)
    run = [alone / "vitalsynth", "train", "icu-demo", "--preset", "strong", "--condition", "died", "--out", "run"]
    called(*run, "--steps", "3", "--batch", "8", "--quiet", where=foreign)
    called(alone / "vitalsynth", "sample", "run", "--count", "20", "--out", "cohort.parquet", where=foreign)
    called(alone / "vitalsynth", "evaluate", "run", "--metrics", "marginals,coverage", "--count", "50", where=foreign)
    called(alone / "vitalsynth", "report", "run", where=foreign)
    assert pd.read_parquet(foreign / "cohort.parquet")["id"].nunique() == 20
    assert "coverage" in (foreign / "run" / "report.html").read_text("utf-8")


def test_the_wheel_holds_every_file_of_the_package(wheel, source):
    inside, root = contents(wheel), source / "src"
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.glob("vitalsynth/**/*") if path.is_file()}
    assert {"vitalsynth/py.typed", "vitalsynth/presets/strong.yaml", "vitalsynth/data/icu_demo.npz"} <= set(files)
    assert {name: inside.get(name) for name in files} == files
    assert {name for name in inside if not name.startswith(f"vitalsynth-{PROJECT['version']}.dist-info/")} == set(files)


def test_the_sdist_builds_the_same_wheel(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    assert contents(built("wheel", unpacked)) == contents(wheel)
    assert (unpacked / "constraints.txt").exists() and not (unpacked / "tests").exists()


def test_what_the_wheel_says_of_itself(wheel):
    inside, about = contents(wheel), f"vitalsynth-{PROJECT['version']}.dist-info"
    said = HeaderParser().parsestr(inside[f"{about}/METADATA"].decode())
    assert said["License-Expression"] == "Apache-2.0"
    assert all(f"{about}/licenses/{name}" in inside for name in said.get_all("License-File"))
    assert len(said.get_all("License-File")) == 2
    assert set(said.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    oldest = re.fullmatch(r">=3\.(\d+)", said["Requires-Python"])
    named = [int(found[1]) for row in said.get_all("Classifier") if (found := re.search(r":: 3\.(\d+)$", row))]
    assert oldest and named == list(range(int(oldest[1]), int(oldest[1]) + len(named)))
    assert b"vitalsynth = vitalsynth.cli:main" in inside[f"{about}/entry_points.txt"]
