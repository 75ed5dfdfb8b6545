"""`vitalsynth audit`: is what a run promises true? A lower bound of its epsilon, by canaries."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from .. import gpus, runs, storage, training
from ..differential import auditing
from ..learner import Learner
from ..runs import Run
from ..seeds import derive
from ..sequences import Sequences
from .train import run_to


def audit(
    run: str | list[str],
    *,
    out: str,
    canaries: int = 200,
    guesses: int = 0,
    steps: int = 0,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
    data: str | Sequences = "",
) -> list[dict[str, Any]]:
    """Test what runs promise: train each once more with canaries among its patients, and guess who of them was in.

    Each canary is a patient whose whole gradient lies in one weight, in by the toss of a coin; it is drawn, clipped and
    hidden in noise like any other. Those whose weights fell most are guessed to have been in, the others out. How often
    that is right bounds epsilon from below, with 95 % confidence (Steinke, Nasr and Jagielski 2023, arXiv 2305.08846).
    A bound above what the accountant says shows that something is wrong; one below shows little, as others may guess
    better. The run with canaries is of no other use.

    Args:
        run: Folders of runs trained with --privacy; globs are expanded.
        out: Folder of the run with canaries, which must not exist; {run} in it stands for the run's name.
        canaries: How many.
        guesses: Of how many of them it is guessed, half of them in; all by default.
        steps: Training steps; as many as the run by default.
        seed: Of canaries, coins and what a run's seed is for.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        quiet: No progress bar and no result.
        data: Where the data lie now, if they were moved. From Python also the data themselves.

    Returns:
        For each run the bound, the accountant's epsilon, and the guesses.

    Raises:
        ValueError: if a run promises nothing, or the numbers make no sense.
    """
    if not 0 <= guesses <= canaries or canaries < 2:
        raise ValueError(f"--guesses must lie between 0 and --canaries, at least 2; got {guesses} and {canaries}")
    found = runs.find(run)
    results = []
    for each, place in zip(found, runs.destinations(out, found), strict=True):
        if not each.record.get("privacy"):
            raise ValueError(f"{each.path} was trained without --privacy, so there is no promise to test")
        made, fallen, included = _with_canaries(each, str(place), canaries, steps, seed, device, quiet, data)
        right = auditing.right_guesses(fallen, included, guesses or canaries)
        result = _result(made, canaries, (guesses or canaries) // 2 * 2, right)
        with storage.atomic_path(made.path / "audit.json") as temporary:
            temporary.write_text(json.dumps(result, indent=1), "utf-8")
        if not quiet:
            print(_in_words(each.name, result), file=sys.stderr if result["refuted"] else sys.stdout)
        results.append(result)
    return results


def _with_canaries(
    run: Run, out: str, count: int, steps: int, seed: int, device: str, quiet: bool, data: str | Sequences
) -> tuple[Run, np.ndarray, np.ndarray]:
    """Train with canaries; return the run, how far each one's weight fell, and which were in."""
    chosen = gpus.pick_device(device)
    runs.refuse_existing(out)
    parts = run.data(data)
    record = {key: value for key, value in run.record.items() if key not in ("format", "id", "pieces", "averaged")}
    record |= {"parent": None, "seed": seed, "audit": {"of": run.name, "canaries": count}}
    learner = Learner.build(record, chosen)
    weights = list(learner.trains[training.private_player(learner.networks)].values())
    if not weights:
        raise ValueError(
            f"{run.path} learned from one mean of the data; canaries are planted in gradients, and there are none"
        )
    first = nn.utils.parameters_to_vector(weights).detach().clone()
    if count > len(first):
        raise ValueError(f"--canaries {count:,} exceeds the {len(first):,} weights")
    rng = np.random.default_rng(derive(seed, "canaries"))
    place, included = rng.choice(len(first), size=count, replace=False), rng.random(count) < 0.5
    planted = [int(weight) if is_in else None for weight, is_in in zip(place, included, strict=True)]
    made = Run.create(out, record, run.preparation)
    with made.lock():
        encoded = run.preparation.encode(parts[0]).to(chosen)
        run_to(made, learner, encoded, parts, steps or run.step, quiet, planted)
    fallen = (first - nn.utils.parameters_to_vector(weights).detach()).cpu().numpy()[place]
    return made, fallen, included


def _result(made: Run, canaries: int, guesses: int, right: int) -> dict[str, Any]:
    state = made.newest()[1]["privacy"]
    bound = auditing.lower_bound(canaries, guesses, right, state["delta"])
    return {
        "epsilon_at_least": bound,
        "epsilon_at_most": state["epsilon"],
        "delta": state["delta"],
        "confidence": auditing.CONFIDENCE,
        "canaries": canaries,
        "guesses": guesses,
        "right": right,
        "refuted": bound > state["epsilon"],
    }


def _in_words(name: str, result: Mapping[str, Any]) -> str:
    verdict = "THE PROMISE DOES NOT HOLD" if result["refuted"] else "the promise is not refuted"
    return (
        f"{name}: epsilon is at least {result['epsilon_at_least']:.3f} ({result['confidence']:.0%} confidence; "
        f"{result['right']} of {result['guesses']} guesses about {result['canaries']} canaries were right) and at most "
        f"{result['epsilon_at_most']:.3f} by the accountant: {verdict}"
    )
