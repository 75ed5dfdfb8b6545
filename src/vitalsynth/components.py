"""Parts that a user chooses by name: networks, objectives, stabilisers, optimisers, schedules.

Such a part is given as a factory: a class, or `functools.partial` of one with some settings. Its record, written to
`run.json` and read back, is `{"class_path": "vitalsynth.generators.LSTM", "init_args": {"hidden": 64, ...}}` with every
setting spelled out, so that a default changed later does not change a run. The constructor's signature is the schema.

What a *user* names is imported. What a *run* names is imported only if it is of vitalsynth or torch.optim, if the user
named it in this process, or if $VITALSYNTH_TRUST does: a run from a stranger executes no code.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from .sequences import nearest, one_line

Record = dict[str, Any]

_named_here: set[str] = set()


def trust(path: str) -> None:
    """Note that the user named a dotted path."""
    _named_here.add(path)


def named() -> list[str]:
    """Return the dotted paths of code not of vitalsynth that the user named in this process."""
    return sorted(path for path in _named_here if not path.startswith(("vitalsynth.", "torch.")))


def check_parts(record: Any) -> None:
    """Refuse a record that names, at any depth, a class that is not to be trusted.

    Raises:
        ValueError: with what to do.
    """
    for inner in record.values() if isinstance(record, dict) else record if isinstance(record, list) else ():
        check_parts(inner)
    if isinstance(record, dict) and "class_path" in record:
        check_trusted(str(record["class_path"]))


def check_trusted(path: str, known: tuple[str, ...] = ("vitalsynth", "torch.optim")) -> None:
    """Refuse to import what a run names and the user did not.

    Args:
        path: A dotted path out of a run.
        known: Packages that need no trust.

    Raises:
        ValueError: with what to do.
    """
    own = [name.strip() for name in os.environ.get("VITALSYNTH_TRUST", "").split(",") if name.strip()]
    if path not in _named_here and not any(f"{path}.".startswith(f"{name}.") for name in (*known, *own)):
        raise ValueError(
            f"the run names code that is not of vitalsynth, {path}; if it is yours, or you trust it: "
            f"export VITALSYNTH_TRUST={path.partition('.')[0]}"
        )


def describe(factory: Callable[..., Any]) -> Record:
    """Return the record of a factory.

    Raises:
        ValueError: if it is not a class or a partial of one, or a setting is not plain data.
    """
    settings = dict(getattr(factory, "keywords", {}))
    cls = class_of(factory)
    arguments = inspect.signature(cls).parameters.values()
    defaults = {a.name: a.default for a in arguments if a.default is not inspect.Parameter.empty}
    path = path_of(factory)
    trust(path)
    try:
        return {"class_path": path, "init_args": json.loads(json.dumps(defaults | settings))}
    except TypeError as error:
        raise ValueError(f"the settings of {path} must be plain data to be recorded: {error}") from None


def factory(record: Record) -> Callable[..., Any]:
    """Undo `describe`, for a record of ours: a partial of the class with its settings."""
    return partial(locate(record["class_path"]), **record.get("init_args", {}))


def class_of(factory: Callable[..., Any]) -> type[Any]:
    """Return the class behind a factory, also behind the partials that jsonargparse makes.

    Raises:
        ValueError: if there is none.
    """
    candidates = (factory, getattr(factory, "func", None), *getattr(factory, "args", ()))
    cls = next((candidate for candidate in candidates if inspect.isclass(candidate)), None)
    if cls is None:
        raise ValueError(
            f"{factory!r} cannot be written to a run's record; give a class or functools.partial(Class, ...)"
        )
    return cls


def path_of(factory: Callable[..., Any]) -> str:
    """Return the import path of the class behind a factory."""
    cls = class_of(factory)
    return f"{cls.__module__}.{cls.__qualname__}"


def construct(record: Record, base: type[Any], *arguments: Any) -> Any:
    """Build what a record describes, given what the data or the networks add: `construct(record, Generator, shape)`.

    Raises:
        ValueError: if the class cannot be imported, is not of the family `base`, does not take the settings, or is
            not to be trusted.
    """
    check_trusted(record["class_path"])
    cls = locate(record["class_path"])
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise ValueError(f"{record['class_path']} is not a {base.__name__}")
    if inspect.isabstract(cls) or cls is base:
        raise ValueError(f"{record['class_path']} is only what others derive from: {', '.join(members(cls))}")
    try:
        bound = inspect.signature(cls).bind(*arguments, **record["init_args"])
    except TypeError as error:
        raise ValueError(f"{record['class_path']}: {error}") from None
    try:
        return cls(*bound.args, **bound.kwargs)
    except (RuntimeError, TypeError, ValueError, MemoryError, OverflowError) as error:
        raise ValueError(f"{record['class_path']} cannot be built as asked: {error}") from error


def members(base: type[Any]) -> dict[str, type[Any]]:
    """Return the classes of a family that can be built, by name; those imported so far."""
    found = {}
    for cls in base.__subclasses__():
        if not inspect.isabstract(cls):
            found[cls.__name__] = cls
        found |= members(cls)
    return found


def fill(network: nn.Module, weights: Mapping[str, Tensor], record: Record) -> None:
    """Load a network's weights.

    Raises:
        ValueError: if they do not fit, because the class is not what it was.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        detail = one_line(error)[:200]
        raise ValueError(
            f"the saved weights do not fit {record['class_path']}; did its code change? ({detail})"
        ) from None


def locate(path: str) -> Any:
    """Import what a dotted path names, `my_lab.nets.Wave`.

    Raises:
        ValueError: if there is no such module or name.
    """
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise ValueError(f"{path!r} is not an import path such as my_lab.nets.Wave")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(f"cannot import {module_name!r} ({error}); start vitalsynth where the module lies") from None
    if not hasattr(module, name):
        known = [key for key in vars(module) if not key.startswith("_")]
        raise ValueError(f"module {module_name!r} has no {name!r}; {nearest(name, known)}")
    return getattr(module, name)
