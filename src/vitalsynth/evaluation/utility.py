"""Utility: does a model trained on synthetic sequences work on real ones?

    tstr       train on synthetic, test on real (Esteban, Hyland and Rätsch 2017, arXiv 1706.02633)
    trts       train on real, test on synthetic
    augmented  train on real and synthetic together, test on real

Each stands beside TRTR, the same model trained and tested on real sequences, and beside a trivial answer that is always
the same. What is predicted, the `label`, is a static column (a class or a number), a channel (at every step, from all
up to it), or the name of a benchmark's task (`tasks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numpy import ndarray

from ..sequences import Sequences
from . import measures, predictors
from .features import KERNELS, View
from .measures import Unanswerable, Weights
from .metric import Figure, beside, says
from .predictors import Predict, Predictor
from .targets import Samples, Target
from .tasks import target as found_target

CAP = 5000
"""Most samples to train on. For 4,000 sequences of 24 x 6, `tstr` takes 3.4 CPU-seconds with convolutions, 0.4 with the
linear model on summaries, 1.5 with boosting and 33 with GRUs for each label; time grows linearly up to here."""
LOWER = ("mae",)
"""Figures of which less is better."""

Measure = Callable[[Weights], Float[ndarray, " resamples"]]


@dataclass(frozen=True, eq=False)
class Shown:
    """Samples as a predictor sees them.

    Args:
        x: `(n, ...)` what it is shown.
        answers: `(n, columns)` what it should say.
        subject: `(n,)` whose they are.
    """

    x: Shaped[ndarray, "n ..."]
    answers: Float[ndarray, "n columns"]
    subject: Shaped[ndarray, " n"]

    def beside(self, other: Shown) -> Shown:
        """Put samples of other subjects beside these."""
        ours, theirs = (np.unique(each.subject, return_inverse=True)[1] for each in (self, other))
        subject = np.concatenate([ours, ours.max() + 1 + theirs])
        return Shown(np.concatenate([self.x, other.x]), np.concatenate([self.answers, other.answers]), subject)


@dataclass(frozen=True, eq=False)
class Said:
    """What a model says, `(n, classes)` or `(n,)` of each column, and how frequent classes were in training."""

    columns: list[ndarray]
    prior: Float[ndarray, " classes"]


@dataclass(frozen=True, eq=False)
class Trial:
    """A target put to the three sets, as a predictor sees them; `cases` are those of the test set."""

    target: Target
    predictor: Predictor
    train: Shown
    test: Shown
    synthetic: Shown
    cases: Sequences
    seed: int

    @classmethod
    def of(
        cls,
        train: Sequences,
        test: Sequences,
        synthetic: Sequences,
        label: str,
        predictor: Predictor,
        cap: int,
        seed: int,
        times: int | None = 1,
    ) -> Trial:
        """Find the samples of every set: at most `cap` real ones, and `times` as many synthetic ones.

        None: as many of each as there are, up to `cap`. Of the test set all count, unless there is a sample a step.

        Raises:
            ValueError: if the label is unknown, or the sets differ in columns.
            Unanswerable: if the test or training set has but one class or value, or no synthetic one is known.
        """
        target = found_target(train, label)
        test, synthetic = (part.like(train.schema, train.length) for part in (test, synthetic))
        own, asked, made = (Samples.of(target, part) for part in (train, test, synthetic))
        for what, samples in (("test", asked), ("training", own)):
            _check_varied(target, samples, what, label)
        if not len(made):
            raise Unanswerable(f"no synthetic sequence has a value of {label!r}")
        rng = np.random.default_rng(seed)
        some = lambda samples, most: samples.take(np.sort(rng.permutation(len(samples))[:most]))  # noqa: E731
        count = cap if times is None else max(1, min(cap, len(own), len(made) // times))
        made, own = some(made, count * (times or 1)), some(own, count)
        asked = some(asked, cap) if target.stepwise else asked
        cases = asked.shown()
        view = View.fit(own.sequences, cases, made.shown())
        see = lambda samples: Shown(predictor.see(view, samples.shown(), seed), samples.answers, samples.subject)  # noqa: E731
        return cls(target, predictor, see(own), see(asked), see(made), cases, seed)

    def trained(self, on: Shown) -> Callable[[Shown], Said]:
        """Train on samples; return what the model says of others."""
        fit = lambda answers: self.predictor.fit(on.x, answers, on.subject, self.target.classes, self.seed)  # noqa: E731
        models: list[Predict] = [fit(answers) for answers in on.answers.T]
        prior = (on.answers[:, :1] == np.arange(self.target.classes)).mean(axis=0)
        return lambda shown: Said([model(shown.x) for model in models], prior)

    def trivial(self) -> list[Said]:
        """Return constant answers for the test set: the most frequent class; the mean and the median of numbers."""
        n, classes = len(self.cases), self.target.classes
        if classes:
            constant = [np.bincount(own.astype(int), minlength=classes) for own in self.train.answers.T]
            said = [np.tile((counts.argmax() == np.arange(classes)) * 1.0, (n, 1)) for counts in constant]
            return [Said(said, np.ones(classes))]
        own = self.train.answers[:, 0]
        return [Said([np.full(n, middle(own))], np.ones(0)) for middle in (np.mean, np.median)]


def _check_varied(target: Target, samples: Samples, what: str, label: str) -> None:
    kinds = max((len(np.unique(answers)) for answers in samples.answers.T), default=0)
    if kinds < 2:
        of = f"of the classes of {label!r}" if target.classes else f"different values of {label!r}"
        raise Unanswerable(f"the {what} set has {kinds} {of}; at least 2 are needed")


def measured(target: Target, answers: Float[ndarray, "n columns"], said: Said) -> dict[str, Measure]:
    """Return the measures of what a model says, each a function of the weights of resamples, the first first."""
    column = target.columns[0]
    if len(target.columns) > 1:
        return {"auroc": partial(_mean_auroc, answers > 0, np.stack([p[:, 1] for p in said.columns], axis=1))}
    truth, given = answers[:, 0], said.columns[0]
    if target.classes:
        return _of_classes(truth.astype(np.int64), given, said.prior)
    low, high = (end if bound is None else bound for bound, end in ((column.low, -np.inf), (column.high, np.inf)))
    given = np.clip(given, low, high)
    of: dict[str, Measure] = {}
    if target.buckets:
        codes, guessed = (np.digitize(numbers, target.buckets) for numbers in (truth, given))
        of["kappa"] = partial(measures.linear_kappa, codes, guessed)
    return of | {"r2": partial(measures.r2, truth, given), "mae": partial(measures.mean_absolute_error, truth, given)}


def _of_classes(truth: ndarray, probabilities: Float[ndarray, "n classes"], prior: ndarray) -> dict[str, Measure]:
    predicted = probabilities.argmax(axis=1)
    evened = (probabilities / np.where(prior > 0, prior, 1.0)).argmax(axis=1)
    of: dict[str, Measure] = {
        "auroc": partial(measures.macro_auroc, truth, probabilities),
        "accuracy": partial(measures.accuracy, truth, predicted),
        "balanced_accuracy": partial(measures.balanced_accuracy, truth, evened),
    }
    if probabilities.shape[1] == 2:
        of["average_precision"] = partial(measures.average_precision, truth == 1, probabilities[:, 1])
    return of


def _mean_auroc(
    positive: Bool[ndarray, "n columns"], scores: Float[ndarray, "n columns"], weights: Weights
) -> Float[ndarray, " resamples"]:
    """Return the mean AUROC over the columns that have both classes."""
    both = [j for j in range(positive.shape[1]) if 0 < positive[:, j].sum() < len(positive)]
    return np.mean([measures.auroc(positive[:, j], scores[:, j], weights) for j in both], axis=0)


def _figures(
    trial: Trial, value: tuple[Shown, Said], floor: tuple[Shown, Said], trivial: Sequence[Said]
) -> dict[str, float]:
    """Return the figures of what one model said, and of what another did, with intervals over subjects."""
    ofs = [measured(trial.target, on.answers, said) for on, said in (value, floor)]
    weights = [measures.resamples(on.subject, trial.seed + 1) for on, _ in (value, floor)]
    constant = [measured(trial.target, trial.test.answers, said) for said in trivial]
    one = np.ones((1, len(trial.cases)))
    out: dict[str, float] = {}
    for name in ofs[0]:
        best = (min if name in LOWER else max)(float(of[name](one)[0]) for of in constant)
        both = [measures.with_interval(of[name], drawn) for of, drawn in zip(ofs, weights, strict=True)]
        if math.isnan(both[0][0]):  # what is tested on is of one class or value: nothing in it can be told apart
            both[0] = (best, best, best)
        out |= {**beside(name, *both), f"{name}_trivial": best}
    return out


def _said(title: str, about: str) -> tuple[Figure, ...]:
    """Return what the figures of a model mean; `about` says what was trained and tested on what."""
    return (
        Figure("auroc", f"{title} AUROC", "higher", about + "the chance that it ranks the right class above another."),
        Figure("accuracy", f"{title} accuracy", "higher", about + "the share of cases it classes rightly."),
        Figure(
            *("balanced_accuracy", f"{title} balanced accuracy", "higher"),
            about + "the share it classes rightly, every class counting the same.",
        ),
        Figure(
            *("average_precision", f"{title} average precision", "higher"),
            about + "how many of its alarms, for the second class, are right, over all thresholds.",
        ),
        Figure(
            *("kappa", f"{title} kappa", "higher"),
            about + "how far it agrees on how long, in ten buckets of days, beyond chance (Cohen's kappa, linear).",
        ),
        Figure("r2", f"{title} R²", "higher", about + "the share of the variance it explains."),
        Figure("mae", f"{title} mean absolute error", "lower", about + "how far off it is on average, in its unit."),
    )


@says(
    *_said(
        "TSTR",
        "A model of {label!r} trained on {trained_on:.0f} synthetic cases and tested on {tested_on:.0f} real ones "
        "of other subjects: ",
    ),
    part="usefulness",
    doing="training on synthetic, testing on real",
    responds={
        "worse": ("noise", "reversed time", "shuffled steps", "permuted channels", "collapsed"),
        "blind or worse": ("dropped mode",),
    },
)
def tstr(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    label: str,
    predictor: str = "convolutions",
    cap: int = CAP,
    kernels: int = KERNELS,
    seed: int = 0,
    times: int = 1,
) -> dict[str, float]:
    """Return how well a label is predicted for real test sequences after training on synthetic ones.

    Figures of a class: `auroc` (macro one-versus-rest for many classes), `accuracy`, `balanced_accuracy` and, for two
    classes, `average_precision` of class 1; of a number `r2` and `mae`, and where it is scored in buckets, `kappa`; of
    several labels the mean `auroc`. The floor is TRTR. Both models are trained on the same number of samples, or TSTR
    on `times` as many, for a generator can draw more than there were; intervals are over the test subjects. A class
    that the synthetic ones lack is never predicted, and costs what that costs. For the balanced accuracy probabilities
    are divided by how frequent each class was in training, or a rare one would never be predicted.

    Args:
        train: Real, trains TRTR.
        test: Real, of other subjects; the whole of it is used, or `cap` samples where there is one a step.
        synthetic: Trains TSTR.
        label: A static column, a channel, or a task.
        predictor: A name of `predictors`, or an import path.
        cap: Most samples to train on.
        kernels: Random kernels of the features.
        seed: Of the choice, the predictor and the bootstrap.
        times: Synthetic samples for each real one.

    Raises:
        ValueError: if the label is unknown, or the test or training set has but one class or value.
    """
    trial = Trial.of(train, test, synthetic, label, predictors.find(predictor, kernels), cap, seed, times)
    value, floor = (trial.trained(part)(trial.test) for part in (trial.synthetic, trial.train))
    figures = _figures(trial, (trial.test, value), (trial.test, floor), trial.trivial())
    return {**figures, "trained_on": float(len(trial.synthetic.x)), "tested_on": float(len(trial.cases))}


@says(
    *_said(
        "TRTS",
        "A model of {label!r} trained on {trained_on:.0f} real cases and tested on {tested_on:.0f} synthetic ones, "
        "which tells whether what is synthetic is as it should be, but not whether it is as diverse: ",
    ),
    part="usefulness",
    doing="training on real, testing on synthetic",
    responds={
        "worse": ("noise", "reversed time", "shuffled steps", "permuted channels"),
        "worse or unclear": ("collapsed",),
        "blind or worse": ("dropped mode",),
        "better": ("copied",),
    },
)
def trts(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    label: str,
    predictor: str = "convolutions",
    cap: int = CAP,
    seed: int = 0,
) -> dict[str, float]:
    """Return how well a label is predicted for synthetic sequences after training on real ones.

    Figures as of `tstr`; the floor, TRTR, is the same model on the test sequences. A generator that draws only easy
    cases is above it; one that draws a single class has what a trivial answer has, and
    one that copies the training sequences does better than it should.

    Args:
        train: Real, trains the model.
        test: Real, of other subjects.
        synthetic: Tests it.
        label: A static column, a channel, or a task.
        predictor: A name of `predictors`, or an import path.
        cap: Most samples to train on, and most synthetic ones to test on.
        seed: Of the choice, the predictor and the bootstrap.

    Raises:
        ValueError: as `tstr`.
    """
    trial = Trial.of(train, test, synthetic, label, predictors.find(predictor), cap, seed)
    say = trial.trained(trial.train)
    figures = _figures(trial, (trial.synthetic, say(trial.synthetic)), (trial.test, say(trial.test)), trial.trivial())
    return {**figures, "trained_on": float(len(trial.train.x)), "tested_on": float(len(trial.synthetic.x))}


@says(
    *_said(
        "augmented",
        "A model of {label!r} trained on {trained_on:.0f} real and {added:.0f} synthetic cases together and tested "
        "on {tested_on:.0f} real ones of other subjects, which gains {gain:+.3f} [{gain_low:+.3f}, {gain_high:+.3f}] "
        "in the first such figure over real ones alone: ",
    ),
    part="usefulness",
    doing="training on real and synthetic together",
    responds={"worse": ("reversed time",), "blind or worse": ("noise", "shuffled steps", "permuted channels")},
)
def augmented(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    label: str,
    predictor: str = "convolutions",
    cap: int = CAP,
    seed: int = 0,
) -> dict[str, float]:
    """Return how well a label is predicted after training on real and synthetic sequences together.

    Figures as of `tstr`; the floor is training on the real ones alone. `gain` is the difference of the first figure,
    with an interval in which both models face the same test subjects: above 0, synthetic sequences help.

    Args:
        train: Real, trains both models.
        test: Real, of other subjects.
        synthetic: Trains one of them, too.
        label: A static column, a channel, or a task.
        predictor: A name of `predictors`, or an import path.
        cap: Most samples of either kind to train on.
        seed: Of the choice, the predictor and the bootstrap.

    Raises:
        ValueError: as `tstr`.
    """
    trial = Trial.of(train, test, synthetic, label, predictors.find(predictor), cap, seed, times=None)
    both, alone = (trial.trained(part)(trial.test) for part in (trial.train.beside(trial.synthetic), trial.train))
    figures = _figures(trial, (trial.test, both), (trial.test, alone), trial.trivial())
    first = next(iter(figures))
    ours, theirs = (measured(trial.target, trial.test.answers, said)[first] for said in (both, alone))
    weights = measures.resamples(trial.test.subject, seed + 1)
    gain = measures.with_interval(lambda w: ours(w) - theirs(w), weights)
    sizes = {"trained_on": len(trial.train.x), "added": len(trial.synthetic.x), "tested_on": len(trial.cases)}
    gains = dict(zip(("gain", "gain_low", "gain_high"), gain, strict=True))
    return {**figures, **gains, **{name: float(size) for name, size in sizes.items()}}
