"""`vitalsynth pack` and `vitalsynth unpack`: a run as one file."""

from __future__ import annotations

from pathlib import Path

from .. import runs
from ..runs import Run, archive
from ..storage import expand


def pack(run: str | list[str], *, out: str = "", generator_only: bool = False) -> list[Path]:
    """Make one file of a run, with a digest of everything in it and no path of this machine.

    Args:
        run: Folders of runs; globs are expanded.
        out: The file, which must not exist; {run} in it stands for the run's name. By default the run's folder with
            .zip at the end.
        generator_only: Only what sampling needs: no discriminator, optimiser, log, scores, samples or components of an
            outline, and nothing of where the data lay. It unpacks to a run that can be sampled.

    Returns:
        The files.

    Raises:
        ValueError: if a run is damaged or in use, or something is there.
    """
    found = runs.find(run)
    ending = "-generator.zip" if generator_only else ".zip"
    places = runs.destinations(out, found) if out else [Path(f"{each.path.resolve()}{ending}") for each in found]
    return [archive.pack(each, place, generator_only) for each, place in zip(found, places, strict=True)]


def unpack(file: list[str], *, out: str = "{run}") -> list[Run]:
    """Make runs of packed ones, each whole or not at all.

    A packed run from a stranger can be unpacked and sampled without risk: it holds numbers and names, which are
    checked, and no code.

    Args:
        file: Files from 'vitalsynth pack'; globs are expanded.
        out: Folder of the run, which must not exist; {run} in it stands for the name that it had. By default that name,
            in the working directory.

    Returns:
        The runs.

    Raises:
        ValueError: if a file is no packed run, or not what was packed.
    """
    files = {pattern: expand(pattern) for pattern in file}
    if missing := [pattern for pattern, found in files.items() if not found]:
        raise ValueError(f"no file matches {missing[0]!r}")
    return [archive.unpack(each, out) for found in files.values() for each in found]
