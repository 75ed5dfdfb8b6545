"""What cannot be trained under differential privacy, each refused in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..discriminators import Discriminator
from ..layers import Minibatch, Spectral
from ..methods import Method
from ..objectives import Objective
from ..schedules import Schedule

MIXING = (Minibatch, Spectral, nn.modules.batchnorm._BatchNorm)
"""Layers that let one sequence know of others, or that remember how much they were shown, as power iteration does."""


def check(
    record: Mapping[str, Any],
    networks: Mapping[str, nn.Module],
    objective: Objective,
    method: Method,
    schedules: Mapping[str, Schedule],
) -> None:
    """Refuse what looks at patients other than through clipped and noisy gradients.

    Raises:
        ValueError: what it is, and what to take instead.
    """
    name = type(objective).__name__
    if not objective.private:
        raise ValueError(
            f"under --privacy nobody but the player with the noise may see real sequences, and with {name} another "
            "does; take NonSaturating, Hinge, Wasserstein, Likelihood or FlowMatching"
        )
    if not method.private:
        raise ValueError(
            f"under --privacy a player looks once in a step, at its own gradient; {type(method).__name__} as asked "
            "does more; take Alternating, Simultaneous, or Lookahead between steps of these"
        )
    for stabiliser in getattr(objective, "stabilisers", ()):
        if not stabiliser.private:
            raise ValueError(f"under --privacy {type(stabiliser).__name__} is left out: it shows real sequences around")
    if needing := [type(schedule).__name__ for schedule in schedules.values() if schedule.needs_lead]:
        raise ValueError(f"under --privacy no loss on real sequences is known, which {needing[0]} goes by")
    if record["balance"]:
        raise ValueError("under --privacy every patient is drawn with the same chance; --balance would change that")
    for player, network in networks.items():
        if isinstance(network, Discriminator) and type(network).meet is not Discriminator.meet:
            raise ValueError(
                f"under --privacy a discriminator may not look at the data beforehand, as {type(network).__name__} "
                "does; take LSTM, GRU, Convolutional or another"
            )
        if mixing := [type(module).__name__ for module in network.modules() if isinstance(module, MIXING)]:
            raise ValueError(
                f"under --privacy every patient has a gradient of its own; {mixing[0]} in the {player} mixes them"
            )
    if "discriminator" in networks and getattr(networks["generator"], "pasts", 0):
        raise ValueError("under --privacy a generator in a game sees no real past; leave out --generator.pasts")


def check_prepared(normalise: Any, whiten: float, outline: int) -> None:
    """Refuse what would be read off the data before training.

    Raises:
        ValueError: with what to do.
    """
    if normalise != "minmax":
        raise ValueError("under --privacy numbers are scaled by their public bounds alone: --normalise minmax")
    if whiten:
        raise ValueError("under --privacy correlations are not known beforehand: --whiten 0")
    if outline:
        raise ValueError("under --privacy components of sequences are not known beforehand: --outline 0")
