"""Who looks on while a run is trained, as its record says."""

from __future__ import annotations

import logging

from ..learner import Learner
from ..runs import Run
from ..sequences import Encoded, Sequences
from ..training import EARLIER, Plan, Watcher, groups_of, take_step
from .gradients import Ahead, GradientWatcher
from .similarity import FEWEST, Similarity, SimilarityWatcher

log = logging.getLogger(__name__)


def watchers(run: Run, encoded: Encoded, train: Sequences, held_out: Sequences) -> list[Watcher]:
    """Return who looks on.

    Under differential privacy nobody looks at held-out patients, nor at a gradient before its step is paid for. Where
    nobody, or hardly anybody, is held out there is nothing to be similar to.

    Args:
        run: Which.
        encoded: What it is trained on, as networks see it, on their device.
        train: The same.
        held_out: What it is not trained on.
    """
    record = {**EARLIER, **run.record}
    found: list[Watcher] = []
    if record["gradients"]:
        found.append(GradientWatcher(record["gradients"], None if record["privacy"] else _ahead(run, encoded)))
    settings = Similarity(**record["similarity"])
    if settings.every and record["data"]["cut"] is not None and len(held_out) >= FEWEST:
        try:
            found.append(SimilarityWatcher(run, settings, train, held_out))
        except ValueError as error:
            log.warning("%s: similarity is not measured: %s", run.path, error)
    return found


def _ahead(run: Run, encoded: Encoded) -> Ahead:
    """Return what takes the next step of a run with a state that is thrown away."""
    plan = Plan.of(run.record)  # one of its own, in case an objective keeps something in itself
    groups = groups_of(run, encoded)
    spare = Learner.build(run.record, encoded.x.device)
    return Ahead(spare, run.record, lambda learner: take_step(learner, encoded, plan, groups))
