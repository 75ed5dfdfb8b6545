"""Command lines that are run later, by a job or a sweep: checked now, as the command itself would, and not run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from .. import runs, storage
from ..cluster.jobs import Task
from ..sequences import nearest
from . import COMMANDS, function, interface, parted, settings

TRAINS = ("train", "branch")
"""Commands that make a run."""
HANDED = [name for name in COMMANDS if name not in ("submit", "jobs", "sweep", "sweep dashboard", "notebook serve")]


def check(name: str, by: Callable[..., Any]) -> None:
    """Refuse what is no command, or is one that cannot be handed to `by`.

    Raises:
        ValueError: with the nearest that can.
    """
    if name not in HANDED:
        raise ValueError(f"no command {name!r} to {by.__name__}; {nearest(name, HANDED)}")


def asked(words: list[str], by: Callable[..., Any], later: bool = False) -> dict[str, Any]:
    """Return the settings with which a command line would call its function, without calling it.

    Args:
        words: The command and its arguments.
        by: The command that it is handed to.
        later: It begins after others have ended, so that what it takes need not be there yet.

    Raises:
        ValueError: if it is wrong, as the command itself would say.
    """
    name, arguments = parted(words)
    check(name, by)
    try:
        first, *more = interface.parsed(name, function(name), arguments)
    except ValueError as error:
        option = re.match(r"no option --(\w+)", str(error))
        if option and option[1] in inspect.signature(by).parameters:
            raise ValueError(
                f"--{option[1]} is an option of {by.__name__}, which come before the command, {name}"
            ) from None
        raise
    if more:
        raise ValueError(f"branch: one run at a time, got {1 + len(more)}; {by.__name__} takes no more")
    for each in () if later else _patterns(first):
        if not storage.expand(each):
            raise ValueError(f"{name}: nothing is at {each!r}")
    if name in TRAINS:
        if name == "train":
            settings.check_at_least_one(steps=first["steps"])
        runs.refuse_existing(_out(name, first))
        settings.to_record({setting: value for setting, value in first.items() if setting in settings.NAMES})
    return first


def task(words: list[str], by: Callable[..., Any], later: bool = False) -> Task:
    """Check a command line without running it, and return what a job has to know of it.

    The arguments are those of `asked`.

    Raises:
        ValueError: if it is wrong, as the command itself would say.
    """
    name, first = parted(words)[0], asked(words, by, later)
    if name == "continue":
        return Task(words, words, _patterns(first))
    if name == "sweep work":
        return Task(words, words, [f"{first['sweep']}/trials/*"])
    if name not in TRAINS or not first["steps"]:  # or a branch that is only made
        return Task(words, words, [])
    out = _out(name, first)
    options = {"steps": first["steps"], **on(first)}
    again = ["continue", out, *(f"--{option}={value}" for option, value in options.items())]
    return Task(words, [*again, "--quiet"] if first["quiet"] else again, [out])


def _out(name: str, asked: dict[str, Any]) -> str:
    """Return the run that a command would train."""
    return str(runs.destinations(asked["out"], runs.find(asked["run"]))[0]) if name == "branch" else asked["out"]


def on(asked: dict[str, Any]) -> dict[str, str]:
    """Return the options that say on what a run is trained."""
    return {name: str(asked[name]) for name in ("device", "devices") if name in asked}


def _patterns(asked: dict[str, Any]) -> list[str]:
    """Return the runs or files that a command takes."""
    given = asked.get("run") or asked.get("what") or []
    return [given] if isinstance(given, str) else list(given)


def refuse_one_place(places: Sequence[str], value: str) -> None:
    """Refuse command lines that would write to the same place.

    Args:
        places: Of all of them.
        value: Of what, in words, its name can stand for in --out.

    Raises:
        ValueError: with what to write.
    """
    if len(set(places)) < len(places):
        raise ValueError(
            f"{places[0]} is one place for {len(places)} tasks; write {{NAME}} in --out where the value {value} shall "
            "stand"
        )
