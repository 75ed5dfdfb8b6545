"""`vitalsynth submit`: hand a command to SLURM, or to the background of this machine."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from .. import components
from ..cluster import jobs, launching, slurm
from ..cluster.jobs import Task
from ..cluster.launching import Resources
from ..sequences import listed
from ..storage import numbered
from ..sweeping import notation
from . import handing, parted, settings


def submit(
    command: list[str],
    *,
    time: str = "",
    cpus: int = 1,
    gpus: int = 0,
    memory: str = "",
    notice: int = 120,
    sbatch: str = "",
    array: str = "",
    at_most: int = 0,
    after: str | list[str] = "",
    then: str | list[str] = "",
    local: bool = False,
    dry_run: bool = False,
    folder: str = "jobs",
) -> list[Path]:
    """Hand a command to SLURM, or, where there is none, to the background of this machine.

    Options of submit come before the command; what follows is the command's own. Training whose time is up saves, goes
    back into the queue and is carried on as if nothing had happened. 'vitalsynth jobs' shows how jobs stand.

    Args:
        command: Any command with its arguments, such as train icu-demo --out runs/a.
        time: Time limit of one start, as SLURM takes it: 90 (minutes), 02:00:00, 1-12 (a day and a half).
        cpus: Processors, and threads, of each task.
        gpus: GPUs of each task.
        memory: Memory of each task, such as 8G.
        notice: Seconds before the time limit at which training is told to save and stop.
        sbatch: More options for sbatch, without their dashes, such as 'partition=long account=icu'.
        array: Several tasks in one job, one for each value of a setting or each combination of several: seed=0..4 (five
            values), 'seed=0..4 batch=32,64'. {seed} in the command, as in --out runs/{seed}, is the value. 1..8,
            without a name, are eight tasks of the same command, such as sweep work.
        at_most: How many tasks may run at once; 0 sets no limit in SLURM, and runs one after the other without.
        after: Jobs that must have ended well before, comma separated.
        then: Commands for the runs that come of it, comma separated, such as evaluate,report; each waits for the one
            before.
        local: Run here even if there is SLURM.
        dry_run: Only show what sbatch would be asked for, and the command of each task.
        folder: Where jobs are recorded, with their logs.

    Returns:
        The folders of the jobs.

    Raises:
        ValueError: if anything is wrong with the command, or SLURM refuses; then nothing is submitted.
    """
    settings.check_at_least_one(cpus=cpus, notice=notice)
    for name, number in (("gpus", gpus), ("at_most", at_most)):
        if number < 0:
            raise ValueError(f"--{name} must be at least 0, got {number}")
    before = jobs.find(Path(folder), listed(after)) if listed(after) else []
    chain = [[handing.task(words, submit, later=bool(before)) for words in _variants(command, array)]]
    if parted(command)[0] != "sweep work":
        handing.refuse_one_place([run for task in chain[0] for run in task.runs], "of a setting of --array")
    for name in listed(then):
        if not all(task.runs for task in chain[0]):
            raise ValueError(f"--then {name} is for runs, and {command[0]} trains none")
        chain.append([handing.task([name, *task.runs], submit, later=True) for task in chain[0]])
    resources = launching.Resources(time, cpus, gpus, memory, notice, at_most, shlex.split(sbatch))
    if dry_run:
        _show(Path(folder).absolute(), chain, [job.number or job.name for job in before], resources)
        return []
    in_slurm = slurm.available() and not local
    if not in_slurm and not local:
        print("there is no SLURM here (no sbatch), so it runs in the background of this machine", file=sys.stderr)
    made = launching.launch(Path(folder).absolute(), chain, before, resources, components.named(), in_slurm)
    return [Path(folder, job.name) for job in made]


def _show(folder: Path, chain: Sequence[Sequence[Task]], waiting: Sequence[str], resources: Resources) -> None:
    """Show what would be submitted: a block a job, with its tasks."""
    for place, tasks in enumerate(chain):
        path = numbered(folder, tasks[0].words[0])
        options, script = launching.sbatch_arguments(path, len(tasks), resources, waiting, each_its_own=place > 0)
        lines = [f"{path.name}:", f"  {shlex.join(['sbatch', *options, f'--wrap={script}'])}"]
        print("\n".join([*lines, *(f"  {number}: vitalsynth {shlex.join(t.words)}" for number, t in enumerate(tasks))]))
        waiting = [path.name.upper()]  # whose number is not known yet


def _variants(command: list[str], array: str) -> Iterator[list[str]]:
    """Yield the command lines of an array: each value is added as an option, and stands for {NAME} in other words.

    Raises:
        ValueError: if the array is not written as it should be.
    """
    axes = {}
    for part in array.split():
        name, _, values = part.rpartition("=")
        axes[name] = notation.listed(values)
        if not axes[name]:
            raise ValueError(f"--array takes NAME=FROM..TO or NAME=VALUE,VALUE,..., got {part!r}")
    for values in product(*axes.values()):
        words = list(command)
        for name, value in zip(axes, values, strict=True):
            if name:
                words = [*(word.replace(f"{{{name}}}", value) for word in words), f"--{name}", value]
        yield words
