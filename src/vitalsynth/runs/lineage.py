"""How runs hang together: which goes on from which, and whether they are one line in time.

A *line* of training has an `id`. It begins at step 0, or at a step of its parent. A merged run holds pieces of several
lines and goes on under the id of its last, so whatever branched off a piece still finds its parent in it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from .run import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """Steps start+1 to stop of one line, and the run that holds them.

    Args:
        id: Of the line.
        name: Of the run that the line was trained in.
        parent: Id of the line it goes on from; None if it begins at step 0.
        start: The step after which it begins.
        stop: Its last step with a checkpoint.
        record: The settings it was trained with.
        run: Where it lies.
    """

    id: str
    name: str
    parent: str | None
    start: int
    stop: int
    record: dict[str, Any]
    run: Run


class NotALine(ValueError):
    """Runs that cannot be joined in time.

    Args:
        reason: Why not.
        tree: How they hang together, drawn.
    """

    def __init__(self, reason: str, tree: str) -> None:
        super().__init__(reason)
        self.tree = tree


def pieces(run: Run) -> list[Piece]:
    """Return what a run consists of, oldest first: one piece, if it was not merged."""
    own = {key: value for key, value in run.record.items() if key != "pieces"}
    earlier = run.record.get("pieces", [])
    start = earlier[-1]["stop"] if earlier else run.start
    parts = [*earlier, {"name": run.name, "start": start, "stop": run.step, "record": own}]
    above = run.record["parent"]["id"] if run.record["parent"] else None
    found = []
    for part in parts:
        id = part["record"]["id"]
        found.append(Piece(id, part["name"], above, part["start"], part["stop"], part["record"], run))
        above = id
    return found


def related(one: Run, other: Run) -> bool:
    """Say whether two runs have a line in common, as far as they know themselves."""
    ours, theirs = ({id for piece in pieces(run) for id in (piece.id, piece.parent) if id} for run in (one, other))
    return bool(ours & theirs)


def line(runs: Sequence[Run]) -> list[Piece]:
    """Put runs in order of time: each goes on from the one before, which is cut where it does.

    Raises:
        NotALine: if they are siblings, strangers, copies that went different ways, or lack a stretch.
    """
    everything = [piece for run in runs for piece in pieces(run)]
    longest = _longest(everything)
    _check_copies(everything, longest)
    parents = {piece.parent for piece in longest.values()}
    tips = [id for id in longest if id not in parents]
    ordered = [longest[tips[0]]]
    while ordered[0].parent in longest:
        ordered.insert(0, longest[ordered[0].parent])
    if len(ordered) < len(longest):
        names = ", ".join(longest[tip].name for tip in tips)
        roots = [piece for piece in longest.values() if piece.parent not in longest]
        reason = f"{names} have no common parent among these" if len(roots) > 1 else f"{names} are siblings"
        raise NotALine(f"{reason}; only runs of which each goes on from the one before can be merged", tree(runs))
    for above, below in pairwise(ordered):
        if above.stop < below.start:
            gap = f"steps {above.stop + 1} to {below.start} of {above.name}, from which {below.name} goes on"
            raise NotALine(f"{gap}, are in none of these runs", tree(runs))
    for above, below in pairwise(ordered):
        if above.stop > below.start:
            cut = f"steps {below.start + 1} to {above.stop} of {above.name}"
            log.warning("%s are not in what is merged: %s goes on from step %d", cut, below.name, below.start)
    stops = [below.start for below in ordered[1:]] + [ordered[-1].stop]
    return [replace(piece, stop=stop) for piece, stop in zip(ordered, stops, strict=True)]


def _longest(everything: Sequence[Piece]) -> dict[str, Piece]:
    """Return the longest piece of each line."""
    longest: dict[str, Piece] = {}
    for piece in everything:
        if piece.id not in longest or longest[piece.id].stop < piece.stop:
            longest[piece.id] = piece
    return longest


def _check_copies(everything: Sequence[Piece], longest: dict[str, Piece]) -> None:
    """Refuse copies of a line that do not agree on the steps that both have."""
    for copy in everything:
        other = longest[copy.id]
        if other is copy:
            continue
        ours, theirs = (one.run.log_lines(copy.start, copy.stop) for one in (copy, other))
        for step, pair in enumerate(zip(ours, theirs, strict=True), copy.start + 1):
            if pair[0] != pair[1]:
                what = f"{copy.run.path} and {other.run.path} are copies of one run"
                raise NotALine(f"{what} that went different ways at step {step}", tree([copy.run, other.run]))


def tree(runs: Sequence[Run]) -> str:
    """Draw how runs hang together."""
    longest = _longest([piece for run in runs for piece in pieces(run)])
    roots = [piece for piece in longest.values() if piece.parent not in longest]
    return "\n".join(row for root in roots for row in _drawn(root, longest, "", ""))


def _drawn(piece: Piece, all_pieces: dict[str, Piece], first: str, later: str) -> Iterator[str]:
    since = f" from step {piece.start}" if piece.start else ""
    missing = " of a run that is not here," if piece.parent and piece.parent not in all_pieces else ""
    yield f"{first}{piece.name}:{missing}{since} to step {piece.stop} ({piece.run.path})"
    children = sorted((c for c in all_pieces.values() if c.parent == piece.id), key=lambda c: c.start)
    for child in children:
        last = child is children[-1]
        branch, below = ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield from _drawn(child, all_pieces, later + branch, later + below)
