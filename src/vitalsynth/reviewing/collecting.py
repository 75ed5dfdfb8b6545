"""Replies from our mailbox to votes. It can be done as often as one likes: the first answer stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from email.message import EmailMessage

from .. import mail
from ..mail import Received, Settings, replies
from .people import TOKEN, People
from .review import Ballot
from .writing import MARKER, answers, leaves, questions

BATCH = 64
"""Replies after which what was read is noted."""
COUNTED = ("replies", "votes", "late", "forged", "undelivered", "left", "silent", "unreadable", "others")


def collect(
    people: People, settings: Settings, folder: str = "INBOX", report: Callable[[], object] = lambda: None
) -> Counter[str]:
    """Read what has come since the last time; return how much came of it.

    Counted are `replies` that had answers, `votes` that are new, replies that were `late`, whose token was `forged`,
    that say a letter was `undelivered`, that `left`, that were `silent` (no answer to be found) or `unreadable`, and
    mail of `others`.

    Args:
        people: Whose replies.
        settings: Of the mailbox.
        folder: Of the mailbox.
        report: Called after each message.

    Raises:
        ValueError: if the server does not answer.
    """
    counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
    with mail.inbox(settings, folder) as inbox:
        before, name = people.read_up_to, f"{folder}/{inbox.validity}"
        ballots: list[Ballot] = []
        at = before.get(name, 0)
        for k, received in enumerate(inbox.after(at), 1):
            try:
                ballots += _read(people, received, counts)
            except Exception:  # whatever is wrong with one message, the others go on
                counts["unreadable"] += 1
            at = received.uid
            report()
            if k % BATCH == 0:
                counts["votes"] += people.review.cast(ballots)
                people.read_up_to, ballots = {**before, name: at}, []
        counts["votes"] += people.review.cast(ballots)
        people.read_up_to = {**before, name: at}
    return counts


def _read(people: People, received: Received, counts: Counter[str]) -> Iterator[Ballot]:
    """Yield the ballot of a message, if it is one."""
    message = received.message
    tokens = list(_tokens(people, message))
    if people.whose((TOKEN.search(str(message["Message-ID"] or "").lower()) or [""])[0]):  # a copy of ours
        return
    if not tokens:
        counts["others"] += 1
        return
    found = next((who for token in tokens if (who := people.whose(token))), None)
    if found is None:
        counts["forged"] += 1
    elif message.get_content_type() == "multipart/report":
        counts["undelivered"] += 1
    else:
        yield from _ballot(people, received, found, counts)


def _ballot(people: People, received: Received, found: tuple[int, int], counts: Counter[str]) -> Iterator[Ballot]:
    """Yield what a reply with a good token answers, and note if its writer wants no more mail."""
    reviewer, letter = found
    reply = replies.read(received.message, MARKER)
    given = answers(reply, questions(people, reviewer, letter))
    if leaves(reply) or str(received.message["Subject"] or "").lower().startswith("unsubscribe"):
        counts["left"] += 1
        people.leave(reviewer)
    elif people.review.closed(received.time):
        counts["late"] += 1
    elif given:
        counts["replies"] += 1
    else:
        counts["silent"] += 1
    if given:
        yield Ballot(reviewer, letter, given, "mail", received.time)


def _tokens(people: People, message: EmailMessage) -> Iterator[str]:
    """Yield tokens of this review, those in headers first, as mail programs keep one or the other."""
    seen: set[str] = set()
    for text in _texts(message):
        for found in TOKEN.finditer(text.lower()):
            if found[1] == people.review.id and found[0] not in seen:
                seen.add(found[0])
                yield found[0]


def _texts(message: EmailMessage) -> Iterator[str]:
    for name in ("In-Reply-To", "References", "Subject"):
        yield str(message[name] or "")
    reply = replies.read(message)
    yield "\n".join([*reply.written, *reply.quoted])
    for part in message.walk():  # a server that could not deliver sends the headers of what it could not
        if part.get_content_type() in ("message/rfc822", "text/rfc822-headers"):
            yield str(part)[:10_000]
