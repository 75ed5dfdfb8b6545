"""Utility: does a model trained on synthetic sequences work on real ones?

`tstr` trains a classifier on synthetic sequences and tests it on held-out real ones (train on synthetic, test on real:
Esteban, Hyland and Rätsch 2017, arXiv 1706.02633), beside the same classifier trained on as many real ones (TRTR) and a
trivial one that always says what is most frequent.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ..sequences import Column, Sequences
from . import measures
from .features import KERNELS, View, features
from .judge import Judge
from .measures import Unanswerable
from .metric import Figure, says

JUDGED = (
    "A classifier of {label!r} trained on {trained_on:.0f} synthetic sequences and tested on {tested_on:.0f} real "
    "ones of other subjects: "
)


def label_column(sequences: Sequences, label: str) -> Column:
    """Return the static column that is to be predicted.

    Raises:
        ValueError: if there is none of that name, or it is a number rather than a class.
    """
    column = sequences.schema.statics[sequences.schema.static_index(label)]
    if column.kind == "continuous":
        fit = [c.name for c in sequences.schema.statics if c.kind != "continuous"]
        raise ValueError(
            f"label {label!r} is a number; a binary or categorical static is needed: {', '.join(fit) or 'none here'}"
        )
    return column


def class_names(column: Column) -> tuple[str, ...]:
    """Return the names of the classes 0, 1, ... of a column."""
    return tuple(map(str, column.categories)) or ("0", "1")


def _known(sequences: Sequences, label: str) -> tuple[Sequences, Int[ndarray, " n"]]:
    """Return the sequences whose label is known, and the labels."""
    kept = sequences.take(~np.isnan(sequences.static_column(label)))
    return kept, kept.static_column(label).astype(np.int64)


def missing_classes(synthetic: Sequences, label: str) -> list[str]:
    """Return the names of classes that no synthetic sequence has: a judge trained there never predicts them."""
    names = class_names(label_column(synthetic, label))
    seen = set(_known(synthetic, label)[1].tolist())
    return [name for code, name in enumerate(names) if code not in seen]


@says(
    Figure("auroc", "TSTR AUROC", "higher", JUDGED + "the chance that it ranks the right class above another."),
    Figure("accuracy", "TSTR accuracy", "higher", JUDGED + "the share of sequences it classes rightly."),
    Figure(
        *("balanced_accuracy", "TSTR balanced accuracy", "higher"),
        JUDGED + "the share it classes rightly, every class counting the same.",
    ),
    Figure(
        *("average_precision", "TSTR average precision", "higher"),
        JUDGED + "how many of its alarms, for the second class, are right, over all thresholds.",
    ),
    part="usefulness",
    doing="training on synthetic, testing on real",
)
def tstr(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    label: str,
    cap: int = 5000,
    kernels: int = KERNELS,
    seed: int = 0,
) -> dict[str, float]:
    """Return how well a label is predicted for real test sequences after training on synthetic ones.

    Figures: `auroc` (macro one-versus-rest for many classes), `accuracy`, `balanced_accuracy` and, for two classes,
    `average_precision` of class 1; the floor is TRTR. Both judges are trained on the same number of sequences;
    intervals are over the test subjects. A class that the synthetic ones lack is never predicted, and costs what that
    costs. For the balanced accuracy the judge's probabilities are divided by how frequent each class was in its
    training, or it would never predict a rare one.

    Args:
        train: Real, trains TRTR.
        test: Real, of other subjects; the whole of it is used.
        synthetic: Trains TSTR.
        label: A binary or categorical static column.
        cap: Most sequences to train on.
        kernels: Random kernels of the features.
        seed: Of the choice, the kernels and the bootstrap.

    Raises:
        ValueError: if the label is unknown or a number, or the test or training set has but one class.
    """
    classes = len(class_names(label_column(train, label)))
    view = View.fit(train, test, synthetic)
    (train, own), (test, truth), (synthetic, made) = (_known(s, label) for s in (train, test, synthetic))
    for what, labels in (("test", truth), ("training", own)):
        if len(np.unique(labels)) < 2:
            raise Unanswerable(
                f"the {what} set has {len(np.unique(labels))} of the classes of {label!r}; at least 2 are needed"
            )
    if not len(synthetic):
        raise Unanswerable(f"no synthetic sequence has a value of {label!r}")
    count = min(cap, len(train), len(synthetic))
    rng = np.random.default_rng(seed)
    see = partial(features, view, kernels=kernels, without=(label,), seed=seed)
    judged = see(test)
    weights = measures.resamples(test.subject, seed + 1)
    out = {"trained_on": float(count), "tested_on": float(len(test))}
    for suffix, source, labels in (("", synthetic, made), ("_floor", train, own)):
        chosen = np.sort(rng.permutation(len(source))[:count])
        part = source.take(chosen)
        judge = Judge.fit(see(part), labels[chosen], part.subject, classes, seed)
        prior = np.bincount(labels[chosen], minlength=classes) / count
        for name, (value, low, high) in _figures(truth, judge.probabilities(judged), prior, weights).items():
            out |= {f"{name}{suffix}": value, f"{name}{suffix}_low": low, f"{name}{suffix}_high": high}
    most_frequent = np.bincount(own, minlength=classes).argmax() == np.arange(classes)
    trivial = _figures(truth, np.tile(most_frequent.astype(float), (len(test), 1)), np.ones(classes), weights[:1])
    return out | {f"{name}_trivial": value for name, (value, _, _) in trivial.items()}


def _figures(
    truth: Int[ndarray, " n"],
    probabilities: Float[ndarray, "n classes"],
    prior: Float[ndarray, " classes"],
    weights: Float[ndarray, "resamples n"],
) -> dict[str, tuple[float, float, float]]:
    predicted = probabilities.argmax(axis=1)
    evened = (probabilities / np.where(prior > 0, prior, 1.0)).argmax(axis=1)
    of = {
        "auroc": partial(measures.macro_auroc, truth, probabilities),
        "accuracy": partial(measures.accuracy, truth, predicted),
        "balanced_accuracy": partial(measures.balanced_accuracy, truth, evened),
    }
    if probabilities.shape[1] == 2:
        of["average_precision"] = partial(measures.average_precision, truth == 1, probabilities[:, 1])
    return {name: measures.with_interval(measure, weights) for name, measure in of.items()}
