"""The training step as a map from state to state: its Jacobian, measured, and where it leads, played.

The state is the parameters of all players and whatever their optimisers remember, but for second moments: these are
quadratic in gradients that vanish at an equilibrium, and nothing depends on them to first order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..learner import Learner
from .closed import Eigenvalues

Advance = Callable[[Learner], object]
LONG = 1_000_000
"""Steps after which Adam no longer corrects its moments for having begun at 0."""


def _parts(learner: Learner) -> Iterator[Tensor]:
    for player, optimizer in learner.optimizers.items():
        for parameter in learner.trains[player].values():
            yield parameter.detach()
            for name, value in optimizer.state[parameter].items():
                if isinstance(value, Tensor) and name not in ("step", "exp_avg_sq"):
                    yield value


def state(learner: Learner) -> Float[ndarray, " state"]:
    """Return parameters and memory as one vector, in a fixed order."""
    return torch.cat([part.reshape(-1) for part in _parts(learner)]).numpy().copy()


def put(learner: Learner, vector: Float[ndarray, " state"]) -> None:
    """Undo `state` in place."""
    parts = list(_parts(learner))
    for part, values in zip(parts, torch.tensor(vector).split([p.numel() for p in parts]), strict=True):
        part.copy_(values.view_as(part))


def place(learner: Learner, at: Float[ndarray, " parameters"]) -> None:
    """Set the parameters of all players, the generator's first."""
    parameters = [p.detach() for trained in learner.trains.values() for p in trained.values()]
    for parameter, values in zip(parameters, torch.tensor(at).split([p.numel() for p in parameters]), strict=True):
        parameter.copy_(values.view_as(parameter))


def rest(learner: Learner, at: Float[ndarray, " parameters"], advance: Advance) -> None:
    """Put the players at a point as if they had been there for long: memories empty, and old enough to be unbiased."""
    place(learner, at)
    advance(learner)  # optimisers set up what they remember
    place(learner, at)
    for optimizer in learner.optimizers.values():
        for slots in optimizer.state.values():
            for name, value in slots.items():
                if isinstance(value, Tensor):
                    value.fill_(LONG if name == "step" else 0)
    learner.step = 0
    learner.memory.clear()


def jacobian(learner: Learner, advance: Advance, size: float = 1e-6) -> Float[ndarray, "state state"]:
    """Return the Jacobian of a step, or several, at the state of a learner, which is left as it is.

    By central differences of the step itself, whose error is O(size²) and rounding over `size`.
    """
    here = state(learner)

    def after(vector: ndarray) -> ndarray:
        copy = deepcopy(learner)
        put(copy, vector)
        advance(copy)
        return state(copy)

    columns = [(after(here + each) - after(here - each)) / (2 * size) for each in size * np.eye(len(here))]
    return np.stack(columns, axis=1)


def apart(measured: Eigenvalues, expected: Eigenvalues) -> float:
    """Return the largest distance between eigenvalues paired as well as they can be.

    What is measured beyond those expected must be 0: memory that nothing depends on.
    """
    ours, theirs = np.asarray(measured), np.asarray(expected)
    theirs = np.concatenate([theirs, np.zeros(len(ours) - len(theirs))])
    distances = np.abs(ours[:, None] - theirs)
    return float(distances[linear_sum_assignment(distances)].max())


def factor(learner: Learner, advance: Advance, at: ndarray, start: float = 1e-3, rounds: int = 100) -> float:
    """Play from near a point, and return by which factor the distance from it changes per advance.

    Distances are the largest within a stretch of rounds, so that the phase of a rotation does not matter.
    """
    player = deepcopy(learner)
    place(player, at + start)
    largest = []
    for _ in range(2):
        distances = []
        for _ in range(rounds):
            advance(player)
            here = np.concatenate([p.detach().reshape(-1) for t in player.trains.values() for p in t.values()])
            distances.append(np.linalg.norm(here - at))
        largest.append(max(distances))
    return float((largest[1] / largest[0]) ** (1 / rounds))
