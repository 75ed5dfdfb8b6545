"""`vitalsynth watch`: a watchman for runs, who writes mails."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import mail as mailing
from .. import runs
from ..cluster.watching.amounts import DURATIONS, SIZES, Amount, amount
from ..processes import StopFlag
from ..sequences import printable

if TYPE_CHECKING:
    from ..cluster.watching.watchman import Watched


def watch(
    run: Sequence[str] = (),
    *,
    memory: str = "",
    gpu_memory: str = "",
    stalled: str = "",
    disk: str = "",
    grace: str = "60s",
    only_tell: bool = False,
    mail: str | list[str] = "",
    digest: str = "",
    words_only: bool = False,
    try_mail: bool = False,
    go_on: bool = False,
    every: str = "10s",
) -> list[dict[str, Any]]:
    """Watch runs until they have ended: tell how they fare, also by mail, and stop what goes beyond its limits.

    A run that goes beyond a limit is asked to save and stop, and killed if it has not after a while. Only processes are
    touched that can be proven to train it: on this machine, of this user, begun before it and with its files open.

    Args:
        run: Folders of runs; globs in quotes take up those that come later.
        memory: What the processes of one run may hold, such as 8GiB; or how much of all memory (of the machine, or of
            the control group that a run is in) may be in use, such as 90%, beyond which the largest run is stopped.
        gpu_memory: The same of GPUs, as nvidia-smi tells.
        stalled: For how long a run's log may not grow, such as 30m; it is written in every 16 steps.
        disk: What must be free where a run lies, such as 5% or 2GiB.
        grace: How long a run has to save and stop before it is killed.
        only_tell: Touch no process; only tell.
        mail: Addresses to write to on start, end, failure and limits, comma separated. docs/watchman.md says how the
            server is set.
        digest: Write at most one mail in this time, such as 1h, with a table of all runs; a failure waits no longer.
        words_only: Mails have no pictures.
        try_mail: Only send a mail, to see whether that works.
        go_on: Go on when all have ended, and when there is none yet.
        every: How often to look.

    Returns:
        A row a run: its path, state and steps.

    Raises:
        ValueError: if there is no such run, or something asked for is wrong.
    """
    from ..cluster.watching.telling import Teller
    from ..cluster.watching.watchman import Limits, Watchman

    to = mailing.addresses(mail)
    if (try_mail or digest) and not to:
        raise ValueError(f"--{'try_mail' if try_mail else 'digest'} needs --mail you@hospital.org")
    sizes = {"memory": memory, "gpu_memory": gpu_memory, "disk": disk}
    given: dict[str, Amount] = {name: amount(name, text, SIZES) for name, text in sizes.items() if text}
    times = {"stalled": stalled, "grace": grace, "digest": digest, "every": every}
    given |= {name: amount(name, text, DURATIONS) for name, text in times.items() if text or name in ("grace", "every")}
    settings = mailing.Settings.read() if to else None
    if try_mail and settings:
        _try(settings, to)
        return []
    if not run:
        raise ValueError("needs RUN; 'vitalsynth watch --help' tells more")
    if not go_on:
        runs.find(run)
    limits = Limits(**{name: given[name] for name in (*sizes, "stalled") if name in given})
    watchman = Watchman(run, limits, given["grace"].value, only_tell, _say)
    with ExitStack() as stack:
        teller = None
        if settings:
            outbox = stack.enter_context(mailing.Outbox(settings, to, _say))
            teller = Teller(outbox.put, given["digest"].value if digest else 0.0, not words_only)
        with StopFlag() as stop:
            while not stop.raised:
                for event in watchman.look():
                    _say(f"{event.run.path} {event.what}")
                    if teller:
                        teller.take(event)
                if teller:
                    teller.tell(watchman.watched.values())
                if not (watchman.training or go_on):
                    break
                _pause(given["every"].value, stop)
        if teller:
            teller.tell(watchman.watched.values(), last=True)
        if stop.raised:
            _say("watching ends; runs go on")
    return [_row(path, each) for path, each in watchman.watched.items()]


def _try(settings: mailing.Settings, to: list[str]) -> None:
    """Send a mail, and say that it was taken.

    Raises:
        ValueError: if it was not, or not for all.
    """
    text = "Mail from vitalsynth arrives here."
    letter = mailing.Letter("vitalsynth: mail works", text, lambda pictures: f"<p>{text}</p>")
    try:
        refused = mailing.deliver(settings, mailing.compose(settings, to, letter, ()), to)
    except mailing.Undelivered as error:
        raise ValueError(str(error)) from None
    if refused:
        raise ValueError("; ".join(map(str, refused.values())))
    print(f"taken by {settings} for {', '.join(to)}")


def _pause(seconds: float, stop: StopFlag) -> None:
    """Wait, but not longer than until a signal."""
    end = time.monotonic() + seconds
    while not stop.raised and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {printable(text)}", file=sys.stderr, flush=True)


def _row(path: Path, each: Watched) -> dict[str, Any]:
    standing = each.standing
    plain = {"state": standing.state, "step": standing.step, "target": standing.target, "saved": standing.saved}
    return {"path": str(path), **plain}
