"""Optimisers for games, beside those of torch.optim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class OptimisticAdam(torch.optim.Adam):
    """Adam that takes the coming gradient to change as the last one did: θ ← θ + 2uₜ - uₜ₋₁, where uₜ is Adam's step.

    Daskalakis et al. 2018 (arXiv 1711.00141, algorithm 1). It foresees the other player's move at the cost of one
    gradient, and goes inwards where Adam circles. Its first step is Adam's.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take a step."""
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        before = [parameter.clone() for parameter in parameters]
        loss = super().step(closure)
        for parameter, old in zip(parameters, before, strict=True):
            update = parameter - old
            parameter.add_(update - self.state[parameter].get("update", update))
            self.state[parameter]["update"] = update
        return loss
