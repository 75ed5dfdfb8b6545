"""A sweep on disk, and its study: which trials there are, whose they are, and what came of them.

sweep.json      written once: the command, what is swept, by which scores, where the study is
study.journal   Optuna's study, unless it is in a database
trials/0007     the run of trial 7, like any other; of a search with seeds one for each, trials/0007-3
logs/0007       what its processes said; locked by whoever works on it, and by the training itself
lock            held for the moment in which a trial is taken

people.json     how people rank the trials, by number, if they do

A trial that is begun in the study and held by nobody was left: its process is dead, or was stopped. Whoever comes next
takes it and carries its run on. So no trial is lost, and none has two who work on it.
"""

from __future__ import annotations

import json
import secrets
import warnings
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from ..processes import hold
from ..storage import atomic_folder, atomic_path, read_record, write
from . import studies
from .plan import SEED, Axis, Line, Plan, filled, points
from .scores import PEOPLE, Score

if TYPE_CHECKING:
    import optuna

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Claim:
    """A trial that this process, and no other, works on.

    Args:
        trial: Of the study.
        values: Of what is swept.
        log: Of its processes; the trial is let go when it is closed, by them, too.
    """

    trial: optuna.Trial
    values: Mapping[str, str]
    log: BinaryIO


class Sweep:
    """A sweep on disk.

    Args:
        path: Its folder.

    Raises:
        ValueError: if there is none, or it is of a format that this version does not know.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.record = read_record(self.path, "sweep", FORMAT)

    @classmethod
    def create(cls, path: Path, plan: Plan, **record: Any) -> Sweep:
        """Make a sweep, whole or not at all, with all trials of a grid.

        Args:
            path: Its folder.
            plan: What is to be tried.
            **record: More to be kept in sweep.json.

        Raises:
            ValueError: if something is there already, or the database is not.
        """
        about = {"format": FORMAT, "study": f"{path.name}-{secrets.token_hex(4)}", "plan": asdict(plan), **record}
        with atomic_folder(path) as folder:
            write(folder / "sweep.json", json.dumps(about, indent=1).encode())
            for name in ("trials", "logs"):
                (folder / name).mkdir()
            cls(folder)._make_study()
        return cls(path)

    @cached_property
    def plan(self) -> Plan:
        record = self.record["plan"]
        return Plan(**{**record, "axes": [Axis(**axis) for axis in record["axes"]]})

    @property
    def grid(self) -> bool:
        return self.plan.search == "grid"

    @cached_property
    def scores(self) -> list[Score]:
        return list(map(Score.parse, self.plan.scores))

    @property
    def seeds(self) -> tuple[str, ...]:
        """The seeds that every trial of a search has; of a grid, each is a trial of its own."""
        return () if self.grid else next((axis.values() for axis in self.plan.axes if axis.name == SEED), ())

    @property
    def chosen(self) -> list[Axis]:
        """What a trial has a value of."""
        return [axis for axis in self.plan.axes if self.grid or axis.name != SEED]

    @property
    def by_people(self) -> bool:
        """Trials are judged by people, in rounds."""
        return self.plan.scores == [PEOPLE]

    def lines(self, claim: Claim) -> dict[str, Line]:
        """Return the command lines of a trial: one, or one for each seed of a search."""
        name = f"{claim.trial.number:04}"
        if not self.seeds:
            return {"": self._line(claim.values, name)}
        return {seed: self._line({**claim.values, SEED: seed}, f"{name}-{seed}") for seed in self.seeds}

    def _line(self, values: Mapping[str, str], name: str) -> Line:
        words, again = filled(self.plan.command, self.plan.axes, values, name), self.plan.again
        if again is None:
            return Line(None, words, [])
        run = self.path.absolute() / "trials" / name
        options = [f"--{option}={values.get(option, default)}" for option, default in again.items()]
        return Line(run, [*words, f"--out={run}"], ["continue", str(run), *options])

    def log(self, number: int) -> Path:
        """Return what the processes of a trial said."""
        return self.path / "logs" / f"{number:04}"

    @property
    def directory(self) -> Path | None:
        """Where commands run: where the sweep was made, if that is here."""
        made = Path(self.plan.directory)
        return made if made.is_dir() else None

    def claim(self) -> Claim | None:
        """Take a trial that was left, or the next; None if there is none to be taken now.

        Raises:
            ValueError: if the database is not there.
        """
        with hold(self.path / "lock", wait=True), studies.in_one_line():  # type: ignore[union-attr]
            for left in filter(lambda trial: not _done(trial), self._in_state("RUNNING")):
                if log := hold(self.log(left.number)):
                    if _done(self.trials()[left.number]):  # just now
                        log.close()
                        continue
                    return self._claimed(studies.library().Trial(self.study, left._trial_id), log)
            begun = self.trials()
            if not self._in_state("WAITING") and (self.grid or len(begun) >= self.total):
                return None
            if self.by_people and not self.grid:
                self._propose(begun)
            self.study.sampler = studies.sampler(self.plan.search, len(begun))
            trial = self.study.ask()
            log = hold(self.log(trial.number))
            assert log is not None
            return self._claimed(trial, log)

    def _claimed(self, trial: optuna.Trial, log: BinaryIO) -> Claim:
        return Claim(trial, {axis.name: axis.suggest(trial, self.grid) for axis in self.chosen}, log)

    def report(self, claim: Claim, value: float, step: int) -> bool:
        """Note the score of a trial at a step of its training; return whether it is so bad that it should end.

        Raises:
            ValueError: if the database is not there.
        """
        with studies.in_one_line(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what whoever had it before has reported is reported again
            claim.trial.report(value, step)
            return claim.trial.should_prune()

    def finish(self, claim: Claim, scores: Mapping[str, Sequence[float]]) -> None:
        """Note the scores of a trial by seed, of which the study is told the means, and let it go.

        Raises:
            ValueError: if the database is not there.
        """
        if self.by_people:
            with claim.log, studies.in_one_line():
                claim.trial.set_user_attr("trained", True)
            return
        means = [sum(each) / len(each) for each in zip(*scores.values(), strict=True)]
        with claim.log, studies.in_one_line():
            claim.trial.set_user_attr("scores", {seed: list(each) for seed, each in scores.items()})
            self.study.tell(claim.trial, means or [0.0])  # a study has one score at least

    def _propose(self, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        """Put a trial into the queue whose values are chosen by what people say of all others now."""
        sampler = studies.sampler(self.plan.search, len(trials), self.plan.per_round)
        past = studies.library().create_study(direction="maximize", sampler=sampler)
        past.add_trials([trial for trial in trials if trial.state.name in ("COMPLETE", "RUNNING")])
        trial = past.ask()
        for axis in self.chosen:
            axis.suggest(trial, self.grid)
        self.study.enqueue_trial(trial.params)

    def unjudged(self) -> list[int]:
        """Return the trials, by number, that people have still to judge.

        Raises:
            ValueError: if the database is not there.
        """
        return [trial.number for trial in self._in_state("RUNNING") if _done(trial)]

    def tell(self, strengths: Mapping[int, float]) -> None:
        """Note how people rank trials; that of earlier rounds may have changed.

        Raises:
            ValueError: if the database is not there.
        """
        with hold(self.path / "lock", wait=True), studies.in_one_line():  # type: ignore[union-attr]
            unjudged = self.unjudged()
            with atomic_path(self.path / "people.json") as half:
                half.write_text(json.dumps(self._strengths() | {str(n): value for n, value in strengths.items()}))
            for number in unjudged:
                if number in strengths:
                    self.study.tell(number, strengths[number])

    def _strengths(self) -> dict[str, float]:
        place = self.path / "people.json"
        return json.loads(place.read_bytes()) if place.exists() else {}

    def end(self, claim: Claim, state: Literal["FAIL", "PRUNED"], why: str = "") -> None:
        """Note that a trial ended without scores, and let it go.

        Raises:
            ValueError: if the database is not there.
        """
        with claim.log, studies.in_one_line():
            claim.trial.set_user_attr("why", why)
            self.study.tell(claim.trial, state=studies.library().trial.TrialState[state])

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """Return all trials of the study, by number; those that people judge with what these say of them now.

        Raises:
            ValueError: if the database is not there.
        """
        with studies.in_one_line():
            found = self.study.get_trials(deepcopy=False)
        if not self.by_people:
            return found
        strengths = self._strengths()
        return [_judged(trial, strengths.get(str(trial.number))) for trial in found]

    def _in_state(self, name: str) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self.trials() if trial.state.name == name]

    @property
    def finished(self) -> int:
        """How many trials are finished, one way or another."""
        return sum(map(_done, self.trials()))

    @property
    def total(self) -> int:
        """How many there will be; of those that people judge, until they have judged more."""
        trials, most = self.trials(), self.plan.trials
        if self.by_people and not self.grid:
            most = min(most, sum(trial.state.is_finished() for trial in trials) + self.plan.per_round)
        return max(len(trials), most)

    def again(self) -> int:
        """Let failed trials be tried again, under new numbers; return how many."""
        trials = self.trials()
        instead = {trial.user_attrs.get("instead") for trial in trials}
        failed = [trial for trial in self._in_state("FAIL") if trial.number not in instead]
        for trial in failed:
            self.study.enqueue_trial(trial.params, user_attrs={"instead": trial.number})
        return len(failed)

    @cached_property
    def study(self) -> optuna.Study:
        """Optuna's study.

        Raises:
            ValueError: if the database is not there, or has no such study.
        """
        name, pruner = self.record["study"], studies.pruner(self.plan)
        with studies.in_one_line():
            try:
                return studies.library().load_study(study_name=name, storage=self._storage(), pruner=pruner)
            except KeyError:
                raise ValueError(f"{self.path}: its study is not there; was the database cleared?") from None

    def _make_study(self) -> None:
        directions = ["maximize" if score.maximised else "minimize" for score in self.scores] or ["minimize"]
        name = self.record["study"]
        with studies.in_one_line():
            storage = self._storage()
            study = studies.library().create_study(study_name=name, storage=storage, directions=directions)
            try:
                for point in points(self.plan.axes) if self.grid else ():
                    study.enqueue_trial(point)
            except BaseException:
                studies.library().delete_study(study_name=name, storage=storage)
                raise

    def _storage(self) -> optuna.storages.BaseStorage:
        return studies.storage(self.plan.storage, self.path / "study.journal")


def _done(trial: optuna.trial.FrozenTrial) -> bool:
    """Say whether nothing more is to be run of a trial."""
    return trial.state.is_finished() or trial.user_attrs.get("trained", False)


def _judged(trial: optuna.trial.FrozenTrial, strength: float | None) -> optuna.trial.FrozenTrial:
    """Return a trial with what people say of it."""
    if strength is None or trial.state.name != "COMPLETE":
        return trial
    trial = copy(trial)
    trial.values = [strength]
    return trial
