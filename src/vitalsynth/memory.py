"""How much memory training takes, told before it does.

Two steps with a batch, or 32 sequences of a larger one, and two with half as many are taken, and what they hold at most
is measured as PyTorch allocates it; it is linear in the number of sequences. What the C library or CUDA hold besides,
because freed pieces rarely fit what is asked for next, is `ALLOWANCE`, and `benchmarks/memory.py` says how far that is
true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch

from .differential import Mechanism
from .learner import Learner
from .machine import rooms
from .preparation import Preparation
from .sequences import Encoded
from .storage import in_words
from .training import EARLIER, Diverged, Plan, kept_settings, take_step

ALLOWANCE = 1.2
"""What is held, as a multiple of what PyTorch asks for: 1.0 to 1.5 in five models."""
LEAST, MOST = 3, 32
"""Sequences in each part of the larger batch that is measured, which is the run's own if that lies between."""


@dataclass(frozen=True)
class Need:
    """What training takes besides what is held already, data included.

    Args:
        fixed: Bytes for weights, averages, gradients and what optimisers remember.
        each: Bytes for each sequence of a batch.
        microbatches: Parts of a batch, one of which is worked out at a time.
    """

    fixed: float
    each: float
    microbatches: int = 1

    def of(self, batch: int) -> float:
        """Return the bytes for batches of so many sequences."""
        return ALLOWANCE * (self.fixed + self.each * batch)

    def advice(self, batch: int, free: float) -> str:
        """Return what to do about batches that do not fit into the bytes that are free; nothing if they do."""
        if self.of(batch) <= free:
            return ""
        said = f"a batch of {batch} takes about {in_words(self.of(batch))} of memory, and {in_words(free)} are free"
        room = free / ALLOWANCE - self.fixed
        parts = [n for n in range(1, batch + 1) if batch % n == 0 and self.each * self.microbatches * batch / n <= room]
        if not parts:
            return f"{said}, too little for one sequence"
        most = int(room / self.each) // self.microbatches * self.microbatches
        return f"{said}: --microbatches {parts[0]} fits" + (f", or --batch {most}" if most else "")


def needed(
    record: Mapping[str, Any], data: Encoded, preparation: Preparation, patients: Sequence[np.ndarray] = ()
) -> Need | None:
    """Measure what training takes.

    Args:
        record: How to train, see `Run.record`.
        data: Encoded training sequences, on the device to use.
        preparation: How they were encoded.
        patients: Which sequences each patient has; of account under privacy only.

    Returns:
        What it takes; None if that cannot be measured, as with what cannot be trained.
    """
    record = {**EARLIER, **record}
    parts = record["microbatches"]
    most = min(max(-(-record["batch"] // parts), LEAST), MOST)
    few = (most + 1) // 2
    try:
        of_few, of_most = (_peak({**record, "batch": n * parts}, data, preparation, patients) for n in (few, most))
    except (ArithmeticError, AttributeError, Diverged, ImportError, LookupError, RuntimeError, TypeError, ValueError):
        return None  # whether the whole batch can be trained on, `training.rehearse` says
    each = (of_most - of_few) / ((most - few) * parts)
    return Need(of_few - each * few * parts, each, parts)


def free(device: torch.device) -> float:
    """Return how many bytes can still be had on a device; of the processor's, within the limits of control groups."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(room.free for room in rooms(psutil.Process()))


def held(device: torch.device) -> float:
    """Return how many bytes this process holds on a device."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss


def _peak(record: Mapping[str, Any], data: Encoded, preparation: Preparation, patients: Sequence[np.ndarray]) -> float:
    """Return the bytes that are held at most in two first steps; the second has what optimisers remember."""
    groups = preparation.groups(data, record["balance"])
    mechanism = Mechanism.of(record, preparation, patients, "0" * 32)

    learner, plan = Learner.build(record, data.x.device), Plan.of(record)
    weights = sum(weight.nbytes for own in learner.contents()[0].values() for weight in own.values())

    def steps() -> None:
        for _ in range(2):
            learner.step = 0  # in which no penalty is left out
            take_step(learner, data, plan, groups, mechanism)

    with kept_settings(record):
        learner.meet(data, mechanism)
        return weights + (_on_gpu(steps, data.x.device) if data.x.is_cuda else _on_processor(steps))


def _on_gpu(work: Callable[[], None], device: torch.device) -> float:
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device) - before


def _on_processor(work: Callable[[], None]) -> float:
    """Follow every allocation; torch.profiler would as well, but says so on stderr.

    Raises:
        ImportError: if this version of PyTorch cannot be followed so.
    """
    from torch._C._autograd import _disable_profiler_legacy, _enable_profiler_legacy
    from torch._C._profiler import ProfilerConfig, ProfilerState, _ExperimentalConfig

    _enable_profiler_legacy(ProfilerConfig(ProfilerState.CPU, False, True, False, False, False, _ExperimentalConfig()))
    try:
        work()
    finally:
        events = [event for thread in _disable_profiler_legacy() for event in thread]
    changes = [event.cpu_memory_usage() for event in events if event.kind() == "memory_alloc"]
    return float(np.cumsum([0, *changes]).max())


def of_weights(record: Mapping[str, Any]) -> int | None:
    """Return the bytes of weights, their gradients and average, and what optimisers remember, without taking any.

    Args:
        record: How to train, see `Run.record`.

    Returns:
        Bytes; None if a part computes with its weights while it is built.
    """
    try:
        with torch.device("meta"):
            learner = Learner.build(record, torch.device("meta"))
            for optimizer in learner.optimizers.values():
                for weight in (weight for group in optimizer.param_groups for weight in group["params"]):
                    weight.grad = torch.empty_like(weight)
                optimizer.step()
    except (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    weights = [weight for network in learner.networks.values() for weight in network.parameters()]
    held = [*weights, *(weight.grad for weight in weights if weight.grad is not None), *learner.average.parameters()]
    kept = [
        state for optimizer in learner.optimizers.values() for own in optimizer.state.values() for state in own.values()
    ]
    return sum(each.nbytes for each in (*held, *kept) if isinstance(each, torch.Tensor))
