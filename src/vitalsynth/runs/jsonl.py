"""Files of JSON lines: a row a step, a row a score. They only grow, and a torn last line is no row."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..storage import naming


def lines(path: Path) -> list[bytes]:
    """Return the whole lines of a file; none if it is not there."""
    if not path.exists():
        return []
    found = path.read_bytes().splitlines(keepends=True)
    return [line for line in found if line.endswith(b"\n")]  # a line still being written is left out


def rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines; none if it is not there.

    Raises:
        ValueError: if a line is not a JSON object.
    """
    try:
        found = [json.loads(line) for line in lines(path)]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if bad := [j for j, row in enumerate(found, 1) if not isinstance(row, dict)]:
        raise ValueError(f"{path} is damaged: line {bad[0]} is no JSON object")
    return found


def last(path: Path, count: int) -> list[dict[str, Any]]:
    """Return the last rows of a file, of which no more than its end is read; none if it is not there."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        size, block = file.seek(0, os.SEEK_END), 2**16
        while True:
            file.seek(max(size - block, 0))
            found = file.read().splitlines(keepends=True)
            if block >= size or len(found) > count + 1:  # the first may have begun before, the last be still written
                whole = [line for line in found if line.endswith(b"\n")]
                return [json.loads(line) for line in whole[-count:]]
            block *= 4


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
