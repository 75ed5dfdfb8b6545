"""`vitalsynth submit`: hand a command to SLURM, or to the background of this machine."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from .. import components, runs, storage
from ..cluster import jobs, launching, slurm
from ..cluster.jobs import Task
from ..sequences import listed, nearest
from . import COMMANDS, function, interface, settings

HANDED = [name for name in COMMANDS if name not in ("submit", "jobs")]


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
        array: Several tasks in one job, one for each value of a setting or each combination of several: seed=0:4 (which
            is 0, 1, 2, 3), 'seed=0:4 batch=32,64'. {seed} in the command, as in --out runs/{seed}, is the value.
        at_most: How many tasks may run at once; 0 sets no limit in SLURM, and runs one after the other without.
        after: Jobs that must have ended well before, comma separated.
        then: Commands for the runs that come of it, comma separated, such as evaluate,report; each waits for the one
            before.
        local: Run here even if there is SLURM.
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
    chain = [[_task(words, bool(before)) for words in _variants(command, array)]]
    _refuse_one_place(chain[0])
    for name in listed(then):
        if not all(task.runs for task in chain[0]):
            raise ValueError(f"--then {name} is for runs, and {command[0]} trains none")
        chain.append([_task([name, *task.runs], True) for task in chain[0]])
    in_slurm = slurm.available() and not local
    if not in_slurm and not local:
        print("there is no SLURM here (no sbatch), so it runs in the background of this machine", file=sys.stderr)
    resources = launching.Resources(time, cpus, gpus, memory, notice, at_most, shlex.split(sbatch))
    made = launching.launch(Path(folder).absolute(), chain, before, resources, components.named(), in_slurm)
    return [Path(folder, job.name) for job in made]


def _variants(command: list[str], array: str) -> Iterator[list[str]]:
    """Yield the command lines of an array: each value is added as an option, and stands for {NAME} in other words.

    Raises:
        ValueError: if the array is not written as it should be.
    """
    axes = {}
    for part in array.split():
        name, _, values = part.partition("=")
        ends = re.fullmatch(r"(-?\d+):(-?\d+)", values)
        axes[name] = list(map(str, range(int(ends[1]), int(ends[2])))) if ends else listed(values)
        if not axes[name]:
            raise ValueError(f"--array takes NAME=FROM:TO or NAME=VALUE,VALUE,..., got {part!r}")
    for values in product(*axes.values()):
        words = list(command)
        for name, value in zip(axes, values, strict=True):
            words = [*(word.replace(f"{{{name}}}", value) for word in words), f"--{name}", value]
        yield words


def _task(words: list[str], later: bool) -> Task:
    """Check a command line without running it.

    Args:
        words: The command and its arguments.
        later: It begins after others have ended, so that what it takes need not be there yet.

    Raises:
        ValueError: if it is wrong, as the command itself would say.
    """
    name, *arguments = words
    if name not in HANDED:
        raise ValueError(f"no command {name!r} to be submitted; {nearest(name, HANDED)}")
    try:
        asked = list(interface.parsed(name, function(name), arguments))
    except ValueError as error:
        option = re.match(r"no option --(\w+)", str(error))
        if option and option[1] in inspect.signature(submit).parameters:
            raise ValueError(f"--{option[1]} is an option of submit, which come before the command, {name}") from None
        raise
    first = asked[0]
    if not later:
        for each in _patterns(first):
            if not storage.expand(each):
                raise ValueError(f"{name}: nothing is at {each!r}")
    if name == "continue":
        return Task(words, words, _patterns(first))
    if name not in ("train", "branch"):
        return Task(words, words, [])
    if name == "train":
        settings.check_at_least_one(steps=first["steps"])
    if len(asked) > 1:
        raise ValueError(f"branch: one run at a time can be submitted, got {len(asked)}")
    out = str(runs.destinations(first["out"], runs.find(first["run"]))[0]) if name == "branch" else first["out"]
    runs.refuse_existing(out)
    settings.to_record({setting: value for setting, value in first.items() if setting in settings.NAMES})
    if not first["steps"]:  # a branch that is only made
        return Task(words, words, [])
    again = [
        "continue",
        out,
        "--steps",
        str(first["steps"]),
        "--device",
        first["device"],
        "--devices",
        str(first.get("devices", 1)),
    ]
    return Task(words, [*again, "--quiet"] if first["quiet"] else again, [out])


def _patterns(asked: dict[str, Any]) -> list[str]:
    """Return the runs or files that a command takes."""
    given = asked.get("run") or asked.get("what") or []
    return [given] if isinstance(given, str) else list(given)


def _refuse_one_place(tasks: list[Task]) -> None:
    """Refuse tasks that would train the same run.

    Raises:
        ValueError: with what to write.
    """
    places = [run for task in tasks for run in task.runs]
    if len(set(places)) < len(places):
        raise ValueError(
            f"{places[0]} is one place for {len(tasks)} tasks; write {{NAME}} in --out where the value of a setting of "
            "--array shall stand"
        )
