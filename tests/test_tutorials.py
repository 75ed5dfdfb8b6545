"""The tutorials run at tiny size, and their first cells do in Colab what they say."""

import os
import random
import sys
import types
from functools import partial
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from families import SMALL, cohort
from slow_filesystem import mounted, settle
from test_slow_filesystem import EVERY, STEPS, data, never, same, session, usable  # noqa: F401 (two fixtures)
from vitalsynth import colab
from vitalsynth.commands.notebook_run import notebook_run
from vitalsynth.generators import LSTM
from vitalsynth.runs import Run

TUTORIALS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
TINY = {
    "steps": 6,
    "private_steps": 6,
    "count": 60,
    "most": 60,
    "stays": 120,
    "seeds": [0],
    "metrics": "mmd,marginals",
}
PICTURES = {"ecg": 2, "icu": 1, "images": 2, "judging": 1, "network": 0, "privacy": 1}


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_stored_without_outputs_and_says_what_to_expect(path):
    cells = read(path).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert "**What to expect.**" in cells[0].source and "**How long.**" in cells[0].source
    assert "parameters" in cells[1].metadata["tags"] and cells[-1].source.endswith("colab.all_sent()")
    assert max(len(line) for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines()) <= 96


def test_all_run_at_tiny_size_in_parallel(tmp_path):
    given = [f"{name}={value}" for name, value in TINY.items()]
    done = notebook_run(
        list(map(str, TUTORIALS)), parameters=[*given, f"runs={tmp_path}/runs"], out=str(tmp_path), jobs=2, quiet=True
    )
    assert [path.stem for path in done] == list(PICTURES)
    for path in done:
        outputs = [output for cell in read(path).cells for output in cell.get("outputs", [])]
        drawn = [output for output in outputs if {"image/png", "image/gif"} & set(output.get("data", {}))]
        assert len(drawn) >= PICTURES[path.stem] and path.with_suffix(".html").stat().st_size > 10**5
        assert any("text/html" in output.get("data", {}) for output in outputs)


class InColab(types.ModuleType):
    """Stands in for `google.colab`: its Drive is a folder that is there already."""

    def __init__(self, point):
        super().__init__("google.colab")
        self.drive = types.SimpleNamespace(mount=self.mount, flush_and_unmount=self.flush)
        self.point, self.mounts = point, []

    def mount(self, path):
        self.mounts.append(path)
        assert os.path.isdir(path)

    def flush(self):
        if os.path.ismount(self.point):
            settle(self.point)


@pytest.fixture
def in_colab(tmp_path, monkeypatch):
    point = tmp_path / "drive"
    point.mkdir()
    there = InColab(point)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", there)
    monkeypatch.setattr(sys.modules["google"], "colab", there, raising=False)
    monkeypatch.setattr(colab, "DRIVE", point)
    return there


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_in_colab_it_is_installed_and_runs_are_kept_in_drive(path, in_colab):
    said = []
    shell = types.SimpleNamespace(run_line_magic=lambda *words: said.append(words))
    names = {"get_ipython": lambda: shell}
    cells = read(path).cells
    exec(cells[1].source.replace('install = ""', 'install = "a.whl"'), names)
    exec(TransformerManager().transform_cell(cells[2].source), names)
    assert said == [("pip", 'install --quiet "{install}"')]
    assert names["runs"] == in_colab.point / "MyDrive" / names["drive"] and names["runs"].is_dir()
    assert in_colab.mounts == [str(in_colab.point)]


def test_elsewhere_nothing_is_installed(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    assert colab.runs_folder("vitalsynth/a", tmp_path / "runs") == tmp_path / "runs"
    colab.all_sent()


def test_cut_sessions_of_colab_make_the_run_that_was_never_cut(data, never, tmp_path, in_colab, monkeypatch):  # noqa: F811
    """Every session runs the same cell; Drive has only what got there before the last was cut."""
    chance, cloud = random.Random(3), tmp_path / "cloud"
    settings = {**SMALL, "steps": STEPS, "checkpoint_every": EVERY}

    def cell(point):
        monkeypatch.setattr(colab, "DRIVE", point)
        in_colab.point = point
        colab.trained(data, out=colab.runs_folder("vitalsynth/a") / "run", **settings)
        colab.all_sent()

    run = cloud / "MyDrive" / "vitalsynth" / "a" / "run"
    for cut in range(7):
        point, there = tmp_path / f"session {cut}", usable(run)
        seconds = chance.uniform(0.3, 1.2) if cut < 6 else None
        session(partial(cell, point), cloud, point, cut, seconds, lag=0.4, flock="local", fsync=0)
        assert set(there) <= set(usable(run))
    assert same(run, never.path)


def test_what_cannot_be_carried_on_is_set_aside_and_what_is_done_is_left(data, tmp_path, capsys):  # noqa: F811
    out = tmp_path / "run"
    settings = {**SMALL, "out": out, "steps": 8, "checkpoint_every": 4}
    assert colab.trained(data, **settings).step == 8
    before = (out / "clock.jsonl").read_bytes()
    assert colab.trained(data, **settings).step == 8 and (out / "clock.jsonl").read_bytes() == before
    assert colab.trained(data, **{**settings, "steps": 12}).step == 12
    for other in ({"batch": 8}, {"held_out": 0.5}, {"condition": "died"}, {"generator": partial(LSTM, hidden=5)}):
        with pytest.raises(ValueError, match=rf"with other settings \(({next(iter(other))}|networks)\)"):
            colab.trained(data, **{**settings, **other})
    (out / "run.json").write_bytes(b"")
    assert colab.trained(data, **settings).step == 8
    assert (tmp_path / "run-incomplete-1" / "log.jsonl").exists() and "begun again" in capsys.readouterr().out
    sequences = cohort()
    memory = {**settings, "out": tmp_path / "memory"}
    colab.trained(sequences, **memory)
    assert colab.trained(sequences, **{**memory, "steps": 12}).step == 12 and Run(tmp_path / "memory").step == 12
    with mounted(tmp_path / "cloud", tmp_path / "drive"):
        assert colab.trained(data, **{**settings, "out": tmp_path / "drive" / "run"}).step == 8
