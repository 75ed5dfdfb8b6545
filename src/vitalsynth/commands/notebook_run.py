"""`vitalsynth notebook run`: notebooks with no browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .. import storage
from ..sequences import printable
from . import Pairs, settings
from .progress import Progress
from .train import Stopped


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
        from ..notebooks import executing, together
        from ..notebooks import parameters as named
    except ModuleNotFoundError as error:
        raise ValueError(f"notebook run needs {error.name}: pip install 'vitalsynth[notebooks]'") from None
    given, folder = named.parse(parameters), Path(out)
    paths = _found([notebook] if isinstance(notebook, str) else notebook, folder)
    notebooks = {path: executing.read(path) for path in paths}
    named.refuse_unknown(given, notebooks.values())
    tasks = [
        executing.Task(path, read, folder, named.own(read, given), Path(directory or path.parent), timeout)
        for path, read in notebooks.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [task for task in tasks if again or not task.done_before()]
    total, shown = sum(task.cells for task in tasks), list[executing.Task]()
    with Progress("running notebooks", max(total, 1), sum(task.at for task in tasks), quiet) as progress:

        def told() -> None:
            running = ", ".join(
                f"{task.source.stem} {task.at}/{task.cells}" for task in tasks if task.state == "running"
            )
            progress.advance(sum(task.at for task in tasks) - progress.at, running)
            for task in tasks:
                if task.state == "failed" and task not in shown:
                    shown.append(task)
                    print(f"\n{task.source}, {printable(task.why)}\n{_shown(task.traceback)}", file=sys.stderr)

        stopped = together.run(waiting, jobs, told)
    Console(quiet=quiet).print(_table(tasks))
    if stopped:
        raise Stopped("stopped; the same command carries on with the notebooks that are not done")
    if shown:
        raise NotebookFailed(f"{len(shown)} of {len(tasks)} failed: {shown[0].source}, {shown[0].why}")
    return [task.copy for task in tasks]


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


def _table(tasks: list[Any]) -> Table:
    out = Table("notebook", "state", "cells", "time", "memory", box=box.SIMPLE_HEAD)
    for task in tasks:
        memory = storage.in_words(task.memory) if task.memory else "–"
        cells, seconds = f"{task.at}/{task.cells}", f"{task.seconds:.1f} s"
        out.add_row(str(task.source), task.state, cells, seconds, memory)
    return out
