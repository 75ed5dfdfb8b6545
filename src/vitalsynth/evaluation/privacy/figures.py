"""Figures of a membership attack: whom it finds at so few false alarms, how sure that is, and what it could have shown.

An attack takes for members the subjects with the highest scores. Its true positive rate (TPR) at a false positive rate
(FPR) f is the share of members above the threshold that a share f of non-members exceed. The threshold is read off m
non-members: the k-th highest of theirs, k = floor(f m) + 1, whose own FPR U is not known but for its law, Beta(k, m + 1
- k). Of n members, X lie above it; with a TPR of r at f, and U near f,

    X | U  ~  Binomial(n, min(1, r U / f)).

Intervals and p-values are those of X: Clopper and Pearson's (1934, Biometrika 26), which they become for many
non-members, made wider by what is not known of the threshold. They are exact for an attack that knows nothing, whose
ROC is the diagonal, and too wide, not too narrow, for every other concave ROC.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import brentq
from scipy.stats import beta, binom, mannwhitneyu, norm

from ..distances import DRAWS
from ..measures import auroc, resamples, with_interval

Row = dict[str, Any]
RATES = (0.001, 0.01, 0.1)
LEVEL = 0.05
POWER = 0.8
NODES = 400
"""Quantiles of the threshold's own FPR that stand for its law."""


def figures(members: Float[ndarray, " n"], others: Float[ndarray, " m"], seed: int = 0) -> list[Row]:
    """Return the AUROC and the TPR at each rate, of the scores of members and non-members.

    A row has `figure`, `value` with `low` and `high` (95 %), `chance` (what knowing nothing gives), `p` (of a value as
    high by chance), `least` (the smallest true value that would have been found significant four times in five, None if
    none would) and `about`. What the sample cannot answer has no value, and `about` says why.
    """
    return [_auroc(members, others, seed), *(_at(rate, members, others) for rate in RATES)]


def _auroc(members: Float[ndarray, " n"], others: Float[ndarray, " m"], seed: int) -> Row:
    n, m = len(members), len(others)
    if min(n, m) < 2:
        return row("AUROC", about=f"Not computed: {n} members and {m} others are too few.", chance=0.5)
    scores = np.concatenate([members, others])
    member = np.arange(n + m) < n
    value, low, high = with_interval(lambda w: auroc(member, scores, w), resamples(np.arange(n + m), seed, DRAWS))
    p = float(mannwhitneyu(members, others, alternative="greater").pvalue)
    least = 0.5 + float(norm.ppf(1 - LEVEL / 2) + norm.ppf(POWER)) * math.sqrt((n + m + 1) / (12 * n * m))
    about = "How often a member scores above a non-member."
    return row("AUROC", value, low, high, 0.5, p, least if least < 1 else None, about)


def _at(rate: float, members: Float[ndarray, " n"], others: Float[ndarray, " m"]) -> Row:
    n, m, name = len(members), len(others), title(rate)
    allowed = false_alarms(rate, m)
    if not allowed:
        need = math.ceil(1 / rate)
        return row(name, about=f"Not computed: {m} non-members cannot show it, {need:,} are needed.", chance=rate)
    above = true_positives(members, others, rate)
    low, high = interval(above, n, rate, m)
    about = f"Members above all but {allowed} of {m:,} non-members."
    return row(name, above / n, low, high, rate, p_value(above, n, rate, m), least(n, rate, m), about)


def title(rate: float) -> str:
    """Name the TPR at a rate."""
    return f"TPR at {100 * rate:g} % FPR"


def row(
    figure: str,
    value: float | None = None,
    low: float | None = None,
    high: float | None = None,
    chance: float | None = None,
    p: float | None = None,
    least: float | None = None,
    about: str = "",
) -> Row:
    """Return a row; see `figures`."""
    return {
        "figure": figure,
        "value": value,
        "low": low,
        "high": high,
        "chance": chance,
        "p": p,
        "least": least,
        "about": about,
    }


def false_alarms(rate: float, others: int) -> int:
    """Return how many non-members may lie above the threshold."""
    return math.floor(rate * others + 1e-9)


def true_positives(members: Float[ndarray, " n"], others: Float[ndarray, " m"], rate: float) -> int:
    """Count the members above the threshold; those that equal it do not count."""
    threshold = np.sort(others)[::-1][false_alarms(rate, len(others))]
    return int((members > threshold).sum())


def interval(above: int, members: int, rate: float, others: int) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the TPR at a rate, of so many members above the threshold."""
    reach = _reach(members, rate, others)
    low = _solved(lambda r: reach(above, r) - LEVEL / 2) if above else 0.0
    high = _solved(lambda r: LEVEL / 2 - (1 - reach(above + 1, r))) if above < members else 1.0
    return low, high


def p_value(above: int, members: int, rate: float, others: int) -> float:
    """Return how likely as many members, or more, are above the threshold if the attack knows nothing."""
    return _reach(members, rate, others)(above, rate)


def least(members: int, rate: float, others: int) -> float | None:
    """Return the smallest TPR whose interval would lie above chance four times in five; None if none would."""
    reach = _reach(members, rate, others)
    low, high = 0, members + 1  # the fewest above the threshold that are no chance
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reach(middle, rate) <= LEVEL / 2 else (middle + 1, high)
    if low > members or reach(low, 1.0) < POWER:
        return None
    return _solved(lambda r: reach(low, r) - POWER)


def _reach(members: int, rate: float, others: int) -> Callable[[int, float], float]:
    """Return the function that says how likely so many members, or more, lie above the threshold, given the TPR."""
    k = false_alarms(rate, others) + 1
    own = beta.ppf((np.arange(NODES) + 0.5) / NODES, k, others + 1 - k)
    return lambda above, tpr: float(binom.sf(above - 1, members, np.minimum(1, tpr * own / rate)).mean())


def _solved(rising: Callable[[float], float]) -> float:
    """Return where a rising function of a rate becomes 0; 1 if it never does."""
    return 1.0 if rising(1.0) <= 0 else float(brentq(rising, 0, 1))  # type: ignore[arg-type]
