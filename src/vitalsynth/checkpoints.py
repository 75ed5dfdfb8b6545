"""Checkpoints: tensors as safetensors, the rest as JSON, all verified by digest. Nothing is pickled.

    checkpoints/00012000/   networks.safetensors  optimizers.safetensors  state.json

A checkpoint is written under another name, synced and renamed, so it is there as a whole or not at all. `state.json`
holds the SHA-256 of its neighbours: a file torn or changed later is noticed, and the checkpoint before it is used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes
from torch import Tensor
from torch.optim import Optimizer

from .storage import naming, sync_folder

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
    target, temporary = folder / f"{step:08d}", folder / f".{step:08d}.tmp"
    for left_over in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
        shutil.rmtree(left_over, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        digests = {}
        for name, group in tensors.items():
            content = tensor_bytes({key: value.detach().cpu().contiguous().clone() for key, value in group.items()})
            digests[f"{name}.safetensors"] = hashlib.sha256(content).hexdigest()
            _write(temporary / f"{name}.safetensors", content)
        record = {"step": step, "sha256": digests, **state}
        record["digest"] = _digest(record)
        _write(temporary / "state.json", json.dumps(record, indent=1).encode())
        sync_folder(temporary)
        shutil.rmtree(target, ignore_errors=True)  # there only if damaged, or written by a run that went back
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder)
    sync_folder(folder.parent)
    return target


def _digest(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with naming(path), path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """Read a checkpoint back: tensors by file, and the state.

    Raises:
        DamagedCheckpoint: if a file is missing or not what was written.
    """
    try:
        state = json.loads((path / "state.json").read_bytes())
        if state.pop("digest") != _digest(state) or int(path.name) != state["step"]:
            raise DamagedCheckpoint(f"{path / 'state.json'} was changed")
        tensors = {}
        for name, digest in state["sha256"].items():
            content = (path / Path(name).name).read_bytes()
            if hashlib.sha256(content).hexdigest() != digest:
                raise DamagedCheckpoint(f"{path / name} was truncated or changed")
            tensors[Path(name).stem] = read_tensors(content)
    except DamagedCheckpoint:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, SafetensorError) as error:
        raise DamagedCheckpoint(f"{path} is damaged: {error}") from None
    return tensors, state


def steps(folder: Path) -> list[int]:
    """Return the steps at which there are checkpoints, whole or not, in order."""
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit())


def newest(folder: Path) -> tuple[dict[str, Tensors], dict[str, Any]] | None:
    """Return the newest whole checkpoint, warning of damaged ones passed over; None if there is none."""
    for step in reversed(steps(folder)):
        try:
            return load(folder / f"{step:08d}")
        except DamagedCheckpoint as error:
            log.warning("%s; it is passed over", error)
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
