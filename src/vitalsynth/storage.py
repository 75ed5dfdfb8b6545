"""Writing files and folders whole or not at all: another name first, synced, then renamed.

Whatever a process is doing when it dies, or the power goes, what was there before is still there, and what is new is
there as a whole or not at all. Removing goes the other way round: a hidden name first, so that nothing half removed
ever has a name that is read.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

HALF = ".*.half*"
"""What the names match of hidden files and folders that are being made or removed."""
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""What a file system says that has no locks, as some mounted cloud folders have none."""
DAY = 86400.0
"""Seconds after which nothing that is half made is being made any more, where no lock can say so."""


def _hidden(path: Path) -> Path:
    """Return another name in the same folder, with the suffix kept, which writers go by."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.half{path.suffix}")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; when the block ends well, it becomes `path`, else it is removed.

    What was at `path` is replaced, but for a device or a pipe: root can rename over /dev/null, and every program on the
    machine would miss it.

    Raises:
        OSError: as the block raised it, with the name of the file where the system gave none (a full disk).
        ValueError: if a device or a pipe is at `path`.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"{path} is a device or a pipe: name a file, which is written beside itself and renamed")
    temporary = _hidden(path)
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    sync_folder(path.parent)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a hidden folder beside `path`; when the block ends well, it becomes `path`, else it is removed.

    Folders that lead there are made. What a process left that died while it made the same folder is removed.

    Raises:
        ValueError: if something is there already.
    """
    path = Path(path)
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear(path.parent, f".{glob.escape(path.name)}{HALF[1:]}")
    temporary = _hidden(path)
    temporary.mkdir()
    handle = os.open(temporary, os.O_RDONLY)
    try:
        lock(handle, fcntl.LOCK_EX)  # says that its maker lives
        yield temporary
        for folder, _, _ in os.walk(temporary):
            sync_folder(folder)
        refuse_existing(path)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        os.close(handle)
    sync_folder(path.parent)


def clear(folder: Path, pattern: str = HALF) -> None:
    """Remove what dead processes left half made or half removed in a folder; folders that are being made are locked."""
    for left_over in folder.glob(pattern):
        with suppress(OSError):
            handle = os.open(left_over, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                locked = lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not locked and time.time() - os.fstat(handle).st_mtime < DAY:
                    continue
                shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
            finally:
                os.close(handle)


def lock(handle: int, operation: int) -> bool:
    """Do what `fcntl.flock` does; return False where the file system has no locks."""
    try:
        fcntl.flock(handle, operation)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    return True


def refuse_existing(path: str | Path, advice: str = "remove it or choose another place") -> None:
    """Refuse to write where something is, or where nothing can be.

    Raises:
        ValueError: if there is something, the name is empty, or what is above it is no folder or cannot be written to.
    """
    if not str(path):
        raise ValueError("--out is empty; name a place to write to")
    if os.path.lexists(path):
        raise ValueError(f"{path} exists; {advice}")
    above = next(each for each in Path(path).absolute().parents if each.exists())
    if not above.is_dir():
        raise ValueError(f"{path} cannot be made: {above} is a file, not a folder")
    if not os.access(above, os.W_OK):
        raise ValueError(f"{path} cannot be made: nothing may be written in {above}")


def numbered(folder: Path, name: str) -> Path:
    """Return the path of that name with the next number, NAME-4, in a folder in which all have numbers."""
    there = folder.iterdir() if folder.exists() else ()
    taken = [int(number) for each in there if (number := each.name.rpartition("-")[2]).isdecimal()]
    return folder / f"{name}-{max(taken, default=0) + 1}"


def remove(folder: Path) -> None:
    """Remove a folder: first its name, for good, then what is in it."""
    hidden = _hidden(folder)
    folder.rename(hidden)
    sync_folder(folder.parent)
    shutil.rmtree(hidden, ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Write a new file and sync it; for folders that are not there under their own name yet."""
    with naming(path), path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Make the content of a file survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def copy(source: Path, target: Path) -> None:
    """Copy a file to a new one and sync it; for folders that are not there under their own name yet."""
    with naming(target), source.open("rb") as old, target.open("xb") as new:
        shutil.copyfileobj(old, new, 2**20)
        new.flush()
        os.fsync(new.fileno())


def copy_folder(source: Path, target: Path) -> None:
    """Copy what is in a folder, but for hidden files, into a new one, synced file by file.

    Raises:
        ValueError: if there is anything but plain files and folders.
    """
    for folder, names, files in os.walk(source):
        names[:] = [name for name in names if not name.startswith(".")]
        here = target / Path(folder).relative_to(source)
        here.mkdir(exist_ok=True)
        for name in files:
            if not name.startswith("."):
                refuse_special(Path(folder, name))
                copy(Path(folder, name), here / name)


def refuse_special(path: Path) -> None:
    """Refuse what is neither a plain file nor a folder, as it may lead elsewhere, or never end.

    Raises:
        ValueError: if it is a symbolic link, a pipe or a device.
    """
    if path.is_symlink():
        raise ValueError(f"{path} is a symbolic link, which a run never has")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"{path} is neither a file nor a folder")


def sha256(content: bytes) -> str:
    """Return the SHA-256 as text."""
    return hashlib.sha256(content).hexdigest()


def expand(pattern: str | Path) -> list[str]:
    """Return what a path or glob stands for, in order; a path that is there stands for itself, whatever is in it."""
    plain = os.path.expanduser(str(pattern))
    return [plain] if os.path.exists(plain) else sorted(glob.glob(plain, recursive=True))


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    if not path.is_dir():
        return path.lstat().st_size
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def in_words(count: float) -> str:
    """Write a number of bytes as people read it: 3.1 MB."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if count >= 1000**power:
            return f"{count / 1000**power:.1f} {unit}"
    return f"{count:.0f} bytes"


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Give errors of the operating system that name no file (a full disk) the name of this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def sync_folder(folder: str | Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_record(folder: Path, kind: str, known: int) -> dict[str, Any]:
    """Return what KIND.json in a folder says.

    Args:
        folder: Of something on disk.
        kind: What it should be: sweep, review.
        known: The format that this version reads.

    Raises:
        ValueError: if it is none, damaged, or of another format.
    """
    try:
        record = json.loads((folder / f"{kind}.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{folder} is no {kind} (it has no {kind}.json)") from None
    except ValueError as error:
        raise ValueError(f"{folder}: {kind}.json is damaged ({error})") from None
    if record.get("format") != known:
        raise ValueError(f"{folder} has {kind} format {record.get('format')}; this version reads {known}")
    return record
