"""Several notebooks at once, until all have ended or somebody asks to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

from jupyter_core.utils import run_sync

from .executing import Task, execute


def run(tasks: Sequence[Task], jobs: int, told: Callable[[], object]) -> bool:
    """Run notebooks, so many at once; return whether somebody asked to stop.

    Args:
        tasks: The notebooks, in the order in which they begin.
        jobs: How many run at once.
        told: Called after every cell of any of them.
    """
    return run_sync(_run)(tasks, jobs, told)


async def _run(tasks: Sequence[Task], jobs: int, told: Callable[[], object]) -> bool:
    stop, free = asyncio.Event(), asyncio.Semaphore(jobs)
    loop = asyncio.get_running_loop()

    async def one(task: Task) -> None:
        async with free:
            if not stop.is_set():
                await execute(task, stop, told)

    numbers = (signal.SIGINT, signal.SIGTERM)
    with suppress(RuntimeError):  # in a notebook, or another thread
        for number in numbers:
            loop.add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(one(task))
    finally:
        with suppress(RuntimeError):
            for number in numbers:
                loop.remove_signal_handler(number)
    return stop.is_set()
