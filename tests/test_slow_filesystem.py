"""A mounted cloud folder that is slow, sends what is written late and in another order, and is cut off."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from families import SMALL, cohort
from slow_filesystem import mounted, settle
from vitalsynth import checkpoints
from vitalsynth.cli import main
from vitalsynth.commands.branch import branch
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.merge import merge
from vitalsynth.commands.sync import NotSynced, sync
from vitalsynth.commands.train import train
from vitalsynth.frames import to_frame
from vitalsynth.runs import Run, jsonl

TESTS = Path(__file__).parent
STEPS, EVERY = 40, 4


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "vitals.parquet"
    to_frame(cohort()).to_parquet(path)
    return str(path)


@pytest.fixture(scope="module")
def never(data, tmp_path_factory):
    """The run that was never interrupted."""
    out = tmp_path_factory.mktemp("never") / "run"
    return train(data, **{**SMALL, "out": str(out), "steps": STEPS, "checkpoint_every": EVERY})


def here(work, drive, seconds):
    """Do something in a process of its own on a mounted folder; kill both after some time, and say whether it was."""
    if (child := os.fork()) == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            work()
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0
            return False
        time.sleep(0.005)
    drive.kill()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def usable(run):
    """Return the steps from which a run could be carried on: of whole checkpoints, with all of the log."""
    try:
        opened = Run(run)
    except ValueError:
        return []
    states = {step: json.loads(files["state.json"]) for step, files in checkpoints.whole(opened.checkpoints)}
    return [step for step, state in states.items() if not opened.lacks(state)]


def same(run, other):
    """Say whether two runs hold the same log and checkpoints, byte for byte."""
    return files_of(run) == files_of(other)


def files_of(run):
    names = [run / "log.jsonl", *sorted((run / "checkpoints").rglob("*"))]
    return {str(file.relative_to(run)): file.read_bytes() for file in names if file.is_file()}


@pytest.mark.parametrize(("flock", "fsync"), [("refused", 0.5), ("local", 0.0)])
def test_cut_at_random_it_carries_on_as_if_it_never_was(flock, fsync, data, never, tmp_path):
    """And from the newest checkpoint that got through."""
    backing, chance, cut, killed = tmp_path / "cloud", random.Random(flock), 0, True
    cloud = backing / "runs" / "a"
    while killed:
        point = tmp_path / f"session {cut}"
        with mounted(backing, point, seed=cut, lag=0.4, flock=flock, fsync=fsync) as drive:
            run, there = point / "runs" / "a", usable(cloud)
            if not there and run.exists():
                shutil.rmtree(run)

            def work(run=run, there=there):
                if there:
                    continue_([str(run)], steps=STEPS, quiet=True)
                else:
                    train(data, **{**SMALL, "out": str(run), "steps": STEPS, "checkpoint_every": EVERY})

            killed = here(work, drive, chance.uniform(0.2, 1.0) if cut < 8 else 600)
            cut += killed
            if not killed:
                settle(point)
        assert set(there) <= set(usable(cloud))
    assert cut == 8 and same(cloud, never.path)
    begun = [row["step"] for row in jsonl.rows(cloud / "clock.jsonl") if row["event"] == "begin"]
    assert begun[-1] == max(there, default=0)


def test_merged_on_it_nothing_is_lost_when_it_is_cut(data, never, tmp_path):
    """Until what is merged has arrived, the originals are there, wherever they are moved to."""
    backing, chance, cut, killed = tmp_path / "cloud", random.Random(0), 0, True
    one = train(data, **{**SMALL, "out": str(backing / "runs" / "one"), "steps": 24, "checkpoint_every": EVERY})
    two = branch([str(one.path)], at=16, out=str(backing / "runs" / "two"), quiet=True)[0]
    continue_([str(two.path)], steps=STEPS, quiet=True)
    before = {name: files_of(backing / "runs" / name) for name in ("one", "two")}
    while killed:
        point = tmp_path / f"session {cut}"
        with mounted(backing, point, seed=cut, lag=0.4, flock="refused") as drive:
            runs, old = point / "runs", point / "old"
            merged = runs / "merged"
            if merged.exists() and cut < 8:
                shutil.rmtree(merged)
            originals = [str(place / name) for name in before for place in (runs, old) if (place / name).exists()]
            archive = str(point / "old") if all(str(runs) in name for name in originals) else ""
            work = lambda: merge(originals, out=str(merged), archive=archive, quiet=True)  # noqa: B023, E731
            killed = here(work, drive, chance.uniform(0.1, 0.6) if cut < 8 else 600)
            cut += killed
            if not killed:
                settle(point)
        for name, files in before.items():
            places = [backing / folder / name for folder in ("runs", "old") if (backing / folder / name).exists()]
            assert len(places) == 1 and files_of(places[0]) == files
    assert cut == 8 and (backing / "runs" / "merged" / "log.jsonl").read_bytes() == files_of(never.path)["log.jsonl"]
    assert max(usable(backing / "runs" / "merged")) == STEPS


def test_synced_from_what_has_arrived_there_is_a_run_at_every_moment(data, never, tmp_path):
    """While it is trained elsewhere, and cut off; and home again is the same."""
    backing, home, chance, cut, killed = tmp_path / "cloud", tmp_path / "home", random.Random(1), 0, True
    newest = 0
    while killed:
        point = tmp_path / f"session {cut}"
        with mounted(backing, point, seed=cut, lag=0.6) as drive:
            run = point / "runs" / "a"
            there = usable(backing / "runs" / "a")
            if not there and run.exists():
                shutil.rmtree(run)
                shutil.rmtree(home, ignore_errors=True)

            def work(run=run, there=there):
                if there:
                    continue_([str(run)], steps=STEPS, quiet=True)
                else:
                    train(data, **{**SMALL, "out": str(run), "steps": STEPS, "checkpoint_every": EVERY})

            killed = here(work, drive, chance.uniform(0.3, 1.0) if cut < 5 else 600)
            cut += killed
            if not killed:
                settle(point)
        for _ in range(2):
            with suppress(ValueError, NotSynced):
                sync(str(backing / "runs"), str(home), quiet=True)
        reached = max(usable(home / "a"), default=0)
        assert newest <= reached
        newest = reached
    assert newest == STEPS and same(home / "a", never.path)


def test_synced_to_it_and_cut_it_is_done_again(never, tmp_path):
    backing, home, chance, cut, killed = tmp_path / "cloud", tmp_path / "home", random.Random(2), 0, True
    shutil.copytree(never.path, home / "a")
    while killed:
        point = tmp_path / f"session {cut}"
        with mounted(backing, point, seed=cut, lag=0.4, flock="refused") as drive:
            work = lambda: sync(str(home), str(point / "runs"), quiet=True)  # noqa: B023, E731
            there = usable(backing / "runs" / "a")
            killed = here(work, drive, chance.uniform(0.1, 1.0) if cut < 6 else 600)
            cut += killed
            if not killed:
                settle(point)
        assert set(there) <= set(usable(backing / "runs" / "a"))
    assert cut == 6 and same(backing / "runs" / "a", never.path)
