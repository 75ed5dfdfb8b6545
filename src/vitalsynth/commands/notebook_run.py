"""`vitalsynth notebook run`: notebooks with no browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from .. import storage
from ..sequences import printable
from . import Pairs, settings
from .progress import Progress
from .train import Stopped

if TYPE_CHECKING:
    from ..notebooks.executing import Task


def notebook_run(
    notebook: str | list[str],
    *,
    parameters: Pairs = (),
    out: str = "executed",
    jobs: int = 1,
    timeout: int = 0,
    directory: str = "",
    again: bool = False,
    quiet: bool = False,
) -> list[Path]:
    """Run notebooks with no browser, several at once, and save executed copies and pages.

    Defaults of parameters stand in a cell tagged 'parameters'; the values of -p follow in a cell of their own, as with
    papermill. The copy is saved after every cell. A notebook that was run to its end, with the same content and
    parameters, is not run again; one that was stopped or killed begins anew, as a kernel's memory cannot be saved, and
    what it trains carries on if its cells use 'continue'. Ctrl-C interrupts the cells that run, so that training saves,
    and ends the kernels. If a cell fails, its traceback is shown, the others go on, and the exit code is 1.

    Args:
        notebook: Notebooks; globs are expanded.
        parameters: A parameter, such as -p steps=200; may be given several times. Values are numbers, true, false,
            null, lists as in YAML, or text.
        out: Folder of the executed copies and their pages, NAME.ipynb and NAME.html.
        jobs: How many run at once, each in a kernel of its own, on one thread unless OMP_NUM_THREADS says otherwise.
        timeout: Seconds that a cell may take; 0 is any time.
        directory: Where the kernels run; by default the folder of each notebook, as in Jupyter.
        again: Also run what was run before.
        quiet: No progress bar and no table.

    Returns:
        The executed copies.

    Raises:
        ValueError: if there is no such notebook or parameter, or a notebook would be overwritten.
        NotebookFailed: if a cell fails, after all others have run.
        Stopped: if a signal asked to stop; the same command carries on.
    """
    settings.check_at_least_one(jobs=jobs)
    if timeout < 0:
        raise ValueError(f"--timeout must be at least 0, which is any time; got {timeout}")
    if directory and not Path(directory).is_dir():
        raise ValueError(f"--directory {directory} is no folder")
    try:
        from ..notebooks import together
    except ModuleNotFoundError as error:
        raise ValueError(f"notebook run needs {error.name}: pip install 'vitalsynth[notebooks]'") from None
    tasks = _tasks([notebook] if isinstance(notebook, str) else notebook, parameters, Path(out), directory, timeout)
    waiting = [task for task in tasks if again or not task.done_before()]
    with Progress("running notebooks", _cells(tasks), sum(task.at for task in tasks), quiet) as progress:
        told = _Telling(tasks, progress)
        stopped = together.run(waiting, jobs, told)
    Console(quiet=quiet).print(_table(tasks))
    if stopped:
        raise Stopped("stopped; the same command carries on with the notebooks that are not done")
    if failed := told.failed:
        raise NotebookFailed(f"{len(failed)} of {len(tasks)} failed: {failed[0].source}, {failed[0].why}")
    return [task.copy for task in tasks]


def _tasks(patterns: list[str], parameters: Pairs, out: Path, directory: str, timeout: int) -> list[Task]:
    """Read notebooks, and deal out the parameters.

    Raises:
        ValueError: if one cannot be read, or knows no such parameter.
    """
    from ..notebooks import executing
    from ..notebooks import parameters as named

    given = named.parse(parameters)
    notebooks = {path: executing.read(path) for path in _found(patterns, out)}
    named.refuse_unknown(given, notebooks.values())
    out.mkdir(parents=True, exist_ok=True)
    return [
        executing.Task(path, read, out, named.own(read, given), Path(directory or path.parent), timeout)
        for path, read in notebooks.items()
    ]


class _Telling:
    """Shows how far notebooks are, and every traceback, once."""

    def __init__(self, tasks: list[Task], progress: Progress) -> None:
        self.tasks, self.progress = tasks, progress
        self.failed: list[Task] = []

    def __call__(self) -> None:
        running = (f"{task.source.stem} {task.at}/{task.cells}" for task in self.tasks if task.state == "running")
        self.progress.advance(sum(task.at for task in self.tasks) - self.progress.at, ", ".join(running))
        for task in self.tasks:
            if task.state == "failed" and task not in self.failed:
                self.failed.append(task)
                print(f"\n{task.source}, {printable(task.why)}\n{_shown(task.traceback)}", file=sys.stderr)


class NotebookFailed(Exception):
    """A cell of a notebook failed."""


def _found(patterns: list[str], out: Path) -> list[Path]:
    """Return the notebooks of some globs, each once.

    Raises:
        ValueError: if there is none, or two would be one, or a copy would take the place of a notebook.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        matches = [Path(match) for match in storage.expand(pattern) if Path(match).is_file()]
        if not matches:
            raise ValueError(f"no notebook matches {pattern!r}")
        found |= {path.resolve(): path for path in matches if path.resolve() not in found}
    names = [path.name for path in found]
    if twice := [path for path in found.values() if names.count(path.name) > 1]:
        raise ValueError(f"{twice[0]} and {twice[1]} have one name; run them with another --out each")
    if over := [path for path in found if path.parent == out.resolve()]:
        raise ValueError(f"--out {out} is where {found[over[0]].name} lies, which would be overwritten")
    return list(found.values())


def _shown(traceback: str) -> str:
    """Return a traceback with its colours on a terminal, and without elsewhere."""
    from nbconvert.filters import strip_ansi

    return traceback if sys.stderr.isatty() else strip_ansi(traceback)


def _cells(tasks: list[Task]) -> int:
    return max(1, sum(task.cells for task in tasks))


def _table(tasks: list[Task]) -> Table:
    out = Table("notebook", "state", "cells", "time", "memory", box=box.SIMPLE_HEAD)
    for task in tasks:
        memory = storage.in_words(task.memory) if task.memory else "–"
        cells, seconds = f"{task.at}/{task.cells}", f"{task.seconds:.1f} s"
        out.add_row(str(task.source), task.state, cells, seconds, memory)
    return out
