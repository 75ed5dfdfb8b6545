"""Letters that wait until the server takes them, while whoever wrote them goes on."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from email import policy
from email.message import EmailMessage
from pathlib import Path

from ..sequences import one_line
from .letters import Letter, compose
from .sending import Undelivered, deliver
from .settings import Settings

PAUSES = (5.0, 900.0)
"""Seconds after which a server that is full, busy or away is tried again: first, and at most; it grows threefold."""
PATIENCE = 120.0
"""Seconds that letters have left when the outbox is closed; pictures are drawn in the first half of them."""


@dataclass
class _Parcel:
    letter: Letter
    to: Sequence[str]
    message: EmailMessage | None = None
    pictures: int = 0


class Outbox:
    """Sends letters one after the other from a thread of its own; leaving it waits, but not for ever.

    A server that is full, busy or away is tried again, with growing pauses. What is refused for good (the login, an
    address) is said once. What could not be sent at the end is kept in files that mail programs open.

    Args:
        settings: Of the server.
        to: Addresses.
        say: Called with what went wrong, in a line; from the thread.
    """

    def __init__(self, settings: Settings, to: Sequence[str], say: Callable[[str], None]) -> None:
        self.settings, self.to, self.say = settings, list(to), say
        self._waiting: deque[_Parcel] = deque()
        self._news, self._closed, self._closed_at = threading.Condition(), threading.Event(), 0.0
        self._said: set[str] = set()
        self._hopeless = False
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)

    def __enter__(self) -> Outbox:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed_at = time.monotonic()
        self._closed.set()
        with self._news:
            self._news.notify()
        try:
            self._thread.join(PATIENCE)
        finally:  # also if somebody has no patience
            self._hopeless = True  # what is kept below is not sent by a thread that is late
            for parcel in list(self._waiting):
                self._keep(parcel)

    def put(self, letter: Letter) -> None:
        """Send a letter when it is its turn."""
        with self._news:
            self._waiting.append(_Parcel(letter, list(self.to)))
            self._news.notify()

    def _work(self) -> None:
        pause = PAUSES[0]
        while not self._hopeless and (parcel := self._next()) is not None:
            if self._sent(parcel):
                self._waiting.popleft()
                pause = PAUSES[0]
            elif not self._hopeless:
                if self._closed.wait(pause):
                    time.sleep(PAUSES[0])
                pause = min(3 * pause, PAUSES[1])

    def _next(self) -> _Parcel | None:
        """Wait for a letter; None when there is none to come, or no time."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closed.is_set())
        return self._waiting[0] if self._waiting and not self._late(1.0) else None

    def _late(self, share: float) -> bool:
        """Say whether so much of the time has passed that there is after closing."""
        return self._closed.is_set() and time.monotonic() - self._closed_at > share * PATIENCE

    def _sent(self, parcel: _Parcel) -> bool:
        """Try to send a letter; return whether there is nothing more to be done."""
        parcel.to = [each for each in parcel.to if each in self.to]
        try:
            refused = deliver(self.settings, self._message(parcel), parcel.to)
        except Undelivered as error:
            if self._hopeless:
                return False
            self._say_once(str(error))
            if error.lasting == "message" and parcel.pictures:  # it may be too large
                parcel.letter, parcel.message = replace(parcel.letter, draw=tuple), None
                return self._sent(parcel)
            self._hopeless = error.lasting == "all"
            return error.lasting == "message" and self._keep(parcel)
        except Exception as error:  # whatever is wrong with one letter, the others go on
            self._say_once(f"a mail could not be made: {type(error).__name__}: {one_line(error)}")
            return True
        for why in refused.values():
            self._say_once(str(why))
        wrong = {each for each, why in refused.items() if why.lasting}
        self.to = [each for each in self.to if each not in wrong]
        self._hopeless = not self.to
        parcel.to = [each for each in refused if each not in wrong]
        return not parcel.to and not self._hopeless

    def _message(self, parcel: _Parcel) -> EmailMessage:
        if parcel.message is None:
            pictures = () if self._late(0.5) else parcel.letter.draw()
            parcel.message = compose(self.settings, parcel.to, parcel.letter, pictures)
            parcel.pictures = len(pictures)
        return parcel.message

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.say(f"mail: {text}")

    def _keep(self, parcel: _Parcel) -> bool:
        """Keep a letter in a file that nobody else can read."""
        state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
        place = state / "vitalsynth" / "unsent" / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}.eml"
        message = parcel.message or compose(self.settings, parcel.to, parcel.letter, ())
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(message.as_bytes(policy=policy.SMTP))
            self._say_once(f"what could not be sent is kept in {place.parent}")
        except OSError as error:
            self._say_once(f"what could not be sent could not be kept either: {one_line(error)}")
        return True
