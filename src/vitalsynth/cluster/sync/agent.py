"""What is done to a folder of runs where it lies: called here, and sent over ssh as it is to a python3 (3.7 or later).

So it imports nothing of ours, and takes and returns plain data. A run that is copied comes into a hidden folder in it
first, and is put in place file by file under the run's lock; a checkpoint by one renaming of its folder, as a whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager, suppress

STAGING = ".incoming.half"
"""Where the files of a run arrive."""
BLOCK = 2**20
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


class Refused(Exception):
    """What cannot be done to a folder, in a line."""


def survey(root, names, kind, known):
    """Say what runs there are at and below a folder, and what is in them.

    Args:
        root: The folder; it need not be there.
        names: Which runs; None for all.
        kind: Of digest: sha256, sha1 or md5.
        known: What this said before; files of the same size and time are not read again.

    Returns:
        `root`: the real path. `is_run`: whether it is a run itself. `left_out`: links and what else was passed over.
        `runs`: by path below the root, "." for itself: `files` {name: [size, modified, digest]}, of *.jsonl their whole
        lines; `record`: run.json as text, None without one; `running`; `ours`: whether it is a run, a part of one that
        was copied, or free.
    """
    root = os.path.realpath(os.path.expanduser(root))
    left_out = []
    names = list(_runs(root, left_out)) if names is None else names
    runs = {}
    for name in names:
        folder = os.path.join(root, name)
        _no_links(root, name)
        is_run = os.path.isfile(os.path.join(folder, "run.json"))
        ours = is_run or not os.path.exists(folder) or not set(os.listdir(folder)) - {".lock"}
        ours = ours or os.path.isdir(os.path.join(folder, STAGING))
        runs[name] = {"files": {}, "record": None, "running": False, "ours": ours}
        if not ours:
            continue
        if is_run:
            runs[name]["running"] = _running(folder)  # asked first, so that of a run that ended all is seen
            with open(os.path.join(folder, "run.json"), "rb") as file:
                runs[name]["record"] = file.read().decode("utf-8", "replace")
        runs[name]["files"] = _files(folder, kind, known.get(name, {}), left_out)
    is_run = os.path.isfile(os.path.join(root, "run.json"))
    return {"root": root, "is_run": is_run, "runs": runs, "left_out": left_out}


def _runs(root, left_out):
    for folder, names, files in os.walk(root):
        if "run.json" in files:
            names.clear()
            yield os.path.relpath(folder, root)
        names[:] = sorted(name for name in names if not name.startswith("."))
        left_out += [path for path in (os.path.join(folder, name) for name in names) if os.path.islink(path)]


def _files(folder, kind, known, left_out):
    found = []
    for path, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in (*names, *files):
            whole = os.path.join(path, name)
            if name.startswith("."):
                continue
            if os.path.islink(whole) or not is_plain(name) or (name in files and not os.path.isfile(whole)):
                left_out.append(whole)
            elif name in files:
                found.append(os.path.relpath(whole, folder))
        names[:] = filter(is_plain, names)
    described, gone = {}, set()
    for name in found:  # the log after all checkpoints are listed, so that it has the rows of each
        try:
            described[name] = _describe(os.path.join(folder, name), kind, known.get(name))
        except FileNotFoundError:
            gone.add(os.path.dirname(name))  # a checkpoint that was just dropped
    return {name: about for name, about in described.items() if not gone or os.path.dirname(name) not in gone}


def is_plain(name):
    """Say whether a file's path stays in its folder, and has no line breaks or other control characters in it."""
    return not {"", os.curdir, os.pardir} & set(name.split("/")) and all(c >= " " and c != "\x7f" for c in name)


def _describe(path, kind, known):
    with _open(path) as file:
        about = os.fstat(file.fileno())
        if known and known[:2] == [about.st_size, about.st_mtime_ns]:
            return known
        digest, size = hashlib.new(kind), 0
        if not path.endswith(".jsonl"):
            for block in iter(lambda: file.read(BLOCK), b""):
                digest.update(block)
                size += len(block)
        else:
            for line in file:
                if line.endswith(b"\n"):  # the last may still be written
                    digest.update(line)
                    size += len(line)
        return [size, about.st_mtime_ns, digest.hexdigest()]


def _open(path, flags=os.O_RDONLY):
    """Open a plain file, and no link."""
    return os.fdopen(os.open(path, flags | os.O_NOFOLLOW), "rb")


def rows(root, name, file, count):
    """Return how many whole lines a file has, and their SHA-256; of the first `count`, or of all."""
    try:
        with _open(os.path.join(root, name, file)) as lines:
            return rows_of(lines, count)
    except FileNotFoundError:
        return rows_of([], count)


def rows_of(lines, count):
    """Do so for any lines."""
    digest, found = hashlib.sha256(), 0
    for line in lines:
        if found == count or not line.endswith(b"\n"):
            break
        digest.update(line)
        found += 1
    return [found, digest.hexdigest()]


def read(root, name, file):
    """Return the text of a file; empty if it is not there."""
    with suppress(FileNotFoundError), _open(os.path.join(root, name, file)) as content:
        return content.read().decode("utf-8", "replace")
    return ""


def probe(root, content):
    """Write a small file to a folder, read it and delete it; say whether all is there that is needed.

    Returns:
        `there`: whether the folder is. `rsync`: whether it is installed. `clock`: what time the file got. `free`:
        bytes. `locks`: whether the file system has any.
    """
    root = os.path.expanduser(root)
    if not os.path.isdir(root):
        return {"there": False}
    path = os.path.join(root, ".vitalsynth-check-" + str(os.getpid()))
    try:
        with open(path, "x") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            locks = _locks(file.fileno())
        clock = os.stat(path).st_mtime
        with open(path) as file:
            if file.read() != content:
                raise Refused(f"{root}: what was written is not what is read")
    finally:
        with suppress(OSError):
            os.unlink(path)
    free = shutil.disk_usage(root).free
    return {"there": True, "rsync": bool(shutil.which("rsync")), "clock": clock, "free": free, "locks": locks}


def _locks(handle):
    try:
        fcntl.flock(handle, fcntl.LOCK_UN)
    except OSError as error:
        return error.errno not in NO_LOCKS
    return True


def prepare(root, names):
    """Make the folders in which runs arrive."""
    for name in names:
        _no_links(root, os.path.join(name, STAGING))
        os.makedirs(os.path.join(root, name, STAGING), exist_ok=True)


def arrived(root, name, sizes, kind):
    """Return the digests of what has arrived; *.jsonl, which may have grown since, are cut to their size."""
    staging, digests = os.path.join(root, name, STAGING), {}
    for file, size in sizes.items():
        path = os.path.join(staging, file)
        with suppress(OSError):
            _no_links(staging, file)
            if file.endswith(".jsonl") and os.path.getsize(path) > size:
                modified = os.stat(path).st_mtime_ns
                os.truncate(path, size)
                os.utime(path, ns=(modified, modified))
            digest = hashlib.new(kind)
            with _open(path) as content:
                for block in iter(lambda: content.read(BLOCK), b""):
                    digest.update(block)
            digests[file] = digest.hexdigest()
    return digests


def place(root, name, groups, seen):
    """Put what has arrived in place, under the run's lock.

    Args:
        root: The folder above.
        name: Of the run.
        groups: Names of files that belong together, in the order in which they are put in place.
        seen: {name: modified} of the files that will be replaced, as they were when it was decided.
    """
    folder = os.path.join(root, name)
    staging = os.path.join(folder, STAGING)
    with _locked(folder):
        for file, modified in seen.items():
            if os.lstat(os.path.join(folder, file)).st_mtime_ns != modified:
                raise Refused(f"{os.path.join(folder, file)} changed meanwhile")
        for files in groups:
            for file in files:
                _no_links(staging, file)
                _no_links(folder, file)
                with _open(os.path.join(staging, file)) as content:
                    os.fsync(content.fileno())
            parent = os.path.join(folder, os.path.dirname(files[0]))
            if files[0].startswith("checkpoints/") and not os.path.exists(parent):
                _place_folder(staging, files, parent)
            else:
                for file in files:
                    os.makedirs(os.path.dirname(os.path.join(folder, file)), exist_ok=True)
                    os.replace(os.path.join(staging, file), os.path.join(folder, file))
            _sync(os.path.dirname(parent) if files[0].startswith("checkpoints/") else folder)
        if os.path.isfile(os.path.join(folder, "run.json")):  # else it says whose this is
            shutil.rmtree(staging)


def _place_folder(staging, files, target):
    hidden = os.path.join(os.path.dirname(target), "." + os.path.basename(target) + ".half")
    shutil.rmtree(hidden, ignore_errors=True)
    os.makedirs(hidden)
    for file in files:
        os.replace(os.path.join(staging, file), os.path.join(hidden, os.path.basename(file)))
    _sync(hidden)
    os.rename(hidden, target)


def _sync(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _no_links(root, name):
    """Refuse a path that leads out of its folder."""
    path = root
    for part in os.path.normpath(name).split(os.sep):
        if part == os.pardir or os.path.isabs(name):
            raise Refused(f"{name!r} leads out of its folder")
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise Refused(f"{path} is a symbolic link, which a run never has")


@contextmanager
def _locked(folder):
    handle = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        _lock(handle)
        yield
    except BlockingIOError:
        who = os.read(handle, 200).decode("utf-8", "replace").strip() or "another process"
        raise Refused(f"{folder} is in use by {who}") from None
    finally:
        os.close(handle)


def _lock(handle):
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:  # else nobody can have one
            raise


def _running(folder):
    try:
        with _open(os.path.join(folder, ".lock")) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def answer(request):
    """Do what was asked for over ssh."""
    try:
        return {"answer": globals()[request["do"]](*request["arguments"])}
    except (Refused, OSError) as error:
        return {"refused": str(error)}


if __name__ == "__main__":
    print(json.dumps(answer(globals()["request"])))
