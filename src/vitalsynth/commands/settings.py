"""The settings of a learner: declared once, by `train`; written to a run's record, and read back for a branch."""

from __future__ import annotations

import inspect
import platform
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import torch

from .. import components
from ..differential import Privacy
from ..monitoring import convergence
from ..monitoring.similarity import Similarity
from ..sequences import listed
from ..training import EARLIER

PLAYERS = ("generator", "discriminator")
PARTS = {"networks": "{}", "optimizers": "{}_optimizer", "schedules": "{}_schedule"}
"""Where a record keeps the parts of each player, and the settings that choose them."""
PLAIN = (
    "seed",
    "batch",
    "balance",
    "average",
    "clip",
    "checkpoint_every",
    "stop_early",
    "frozen",
    "precision",
    "privacy",
    "gradients",
    "similarity",
    "microbatches",
)
LISTS = ("stop_early", "frozen")
NAMES = (
    *(s.format(player) for s in PARTS.values() for player in PLAYERS),
    "objective",
    "method",
    "stabilisers",
    *PLAIN,
)


def to_record(given: Mapping[str, Any], parent: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a run's record says of settings.

    Args:
        given: Settings by name; None for a player that there is not, or for what stays as it was.
        parent: The record whose settings those are that are not given.

    Raises:
        ValueError: if a number is out of its range, or a part cannot be recorded.
    """
    before = {**EARLIER, **(parent or {kind: {} for kind in PARTS})}
    record: dict[str, Any] = {}
    for kind, setting in PARTS.items():
        chosen = {player: given.get(setting.format(player)) for player in record.get("networks", PLAYERS)}
        known = {player: components.describe(factory) for player, factory in chosen.items() if factory is not None}
        record[kind] = {**before[kind], **known}
    for part in ("objective", "method"):
        record[part] = components.describe(given[part]) if given.get(part) is not None else before[part]
    stabilisers = given.get("stabilisers")
    record["stabilisers"] = (
        before["stabilisers"] if stabilisers is None else list(map(components.describe, stabilisers))
    )
    record |= {name: before[name] if given.get(name) is None else given[name] for name in PLAIN}
    for name in LISTS:
        record[name] = listed(record[name])
    convergence.check_reasons(record["stop_early"])
    if isinstance(record["privacy"], Privacy):
        record["privacy"] = asdict(record["privacy"])
    watched = (
        record["similarity"] if isinstance(record["similarity"], Similarity) else Similarity(**record["similarity"])
    )
    if record["privacy"]:  # it looks at real patients, and nothing hides them
        watched = replace(watched, every=0)
    record["similarity"] = asdict(watched)
    check_at_least_one(**{name: record[name] for name in ("batch", "checkpoint_every", "microbatches")})
    if record["batch"] % record["microbatches"]:
        raise ValueError(
            f"--batch {record['batch']} cannot be divided into {record['microbatches']} equal --microbatches"
        )
    if not 0 <= record["average"] < 1:
        raise ValueError(f"--average must lie in [0, 1), got {record['average']}")
    if record["gradients"] < 0:
        raise ValueError(f"--gradients must be at least 0, which is never; got {record['gradients']}")
    if not record["clip"] >= 0:
        raise ValueError(f"--clip must be at least 0, which sets no limit; got {record['clip']}")
    return record


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as the command line writes them.

    Raises:
        ValueError: if the record names code that is not to be trusted.
    """
    parts = {setting.format(p): part for kind, setting in PARTS.items() for p, part in record[kind].items()}
    record = {**EARLIER, **record}
    parts |= {name: record[name] for name in ("objective", "method", "stabilisers")}
    components.check_parts(parts)
    return {**parts, **{name: record[name] for name in PLAIN}, **{name: ",".join(record[name]) for name in LISTS}}


def check_at_least_one(**numbers: int) -> None:
    """Refuse numbers below 1.

    Raises:
        ValueError: which.
    """
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"--{name} must be at least 1, got {number}")


def taken_from(declaring: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function that takes any keyword the settings that another declares, with None for what is not said.

    Signature, annotations and documentation are those of the other, so the command line shows them in full.
    """
    theirs, hints = inspect.signature(declaring).parameters, inspect.get_annotations(declaring, eval_str=True)
    documented = inspect.getdoc(declaring) or ""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)
        own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
        optional = {name: hints[name] | None for name in NAMES}
        added = [theirs[name].replace(default=None, annotation=optional[name]) for name in NAMES]
        function.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        function.__annotations__ |= optional
        about = [re.search(rf"^    {name}: .*(?:\n        .*)*", documented, re.MULTILINE) for name in NAMES]
        lines = "\n".join(found[0] for found in about if found)
        function.__doc__ = (inspect.getdoc(function) or "").replace("\n\nReturns:", f"\n{lines}\n\nReturns:", 1)
        return function

    return decorate


def provenance() -> dict[str, Any]:
    """Return what a record says of the code that made it."""
    versions = {"vitalsynth": version("vitalsynth"), "torch": torch.__version__, "python": platform.python_version()}
    return {"versions": versions, "git_commit": _git_commit()}


def _git_commit() -> str | None:
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
