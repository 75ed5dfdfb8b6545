"""`vitalsynth sweep work`: one more worker of a sweep."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from ..sweeping import results, working
from ..sweeping.sweep import Sweep
from . import settings
from .progress import Progress
from .train import Stopped


def sweep_work(sweep: str, *, at_most: int = 1, leave: bool = False, again: bool = False, quiet: bool = False) -> Path:
    """Work on the trials of a sweep until all are finished, beside any number of others that do the same.

    Trials that somebody began and left, because they were stopped, killed or switched off, are carried on as if nothing
    had happened. Ctrl-C saves and stops. A sweep's folder holds a command that is run: work on sweeps of people you
    trust.

    Args:
        sweep: Its folder.
        at_most: How many trials run at once here.
        leave: End when there is no trial to be taken, rather than wait for those that others may not finish.
        again: First put trials that failed back into the queue, under new numbers.
        quiet: No progress bar.

    Returns:
        The folder.

    Raises:
        ValueError: if there is no such sweep, or its database does not answer.
        Stopped: if a signal asked to stop; the same command carries on.
    """
    settings.check_at_least_one(at_most=at_most)
    opened = Sweep(sweep)
    if again:
        opened.again()
    with Progress(f"sweeping {sweep}", opened.total, opened.finished, quiet) as progress:

        def report() -> None:
            if new := opened.finished - progress.at:
                progress.advance(new)

        done = working.work(opened, at_most, leave, report)
    if not done:
        raise Stopped(f"stopped; carry on with: vitalsynth sweep work {sweep}")
    if not quiet:
        _tell(opened)
    return Path(sweep)


def _tell(sweep: Sweep) -> None:
    """Say how many trials ended how, and why one failed."""
    trials = results.each(sweep).drop_duplicates("trial")
    counts = ", ".join(f"{count} {state}" for state, count in Counter(trials["state"]).items())
    failed = trials.loc[trials["state"] == "failed"].to_dict("records")
    why = f"; {failed[0]['trial']:04}: {failed[0]['why']}" if failed else ""
    print(f"{sweep.path}: {counts}{why}", file=sys.stderr)
    if sweep.by_people and sweep.unjudged():
        print(f"people come next: vitalsynth review create {sweep.path} --to people.csv", file=sys.stderr)
