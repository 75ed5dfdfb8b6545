"""`vitalsynth branch`: go on from a checkpoint with other settings, or on other data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import checkpoints, components, runs, sources, training
from ..discriminators import Discriminator
from ..generators import Generator
from ..learner import Learner
from ..objectives import Objective
from ..runs import Run
from ..schedules import Schedule
from ..sequences import Sequences, Shape, listed
from ..storage import refuse_existing
from .train import PARTS, OptimizerFactory, check_numbers, provenance, run_to, say_what_is_trained

log = logging.getLogger(__name__)


def branch(
    run: str | list[str],
    *,
    out: str,
    at: int | None = None,
    steps: int = 0,
    data: str | Sequences = "",
    seed: int | None = None,
    generator: Callable[[Shape], Generator] | None = None,
    discriminator: Callable[[Shape], Discriminator] | None = None,
    objective: Callable[[], Objective] | None = None,
    generator_optimizer: OptimizerFactory | None = None,
    discriminator_optimizer: OptimizerFactory | None = None,
    generator_schedule: Callable[[], Schedule] | None = None,
    discriminator_schedule: Callable[[], Schedule] | None = None,
    batch: int | None = None,
    average: float | None = None,
    checkpoint_every: int | None = None,
    frozen: str | list[str] | None = None,
    precision: training.Precision | None = None,
    device: str = "auto",
    source: dict[str, Any] | None = None,
    quiet: bool = False,
) -> list[Run]:
    """Make a run that goes on from a checkpoint of another with changed settings, or on other data.

    What is not said stays as it was; with nothing changed, a branch trains as its parent would have. Its preparation,
    condition and who is held out are the parent's. A discriminator or optimiser that cannot take over what its
    predecessor learned starts anew, and that is said; the generator must take over its weights.

    Args:
        run: Folders of runs; globs are expanded.
        out: Folder of the branch, which must not exist; {run} in it stands for the parent's name.
        at: Step of the checkpoint to go on from; the newest by default.
        steps: Total number of steps to reach, counted from the start of the first run. By default the branch is only
            made, and 'vitalsynth continue' trains it.
        data: Other data of the same schema: a source's name or a file. Its settings are the parent's, or follow as
            --source.NAME.
        seed: Of batches and noise.
        generator: Class of the generator, or settings of it that leave its weights as they are.
        discriminator: Class of the discriminator.
        objective: What the players minimise.
        generator_optimizer: Any optimiser of torch.optim.
        discriminator_optimizer: Any optimiser of torch.optim.
        generator_schedule: Learning rate by step, counted from the start of the first run.
        discriminator_schedule: Learning rate by step, counted from the start of the first run.
        batch: Sequences in one player's turn.
        average: Decay of the averaged generator.
        checkpoint_every: Steps between checkpoints.
        frozen: Parameters that stay as they are, by the beginnings of their names, comma separated, such as
            generator.recurrence.
        precision: float32, or bfloat16 autocast for the forward passes.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        source: Settings of the source of --data, as --source.NAME on the command line.
        quiet: No progress bar.

    Returns:
        The branches.

    Raises:
        ValueError: if anything asked for is impossible; nothing is left behind.
    """
    asked = {
        "generator": generator,
        "discriminator": discriminator,
        "generator_optimizer": generator_optimizer,
        "discriminator_optimizer": discriminator_optimizer,
        "generator_schedule": generator_schedule,
        "discriminator_schedule": discriminator_schedule,
    }
    plain = {"seed": seed, "batch": batch, "average": average, "checkpoint_every": checkpoint_every}
    plain |= {"precision": precision, "frozen": None if frozen is None else listed(frozen)}
    found = runs.find(run)
    places = runs.destinations(out, found)
    made = []
    for parent, place in zip(found, places, strict=True):
        refuse_existing(place)
        step = parent.step if at is None else at
        if 0 < steps <= step:
            raise ValueError(f"--steps is the total and must exceed {step}, where the branch begins; got {steps}")
        record = _changed(parent.settings_at(step), asked, objective, plain)
        start = _Start(parent, step, record, data, source)
        made.append(start.train(str(place), steps, device, quiet))
    return made


def _changed(
    settings: Mapping[str, Any],
    parts: Mapping[str, Callable[..., Any] | None],
    objective: Callable[..., Any] | None,
    plain: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the parent's settings with those that were asked for in their place."""
    record = {key: value for key, value in settings.items() if key not in ("format", "id", "pieces", "averaged")}
    players = [player for player in ("generator", "discriminator") if player in record["networks"] or parts[player]]
    for kind, setting in PARTS.items():
        chosen = {player: parts[setting.format(player)] for player in players}
        record[kind] = {**record[kind], **{p: components.describe(f) for p, f in chosen.items() if f is not None}}
    if objective is not None:
        record["objective"] = components.describe(objective)
    record |= {key: value for key, value in plain.items() if value is not None}
    check_numbers(record["average"], batch=record["batch"], checkpoint_every=record["checkpoint_every"])
    return record | provenance()


def inherited(run: Run, at: int | None, data: str = "") -> dict[str, Any]:
    """Return the settings that a branch of a run has if nothing else is said, as the command line writes them.

    Args:
        run: The parent.
        at: Step of the checkpoint; the newest by default.
        data: Other data, if there are any, whose source takes those settings of the parent's source that it can.

    Raises:
        ValueError: if the run names code that is not to be trusted.
    """
    record = run.record if at is None else run.settings_at(at)
    chosen = {
        setting.format(player): part for kind, setting in PARTS.items() for player, part in record[kind].items()
    } | {"objective": record["objective"]}
    components.check_parts(chosen)
    plain = {key: record[key] for key in ("seed", "batch", "average", "checkpoint_every", "precision")}
    source = sources.accepted(data, record["data"]["settings"]) if data else {}
    return {**chosen, **plain, "frozen": ",".join(record["frozen"]), **{f"source.{k}": v for k, v in source.items()}}


@dataclass(frozen=True)
class _Start:
    """Where a branch begins, and how it goes on."""

    parent: Run
    step: int
    record: dict[str, Any]
    data: str | Sequences
    source: dict[str, Any] | None

    def train(self, out: str, steps: int, device: str, quiet: bool) -> Run:
        parent, step = self.parent, self.step
        tensors, state = checkpoints.load(parent.checkpoint(step))
        about, sequences = self._data()
        origin = {"id": _line_at(parent, step), "name": parent.name, "step": step}
        record = {**self.record, "data": about, "parent": origin}
        chosen = training.pick_device(device)
        learner = Learner.build(record, chosen)
        anew = learner.inherit(tensors, state, parent.settings_at(step), record)
        part, _ = runs.part(sequences, about["cut"], about["seed"])
        encoded = parent.preparation.encode(part).to(chosen)
        training.rehearse(record, encoded)
        if anew:
            log.warning("%s: these do not fit what the parent learned, and start anew: %s", out, ", ".join(anew))
        with runs.making(out, record, parent.preparation.to_json()) as folder:
            learner.save(folder / "checkpoints", runs.log_state(step))
        made = Run(out)
        if not steps:
            return made
        say_what_is_trained(learner, part, sequences, chosen, quiet)
        with made.lock():
            return run_to(made, learner, encoded, steps, quiet)

    def _data(self) -> tuple[dict[str, Any], Sequences]:
        """Return the record of the data, and the data: the parent's, or others of its schema."""
        about, data = self.record["data"], self.data
        if isinstance(data, str) and not data:
            sequences = self.parent.read()
        elif isinstance(data, Sequences):
            sequences = self.parent.like(data)
            if sequences.digest() != about["digest"]:
                about = {**about, "source": None, "settings": {}}
        else:
            named, settings = sources.pinned(data, self.source if self.source is not None else self._settings(data))
            sequences = self.parent.read(named, settings)
            about = {**about, "source": named, "settings": settings}
        if self.data:
            about = {**about, "digest": sequences.digest(), "count": len(sequences)}
        elif sequences.digest() != about["digest"]:
            raise ValueError(f"the data of {self.parent.path} are not what it was trained on; name them with --data")
        return about, sequences

    def _settings(self, data: str) -> dict[str, Any]:
        """Return those of the parent's settings of its source that another source takes."""
        return sources.accepted(data, self.record["data"]["settings"])


def _line_at(run: Run, step: int) -> str:
    """Return the id of the line that a step of a run belongs to."""
    return next((p["id"] for p in run.record.get("pieces", []) if step < p["stop"]), run.record["id"])
