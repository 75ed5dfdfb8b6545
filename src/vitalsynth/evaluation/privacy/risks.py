"""Three risks of released samples that are no membership: attribute inference, linkability and singling out.

Each attack tries to succeed with members, and with subjects who were held out, of whom the samples can only tell what
they tell of everybody. What it gains with members, of what could be gained, is the risk (Giomi et al. 2023, PoPETs,
arXiv 2211.10459; anonymeter):

    risk = (r_train - r_control) / (1 - r_control),

each rate r, after Wilson (1927, JASA 22), of s successes in n trials with z = 1.96,

    r = (s + z^2 / 2) / (n + z^2),    error = z / (n + z^2) sqrt(s (n - s) / n + z^2 / 4),

and the errors carried over to the risk. A naive guess is tried, too: an attack that is no better has shown nothing.
Written here because anonymeter 1.1 needs a numpy before 2.0. Sequences are told by summaries of their channels and by
their statics; of each subject one sequence, drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial.distance import cdist
from scipy.stats import fisher_exact, norm

from ...sequences import Sequences
from ..features import View, summaries
from ..measures import Inapplicable
from .figures import LEVEL, POWER, Row, row
from .points import Parts, view_of

Z = float(norm.ppf(1 - LEVEL / 2))
TOLERANCE = 0.05
"""How far off a number may be guessed, as a share of it (anonymeter's)."""
NEIGHBOURS = 5
PREDICATES = 1000
CONDITIONS = 3
PERMUTATIONS = 2000
NOTHING = "No better than guessing: it shows nothing."


@dataclass(frozen=True)
class Rate:
    """A success rate, with its 95 % error."""

    successes: int
    trials: int

    @property
    def value(self) -> float:
        return (self.successes + Z**2 / 2) / (self.trials + Z**2)

    @property
    def error(self) -> float:
        s, n = self.successes, self.trials
        return Z / (n + Z**2) * math.sqrt(s * (n - s) / n + Z**2 / 4)


def risk(train: Rate, control: Rate) -> tuple[float, float, float]:
    """Return the risk and the ends of its 95 % interval, each cut to [0, 1]."""
    left = 1 - control.value
    value = (train.value - control.value) / left
    error = math.hypot(train.error / left, control.error * (train.value - 1) / left**2)
    low, middle, high = np.clip([value - error, value, value + error], 0, 1)
    return float(middle), float(low), float(high)


def attribute_inference(parts: Parts, secret: str, seed: int = 0) -> Row:
    """Return the risk that a static column is read off the nearest synthetic sequence, all else being known.

    A number counts as guessed within 5 %. The naive guess is the static of a random synthetic sequence.

    Raises:
        ValueError: if there is no such static column.
        Inapplicable: if it is known of nobody, or the same for all.
    """
    rng = np.random.default_rng(seed)
    column = parts.members.schema.static_index(secret)
    groups = [_known(_one_each(part, rng), column) for part in (parts.members, parts.others, parts.synthetic)]
    if not all(map(len, groups)):
        raise Inapplicable(f"{secret} is not known of members, non-members and synthetic sequences alike")
    truths = [group.static[:, column] for group in groups]
    if len(values := np.unique(np.concatenate(truths[:2]))) == 1:
        names = parts.members.schema.statics[column].categories
        raise Inapplicable(f"always {names[int(values[0])] if names else f'{values[0]:g}'}, nothing to infer")
    view = view_of(parts)
    members, others, made = _scaled([_told(view, group, [secret]) for group in groups])
    close = 0.0 if parts.members.schema.statics[column].kind != "continuous" else TOLERANCE

    def rate(guessed: ndarray, truth: ndarray) -> Rate:
        return Rate(int((np.abs(guessed - truth) <= close * np.abs(truth)).sum()), len(truth))

    train, control = (
        rate(truths[2][cdist(x, made).argmin(axis=1)], truth)
        for x, truth in ((members, truths[0]), (others, truths[1]))
    )
    return _row(train, control, naive=rate(rng.choice(truths[2], len(members)), truths[0]))


def linkability(parts: Parts, seed: int = 0) -> Row:
    """Return the risk that two halves of a record, every second channel in each, are linked by synthetic sequences.

    Linked is who has a synthetic sequence among the 5 nearest of both halves. The naive guess draws 5 twice.

    Raises:
        Inapplicable: if there is one channel only.
    """
    names = [column.name for column in parts.members.schema.channels]
    if len(names) < 2:
        raise Inapplicable("one channel has no halves")
    rng = np.random.default_rng(seed)
    groups = [_one_each(part, rng) for part in parts.asked]
    statics = [column.name for column in parts.members.schema.statics]
    halves = []
    for left_out in (names[::2], names[1::2] + statics):
        known, *own = (part.drop(left_out) for part in (parts.reference, *groups, parts.synthetic))
        view = View.fit(known, *own)
        members, others, near = _scaled([_told(view, part) for part in own])
        halves.append([cdist(x, near).argsort(axis=1)[:, :NEIGHBOURS] for x in (members, others)])

    def rate(one: ndarray, other: ndarray) -> Rate:
        return Rate(int((one[:, :, None] == other[:, None, :]).any(axis=(1, 2)).sum()), len(one))

    train, control = (rate(*of) for of in zip(*halves, strict=True))
    drawn = rng.integers(len(parts.synthetic), size=(2, len(groups[0]), NEIGHBOURS))
    return _row(train, control, naive=rate(drawn[0], drawn[1]))


def singling_out(parts: Parts, seed: int = 0) -> Row:
    """Return the risk that what is read off a synthetic sequence is true of exactly one member.

    Such a predicate has three conditions: a summary or static is at least, or at most, what the sequence has, on the
    side on which that is rarer. As many members as non-members are looked among, for what is true of one of few is true
    of several of many. The naive guess takes limits at random between the extremes of the synthetic sequences.
    """
    rng = np.random.default_rng(seed)
    groups = [_one_each(part, rng) for part in parts.asked]
    count = min(map(len, groups))
    view = view_of(parts)
    members, others = (_told(view, part.take(rng.permutation(len(part))[:count])) for part in groups)
    made = _told(view, parts.synthetic)
    varying = np.flatnonzero(np.ptp(made, axis=0) > 0)
    if not len(varying):
        raise Inapplicable("all synthetic sequences are the same")
    columns = np.stack([rng.choice(varying, min(CONDITIONS, len(varying)), replace=False) for _ in range(PREDICATES)])
    limits = np.take_along_axis(made[rng.integers(len(made), size=PREDICATES)], columns, axis=1)
    random = rng.uniform(made.min(axis=0)[columns], made.max(axis=0)[columns])
    middle = np.median(made, axis=0)[columns]

    def true(x: Float[ndarray, "n k"], limit: Float[ndarray, "p c"]) -> Bool[ndarray, "p n"]:
        values = x.T[columns]
        above = (limit >= middle)[..., None]
        true_of = np.where(above, values >= limit[..., None], values <= limit[..., None])
        return np.all(true_of, axis=1)

    matches = [true(x, limits) for x in (members, others)]
    train, control, naive = (
        Rate(int((each.sum(axis=1) == 1).sum()), PREDICATES) for each in (*matches, true(members, random))
    )
    return {**_row(train, control, naive), "p": _permuted(np.concatenate(matches, axis=1), rng)}


def _permuted(matches: Bool[ndarray, "p both"], rng: np.random.Generator) -> float:
    """Return how likely members are singled out as much more often than non-members if it does not matter who is which.

    Predicates are not independent, for they are tried on the same subjects; so these are dealt anew, 2,000 times.
    """
    both = matches.shape[1]
    first = np.arange(both) < both // 2
    dealt = np.stack([first, *(rng.permutation(first) for _ in range(PERMUTATIONS))], axis=1).astype(np.float32)
    ones, total = matches.astype(np.float32) @ dealt, matches.sum(axis=1, keepdims=True)
    more = (ones == 1).sum(axis=0) - (total - ones == 1).sum(axis=0)
    return float((more >= more[0]).mean())


def _row(train: Rate, control: Rate, naive: Rate) -> Row:
    """Lay out a risk; its p-value is that of Fisher's exact test of the two rates."""
    shares = [rate.successes / rate.trials for rate in (train, control, naive)]
    about = "Members {:.1%}, others {:.1%}, guessing {:.1%}.".format(*shares)
    if shares[0] <= shares[2]:
        about += f" {NOTHING}"
    table = [[rate.successes, rate.trials - rate.successes] for rate in (train, control)]
    p = float(fisher_exact(table, alternative="greater")[1])  # type: ignore[index]
    spread = math.sqrt(control.value * (1 - control.value) * (1 / train.trials + 1 / control.trials))
    smallest = (Z + float(norm.ppf(POWER))) * spread / (1 - control.value)
    return row("risk", *risk(train, control), 0.0, p, smallest if smallest < 1 else None, about)


def _one_each(sequences: Sequences, rng: np.random.Generator) -> Sequences:
    """Return one sequence of each subject."""
    order = rng.permutation(len(sequences))
    return sequences.take(np.sort(order[np.unique(sequences.subject[order], return_index=True)[1]]))


def _known(sequences: Sequences, column: int) -> Sequences:
    return sequences.take(~np.isnan(sequences.static[:, column]))


def _told(view: View, sequences: Sequences, without: Collection[str] = ()) -> Float[ndarray, "n k"]:
    return np.concatenate([summaries(view.dense(sequences)), view.statics(sequences, without)], axis=1)


def _scaled(several: Sequence[Float[ndarray, "_ k"]]) -> list[Float[ndarray, "_ k"]]:
    """Divide by the standard deviations of the last, which is what was released."""
    scale = several[-1].std(axis=0)
    return [x / np.where(scale > 1e-9, scale, 1.0) for x in several]
