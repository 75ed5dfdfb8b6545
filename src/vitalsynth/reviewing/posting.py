"""Letters to reviewers, one after the other: each exactly once, whenever whoever sends them is killed.

A letter is begun in the journal (synced), handed to the server, and noted as taken or refused (synced). Killed in
between, nobody knows whether the server took it; no protocol can say. But each letter also goes to ourselves, in the
same transaction, which the server takes for both addresses or for none. So our own mailbox knows: whoever sends next
looks there for the Message-ID, which is the letter's token, and sends the letter again only if it is not there.
"""

from __future__ import annotations

import json
import os
import smtplib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import mail
from ..mail import Settings, Undelivered
from ..processes import hold
from .people import People
from .writing import letter, message_id

Unsure = Literal["", "again", "skip"]
PAUSES = (5.0, 900.0)
"""Seconds after which a server that is full, busy or away is tried again: first, and at most; it grows threefold."""
PER_SESSION = 50
"""Letters in one session with a server; many take no more than a hundred."""
SPENT = ("taken", "refused")


class Journal:
    """What became of each letter: begun, taken, or refused.

    Args:
        path: Its file, which grows by a synced line a time.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("ab+")
        self.file.seek(0)
        content = self.file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self.file.truncate(len(whole))
        rows = map(json.loads, whole.splitlines())
        self.state: dict[tuple[int, int], str] = {(row["reviewer"], row["letter"]): row["event"] for row in rows}

    def note(self, which: tuple[int, int], event: str, **more: object) -> None:
        """Note what became of a letter; when this returns it is on disk."""
        row = {"reviewer": which[0], "letter": which[1], "event": event, "time": round(time.time(), 1), **more}
        self.file.write(json.dumps(row).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.state[which] = event

    def close(self) -> None:
        """Close its file."""
        self.file.close()


@dataclass
class Post:
    """How letters are sent.

    Args:
        people: To whom.
        settings: Of the server that takes mail.
        inbox: Of our own mailbox, in which replies and copies arrive; None if there is none.
        page: Address of a page where they can be answered, too.
        words_only: They have no pictures.
        per_minute: Most letters in a minute; 0 for as many as there are.
        unsure: What to do without a mailbox of our own about letters of which nobody knows whether they were sent.
        patience: Seconds in which a copy arrives, if it was taken.
        say: Told what goes wrong, in a line.
        stopped: Says whether it is time to stop.
    """

    people: People
    settings: Settings
    inbox: Settings | None
    page: str = ""
    words_only: bool = False
    per_minute: float = 0.0
    unsure: Unsure = ""
    patience: float = 120.0
    say: Callable[[str], object] = print
    stopped: Callable[[], bool] = lambda: False

    def send(self, report: Callable[[], object] = lambda: None) -> bool:
        """Send all that is to be sent, and report each; return whether all is.

        Raises:
            ValueError: if somebody else sends already, the server takes nothing, or nobody knows what became of a
                letter.
        """
        lock = hold(self.people.path / "lock")
        if lock is None:
            raise ValueError(f"another process sends the letters of {self.people.review.path} already")
        with lock:
            journal = Journal(self.people.path / "journal.jsonl")
            try:
                for which in [which for which, event in journal.state.items() if event == "begun"]:
                    self._settle(journal, which)
                return self._send(journal, report)
            finally:
                journal.close()

    def _send(self, journal: Journal, report: Callable[[], object]) -> bool:
        server: smtplib.SMTP | None = None
        waiting, later = deque(self.due(journal)), deque[tuple[int, int]]()
        sent, pause = 0, PAUSES[0]
        try:
            while (waiting or later) and not self.stopped():
                if not waiting:
                    self._wait(pause)
                    waiting, later, pause = later, waiting, min(3 * pause, PAUSES[1])
                    continue
                which, began = waiting.popleft(), time.monotonic()
                if which[0] in self.people.left:
                    continue
                try:
                    if server is None or sent % PER_SESSION == 0:
                        _leave(server)
                        server = mail.connect(self.settings)
                    self._hand_over(server, journal, which)
                except Undelivered as error:
                    server = _leave(server)
                    self._note(journal, which, error)
                    if journal.state.get(which) not in SPENT:
                        later.append(which)
                        if not error.code:  # the server is away, for everybody
                            waiting, later = deque(), later + waiting
                        continue
                sent, pause = sent + 1, PAUSES[0]
                report()
                if self.per_minute:
                    self._wait(60 / self.per_minute - (time.monotonic() - began))
        finally:
            _leave(server)
        return not waiting and not later

    def due(self, journal: Journal) -> Iterator[tuple[int, int]]:
        """Yield the letters that are still to be sent: the first to everybody, then the second."""
        review, gone = self.people.review, self.people.left
        most = max(map(review.letters, range(review.reviewers)), default=0)
        for number in range(most):
            for reviewer, address in enumerate(self.people.addresses):
                wanted = address is not None and reviewer not in gone and number < review.letters(reviewer)
                if wanted and journal.state.get((reviewer, number)) not in SPENT:
                    yield reviewer, number

    def _hand_over(self, server: smtplib.SMTP, journal: Journal, which: tuple[int, int]) -> None:
        """Give one letter to the server, and note it before and after."""
        to = self.people.addresses[which[0]]
        assert to is not None
        written = letter(self.people, *which, self.settings.sender, self.page, self.words_only)
        message = mail.compose(self.settings, [to], written, written.draw())
        copy = self.settings.sender if self.inbox and self.settings.sender != to else ""
        journal.note(which, "begun")
        mail.hand_over(server, self.settings, message, to, copy)
        journal.note(which, "taken")

    def _note(self, journal: Journal, which: tuple[int, int], error: Undelivered) -> None:
        """Note what became of a letter that was not taken, as far as is known.

        Raises:
            ValueError: if no letter will be taken.
        """
        self.say(str(error))
        if error.unsure:
            self._settle(journal, which)
        elif which in journal.state:
            journal.note(which, "refused" if error.lasting == "message" else "queued", code=error.code)
        if error.lasting == "all":
            raise ValueError(str(error))

    def _settle(self, journal: Journal, which: tuple[int, int]) -> None:
        """Find out whether a letter that was begun was taken.

        Raises:
            ValueError: if that cannot be known, and nobody says what to do.
        """
        if self.inbox is None:
            if not self.unsure:
                raise ValueError(
                    f"nobody knows whether the letter {which[1] + 1} to reviewer {which[0]} was sent, as there is no "
                    "mailbox of ours to look in; --unsure again sends it again, --unsure skip does not"
                )
            journal.note(which, "taken" if self.unsure == "skip" else "queued")
            return
        sought = message_id(self.people.token(*which), self.settings.sender)
        end = time.monotonic() + self.patience
        with mail.inbox(self.inbox) as inbox:
            while not (there := inbox.has(sought)) and time.monotonic() < end and not self.stopped():
                time.sleep(min(1.0, self.patience / 10))
        if there or not self.stopped():
            journal.note(which, "taken" if there else "queued")

    def _wait(self, seconds: float) -> None:
        """Wait, but not longer than until it is time to stop."""
        end = time.monotonic() + seconds
        while not self.stopped() and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))


def _leave(server: smtplib.SMTP | None) -> None:
    """End a session with a server, if there is one."""
    if server is not None:
        try:
            server.quit()
        except (OSError, smtplib.SMTPException):
            server.close()
