"""`vitalsynth merge`: one run of those that go on from each other."""

from __future__ import annotations

import logging
import sys

from .. import runs
from ..runs import Run, merging
from ..runs.lineage import NotALine
from ..storage import refuse_existing
from .evaluate import evaluate

log = logging.getLogger(__name__)


def merge(
    run: str | list[str],
    *,
    out: str,
    average: bool = False,
    archive: str = "",
    quiet: bool = False,
    device: str = "auto",
) -> Run:
    """Join runs that go on from each other into one, as if training had never been interrupted.

    The log is that of each up to where the next goes on; checkpoints, scores and samples come along, and the newest
    weights and settings are current. The result can be continued, sampled, judged and reported like any run. Runs that
    branched from one parent are refused, with the tree drawn, unless --average asks for the mean of their weights.

    Args:
        run: Folders of runs, in any order; globs are expanded.
        out: Folder of the new run; it must not exist.
        average: Make the weight average of siblings instead, and judge it beside each of them.
        archive: Folder to move the originals to, once the new run is whole.
        quiet: No tables.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one. Only for --average, to judge.

    Returns:
        The new run.

    Raises:
        ValueError: if the runs are not one line, or something is at `out`; nothing is left behind.
    """
    found = runs.find(run)
    places = runs.destinations(f"{archive}/{{run}}", found) if archive else []
    for place in places:
        refuse_existing(place, "the originals cannot be moved there")
    try:
        merged = merging.average(found, out) if average else merging.merge(found, out)
    except NotALine as error:
        if not quiet:
            print(error.tree, file=sys.stderr)
        raise
    if average:
        if merged.record["data"]["held_out"]:
            evaluate([str(merged.path), *(str(each.path) for each in found)], device=device, quiet=quiet)
        else:
            log.warning("nobody was held out, so the average is not judged")
    if archive:
        merging.move(found, places)
    return merged
