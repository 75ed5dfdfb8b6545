"""`vitalsynth sync`: runs that come home, or go where they are trained."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from pathlib import Path

from ..cluster import sync as syncing
from ..cluster.sync import Folder
from ..storage import in_words
from .progress import Progress

log = logging.getLogger(__name__)

INTERVAL = 10.0
"""Seconds between two looks at runs that are followed."""
TRIES = 3
"""How often what changed while it was copied is copied again."""


class NotSynced(Exception):
    """Runs that were not copied, or not all of them."""


def sync(
    origin: str,
    target: str = "",
    *,
    check: bool = False,
    both: bool = False,
    follow: bool = False,
    interval: float = INTERVAL,
    quiet: bool = False,
) -> list[Path]:
    """Copy runs from one place to another: only what changed, compared by checksum, and a valid run at every moment.

    A place is a folder, user@host:path or ssh://host:port/path, or remote:path of any remote that 'rclone config' made
    (Google Drive, S3, WebDAV, ...). One of the two is a folder here. Both are one run, or both are folders of runs.
    Nothing is removed, and nothing newer is replaced: where a run was trained on differently in both places, a line
    says so and it is left alone. An interrupted copy is carried on by the same command.

    Args:
        origin: Where the runs are: a run, or a folder with runs in it, however deep.
        target: Where they shall be, under the same names.
        check: Copy nothing: write a small file to each place, read and delete it, and say in a line what is wrong, or
            how long that took. One place will do.
        both: Copy what is newer at the target, too, the other way.
        follow: Go on until no run at the origin is being trained; for a remote of rclone, until Ctrl-C.
        interval: Seconds between two looks.
        quiet: No progress bar.

    Returns:
        The folders of the runs here.

    Raises:
        ValueError: if a place cannot be reached or holds no run, or what is needed is not installed.
    """
    if check:
        for place in filter(None, (origin, target)):
            print(syncing.check(place))
        return []
    if not target:
        raise ValueError(f"where to? vitalsynth sync {origin} TO, or --check to see whether {origin} can be used")
    places = syncing.open_place(origin), syncing.open_place(target)
    here = [place for place in places if isinstance(place, Folder) and place.here]
    if not here:
        raise ValueError(f"{origin} and {target}: one of the two must be a folder here")
    if interval <= 0:
        raise ValueError(f"--interval must be above 0, got {interval}")
    if len(here) == 2:
        _refuse_nested(*(Path(place.path).resolve() for place in here))
    ways = [places, places[::-1]] if both else [places]
    left, running = _pass(ways, both, quiet)
    with suppress(KeyboardInterrupt):
        while follow and (running or not isinstance(places[0], Folder)):
            time.sleep(interval)
            try:
                left, running = _pass(ways, both, quiet)
            except syncing.Unreachable as error:
                log.warning("%s; next look in %g s", error, interval)
    if left:
        raise NotSynced(left)
    return [Path(here[-1].path, run) for run in sorted(here[-1].known)]


def _pass(ways: list[tuple[syncing.Place, syncing.Place]], both: bool, quiet: bool) -> tuple[str, bool]:
    """Look once, and copy what changed; return what was left, and whether anything is being trained."""
    left, training = [], False
    for attempt, way in enumerate(ways):
        said, running = _one_way(*way, both, quiet)
        left += [said] if said else []
        training = training or (running and attempt == 0)
    return "; ".join(dict.fromkeys(left)), training


def _one_way(source: syncing.Place, target: syncing.Place, both: bool, quiet: bool) -> tuple[str, bool]:
    copies, refused, running, changed, files, size = [], 0, False, "", 0, 0
    for _ in range(TRIES):
        copies, refused, running = syncing.plan(source, target, both)
        waiting = [copy for copy in copies if copy.files]
        total, changed = sum(copy.size for copy in waiting), ""
        with Progress(f"to {target}", max(total, 1), quiet=quiet or not waiting, in_bytes=True) as bar:
            for copy in waiting:
                try:
                    changed = syncing.carry(copy, bar.advance) or changed
                except syncing.Unreachable:
                    raise
                except ValueError as error:  # in use, or damaged; the others can be copied
                    log.warning("%s", error)
                    refused += 1
        files, size = files + sum(len(copy.files) for copy in waiting), size + total
        if not changed:
            break
    if copies and not quiet:
        new = f"{files} files, {in_words(size)}, compared by {copies[0].kind}" if files else "nothing new"
        print(f"to {target}: {new}, of {len(copies)} runs", file=sys.stderr)
    left = [f"left alone, as said above: {refused} of the runs"] if refused else []
    left += [f"{changed}; sync again"] if changed else []
    return "; ".join(left), running


def _refuse_nested(one: Path, other: Path) -> None:
    if one == other or one in other.parents or other in one.parents:
        raise ValueError(f"{one} and {other} are one folder, or one lies in the other")
