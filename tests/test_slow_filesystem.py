"""A mounted cloud folder that is slow, sends what is written late and in another order, and is cut off."""

import json
import os
import random
import shutil
import signal
import threading
import time
import traceback
from contextlib import suppress
from functools import partial

import pytest
import torch

from families import SMALL, cohort
from slow_filesystem import mounted, settle
from test_sync import needed
from vitalsynth import checkpoints
from vitalsynth.commands.branch import branch
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.merge import merge
from vitalsynth.commands.sync import NotSynced, sync
from vitalsynth.commands.train import train
from vitalsynth.frames import to_frame
from vitalsynth.processes import hold
from vitalsynth.runs import Run, jsonl

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


def session(work, backing, point, seed, seconds, **options):
    """Do something in a process of its own on a mounted folder; kill both after some time, or let all be sent.

    Args:
        work: What is done.
        backing: What the cloud has.
        point: Where it is mounted.
        seed: Of the file system.
        seconds: After which all is cut off; None lets it end.
        options: Of the file system.
    """
    with mounted(backing, point, seed=seed, **options) as drive:
        if (child := os.fork()) == 0:
            code = 1
            try:
                torch.set_num_threads(1)
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        if seconds is None:
            assert os.waitpid(child, 0)[1] == 0
            settle(point)
            return
        time.sleep(seconds)
        os.kill(child, signal.SIGSTOP)  # or it could see the folder go, and end with an error, before it is killed
        drive.kill()
        os.kill(child, signal.SIGKILL)  # what ended by itself waits for its parent
        assert os.waitpid(child, 0)[1] in (0, signal.SIGKILL)


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


def carried(run, other):
    """Say whether a run has the log of another and its last checkpoint, and no whole checkpoint that the other lacks.

    One that a cut damaged stays behind, damaged, when the run is carried on from a later one.
    """
    there = dict(checkpoints.whole(other / "checkpoints"))
    here = dict(checkpoints.whole(run / "checkpoints"))
    log = (run / "log.jsonl").read_bytes() == (other / "log.jsonl").read_bytes()
    return log and max(here) == max(there) and all(there.get(step) == files for step, files in here.items())


def files_of(run):
    names = [run / "log.jsonl", *sorted((run / "checkpoints").rglob("*"))]
    return {str(file.relative_to(run)): file.read_bytes() for file in names if file.is_file()}


def trained(data, run, there):
    """Train a run, or carry it on; one of which nothing had arrived that could be carried on is begun again."""
    if there:
        continue_([str(run)], steps=STEPS, quiet=True)
    else:
        shutil.rmtree(run, ignore_errors=True)
        train(data, **{**SMALL, "out": str(run), "steps": STEPS, "checkpoint_every": EVERY})


@pytest.mark.parametrize(("flock", "fsync"), [("refused", 0.5), ("local", 0.0)])
def test_cut_at_random_it_carries_on_as_if_it_never_was(flock, fsync, data, never, tmp_path):
    """And from the newest checkpoint that got through."""
    backing, chance = tmp_path / "cloud", random.Random(flock)
    run = backing / "runs" / "a"
    for cut in range(9):
        point, there = tmp_path / f"session {cut}", usable(run)
        seconds = chance.uniform(0.3, 1.0) if cut < 8 else None
        work = partial(trained, data, point / "runs" / "a", there)
        session(work, backing, point, cut, seconds, lag=0.4, flock=flock, fsync=fsync)
        assert set(there) <= set(usable(run))
    begun = [row["step"] for row in jsonl.rows(run / "clock.jsonl") if row["event"] == "begin"]
    assert carried(run, never.path)
    assert begun and (begun[-1] == max(there, default=0) or max(there) == STEPS)  # else there was nothing left to do


def test_merged_on_it_nothing_is_lost_when_it_is_cut(data, never, tmp_path):
    """Until what is merged has arrived, the originals are there, wherever they are moved to."""
    backing, chance = tmp_path / "cloud", random.Random(0)
    one = train(data, **{**SMALL, "out": str(backing / "runs" / "one"), "steps": 24, "checkpoint_every": EVERY})
    two = branch([str(one.path)], at=16, out=str(backing / "runs" / "two"), quiet=True)[0]
    continue_([str(two.path)], steps=STEPS, quiet=True)
    before = {name: files_of(backing / "runs" / name) for name in ("one", "two")}

    def merged(drive):
        shutil.rmtree(drive / "runs" / "merged", ignore_errors=True)
        originals = sorted(str(run) for run in drive.glob("[!.]*/[!.]*"))
        archive = str(drive / "old") if (drive / "runs" / "one").exists() else ""
        merge(originals, out=str(drive / "runs" / "merged"), archive=archive, quiet=True)

    for cut in range(9):
        point = tmp_path / f"session {cut}"
        seconds = chance.uniform(0.1, 1.0) if cut < 8 else None
        session(partial(merged, point), backing, point, cut, seconds, lag=0.4)
        for name, files in before.items():
            assert [files_of(run) for run in backing.glob(f"[!.]*/{name}")] == [files]
    run = backing / "runs" / "merged"
    assert files_of(run)["log.jsonl"] == files_of(never.path)["log.jsonl"] and max(usable(run)) == STEPS


def test_synced_from_what_has_arrived_there_is_a_run_at_every_moment(data, never, tmp_path):
    """While it is trained elsewhere, and cut off; and what is home in the end is the run never interrupted."""
    needed("rsync")
    backing, home, chance, newest = tmp_path / "cloud", tmp_path / "home", random.Random(1), 0
    run, stop = backing / "runs" / "a", threading.Event()
    train(data, **{**SMALL, "out": str(run), "steps": EVERY, "checkpoint_every": EVERY})

    def follow():
        while not stop.is_set():
            with suppress(ValueError, NotSynced):  # nothing there yet, or not all of it
                sync(str(backing / "runs"), str(home), quiet=True)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        for cut in range(6):
            point, there = tmp_path / f"session {cut}", usable(run)
            seconds = chance.uniform(0.6, 1.2) if cut < 5 else None
            session(partial(trained, data, point / "runs" / "a", there), backing, point, cut, seconds, lag=0.6)
            reached = max(usable(home / "a"), default=0)
            assert newest <= reached
            newest = reached
    finally:
        stop.set()
        thread.join()
    sync(str(backing / "runs"), str(home), quiet=True)
    assert carried(home / "a", never.path) and usable(home / "a") == usable(run)


def test_synced_to_it_and_cut_it_is_done_again(never, tmp_path):
    needed("rsync")
    backing, home, chance = tmp_path / "cloud", tmp_path / "home", random.Random(2)
    shutil.copytree(never.path, home / "a")
    for cut in range(7):
        point, there = tmp_path / f"session {cut}", usable(backing / "runs" / "a")
        seconds = chance.uniform(0.1, 1.0) if cut < 6 else None
        session(partial(sync, str(home), str(point / "runs"), quiet=True), backing, point, cut, seconds, lag=0.4)
        assert set(there) <= set(usable(backing / "runs" / "a"))
    assert same(backing / "runs" / "a", never.path)


def test_a_run_is_locked_where_there_are_no_locks(data, tmp_path):
    with mounted(tmp_path / "cloud", tmp_path / "drive", flock="refused"):
        run = train(data, **{**SMALL, "out": str(tmp_path / "drive" / "a"), "steps": 4})

        def tried():
            """Lock it in another process; return whether that could be done."""
            if (child := os.fork()) == 0:
                try:
                    with Run(run.path).lock():
                        os._exit(0)
                except ValueError as error:
                    os._exit(2 if "is in use by process" in str(error) else 1)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

        with run.lock():
            assert Run(run.path).in_use() and tried() == 2
        assert not Run(run.path).in_use() and tried() == 0
        with pytest.raises(ValueError, match="without locks"):
            hold(run.path / "another.lock")


@pytest.mark.parametrize("rows", [0, 3, 9])
def test_a_log_that_arrived_in_part_is_that_of_the_checkpoints(rows, never, tmp_path):
    run = shutil.copytree(never.path, tmp_path / "run")
    lines = (run / "log.jsonl").read_bytes().splitlines(keepends=True)
    (run / "log.jsonl").write_bytes(b"".join(lines[:rows]) + lines[rows][:7])
    assert usable(run) == usable(never.path)
    continue_([str(run)], steps=STEPS + EVERY, quiet=True)
    assert (run / "log.jsonl").read_bytes().startswith(b"".join(lines))
    shutil.rmtree(run / "checkpoints" / f"{2 * EVERY:08d}")
    (run / "log.jsonl").write_bytes(b"".join(lines[:rows]))
    assert usable(run) == ([EVERY] if rows < 2 * EVERY else [step for step in usable(never.path) if step != 8] + [44])


@pytest.mark.parametrize("file", ["checkpoints/00000012/networks.safetensors", "run.json", "preparation.json"])
def test_what_a_cut_damaged_elsewhere_is_copied_again(file, never, tmp_path):
    needed("rsync")
    there = shutil.copytree(never.path, tmp_path / "there" / "run")
    (there / file).write_bytes((there / file).read_bytes()[:-9])
    sync(str(never.path), str(there), quiet=True)
    assert same(there, never.path) and Run(there).record["id"] == never.record["id"]
    sync(str(there), str(tmp_path / "home" / "run"), quiet=True)
    (there / "checkpoints/00000012/state.json").write_bytes(b"")
    sync(str(there), str(tmp_path / "home" / "run"), quiet=True)
    assert same(tmp_path / "home" / "run", never.path)
