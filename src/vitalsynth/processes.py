"""Commands in processes of their own, and locks that go with processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

STOPPED = 75
"""Exit code of a command that was stopped and can be carried on."""


def start(
    words: Sequence[str], log: BinaryIO, trusted: Iterable[str], threads: int = 1, directory: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a command, with its output in a log.

    Args:
        words: Its command line.
        log: Open for writing; a lock on it is shared with the process.
        trusted: Code of the user's own that it may import, as import paths.
        threads: That it takes, unless OMP_NUM_THREADS says otherwise.
        directory: Where it runs; here by default.
    """
    trust = ",".join(filter(None, [os.environ.get("VITALSYNTH_TRUST"), *trusted]))
    return subprocess.Popen(
        [sys.executable, "-m", "vitalsynth", *words],
        env={"OMP_NUM_THREADS": str(threads), **os.environ, "VITALSYNTH_TRUST": trust},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=directory,
    )


def hold(path: Path, wait: bool = False) -> BinaryIO | None:
    """Open a file for appending, and lock it until everyone who was given it has closed it, or died.

    Args:
        path: It is made if it is not there.
        wait: Until whoever holds it lets go.

    Returns:
        The file; None if somebody else holds it.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.close()
        return None
    return file
