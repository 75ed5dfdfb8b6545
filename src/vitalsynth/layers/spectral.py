"""Spectral normalisation: weights divided by their largest singular value (Miyato et al. 2018, arXiv 1802.05957)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import normalize

FIRST_ITERATIONS = 20


class Spectral(nn.Module):
    """A network, called with every weight matrix W divided by its largest singular value σ.

    σ = uᵀ W v for singular vectors found by power iteration, v ← Wᵀ u / ‖Wᵀ u‖ and u ← W v / ‖W v‖, one round in every
    call during training. The u are buffers, so a checkpoint holds them. Any network will do, recurrences of torch and
    of ours too; the gates of a recurrence are one matrix, and a convolution is the matrix from all it sees to a place.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name, weight in self._weights().items():
            self.register_buffer(_key(name), normalize(torch.randn(len(weight), device=weight.device), dim=0))
            for _ in range(FIRST_ITERATIONS):
                self._iterate(name, weight)

    @classmethod
    def of(cls, network: nn.Module) -> nn.Module:
        """Normalise a network, each member of a list, or nothing where there is no matrix."""
        if isinstance(network, nn.ModuleList):
            return nn.ModuleList(cls.of(member) for member in network)
        return cls(network) if any(parameter.ndim > 1 for parameter in network.parameters()) else network

    def forward(self, *inputs: Any) -> Any:
        """Call the network."""
        weights = self._weights()
        normalised = {name: weight / self.largest_singular_value(name, weight) for name, weight in weights.items()}
        return functional_call(self.network, normalised, inputs)

    def largest_singular_value(self, name: str, weight: Tensor) -> Tensor:
        """Return σ of a weight, differentiable; in training after another round of power iteration."""
        with torch.autocast(weight.device.type, enabled=False):
            u, v = self._iterate(name, weight)
            return torch.dot(u, weight.flatten(1) @ v)

    @torch.no_grad()
    def _iterate(self, name: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        matrix, kept = weight.flatten(1), self.get_buffer(_key(name))
        v = normalize(matrix.T @ kept, dim=0)
        if self.training:
            kept.copy_(normalize(matrix @ v, dim=0))
        return kept.clone(), v  # a clone, as the next call changes what is kept before this one's backward

    def _weights(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self.network.named_parameters() if parameter.ndim > 1}


def _key(name: str) -> str:
    return f"u_{name.replace('.', '_')}"
