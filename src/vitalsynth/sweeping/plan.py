"""What is to be tried: the command, which of its settings are swept, and how values are chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .notation import Range, Several, Values, several

if TYPE_CHECKING:
    import optuna

SEED = "seed"
"""The setting over which scores are averaged."""
Search = Literal["grid", "random", "tpe"]
Prune = Literal["", "median", "halving"]


@dataclass(frozen=True)
class Axis:
    """A setting that is swept.

    Args:
        name: Of the setting, or of an argument.
        place: Of its word in the command line.
        text: What was written.
        option: It is an option, and not an argument.
    """

    name: str
    place: int
    text: str
    option: bool

    @property
    def space(self) -> Several:
        found = several(self.text)
        assert found is not None
        return found

    def values(self) -> tuple[str, ...]:
        """Return all values.

        Raises:
            ValueError: if it is a range of numbers that are not whole.
        """
        return (self.space.listed() if isinstance(self.space, Range) else self.space).values

    def ends(self) -> tuple[str, ...]:
        """Return values of which the command takes either all or none: every one, or the ends of a range."""
        if isinstance(self.space, Values):
            return self.space.values
        return _number(self.space, self.space.low), _number(self.space, self.space.high)

    def suggest(self, trial: optuna.Trial, listed: bool) -> str:
        """Return the value of a trial, the same each time.

        Args:
            trial: Which.
            listed: A range of whole numbers is the list of them.
        """
        if listed or isinstance(self.space, Values):
            return trial.suggest_categorical(self.name, self.values())
        suggest = trial.suggest_int if self.space.whole else trial.suggest_float
        low, high = (int(end) if self.space.whole else end for end in (self.space.low, self.space.high))
        return _number(self.space, suggest(self.name, low, high, log=self.space.log))  # type: ignore[arg-type]

    def said(self, value: str) -> str:
        """Return the word that says it."""
        return f"--{self.name}={value}" if self.option else value


@dataclass(frozen=True)
class Plan:
    """What is to be tried.

    Args:
        command: The command line, in which axes have places.
        axes: What is swept.
        scores: As `Score.parse` reads them; a grid needs none.
        search: How values are chosen.
        trials: How many trials a search has.
        prune: How bad trials are found while they are trained.
        look_every: In every how many steps of a training.
        storage: Address of a database; empty for a file in the folder.
        again: Options with which the runs of trials are carried on, unless swept; None if there are no runs.
        evaluate: Options with which they are judged.
        trusted: Code of the user's own that the command names, as import paths.
        directory: Where the command was written.
        per_round: How many trials of a search people judge at a time.
    """

    command: list[str]
    axes: list[Axis]
    scores: list[str]
    search: Search
    trials: int
    prune: Prune
    look_every: int
    storage: str
    again: dict[str, str] | None
    evaluate: list[str]
    trusted: list[str]
    directory: str
    per_round: int = 0


@dataclass(frozen=True)
class Line:
    """A command line of a trial.

    Args:
        run: The run that it trains, if it does.
        words: The command line.
        again: What carries the run on, but for the steps to reach, which the run knows.
    """

    run: Path | None
    words: list[str]
    again: list[str]


def points(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Yield the values of every trial of a grid.

    Raises:
        ValueError: if an axis cannot be listed.
    """
    for values in product(*(axis.values() for axis in axes)):
        yield dict(zip([axis.name for axis in axes], values, strict=True))


def filled(command: Sequence[str], axes: Sequence[Axis], values: Mapping[str, str], trial: str) -> list[str]:
    """Return a command line: values in the places of axes, and {NAME} and {trial} elsewhere filled in."""
    words = list(command)
    for name, value in {**values, "trial": trial}.items():
        words = [word.replace(f"{{{name}}}", value) for word in words]
    for axis in axes:
        words[axis.place] = axis.said(values[axis.name])
    return words


def _number(space: Range, value: float) -> str:
    return str(int(value)) if space.whole else repr(float(value))
