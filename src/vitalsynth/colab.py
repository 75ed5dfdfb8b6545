"""Training that goes on after a session was cut: in Colab on a mounted Drive folder, elsewhere in a folder here."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from . import checkpoints
from .commands import settings
from .commands.continue_ import continue_
from .commands.train import train
from .notebooks.opened import OpenedRun
from .runs import Run
from .sequences import listed
from .storage import numbered
from .training import EARLIER

DRIVE = Path("/content/drive")
"""Where Colab mounts Drive."""


def runs_folder(name: str, otherwise: str | Path = "runs") -> Path:
    """Return a folder for runs, made if need be: in Colab NAME in the user's Drive, which is mounted, else one here.

    Args:
        name: In Drive, such as vitalsynth/icu.
        otherwise: The folder where this is not Colab.
    """
    if _in_colab():
        from google.colab import drive  # type: ignore[import-not-found]

        drive.mount(str(DRIVE))
        folder = DRIVE / "MyDrive" / name
    else:
        folder = Path(otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def all_sent() -> None:
    """Wait, in Colab, until Drive has all that was written, and unmount it: the last cell. Elsewhere do nothing."""
    if _in_colab():
        from google.colab import drive  # type: ignore[import-not-found]

        drive.flush_and_unmount()


def trained(data: Any, *, out: str | Path, steps: int, **given: Any) -> OpenedRun:
    """Train a run, or carry on one that is there, exactly; what a cut session left of one that cannot be is set aside.

    Args:
        data: As `vitalsynth.train` takes it.
        out: Folder of the run.
        steps: Total number of steps to reach.
        given: Other settings of `vitalsynth.train`; device and quiet hold for what is carried on, too.

    Raises:
        ValueError: if the run that is there has other settings, or as `train` and `continue_`.
    """
    path = Path(out)
    if path.exists() and not _goes_on(path):
        aside = numbered(path.parent, f"{path.name}-incomplete")
        path.rename(aside)
        print(f"{path} did not arrive as a whole before a session ended; it is {aside.name} now, and begun again")
    with redirect_stderr(sys.stdout):  # what is told is no warning, and a notebook shows it as one
        if not path.exists():
            train(data, out=str(path), steps=steps, **given)
        elif _asked_before(Run(path), given).step < steps:
            again = {name: value for name, value in given.items() if name in ("device", "devices", "quiet")}
            continue_([str(path)], steps=steps, data="" if isinstance(data, str) else data, **again)
    return OpenedRun(path)


def _goes_on(path: Path) -> bool:
    """Say whether there is a run that can be carried on."""
    try:
        run = Run(path)
        return checkpoints.newest(run.checkpoints, run.lacks) is not None
    except ValueError:
        return False


def _asked_before(run: Run, given: dict[str, Any]) -> Run:
    """Return a run if it has the settings that are given.

    Raises:
        ValueError: with those that differ.
    """
    record = {**EARLIER, **run.record}
    compared = set(settings.NAMES) - {"privacy", "checkpoint_every"}  # one is filled in, one teaches nothing
    parts = {name: value for name, value in given.items() if name in compared}
    differ = [name for name, value in settings.to_record(parts, record).items() if value != record[name]]
    condition, held_out = given.get("condition", record["condition"]), given.get("held_out", record["data"]["held_out"])
    differ += ["condition"] if listed(condition) != record["condition"] else []
    differ += ["held_out"] if held_out != record["data"]["held_out"] else []
    if differ:
        raise ValueError(f"{run.path} was trained with other settings ({', '.join(differ)}); choose another out")
    return run


def _in_colab() -> bool:
    return "google.colab" in sys.modules
