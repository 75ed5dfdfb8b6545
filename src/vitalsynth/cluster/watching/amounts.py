"""Durations and sizes as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

DURATIONS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SIZES = {
    "%": 0.01,
    **{unit: 1000**power for power, unit in enumerate(("B", "kB", "MB", "GB", "TB"))},
    **{unit: 1024**power for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("K", "M", "G", "T"), 1)},  # as SLURM means them
}


@dataclass(frozen=True)
class Amount:
    """A share, or so many bytes or seconds.

    Args:
        value: In [0, 1] if it is a share.
        unit: As it was written.
        text: All as it was written.
    """

    value: float
    unit: str
    text: str

    @property
    def share(self) -> bool:
        return self.unit == "%"


def amount(option: str, text: str, units: Mapping[str, float]) -> Amount:
    """Read a number above 0 with its unit: 30m, 90%, 8GiB.

    Raises:
        ValueError: if it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(\S+)", text.strip())
    unit = found[2] if found else ""
    value = float(found[1]) * units[unit] if found and unit in units else 0.0
    if not value or (unit == "%" and value > 1):
        share = " (of which there are 100 at most)" if unit == "%" else ""
        raise ValueError(f"--{option} takes a number above 0 with one of {', '.join(units)}{share}; got {text!r}")
    return Amount(value, unit, text.strip())
