"""The figures of docs/convergence.md: orbits of the real training step."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy import ndarray

from .. import methods, objectives, storage, training
from ..optimizers import OptimisticAdam
from . import stepping
from .toy import Game, double

FLAT = partial(objectives.Wasserstein, penalty=0.0, discriminator_steps=1)
OPTIMISTIC = (partial(OptimisticAdam, lr=0.15, eps=1.0, betas=(0.0, 0.9)),) * 2
PANELS: dict[str, Game] = {
    "at once": Game(FLAT),
    "in turns": Game(FLAT, methods.Alternating),
    "extragradient": Game(FLAT, methods.Extragradient),
    "consensus, γ = 0.4": Game(FLAT, partial(methods.Consensus, weight=0.4)),
    "lookahead, in turns": Game(FLAT, partial(methods.Lookahead, every=5)),
    "optimistic Adam": Game(FLAT, optimizers=OPTIMISTIC),
    "R1, γ = 0.5, in turns": Game(partial(objectives.Relativistic, r1=0.5, r2=0.0), methods.Alternating),
    "Wasserstein, penalty, in turns": Game(
        partial(objectives.Wasserstein, penalty=1.0, discriminator_steps=1), methods.Alternating
    ),
}


def draw(out: Path) -> Path:
    """Write the figure into a folder; return where."""
    out.mkdir(parents=True, exist_ok=True)
    path, figure = out / "convergence_orbits.png", orbits()
    with storage.atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=90, format="png")
    plt.close(figure)
    return path


def orbits(steps: int = 150) -> Figure:
    """Draw where the two numbers of the Dirac-GAN go, by method."""
    figure, axes = plt.subplots(2, 4, figsize=(11, 5.6), sharex=True, sharey=True, layout="constrained")
    for axis, (title, game) in zip(axes.flat, PANELS.items(), strict=True):
        path = orbit(game, np.array([1.0, 1.0]), steps)
        axis.plot(*path.T, color="0.7", linewidth=0.8)
        axis.scatter(*path.T, c=np.arange(len(path)), s=6, cmap="viridis")
        axis.plot(0, 0, "+", color="tab:red", markersize=10)
        axis.set(title=title, xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    figure.supxlabel("generator θ (data lie at 0)")
    figure.supylabel("discriminator ψ")
    return figure


def orbit(game: Game, start: ndarray, steps: int) -> ndarray:
    """Play, and return the state after each step."""
    with double():
        learner, plan, data = game.build()
        stepping.place(learner, start)
        path = [start]
        for _ in range(steps):
            training.take_step(learner, data, plan)
            path.append(np.concatenate([p.detach().reshape(-1) for t in learner.trains.values() for p in t.values()]))
    return np.array(path)
