"""`vitalsynth review collect`: answers that came by mail."""

from __future__ import annotations

import sys

from ..mail import Settings
from ..reviewing.collecting import COUNTED, collect
from ..reviewing.people import People
from ..reviewing.review import Review


def review_collect(review: str, *, folder: str = "INBOX", quiet: bool = False) -> dict[str, int]:
    """Read the answers to a review that came by mail since the last time; call it as often as you like.

    Mail is only looked at: nothing is moved, deleted or marked as read. The first answer of somebody to a question
    stands. Whoever replies 'unsubscribe' gets no more mail.

    Args:
        review: Its folder.
        folder: Of the mailbox, to which replies come.
        quiet: Print nothing.

    Returns:
        How many replies and new votes there were, and how many messages were late, forged, silent or of others.

    Raises:
        ValueError: if the addresses were erased, or the server does not answer.
    """
    counts = collect(People(Review(review)), Settings.read("imap"), folder)
    if not quiet:
        told = ", ".join(f"{counts[name]} {name}" for name in COUNTED if counts[name] or name in ("replies", "votes"))
        print(f"{review}: {told}", file=sys.stderr)
    return dict(counts)
