"""Sequences from a trained run, in chunks of fixed size, so that any number streams through flat memory.

The noise of a chunk depends on the seed and the chunk's place alone: the first thousand of a million are the thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from . import checkpoints, components
from .generators import Generator
from .runs import Run
from .seeds import derive
from .sequences import Encoded, Sequences, listed, nearest
from .training import pick_device

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
    return generator.to(pick_device(device)).eval().requires_grad_(False), state["step"]


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
) -> Iterator[Sequences]:
    """Yield synthetic sequences in chunks of at most 1,024, subjects numbered on.

    Args:
        run: The run the generator is of.
        generator: From `load_generator`.
        count: How many in all.
        given: Conditions to fix, `{"died": 1}`; the others are drawn as the training set had them.
        seed: Of noise and drawn conditions.

    Raises:
        ValueError: if a fixed column is not conditioned on, or has no such category.
    """
    for first, encoded in draw(run, generator, count, given, seed):
        yield run.preparation.decode(encoded, np.arange(first, first + len(encoded)), within_extremes=True)


def draw(
    run: Run, generator: Generator, count: int, given: Mapping[str, Any] | None = None, seed: int = 0
) -> Iterator[tuple[int, Encoded]]:
    """Yield what `sample` decodes, as networks see it, and how many came before.

    Raises:
        ValueError: as `sample`.
    """
    device = next(generator.parameters()).device
    at_once = generator.at_once if device.type == "cpu" else CHUNK
    for chunk, first in enumerate(range(0, count, CHUNK)):
        # A whole chunk is always drawn, then cut, so that the last one does not depend on `count`.
        condition = run.preparation.conditions(CHUNK, given, derive(seed, "conditions", chunk))
        random = torch.Generator().manual_seed(derive(seed, "sample", chunk))
        noise = torch.randn(CHUNK, generator.noise, generator=random)
        here = min(CHUNK, count - first)
        given_to = (part[:here].to(device).split(at_once) for part in (noise, condition))
        with torch.inference_mode():
            encoded = Encoded.joined(*map(generator, *given_to))
        yield first, encoded


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
