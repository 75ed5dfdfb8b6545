"""A file system that behaves as a cloud's mounted folder does (Google Drive, in Colab or on a desk).

Who has it mounted sees what was written. Others, and whoever mounts it next, see the folder behind it, which is what
the cloud has: every name, content, renaming and removal gets there late, each by itself and in any order. A file may be
there under its last name before it has its content, or with a part of it; what is open for writing is not sent; what
replaces a file takes its place before or after that is removed. Every operation takes a moment, fsync is honoured or
not, flock refused or of this mount alone, links and modes are refused, and times are whole seconds. If its process is
killed, as when Colab ends a session, what was not sent yet is lost.

    python slow_filesystem.py BACKING MOUNTPOINT --seed 1 --lag 0.5
"""

import argparse
import errno
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

WAITING = "user.waiting"
"""An attribute of the mounted folder: how much was not sent yet."""


@contextmanager
def mounted(backing, point, seed=0, lag=0.5, delay=0.002, fsync=0.5, flock="refused"):
    """Mount a folder slowly, and give what it is called and the process, which may be killed meanwhile.

    Args:
        backing: What the cloud has.
        point: Where it is mounted.
        seed: Of all delays and choices.
        lag: Most seconds until something is sent.
        delay: Most seconds that an operation takes.
        fsync: Share of the calls that are honoured.
        flock: refused or local.
    """
    if not os.access("/dev/fuse", os.W_OK) or shutil.which("fusermount3") is None:
        reason = "no FUSE here (apt install fuse3)"
        pytest.fail(f"{reason}, and CI must have it") if os.environ.get("CI") else pytest.skip(reason)
    for folder in (backing, point):
        Path(folder).mkdir(parents=True, exist_ok=True)
    options = {"seed": seed, "lag": lag, "delay": delay, "fsync": fsync, "flock": flock}
    words = [f"--{name}={value}" for name, value in options.items()]
    with subprocess.Popen([sys.executable, __file__, str(backing), str(point), *words]) as process:
        try:
            while not os.path.ismount(point):
                assert process.poll() is None, "it cannot be mounted"
                time.sleep(0.02)
            yield process
        finally:
            process.kill()
            process.wait()
            subprocess.run(["umount", "--lazy", point], check=True)


def settle(point):
    """Wait until all that was written has been sent."""
    while int(os.getxattr(point, WAITING)):
        time.sleep(0.02)


@dataclass
class Node:
    """A file or folder: where it is here, whether and where the cloud has it, and when what of it is to be sent."""

    number: int
    parent: int
    name: str
    folder: bool
    sent: tuple[int, str] | None = None
    removed: bool = False
    writers: int = 0
    filled: bool = False
    due: dict[str, float] = field(default_factory=dict)


class Drive:
    """What happens here, at once, and what of it gets into the cloud, later."""

    use_ns = True

    def __init__(self, backing, cache, seed, lag, delay, fsync, flock):
        self.backing, self.cache = Path(backing), Path(cache)
        self.lag, self.delay, self.honoured = lag, delay, fsync
        self.chance, self.mutex = random.Random(seed), threading.RLock()
        self.nodes = {0: Node(0, 0, "", True, (0, ""))}
        self.children = {0: {}}
        self.handles = {}
        if flock == "local":
            self.flock = None  # the kernel then does it, for this mount
        for path in sorted(self.backing.rglob("*")):
            node = self._add(self._find("/" + str(path.parent.relative_to(backing))), path.name, path.is_dir())
            node.sent, node.filled = (node.parent, node.name), True
            if not node.folder:
                shutil.copyfile(path, self._content(node))

    def _find(self, path):
        node = self.nodes[0]
        for name in path.strip("/").split("/"):
            if name not in ("", "."):
                number = self.children.get(node.number, {}).get(name)
                if number is None:
                    raise OSError(errno.ENOENT, path)
                node = self.nodes[number]
        return node

    def _above(self, path):
        parent, _, name = path.rpartition("/")
        return self._find(parent), name

    def _add(self, parent, name, folder):
        node = Node(len(self.nodes), parent.number, name, folder)
        self.nodes[node.number] = node
        self.children[parent.number][name] = node.number
        if folder:
            self.children[node.number] = {}
        return node

    def _content(self, node):
        return self.cache / str(node.number)

    def _slowly(self):
        time.sleep(self.chance.uniform(0, self.delay))

    def _send(self, node, *what):
        for each in what:
            node.due.setdefault(each, time.monotonic() + self.chance.uniform(0, self.lag))

    # What the kernel asks.

    def getattr(self, path, fh=None):
        node = self._find(path)
        kind = stat.S_IFDIR | 0o700 if node.folder else stat.S_IFREG | 0o600
        about = os.stat(self.cache if node.folder else self._content(node))
        seconds = int(about.st_mtime) * 10**9
        times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), seconds)
        return {"st_mode": kind, "st_size": about.st_size, "st_nlink": 1, **times}

    def getxattr(self, path, name, position=0):
        if name != WAITING:
            raise OSError(errno.ENODATA, name)
        with self.mutex:
            return str(sum(len(node.due) for node in self.nodes.values())).encode()

    def statfs(self, path):
        about = os.statvfs(self.backing)
        return {name: getattr(about, name) for name in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail")}

    def readdir(self, path, fh):
        self._slowly()
        return [".", "..", *self.children[self._find(path).number]]

    def mkdir(self, path, mode):
        self._slowly()
        with self.mutex:
            self._send(self._add(*self._above(path), True), "place")

    def create(self, path, mode, fi=None):
        self._slowly()
        with self.mutex:
            node = self._add(*self._above(path), False)
            self._content(node).touch()
            self._send(node, "place", "content")
        return self.open(path, os.O_RDWR)

    def open(self, path, flags):
        node = self._find(path)
        plain = flags & (os.O_ACCMODE | os.O_TRUNC)
        handle = os.open(self._content(node), plain)
        self.handles[handle] = node, bool(plain)
        node.writers += bool(plain)
        if plain & os.O_TRUNC:
            self._send(node, "content")
        return handle

    def read(self, path, size, offset, fh):
        self._slowly()
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        self._slowly()
        with self.mutex:
            self._send(self.handles[fh][0], "content")
            return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        with self.mutex:
            node = self._find(path)
            os.truncate(self._content(node), length)
            self._send(node, "content")

    def utimens(self, path, times=None):
        node = self._find(path)
        if not node.folder:
            os.utime(self._content(node), ns=times)

    def fsync(self, path, datasync, fh):
        with self.mutex:
            if self.chance.random() < self.honoured:
                self._send_now(self.handles[fh][0])

    def release(self, path, fh):
        node, writes = self.handles.pop(fh)
        node.writers -= writes
        os.close(fh)

    def unlink(self, path):
        self._slowly()
        self._remove(path)

    def rmdir(self, path):
        self._slowly()
        if self.children[self._find(path).number]:
            raise OSError(errno.ENOTEMPTY, path)
        self._remove(path)

    def _remove(self, path):
        with self.mutex:
            node = self._find(path)
            del self.children[node.parent][node.name]
            node.removed = True
            node.due.clear()
            self._send(node, "removal")

    def rename(self, old, new):
        self._slowly()
        with self.mutex:
            node = self._find(old)
            parent, name = self._above(new)
            if name in self.children[parent.number]:
                if self.children.get(self.children[parent.number][name]):
                    raise OSError(errno.ENOTEMPTY, new)
                self._remove(new)
            del self.children[node.parent][node.name]
            node.parent, node.name = parent.number, name
            self.children[parent.number][name] = node.number
            self._send(node, "place")

    def _refused(self, *_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    link = symlink = chmod = chown = flock = _refused

    # What the cloud gets.

    def _there(self, node):
        """Return where the cloud has a file or folder."""
        parent, name = node.sent
        return self._there(self.nodes[parent]) / name if node.number else self.backing

    def _step(self, node, what):
        """Send one thing, if that can be done now."""
        if not self._can(node, what):
            return
        del node.due[what]
        if what == "removal" and node.sent:
            there = self._there(node)
            there.rmdir() if node.folder else there.unlink()
            node.sent = None
        elif what == "place":
            self._put(node)
        elif what == "content":
            content = self._content(node).read_bytes()
            if not node.filled and content and self.chance.random() < 0.3:
                self._there(node).write_bytes(content[: self.chance.randrange(len(content))])
                self._send(node, "content")
            else:
                self._content(node).with_suffix(".new").write_bytes(content)
                shutil.move(self._content(node).with_suffix(".new"), self._there(node))
            node.filled = True

    def _can(self, node, what):
        if what == "removal":
            return node.sent is None or not node.folder or not any(self._there(node).iterdir())
        if what == "content":
            return node.sent is not None and not node.writers
        parent = self.nodes[node.parent]
        if parent.sent is None:
            return False
        taken = self._taken(node)
        return taken is None or (taken.removed and not taken.folder)

    def _taken(self, node):
        """Return what the cloud has where something shall be."""
        place = (node.parent, node.name)
        return next((other for other in self.nodes.values() if other.sent == place and other is not node), None)

    def _put(self, node):
        taken, before = self._taken(node), node.sent and self._there(node)
        if taken:
            taken.sent = None
        node.sent = (node.parent, node.name)
        if before:
            os.replace(before, self._there(node))
        elif node.folder:
            self._there(node).mkdir()
        else:
            self._there(node).write_bytes(b"")

    def _send_now(self, node):
        line = [node]
        while line[0].parent:
            line.insert(0, self.nodes[line[0].parent])
        for each in line:
            if "place" in each.due:
                self._step(each, "place")
        writers, node.writers = node.writers, 0
        while "content" in node.due and self._can(node, "content"):
            self._step(node, "content")
        node.writers = writers

    def send(self):
        """Send what is due, in any order, for ever."""
        while True:
            time.sleep(0.005)
            with self.mutex:
                now = time.monotonic()
                due = [(n, what) for n in self.nodes.values() for what, when in n.due.items() if when < now]
                self.chance.shuffle(due)
                for node, what in due:
                    if what in node.due:
                        self._step(node, what)


def main():
    os.environ.setdefault("FUSE_LIBRARY_NAME", "fuse3")  # else another is looked for first, by running compilers
    import mfusepy

    parser = argparse.ArgumentParser()
    parser.add_argument("backing")
    parser.add_argument("point")
    for name in ("lag", "delay", "fsync"):
        parser.add_argument(f"--{name}", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--flock")
    asked = vars(parser.parse_args())
    point = asked.pop("point")
    with tempfile.TemporaryDirectory() as cache:
        drive = Drive(cache=cache, **asked)
        threading.Thread(target=drive.send, daemon=True).start()
        mfusepy.FUSE(drive, point, foreground=True, nothreads=True, fsname="slow", default_permissions=True)


if __name__ == "__main__":
    main()
