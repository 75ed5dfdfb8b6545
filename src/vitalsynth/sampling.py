"""Sequences from a trained run, in chunks of fixed size, so that any number streams through flat memory.

The noise of a chunk depends on the seed and the chunk's place alone: the first thousand of a million are the thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from . import checkpoints, components, gpus
from .generators import Generator
from .preparation import fixing
from .preparation.fixing import Pattern
from .runs import Run
from .seeds import derive
from .sequences import Encoded, Fixed, Sequences, listed, nearest

CHUNK = 1024


def load_generator(
    run: Run, step: int | None = None, device: str = "auto", using: Mapping[str, Any] | None = None
) -> tuple[Generator, int]:
    """Return the averaged generator of a run at a checkpoint (the newest by default), and that checkpoint's step.

    Args:
        run: Of which run.
        step: Of the checkpoint.
        device: Where to put it.
        using: Settings of the generator to change, of those that no weight depends on: `{"guidance": 2}` of a flow.

    Raises:
        ValueError: if there is no such checkpoint or setting.
    """
    tensors, state = run.newest() if step is None else checkpoints.load(run.checkpoint(step))
    record = run.settings_at(state["step"])["networks"]["generator"]
    record = {**record, "init_args": {**record["init_args"], **_allowed(record, using or {})}}
    with torch.random.fork_rng(devices=[]):  # its first weights are drawn, and replaced
        generator = components.construct(record, Generator, run.preparation.shape)
    weights = {k.removeprefix("average."): v for k, v in tensors["networks"].items() if k.startswith("average.")}
    components.fill(generator, weights, record)
    return generator.to(gpus.pick_device(device)).eval().requires_grad_(False), state["step"]


def _allowed(record: components.Record, using: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check which settings may be changed when sampling, and read their values as numbers."""
    components.check_trusted(record["class_path"])
    known = components.locate(record["class_path"]).when_sampling if using else ()
    if unknown := [name for name in using if name not in known]:
        what = nearest(unknown[0], known) if known else "this generator has none"
        raise ValueError(f"{unknown[0]!r} is no setting that can be changed when sampling; {what}")
    try:
        return {name: type(record["init_args"][name])(value) for name, value in using.items()}
    except ValueError as error:
        raise ValueError(f"when sampling: {error}") from None


def sample(
    run: Run,
    generator: Generator,
    count: int,
    given: Mapping[str, Any] | None = None,
    seed: int = 0,
    pattern: Pattern | None = None,
    balance: str = "",
) -> Iterator[Sequences]:
    """Yield synthetic sequences in chunks of at most 1,024, subjects numbered on.

    Args:
        run: The run the generator is of.
        generator: From `load_generator`.
        count: How many in all.
        given: Conditions to fix, `{"died": 1}`; the others are drawn as the training set had them.
        seed: Of noise, drawn conditions and drawn patterns.
        pattern: What is measured, if that is imposed.
        balance: A condition whose values are to be equally frequent.

    Raises:
        ValueError: if a fixed column is not conditioned on, or has no such category, or the generator takes no masks.
    """
    if pattern is None:
        for first, encoded in draw(run, generator, count, given, seed, balance):
            yield run.preparation.decode(encoded, np.arange(first, first + len(encoded)), within_extremes=True)
        return
    if not generator.takes_masks:
        raise ValueError(f"a {type(generator).__name__} takes no masks; it draws what is measured by itself")
    for chunk, first, here in _chunks(count):
        condition = run.preparation.conditions(CHUNK, given, derive(seed, "conditions", chunk), balance)[:here]
        fixed, measured = pattern.draw(run.preparation, here, derive(seed, "patterns", chunk))
        encoded = _forward(generator, condition, derive(seed, "sample", chunk), fixed)
        drawn = run.preparation.decode(encoded, np.arange(first, first + here), within_extremes=True)
        yield replace(drawn, values=np.where(measured, drawn.values, np.nan))


def draw(
    run: Run,
    generator: Generator,
    count: int,
    given: Mapping[str, Any] | None = None,
    seed: int = 0,
    balance: str = "",
) -> Iterator[tuple[int, Encoded]]:
    """Yield what `sample` decodes, as networks see it, and how many came before.

    Raises:
        ValueError: as `sample`.
    """
    for chunk, first, here in _chunks(count):
        condition = run.preparation.conditions(CHUNK, given, derive(seed, "conditions", chunk), balance)[:here]
        yield first, _forward(generator, condition, derive(seed, "sample", chunk))


def under(run: Run, generator: Generator, condition: Float[Tensor, "n condition"], seed: int = 0) -> Sequences:
    """Return a synthetic sequence for each of at most 1,024 encoded conditions."""
    return run.preparation.decode(_forward(generator, condition, derive(seed, "sample", 0)), within_extremes=True)


def continued(
    run: Run, generator: Generator, past: Sequences, steps: int, draws: int = 1, seed: int = 0
) -> Iterator[Sequences]:
    """Yield sequences that go on from the first steps of others, each several times over; subjects are theirs.

    Args:
        run: The run the generator is of.
        generator: From `load_generator`.
        past: Of the run's schema and length; what lies beyond `steps` is not looked at.
        steps: How many are given.
        draws: How often each goes on.
        seed: Of noise.

    Raises:
        ValueError: if the generator cannot go on from a past, nothing is left to draw, or a sequence ends before.
    """
    if not generator.continues:
        raise ValueError(
            f"this {type(generator).__name__} did not learn to go on from a past; train a recurrent GAN or a flow with "
            "--generator.pasts 0.5, or with --preset strong"
        )
    if not 0 < steps < run.preparation.length:
        raise ValueError(f"between 1 and {run.preparation.length - 1} steps of the past can be given, got {steps}")
    if (short := past.lengths < steps).any():
        raise ValueError(f"{short.sum():,} of the {len(past):,} sequences end before step {steps}; leave them out")
    for chunk, first, here in _chunks(draws * len(past)):
        own = past.take(np.arange(first, first + here) // draws)
        fixed, condition = fixing.past(run.preparation, own, steps)
        encoded = _forward(generator, condition, derive(seed, "sample", chunk), fixed)
        yield run.preparation.decode(encoded, own.subject, within_extremes=True)


def _chunks(count: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each chunk, its first sequence, and how many it has."""
    for chunk, first in enumerate(range(0, count, CHUNK)):
        yield chunk, first, min(CHUNK, count - first)


def _forward(
    generator: Generator, condition: Float[Tensor, "n condition"], seed: int, fixed: Fixed | None = None
) -> Encoded:
    """Draw a chunk or its beginning, for which the noise of a whole one is drawn, so that it does not matter which."""
    device = next(generator.parameters()).device
    at_once = generator.at_once if device.type == "cpu" else CHUNK
    noise = torch.randn(CHUNK, generator.noise, generator=torch.Generator().manual_seed(seed))[: len(condition)]
    given_to = [part.to(device).split(at_once) for part in (noise, condition)]
    with torch.inference_mode():
        if fixed is None:
            return Encoded.joined(*map(generator, *given_to))
        return Encoded.joined(*map(generator, *given_to, fixed.to(device).split(at_once)))


def collect(chunks: Iterator[Sequences]) -> Sequences:
    """Join chunks into one.

    Raises:
        ValueError: if there is none.
    """
    parts = list(chunks)
    if not parts:
        raise ValueError("there is nothing to join; ask for at least 1 sequence")
    joined = {
        name: np.concatenate([getattr(p, name) for p in parts]) for name in ("values", "lengths", "static", "subject")
    }
    return replace(parts[0], **joined)


def parse_pairs(pairs: str | Mapping[str, Any], what: str = "condition") -> dict[str, Any]:
    """Read `died=1,sex=Female`.

    Raises:
        ValueError: if a part has no `=`.
    """
    if not isinstance(pairs, str):
        return dict(pairs)
    parts = [part.partition("=") for part in listed(pairs)]
    if bad := [name for name, equals, _ in parts if not equals]:
        raise ValueError(f"a {what} is NAME=VALUE, got {bad[0]!r}")
    return {name.strip(): value.strip() for name, _, value in parts}
