"""Runs every kind of change to a run into a fault at a random system call; see test_faults.py.

Started with faults.c in LD_PRELOAD: python faults.py FOLDER. Prints a JSON line for every fault.
"""

import ctypes
import json
import logging
import os
import random
import shutil
import sys
import traceback
from functools import partial
from pathlib import Path

import torch
import torch._dynamo  # optimisers import it on first use: once here, not in every process

from families import cohort
from vitalsynth import checkpoints
from vitalsynth.commands.branch import branch
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.train import train
from vitalsynth.discriminators import Convolutional
from vitalsynth.generators import LSTM
from vitalsynth.runs import Run, archive, below, merging, pruning

logging.disable()
torch.set_num_threads(1)
LIBRARY = ctypes.CDLL(None)
LIBRARY.faults_count.restype = ctypes.c_long
MODES = {"kill": 1, "torn write": 2, "ENOSPC": 3, "EIO": 4, "EACCES": 5, "power cut": 6}
DATA = cohort(count=24, length=4)
SMALL = {"generator": partial(LSTM, hidden=2), "discriminator": partial(Convolutional, width=4, blocks=1), "batch": 4}


def save(work):
    continue_([str(work / "a")], steps=20, quiet=True, data=DATA)


def merge(work):
    """Merge, and move the originals away; what a fault left undone is done when it is called again."""
    originals = [work / name for name in "ab" if (work / name).exists()]
    if not (work / "m").exists():
        merging.merge([Run(path) for path in originals], work / "m")
    merging.move([Run(path) for path in originals], [work / "old" / path.name for path in originals])


def prune(work):
    pruning.prune(pruning.plan(Run(work / "p"), keep_last=1, keep_every=10))


def pack(work):
    archive.pack(Run(work / "a"), work / "a.zip")


def unpack(work):
    archive.unpack(work / "p.zip", work / "unpacked")


def make(work):
    branch([str(work / "a")], out=str(work / "made"), at=5, quiet=True, data=DATA)


OPERATIONS = (save, merge, prune, pack, unpack, make)
ROUNDS = {save: 10, merge: 10, prune: 10, pack: 10, unpack: 4, make: 4}  # how often each fault strikes it


def in_child(task, *arguments):
    """Run in a process of its own; return its exit code: 0 well, 3 an error that users are told, 137 died, else 9."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            task(*arguments)
        except (OSError, ValueError):
            code = 3
        except BaseException:
            traceback.print_exc()
            code = 9
        sys.stdout.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def base(folder):
    """A run with a half trained end, one that goes on from it, one to prune, and a packed one."""
    train(DATA, out=str(folder / "a"), steps=13, checkpoint_every=5, quiet=True, **SMALL)
    branch([str(folder / "a")], out=str(folder / "b"), at=10, steps=15, quiet=True, data=DATA)
    shutil.copytree(folder / "b", folder / "p")
    continue_([str(folder / "p")], steps=25, quiet=True, data=DATA)
    with (folder / "p" / "log.jsonl").open("ab") as log:
        log.write(b'{"step": 26}\n')
    archive.pack(Run(folder / "p"), folder / "p.zip")


def files_of(run):
    """What may not change but as a whole: all files of a run, less what a rerun does not reproduce."""
    names = [file for file in sorted(Path(run).rglob("*")) if file.is_file()]
    kept = [file for file in names if file.name not in (".lock", "clock.jsonl")]
    return {str(file.relative_to(run)): file.read_bytes() for file in kept}


def armed(operation, work, point, mode, seed):
    LIBRARY.faults_arm(os.fsencode(work), ctypes.c_long(point), mode, ctypes.c_ulong(seed))
    operation(work)


def count_calls(operation, work, report):
    armed(operation, work, 0, 0, 0)
    report.write_text(str(LIBRARY.faults_count()))


def check_all(work, before, after):
    """Every run that has a name loads, and holds what it held before, or what it shall hold, and nothing else."""
    for path in below([work]):
        run = Run(path)
        tensors, state = run.newest()
        assert tensors["networks"], path
        run.verify_log(state)
        for step in checkpoints.steps(run.checkpoints):
            checkpoints.load(run.checkpoint(step))
        name = path.relative_to(work).parts[-1]
        known = [tree[name] for tree in (before, after) if name in tree]
        for file, content in files_of(path).items():
            if any(part.startswith(".") for part in Path(file).parts):
                continue  # hidden: nobody reads it
            if file == "log.jsonl":
                whole = b"".join(run.log_lines(run.start, state["step"]))
                assert any(tree[file].startswith(whole) for tree in known), f"{path}: rows that were never written"
            elif path.name != "made" or file != "run.json":  # a new run has a new id; its own digest was checked
                assert any(tree.get(file) == content for tree in known), f"{path / file} holds wrong bytes"
    for name in before:
        places = [work / name, work / "old" / name]
        assert sum((place / "run.json").exists() for place in places) == 1, f"{name} is lost, or there twice"
    for packed in work.glob("[!.]*.zip"):
        shutil.rmtree(work / "checked", ignore_errors=True)
        archive.unpack(packed, work / "checked")
        shutil.rmtree(work / "checked")


def trees_of(work):
    return {path.name: files_of(path) for path in below([work])}


def main(folder):
    folder = Path(folder).resolve()
    assert in_child(lambda: base((folder / "base").mkdir() or folder / "base")) == 0
    before = trees_of(folder / "base")
    work = folder / "work"
    calls, after = {}, {}
    for operation in OPERATIONS:
        shutil.copytree(folder / "base", work)
        assert in_child(count_calls, operation, work, folder / "count") == 0
        calls[operation] = int((folder / "count").read_text())
        after[operation] = trees_of(work)
        shutil.rmtree(work)
    draw = random.Random(0)
    for operation, mode in ((op, mode) for op in OPERATIONS for mode in MODES for _ in range(ROUNDS[op])):
        point, seed = draw.randint(1, calls[operation]), draw.randrange(2**30)
        shutil.copytree(folder / "base", work)
        code = in_child(armed, operation, work, point, MODES[mode], seed)
        row = {"operation": operation.__name__, "mode": mode, "call": point, "of": calls[operation], "code": code}
        row["sound"] = in_child(check_all, work, before, after[operation]) == 0
        row["done"] = in_child(finish, operation, work, after[operation]) == 0  # it can be done again, to the same end
        print(json.dumps(row), flush=True)
        shutil.rmtree(work)
        shutil.rmtree(f"{work}.spool", ignore_errors=True)


def finish(operation, work, after):
    made = {pack: "a.zip", unpack: "unpacked", make: "made"}.get(operation)
    if made is None or not (work / made).exists():
        operation(work)
    for name, files in after.items():
        path = next(path for path in below([work]) if path.name == name)
        for file, content in files_of(path).items():
            if not any(part.startswith(".") for part in Path(file).parts) and file != "run.json":
                assert files[file] == content, f"{path / file} is not as it would have been"


if __name__ == "__main__":
    main(sys.argv[1])
