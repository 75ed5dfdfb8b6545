"""What runs in a job: the commands of its tasks, each in a process, stopped and carried on as it must be.

`python -m vitalsynth.cluster.running FOLDER`: in SLURM one task of a job, without SLURM all of them. Shortly before
the time limit SLURM sends SIGUSR1 to this process alone. It asks a command that trains to stop, which saves and exits
with 75, and puts the task back into the queue; when that starts again, training is carried on. If a job is cancelled or
preempted, SLURM itself tells all of its processes.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import Any

from .. import storage
from ..processes import STOPPED, start
from . import jobs, slurm
from .jobs import Job


class Process:
    """A task that runs, with its output in the task's log."""

    def __init__(self, job: Job, number: int) -> None:
        self.job, self.number, self.task, self.told = job, number, job.tasks[number], False
        before, there = job.account(number), bool(self._runs())
        ours = before.get("ours", not there)  # nobody else's run is carried on
        self.saved = self._saved()
        job.note(
            number, state="running", why="", ours=ours, starts=before.get("starts", 0) + 1, host=platform.node(),
            began=round(time.time()),
        )  # fmt: skip
        words = self.task.again if ours and there else self.task.words
        with job.log(number).open("ab") as log:
            self.process = start(words, log, job.record["trusted"], job.record["cpus"])

    def _runs(self) -> list[str]:
        return [run for pattern in self.task.runs for run in storage.expand(pattern)]

    def _saved(self) -> set[Path]:
        return {step for run in self._runs() for step in Path(run, "checkpoints").glob("[0-9]*")}

    def stop(self) -> None:
        """Ask it to save and stop, once."""
        if not self.told:
            self.process.terminate()
        self.told = True

    def progressed(self) -> bool:
        """Say whether a checkpoint was written since it began."""
        return bool(self._saved() - self.saved)


class Asked:
    """What signals asked for."""

    def __init__(self) -> None:
        self.to_stop = False

    def stop(self, *_: Any) -> None:
        self.to_stop = True


def main(folder: str) -> int:
    """Run a job, or the task of it that SLURM says; return the exit code."""
    job, asked = Job(Path(folder)), Asked()
    if job.record["slurm"]:
        signal.signal(signal.SIGUSR1, asked.stop)
        signal.signal(signal.SIGTERM, lambda *_: None)  # the command has got it, too
        return in_slurm(job, asked)
    signal.signal(signal.SIGTERM, asked.stop)
    return here(job, asked)


def in_slurm(job: Job, asked: Asked) -> int:
    """Run the task that SLURM says, and put it back into the queue if its time is up."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    process = Process(job, int(task or 0))
    while (code := process.process.poll()) is None:
        if asked.to_stop and process.task.runs:
            process.stop()
        time.sleep(0.2)
    why = ""
    if process.told and code == STOPPED and process.progressed():
        try:
            slurm.requeue(f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}" if task else os.environ["SLURM_JOB_ID"])
            return STOPPED
        except ValueError as error:
            why = str(error)
    elif process.told and code in (STOPPED, -signal.SIGTERM):
        why = "its time limit came before it had saved anything; ask for more --time"
    return _ended(process, code, why)


def here(job: Job, asked: Asked) -> int:
    """Run all tasks of a job, so many at once as it says, after those that it waits for."""
    waiting, running, codes = list(range(len(job.tasks))), list[Process](), [0]
    if missed := _missed(job, asked):
        for number in waiting:
            job.note(number, state="cancelled", why=missed)
        return 1
    while waiting or running:
        if asked.to_stop or job.cancelled.exists():
            waiting.clear()
            for process in running:
                process.stop()
        while waiting and len(running) < job.record["at_most"]:
            running.append(Process(job, waiting.pop(0)))
        for process in list(running):
            if (code := process.process.poll()) is not None:
                running.remove(process)
                codes.append(_ended(process, code))
        time.sleep(0.2)
    return max(codes)


def _missed(job: Job, asked: Asked) -> str:
    """Wait for the jobs that it comes after; return why it cannot come, or nothing."""
    before = [Job(job.path.parent / name) for name in job.record["after"]]
    while not (asked.to_stop or job.cancelled.exists()):
        states = {
            each.name: {status.state for status in tasks}
            for each, tasks in zip(before, jobs.statuses(before), strict=True)
        }
        for name, found in states.items():
            if found - {"done", "waiting", "running"}:
                return f"{name} did not end well"
        if all(found == {"done"} for found in states.values()):
            return ""
        time.sleep(0.5)
    return "cancelled"


def _ended(process: Process, code: int, why: str = "") -> int:
    """Note how a task ended; return its exit code as a shell would."""
    code = code if code >= 0 else 128 - code
    state = {0: "done", STOPPED: "stopped"}.get(code, "failed")
    process.job.note(process.number, state=state, why=why, code=code, ended=round(time.time()))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
