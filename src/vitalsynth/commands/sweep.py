"""`vitalsynth sweep`: the same command with other settings, many times."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import components
from .. import storage as files
from ..sequences import listed
from ..sweeping import notation
from ..sweeping.plan import SEED, Axis, Plan, Prune, Search, filled, points
from ..sweeping.scores import PEOPLE, Score
from ..sweeping.studies import database
from ..sweeping.sweep import Sweep
from . import function, handing, interface, parted, settings
from .sweep_work import sweep_work

DEFAULT = "similarity.mmd"
FOLDER = Path("sweeps")
"""Where sweeps are made whose command names no folder."""


def sweep(
    command: list[str],
    *,
    search: Search = "grid",
    trials: int = 0,
    per_round: int = 8,
    score: str | list[str] = DEFAULT,
    prune: Prune = "",
    evaluate: str = "",
    storage: str = "",
    at_most: int = 1,
    quiet: bool = False,
) -> Path:
    """Run a command with all combinations of settings, or search for good ones; every trial is an ordinary run.

    Write several values where the command takes one, --generator.hidden 32,64,128 --seed 0..4, and name the sweep's
    folder with --out. A setting that takes commas or words itself is swept in braces, --normalise '{standard,local}',
    and so is an argument, '{icu-demo,ecg5000}'. Options of sweep come before the command. 'vitalsynth sweep work' adds
    workers, and carries on what was stopped or killed; 'sweep show' tells what came of it; 'sweep dashboard' opens
    Optuna's page. Commands that make no runs are swept as a grid, without scores; in their --out, and anywhere else,
    {trial} stands for the number of the trial and {seed} for the value of a setting that is swept.

    Args:
        command: Any command with its arguments, such as train icu-demo --generator.hidden 32,64 --out sweeps/a.
        search: grid takes all combinations; random, or tpe, which learns from the trials before, takes --trials of
            them, also of ranges such as --generator_optimizer.lr 1e-4..1e-2 (evenly by the logarithm if the ends are
            100 times apart, or with log:1e-3..1e-2). A trial of a search is trained with each --seed, and its score is
            the mean.
        trials: How many trials a search has.
        per_round: How many of them people judge at a time, of a search with --score people.
        score: What trials are compared by, comma separated: a figure of the log, similarity.mmd (the last) or
            similarity.mmd:best, for others with the way that is better, generator.nll:min; or a metric of 'evaluate',
            two_sample or tstr, computed when a run has been trained. '' for none. Or people: what those say who
            compare pictures ('vitalsynth review create'), told by 'review results --tell'.
        prune: End bad trials early, by a score in the log: median (worse than the median of the others at that step)
            or halving (successive halving; Li et al. 2020, arXiv 1810.05934). 'vitalsynth continue' carries their runs
            on.
        evaluate: Options for 'evaluate', such as '--label died --count 500'.
        storage: Address of a database for the study, if many machines work on it at once, such as
            postgresql://user@host/name, without its password; a file in the folder by default. The folder is shared by
            all of them.
        at_most: How many trials run at once here; 0 only makes the sweep.
        quiet: No progress bar.

    Returns:
        The sweep's folder.

    Raises:
        ValueError: if any trial could not be started as it is written; then nothing is made.
        Stopped: if a signal asked to stop; 'vitalsynth sweep work' carries on.
    """
    if at_most < 0:
        raise ValueError(f"--at_most must be at least 0, which only makes the sweep; got {at_most}")
    name, arguments = parted(command)
    handing.check(name, sweep)
    words, axes, out = _read(name, arguments)
    path = Path(out) if out else files.numbered(FOLDER, name)
    files.refuse_existing(path, f"carry it on with 'vitalsynth sweep work {path}', or choose another --out")
    planned = _Planned(words, axes, path, name in handing.TRAINS)
    planned.axes = planned.swept()
    asked = planned.check(search)
    scores = listed(score) if planned.trains or score != DEFAULT else []
    parsed = list(map(Score.parse, scores))
    _check_search(planned, search, trials)
    settings.check_at_least_one(per_round=per_round)
    _check_scores(parsed, planned.trains, search, prune, evaluate, asked)
    plan = Plan(
        command=words,
        axes=planned.axes,
        scores=scores,
        search=search,
        trials=trials,
        prune=prune,
        look_every=_look_every(parsed[0].name, asked[0]) if prune else 1,
        storage=database(storage) if storage else "",
        again=handing.on(asked[0]) if planned.trains else None,
        evaluate=shlex.split(evaluate),
        trusted=components.named(),
        directory=os.getcwd(),
        per_round=per_round,
    )
    made = Sweep.create(path, plan, **settings.provenance())
    return sweep_work(str(made.path), at_most=at_most, quiet=quiet) if at_most else made.path


def _read(name: str, arguments: Sequence[str]) -> tuple[list[str], list[Axis], str]:
    """Return the words of a command line, which of them may be several values, and the folder that --out names."""
    words, axes, out = name.split(), list[Axis](), ""
    given = [p.name for p in inspect.signature(function(name)).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    count = 0
    for option, value in interface.pairs(function(name), arguments):
        if option == "out" and name in handing.TRAINS:
            out = value or ""
            continue
        if not option:
            count += 1
        if value and notation.several(value) and (option or notation.explicit(value)):
            axes.append(Axis(option or given[min(count, len(given)) - 1], len(words), value, bool(option)))
        words.append(f"--{option}" if value is None else f"--{option}={value}" if option else value)
    return words, axes, out


@dataclass
class _Planned:
    """A sweep that is to be made.

    Args:
        words: The command line.
        axes: What is swept, or may be.
        path: Where it will be.
        trains: Its command makes a run.
    """

    words: list[str]
    axes: list[Axis]
    path: Path
    trains: bool

    def line(self, values: Mapping[str, str], number: int = 0) -> list[str]:
        """Return the command line of a trial; an axis without a value stays as it was written."""
        name = f"{number:04}"
        words = filled(self.words, [axis for axis in self.axes if axis.name in values], values, name)
        return [*words, f"--out={self.path / 'trials' / name}"] if self.trains else words

    @property
    def first(self) -> dict[str, str]:
        return {axis.name: axis.ends()[0] for axis in self.axes}

    def swept(self) -> list[Axis]:
        """Return what is swept: what is said to be, and settings that do not take what is written as it is.

        Raises:
            ValueError: if the command cannot be called with the first of all values.
        """
        handing.asked(self.line(self.first), sweep)
        return [axis for axis in self.axes if notation.explicit(axis.text) or not self._taken(axis)]

    def _taken(self, axis: Axis) -> bool:
        """Say whether a setting takes what is written as it is."""
        try:
            handing.asked(self.line({name: value for name, value in self.first.items() if name != axis.name}), sweep)
        except ValueError:
            return False
        return True

    def check(self, search: Search) -> list[dict[str, Any]]:
        """Check all trials of a grid, or every value and end of a range of a search, and return their settings.

        Raises:
            ValueError: if one could not be started.
        """
        if not self.axes:
            raise ValueError(
                "nothing is swept; write several values, such as --seed 0..4 or --normalise '{standard,local}'"
            )
        names = [axis.name for axis in self.axes]
        if twice := [name for k, name in enumerate(names) if name in names[:k]]:
            raise ValueError(f"--{twice[0]} is swept twice")
        for axis in self.axes:
            if twice := [value for k, value in enumerate(axis.ends()) if value in axis.ends()[:k]]:
                raise ValueError(f"--{axis.name}: {twice[0]!r} stands twice in {axis.text}")
        asked = [handing.asked(self.line(values, k), sweep) for k, values in enumerate(self._points(search))]
        if not self.trains and search == "grid" and (places := [each["out"] for each in asked if each.get("out")]):
            handing.refuse_one_place(places, "of a setting, or {trial},")
        return asked

    def _points(self, search: Search) -> Iterator[dict[str, str]]:
        if search == "grid":
            yield from points(self.axes)
            return
        for axis in self.axes:
            for value in axis.values() if axis.name == SEED else axis.ends():
                yield {**self.first, axis.name: value}


def _check_search(planned: _Planned, search: Search, trials: int) -> None:
    if search == "grid":
        if trials:
            raise ValueError("--trials is for --search random and tpe; a grid has one for each combination")
        return
    if not planned.trains:
        raise ValueError(f"--search {search} is for commands that make runs: {', '.join(handing.TRAINS)}")
    if trials < 1:
        raise ValueError(f"--search {search} needs --trials, how many there are to be")
    if all(axis.name == SEED for axis in planned.axes):
        raise ValueError(f"--search {search} has nothing to choose but seeds")


def _check_scores(
    scores: list[Score], trains: bool, search: Search, prune: Prune, evaluate: str, asked: list[dict[str, Any]]
) -> None:
    if scores and not trains:
        raise ValueError(f"--score is of runs, which only {' and '.join(handing.TRAINS)} make")
    if len({score.name for score in scores}) < len(scores):
        raise ValueError("--score names one twice")
    if search == "tpe" and not scores:
        raise ValueError("--search tpe needs a --score to go by")
    if prune and (len(scores) != 1 or not scores[0].logged):
        raise ValueError("--prune goes by one --score, of the log; Optuna cannot prune by several")
    if any(score.name.startswith("similarity.") for score in scores):
        for each in asked:
            _check_compared(each)
    if PEOPLE in [score.name for score in scores] and len(scores) > 1:
        raise ValueError("--score people goes alone: people see everything at once")
    metrics = [score.name for score in scores if not score.logged and score.name != PEOPLE]
    if evaluate and not metrics:
        raise ValueError("--evaluate is for a --score that 'evaluate' computes, such as two_sample")
    if metrics:
        options = ["--metrics", ",".join(metrics), *shlex.split(evaluate)]
        handing.asked(["evaluate", "run", *options], sweep, later=True)


def _check_compared(asked: dict[str, Any]) -> None:
    """Refuse training of which the log will not tell any similarity.

    Raises:
        ValueError: with what to do.
    """
    every, steps = asked["similarity"].every if asked["similarity"] else 0, asked["steps"]
    if not every or asked.get("privacy") or asked.get("held_out") == 0:
        raise ValueError(
            "these trainings do not measure similarity to held-out sequences; choose another --score, or '' for none"
        )
    if steps < min(every, asked["checkpoint_every"]):
        raise ValueError(
            f"similarity is measured every {every} steps, and there are {steps}; add --similarity.every "
            f"{max(1, steps // 5)}, or choose another --score, or '' for none"
        )


def _look_every(score: str, asked: dict[str, Any]) -> int:
    """Return in every how many steps trials are pruned: where the score is logged, and about 64 times a training."""
    every = min(asked["similarity"].every, asked["checkpoint_every"]) if score.startswith("similarity.") else 1
    return every * max(1, asked["steps"] // 64 // every)
