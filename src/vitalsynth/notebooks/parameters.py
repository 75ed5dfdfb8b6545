"""Parameters of a notebook, as papermill has them: a cell tagged `parameters` gives defaults, one after it values."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from nbformat import NotebookNode, v4

from ..sequences import nearest

DEFAULTS, INJECTED = "parameters", "injected-parameters"
"""Tags of cells."""
WORDS = {"True": True, "False": False, "None": None}


def parse(given: Mapping[str, Any] | Iterable[str]) -> dict[str, Any]:
    """Read `steps=200`; a value is a number, true, false, null, a list or mapping as in YAML, else a text.

    Raises:
        ValueError: if one is no `NAME=VALUE`.
    """
    if isinstance(given, Mapping):
        return dict(given)
    parts = [text.partition("=") for text in given]
    if bad := [name + equals + value for name, equals, value in parts if not equals or not name.isidentifier()]:
        raise ValueError(f"-p takes NAME=VALUE, such as -p steps=200; got {bad[0]!r}")
    return {name: _value(value) for name, _, value in parts}


def _value(text: str) -> Any:
    if text in WORDS:
        return WORDS[text]
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.safe_load(text) if text.startswith(("[", "{", "'")) else text
    except yaml.YAMLError:
        return text


def known(notebook: NotebookNode) -> dict[str, Any]:
    """Return the parameters that a notebook declares, with their defaults where these are plain (else None)."""
    found = {}
    for cell in notebook.cells:
        if DEFAULTS in tags(cell):
            for node in _parsed(cell.source):
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                found |= {each.id: _plain(node) for each in targets if isinstance(each, ast.Name)}
    return found


def tags(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell."""
    return cell.metadata.get("tags", [])


def _parsed(source: str) -> list[Any]:
    try:
        return [node for node in ast.parse(source).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    except SyntaxError:
        return []


def _plain(node: Any) -> Any:
    try:
        return ast.literal_eval(node.value)
    except (ValueError, TypeError):
        return None


def refuse_unknown(given: Mapping[str, Any], notebooks: Iterable[NotebookNode]) -> None:
    """Refuse a parameter that no notebook declares.

    Raises:
        ValueError: with the nearest that one does.
    """
    there = {name for notebook in notebooks for name in known(notebook)}
    if unknown := [name for name in given if name not in there]:
        advice = nearest(unknown[0], sorted(there)) if there else "none has a cell tagged 'parameters'"
        raise ValueError(f"no notebook has a parameter {unknown[0]!r}; {advice}")


def own(notebook: NotebookNode, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the parameters that a notebook declares; where its default is a text, so is the value."""
    defaults = known(notebook)
    return {
        name: str(value) if isinstance(defaults[name], str) and isinstance(value, int | float) else value
        for name, value in given.items()
        if name in defaults
    }


def inject(notebook: NotebookNode, given: Mapping[str, Any]) -> None:
    """Put values into a notebook, in a cell of their own after that of the defaults; one from before is replaced."""
    notebook.cells = [cell for cell in notebook.cells if INJECTED not in tags(cell)]
    if not given:
        return
    source = "\n".join(["# Parameters", *(f"{name} = {_written(value)}" for name, value in given.items())])
    after = max(k for k, cell in enumerate(notebook.cells) if DEFAULTS in tags(cell))
    notebook.cells.insert(after + 1, v4.new_code_cell(source, metadata={"tags": [INJECTED]}))


def _written(value: Any) -> str:
    """Write a value as Python does; numbers that are not finite have no literal."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    return (
        f"float({str(value)!r})" if isinstance(value, float) and repr(value) in ("inf", "-inf", "nan") else repr(value)
    )
