"""Fairness: are synthetic sequences as useful for women as for men, for the old as for the young?

One model is trained on synthetic, one on real sequences, as in `utility.tstr`; each is tested within subgroups of the
real test subjects. The gap is that between the best and the worst served of them,

    gap = max over subgroups g of m(g) - min over g of m(g)

beside the gap that the model trained on real sequences has. m is the AUROC, or for a number 1 - MAE / MAE of
its median; R^2 would compare errors with how much a subgroup varies within itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..sequences import Sequences, listed
from . import measures, predictors
from .measures import Unanswerable, Weights
from .metric import Figure, beside, says
from .targets import class_names
from .utility import CAP, Measure, Said, Trial, measured

FEWEST = 10
"""Test subjects of every class, or of a number in all, below which a subgroup has no figure."""
DEMOGRAPHY = ("sex", "gender", "age", "ethnicity", "race")


def divide(train: Sequences, shown: Sequences, name: str) -> Iterator[tuple[str, Bool[ndarray, " n"]]]:
    """Yield the subgroups by a static column, and who is in each: its classes, or thirds of the training set."""
    column, values = train.schema.statics[train.schema.static_index(name)], shown.static_column(name)
    for code, label in enumerate(class_names(column)):
        yield f"{name} {label}", values == code
    if column.kind == "continuous":
        low, high = np.nanquantile(train.static_column(name), [1 / 3, 2 / 3])
        yield f"{name} below {low:g}", values < low
        yield f"{name} {low:g} to {high:g}", (values >= low) & (values <= high)
        yield f"{name} above {high:g}", values > high


@says(
    Figure(
        *("gap", "gap between subgroups, TSTR", "near floor"),
        "How much better a model of {label!r} trained on synthetic cases does for the subgroup it serves best than for "
        "the one it serves worst, of {subgroups:.0f}; chance alone makes some gap, the more the smaller they are.",
    ),
    Figure(
        *("*", "TSTR of {key}", "higher"),
        "The same model of {label!r} tested on the real cases of this subgroup, beside one trained on real cases. "
        f"Where there are fewer than {FEWEST} subjects of a class, no figure is given.",
    ),
    part="fairness",
    doing="testing within subgroups",
    responds={
        "worse or unclear": ("reversed time", "dropped mode"),
        "blind or better or unclear": ("noise", "shuffled steps", "permuted channels", "collapsed", "copied"),
    },
)
def subgroups(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    label: str,
    by: str = "",
    predictor: str = "convolutions",
    cap: int = CAP,
    seed: int = 0,
) -> dict[str, float]:
    """Return how useful synthetic sequences are within each subgroup, and the largest gap between two.

    Figures: `gap`, and for each subgroup, `sex F (120)`, its AUROC, or of a number the share that is saved of the error
    of a constant answer; in brackets how many test cases it has. The floor is TRTR. A subgroup that is too small has
    NaN for a figure, and is not in the gap. The gap says nothing of how good a model is: one that is of no use to
    anybody, such as after a collapse, has none. Its interval is over test subjects, and does not include what models of
    other training sequences would have.

    Args:
        train: Real, trains TRTR.
        test: Real, of other subjects.
        synthetic: Trains TSTR.
        label: A static column, a channel, or a task.
        by: Static columns, comma separated; by default those there are of sex, gender, age, ethnicity and race.
        predictor: A name of `predictors`, or an import path.
        cap: Most samples to train on.
        seed: Of the choice, the predictor and the bootstrap.

    Raises:
        ValueError: as `tstr`, or if there is no such static column.
        Unanswerable: if fewer than two subgroups are large enough.
    """
    names = listed(by) or [column.name for column in train.schema.statics if column.name.lower() in DEMOGRAPHY]
    if not names:
        raise Unanswerable(f"there is no static column of {', '.join(DEMOGRAPHY)}; name one with by=")
    trial = Trial.of(train, test, synthetic, label, predictors.find(predictor), cap, seed)
    said = [trial.trained(part)(trial.test) for part in (trial.synthetic, trial.train)]
    value, floor = (_measure(trial, each) for each in said)
    weights = measures.resamples(trial.test.subject, seed + 1)
    out: dict[str, float] = {}
    large: list[ndarray] = []
    for name in names:
        for group, members in divide(train, trial.cases, name):
            key = f"{group} ({members.sum()})"
            if _enough(trial, members):
                large.append(members)
                within = [partial(_within, measure, members) for measure in (value, floor)]
                out |= beside(key, *(measures.with_interval(each, weights) for each in within))
            else:
                out |= beside(key, (np.nan, np.nan, np.nan), (np.nan, np.nan, np.nan))
    if len(large) < 2:
        raise Unanswerable(f"fewer than two subgroups have {FEWEST} test subjects of every class")
    gaps = [measures.with_interval(partial(_gap, measure, large), weights) for measure in (value, floor)]
    return {**beside("gap", *gaps), **out, "subgroups": float(len(large))}


def _measure(trial: Trial, said: Said) -> Measure:
    """Return how good a model is, comparable between subgroups."""
    of, constant = (measured(trial.target, trial.test.answers, each) for each in (said, trial.trivial()[-1]))
    return of["auroc"] if trial.target.classes else lambda weights: 1 - of["mae"](weights) / constant["mae"](weights)


def _within(measure: Measure, members: Bool[ndarray, " n"], weights: Weights) -> Float[ndarray, " resamples"]:
    return measure(weights * members)


def _gap(measure: Measure, groups: list[ndarray], weights: Weights) -> Float[ndarray, " resamples"]:
    return np.ptp([_within(measure, members, weights) for members in groups], axis=0)


def _enough(trial: Trial, members: Bool[ndarray, " n"]) -> bool:
    """Say whether a subgroup has enough subjects, of either class where answers are classes."""
    subject, answers = trial.test.subject[members], trial.test.answers[members]
    if not trial.target.classes:
        return len(np.unique(subject)) >= FEWEST
    classes = [np.unique(column) for column in trial.test.answers.T]
    return all(len(np.unique(subject[answers[:, j] == c])) >= FEWEST for j, known in enumerate(classes) for c in known)
