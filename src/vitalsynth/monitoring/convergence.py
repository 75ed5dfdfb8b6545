"""Is a training converging, and since when: from its log alone.

    y_t = a_k + b_k t + noise,   t in piece k of up to five

A curve is cut into straight pieces where that pays by Schwarz's criterion (exactly, by dynamic programming; Auger and
Lawrence 1989, doi 10.1007/BF02458835), and the last pieces say how it stands. When it began is the start of those
pieces, and how certain that is follows from the Akaike weights exp(-Δ/2) of all other starts (Burnham and Anderson
2002, ISBN 978-0-387-95364-9), with as many independent points as the autocorrelation of the residuals leaves.

The curve is the distance of samples from held-out sequences where the log has one (`similarity.*`), on a logarithmic
scale. Of several distances, what most of them say counts; but what swings, swings in their mean, where what one of them
wavers by chance is averaged out. A game's losses fall and rise with both players and do not
say how good samples are: without distances, they only say whether the game rests, moves, swings, runs away or is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from .reaching import parse, reached

State = Literal["too short", "stalled", "converging", "converged", "oscillating", "diverging", "collapsed"]

FEWEST, POINTS, PIECES, SHORTEST = 16, 80, 5, 4
"""Points that say anything; most that are looked at (means of neighbours); most pieces; points of the shortest."""
WORTH = np.log(1.1)
"""A change that counts, on a logarithmic scale: a tenth."""
WORSE = np.log(1.5)
"""How far above its best a run ends that has not kept it."""
SWING, SWINGS, SHARE = np.log(1.25), 3, 0.15
"""How far a swing goes, how many there are in the second half of a run that oscillates, and the least of a swing as a
share of all that the curve covers."""
LASTING = 0.2
"""How much of its steps a run must have rested to have converged."""
DECIDED, RAN_AWAY = 0.05, 100
"""A discriminator's loss, as a share of the first, at which the game is over; a loss, as a multiple, that ran away."""


@dataclass(frozen=True)
class Verdict:
    """How a training stands.

    Args:
        state: What it does.
        since: The step since when.
        low: The first step since when it may be, with 95 % confidence.
        high: The last one.
        by: The curve that says so.
        why: What it says, in words.
    """

    state: State
    since: int
    low: int
    high: int
    by: str
    why: str


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve, thinned to means of neighbouring points; lower is better, where anything is.

    Args:
        name: What it is.
        steps: Of the points.
        values: Logarithms, if all were positive; else stretched so that what they cover is a factor of ten.
    """

    name: str
    steps: Float[ndarray, " n"]
    values: Float[ndarray, " n"]

    @property
    def jitter(self) -> float:
        """Standard deviation of what differs from point to point, by the median of second differences."""
        return float(np.median(np.abs(np.diff(self.values, 2))) * 1.4826 / np.sqrt(6))


def distances(log: pd.DataFrame) -> list[str]:
    """Return the columns of a log that are distances of all samples to held-out sequences."""
    names = (c for c in map(str, log.columns) if c.startswith("similarity.") and "[" not in c)
    return [name for name in names if len(known(log, name)[0])]


def known(log: pd.DataFrame, *columns: str) -> tuple[Float[ndarray, " n"], Float[ndarray, "n columns"]]:
    """Return the steps at which columns are all known, and their values there."""
    numbers = np.asarray(log[["step", *columns]], dtype=np.float64)
    numbers = numbers[np.isfinite(numbers).all(axis=1)]
    return numbers[:, 0], numbers[:, 1:]


def curve(log: pd.DataFrame, *columns: str) -> Curve:
    """Return the sum of columns at the steps where all are known, thinned."""
    steps, values = known(log, *columns)
    return _thinned(" and ".join(columns), steps, _scaled(values.sum(axis=1)))


def mean_curve(log: pd.DataFrame, *columns: str) -> Curve:
    """Return the mean of columns, of their logarithms if they are positive, where all are known, thinned."""
    steps, values = known(log, *columns)
    return _thinned(" and ".join(columns), steps, np.mean([_scaled(each) for each in values.T], axis=0))


def _scaled(values: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    if (values > 0).all():
        return np.log(values)
    return values * (np.log(10) / max(np.ptp(values), 1e-12))


def _thinned(name: str, steps: Float[ndarray, " n"], values: Float[ndarray, " n"]) -> Curve:
    size = -(-len(values) // POINTS) or 1
    steps, values = (np.array([e[k : k + size].mean() for k in range(0, len(e), size)]) for e in (steps, values))
    return Curve(name, steps, values)


@dataclass(frozen=True, eq=False)
class Pieces:
    """A curve as straight pieces.

    Args:
        curve: Which.
        ends: Where each piece ends, as the number of points before; the first begins at 0.
        fitted: The straight pieces' values at the points.
        noise: Standard deviation of what is left.
        independent: Share of the points that count as independent, by the autocorrelation of what is left.
        costs: Of a straight piece from any point to any other, its squared residuals.
    """

    curve: Curve
    ends: tuple[int, ...]
    fitted: Float[ndarray, " n"]
    noise: float
    independent: float
    costs: Float[ndarray, "n+1 n+1"]

    @property
    def starts(self) -> tuple[int, ...]:
        return (0, *self.ends[:-1])

    def slope(self, piece: int) -> tuple[float, float]:
        """Return the slope of a piece, per length of the whole curve, and its standard error."""
        first, last = self.starts[piece], self.ends[piece]
        x = np.linspace(0, 1, len(self.fitted))[first:last]
        slope = (self.fitted[last - 1] - self.fitted[first]) / (x[-1] - x[0])
        return slope, self.noise / np.sqrt(self.independent * np.square(x - x.mean()).sum())

    def direction(self, piece: int) -> int:
        """Return whether a piece falls (-1), rises (1) or neither.

        It does if that is no chance and would count if it went on for half as many steps again: for a tenth, and for a
        fifth of what the whole curve covers.
        """
        slope, error = self.slope(piece)
        return 0 if abs(slope) < max(2 * WORTH, 0.4 * np.ptp(self.fitted), 2 * error) else int(np.sign(slope))

    def first_from(self, point: int) -> int:
        """Return the first piece that begins at or after a point, or the last one."""
        return next((k for k, start in enumerate(self.starts) if start >= point), len(self.ends) - 1)

    def jump(self, piece: int) -> float:
        """Return how far it is from the end of the piece before to the beginning of this one."""
        return self.fitted[self.starts[piece]] - self.fitted[self.starts[piece] - 1]

    def start(self, piece: int) -> tuple[int, int, int]:
        """Return the step at which a piece begins, and the interval that holds it with 95 % confidence."""
        steps = self.curve.steps
        if piece == 0:
            return (round(steps[0]),) * 3
        before, here, after = self.starts[piece - 1], self.starts[piece], self.ends[piece]
        places = np.arange(before + SHORTEST, after - SHORTEST + 1)
        squared = self.costs[before, places] + self.costs[places, after]
        weights = np.exp(-self.independent * (squared - squared.min()) / (2 * self.noise**2))
        within = np.cumsum(weights) / weights.sum()
        low, high = (places[np.searchsorted(within, level)] for level in (0.025, 0.975))
        first, last = int(min(low, here)), int(max(high, here))
        return round(steps[here]), round(steps[first]), round(steps[last])


LEAST_NOISE = 0.005
"""Half a percent: what changes less does not change."""


def cut(curve: Curve) -> Pieces:
    """Cut a curve into straight pieces."""
    y, n = curve.values, len(curve.values)
    costs = _costs(y)
    best, came = [costs[0]], []
    for _ in range(1, PIECES):
        through = best[-1][:, None] + costs
        came.append(np.argmin(through, axis=0))
        best.append(np.min(through, axis=0))
    squared = np.array([each[n] for each in best]) + n * LEAST_NOISE**2
    pieces = int(np.argmin(n * np.log(squared / n) + 2 * 3 * np.arange(1, PIECES + 1) * np.log(n))) + 1
    ends = [n]
    for k in range(pieces - 2, -1, -1):
        ends.insert(0, int(came[k][ends[0]]))
    fitted = np.concatenate([_line(y[a:b]) for a, b in zip((0, *ends[:-1]), ends, strict=True)])
    rest = y - fitted
    correlation = float(rest[1:] @ rest[:-1] / max(rest @ rest, 1e-12))
    independent = (1 - max(correlation, 0.0)) / (1 + max(correlation, 0.0))
    noise = np.sqrt(squared[pieces - 1] / max(n - 2 * pieces, 1))
    return Pieces(curve, tuple(ends), fitted, float(noise), max(independent, 1 / n), costs)


def _line(y: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    x = np.arange(len(y)) - (len(y) - 1) / 2
    return y.mean() + x * (x @ y) / max(x @ x, 1e-12)


def _costs(y: Float[ndarray, " n"]) -> Float[ndarray, "n+1 n+1"]:
    """Return the squared residuals of a line through the points from i up to j; infinite where they are too few."""
    n = len(y)
    sums = lambda v: np.subtract.outer(*[np.concatenate([[0.0], np.cumsum(v)])] * 2).T  # noqa: E731  [i, j]
    y, x = y - y.mean(), np.arange(n) - n / 2
    count, sx, sy = sums(np.ones(n)), sums(x), sums(y)
    with np.errstate(divide="ignore", invalid="ignore"):
        xx, xy, yy = (sums(a) - b / count for a, b in ((x * x, sx**2), (x * y, sx * sy), (y * y, sy**2)))
        found = np.maximum(yy - xy**2 / xx, 0.0)
    return np.where(count >= SHORTEST, found, np.inf)


def turns(values: Float[ndarray, " n"], least: float) -> list[int]:
    """Return where a curve turns, if it goes at least so far before it turns again."""
    found, low, high, way = [], 0, 0, 0
    for j, value in enumerate(values):
        low, high = (j if value < values[low] else low), (j if value > values[high] else high)
        if way <= 0 and value - values[low] >= least:
            found.append(low)
            high, way = j, 1
        elif way >= 0 and values[high] - value >= least:
            found.append(high)
            low, way = j, -1
    return found


def classify(log: pd.DataFrame) -> Verdict:
    """Say how a training stands, by its log: a row a step, with the columns of a run's `log.jsonl`."""
    if by := distances(log):
        return _falling(curve(log, *by)) if len(by) == 1 else _agreed(mean_curve(log, *by), [curve(log, n) for n in by])
    for player in ("discriminator", "generator"):  # a discriminator that looks at private data says nothing
        if f"{player}.adversarial" in log:
            return _playing(log, f"{player}.adversarial")
    losses = [c for c in map(str, log.columns) if c.count(".") == 1 and not c.endswith("gradient_norm")]
    return _falling(curve(log, *losses)) if losses else _too_short(curve(log))


def _agreed(mean: Curve, curves: Sequence[Curve]) -> Verdict:
    """Return what most of several distances say, and where two states are as frequent, what their mean says."""
    of_mean = _falling(mean)
    if of_mean.state in ("too short", "oscillating"):
        return of_mean
    verdicts = [_trend(each) for each in curves]
    states = [verdict.state for verdict in verdicts]
    state = max(states, key=lambda state: (states.count(state), state == of_mean.state))
    agreeing = [verdict for verdict in verdicts if verdict.state == state]
    middle = sorted(agreeing, key=lambda verdict: verdict.since)[(len(agreeing) - 1) // 2]
    return replace(middle, by=" and ".join(verdict.by for verdict in agreeing))


def _too_short(curve: Curve) -> Verdict:
    first = round(curve.steps[0]) if len(curve.steps) else 0
    return Verdict("too short", first, first, first, curve.name, f"{len(curve.steps)} points; {FEWEST} say something")


def _swinging(curve: Curve) -> Verdict | None:
    least = max(SWING, 4 * curve.jitter, SHARE * np.ptp(curve.values))  # chance goes up and down, but not so far
    found = turns(curve.values, least)
    if sum(j >= len(curve.values) // 2 for j in found) < SWINGS:
        return None
    since, high = (round(curve.steps[j]) for j in found[:2])
    low = round(curve.steps[0])
    return Verdict("oscillating", since, low, high, curve.name, f"{len(found)} swings of over {np.expm1(least):.0%}")


def _falling(curve: Curve) -> Verdict:
    """Judge a curve that should fall."""
    return _too_short(curve) if len(curve.values) < FEWEST else _swinging(curve) or _trend(curve)


def _trend(curve: Curve) -> Verdict:
    """Judge a curve that should fall and does not swing."""
    pieces = cut(curve)
    fitted, ways, n = pieces.fitted, [pieces.direction(k) for k in range(len(pieces.ends))], len(curve.values)
    verdict = lambda state, piece, why: Verdict(state, *pieces.start(piece), curve.name, why)  # noqa: E731
    best = int(np.argmin(fitted))
    end = float(np.median(fitted[-n // 10 :]))
    worse, worst = end - fitted[best], fitted[best:].max() - fitted[best]
    if worse > max(WORSE, 3 * pieces.noise, worst / 2):  # else it is on its way back
        at_once = [fitted[min(k + n // 10, n - 1)] - fitted[k] for k in range(best, n)]
        why = f"it is worse than at its best, at step {curve.steps[best]:.0f}"
        if max(at_once) > worse / 2:
            fell = best + int(np.argmax(at_once))
            return verdict("collapsed", pieces.first_from(fell), why)
        return verdict("diverging", pieces.first_from(best), why)
    gained = fitted[0] - end
    rests = _resting(pieces, ways)
    if ways[-1] < 0 or (rests > 0 and ways[rests - 1] < 0 and n - pieces.starts[rests] < LASTING * n):
        since = rests - 1 if ways[-1] >= 0 else len(ways) - 1
        while since and ways[since - 1] < 0:
            since -= 1
        return verdict("converging", since, "it is still falling")
    if gained < max(WORTH, 2 * pieces.noise):
        return verdict("stalled", 0, "it is no better than in the beginning")
    return verdict("converged", rests, "it fell, and stays there")


def _resting(pieces: Pieces, ways: list[int]) -> int:
    """Return the first of the last pieces that do not fall, and hang together; their number if the last one falls."""
    first = len(ways)
    while first and ways[first - 1] >= 0:
        first -= 1
        if first and abs(pieces.jump(first)) > max(WORTH, 2 * pieces.noise):
            break
    return first


def _playing(log: pd.DataFrame, name: str) -> Verdict:
    """Judge a game by its losses, above all that of one player."""
    of_discriminator = curve(log, name)
    if len(known(log, name)[0]) < 5 * FEWEST:
        return _too_short(of_discriminator)
    for player in (c for c in map(str, log.columns) if c.endswith(".adversarial")):
        steps, losses = known(log, player)
        some = max(3, len(losses) // 20)
        sizes, most = np.abs(losses[:, 0]), RAN_AWAY * max(np.abs(losses[:some]).mean(), 1.0)
        if sizes[-some:].mean() > most:
            first = round(steps[sizes > most][0])
            return Verdict("diverging", first, first, first, player, f"its size is {sizes[-some:].mean():.3g}")
    steps, losses = known(log, name)
    some = max(3, len(losses) // 20)
    means = np.convolve(losses[:, 0], np.full(some, 1 / some), "valid")
    alive = np.flatnonzero(means >= DECIDED * losses[:3].mean())
    if losses.min() > 0 and alive[-1] < len(means) - 1:
        first = round(float(steps[alive[-1] + 1]))
        return Verdict("collapsed", first, first, first, name, "the discriminator has won, and teaches nothing")
    if swinging := _swinging(of_discriminator):
        return swinging
    pieces = cut(of_discriminator)
    last = len(pieces.ends) - 1
    moving = pieces.direction(last) != 0
    if moving:
        return Verdict("converging", *pieces.start(last), name, "the losses still move")
    if last == 0:
        return Verdict("stalled", *pieces.start(0), name, "the losses have not moved")
    return Verdict("converged", *pieces.start(last), name, "the losses rest")


STATES = get_args(State)


def check_reasons(reasons: Sequence[str]) -> None:
    """Refuse what is no reason to stop.

    Raises:
        ValueError: naming what is.
    """
    for reason in reasons:
        if "=" in reason:
            parse(reason)
        elif reason not in STATES[1:]:
            raise ValueError(
                f"{reason!r} is no reason to stop; give {', '.join(STATES[1:])}, or a score as similarity.mmd=0.01"
            )


def reason_to_stop(log: pd.DataFrame, reasons: Sequence[str]) -> str:
    """Return which reason to stop a log gives, in words; nothing if it gives none.

    Args:
        log: Of the training so far.
        reasons: States, or scores to reach, `similarity.mmd=0.01`.
    """
    if not len(log):
        return ""
    for name, value in (parse(reason) for reason in reasons if "=" in reason):
        if name in log and (found := reached(log, name, value)).ever:
            return f"{name} was at or below {value:g} at step {found.step}"
    if not set(reasons) & set(STATES):
        return ""
    found = classify(log)
    return f"{found.state} since step {found.since}: {found.why}" if found.state in reasons else ""
