"""What the runs of a sweep are called where they stand beside each other: `strong, seed 0`, and not 0000."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from .plan import SEED
from .sweep import Sweep


def called(paths: Iterable[Path]) -> dict[Path, str]:
    """Return what runs are called: trials by the settings in which they differ, others by their folder.

    A single trial is called by all that is swept. Where the study cannot be read, a trial is its folder, too.
    """
    opened = cache(_values)
    swept = {path: opened(path.resolve().parent.parent).get(path.resolve().name, {}) for path in paths}
    trials = [values for values in swept.values() if values]
    differ = [
        name
        for name in dict.fromkeys(name for values in trials for name in values)
        if len(trials) == 1 or len({values.get(name) for values in trials}) > 1
    ]
    return {path: _said(values, differ) or path.resolve().name for path, values in swept.items()}


def _values(folder: Path) -> Mapping[str, Mapping[str, str]]:
    """Return the settings of every run of a sweep, by the name of its folder; none if it is no sweep, or unreadable."""
    if not (folder / "sweep.json").is_file():
        return {}
    out = {}
    try:
        sweep = Sweep(folder)
        for trial in sweep.trials():
            values = trial.params or trial.system_attrs.get("fixed_params", {})
            known = {name: str(value) for name, value in values.items()}
            for seed in sweep.seeds or ("",):
                name = f"{trial.number:04}" + (f"-{seed}" if seed else "")
                out[name] = known | ({SEED: seed} if seed else {})
    except (ValueError, OSError, ImportError):  # a database that is away, or no Optuna: names are no reason to fail
        return {}
    return out


def _said(values: Mapping[str, str], names: Iterable[str]) -> str:
    """Write settings in words: what is a word itself needs no name, `strong`, but a number does, `hidden 32`."""
    short = [(name, name.rpartition(".")[2]) for name in names if name in values]
    unique = {name for name, last in short if [other for _, other in short].count(last) == 1}
    return ", ".join(
        _last(values[name])
        if _is_word(values[name])
        else f"{(last if name in unique else name).replace('_', ' ')} {values[name]}"
        for name, last in short
    )


def _is_word(text: str) -> bool:
    return text[:1].isalpha() and text.lower() not in ("true", "false", "yes", "no", "none", "null", "nan", "inf")


def _last(text: str) -> str:
    """Return the last part of a path or an import path; the whole of other words."""
    return text.rstrip("/").rpartition("/")[2] if "/" in text else text
