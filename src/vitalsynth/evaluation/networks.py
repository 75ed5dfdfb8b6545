"""Two networks that learn to tell two samples apart: a GRU of 64 units and a convolutional one.

Both are small, and stop when subjects held aside say so: what counts is to see what a linear classifier on fixed
features does not. Long sequences are seen in patches of several steps, so that the cost of a network grows with the
number of values, not with the number of steps.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from numpy import ndarray
from torch import Tensor, nn

from .judge import held_aside

STEPS = 64
"""Most steps that a network takes."""
UNITS = 64
EPOCHS, PATIENCE, BATCH, RATE = 20, 4, 64, 3e-3

Scorer = Callable[[ndarray], Float[ndarray, " n"]]


class Recurrent(nn.Module):
    """A GRU, judged by its last state and the mean of its states."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, UNITS, batch_first=True)
        self.score = nn.Linear(2 * UNITS, 1)

    def forward(self, x: Float[Tensor, "n length width"]) -> Float[Tensor, " n"]:
        states, _ = self.gru(x)
        return self.score(torch.cat([states[:, -1], states.mean(dim=1)], dim=1))[:, 0]


class Convolutional(nn.Module):
    """Two convolutions over time, judged by the mean and the largest value of what they find."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(nn.Conv1d(width, UNITS, 5, padding=2), nn.ReLU()),
            *(nn.Conv1d(UNITS, UNITS, 3, padding=2, dilation=2), nn.ReLU()),
        )
        self.score = nn.Linear(2 * UNITS, 1)

    def forward(self, x: Float[Tensor, "n length width"]) -> Float[Tensor, " n"]:
        found = self.stages(x.transpose(1, 2))
        return self.score(torch.cat([found.mean(dim=2), found.amax(dim=2)], dim=1))[:, 0]


def patched(x: Float[ndarray, "n length width"], steps: int = STEPS) -> Float[ndarray, "n patches more"]:
    """Put neighbouring steps side by side until there are at most so many; the last patch is filled up with zeros."""
    n, length, width = x.shape
    size = -(-length // steps)
    padded = np.pad(x, ((0, 0), (0, -length % size), (0, 0)))
    return padded.reshape(n, -1, size * width)


def learn(
    network: Callable[[int], nn.Module],
    x: Float[ndarray, "n length width"],
    labels: Int[ndarray, " n"],
    subject: Shaped[ndarray, " n"],
    seed: int = 0,
) -> Scorer:
    """Train a network to score 1 above 0; return what scores other sequences.

    A fifth of the subjects is held aside; the weights that do best on them are kept, and training ends once four epochs
    were no better.
    """
    aside = held_aside(subject, 0.2, seed)
    series, wanted = torch.from_numpy(x).float(), torch.from_numpy(labels).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = network(x.shape[2])
        _train(judge, series, wanted, torch.from_numpy(aside))

    def score(others: ndarray) -> Float[ndarray, " n"]:
        with torch.inference_mode():
            parts = torch.from_numpy(others).float().split(1000)
            return torch.cat([judge(part) for part in parts]).double().numpy()

    return score


def _train(judge: nn.Module, x: Float[Tensor, "n length width"], wanted: Float[Tensor, " n"], aside: Tensor) -> None:
    optimizer = torch.optim.Adam(judge.parameters(), RATE)
    error = nn.functional.binary_cross_entropy_with_logits
    known = torch.nonzero(~aside)[:, 0]
    least, best, since = float("inf"), copy.deepcopy(judge.state_dict()), 0
    for _ in range(EPOCHS):
        for batch in known[torch.randperm(len(known))].split(BATCH):
            loss = error(judge(x[batch]), wanted[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            now = error(judge(x[aside]), wanted[aside]).item()
        since += 1
        if now < least:
            least, best, since = now, copy.deepcopy(judge.state_dict()), 0
        if since == PATIENCE:
            break
    judge.load_state_dict(best)
