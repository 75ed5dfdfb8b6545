"""Shadow models: learners as a run's own, on other subjects: how does somebody score who was not trained on?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from .. import gpus, training
from ..distillation import Distillation
from ..evaluation.privacy.points import Parts, numbered
from ..learner import Learner
from ..runs import Run
from ..seeds import derive
from ..sequences import Encoded
from ..training import Plan
from .progress import Progress
from .whitebox import encode

Scores = Float[ndarray, " subjects"]


def check(count: int) -> None:
    """Refuse a number of shadow models that leaves a subject in all of them.

    Raises:
        ValueError: if it is odd, or negative.
    """
    if count < 0 or count % 2:
        raise ValueError(f"--shadows must be an even number, for each pair shares out the subjects; got {count}")


def expected(
    run: Run,
    record: Mapping[str, Any],
    parts: Parts,
    statistics: Callable[[Learner], Mapping[str, Scores]],
    count: int,
    steps: int,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> dict[str, Scores]:
    """Return how subjects score, on average, by models that did not learn from them.

    Each pair of models shares out all subjects, members or not, half to each: so everyone is judged by half of the
    models. Scores of each model are less their mean over those it did not see.

    Args:
        run: That is attacked; its preparation is taken over.
        record: Its settings.
        parts: Members, non-members and the reference are learned from.
        statistics: Scores of all their subjects, by name, as `points.numbered` counts them.
        count: How many models; even.
        steps: Training steps of each.
        seed: Of who is in which, and of training.
        device: Where to train.
        quiet: No progress bar.

    Raises:
        ValueError: if the run was distilled from another.
    """
    whose = numbered(*parts.real)
    subjects = whose.max() + 1
    at = gpus.pick_device(device)
    encoded = Encoded.joined(*(encode(run.preparation, part) for part in parts.real)).to(at)
    learned = np.arange(subjects) < subjects // 2
    totals: dict[str, Scores] = {}
    with Progress("training shadow models", count * steps, quiet=quiet) as progress:
        for k in range(count):
            learned = ~learned if k % 2 else np.random.default_rng([seed, k]).permutation(learned)
            own = encoded.take(torch.from_numpy(np.flatnonzero(learned[whose])).to(at))
            learner = _trained({**record, "seed": derive(seed, "shadow", k)}, own, steps, progress)
            for name, scores in statistics(learner).items():
                left_out = np.where(learned, 0.0, scores - scores[~learned].mean())
                totals[name] = totals.get(name, np.zeros(subjects)) + left_out
    return {name: total / (count / 2) for name, total in totals.items()}


def _trained(record: Mapping[str, Any], encoded: Encoded, steps: int, progress: Progress) -> Learner:
    learner, plan = Learner.build(record, encoded.x.device), Plan.of(record)
    if isinstance(plan.objective, Distillation):
        raise ValueError("a distilled run learned from its parent's samples; attack the parent with --shadows")
    learner.meet(encoded)
    for _ in range(steps):
        progress.row(training.take_step(learner, encoded, plan))
    return learner
