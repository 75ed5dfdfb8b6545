"""`vitalsynth branch`: go on from a checkpoint with other settings, or on other data."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoints, differential, gpus, runs, sources, training
from ..differential import Mechanism
from ..learner import Learner
from ..runs import Run
from ..sequences import Encoded, Sequences, nearest
from . import settings
from .train import run_to, say_memory, say_what_is_trained, train

log = logging.getLogger(__name__)


@settings.taken_from(train)
def branch(
    run: str | list[str],
    *,
    out: str,
    at: int | None = None,
    steps: int = 0,
    data: str | Sequences = "",
    device: str = "auto",
    source: dict[str, Any] | None = None,
    quiet: bool = False,
    **changed: Any,
) -> list[Run]:
    """Make a run that goes on from a checkpoint of another with changed settings, or on other data.

    What is not said stays as it was; with nothing changed, a branch trains as its parent would have. Its preparation,
    condition and who is held out are the parent's. A discriminator or optimiser that cannot take over what its
    predecessor learned starts anew, and that is said; the generator must take over its weights. Schedules count from
    the start of the first run. What the parent has spent of a budget of differential privacy is spent.

    Args:
        run: Folders of runs; globs are expanded.
        out: Folder of the branch, which must not exist; {run} in it stands for the parent's name.
        at: Step of the checkpoint to go on from; the newest by default.
        steps: Total number of steps to reach, counted from the start of the first run. By default the branch is only
            made, and 'vitalsynth continue' trains it.
        data: Other data of the same schema: a source's name or a file. Its settings are the parent's, or follow as
            --source.NAME.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        source: Settings of the source of --data, as --source.NAME on the command line.
        quiet: No progress bar.

    Returns:
        The branches.

    Raises:
        ValueError: if anything asked for is impossible; nothing is left behind.
    """
    if unknown := [name for name in changed if name not in settings.NAMES]:
        raise ValueError(f"no setting {unknown[0]!r} that a branch may change; {nearest(unknown[0], settings.NAMES)}")
    found = runs.find(run)
    chosen = gpus.pick_device(device)
    made = []
    for parent, place in zip(found, runs.destinations(out, found), strict=True):
        runs.refuse_existing(place)
        step = parent.step if at is None else at
        if 0 < steps <= step:
            raise ValueError(f"--steps is the total and must exceed {step}, where the branch begins; got {steps}")
        before = parent.settings_at(step)
        about, sequences = _data(parent, data, source)
        record = {key: value for key, value in before.items() if key not in ("format", "id", "pieces", "averaged")}
        record |= {"data": about, "parent": {"id": before["id"], "name": parent.name, "step": step}}
        record |= settings.to_record(changed, before) | settings.provenance()
        part, held_out = runs.part(sequences, about["cut"], about["seed"])
        encoded = parent.preparation.encode(part).to(chosen)
        patients = differential.patients(part.subject)
        branched, learner = _make(place, parent, step, record, encoded, patients, steps, quiet)
        if steps:
            say_what_is_trained(learner, part, sequences, chosen, quiet)
            with branched.lock():
                run_to(branched, learner, encoded, (part, held_out), steps, quiet)
        made.append(branched)
    return made


def _make(
    place: Path,
    parent: Run,
    step: int,
    record: Mapping[str, Any],
    encoded: Encoded,
    patients: Sequence[np.ndarray],
    steps: int,
    quiet: bool,
) -> tuple[Run, Learner]:
    """Write the run, with a checkpoint of where it begins; return it, and the state there."""
    tensors, state = checkpoints.load(parent.checkpoint(step))
    learner = Learner.build(record, encoded.x.device)
    anew = learner.inherit(tensors, state, parent.settings_at(step), record)
    mechanism = Mechanism.of(record, parent.preparation, patients, secrets.token_hex(16))
    if steps:
        say_memory(record, encoded, parent.preparation, patients, quiet)
    training.rehearse(record, encoded, parent.preparation.groups(encoded, record["balance"]), mechanism)
    training.within_budget(learner, training.Plan.of(record), mechanism, steps)
    if anew:
        log.warning("%s: these do not fit what the parent learned, and start anew: %s", place, ", ".join(anew))
    with runs.making(place, record, parent.preparation.to_json()) as folder:
        learner.save(folder / "checkpoints", runs.log_state(step))
    return Run(place), learner


def _data(parent: Run, data: str | Sequences, source: dict[str, Any] | None) -> tuple[dict[str, Any], Sequences]:
    """Return the record of the data, and the data: the parent's, or others of its schema."""
    about = parent.record["data"]
    if isinstance(data, Sequences):
        origin, sequences = {"source": None, "settings": {}}, parent.like(data)
    elif data:
        named, pinned = sources.pinned(data, sources.accepted(data, about["settings"]) if source is None else source)
        origin, sequences = {"source": named, "settings": pinned}, parent.read(named, pinned)
    else:
        origin, sequences = {}, parent.read()
    digest = sequences.digest()
    if digest != about["digest"] and not origin:
        raise ValueError(f"the data of {parent.path} are not what it was trained on; name them with --data")
    if digest == about["digest"] and isinstance(data, Sequences):
        origin = {}  # they can still be read where the parent read them, if it could
    return {**about, **origin, "digest": digest, "count": len(sequences)}, sequences


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
    source = sources.accepted(data, record["data"]["settings"]) if data else {}
    return settings.from_record(record) | {f"source.{name}": value for name, value in source.items()}
