"""One run on disk: its record, preparation, log, checkpoints and scores."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from .. import checkpoints, components, markup, sources, storage
from ..preparation import Preparation
from ..processes import held_elsewhere, lockable
from ..sequences import Sequences
from ..storage import atomic_folder, refuse_special, sha256, write
from . import jsonl
from .record import FORMAT, asked, sealed, start, verify

State = Literal["waiting", "running", "stopped", "dead", "done"]


class Run:
    """A run on disk.

    Args:
        path: Its folder.

    Raises:
        ValueError: if there is no run at `path`, it was changed, or it is of a format this version does not know.
    """

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path)
        try:
            for name in os.listdir(self.path):
                refuse_special(self.path / name)
            self.record: dict[str, Any] = json.loads((self.path / "run.json").read_bytes())
            content = (self.path / "preparation.json").read_bytes()
            if self.record.get("format") == FORMAT:
                verify(self.record, content)
                self.preparation: Preparation = Preparation.from_json(json.loads(content))
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"{self.path} is not a run (it has no run.json and preparation.json)") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
            raise ValueError(f"{self.path}: run.json or preparation.json is damaged ({error})") from None
        if self.record["format"] != FORMAT:
            raise ValueError(f"{self.path} has run format {self.record['format']}; this version reads {FORMAT}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def _repr_html_(self) -> str:
        step, target, data = (
            (checkpoints.steps(self.checkpoints) or [self.start])[-1],
            self.target(),
            self.record["data"],
        )
        parts = {**self.record["networks"], **({"objective": o} if (o := self.record.get("objective")) else {})}
        rows = {
            "steps": markup.bar(step, target or step, f"{step:,} of {target:,}" if target else f"{step:,}"),
            "data": f"{data['source'] or 'in memory'}" + (f", {data['count']:,} sequences" if "count" in data else ""),
            "condition": ", ".join(self.record["condition"]) or "none",
            **{name: part["class_path"].rpartition(".")[2] for name, part in parts.items()},
            "seed": str(self.record["seed"]),
            "folder": str(self.path),
        }
        return markup.block(self.name, self.state(), markup.table(("", ""), list(rows.items())))

    @classmethod
    def create(cls, path: str | Path, record: Mapping[str, Any], preparation: Preparation) -> Run:
        """Make a new run folder, whole or not at all.

        Raises:
            ValueError: if something is there already.
        """
        with making(path, record, preparation.to_json()):
            pass
        return cls(path)

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def start(self) -> int:
        """The step after which its log begins: where it branched off, or 0."""
        return start(self.record)

    def settings_at(self, step: int) -> dict[str, Any]:
        """Return the record that was valid at a step; a merged run has had several."""
        return next((p["record"] for p in self.record.get("pieces", []) if step < p["stop"]), self.record)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from changing this run; the lock goes with the process that holds it.

        Raises:
            ValueError: if another process holds it.
        """
        handle = self._lock_file()
        if handle is None:  # somebody else's run that we can only read
            yield
            return
        try:
            for attempt in range(5):  # whoever only looks whether it is held lets go at once
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if attempt == 4:
                        who = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
                        raise ValueError(f"{self.path} is in use by {who}; wait for it, or stop it") from None
                    time.sleep(0.1)
            with suppress(OSError):  # a full disk, or a run that we can only read: nobody is told, but it is held
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)

    def _lock_file(self) -> int | None:
        for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
            try:
                return lockable(self.path / ".lock", flags)
            except (PermissionError, FileNotFoundError):
                continue
            except OSError as error:
                if error.errno != errno.EROFS:
                    raise
        return None

    def in_use(self) -> bool:
        """Say whether another process holds its lock."""
        handle = self._lock_file()
        return handle is not None and held_elsewhere(handle)

    def state(self) -> State:
        """Say whether it waits to be trained, is being trained, was stopped or died on the way, or got to its end."""
        if self.in_use():
            return "running"
        target = self.target()
        if target is None:
            return "waiting"
        if (checkpoints.steps(self.checkpoints) or [0])[-1] >= target:
            return "done"
        return "stopped" if jsonl.rows(self.path / "clock.jsonl")[-1]["event"] == "end" else "dead"

    def target(self) -> int | None:
        """Return the step to which it was last to be trained; None if it never was."""
        clock = jsonl.rows(self.path / "clock.jsonl")
        return next((row["target"] for row in reversed(clock) if "target" in row), None)

    def most_memory(self) -> int:
        """Return the most bytes that training held so far, of a GPU's memory if it ran on one; 0 if none is known."""
        clock = jsonl.rows(self.path / "clock.jsonl")
        return 2**20 * max((row["gpu_memory_mib"] or row["memory_mib"] for row in clock), default=0)

    def asked(self) -> dict[str, bool | float | str]:
        """Return what was asked as one flat dictionary: `generator` and `generator.hidden`, `batch`, `data.source`."""
        return asked(self.record)

    def data(self, data: str | Sequences = "") -> tuple[Sequences, Sequences]:
        """Return the sequences it was trained on, and those held out, reading them again from their source.

        Args:
            data: The whole data, if they were given in memory, or where they lie now, if they were moved.

        Raises:
            ValueError: if they cannot be read, or are not what the run was trained on.
        """
        asked = self.record["data"]
        sequences = self.like(data) if isinstance(data, Sequences) else self.read(data or None)
        if sequences.digest() != asked["digest"]:
            where = (isinstance(data, str) and data) or asked["source"] or "in memory"
            raise ValueError(
                f"the data of {self.path} ({where}) are not what it was trained on: "
                f"{len(sequences)} sequences now, {asked['count']} then, or other values"
            )
        return part(sequences, asked["cut"], asked["seed"])

    def read(self, data: str | None = None, settings: dict[str, Any] | None = None) -> Sequences:
        """Read the data of its source again, or others in the same way, as sequences of its schema.

        Args:
            data: Another source or file.
            settings: Of that source; by default those of the run's own that it takes, but for the place.

        Raises:
            ValueError: if they cannot be read, or are of another schema.
        """
        asked = self.record["data"]
        if data is None:
            if self.record.get("generator_only"):
                raise ValueError(f"{self.path} holds a generator only, and nothing of the data it was trained on")
            if (data := asked["source"]) is None:
                raise ValueError(f"{self.path} was trained on data in memory; give them again (--data, or from Python)")
            if sources.is_code(data):
                components.check_trusted(data, known=())
            settings = asked["settings"]
        elif settings is None:
            settings = sources.accepted(data, asked["settings"])
        return self.like(sources.read(data, **(settings or {})))

    def like(self, sequences: Sequences) -> Sequences:
        """Leave out the columns that the run was to leave out, and bring the others into its schema.

        Raises:
            ValueError: with the differences, if they are of another schema.
        """
        there = {column.name for column in sequences.schema.columns}
        rest = sequences.drop(name for name in self.record["data"]["drop"] if name in there)
        schema, length = self.preparation.schema, self.preparation.length
        if self.record.get("privacy"):
            rest = rest.until(length)
        return replace(rest.like(schema, length), schema=schema)

    def log(self) -> pd.DataFrame:
        """Return the training log, a row a step."""
        return pd.DataFrame(jsonl.rows(self.path / "log.jsonl"))

    def evaluations(self) -> list[dict[str, Any]]:
        """Return all scores, a row a score, oldest first."""
        return jsonl.rows(self.path / "evaluation.jsonl")

    def add_evaluations(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append scores."""
        jsonl.append(self.path / "evaluation.jsonl", rows)

    def attacks(self) -> list[dict[str, Any]]:
        """Return all figures of attacks on it, and their verdicts, oldest first."""
        return jsonl.rows(self.path / "privacy.jsonl")

    def add_attacks(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append figures of attacks."""
        jsonl.append(self.path / "privacy.jsonl", rows)

    def log_lines(self, start: int, stop: int) -> list[bytes]:
        """Return the lines of the log for steps start+1 to stop.

        Raises:
            ValueError: if it does not hold them all.
        """
        found = self._lines(stop)[max(start - self.start, 0) : stop - self.start]
        if start < self.start or len(found) < stop - start:
            raise ValueError(
                f"{self.path / 'log.jsonl'} lacks rows of steps {start + 1} to {stop}; was it cut or damaged?"
            )
        return found

    def _lines(self, stop: int) -> list[bytes]:
        """Return the lines of the log; rows that it lacks, up to a step, as whole checkpoints repeat them.

        A mounted cloud folder may have a checkpoint before it has the log.
        """
        found = jsonl.lines(self.path / "log.jsonl")
        for step in checkpoints.steps(self.checkpoints) if self.start + len(found) < stop else ():
            with suppress(checkpoints.DamagedCheckpoint):
                kept = json.loads(checkpoints.read(checkpoints.at(self.checkpoints, step))["state.json"])["log"]
                there = len(found) - (kept["after"] - self.start)
                found += kept.get("rows", "").encode().splitlines(keepends=True)[there:] if there >= 0 else []
        return found

    def cut_log(self, step: int) -> None:
        """Make the log end at a step: drop rows of steps that no checkpoint has, and a torn last line.

        Rows that it lacks are taken from the checkpoints.

        Raises:
            ValueError: if it holds fewer rows than that.
        """
        path = self.path / "log.jsonl"
        if not path.exists() and step == self.start:
            return
        kept, whole = b"".join(self.log_lines(self.start, step)), sum(map(len, jsonl.lines(path)))
        with storage.naming(path), path.open("ab") as file:  # in place, so that it is there at any moment
            file.truncate(min(whole, len(kept)))
            file.write(kept[whole:])
            file.flush()
            os.fsync(file.fileno())

    def lacks(self, state: Mapping[str, Any]) -> str:
        """Say which rows up to the checkpoint of a state neither the log nor a checkpoint has; empty if they are there.

        Args:
            state: Of the checkpoint.
        """
        try:
            self.log_lines(self.start, state["step"])
        except ValueError as error:
            return str(error)
        return ""

    def verify_log(self, state: Mapping[str, Any]) -> None:
        """Compare the log with what the state of a checkpoint says of the rows since the one before.

        Raises:
            ValueError: if rows are missing, or not those that were written.
        """
        after, step = state["log"]["after"], state["step"]
        if sha256(b"".join(self.log_lines(after, step))) != state["log"]["sha256"]:
            raise ValueError(f"{self.path / 'log.jsonl'}: rows of steps {after + 1} to {step} were changed")

    def samples(self) -> list[Path]:
        """Return the cohorts that were drawn into the run's own folder, by step."""
        found = sorted((self.path / "samples").glob("[0-9]" * 8 + "-*"))
        return [file for file in found if file.is_file() and not file.is_symlink()]

    def newest(self) -> tuple[dict[str, checkpoints.Tensors], dict[str, Any]]:
        """Return the newest whole checkpoint.

        Raises:
            ValueError: if it has none.
        """
        found = checkpoints.newest(self.checkpoints)
        if found is None:
            raise ValueError(f"{self.path} has no checkpoint; train it with 'vitalsynth continue {self.path}'")
        return found

    @property
    def step(self) -> int:
        """The step of the newest whole checkpoint."""
        return self.newest()[1]["step"]

    def checkpoint(self, step: int) -> Path:
        """Return where the checkpoint of a step lies.

        Raises:
            ValueError: if there is none.
        """
        there = checkpoints.steps(self.checkpoints)
        if step not in there:
            raise ValueError(
                f"{self.path} has no checkpoint at step {step}; there are {', '.join(map(str, there)) or 'none'}"
            )
        return checkpoints.at(self.checkpoints, step)


def log_state(after: int, content: bytes = b"") -> dict[str, Any]:
    """Return what a checkpoint keeps of the rows of the log since the one before it: their digest, and themselves."""
    return {"after": after, "sha256": sha256(content), "rows": content.decode()}


def refuse_existing(path: str | Path) -> None:
    """Refuse to make a run where something is.

    Raises:
        ValueError: with what to do.
    """
    storage.refuse_existing(path, f"carry it on with 'vitalsynth continue {path}', or choose another --out")


@contextmanager
def making(path: str | Path, record: Mapping[str, Any], preparation: Mapping[str, Any]) -> Iterator[Path]:
    """Give the folder of a new run to put more into; when the block ends well, the run is at `path`.

    Raises:
        ValueError: if something is there already.
    """
    refuse_existing(path)
    with atomic_folder(path) as folder:
        for name, content in sealed(record, preparation).items():
            write(folder / name, content)
        yield folder


def cut(sequences: Sequences, held_out: float, seed: int) -> str | None:
    """Return the mark up to which subjects are held out; None if nobody is.

    Raises:
        ValueError: if the share is not in [0, 1), or there is one subject only.
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"--held_out must lie in [0, 1), got {held_out}")
    return sequences.cut(held_out, seed) if held_out else None


def part(sequences: Sequences, cut: str | None, seed: int) -> tuple[Sequences, Sequences]:
    """Return what is trained on and what is held out; with no cut, both are everything."""
    return (sequences, sequences) if cut is None else sequences.split_at(cut, seed)
