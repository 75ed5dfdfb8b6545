"""The records of a run folder, in the order of their steps, from where an exporter left off."""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from numpy import ndarray
from torch import Tensor, nn

from .. import checkpoints, components, sampling, storage
from ..checkpoints import DamagedCheckpoint
from ..learner import Learner
from ..objectives import Batch, Likelihood, Objective
from ..reporting import figures
from ..runs import Run, rows
from ..runs.jsonl import lines
from ..sequences import Encoded

log = logging.getLogger(__name__)

SEQUENCES = 48
"""How many sequences the pictures of a checkpoint are drawn from, always of the same noise and conditions."""
MEANS = ("exp_avg", "momentum_buffer")
"""What optimisers call their running mean of gradients."""


@dataclass
class Position:
    """How much of a run was exported.

    Args:
        rows: Rows of the log.
        checkpoints: Steps of the checkpoints.
        scores: Rows of scores.
        begun: Whether what was asked was.
    """

    rows: int = 0
    checkpoints: list[int] = field(default_factory=list)
    scores: int = 0
    begun: bool = False


@dataclass(frozen=True)
class Asked:
    """The settings of a run by name."""

    settings: Mapping[str, bool | float | str]


@dataclass(frozen=True, eq=False)
class Graph:
    """A module to trace, and what it is called with: see `Play`."""

    module: nn.Module
    inputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Numbers:
    """Numbers at a step, and when that was, in seconds since 1970, if it is known."""

    step: int
    values: Mapping[str, float]
    time: float | None


@dataclass(frozen=True, eq=False)
class Histogram:
    """Many numbers at a checkpoint, of which the distribution is of interest."""

    step: int
    name: str
    values: Float[ndarray, " count"]
    time: float | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture of what the fixed noise became at a checkpoint."""

    step: int
    name: str
    pixels: UInt8[ndarray, "height width 3"]
    time: float | None = None


Record = Asked | Graph | Numbers | Histogram | Picture


def records(run: Run, position: Position) -> Iterator[Record]:
    """Yield what a run holds beyond a position, which moves on.

    Numbers of the log keep their keys, whatever they are. Scores are `scores.NAME`, with `floors.NAME` beside them;
    histograms `weights.PARAMETER` and `gradients.PARAMETER`, the latter the running mean of its gradient that the
    optimiser keeps (of the last step alone if it has no momentum). Pictures show synthetic sequences only. A damaged
    checkpoint is warned of and left out.
    """
    learner = Learner.build(run.record, torch.device("cpu"))
    scores = run.evaluations()
    if not position.begun or scores[position.scores :]:
        yield Asked(run.asked())
    if not position.begun:
        yield _graph(run, learner)
        position.begun = True
    new = [step for step in checkpoints.steps(run.checkpoints) if step not in position.checkpoints]
    clock = rows(run.path / "clock.jsonl")
    for line in lines(run.path / "log.jsonl")[position.rows :]:
        row = json.loads(line)
        step = row.pop("step")
        while new and new[0] < step:
            yield from _checkpoint(run, learner, new[0], _time(clock, new[0]))
            position.checkpoints.append(new.pop(0))
        yield Numbers(step, row, _time(clock, step))
        position.rows += 1
    for step in new:
        yield from _checkpoint(run, learner, step, _time(clock, step))
        position.checkpoints.append(step)
    for row in scores[position.scores :]:
        values = {f"scores.{row['metric']}": row["value"], f"floors.{row['metric']}": row["floor"]}
        yield Numbers(row["step"], {name: v for name, v in values.items() if v is not None}, row["time"])
        position.scores += 1


def _time(clock: list[dict], step: int) -> float | None:
    """Return when a step was taken, between the marks of the clock."""
    if not clock:
        return None
    return float(np.interp(step, [mark["step"] for mark in clock], [mark["time"] for mark in clock]))


def _checkpoint(run: Run, learner: Learner, step: int, time: float | None) -> Iterator[Record]:
    try:
        tensors, state = checkpoints.load(run.checkpoint(step))
        generator, _ = sampling.load_generator(run, step, "cpu")
    except DamagedCheckpoint as error:
        log.warning("%s; it is left out", error)
        return
    found = {f"weights.{name}": tensors["networks"][name] for names in state["trains"].values() for name in names}
    for player, network in learner.networks.items():
        for index, (name, _) in enumerate(network.named_parameters()):
            means = (tensors["optimizers"].get(f"{player}.{index}.{mean}") for mean in MEANS)
            found |= {f"gradients.{player}.{name}": mean for mean in means if mean is not None}
    for name, values in found.items():
        if len(known := _finite(values)):
            yield Histogram(step, name, known, time)
    drawn = sampling.collect(sampling.sample(run, generator, SEQUENCES))
    for view in figures.views(drawn.schema):
        yield Picture(step, f"samples.{view}", figures.pixels(figures.snapshot(drawn, view)), time)


def _finite(values: Shaped[Tensor, "*_"]) -> Float[ndarray, " count"]:
    flat = values.float().flatten().numpy()
    return flat[np.isfinite(flat)]


class Play(nn.Module):
    """What is trained, as one function of tensors: a game as far as the discriminator's score of what was generated,
    else the loss of the one player.

    Args:
        networks: By name.
        objective: Of the one player.
    """

    def __init__(self, networks: Mapping[str, nn.Module], objective: Objective) -> None:
        super().__init__()
        for name, network in networks.items():
            self.add_module(name, network)
        # what a distilled network learns from is drawn by its parent; the likelihood is the same
        self.objective = Likelihood() if isinstance(objective, Likelihood) else objective

    def forward(self, noise: Tensor, x: Tensor, s: Tensor, condition: Tensor) -> Tensor:
        networks = dict(self.named_children())
        if "discriminator" in networks:
            return networks["discriminator"](networks["generator"](noise, condition), condition)
        terms = self.objective.loss("generator", networks, Batch(Encoded(x, s, condition), noise), 0)
        return torch.stack(list(terms.values())).sum()


def _graph(run: Run, learner: Learner) -> Graph:
    objective = components.construct(run.record["objective"], Objective)
    generator = learner.networks["generator"].eval()
    condition = run.preparation.conditions(2)
    noise = torch.zeros(2, generator.noise)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        drawn = generator(noise, condition)
    return Graph(Play(learner.networks, objective).eval(), (noise, drawn.x, drawn.s, condition))


class Exporter(ABC):
    """Hands the records of a run on, and notes in the run's folder, under its name, how far it came.

    Args:
        run: Whose records.

    Attributes:
        name: The folder's, too.
    """

    name: ClassVar[str]

    def __init__(self, run: Run) -> None:
        self.run, self.folder = run, run.path / self.name
        self._noted = self.folder / "exported.json"
        self.position = Position(**json.loads(self._noted.read_bytes())) if self._noted.exists() else Position()

    @abstractmethod
    def take(self, record: Record) -> None:
        """Hand one record on."""

    def flush(self) -> None:  # noqa: B027 (not all need it)
        """Make sure that what was taken is kept."""

    def close(self) -> None:  # noqa: B027
        """Let go of whatever is held."""

    def update(self) -> int:
        """Hand on what is new; return how many records that was."""
        count = 0
        for record in records(self.run, self.position):
            self.take(record)
            count += 1
        if count:
            self.flush()
            self.folder.mkdir(exist_ok=True)
            with storage.atomic_path(self._noted) as temporary:
                temporary.write_text(json.dumps(asdict(self.position)))
        return count
