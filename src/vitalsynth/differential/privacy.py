"""What a run promises to every patient it learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Accountant = Literal["rdp", "prv"]


@dataclass(frozen=True)
class Privacy:
    """A budget of differential privacy, and how it is spent.

    Args:
        epsilon: The budget ε: training stops before more is spent.
        delta: Chance δ with which ε may not hold; less than 1 in the number of patients.
        clip: Largest norm of what one patient adds to a gradient.
        noise: Standard deviation of the noise on a sum of gradients, in units of `clip`; 0 takes as much as makes the
            budget last for the steps asked for.
        sequences: At most so many of a drawn patient's sequences are looked at, chosen anew each time.
        accountant: rdp (Rényi differential privacy), or prv (privacy random variables), which is tighter and takes
            minutes where rdp takes a second.
        length: Steps of a sequence, known without the data: longer ones are cut, shorter ones end early. Images need
            none.
        public: Columns whose kind and categories are known without the data, comma separated, or all.
        complete: Columns known without the data to be measured always, comma separated, or all; others get a mask.
        counts: Standard deviation of the noise on how many patients have each combination of conditions, in patients.

    Raises:
        ValueError: if a number is out of its range.
    """

    epsilon: float
    delta: float = 1e-5
    clip: float = 1.0
    noise: float = 0.0
    sequences: int = 1
    accountant: Accountant = "rdp"
    length: int = 0
    public: str = ""
    complete: str = ""
    counts: float = 20.0

    def __post_init__(self) -> None:
        for name in ("epsilon", "clip", "counts"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"--privacy.{name} must exceed 0, got {getattr(self, name)}")
        if not 0 < self.delta < 1:
            raise ValueError(f"--privacy.delta must lie between 0 and 1, got {self.delta}")
        if not 0 <= self.noise < float("inf") or self.sequences < 1 or self.length < 0:
            raise ValueError(
                "--privacy.noise and --privacy.length must be at least 0 and --privacy.sequences at least 1, "
                f"got {self.noise}, {self.length} and {self.sequences}"
            )
