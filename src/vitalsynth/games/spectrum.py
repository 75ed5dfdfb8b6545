"""Leading eigenvalues of a real game, at a checkpoint: does it turn, attract or repel, and which step is still stable?

Let v be minus the gradients of all players' losses and J its Jacobian. Plain descent at rate h multiplies a small
deviation along an eigenvector by 1 + h λ, so it shrinks if h < -2 Re λ / |λ|² (Mescheder et al. 2017, arXiv
1705.10461). J is never built: Arnoldi iteration asks for products J u, each exact by differentiating twice. Where the
optimisers have a scale for each parameter, as Adam has, it is J with rows scaled so that is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs
from torch import Tensor

from ..learner import Learner
from ..objectives import Batch, Objective
from ..seeds import derive
from ..sequences import Encoded
from ..training import Plan
from .closed import Eigenvalues
from .toy import double


@dataclass(frozen=True)
class Spectrum:
    """Leading eigenvalues of a game.

    Args:
        largest: Those of largest modulus, which limit the step.
        rightmost: Those of largest real part, which say what becomes of the game; fewer where iteration did not end.
        norm: Length of v: how far from an equilibrium it is.
        rate: Learning rate that eigenvalues are per unit of.
    """

    largest: Eigenvalues
    rightmost: Eigenvalues
    norm: float
    rate: float

    @property
    def stable_rate(self) -> float:
        """The rate below which steps of all players at once stay stable; 0 if there is none."""
        return min(max(0.0, -2 * each.real / abs(each) ** 2) for each in (*self.largest, *self.rightmost) if each)

    def __str__(self) -> str:
        """What it means, in a sentence."""
        leading = max((*self.largest, *self.rightmost), key=lambda each: each.real)
        scale = max(abs(each) for each in self.largest)
        turning = max((*self.largest, *self.rightmost), key=lambda each: abs(each.imag))
        if leading.real > 1e-6 * scale:
            what = f"pushes away along its worst direction ({number(leading)}), at every learning rate"
        elif self.stable_rate < self.rate:
            what = f"attracts, but takes learning rates below {self.stable_rate:.2g}, and {self.rate:.2g} was asked for"
        else:
            what = (
                f"attracts; learning rates up to {self.stable_rate:.2g} are stable, and {self.rate:.2g} was asked for"
            )
        turns = "turns more than it pulls" if abs(turning.imag) > abs(turning.real) else "hardly turns"
        return f"the game {turns} ({number(turning)}), and {what}"


def number(value: complex) -> str:
    """Write a complex number with three digits, and without what is 0."""
    return f"{value.real:.3g}" if abs(value.imag) < 1e-12 * abs(value) else f"{value.real:.3g} ± {abs(value.imag):.3g}i"


def of(learner: Learner, data: Encoded, plan: Plan, count: int = 4, batch: int = 256, seed: int = 0) -> Spectrum:
    """Return the spectrum of a game, on one batch and one draw of noise for each player.

    Args:
        learner: The players, which are left as they are.
        data: Encoded sequences that a batch is drawn from.
        plan: What they play.
        count: How many eigenvalues of each kind.
        batch: Sequences in the batch.
        seed: Of batch and noise.
    """
    with double(), torch.backends.cudnn.flags(enabled=False):
        game = _Field(learner, data.to(torch.float64), plan, batch, seed)
        size = len(game.scale)
        count = min(count, size - 2)
        if count < 1:
            matrix = np.stack([game.product(each) for each in np.eye(size)], axis=1)
            found = list(np.linalg.eigvals(matrix))
            return Spectrum(found, found, game.norm, game.rate)
        operator: Any = LinearOperator((size, size), matvec=game.product, dtype=np.float64)  # type: ignore[call-arg]
        start = np.random.default_rng(seed).standard_normal(size)
        largest, rightmost = (_arnoldi(operator, count, kind, start) for kind in ("LM", "LR"))
        return Spectrum(largest, rightmost, game.norm, game.rate)


def _arnoldi(operator: Any, count: int, kind: str, start: ndarray) -> Eigenvalues:
    basis = min(operator.shape[0], max(2 * count + 1, 24))
    try:
        found = eigs(operator, count, which=kind, v0=start, ncv=basis, maxiter=8, tol=1e-4, return_eigenvectors=False)  # type: ignore[arg-type]
    except ArpackNoConvergence as error:
        found = error.eigenvalues
    return [complex(each) for each in found]


class _Field:
    """v as a function of all parameters, and products of its Jacobian."""

    def __init__(self, learner: Learner, data: Encoded, plan: Plan, batch: int, seed: int) -> None:
        self.learner, self.objective = deepcopy(learner), eager(plan.objective)
        for network in self.learner.networks.values():
            network.double()
        players = list(dict.fromkeys(plan.objective.players(learner.step)))
        self.parameters = [p.requires_grad_() for player in players for p in self.learner.trains[player].values()]
        self.rate = max(group["initial_lr"] for o in learner.optimizers.values() for group in o.param_groups)
        self.scale = torch.cat([scales(self.learner, player) for player in players]).to(data.x.device) / self.rate
        self.field = torch.cat([self._gradient(player, data, batch, seed) for player in players])
        self.norm = float(self.field.detach().norm())
        self.dummy = torch.zeros_like(self.field).requires_grad_()
        # Jᵀ w as a function of w, which is linear: its derivative along u, transposed, is J u (Townsend 2017).
        transposed = torch.autograd.grad(
            self.field, self.parameters, self.dummy, create_graph=True, materialize_grads=True
        )
        self.transposed = torch.cat([part.reshape(-1) for part in transposed])

    def _gradient(self, player: str, data: Encoded, batch: int, seed: int) -> Tensor:
        torch.manual_seed(derive(seed, player))
        real = data.take(torch.randint(len(data), (batch,), device=data.x.device))
        noise = torch.randn(batch, self.learner.networks["generator"].noise, device=data.x.device)
        terms: Mapping[str, Tensor] = self.objective.loss(
            player, self.learner.networks, Batch(real, noise), self.learner.step
        )
        own = list(self.learner.trains[player].values())
        found = torch.autograd.grad(sum(terms.values()), own, create_graph=True, materialize_grads=True)  # type: ignore
        return -torch.cat([part.reshape(-1) for part in found])

    def product(self, vector: Float[ndarray, " size"]) -> Float[ndarray, " size"]:
        """Return J u, its rows scaled as the optimisers do."""
        along = torch.tensor(vector.ravel(), device=self.field.device)
        (product,) = torch.autograd.grad(self.transposed, self.dummy, along, retain_graph=True)
        return (self.scale * product).cpu().numpy()


def eager(objective: Objective) -> Objective:
    """Return the objective with its penalties in every step, which is what lazy ones come to in the mean."""
    if getattr(objective, "every", 1) == 1:
        return objective
    out = copy(objective)
    out.every = 1  # type: ignore[attr-defined]
    return out


def scales(learner: Learner, player: str) -> Float[Tensor, " size"]:
    """Return by how much an optimiser multiplies the gradient of each parameter: for Adam lr / (√v̂ + ε)."""
    optimizer, out = learner.optimizers[player], []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not any(parameter is trained for trained in learner.trains[player].values()):
                continue
            slots = optimizer.state.get(parameter, {})
            scale = torch.full_like(parameter, group["initial_lr"], requires_grad=False)
            if "exp_avg_sq" in slots:
                unbiased = slots["exp_avg_sq"].to(scale) / (1 - group["betas"][1] ** float(slots["step"]))
                scale = scale / (unbiased.sqrt() + group["eps"])
            out.append(scale.reshape(-1))
    return torch.cat(out)
