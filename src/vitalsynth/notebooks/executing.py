"""Running a notebook with no browser: a kernel of its own, a copy saved after every cell, a page at the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import nbformat
import psutil
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from ..storage import atomic_path, sha256
from . import kernels, pages, parameters

State = Literal["waiting", "running", "done", "done before", "failed", "stopped"]
GRACE = 60.0
"""Seconds that a cell has to save what it does when it is interrupted."""
LOOK = 0.25
"""Seconds between two looks at how much memory a kernel holds."""


@dataclass
class Task:
    """A notebook that is to be run.

    Args:
        source: Where it lies.
        notebook: What is in it.
        out: Folder of the executed copy and the page.
        given: Values of its parameters.
        directory: Where its kernel runs.
        timeout: Seconds that a cell may take; 0 is any time.

    Attributes:
        mark: Says that a copy is of this notebook, as it was read, with these parameters.
    """

    source: Path
    notebook: NotebookNode
    out: Path
    given: Mapping[str, Any]
    directory: Path
    timeout: int = 0
    state: State = "waiting"
    at: int = 0
    seconds: float = 0.0
    memory: int = 0
    why: str = ""
    traceback: str = ""
    mark: str = field(init=False)

    def __post_init__(self) -> None:
        given = json.dumps(self.given, sort_keys=True, default=repr)
        self.mark = sha256(nbformat.writes(self.notebook).encode() + given.encode())

    @property
    def copy(self) -> Path:
        return self.out / self.source.name

    @property
    def page(self) -> Path:
        return self.copy.with_suffix(".html")

    @property
    def cells(self) -> int:
        return sum(runs(cell) and parameters.INJECTED not in parameters.tags(cell) for cell in self.notebook.cells)

    def done_before(self) -> bool:
        """Say whether there is a copy that was finished, of the same content and parameters; take over what it says."""
        try:
            kept = read(self.copy).metadata.get("vitalsynth", {})
        except (ValueError, OSError):
            return False
        if kept.get("mark") != self.mark or kept.get("state") != "done" or not self.page.exists():
            return False
        self.state, self.seconds, self.memory = "done before", kept["seconds"], kept["memory"]
        self.at = self.cells
        return True


def read(path: Path) -> NotebookNode:
    """Read a notebook.

    Raises:
        ValueError: if it is none, or not of Python.
    """
    try:
        notebook = nbformat.reads(path.read_text("utf-8"), as_version=4)
        cells = notebook.cells
    except (nbformat.reader.NotJSONError, AttributeError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a notebook: {str(error).splitlines()[0][:80]}") from None
    language = notebook.metadata.get("kernelspec", {}).get("language") or "python"
    if language != "python":
        raise ValueError(f"{path} is written in {language}; only notebooks in Python can be run")
    for k, cell in enumerate(cells):  # of format 4.4 and before
        cell.setdefault("id", f"cell-{k}")
    notebook.nbformat_minor = max(notebook.nbformat_minor, 5)
    return notebook


def runs(cell: NotebookNode) -> bool:
    """Say whether there is anything to run in a cell."""
    return cell.cell_type == "code" and bool(cell.source.strip())


async def execute(task: Task, stop: asyncio.Event, told: Callable[[], object]) -> None:
    """Run a notebook; what became of it stands in the task.

    Args:
        task: Which.
        stop: Set when somebody asks to stop; then the cell that runs is interrupted.
        told: Called after every cell, and at the end.
    """
    began = time.monotonic()
    task.state = "running"
    parameters.inject(task.notebook, task.given)
    for cell in filter(runs, task.notebook.cells):
        cell.outputs, cell.execution_count = [], None
    sockets = TemporaryDirectory(prefix="vitalsynth-")
    manager = kernels.manager(Path(sockets.name))
    client = NotebookClient(task.notebook, km=manager, timeout=task.timeout or None, log=kernels.SILENT)
    watching = None
    try:
        await client.async_start_new_kernel(cwd=str(task.directory), env=kernels.environment())
        watching = asyncio.create_task(_watch(task, manager))
        await client.async_start_new_kernel_client()
        await _cells(task, client, stop, lambda: (_save(task, began), told()))
    except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError, OSError) as error:
        task.why = task.why or str(error).splitlines()[0]
        task.state = "stopped" if stop.is_set() else "failed"
    except asyncio.CancelledError:
        task.state = "stopped"
        raise
    finally:
        if watching:
            watching.cancel()
        await _end(client, manager)
        sockets.cleanup()
        _save(task, began)
    page = await asyncio.to_thread(pages.page, task.notebook, task.source.stem, task.source.parent)
    _write(task.page, page)
    told()


async def _cells(task: Task, client: NotebookClient, stop: asyncio.Event, told: Callable[[], object]) -> None:
    number = 0
    for index, cell in enumerate(task.notebook.cells):
        injected = parameters.INJECTED in parameters.tags(cell)
        number += not injected
        if not runs(cell):
            continue
        where = "the injected parameters" if injected else f"cell {number}"
        try:
            await _cell(client, cell, index, stop)
        except CellExecutionError as error:
            task.why, task.traceback = f"{where}: {error.ename}: {error.evalue}", error.traceback
            raise
        except CellTimeoutError:
            task.why = f"{where} took longer than {task.timeout} s (--timeout)"
            raise
        except DeadKernelError:
            task.why = f"{where}: the kernel died (was it out of memory?)"
            raise
        finally:
            told()
        task.at += not injected
        if stop.is_set():
            task.state = "stopped"
            return
    task.state = "done"


async def _cell(client: NotebookClient, cell: NotebookNode, index: int, stop: asyncio.Event) -> None:
    """Run a cell; when somebody asks to stop, interrupt it, and wait until it has saved what it does."""
    running = asyncio.ensure_future(client.async_execute_cell(cell, index))
    asked = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await client.km.interrupt_kernel()  # type: ignore[union-attr]
            await asyncio.wait({running}, timeout=GRACE)
        if running.done():
            running.result()
    finally:
        running.cancel()
        asked.cancel()


async def _watch(task: Task, manager: AsyncKernelManager) -> None:
    """Note how much memory the kernel and its children hold at most."""
    with suppress(psutil.NoSuchProcess):
        kernel = psutil.Process(manager.provisioner.pid)  # type: ignore[union-attr]
        while True:
            held = kernel.memory_info().rss
            for child in kernel.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    held += child.memory_info().rss
            task.memory = max(task.memory, held)
            await asyncio.sleep(LOOK)


async def _end(client: NotebookClient, manager: AsyncKernelManager) -> None:
    """End the kernel, and what it started, by their ids."""
    if client.kc is not None:
        client.kc.stop_channels()
    if manager.has_kernel:
        await manager.shutdown_kernel(now=True)
    await ensure_async(manager.cleanup_resources())


def _save(task: Task, began: float) -> None:
    task.seconds = time.monotonic() - began
    kept = {"mark": task.mark, "state": task.state, "seconds": round(task.seconds, 2), "memory": task.memory}
    task.notebook.metadata["vitalsynth"] = kept
    _write(task.copy, nbformat.writes(task.notebook))


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
