"""Commands in processes of their own, what asks them to stop, and locks that go with processes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from .storage import lock

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
        threads: That it takes; of one, OMP_NUM_THREADS may say otherwise.
        directory: Where it runs; here by default.
    """
    trust = ",".join(filter(None, [os.environ.get("VITALSYNTH_TRUST"), *trusted]))
    environment = {"OMP_NUM_THREADS": "1"} | os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads > 1 else {})
    return subprocess.Popen(
        [sys.executable, "-m", "vitalsynth", *words],
        env=environment | {"VITALSYNTH_TRUST": trust},
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

    Raises:
        ValueError: if there are no locks on the file system.
    """
    file = path.open("ab")
    try:
        if not lock(file.fileno(), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)):
            file.close()
            raise ValueError(f"{path.parent} lies on a file system without locks, which this needs; choose another")
    except BlockingIOError:
        file.close()
        return None
    return file


def lockable(path: Path, flags: int) -> int:
    """Open a file to be locked, or where its file system has no locks, one of this machine that stands for it.

    Raises:
        OSError: if it cannot be opened.
    """
    handle = os.open(path, flags | os.O_NOFOLLOW, 0o644)
    if lock(handle, fcntl.LOCK_UN):
        return handle
    os.close(handle)
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    own = Path(tempfile.gettempdir(), f"vitalsynth-{os.getuid()}-{name}.lock")
    return os.open(own, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)


def held_elsewhere(handle: int) -> bool:
    """Say whether another process holds a lock on an open file, which is closed."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, as others may look too
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


class StopFlag:
    """Turns SIGINT and SIGTERM into a flag while it is entered; a second SIGINT acts as it would without.

    SIGTERM may be said again: SLURM tells every process of a job, and so does whoever started them.
    """

    def __init__(self) -> None:
        self.raised = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._raise)
        return self

    def _raise(self, number: int, frame: Any) -> None:
        self.raised = True
        if number == signal.SIGINT:
            self._restore(signal.SIGINT)

    def _restore(self, *numbers: int) -> None:
        for number in numbers:
            signal.signal(number, self._before.pop(number))

    def __exit__(self, *_: object) -> None:
        self._restore(*self._before)
