"""Jobs are handed to SLURM, or to a process in the background here, and cancelled."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .. import storage
from ..processes import hold
from . import jobs, slurm
from .jobs import Job, Task

RUNNER = (sys.executable, "-m", "vitalsynth.cluster.running")


@dataclass(frozen=True)
class Resources:
    """What each task of a job gets.

    Args:
        time: Time limit of one start, as SLURM takes it; SLURM's own by default.
        cpus: Processors.
        gpus: GPUs.
        memory: Memory, as SLURM takes it; SLURM's own by default.
        notice: Seconds before the time limit at which training is told.
        at_most: How many tasks run at once; 0 sets no limit in SLURM, and runs one after the other without.
        more: More options of sbatch, without their dashes.
    """

    time: str
    cpus: int
    gpus: int
    memory: str
    notice: int
    at_most: int
    more: Sequence[str]

    def options(self) -> list[str]:
        """Return them as sbatch takes them."""
        named = {"time": self.time, "mem": self.memory, "gres": f"gpu:{self.gpus}" if self.gpus else ""}
        given = [f"{name}={value}" for name, value in named.items() if value]
        mine = [f"cpus-per-task={self.cpus}", f"signal=B:USR1@{self.notice}", *given]
        return [f"--{option}" for option in (*mine, *self.more)]


def launch(
    folder: Path,
    chain: Sequence[Sequence[Task]],
    after: Sequence[Job],
    resources: Resources,
    trusted: Sequence[str],
    in_slurm: bool,
) -> list[Job]:
    """Make jobs that follow each other, and hand them over; all of them, or none.

    Args:
        folder: Where their folders are made.
        chain: The tasks of each; task k of one follows task k of the one before.
        after: What the first of them waits for.
        resources: Of every task.
        trusted: Code of the user's own that the commands name, as import paths.
        in_slurm: To SLURM, or to this machine.

    Raises:
        ValueError: if SLURM refuses, or one of `after` has not ended well, or runs elsewhere than these.
    """
    waiting, new = _still_to_wait_for(after, in_slurm), not folder.exists()
    made: list[Job] = []
    try:
        for tasks in chain:
            about = {"cpus": resources.cpus, "at_most": resources.at_most or 1, "trusted": list(trusted)}
            job = Job.create(folder, tasks, slurm=in_slurm, after=[each.name for each in waiting], **about)
            made.append(job)
            if in_slurm:
                _to_slurm(job, resources, waiting, each_its_own=len(made) > 1)
            else:
                _to_this_machine(job)
            waiting = [job]
    except BaseException:
        cancel([job for job in made if job.number or not in_slurm])
        for job in made:
            storage.remove(job.path)
        if new:
            with suppress(OSError):  # another submission is in it
                folder.rmdir()
        raise
    return made


def cancel(cancelled: Iterable[Job]) -> None:
    """Cancel jobs; training saves first.

    Raises:
        ValueError: if SLURM refuses.
    """
    cancelled = list(cancelled)
    if numbers := [job.number for job in cancelled if job.number]:
        slurm.cancel(numbers)
    for job in cancelled:
        job.cancelled.touch()


def _still_to_wait_for(after: Sequence[Job], in_slurm: bool) -> list[Job]:
    waiting = []
    for job, tasks in zip(after, jobs.statuses(after), strict=True):
        states = {status.state for status in tasks}
        if bad := sorted(states - {"waiting", "running", "done"}):
            raise ValueError(f"--after {job.name}: it is {bad[0]}")
        if states == {"done"}:
            continue
        if job.record["slurm"] != in_slurm:
            raise ValueError(f"--after {job.name}: one of the two would run in SLURM, the other without")
        waiting.append(job)
    return waiting


def _to_slurm(job: Job, resources: Resources, waiting: Sequence[Job], each_its_own: bool) -> None:
    options, script = sbatch_arguments(
        job.path, len(job.tasks), resources, [each.number for each in waiting], each_its_own
    )
    job.add(number=slurm.submit(options, script))


def sbatch_arguments(
    path: Path, tasks: int, resources: Resources, waiting: Sequence[str], each_its_own: bool
) -> tuple[list[str], str]:
    """Return what sbatch is asked for: its options, and the line of shell that every task runs.

    Args:
        path: The job's folder.
        tasks: How many it has.
        resources: Of each.
        waiting: Numbers of the jobs that it waits for.
        each_its_own: Task k waits for task k alone.
    """
    options = [f"--job-name={path.name}", "--nodes=1", "--ntasks=1", "--requeue", "--open-mode=append"]
    options += [f"--output={str(path).replace('%', '%%')}/{'%a' if tasks > 1 else '0'}.log", *resources.options()]
    if tasks > 1:
        throttle = f"%{resources.at_most}" if resources.at_most else ""
        options.append(f"--array=0-{tasks - 1}{throttle}")
    if waiting:
        kind = "aftercorr" if each_its_own and tasks > 1 else "afterok"
        options += [f"--dependency={kind}:{':'.join(waiting)}", "--kill-on-invalid-dep=yes"]
    return options, f"exec {shlex.join([*RUNNER, str(path)])}"


def _to_this_machine(job: Job) -> None:
    """Start a process that outlives this one, and holds the lock from the beginning."""
    lock = hold(job.path / "lock")
    assert lock is not None  # the job is new
    with lock, (job.path / "runner.log").open("wb") as log:
        subprocess.Popen(
            [*RUNNER, str(job.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
