"""`vitalsynth review send`: the letters of a review."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

from ..mail import Settings
from ..processes import StopFlag
from ..reviewing.people import People
from ..reviewing.posting import Journal, Post, Unsure
from ..reviewing.review import Review
from ..sequences import printable
from .progress import Progress
from .train import Stopped


def review_send(
    review: str,
    *,
    page: str = "",
    words_only: bool = False,
    per_minute: float = 30.0,
    no_copy: bool = False,
    unsure: Unsure = "",
    patience: float = 120.0,
    quiet: bool = False,
) -> Path:
    """Send the letters of a review, each exactly once, however often this is interrupted and called again.

    A copy of each letter goes to ourselves: whoever carries on after a crash looks there whether the last was taken.
    Who unsubscribed gets no more. docs/reviews.md says how the mail servers are set.

    Args:
        review: Its folder.
        page: Address at which reviewers can reach 'vitalsynth review serve', if they can: letters have a link.
        words_only: Letters have no pictures; they are on the page.
        per_minute: Most letters in a minute; 0 for as many as the server takes.
        no_copy: Send ourselves no copies, as there is no mailbox to look for them in.
        unsure: Without copies, what becomes of a letter of which nobody knows whether it was sent: again, or skip.
        patience: Seconds in which a copy has arrived, if the letter was taken.
        quiet: No progress bar.

    Returns:
        The folder of the review.

    Raises:
        ValueError: if the addresses were erased, or the server takes no mail.
        Stopped: if a signal asked to stop; the same command carries on.
    """
    if words_only and not page:
        raise ValueError("--words_only needs --page, where the pictures are")
    if page and not page.startswith(("http://", "https://")):
        raise ValueError(f"--page must begin with https:// or http://, got {page!r}")
    if per_minute < 0 or patience < 0:
        raise ValueError("--per_minute and --patience must be at least 0")
    opened = Review(review)
    people = People(opened)
    if opened.closed(time.time()):
        raise ValueError(f"{review} has ended; answers would come too late")
    inbox = None if no_copy else Settings.read("imap")
    say = lambda text: print(printable(text), file=sys.stderr)  # noqa: E731
    with StopFlag() as stop:
        stopped = lambda: stop.raised  # noqa: E731
        post = Post(people, Settings.read(), inbox, page, words_only, per_minute, unsure, patience, say, stopped)
        journal = Journal(people.path / "journal.jsonl")
        left = len(list(post.due(journal)))
        journal.close()
        with Progress(f"sending {review}", max(left, 1), quiet=quiet) as progress:
            done = post.send(progress.advance)
    journal = Journal(people.path / "journal.jsonl")
    counts = Counter(journal.state.values())
    journal.close()
    if not quiet:
        say(f"{review}: " + ", ".join(f"{count} {event}" for event, count in counts.items()))
    if not done:
        raise Stopped(f"stopped; carry on with: vitalsynth review send {review}")
    return opened.path
