"""What of which run goes where, in which order, and whether it arrived as it was.

A run goes on from another of the same record if its log begins with the other's log, up to the last step that has a
checkpoint there. So of two copies one is ahead, or both stand at the same step, or they were trained on differently,
and then nothing is touched. What only grows (*.jsonl) is replaced by what begins with it, any other by a newer one.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import checkpoints
from ...differential.mechanism import KEY
from ...runs import archive, jsonl
from ...runs.record import start, verify
from .agent import STAGING
from .places import KINDS, Contents, File, Folder, Kind, Place, digest, need, transfer

log = logging.getLogger(__name__)


class Apart(ValueError):
    """Copies of a run that cannot be brought together."""


@dataclass(frozen=True)
class Copy:
    """What of a run shall be copied.

    Args:
        run: Its path below both places.
        source: Where it lies.
        target: Where it shall lie.
        kind: Of the digests.
        files: To copy, as they are at the source.
        there: All that is at the source.
        before: All that is at the target.
    """

    run: str
    source: Place
    target: Place
    kind: Kind
    files: dict[str, File]
    there: Contents
    before: Contents

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())


def plan(source: Place, target: Place, quiet: bool = False) -> tuple[list[Copy], int, bool]:
    """Say what of the runs at and below one place is to be copied to the other.

    Args:
        source: Where runs lie.
        target: Where they shall lie.
        quiet: Do not tell of what is newer at the target, as it goes the other way next.

    Returns:
        A copy for each run, with no files where nothing changed; how many runs cannot be copied, as was told; and
        whether any run of the source is being trained.

    Raises:
        ValueError: if there is no run, or the target is taken.
    """
    if isinstance(source, Folder) and isinstance(target, Folder):
        need("rsync")
    kind: Kind = next(each for each in KINDS if each in source.kinds and each in target.kinds)
    there = source.survey(None, kind)
    if not there.runs:
        raise ValueError(f"no run at or below {source}")
    for path in there.left_out:
        log.warning("%s is left out: a link, or no plain file with a plain name", _shown(path))
    here = target.survey(there.runs, kind)
    if here.is_run and "." not in there.runs:
        raise ValueError(f"{target} is a run, and {source} a folder of runs; name a folder of runs, or one run at both")
    copies, apart = [], 0
    for run, contents in there.runs.items():
        before = here.runs[run]
        where = _shown(_join(target, run))
        try:
            if not before.ours:
                raise Apart(f"{where} exists and is no run; name a place for the run itself, as {where}/NAME")
            names = set(_changed(source, target, run, contents, before, quiet))
            copies.append(
                Copy(run, source, target, kind, {n: contents.files[n] for n in sorted(names)}, contents, before)
            )
        except Apart as error:
            log.warning("%s", error)
            apart += 1
    return copies, apart, any(run.running for run in there.runs.values())


def _changed(source: Place, target: Place, run: str, there: Contents, before: Contents, quiet: bool) -> Iterable[str]:
    """Yield the names of the files that the target lacks, or has an older state of.

    Raises:
        Apart: if the target holds another run, or was trained on differently.
    """
    where = _shown(_join(target, run))
    record = _record(there.record, _shown(_join(source, run)))
    torn = before.record is not None and not _is_json(before.record)
    if before.record is not None and not torn and record != _record(before.record, where):
        raise Apart(f"{where} is another run than that at {source}, under the same name; nothing of it is copied")
    newer, again = [], _to_mend(source, target, run, there, before)
    for name, file in there.files.items():
        old = before.files.get(name)
        if name == KEY:  # who has it could take the noise of differential privacy away
            continue
        if old is None or os.path.dirname(name) in again or (name == "run.json" and torn):
            yield name
        elif old.digest == file.digest or name == "run.json":
            continue
        elif name == "log.jsonl":
            if _ahead(source, target, run, there, before, record):
                yield name
            else:
                newer.append(name)
        elif name == "preparation.json" and not _is_json(target.read(run, name)):
            yield name
        elif name.startswith("checkpoints/") and not _is_whole(source, run, there, os.path.dirname(name)):
            continue
        elif name.startswith("checkpoints/") or name == "preparation.json":
            raise Apart(
                f"{where}: {name} differs from that at {source}, and one of them is damaged or was trained "
                f"differently; nothing of the run is copied (remove the wrong one, and sync again)"
            )
        elif name.endswith(".jsonl"):
            if _begins(source, target, run, name):
                yield name
            elif _begins(target, source, run, name):
                newer.append(name)
            else:
                log.warning("%s: %s has rows at both places that the other lacks; it stays as it is", where, name)
        elif file.modified > old.modified:
            yield name
        else:
            newer.append(name)
    if newer and not quiet:
        names, steps = ", ".join(map(_shown, newer)), (_step(before), _step(there))
        log.warning("%s: newer there, and so left: %s (step %d there, %d at %s)", where, names, *steps, source)


def _to_mend(source: Place, target: Place, run: str, there: Contents, before: Contents) -> set[str]:
    """Return the checkpoints of the source that are damaged at the target, as a cloud's mounted folder leaves them."""
    differ = {
        os.path.dirname(name)
        for name, file in there.files.items()
        if name.startswith("checkpoints/") and (old := before.files.get(name)) is not None and old.digest != file.digest
    }
    begun = {os.path.dirname(name) for name in before.files if name.startswith("checkpoints/")}
    missing = {os.path.dirname(name) for name in there.files.keys() - before.files.keys()} & begun
    return missing | {each for each in differ if not _is_whole(target, run, before, each)}


def _is_whole(place: Place, run: str, contents: Contents, checkpoint: str) -> bool:
    """Say whether the files of a checkpoint are those that it names, as far as their digests can tell."""
    try:
        state = json.loads(place.read(run, f"{checkpoint}/state.json"))
        digests = {f"{checkpoint}/{name}": digest for name, digest in state["sha256"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    if digests.keys() - contents.files.keys():
        return False
    found = {name: contents.files[name].digest for name in digests}
    return found == digests or any(len(digest) != len(digests[name]) for name, digest in found.items())


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _record(text: str | None, where: str) -> dict[str, Any]:
    """Return what run.json says, but for where things lie."""
    try:
        return json.loads(archive.without_places((text or "").encode()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Apart(f"{where}: run.json is damaged ({error}); the run is not copied") from None


def _step(contents: Contents) -> int:
    steps = [name.split("/")[1] for name in contents.files if name.startswith("checkpoints/")]
    return max((int(step) for step in steps if step.isdigit()), default=0)


def _ahead(source: Place, target: Place, run: str, there: Contents, before: Contents, record: dict[str, Any]) -> bool:
    """Say whether the source has more of the same training than the target.

    Raises:
        Apart: if it is not the same training.
    """
    steps = _step(there), _step(before)
    count, rows = target.rows(run, "log.jsonl", max(min(steps) - start(record), 0))
    if source.rows(run, "log.jsonl", count) != [count, rows]:
        raise Apart(
            f"{_shown(_join(target, run))} was trained on differently than at {source} (step {steps[1]} there, "
            f"{steps[0]} at {source}, with different logs before); nothing of it is copied, so rename one of them"
        )
    return (steps[0], there.files["log.jsonl"].size) > (steps[1], before.files["log.jsonl"].size)


def _begins(source: Place, target: Place, run: str, name: str) -> bool:
    """Say whether a file of rows begins, at the source, with what it is at the target."""
    count, rows = target.rows(run, name, None)
    return source.rows(run, name, count) == [count, rows]


def carry(copy: Copy, advance: Callable[[int], None]) -> str:
    """Copy a run, as far as it does not change meanwhile.

    Returns:
        What did not arrive as it was when it was decided what to copy, and so was not put in place; empty if all did.

    Raises:
        ValueError: if the connection broke, the disk is full, or the run is in use at the target.
    """
    source, target = copy.source.address(copy.run), copy.target.address(copy.run)
    expected = {name: file.digest for name, file in copy.files.items()}
    copy.target.prepare(copy.run)
    with tempfile.TemporaryDirectory() as frozen:
        if copy.target.here:
            local = (Path(target, STAGING), Path(target))
            said = transfer(source, str(local[0]), list(expected), copy.source, advance)
        else:
            local = (Path(frozen), Path(source))
            expected |= _freeze(copy, *local)
            said = ""
            for base in local:
                names = [name for name in expected if Path(frozen, name).exists() == (base == local[0])]
                said = transfer(str(base), f"{target}/{STAGING}", names, copy.target, advance) or said
        digests = copy.target.arrived(copy.run, {name: file.size for name, file in copy.files.items()}, copy.kind)
        arrived = {name for name in expected if digests.get(name) == expected[name]}
        groups, damaged = _groups(copy, arrived, local)
        if copy.target.here and "run.json" in arrived:
            path = local[0] / "run.json"
            path.write_bytes(archive.without_places(path.read_bytes()))
        seen = {
            name: copy.before.files[name].modified for group in groups for name in group if name in copy.before.files
        }
        copy.target.place(copy.run, groups, seen)
    missing = expected.keys() - {name for group in groups for name in group} - damaged
    return f"{_shown(min(missing))}: {said or 'changed while it was copied'}" if missing else ""


def _freeze(copy: Copy, frozen: Path, folder: Path) -> dict[str, str]:
    """Keep a state of what grows while it is copied, and run.json without places; return digests that change by it."""
    digests = {}
    for name, file in copy.files.items():
        if name == "run.json" or name.endswith(".jsonl"):
            content = (folder / name).read_bytes()[: file.size]
            if name == "run.json":
                content = archive.without_places(content)
                digests[name] = digest(content, copy.kind)
            (frozen / name).parent.mkdir(parents=True, exist_ok=True)
            (frozen / name).write_bytes(content)
            shutil.copystat(folder / name, frozen / name)
    return digests


def _groups(copy: Copy, arrived: set[str], local: tuple[Path, Path]) -> tuple[list[list[str]], set[str]]:
    """Return what is put in place together, in order, of what arrived; and the files of damaged checkpoints.

    The log has the rows of every checkpoint that stands beside it, at any moment, and run.json comes last.

    Args:
        copy: What is copied.
        arrived: The files that arrived as they were.
        local: Folders here in which the files are found; the first goes before.
    """
    damaged: set[str] = set()
    groups: dict[str, list[str]] = {}
    for name in sorted(arrived, key=_order):
        groups.setdefault(os.path.dirname(name) if name.startswith("checkpoints/") else name, []).append(name)
    record = json.loads(copy.there.record or "")
    at = {name: next((folder / name for folder in local if (folder / name).exists()), None) for name in EARLY}
    behind = "log.jsonl" in copy.files.keys() - arrived
    rows = len(jsonl.lines(at["log.jsonl"])) if at["log.jsonl"] else 0
    last = math.inf if record.get("generator_only") else rows + start(record)
    for group in [group for group in groups if group.startswith("checkpoints/")]:
        wanted = {name for name in copy.files if os.path.dirname(name) == group}
        if wanted - arrived or behind:
            del groups[group]
        elif (reason := _damage(local, group, last)) is not None:
            log.warning("%s/%s is left out: %s", _shown(_join(copy.source, copy.run)), group, reason)
            damaged |= wanted
            del groups[group]
    if "run.json" in groups:
        whole = copy.files.keys() - arrived <= {name for name in copy.files if _order(name)[0] == ANY} and not behind
        try:
            verify(record, at["preparation.json"].read_bytes() if at["preparation.json"] else b"")
        except (ValueError, KeyError) as error:
            raise Apart(f"{_shown(_join(copy.source, copy.run))}: run.json is damaged ({error})") from None
        if not whole:
            del groups["run.json"]
    return list(groups.values()), damaged


def _damage(local: tuple[Path, Path], group: str, step: float) -> str | None:
    """Say what is wrong with a checkpoint, given the last step that the log has."""
    folder = next(each / group for each in local if (each / group).exists())
    try:
        checkpoints.read(folder)
    except checkpoints.DamagedCheckpoint as error:
        return str(error)
    return None if int(folder.name) <= step else f"log.jsonl has no rows of {group} (it ends at step {step})"


EARLY, ANY = ("preparation.json", "log.jsonl"), 2


def _order(name: str) -> tuple[int, str]:
    """Say when a file is put in place."""
    if name in EARLY:
        return EARLY.index(name), name
    return (4 if name == "run.json" else 3 if name.startswith("checkpoints/") else ANY), name


def _join(place: Place, run: str) -> str:
    return str(place) if run == "." else f"{place}/{run}"


def _shown(path: str) -> str:
    return path if path.isprintable() else repr(path)
