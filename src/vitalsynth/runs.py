"""A run is a folder, anywhere. Whatever is in it can be read without running anything.

run.json           written once: what was asked, seed, shape, parent, versions, git commit
preparation.json   fitted preparation (numbers, no code)
log.jsonl          a row a step: losses, penalties, gradient norms: only what a rerun reproduces
clock.jsonl        seconds, memory, host: what a rerun does not reproduce
checkpoints/       see `checkpoints`
evaluation.jsonl   a row a score
report.html
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from . import checkpoints, sources
from .preparation import Preparation
from .sequences import Sequences
from .storage import atomic_path, naming, sync_folder

FORMAT = 1


class Run:
    """A run on disk.

    Args:
        path: Its folder.

    Raises:
        ValueError: if there is no run at `path`, or it is of a format this version does not know.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.record: dict[str, Any] = json.loads((self.path / "run.json").read_text("utf-8"))
            self.preparation = Preparation.from_json(json.loads((self.path / "preparation.json").read_text("utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"{self.path} is not a run (it has no run.json and preparation.json)") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path}: run.json or preparation.json is damaged ({error})") from None
        if self.record.get("format") != FORMAT:
            raise ValueError(f"{self.path} has run format {self.record.get('format')}; this version reads {FORMAT}")

    @classmethod
    def create(cls, path: str | Path, record: Mapping[str, Any], preparation: Preparation) -> Run:
        """Make a new run folder, whole or not at all.

        Raises:
            ValueError: if something is there already.
        """
        path = Path(path)
        if path.exists():
            advice = f"carry it on with 'vitalsynth continue {path}', or choose another --out"
            raise ValueError(f"{path} exists; {advice}")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            temporary.chmod(0o755)
            for name, content in (
                ("run.json", {"format": FORMAT, **record}),
                ("preparation.json", preparation.to_json()),
            ):
                with atomic_path(temporary / name) as file:
                    file.write_text(json.dumps(content, indent=1, allow_nan=False), "utf-8")
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(path.parent)
        return cls(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from training this run; the lock goes with the process that holds it.

        Raises:
            ValueError: if another process trains it.
        """
        with (self.path / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{self.path} is being trained by another process; wait for it, or stop it") from None
            yield

    def data(self, sequences: Sequences | None = None) -> tuple[Sequences, Sequences]:
        """Return the sequences it was trained on, and those held out, reading them again from their source.

        Args:
            sequences: The whole data, if they were given in memory and cannot be read again.

        Raises:
            ValueError: if they cannot be read, or are not what the run was trained on.
        """
        asked = self.record["data"]
        if sequences is None:
            if asked["source"] is None:
                raise ValueError(
                    f"{self.path} was trained on data in memory, which cannot be read again; give them from Python"
                )
            sequences = sources.read(asked["source"], **asked["settings"]).drop(asked["drop"])
        if sequences.digest() != asked["digest"]:
            raise ValueError(
                f"the data of {self.path} ({asked['source'] or 'in memory'}) are not what it was trained on: "
                f"{len(sequences)} sequences now, {asked['count']} then, or other values"
            )
        return split(sequences, asked["held_out"], self.record["seed"])

    def log(self) -> pd.DataFrame:
        """Return the training log, a row a step."""
        return pd.DataFrame(rows(self.path / "log.jsonl"))

    def evaluations(self) -> list[dict[str, Any]]:
        """Return all scores, a row a score, oldest first."""
        return rows(self.path / "evaluation.jsonl")

    def add_evaluations(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append scores."""
        append(self.path / "evaluation.jsonl", rows)

    def cut_log(self, step: int) -> None:
        """Drop what the log holds beyond a step: rows of steps that no checkpoint has, and a torn last line."""
        path = self.path / "log.jsonl"
        if not path.exists():
            return
        lines = path.read_bytes().splitlines(keepends=True)
        kept = lines[:step]
        if len(kept) < step or (kept and not kept[-1].endswith(b"\n")):
            raise ValueError(f"{path} has fewer rows than the {step} steps of the checkpoint; it was cut or damaged")
        if len(kept) != len(lines):
            with atomic_path(path) as temporary:
                temporary.write_bytes(b"".join(kept))


def split(sequences: Sequences, held_out: float, seed: int) -> tuple[Sequences, Sequences]:
    """Part training and held-out subjects; with 0 held out, both are everything.

    Raises:
        ValueError: if the share is not in [0, 1), or there is one subject only.
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"--held_out must lie in [0, 1), got {held_out}")
    return sequences.split(held_out, seed) if held_out else (sequences, sequences)


def rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines; none if it is not there."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    try:
        return [json.loads(line) for line in lines if line.endswith(b"\n")]  # a line still being written is left out
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows to a file of JSON lines, in one write, synced; a last line that a full disk tore goes."""
    content = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    with naming(path), path.open("ab+") as file:
        file.seek(0)
        before = file.read()
        if not before.endswith(b"\n"):
            file.truncate(before.rfind(b"\n") + 1)
        file.write(content.encode())
        file.flush()
        os.fsync(file.fileno())


def find(patterns: str | Path | Iterable[str | Path]) -> list[Run]:
    """Open runs by path or glob, each once, in the order given.

    Raises:
        ValueError: if a pattern matches no run.
    """
    runs: dict[Path, Run] = {}
    for pattern in [patterns] if isinstance(patterns, str | Path) else patterns:
        plain = os.path.expanduser(str(pattern))
        matches = [plain] if os.path.exists(plain) else sorted(glob.glob(plain))
        found = [Path(match) for match in matches if (Path(match) / "run.json").exists()]
        if not found:
            raise ValueError(f"no run matches {str(pattern)!r}" + (f" ({matches[0]} is not a run)" if matches else ""))
        runs |= {path.resolve(): Run(path) for path in found if path.resolve() not in runs}
    return list(runs.values())


def newest_checkpoint(run: Run) -> tuple[dict[str, checkpoints.Tensors], dict[str, Any]]:
    """Return the newest whole checkpoint of a run.

    Raises:
        ValueError: if it has none yet.
    """
    found = checkpoints.newest(run.checkpoints)
    if found is None:
        raise ValueError(f"{run.path} has no whole checkpoint; train it with 'vitalsynth continue {run.path}'")
    return found
