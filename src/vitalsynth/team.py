"""Processes that take the steps of one training together, each working out some parts of every batch.

A batch is in as many parts as `--microbatches` says, whoever works them out: each has random numbers of its own, and
gradients are added in the order of the parts. So on one kind of device, with as many threads, how many processes share
them changes no bit of the weights or of the log. That takes gathering every part's gradient, and not only their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor


class Lost(Exception):
    """Another process of the team is gone."""


@dataclass(frozen=True)
class Team:
    """One member of a team.

    Args:
        rank: Which; the first one, 0, leads: it writes the run, and says when to stop.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    def mine(self, parts: int) -> range:
        """Return which parts of a batch this one works out."""
        return range(self.rank * parts // self.size, (self.rank + 1) * parts // self.size)

    def total(self, own: Iterable[Tensor]) -> Tensor:
        """Return the sum over the parts of all, given those of one's own, added in their order.

        Raises:
            Lost: if another is gone.
        """
        if self.size > 1:
            here = torch.stack(list(own))
            everyone = [torch.empty_like(here) for _ in range(self.size)]
            _together(dist.all_gather, everyone, here)
            own = (part for each in everyone for part in each)
        parts = iter(own)
        total = next(parts).clone()
        for part in parts:
            total += part
        return total

    def shared(self, tensors: Sequence[Tensor]) -> None:
        """Give all what the leader has, in place.

        Raises:
            Lost: if another is gone.
        """
        if self.size > 1:
            for tensor in tensors:
                _together(partial(dist.broadcast, src=0), tensor)

    def goes_on(self, going_on: bool = False) -> bool:
        """Return whether the leader goes on; what others say does not count.

        Raises:
            Lost: if another is gone.
        """
        said = torch.tensor([going_on], dtype=torch.uint8)
        self.shared([said])
        return bool(said)


ALONE = Team()


def _together(what: Callable[..., object], *tensors: Tensor | list[Tensor]) -> None:
    try:
        what(*tensors)
    except RuntimeError as error:  # a broken connection, for which gloo and NCCL have no other class in common
        raise Lost("another process of this training is gone") from error
