"""A run as one file, to send or to keep: a zip of what belongs to it, with a digest of every file.

    manifest.json   {"format", "name", "files": {"run.json": {"size", "sha256"}, ...}}
    run.json  preparation.json  log.jsonl  checkpoints/00012000/...

No path, host or process of the machine is in it, and the same run makes the same bytes. It is unpacked into a hidden
folder, checked file by file against the manifest, and renamed: nothing that is not in the manifest is ever written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import checkpoints, sources, storage
from ..storage import sha256
from . import jsonl
from .record import reseal, sealed
from .run import Run

FORMAT = 1
SUFFIX = ".zip"
MEMBER = re.compile(
    r"(run|preparation)\.json|(log|clock|evaluation|privacy)\.jsonl|samples/[0-9]{8}-[\w.=+-]+"
    r"|checkpoints/[0-9]{8}/([a-z]+\.safetensors|state\.json)"
)
"""What a packed run may hold; no report, which is a page that could execute a stranger's script."""


def pack(run: Run, out: str | Path, generator_only: bool = False) -> Path:
    """Write a run as one file.

    Args:
        run: Which.
        out: The file; it must not exist.
        generator_only: Only what sampling needs, of the newest checkpoint: the averaged generator and the preparation;
            no discriminator, optimiser, log, scores, samples or components of an outline, and nothing of where the
            data lay.

    Raises:
        ValueError: if something is there, or the run is damaged or in use.
    """
    out = Path(out)
    storage.refuse_existing(out)
    with run.lock():
        contents = dict(_generator(run)) if generator_only else dict(_everything(run))
        listed = {name: {"size": _size(content), "sha256": _digest(content)} for name, content in contents.items()}
        manifest = json.dumps({"format": FORMAT, "name": run.name, "files": listed}, indent=1).encode()
        out.parent.mkdir(parents=True, exist_ok=True)
        with storage.atomic_path(out) as temporary, zipfile.ZipFile(temporary, "x") as archive:
            for name, content in {"manifest.json": manifest, **contents}.items():
                _add(archive, name, content)
    return out


def _everything(run: Run) -> Iterator[tuple[str, bytes | Path]]:
    """Yield the files of a run by name: their content, or where it lies."""
    state = run.newest()[1]
    run.verify_log(state)
    record = _without_places(run.record)
    yield from sealed(record, run.preparation.to_json()).items()
    yield "log.jsonl", b"".join(run.log_lines(run.start, state["step"]))
    clock = [{key: v for key, v in row.items() if key not in ("host", "process")} for row in _rows(run, "clock.jsonl")]
    yield "clock.jsonl", _lines(clock)
    for name in ("evaluation.jsonl", "privacy.jsonl"):
        yield name, _lines(_rows(run, name))
    for step, files in checkpoints.whole(run.checkpoints):
        for name in files:
            yield f"checkpoints/{step:08d}/{name}", checkpoints.at(run.checkpoints, step) / name
    for file in run.samples():
        yield f"samples/{file.name}", file


def _generator(run: Run) -> Iterator[tuple[str, bytes | Path]]:
    tensors, state = run.newest()
    step = state["step"]
    networks = {name: value for name, value in tensors["networks"].items() if name.startswith("average.")}
    settings = run.settings_at(step)
    record = {
        key: settings[key]
        for key in ("id", "seed", "condition", "normalise", "average", "precision", "shape", "versions")
    }
    promised = {"privacy": state["privacy"]} if "privacy" in state else {}
    if promised:
        record["privacy"] = settings["privacy"]
    record |= {
        "networks": {"generator": settings["networks"]["generator"]},
        "data": {"source": None, "settings": {}, "drop": settings["data"]["drop"]},
        "generator_only": True,
        "parent": None,
    }
    outline = run.preparation.outline
    preparation = replace(run.preparation, outline=outline and outline.forgotten())
    yield from sealed(record, preparation.to_json()).items()
    for name, content in checkpoints.contents(step, {"networks": networks}, promised).items():
        yield f"checkpoints/{step:08d}/{name}", content


def without_places(content: bytes) -> bytes:
    """Return run.json as it is packed: without where things lay on this machine.

    Raises:
        ValueError: if it was changed after it was written.
    """
    return reseal(content, _without_places)


def _without_places(record: Mapping[str, Any]) -> dict[str, Any]:
    """Take out where things lay on this machine: of the data, the name of a file or folder is left."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            settings = {key: clean(v) for key, v in value.items() if key not in sources.PLACES or not _is_place(v)}
            return settings
        if isinstance(value, list):
            return [clean(v) for v in value]
        return Path(value).name if _is_place(value) else value

    return clean(dict(record))


def _is_place(value: Any) -> bool:
    return isinstance(value, str) and os.path.isabs(value)


def _rows(run: Run, name: str) -> list[dict[str, Any]]:
    return jsonl.rows(run.path / name)


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _size(content: bytes | Path) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def _digest(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return sha256(content)
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> None:
    info = zipfile.ZipInfo(name)  # of 1980, whenever it is packed
    info.external_attr = 0o644 << 16
    if not name.endswith((".safetensors", ".parquet", ".png", ".npz")):  # weights hardly shrink
        info.compress_type = zipfile.ZIP_DEFLATED
    info.file_size = _size(content)
    with archive.open(info, "w", force_zip64=info.file_size > 2**30) as target:
        if isinstance(content, bytes):
            target.write(content)
        else:
            with content.open("rb") as source:
                shutil.copyfileobj(source, target, 2**20)


def unpack(file: str | Path, out: str | Path = "{run}") -> Run:
    """Make a run of a packed one, whole or not at all.

    Args:
        file: From `pack`; it may be a stranger's.
        out: Folder of the run; {run} in it stands for the name that it had.

    Raises:
        ValueError: if it is no packed run, or anything in it is not as the manifest says.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = _manifest(archive)
            place = Path(str(out).replace("{run}", manifest["name"]))
            total = sum(about["size"] for about in manifest["files"].values())
            parent = next(p for p in (place.resolve(), *place.resolve().parents) if p.exists())
            free = shutil.disk_usage(parent).free
            if total > free:
                raise ValueError(
                    f"it claims to hold {storage.in_words(total)}, and {storage.in_words(free)} are free here"
                )
            with storage.atomic_folder(place) as folder:
                for name, about in manifest["files"].items():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(name) as source:
                        _receive(source.read, folder / name, about)
                try:
                    Run(folder).newest()
                except ValueError as error:
                    raise ValueError(str(error).replace(str(folder), place.name)) from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise ValueError(f"{file} is no packed run, or damaged ({error})") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return Run(place)


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Return the manifest, once it and the names of the members are as they should be."""
    names = [info.filename for info in archive.infolist()]
    if "manifest.json" not in names:
        raise ValueError("it has no manifest.json, so it is no packed run")
    if archive.getinfo("manifest.json").file_size > 10**8:
        raise ValueError("its manifest.json is too large")
    try:
        manifest = json.loads(archive.read("manifest.json"))
        files = manifest["files"]
        form, name = manifest["format"], manifest["name"]
        claims = [(about["size"], about["sha256"]) for about in files.values()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"its manifest.json is damaged ({error})") from None
    if form != FORMAT:
        raise ValueError(f"it has archive format {form}; this version reads {FORMAT}")
    if not isinstance(name, str) or Path(name).name != name or name.startswith("."):
        raise ValueError(f"its run is called {name!r}, which is no name for a folder")
    if not all(isinstance(size, int) and size >= 0 and isinstance(digest, str) for size, digest in claims):
        raise ValueError("its manifest.json is damaged")
    for member in [*names, *files]:
        if member != "manifest.json" and not MEMBER.fullmatch(member):
            raise ValueError(f"it holds {member!r}, which is no file of a run")
    if sorted(names) != sorted([*files, "manifest.json"]):
        raise ValueError("its files are not those that its manifest.json lists")
    for info in archive.infolist():
        if (info.external_attr >> 28) not in (0, 0o10):
            raise ValueError(f"{info.filename} in it is no plain file")
    return manifest


def _receive(read: Callable[[int], bytes], target: Path, about: Mapping[str, Any]) -> None:
    """Write a member, reading no more than the manifest says, and compare its digest."""
    sha, left = hashlib.sha256(), about["size"]
    with storage.naming(target), target.open("xb") as file:
        while block := read(min(2**20, left + 1)):
            left -= len(block)
            if left < 0:
                break
            sha.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    if left or sha.hexdigest() != about["sha256"]:
        raise ValueError(f"{'/'.join(target.parts[-3:])} in it is not what its manifest says")
