"""The record of a run, run.json: what was asked, sealed with its digest and that of preparation.json."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..storage import sha256

FORMAT = 1


def start(record: Mapping[str, Any]) -> int:
    """Return the step after which the log of a run begins, by its record."""
    pieces, parent = record.get("pieces"), record["parent"]
    return pieces[0]["start"] if pieces else parent["step"] if parent else 0


def verify(record: dict[str, Any], preparation: bytes) -> None:
    """Compare digests, and take that of the record itself out of it.

    Raises:
        ValueError: if either file was changed.
    """
    digest = record.pop("digest")
    if digest != _digest(record) or record.pop("preparation_sha256") != sha256(preparation):
        raise ValueError("it was changed after it was written")


def reseal(content: bytes, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    """Return run.json with a changed record and its digest; as it is, if nothing changes."""
    record = json.loads(content)
    digest = record.pop("digest")
    changed = change(record)
    if changed == record:
        return content
    if digest != _digest(record):
        raise ValueError("it was changed after it was written")
    return json.dumps({**changed, "digest": _digest(changed)}, indent=1, allow_nan=False).encode()


def _digest(record: Mapping[str, Any]) -> str:
    return sha256(json.dumps(record, sort_keys=True).encode())


def sealed(record: Mapping[str, Any], preparation: Mapping[str, Any]) -> dict[str, bytes]:
    """Return run.json and preparation.json with their digests; a record that names no `id` gets a new one."""
    prepared = json.dumps(preparation, indent=1, allow_nan=False).encode()
    whole = {"format": FORMAT, "id": secrets.token_hex(8), **record, "preparation_sha256": sha256(prepared)}
    written = json.dumps({**whole, "digest": _digest(whole)}, indent=1, allow_nan=False).encode()
    return {"run.json": written, "preparation.json": prepared}


def asked(record: Mapping[str, Any]) -> dict[str, bool | float | str]:
    """Return what was asked as one flat dictionary: `generator` and `generator.hidden`, `batch`, `data.source`."""
    parts = {**record["networks"], "objective": record["objective"]}
    for kind, ending in (("optimizers", "optimizer"), ("schedules", "schedule")):
        parts |= {f"{player}_{ending}": part for player, part in record[kind].items()}
    prepared = ("condition", "normalise", "whiten", "outline")
    trained = ("batch", "balance", "average", "clip", "precision", "stabilisers", "privacy")
    rest = {name: record[name] for name in ("seed", *prepared, *trained) if name in record}
    data = {name: record["data"][name] for name in ("source", "settings", "held_out")}
    return dict(_flat({**parts, **rest, "data": data}))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, bool | float | str]]:
    """Spell out what is nested, a part by its class and settings; what is None or empty is left out."""
    if isinstance(value, Mapping) and "class_path" in value:
        yield name, value["class_path"].rpartition(".")[2]
        value = value["init_args"]
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, bool | int | float):
        yield name, value
    elif value:
        yield name, value if isinstance(value, str) else json.dumps(value)
