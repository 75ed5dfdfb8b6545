"""Imports go one way: data, then learning, then judging, then running. Nothing imports the command line."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "vitalsynth"
LEARNING = {
    "differential",
    "layers",
    "recurrences",
    "generators",
    "laws",
    "autoregressive",
    "flows",
    "discriminators",
    "objectives",
    "penalties",
    "stabilisers",
    "schedules",
    "seeds",
    "learner",
    "methods",
    "optimizers",
    "training",
    "memory",
    "sampling",
    "distillation",
    "embedding",
    "team",
}
JUDGING = {"evaluation", "monitoring", "reporting"}
# What each room may import, besides itself.
PREPARED = {"normalisation", "whitening", "outline", "preparation"}
DATA = {"sequences", "storage", "components", "frames", "sources"} | PREPARED
ALLOWED = {
    "markup": set(),
    "sequences": {"markup"},
    "storage": set(),
    "machine": set(),
    "gpus": {"machine", "processes"},
    "schedules": set(),
    "normalisation": {"sequences"},
    "whitening": set(),
    "outline": set(),
    "preparation": {"sequences", "normalisation", "whitening", "outline"},
    "components": {"sequences"},
    "presets": {"sequences", "components"},
    "frames": {"sequences", "storage"},
    "sources": {"sequences", "storage", "components", "frames"},
    "layers": {"sequences"},
    "recurrences": {"layers"},
    "generators": {"sequences", "layers", "recurrences"},
    "discriminators": {"sequences", "layers", "recurrences"},
    "laws": {"sequences"},
    "autoregressive": {"sequences", "generators", "laws"},
    "flows": {"sequences", "generators", "layers"},
    "stabilisers": {"sequences"},
    "penalties": {"sequences"},
    "objectives": {"sequences", "penalties", "stabilisers"},
    "embedding": {"sequences", "discriminators", "objectives", "seeds"},
    "methods": set(),
    "optimizers": set(),
    "checkpoints": {"storage"},
    "runs": {*DATA, "checkpoints", "markup", "processes", "machine"},
    "seeds": set(),
    "differential": {
        "sequences",
        "normalisation",
        "preparation",
        "storage",
        "layers",
        "discriminators",
        "objectives",
        "methods",
        "schedules",
        "seeds",
        "team",
    },
    "learner": {
        "sequences",
        "components",
        "checkpoints",
        "runs",
        "generators",
        "discriminators",
        "differential",
        "seeds",
    },
    "training": {
        "sequences",
        "differential",
        "storage",
        "components",
        "runs",
        "objectives",
        "methods",
        "stabilisers",
        "schedules",
        "seeds",
        "learner",
        "processes",
        "team",
    },
    "memory": {"sequences", "preparation", "storage", "differential", "learner", "machine", "training"},
    "sampling": {"sequences", "preparation", "components", "checkpoints", "runs", "generators", "seeds", "gpus"},
    "distillation": {"sequences", "runs", "objectives", "stabilisers", "seeds", "sampling"},
    "games": {
        "sequences",
        "storage",
        "components",
        "generators",
        "discriminators",
        "objectives",
        "penalties",
        "methods",
        "optimizers",
        "stabilisers",
        "schedules",
        "seeds",
        "learner",
        "training",
    },
    "exporting": {"sequences", "preparation", "storage", "runs", "generators", "sampling"},
    "evaluation": {"sequences", "preparation", "components", "markup", "sources"},
    "monitoring": {*DATA, *LEARNING, "checkpoints", "runs", "evaluation"},
    "reporting": {"sequences", "preparation", "storage", "evaluation", "monitoring"},
    "trackers": {
        "sequences",
        "storage",
        "components",
        "checkpoints",
        "runs",
        "objectives",
        "learner",
        "sampling",
        "reporting",
    },
    "team": set(),
    "processes": {"storage"},
    "sweeping": {"sequences", "storage", "processes", "runs", "evaluation", "monitoring"},
    "mail": {"sequences"},
    "reviewing": {"sequences", "storage", "processes", "runs", "evaluation", "reporting", "mail"},
    "cluster": {
        "processes",
        "mail",
        "sequences",
        "preparation",
        "storage",
        "gpus",
        "machine",
        "checkpoints",
        "runs",
        "differential",
        "learner",
        "training",
        "sampling",
        "reporting",
        "team",
    },
    "notebooks": {
        "sequences",
        "storage",
        "markup",
        "checkpoints",
        "runs",
        "generators",
        "learner",
        "sampling",
        "evaluation",
        "reporting",
    },
    "synthesizer": {*DATA, "presets", "runs", "sampling", "commands"},
    "commands": {
        *DATA,
        *LEARNING,
        "gpus",
        "machine",
        "processes",
        "presets",
        "checkpoints",
        "runs",
        "exporting",
        "games",
        "trackers",
        "sweeping",
        "mail",
        "reviewing",
        "cluster",
        "markup",
        "notebooks",
        *JUDGING,
    },
    "colab": {"commands", "notebooks", "runs", "checkpoints", "storage", "sequences", "training"},
    "cli": {"commands"},
    "__init__": {"commands", "synthesizer", "runs", "notebooks", "presets", *DATA, *LEARNING},
    "__main__": {"cli"},
}


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """Yield the rooms that a file imports, at the top or within a function."""
    depth = len(path.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            inside = node.level < depth or (path.name == "__init__.py" and node.level == 1 and depth > 1)
            if inside:
                yield room(path)
            elif node.module:
                yield node.module.split(".")[0]
            else:
                yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not any(name.split(".")[0] == "vitalsynth" for name in names), f"{path}: import relatively"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    wrong = set(imported(path)) - ALLOWED[room(path)] - {room(path)}
    assert not wrong, f"{path.name} of the room {room(path)!r} may not import {sorted(wrong)}"


def test_nothing_heavy_is_imported_for_help():
    import subprocess
    import sys

    code = "import sys; from vitalsynth.cli import main; main(['--help']); print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = set(ast.literal_eval(loaded.splitlines()[-1]))
    assert not modules & {"torch", "numpy", "pandas", "jsonargparse", "matplotlib", "sklearn", "rich"}
    assert "continue" in loaded and "Carry runs on" in loaded
