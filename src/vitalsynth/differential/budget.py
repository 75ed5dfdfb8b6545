"""What has been spent of a budget. The accounting is Opacus's (Yousefpour et al. 2021, arXiv 2109.12298).

Everything that looks at patients is a Gaussian mechanism on a Poisson sample of them: noise of `noise` times the most
that one patient can add, each patient drawn with probability `rate`, `count` times over. Those triples compose, in
Rényi divergences (Mironov 2017, arXiv 1702.07476; Mironov, Talwar and Zhang 2019, arXiv 1908.10530) or numerically
(Gopi, Lee and Wutschitz 2021, arXiv 2106.02848); both give upper bounds of ε.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy import ndarray

from .privacy import Accountant, Privacy

Spent = tuple[float, float, int]
"""Noise, sampling rate, and how often."""


def epsilon(spent: Iterable[Spent], delta: float, accountant: Accountant = "rdp") -> float:
    """Return an upper bound of ε of all that was spent.

    Raises:
        ValueError: if Opacus is not installed.
    """
    if importlib.util.find_spec("opacus") is None:
        raise ValueError("differential privacy needs opacus: pip install 'vitalsynth[privacy]'")
    spent = [(noise, rate, count) for noise, rate, count in spent if count]
    if not spent:
        return 0.0
    with warnings.catch_warnings():  # that a bound could be tighter with other orders
        warnings.simplefilter("ignore")
        if accountant == "prv":
            from opacus.accountants import PRVAccountant

            prv = PRVAccountant()
            prv.history = spent
            return float(prv.get_epsilon(delta=delta))
        from opacus.accountants import RDPAccountant
        from opacus.accountants.analysis.rdp import get_privacy_spent

        divergences = np.sum([count * _renyi(noise, rate) for noise, rate, count in spent], axis=0).tolist()
        return float(get_privacy_spent(orders=RDPAccountant.DEFAULT_ALPHAS, rdp=divergences, delta=delta)[0])


@lru_cache(maxsize=256)
def _renyi(noise: float, rate: float) -> ndarray:
    """Return the Rényi divergences of one use; they add up."""
    from opacus.accountants import RDPAccountant
    from opacus.accountants.analysis.rdp import compute_rdp

    return np.asarray(compute_rdp(q=rate, noise_multiplier=noise, steps=1, orders=RDPAccountant.DEFAULT_ALPHAS))


class Budget:
    """A budget, and what has been spent of it: part of the state of training.

    Args:
        privacy: The budget.
        spent: So far.
    """

    def __init__(self, privacy: Privacy, spent: Iterable[Spent] = ()) -> None:
        self.privacy, self.spent = privacy, list(spent)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Budget | None:
        """Return the budget of a run before its first step; None if there is none. The law of conditions is paid."""
        if not record.get("privacy"):
            return None
        privacy = Privacy(**record["privacy"])
        return cls(privacy, [(privacy.counts, 1.0, 1)] if record["condition"] else [])

    @property
    def epsilon(self) -> float:
        """What has been spent."""
        return epsilon(self.spent, self.privacy.delta, self.privacy.accountant)

    @property
    def renyi(self) -> float:
        """What has been spent by the Rényi bound, which is fast and may be looser than that of the budget."""
        return epsilon(self.spent, self.privacy.delta)

    def spend(self, rate: float) -> None:
        """Note one more turn."""
        noise, last = self.privacy.noise, self.spent[-1] if self.spent else (0.0, 0.0, 0)
        if last[:2] == (noise, rate):
            self.spent[-1] = (noise, rate, last[2] + 1)
        else:
            self.spent.append((noise, rate, 1))

    def affordable(self, rate: float, wanted: int) -> int:
        """Return how many more turns can be paid for, of those wanted."""
        fits = lambda turns: self._with(self.privacy.noise, rate, turns) <= self.privacy.epsilon  # noqa: E731
        if fits(wanted):
            return wanted
        enough, many = -1, wanted
        while many - enough > 1:
            middle = (enough + many) // 2
            enough, many = (middle, many) if fits(middle) else (enough, middle)
        return max(enough, 0)

    def _with(self, noise: float, rate: float, turns: int) -> float:
        return epsilon([*self.spent, (noise, rate, turns)], self.privacy.delta, self.privacy.accountant)

    def to_json(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"spent": [list(each) for each in self.spent], "epsilon": self.epsilon, "delta": self.privacy.delta}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what a checkpoint says was spent."""
        self.spent = [(noise, rate, count) for noise, rate, count in state["spent"]]


def calibrated(budget: Budget, rate: float, turns: int) -> float:
    """Return the least noise, to 1 in 1,000, with which so many turns can be paid for.

    Raises:
        ValueError: if no noise is enough, as what is paid already exceeds the budget.
    """
    if budget.epsilon >= budget.privacy.epsilon:
        raise ValueError(
            f"the counts of conditions alone spend epsilon {budget.epsilon:.3g} of {budget.privacy.epsilon:g}; "
            "raise --privacy.counts, or learn without --condition"
        )
    low, high = 0.1, 1.0
    while budget._with(high, rate, turns) > budget.privacy.epsilon:
        low, high = high, 2 * high
        if high > 1e5:
            raise ValueError(f"no noise makes {turns:,} turns cost epsilon {budget.privacy.epsilon:g}; raise it")
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if budget._with(middle, rate, turns) <= budget.privacy.epsilon else (middle, high)
    return float(np.ceil(high * 1e4) / 1e4)
