"""`vitalsynth continue`: carry runs on as if they had never been interrupted."""

from __future__ import annotations

import logging

from .. import differential, runs, training
from ..cluster import distributed
from ..learner import Learner
from ..runs import Run
from ..sequences import Sequences
from .train import run_to, say_memory

log = logging.getLogger(__name__)


def continue_(
    run: str | list[str],
    *,
    steps: int,
    device: str = "auto",
    devices: int = 1,
    quiet: bool = False,
    data: str | Sequences = "",
) -> list[Run]:
    """Carry runs on to a total number of steps, exactly: the log and the weights are those of a run never interrupted.

    Nothing but the number of steps changes ('vitalsynth branch' changes settings). A run that was killed goes on from
    its last checkpoint.

    Args:
        run: Folders of runs; globs are expanded.
        steps: Total number of steps to reach, counted from the start of the run.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        devices: How many GPUs, or processes on the CPU, share the work: any number that divides the run's microbatches.
        quiet: No progress bar.
        data: Where the data lie now, if they were moved; they must be the same. From Python also the data themselves.

    Returns:
        The runs.

    Raises:
        ValueError: if there is no such run, its data changed, or its budget of differential privacy is spent.
    """
    if distributed.follows():
        distributed.follow(device, len(runs.find(run)))
    devices = distributed.started() or devices
    return [_carry_on(each, steps, device, devices, quiet, data) for each in runs.find(run)]


def _carry_on(run: Run, steps: int, device: str, devices: int, quiet: bool, data: str | Sequences) -> Run:
    distributed.check_shares(devices, {**training.EARLIER, **run.record}["microbatches"])
    chosen = distributed.leading_device(device, devices)
    if run.record.get("generator_only"):
        raise ValueError(f"{run.path} holds a generator only, which can be sampled but not trained")
    with run.lock():
        learner = Learner.build(run.record, chosen)
        learner.resume(run)
        if learner.step >= steps:
            log.warning("%s is at step %d already, of the %d asked for in all", run.path, learner.step, steps)
            return run
        parts = run.data(data)
        encoded = run.preparation.encode(parts[0]).to(chosen)
        say_memory(run.record, encoded, run.preparation, differential.patients(parts[0].subject), quiet, devices)
        return run_to(run, learner, encoded, parts, steps, quiet, devices=devices)
