"""Whatever goes wrong between any two system calls, every run loads, and none holds wrong bytes."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The library that makes system calls go wrong."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        if os.environ.get("CI"):
            pytest.fail("faults need a C compiler on Linux, and CI must have it")
        pytest.skip("faults need a C compiler on Linux")
    target = tmp_path_factory.mktemp("library") / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", target, HERE / "faults.c", "-ldl"], check=True)
    return target


def test_no_fault_at_any_system_call_loses_a_run(library, tmp_path, capsys):
    """Killed, torn, disk full, unreadable, forbidden, power cut: over save, merge, prune, pack, unpack and branch."""
    command = [sys.executable, HERE / "faults.py", tmp_path]
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    points = [json.loads(line) for line in done.stdout.splitlines()]
    struck = [point for point in points if point["code"] != 0]
    table = Counter((point["operation"], point["mode"]) for point in struck)
    with capsys.disabled():
        print(f"\n{len(points)} faults, of which {len(struck)} ended the operation:")
        for (operation, mode), count in sorted(table.items()):
            print(f"  {operation:7} {mode:11} {count}")
    assert not [p for p in points if p["code"] not in (0, 3, 137)], (
        done.stderr
    )  # an error that users are told, or death
    assert not [p for p in points if not p["sound"]], done.stderr
    assert not [p for p in points if not p["done"]], done.stderr
    asked_for = [p for p in struck if p["operation"] in ("save", "merge", "prune", "pack")]
    assert len(asked_for) >= 200
    never = {(p["operation"], p["mode"]) for p in points} - {(p["operation"], p["mode"]) for p in struck}
    assert never <= {("prune", "ENOSPC")}  # which only cuts and removes


def test_the_faults_are_real(library, tmp_path):
    """A write in place, without another name first, is caught torn; an unsynced one is lost in a power cut."""
    script = """
import ctypes, os, sys
folder, point, mode = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ctypes.CDLL(None).faults_arm(folder.encode(), ctypes.c_long(point), mode, ctypes.c_ulong(4))
with open(folder + "/file", "wb", buffering=0) as file:
    file.write(b"x" * 1000)
    if len(sys.argv) > 4:
        os.fsync(file.fileno())
os.mkdir(folder + "/later")
"""

    def left(point, mode, *sync):
        shutil.rmtree(tmp_path / "d", ignore_errors=True)
        (tmp_path / "d").mkdir()
        command = [sys.executable, "-c", script, tmp_path / "d", str(point), str(mode), *sync]
        code = subprocess.run(command, env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True).returncode
        file = tmp_path / "d" / "file"
        return code, file.stat().st_size if file.exists() else None

    assert left(0, 0) == (0, 1000)
    assert left(1, 1) == (137, None)
    assert left(2, 2) == (137, 500)
    assert left(2, 3) == (1, 0)
    assert left(2, 4) == (1, 0)
    assert left(1, 5) == (1, None)
    lost = left(3, 6)
    assert lost[0] == 137 and (lost[1] is None or lost[1] < 1000)
    assert left(4, 6, "sync")[1] in (None, 1000)  # its content is safe, its name is not: the folder was not synced
