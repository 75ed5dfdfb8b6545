"""Where runs are: found by path or glob, or below folders, and where what is made of each is to go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..storage import expand
from .run import Run


def find(patterns: str | Path | Iterable[str | Path]) -> list[Run]:
    """Open runs by path or glob, each once, in the order given.

    Raises:
        ValueError: if a pattern matches no run.
    """
    runs: dict[Path, Run] = {}
    for pattern in [patterns] if isinstance(patterns, str | Path) else patterns:
        matches = expand(pattern)
        found = [Path(match) for match in matches if (Path(match) / "run.json").exists()]
        if not found:
            raise ValueError(f"no run matches {str(pattern)!r}" + (f" ({_no_run(matches[0])})" if matches else ""))
        runs |= {path.resolve(): Run(path) for path in found if path.resolve() not in runs}
    return list(runs.values())


def _no_run(path: str) -> str:
    """Say why a place is no run."""
    inside = next(below([path]), None) if os.path.isdir(path) else None
    return f"it holds runs: write '{inside.parent}/*'" if inside else f"{path} is not a run"


def below(folders: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the folders of all runs at or below some folders, without looking into runs or hidden folders.

    Raises:
        ValueError: if a folder is not there.
    """
    for folder in folders:
        matches = expand(folder)
        if not matches:
            raise ValueError(f"no folder matches {str(folder)!r}")
        for match in matches:
            for path, names, files in os.walk(match):
                if "run.json" in files:
                    names.clear()
                    yield Path(path)
                names[:] = sorted(name for name in names if not name.startswith("."))


def destinations(out: str, found: list[Run]) -> list[Path]:
    """Return where to write for each run: `out`, in which {run} stands for a run's name.

    Raises:
        ValueError: if several runs would be written to one place.
    """
    places = [Path(out.replace("{run}", run.name)) for run in found]
    if len(set(places)) < len(places):
        what = "runs of one name" if "{run}" in out else f"{len(found)} runs"
        raise ValueError(f"--out {out} is one place for {what}; write {{run}} in it where the run's name shall stand")
    return places
