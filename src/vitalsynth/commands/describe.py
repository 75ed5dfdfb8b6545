"""`vitalsynth describe`: what networks a run has, layer by layer, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rich import box
from rich.console import Console
from rich.table import Table

from .. import runs, storage
from ..monitoring import anatomy
from ..monitoring.anatomy import Anatomy, Description, Part
from ..reporting import figures

FIGURES = (".svg", ".png", ".pdf")


def describe(run: str | list[str], *, depth: int = 2, out: str = "", quiet: bool = False) -> list[Description]:
    """Show what networks runs have: layers, shapes, parameters, and the memory and operations of a step.

    Shapes are of one sequence. Operations are the additions and multiplications of matrix products, convolutions and
    attention, penalties included; what is done number by number is not counted. Networks of your own are described as
    well. The data are not needed, nor a checkpoint.

    Args:
        run: Folders of runs; globs are expanded.
        depth: How far into the networks to show parts; 1 shows those directly in them.
        out: Draw how noise, condition and statics flow, into .svg, .png or .pdf, a file a network: {network} in it
            stands for generator or discriminator, {run} for the run's name.
        quiet: Print nothing.

    Returns:
        A description a run.

    Raises:
        ValueError: if there is no such run, or a network of it cannot be built.
    """
    if depth < 0:
        raise ValueError(f"--depth must be 0 or more, got {depth}")
    if out and Path(out).suffix not in FIGURES:
        raise ValueError(f"--out {out}: a picture is .svg, .png or .pdf")
    found = runs.find(run)
    console, described = Console(quiet=quiet, soft_wrap=True, highlight=False, markup=False), []
    places = runs.destinations(out, found) if out else [None] * len(found)
    for each, place in zip(found, places, strict=True):
        one = anatomy.describe(each.record, each.preparation)
        described.append(one)
        console.print(each.path, style="bold")
        for player, network in one.networks.items():
            console.print(_table(player, network, depth))
        console.print(cost(each.record, one))
        if place:
            _draw(one, place)
    return described


def cost(record: Mapping[str, Any], one: Description) -> str:
    """Say in words what the networks of a run's record cost."""
    said = f"To draw a sequence takes {_count(one.drawing)} operations"
    if one.step is None:
        return f"{said}."
    batch = record["batch"]
    memory = f" and about {storage.in_words(one.memory.of(batch))} of memory" if one.memory else ""
    return f"{said}, a step of training, on a batch of {batch}, {_count(one.step)}{memory}."


def _table(player: str, network: Anatomy, depth: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(player)
    table.add_column("is")
    table.add_column("makes of a sequence")
    table.add_column("parameters", justify="right")
    for name, shape in network.inputs.items():
        table.add_row(name, "given", _size(shape), "", style="dim")
    for part in network.parts[1:]:
        if part.depth <= depth and part.kind != "Identity":
            table.add_row(
                "  " * (part.depth - 1) + part.name.rpartition(".")[2], part.kind, _size(part.output), _own(part)
            )
    whole = network.parts[0]
    made = ", ".join(f"{name.removesuffix(' out')} {_size(shape)}" for name, shape in network.outputs.items())
    table.add_row("in all", whole.kind, made, _own(whole), style="bold")
    return table


def _own(part: Part) -> str:
    frozen = f" and {part.frozen:,} frozen" if part.frozen else ""
    return f"{part.parameters:,}{frozen}" if part.parameters or part.frozen else ""


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _count(number: int) -> str:
    """Write a number as people read it: 3.1 million."""
    for power, word in ((4, "trillion"), (3, "billion"), (2, "million"), (1, "thousand")):
        if number >= 1000**power:
            return f"{number / 1000**power:.1f} {word}"
    return str(number)


def _draw(one: Description, place: Path) -> None:
    several = len(one.networks) > 1 and "{network}" not in str(place)
    for player, network in one.networks.items():
        name = str(place).replace("{network}", player)
        path = Path(name).with_stem(f"{Path(name).stem}-{player}") if several else Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with storage.atomic_path(path) as temporary, mpl.rc_context(figures.STYLE):
            figures.anatomy(network).savefig(temporary, format=path.suffix[1:], dpi=120)
