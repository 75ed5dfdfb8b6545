"""What came of a sweep: a row a run, a row a configuration with intervals over seeds, and which settings mattered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Bool, Float
from numpy import ndarray

from .plan import SEED
from .sweep import Sweep

STATES = {"WAITING": "waiting", "RUNNING": "running", "COMPLETE": "done", "FAIL": "failed", "PRUNED": "pruned"}
ENDS = ("", "_low", "_high")
FEWEST = 4
"""Trials with scores, below which no importance of a setting is told."""


def each(sweep: Sweep) -> pd.DataFrame:
    """Return a row a run: `trial`, `state`, `why` it failed, the settings that are swept, and the scores.

    Trials that were tried again are left out.

    Raises:
        ValueError: if the study is not there.
    """
    rows = list(_rows(sweep))
    frame = pd.DataFrame(rows, columns=["trial", "state", "why", *_settings(sweep), *_scores(sweep)])
    for name in _settings(sweep):
        with suppress(ValueError):  # some are no numbers
            frame[name] = pd.to_numeric(frame[name])
    return frame


def _rows(sweep: Sweep) -> Iterator[dict[str, Any]]:
    trials = sweep.trials()
    replaced = {trial.user_attrs.get("instead") for trial in trials}
    for trial in trials:
        if trial.number in replaced:
            continue
        state, why = STATES[trial.state.name], trial.user_attrs.get("why", "")
        about = {"trial": trial.number, "state": state, "why": why}
        settings = trial.params or trial.system_attrs.get("fixed_params", {})
        found = trial.user_attrs.get("scores", {}) if state == "done" else {}
        if sweep.by_people:  # who judge a trial, and not each of its seeds
            state = "unjudged" if state == "running" and trial.user_attrs.get("trained") else state
            about, found = {**about, "state": state}, {(sweep.seeds or ("",))[0]: trial.values or ()}
        for seed in sweep.seeds or ("",):
            scores = dict(zip(_scores(sweep), found.get(seed, ()), strict=False))
            yield {**about, **settings, **({SEED: seed} if seed else {}), **scores}


def table(sweep: Sweep) -> pd.DataFrame:
    """Return a row a configuration, best first: settings, `runs` that have scores, and `of` how many, the mean of every
    score with the ends of its 95 % interval over seeds (Student's t, from two seeds on), and with several scores
    whether it is on the `front`: none is better in all of them.

    Raises:
        ValueError: if the study is not there.
    """
    runs, scores = each(sweep), _scores(sweep)
    settings = [name for name in _settings(sweep) if name != SEED]
    rows = []
    for group in _alike(runs, settings):
        row = group[settings].iloc[0].to_dict()
        row |= {"runs": int(np.sum(group["state"] == "done")), "of": len(group)}
        for name in scores:
            ends = interval(group[name].dropna().to_numpy(np.float64))
            row |= {name + end: value for end, value in zip(ENDS, ends, strict=True)}
        rows.append(row)
    frame = pd.DataFrame(rows, columns=[*settings, "runs", "of", *(name + end for name in scores for end in ENDS)])
    if scores:
        frame = frame.sort_values(scores[0], ascending=not sweep.scores[0].maximised, kind="stable", ignore_index=True)
    if len(scores) > 1:
        signs = [-1.0 if score.maximised else 1.0 for score in sweep.scores]
        frame["front"] = front(frame[scores].to_numpy(float) * signs)
    return frame


def _alike(runs: pd.DataFrame, settings: list[str]) -> Iterator[pd.DataFrame]:
    """Yield the runs of each configuration."""
    if not settings:
        yield runs
        return
    for _, group in runs.groupby(settings, sort=False):
        yield group


def interval(values: Float[ndarray, " n"]) -> tuple[float, float, float]:
    """Return the mean and the ends of its 95 % interval; NaN for what cannot be said."""
    if len(values) < 2:
        return (float(values[0]) if len(values) else np.nan), np.nan, np.nan
    mean, half = float(values.mean()), float(scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values))
    return mean, mean - half, mean + half


def front(costs: Float[ndarray, "n scores"]) -> Bool[ndarray, " n"]:
    """Say which rows no other is better than or equal to in all, and better in one (Pareto); NaN is on no front."""
    known = ~np.isnan(costs).any(axis=1)
    no_worse = (costs[:, None] <= costs[None]).all(axis=2)
    better = (costs[:, None] < costs[None]).any(axis=2)
    return np.asarray(known & ~(no_worse & better).any(axis=0))


def importance(sweep: Sweep) -> dict[str, dict[str, float]]:
    """Return, of every score, what share of its variance each setting explains (fANOVA; Hutter et al. 2014).

    The seed is one of the settings of a grid, and what it explains is chance. Nothing is said of fewer than 4 trials.

    Raises:
        ValueError: if the study is not there.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    done = [trial for trial in sweep.trials() if trial.state.name == "COMPLETE"]
    found = {}
    for k, score in enumerate(_scores(sweep)):
        values = {trial.values[k] for trial in done}
        if len(done) >= FEWEST and len(values) > 1:
            evaluator = FanovaImportanceEvaluator(seed=0)
            target = lambda trial, k=k: trial.values[k]  # noqa: E731
            found[score] = get_param_importances(sweep.study, evaluator=evaluator, target=target)
    return found


def _settings(sweep: Sweep) -> list[str]:
    return [axis.name for axis in sweep.plan.axes]


def _scores(sweep: Sweep) -> list[str]:
    return [score.name for score in sweep.scores]
