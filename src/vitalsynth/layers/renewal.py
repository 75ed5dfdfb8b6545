"""0/1 columns whose next 1 depends on how long ago the last one was, as when a nurse measures every four hours."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Imposed = tuple[Float[Tensor, "n length columns"], Bool[Tensor, "n length columns"]]
"""What columns hold where they are not drawn, and where that is."""


class Renewal(nn.Module):
    """Log odds that follow what was drawn at earlier steps: a renewal process in discrete time, per column.

    The hazard of a 1 given the number of steps since the last is the odds of the step, which the features set, times
    a factor of that number, which the features set too (logistic hazards in discrete time: Cox 1972, Journal of the
    Royal Statistical Society B 34:187). Without it 0/1 columns are independent given the features, while real masks
    come in runs, or regularly: a recurrence would have to know before what chance draws after it.

    Only what is drawn is a sequence of steps; factors are computed for all steps at once, and what was drawn is taken
    as given: no gradient flows through the past.

    Args:
        features: Width of the features.
        columns: Number of 0/1 columns.
        memory: Steps that are told apart; longer ago is one class, and never another.
    """

    def __init__(self, features: int, columns: int, memory: int) -> None:
        super().__init__()
        self.columns, self.memory = columns, memory
        self.linear = nn.Linear(features, columns * (memory + 2))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self,
        features: Float[Tensor, "n length features"],
        logits: Float[Tensor, "n length columns"],
        logistic: Float[Tensor, "n length columns"],
        imposed: Imposed | None = None,
    ) -> Float[Tensor, "n length columns"]:
        """Return the log odds of each step, given the draws before it.

        Args:
            features: Of every step.
            logits: Log odds but for the past.
            logistic: Draws of the standard logistic distribution; a column is 1 where its log odds and this exceed 0.
            imposed: What is not drawn.
        """
        factors = self.linear(features).unflatten(-1, (self.columns, self.memory + 2)).to(logits.dtype)
        since = self._since(factors.detach(), (logits + logistic).detach(), imposed)
        return logits + factors.gather(-1, since[..., None]).squeeze(-1)

    def _since(self, factors: Tensor, excess: Tensor, imposed: Imposed | None) -> Tensor:
        """Draw step by step; return how long ago the last 1 was at each step, from 0 for the step before."""
        longest, never = self.memory, self.memory + 1
        ago = torch.full_like(excess[:, 0], never, dtype=torch.long)
        found = []
        for step in range(excess.shape[1]):
            found.append(ago)
            one = factors[:, step].gather(-1, ago[..., None]).squeeze(-1) + excess[:, step] > 0
            if imposed is not None:
                value, known = imposed
                one = torch.where(known[:, step], value[:, step] > 0.5, one)
            later = torch.where(ago == never, ago, (ago + 1).clamp(max=longest))
            ago = torch.where(one, torch.zeros_like(ago), later)
        return torch.stack(found, dim=1)
