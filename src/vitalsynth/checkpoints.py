"""Checkpoints: tensors as safetensors, the rest as JSON, all verified by digest. Nothing is pickled.

    checkpoints/00012000/   networks.safetensors  optimizers.safetensors  state.json

A checkpoint is written under another name, synced and renamed, so it is there as a whole or not at all. `state.json`
holds the SHA-256 of its neighbours: a file torn or changed later is noticed, and the checkpoint before it is used.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes
from torch import Tensor
from torch.optim import Optimizer

from . import storage
from .storage import sha256

log = logging.getLogger(__name__)

Tensors = dict[str, Tensor]


class DamagedCheckpoint(ValueError):
    """A checkpoint that is not what was written."""


def save(folder: Path, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any]) -> Path:
    """Write checkpoint `step` into the folder of checkpoints.

    Args:
        folder: Where checkpoints lie.
        step: How many steps had been taken.
        tensors: By file, `{"networks": {"generator.weight": ...}, "optimizers": {...}}`.
        state: All that is not a tensor; plain data.
    """
    return write(folder, step, contents(step, tensors, state))


def contents(step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of a checkpoint by name; the arguments are those of `save`."""
    files = {
        f"{name}.safetensors": tensor_bytes(
            {key: value.detach().cpu().contiguous().clone() for key, value in group.items()}
        )
        for name, group in tensors.items()
    }
    record = {**state, "step": step, "sha256": {name: sha256(content) for name, content in files.items()}}
    record["digest"] = _digest(record)
    return files | {"state.json": json.dumps(record, indent=1).encode()}


def write(folder: Path, step: int, files: Mapping[str, bytes]) -> Path:
    """Write the files of a checkpoint, as `save` made and `read` returned them."""
    target = at(folder, step)
    folder.mkdir(parents=True, exist_ok=True)
    storage.clear(folder)
    if target.exists():  # damaged, or written by a run that went back
        storage.remove(target)
    with storage.atomic_folder(target) as temporary:
        for name, content in files.items():
            storage.write(temporary / name, content)
    storage.sync_folder(folder.parent)
    return target


def at(folder: Path, step: int) -> Path:
    """Return where checkpoint `step` lies."""
    return folder / f"{step:08d}"


def _digest(state: Mapping[str, Any]) -> str:
    return sha256(json.dumps(state, sort_keys=True).encode())


def read(path: Path) -> dict[str, bytes]:
    """Return the files of a checkpoint by name, verified.

    Raises:
        DamagedCheckpoint: if a file is missing, not what was written, or not a plain file of the folder.
    """
    with _damaged(path):
        contents = {"state.json": _plain_file(path / "state.json")}
        state = json.loads(contents["state.json"])
        if state.pop("digest") != _digest(state) or int(path.name) != state["step"]:
            raise DamagedCheckpoint(f"{path / 'state.json'} was changed")
        for name, digest in state["sha256"].items():
            if not name.endswith(".safetensors") or Path(name).name != name:
                raise DamagedCheckpoint(f"{path / 'state.json'} names {name!r}, which is no file of a checkpoint")
            contents[name] = _plain_file(path / name)
            if sha256(contents[name]) != digest:
                raise DamagedCheckpoint(f"{path / name} was truncated or changed")
    return contents


def load(path: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """Read a checkpoint back: tensors by file, and the state.

    Raises:
        DamagedCheckpoint: if it is not what was written.
    """
    contents = read(path)
    tensors = {}
    with _damaged(path):
        state = json.loads(contents.pop("state.json"))
        for name, content in contents.items():
            try:
                tensors[Path(name).stem] = read_tensors(content)
            except SafetensorError as error:
                raise DamagedCheckpoint(f"{path / name} holds no tensors ({error})") from None
    del state["digest"]
    return tensors, state


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a checkpoint is read into `DamagedCheckpoint`."""
    try:
        yield
    except DamagedCheckpoint:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise DamagedCheckpoint(f"{path} is damaged: {type(error).__name__}: {error}") from None


def _plain_file(path: Path) -> bytes:
    for part in (path.parent, path):
        storage.refuse_special(part)
    return path.read_bytes()


def steps(folder: Path) -> list[int]:
    """Return the steps at which there are checkpoints, whole or not, in order."""
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit())


def whole(folder: Path) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Yield step and files of the whole checkpoints, oldest first, warning of damaged ones left out."""
    for step in steps(folder):
        try:
            yield step, read(at(folder, step))
        except DamagedCheckpoint as error:
            log.warning("%s; it is left out", error)


def newest(
    folder: Path, wrong: Callable[[dict[str, Any]], str] = lambda state: ""
) -> tuple[dict[str, Tensors], dict[str, Any]] | None:
    """Return the newest whole checkpoint, warning of those passed over; None if there are none.

    Args:
        folder: Where checkpoints lie.
        wrong: Says of a state what is wrong with it otherwise, if anything is.

    Raises:
        DamagedCheckpoint: if there are, and all are damaged.
    """
    damages: list[object] = []
    for step in reversed(steps(folder)):
        try:
            found = load(at(folder, step))
        except DamagedCheckpoint as error:
            damages.append(error)
            continue
        if reason := wrong(found[1]):
            damages.append(reason)
        else:
            for damage in damages:
                log.warning("%s; it is passed over", damage)
            return found
    if damages:
        raise DamagedCheckpoint(f"{folder.parent} has no whole checkpoint: {damages[0]}")
    return None


def split_optimizer(optimizer: Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """Part an optimiser's state into tensors and plain data."""
    state = optimizer.state_dict()
    tensors: Tensors = {}
    plain: dict[str, Any] = {}
    for index, key, value in _slots(state["state"]):
        (tensors if isinstance(value, Tensor) else plain)[f"{index}.{key}"] = value
    return tensors, {"groups": state["param_groups"], "plain": plain}


def join_optimizer(optimizer: Optimizer, tensors: Tensors, state: Mapping[str, Any]) -> None:
    """Undo `split_optimizer` in place."""
    slots: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **state["plain"]}.items():
        index, key = name.split(".", 1)
        slots.setdefault(int(index), {})[key] = value
    groups = [{k: tuple(v) if k == "betas" else v for k, v in group.items()} for group in state["groups"]]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})


def _slots(state: Mapping[int, Mapping[str, Any]]) -> Iterator[tuple[int, str, Any]]:
    for index, slots in state.items():
        for key, value in slots.items():
            yield index, key, value
