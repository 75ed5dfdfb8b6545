"""Several notebooks at once, until all have ended or somebody asks to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from jupyter_core.utils import run_sync

from .executing import Task, execute


def run(tasks: Sequence[Task], jobs: int, told: Callable[[], object]) -> bool:
    """Run notebooks, so many at once; return whether somebody asked to stop.

    SIGINT and SIGTERM ask to: the cells that run are interrupted, and may save what they do. A second SIGINT does not
    wait for them.

    Args:
        tasks: The notebooks, in the order in which they begin.
        jobs: How many run at once.
        told: Called after every cell of any of them.
    """
    return run_sync(_run)(tasks, jobs, told)


async def _run(tasks: Sequence[Task], jobs: int, told: Callable[[], object]) -> bool:
    stop, free = asyncio.Event(), asyncio.Semaphore(jobs)

    async def one(task: Task) -> None:
        async with free:
            if not stop.is_set():
                await execute(task, stop, told)

    whole = asyncio.current_task()

    def ask(number: int) -> None:
        if number == signal.SIGINT and stop.is_set() and whole:
            whole.cancel()
        stop.set()

    with _signals(ask), suppress(asyncio.CancelledError):
        try:
            async with asyncio.TaskGroup() as group:
                for task in tasks:
                    group.create_task(one(task))
        except* Exception as errors:
            raise errors.exceptions[0] from None
    return stop.is_set()


@contextmanager
def _signals(ask: Callable[[int], object]) -> Iterator[None]:
    """Call something when a signal asks to stop; in a notebook, or another thread, there are none."""
    loop, set_here = asyncio.get_running_loop(), []
    with suppress(RuntimeError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ask, number)
            set_here.append(number)
    try:
        yield
    finally:
        for number in set_here:
            loop.remove_signal_handler(number)
