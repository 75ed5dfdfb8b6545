"""One noisy gradient: patients drawn at random, the gradient of each clipped, noise on the sum.

    g = (Σ_{i drawn} g_i min(1, C / ‖g_i‖) + N(0, σ²C²)) / b

g_i is the gradient of the mean loss of the sequences of patient i, by a backward pass of its own, so that nothing of
one patient enters the gradient of another, whatever network or loss; b is the number of patients drawn on average. One
patient more or less changes the sum by at most C. Who is drawn, and the noise, come from a key that lies in the run's
folder and is never packed: who knew it could take the noise away. It is the reason that training can be carried on
exactly.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from numpy import ndarray
from torch import Tensor, nn

from .. import storage
from ..preparation import Preparation
from ..seeds import derive, seed_torch
from ..sequences import Encoded
from ..team import ALONE, Team
from .privacy import Privacy

KEY = "noise.key"


def patients(subject: Shaped[ndarray, " n"]) -> list[Int[ndarray, " _"]]:
    """Return which sequences each subject has."""
    _, position, counts = np.unique(subject, return_inverse=True, return_counts=True)
    return np.split(np.argsort(position, kind="stable"), np.cumsum(counts)[:-1])


def noise_key(folder: Path) -> str:
    """Return the key of a run's noise, made at random when it is first asked for, readable by its owner alone.

    A copy of a run that comes without it, from an archive, gets another, and with it noise of its own.
    """
    path = folder / KEY
    if not path.exists():
        with storage.atomic_path(path) as temporary:
            temporary.touch(0o600)
            temporary.write_text(secrets.token_hex(16), "ascii")
    storage.refuse_special(path)
    return path.read_text("ascii")


@dataclass(frozen=True, eq=False)
class Mechanism:
    """How a player that sees real sequences gets its gradient.

    Args:
        privacy: The noise, and what is clipped to.
        members: Which sequences each patient has; a patient may have none.
        batch: Patients drawn on average.
        conditions: Draws conditions by their public law, given how many and a seed.
        key: Of all that must stay secret.
        canaries: Patients of an audit, who come after the others: the weight in which the whole gradient of each lies,
            or None of one who is left out.
    """

    privacy: Privacy
    members: Sequence[Int[ndarray, " _"]]
    batch: int
    conditions: Callable[[int, int], Tensor]
    key: str
    canaries: Sequence[int | None] = ()

    @classmethod
    def of(
        cls,
        record: Mapping[str, Any],
        preparation: Preparation,
        members: Sequence[Int[ndarray, " _"]],
        key: str,
        canaries: Sequence[int | None] = (),
    ) -> Mechanism | None:
        """Return the mechanism of a run; None if it promises nothing.

        Raises:
            ValueError: if there are too few patients.
        """
        if not record.get("privacy"):
            return None
        privacy = Privacy(**record["privacy"])
        if record["batch"] > len(members):
            raise ValueError(f"--batch {record['batch']} exceeds the {len(members):,} patients to draw from")
        if privacy.delta * len(members) >= 1:
            raise ValueError(
                f"--privacy.delta {privacy.delta:g} promises nothing to one in {1 / privacy.delta:,.0f}; with "
                f"{len(members):,} patients it must be less than {1 / len(members):.2g}"
            )
        conditions = lambda count, seed: preparation.conditions(count, seed=seed)  # noqa: E731
        return cls(privacy, members, record["batch"], conditions, key, canaries)

    @property
    def _count(self) -> int:
        return len(self.members) + len(self.canaries)

    @property
    def rate(self) -> float:
        """The probability with which each patient is drawn."""
        return self.batch / self._count

    def seed(self, *parts: int | str) -> int:
        """Return a secret seed."""
        return derive(0, self.key, *parts)

    def drawn(self, step: int, turn: int) -> Int[ndarray, " _"]:
        """Draw patients for a turn, each by itself (Poisson sampling); there may be none."""
        chance = np.random.default_rng(self.seed("drawn", step, turn)).random(self._count)
        return np.flatnonzero(chance < self.rate)

    def gradient(
        self,
        loss: Callable[[Int[Tensor, " _"]], Tensor],
        parameters: Sequence[nn.Parameter],
        step: int,
        turn: int,
        parts: int = 1,
        team: Team = ALONE,
    ) -> Float[Tensor, " weights"]:
        """Return the noisy gradient of a turn, all parameters in one vector.

        Args:
            loss: Mean loss of sequences, given their positions: those of one patient.
            parameters: By which to differentiate.
            step: Counted from 0.
            turn: Of the step.
            parts: In how many the patients who were drawn are divided.
            team: Who works them out.
        """
        total = team.total(self._clipped(loss, parameters, step, turn, k, parts) for k in team.mine(parts))
        noise = torch.Generator().manual_seed(self.seed("noise", step, turn))  # the same on every device
        std = self.privacy.noise * self.privacy.clip
        return (total + std * torch.randn(total.shape, generator=noise).to(total.device)) / self.batch

    def _clipped(
        self,
        loss: Callable[[Int[Tensor, " _"]], Tensor],
        parameters: Sequence[nn.Parameter],
        step: int,
        turn: int,
        part: int,
        parts: int,
    ) -> Float[Tensor, " weights"]:
        """Return the sum of the clipped gradients of one part of the patients who were drawn."""
        total = torch.zeros_like(_flat(parameters))
        for patient in self.drawn(step, turn)[part::parts].tolist():
            own = self.members[patient] if patient < len(self.members) else ()
            if len(own):
                seed = self.seed("patient", patient, step, turn)  # of its own: who else was drawn must not matter
                seed_torch(seed)
                index = np.random.default_rng(seed).permutation(own)[: self.privacy.sequences]
                found = torch.autograd.grad(loss(torch.from_numpy(index)), parameters, materialize_grads=True)
                total += clipped(_flat(found), self.privacy.clip)
            elif patient >= len(self.members) and (weight := self.canaries[patient - len(self.members)]) is not None:
                canary = torch.zeros_like(total)
                canary[weight] = 1e3
                total += clipped(canary, self.privacy.clip)
        return total

    def release(
        self, total: Callable[[Int[Tensor, " m"], Float[Tensor, " m"]], Tensor], device: torch.device
    ) -> Tensor:
        """Return a sum over all patients with noise, whose norm none of them changes by more than 1.

        Args:
            total: Sum over sequences, given their positions and weights, each adding at most its weight in norm. Those
                of one patient weigh 1 together.
            device: Where it is computed.
        """
        orders = [np.random.default_rng(self.seed("patient", k)).permutation(own) for k, own in enumerate(self.members)]
        chosen = [own[: self.privacy.sequences] for own in orders if len(own)]
        index = torch.from_numpy(np.concatenate(chosen)).to(device)
        weights = torch.cat([torch.full((len(own),), 1 / len(own)) for own in chosen]).to(device)
        found = total(index, weights)
        noise = torch.Generator().manual_seed(self.seed("noise", "release"))
        return found + self.privacy.noise * torch.randn(found.shape, generator=noise).to(device)

    def unseen(self, like: Encoded, count: int, seed: int) -> Encoded:
        """Return what stands for real sequences where a player must see none: NaN, with conditions by their law."""
        x, s = (part.new_full((count, *part.shape[1:]), torch.nan) for part in (like.x, like.s))
        return Encoded(x, s, self.conditions(count, seed).to(like.x.device))


def _flat(parts: Sequence[Tensor]) -> Float[Tensor, " weights"]:
    return torch.cat([part.detach().flatten() for part in parts])


@contextmanager
def nothing_kept(networks: Mapping[str, nn.Module]) -> Iterator[None]:
    """Hold networks to keeping nothing of what they are shown while gradients are taken: no buffer may change.

    Raises:
        ValueError: if one does.
    """

    def versions() -> list[tuple[str, int, int]]:
        named = ((f"{player}.{name}", b) for player, network in networks.items() for name, b in network.named_buffers())
        return [(name, id(buffer), buffer._version) for name, buffer in named]

    before = versions()
    yield
    if changed := [name for (name, *now), (_, *then) in zip(versions(), before, strict=True) if now != then]:
        raise ValueError(f"under --privacy a network may keep nothing of what it is shown; {changed[0]} changed")


def clipped(gradient: Float[Tensor, " weights"], most: float) -> Float[Tensor, " weights"]:
    """Scale a patient's gradient so that its norm is at most `most`; what is not finite counts as 0."""
    finite = gradient.nan_to_num(0.0, 0.0, 0.0)
    return finite * (most / finite.norm().clamp(min=most))
