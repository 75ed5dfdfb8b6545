"""What flows where in a network: a row for what can be computed once the rows above it are.

Who reaches far down has a lane of its own beside the boxes, from which its arrows leave (after Sugiyama, Tagawa and
Toda 1981, doi 10.1109/TSMC.1981.4308636: layers, an order of few crossings by barycentres, then places).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from ...monitoring.anatomy import Anatomy
from .style import CATEGORIES, WIDTH, blank, clean, styled

BOX, LANE, ROW, HEIGHT = 1.35, 0.3, 0.78, 0.4
"""Inches: widths of a box and of a lane, the distance between rows and the height of a box."""

COLOURS = [colour for colour in CATEGORIES if colour != "#F0E442"]  # yellow is no colour for a line
Point = tuple[str, int]
"""A box, or its lane, in a row."""


@dataclass(frozen=True)
class _Box:
    title: str
    about: str
    kind: Literal["given", "part", "made"]


@styled
def anatomy(one: Anatomy) -> Figure:
    """Draw what flows from the inputs of a network through its parts to what it makes.

    Dashed is what goes back, as what is known of one step is read for the next.
    """
    boxes, arrows = _boxes(one), one.flows
    order = list(boxes)
    forward = [(a, b) for a, b in arrows if order.index(a) < order.index(b)]
    back = [(a, b) for a, b in arrows if order.index(a) > order.index(b)]
    layers = _layers(boxes, forward)
    rows, steps = _with_lanes(layers, forward)
    x = _places(rows, steps)
    left, right = min(x.values()) - BOX / 2, max(x.values()) + BOX / 2
    lanes = {name: right + LANE * (k + 0.5) for k, name in enumerate(dict.fromkeys(a for a, _ in back))}
    right = max([right, *lanes.values()])
    scale = max(1.0, (right - left) / WIDTH)
    figure, (ax,) = blank(ROW * len(rows) / scale)
    ax.set(xlim=(left - 0.05, right + 0.05), ylim=(-ROW * (len(rows) - 0.4), ROW * 0.4), aspect="equal")
    ax.axis("off")
    y = {point: -ROW * layer for layer, row in enumerate(rows) for point in row}
    colours = dict(zip(order, cycle(COLOURS), strict=False))
    is_box = lambda point: layers[point[0]] == point[1]  # noqa: E731
    for start, end in steps:
        _arrow(ax, (x[start], y[start]), (x[end], y[end]), is_box(start), is_box(end), colours[start[0]])
    for a, b in back:
        start, end = (a, layers[a]), (b, layers[b])
        _arrow_back(ax, (x[start], y[start]), (x[end], y[end]), lanes[a], colours[a])
    for name, box in boxes.items():
        point = (name, layers[name])
        _box(ax, (x[point], y[point]), box, colours[name], 1 / scale)
    return figure


def _boxes(one: Anatomy) -> dict[str, _Box]:
    """Return what stands in the boxes, in the order in which parts were first reached."""
    parts = {part.name: part for part in one.parts}
    reached = dict.fromkeys(name for _, name in one.flows if name in parts)
    return {
        **{name: _Box(name, _size(shape), "given") for name, shape in one.inputs.items()},
        **{name: _Box(name, f"{parts[name].kind}, {parts[name].parameters:,}", "part") for name in reached},
        **{name: _Box(name.removesuffix(" out"), _size(shape), "made") for name, shape in one.outputs.items()},
    }


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "1"


def _layers(boxes: Mapping[str, _Box], forward: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return the row of each box: below all that it needs, and results at the bottom."""
    layers: dict[str, int] = {}
    for name, box in boxes.items():
        before = [layers[a] + 1 for a, b in forward if b == name and a in layers]
        layers[name] = 0 if box.kind == "given" else max(before, default=1)
    last = max(layers.values())
    return {name: last if boxes[name].kind == "made" else layer for name, layer in layers.items()}


def _with_lanes(
    layers: Mapping[str, int], forward: Sequence[tuple[str, str]]
) -> tuple[list[list[Point]], list[tuple[Point, Point]]]:
    """Return what is in each row, lanes among it, and the steps from row to row."""
    rows: list[list[Point]] = [[] for _ in range(max(layers.values()) + 1)]
    for name, layer in layers.items():
        rows[layer].append((name, layer))
    steps: dict[tuple[Point, Point], None] = {}
    for a, b in forward:
        for layer in range(layers[a] + 1, layers[b]):
            if (a, layer) not in rows[layer]:
                rows[layer].append((a, layer))
            steps[(a, layer - 1), (a, layer)] = None
        steps[(a, layers[b] - 1), (b, layers[b])] = None
    return rows, list(steps)


def _places(rows: list[list[Point]], steps: Sequence[tuple[Point, Point]]) -> dict[Point, float]:
    """Return where each point is across; rows are put in an order of few crossings on the way."""
    beside: dict[Point, list[Point]] = defaultdict(list)
    for start, end in steps:
        beside[start].append(end)
        beside[end].append(start)
    x = {point: float(k) for row in rows for k, point in enumerate(row)}
    first = {name: layer for layer in reversed(range(len(rows))) for name, _ in rows[layer]}
    width = lambda point: BOX if first[point[0]] == point[1] else LANE  # noqa: E731
    for _ in range(24):
        for row in [*rows, *rows[::-1]]:
            wanted = {point: sum(x[b] for b in beside[point]) / len(beside[point] or [0]) for point in row}
            row.sort(key=lambda point: wanted[point] if beside[point] else x[point])
            place, taken = 0.0, []
            for before, point in zip([None, *row], row, strict=False):
                gap = 0.0 if before is None else (width(before) + width(point)) / 2 + 0.12
                place = max(place + gap, wanted[point]) if taken else wanted[point]
                taken.append(place)
            shift = sum(wanted[point] - place for point, place in zip(row, taken, strict=True)) / max(len(row), 1)
            x |= {point: place + shift for point, place in zip(row, taken, strict=True)}
    return x


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], from_box: bool, to_box: bool, colour: str
) -> None:
    top, bottom = start[1] - (HEIGHT / 2 if from_box else 0), end[1] + (HEIGHT / 2 if to_box else 0)
    middle = (top + bottom) / 2
    curve = Path(
        [(start[0], top), (start[0], middle), (end[0], middle), (end[0], bottom)],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    _draw(ax, curve, colour, ends=to_box)


def _arrow_back(ax: Axes, start: tuple[float, float], end: tuple[float, float], lane: float, colour: str) -> None:
    """Draw what goes out at the side of a box, up along its lane, and into the side of another."""
    high, low = end[1] - 0.06, start[1] - 0.06
    points = [(start[0] + BOX / 2, low), (lane, low), (lane, high), (end[0] + BOX / 2, high)]
    _draw(ax, Path(points), colour, ends=True, linestyle=(0, (3, 2)))


def _draw(ax: Axes, path: Path, colour: str, ends: bool, **style: Any) -> None:
    head = "-|>,head_width=2.2,head_length=4" if ends else "-"
    ax.add_patch(FancyArrowPatch(path=path, arrowstyle=head, color=colour, lw=1.1, zorder=1, **style))


def _box(ax: Axes, centre: tuple[float, float], box: _Box, colour: str, size: float) -> None:
    faces = {"given": "#F2F2F2", "part": "white", "made": "#F2F2F2"}
    corner = centre[0] - BOX / 2 + 0.04, centre[1] - HEIGHT / 2 + 0.04
    ax.add_patch(
        FancyBboxPatch(
            corner,
            BOX - 0.08,
            HEIGHT - 0.08,
            boxstyle="round,pad=0.04",
            fc=faces[box.kind],
            ec=colour,
            lw=1.2,
            zorder=2,
        )
    )
    title, about = clean(box.title, 26), clean(box.about, 26)
    middle = {"ha": "center", "va": "center", "zorder": 3}
    ax.text(centre[0], centre[1] + 0.09, title, fontsize=8.5 * size, weight="bold", **middle)
    ax.text(centre[0], centre[1] - 0.09, about, fontsize=7 * size, color="#444444", **middle)
