"""Neighbours: which real sequences lie near which synthetic ones?

Around every real sequence x_i lies a ball that reaches to its k-th real neighbour, around every synthetic y_j one to
its k-th synthetic neighbour. For n of each,

    precision = share of y_j in any ball of an x_i          recall   = share of x_i in any ball of a y_j
    density   = mean over j of (balls that y_j is in) / k   coverage = share of x_i whose ball has any y_j in it

(precision and recall: Kynkaanniemi et al. 2019, arXiv 1904.06991; density and coverage: Naeem et al. 2020,
arXiv 2002.09797.) `copying` asks whether what is nearest is what was learned from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..sequences import Sequences
from .features import View
from .fidelity import DIVISIONS, equal_parts
from .measures import Unanswerable, resamples, with_interval
from .metric import Figure, beside, says

NEIGHBOURS = 5
MADE = " ({n:.0f} test and {n:.0f} synthetic sequences)."


@says(
    Figure(
        *("coverage", "coverage", "higher"),
        "The share of real sequences that have a synthetic one nearby, nearer than their own fifth real neighbour: a "
        "generator that has collapsed covers little" + MADE,
    ),
    part="coverage",
    doing="looking for real sequences that nothing synthetic is near (coverage)",
    responds={"worse": ("noise", "reversed time", "shuffled steps", "permuted channels", "dropped mode", "collapsed")},
)
def coverage(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    neighbours: int = NEIGHBOURS,
    cap: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Return the share of test sequences that have a synthetic one nearby, and the same for training ones (the floor).

    A generator that has collapsed covers little; copies of the test sequences cover all. Sequences are compared step by
    step, statics appended. The interval is over subjects.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        neighbours: k.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, or have no more than k sequences.
    """
    covered = lambda near: near.in_real_ball.any(axis=1)  # noqa: E731
    found = _compared("coverage", "test", covered, (train, test, synthetic), neighbours, cap, seed)
    return {**found, "coverage_trivial": 0.0}


@says(
    Figure(
        *("precision", "precision", "higher"),
        "The share of synthetic sequences that are nearer to a real one than that one's fifth real neighbour. It says "
        "nothing of what is never made" + MADE,
    ),
    part="coverage",
    doing="looking for synthetic sequences that nothing real is near (precision)",
    responds={
        "worse": ("noise", "reversed time", "shuffled steps", "permuted channels"),
        "better": ("collapsed",),
    },
)
def precision(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    neighbours: int = NEIGHBOURS,
    cap: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Return the share of synthetic sequences in the ball of any test sequence, and of training ones (the floor).

    Weak: a generator that makes one good sequence again and again has precision 1. Arguments and errors are those of
    `coverage`; the interval is over the subjects of what is judged.
    """
    plausible = lambda near: near.in_real_ball.any(axis=0)  # noqa: E731
    return _compared("precision", "judged", plausible, (train, test, synthetic), neighbours, cap, seed)


@says(
    Figure(
        *("recall", "recall", "higher"),
        "The share of real sequences that are nearer to a synthetic one than that one's fifth synthetic neighbour. "
        "Noisy sequences lie far apart, which flatters it" + MADE,
    ),
    part="coverage",
    doing="looking for real sequences that are not among synthetic ones (recall)",
    responds={
        "worse": ("reversed time", "shuffled steps", "dropped mode", "collapsed"),
        "better": ("noise",),
    },
)
def recall(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    neighbours: int = NEIGHBOURS,
    cap: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Return the share of test sequences in the ball of any synthetic sequence, and of any training one (the floor).

    Weak: the balls of noisy sequences are wide and hold everything. Arguments and errors are those of `coverage`.
    """
    reached = lambda near: near.in_judged_ball.any(axis=1)  # noqa: E731
    return _compared("recall", "test", reached, (train, test, synthetic), neighbours, cap, seed)


@says(
    Figure(
        *("density", "density", "higher"),
        "How many real neighbourhoods a synthetic sequence lies in, on average, divided by the five that a real one "
        "lies in. Highest where only what is frequent is made" + MADE,
    ),
    part="coverage",
    doing="counting the real neighbourhoods of synthetic sequences (density)",
    responds={
        "worse": ("noise", "reversed time", "shuffled steps", "permuted channels"),
        "better": ("collapsed",),
    },
)
def density(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    neighbours: int = NEIGHBOURS,
    cap: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Return in how many balls of test sequences a synthetic one lies, over k, and a training one (the floor).

    Weak: highest for a generator that makes only what is most frequent. Arguments and errors are those of `coverage`;
    the interval is over the subjects of what is judged.
    """
    crowded = lambda near: near.in_real_ball.sum(axis=0) / neighbours  # noqa: E731
    return _compared("density", "judged", crowded, (train, test, synthetic), neighbours, cap, seed)


@dataclass(frozen=True, eq=False)
class _Near:
    """Which test sequences (rows) and sequences to be judged (columns) are near each other.

    Args:
        in_real_ball: Whether the judged one is in the ball of the test one.
        in_judged_ball: Whether the test one is in the ball of the judged one.
    """

    in_real_ball: Bool[ndarray, "n m"]
    in_judged_ball: Bool[ndarray, "n m"]


def _compared(
    key: str,
    of: str,
    measure: Callable[[_Near], ndarray],
    sets: tuple[Sequences, Sequences, Sequences],
    neighbours: int,
    cap: int,
    seed: int,
) -> dict[str, float]:
    """Return the mean of a measure of each sequence, `of` the test set or what is judged, and its floor."""
    view = View.fit(*sets)
    parts = equal_parts(sets, cap, seed)
    if len(parts[1]) <= neighbours:
        raise Unanswerable(f"{len(parts[1])} sequences have no {neighbours} neighbours each")
    flat = [view.flat(part) for part in parts]
    cdist = scipy.spatial.distance.cdist
    radius = [np.partition(cdist(x, x), neighbours, axis=1)[:, neighbours] for x in flat]  # the nearest is itself

    def figure(judged: int) -> tuple[float, float, float]:
        apart = cdist(flat[1], flat[judged])
        each = measure(_Near(apart <= radius[1][:, None], apart <= radius[judged])).astype(float)
        weights = resamples(parts[1 if of == "test" else judged].subject, seed + 1)
        return with_interval(lambda w: (w @ each) / w.sum(axis=1), weights)

    return {**beside(key, figure(2), figure(0)), "n": float(len(parts[1]))}


@says(
    Figure(
        *("nearest", "nearest to training data", "near floor"),
        "Of {n:.0f} synthetic sequences, the share whose nearest real one is of the training data rather than of the "
        "held-out data, as if there were as many of both: 0.5 if nothing was copied, 1 if all was. Held-out data of "
        "another time or ward raise it, too.",
    ),
    Figure(
        *("near_copies", "near copies", "lower"),
        "The share of synthetic sequences nearer to a training sequence than all but 1 % of the training sequences are "
        "to one of another subject; the floor is that of held-out sequences.",
    ),
    part="copying",
    doing="looking for copies of the training data",
    responds={"worse": ("copied",)},
)
def copying(
    train: Sequences, test: Sequences, synthetic: Sequences, cap: int = 1000, most: int = 5000, seed: int = 0
) -> dict[str, float]:
    """Return whether synthetic sequences lie nearer to what was learned from than to other real ones.

    `nearest`: of a share s whose nearest real sequence is a training one, with r training sequences per test sequence,
    it is s / (s + (1 - s) r): what s would be with as many of both. 0.5 if nothing was copied, 1 if all was, below 0.5
    if it was the test set. Its floor is what random divisions of the real subjects give, their middle 95 % the floor's
    interval (the idea of Meehan, Chaudhuri and Dasgupta 2020, arXiv 2004.05675).

    `near_copies`: the share nearer to a training sequence than all but 1 % of training sequences are to one of another
    subject. Its floor is of the test sequences.

    Both say whether sequences were copied, neither that nobody could be recognised. Sequences are compared step by
    step, statics appended; intervals are over subjects.

    Args:
        train: Real, learned from.
        test: Real, of other subjects.
        synthetic: To be judged.
        cap: Most synthetic sequences, and training sequences to tell what is near.
        most: Most training sequences, and most test sequences, to look among; costs grow in proportion to it.
        seed: Of the choice, the bootstrap and the divisions.

    Raises:
        ValueError: if the sets differ in columns or length, or the training or test set has a single subject.
    """
    if min(len(np.unique(part.subject)) for part in (train, test)) < 2 or not len(synthetic):
        raise Unanswerable("at least 2 training and 2 test subjects and 1 synthetic sequence are needed")
    view = View.fit(train, test, synthetic)
    rng = np.random.default_rng(seed)
    train, test, made = (_some(part, count, rng) for part, count in ((train, most), (test, most), (synthetic, cap)))
    known, other, judged = (view.flat(part) for part in (train, test, made))
    cdist = scipy.spatial.distance.cdist
    apart = cdist(judged, np.concatenate([known, other]))
    to_known, to_other = apart[:, : len(known)].min(axis=1), apart[:, len(known) :].min(axis=1)
    share = lambda hit, w: (w @ hit) / w.sum(axis=1)  # noqa: E731
    twin = np.unique(judged, axis=0, return_inverse=True)[1].reshape(-1)
    weights = resamples(twin, seed + 1)
    ratio = len(known) / len(other)
    hit = np.where(to_known == to_other, 0.5, to_known < to_other)
    value = with_interval(lambda w: _evened(share(hit, w), ratio), weights)
    if not twin.any():  # all are one, in which a bootstrap sees no chance
        value = (value[0], 0.0, 1.0)
    subject = np.concatenate([train.subject, test.subject])
    chance = _divided(apart.argmin(axis=1), subject, len(np.unique(train.subject)), rng)

    chosen = rng.permutation(len(train))[:cap]
    among = cdist(known[chosen], known)
    among[train.subject[chosen][:, None] == train.subject] = np.inf
    near = np.quantile(among.min(axis=1), 0.01)
    of_test = _some(test, cap, rng)
    floor_hit = (cdist(view.flat(of_test), known).min(axis=1) <= near).astype(float)
    copies = with_interval(lambda w: share((to_known <= near).astype(float), w), resamples(made.subject, seed + 1))
    floor = with_interval(lambda w: share(floor_hit, w), resamples(of_test.subject, seed + 1))
    return {**beside("nearest", value, chance), **beside("near_copies", copies, floor), "n": float(len(made))}


def _some(sequences: Sequences, count: int, rng: np.random.Generator) -> Sequences:
    return sequences.take(np.sort(rng.permutation(len(sequences))[:count]))


def _evened(share: Float[ndarray, " n"], ratio: float | Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """Return what a share that falls to the training data would be if there were as many test sequences."""
    return share / (share + (1 - share) * ratio)


def _divided(
    nearest: Int[ndarray, " n"], subject: ndarray, count: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return 0.5 and between what the middle 95 % of `nearest` lie if `count` random real subjects were trained on."""
    _, position = np.unique(subject, return_inverse=True)
    drawn = []
    for _ in range(DIVISIONS):
        trained = np.isin(position, rng.permutation(position.max() + 1)[:count])
        drawn.append(_evened(np.array([trained[nearest].mean()]), trained.sum() / (~trained).sum())[0])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return 0.5, float(low), float(high)
