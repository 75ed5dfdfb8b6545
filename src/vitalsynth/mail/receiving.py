"""Mail that has come, by IMAP: looked at without a trace, and never more of a message than its beginning."""

from __future__ import annotations

import imaplib
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import TYPE_CHECKING

from ..sequences import one_line
from .settings import Settings

if TYPE_CHECKING:
    from imap_tools.mailbox import BaseMailBox

TIMEOUT = 60.0
"""Seconds to wait for any answer of a server."""
MOST = 2**18
"""Bytes of a message that are fetched; behind them come its pictures, and whatever else somebody sends."""
AT_ONCE = 16
"""Messages that are fetched at once."""
SENT = {"\\Sent", "\\All"}
"""What a server calls folders with copies of what was sent (RFC 6154)."""


@dataclass(frozen=True)
class Received:
    """A message that has come.

    Args:
        uid: Its number in the folder, which grows.
        size: Of all of it, in bytes.
        time: When the server got it, in seconds.
        message: Its beginning.
    """

    uid: int
    size: int
    time: float
    message: EmailMessage


class Inbox:
    """The folder to which answers come.

    Args:
        mailbox: Logged in.
        folder: Its name.
    """

    def __init__(self, mailbox: BaseMailBox, folder: str) -> None:
        self.mailbox, self.folder = mailbox, folder
        self.validity = int(mailbox.folder.status(folder, ["UIDVALIDITY"])["UIDVALIDITY"])
        """Numbers of messages hold as long as this does (RFC 3501, 2.3.1.1)."""
        mailbox.folder.set(folder, readonly=True)

    def after(self, uid: int) -> Iterator[Received]:
        """Yield what has come after a message, by number."""
        found = sorted(int(each) for each in self.mailbox.uids(f"UID {uid + 1}:*"))
        found = [each for each in found if each > uid]  # the last is always among them
        for first in range(0, len(found), AT_ONCE):
            yield from self._fetched(found[first : first + AT_ONCE])

    def _fetched(self, uids: list[int]) -> Iterator[Received]:
        asked = f"(UID RFC822.SIZE INTERNALDATE BODY.PEEK[]<0.{MOST}>)"
        status, answers = self.mailbox.client.uid("FETCH", ",".join(map(str, uids)), asked)
        if status != "OK":
            raise ValueError(f"the mail server does not fetch messages: {answers!r}")
        for answer, after in zip(answers, [*answers[1:], b""], strict=True):
            if not isinstance(answer, tuple):
                continue
            about = answer[0] + (after if isinstance(after, bytes) else b"")  # servers choose the order
            uid, size = (re.search(rb"%s (\d+)" % name, about) for name in (b"UID", b"RFC822.SIZE"))
            if uid and size:
                when = imaplib.Internaldate2tuple(about)
                came = time.mktime(when) if when else time.time()
                beginning = message_from_bytes(answer[1][:MOST], policy=policy.default)
                yield Received(int(uid[1]), int(size[1]), came, beginning)

    def has(self, message_id: str) -> bool:
        """Say whether there is a message of this id, here or in a folder of what was sent."""
        others = [each.name for each in self.mailbox.folder.list() if SENT & set(each.flags)]
        try:
            for folder in [self.folder, *others]:
                self.mailbox.folder.set(folder, readonly=True)
                if self.mailbox.uids(f'HEADER Message-ID "{message_id}"'):
                    return True
            return False
        finally:
            self.mailbox.folder.set(self.folder, readonly=True)


@contextmanager
def inbox(settings: Settings, folder: str = "INBOX") -> Iterator[Inbox]:
    """Log in, and give the folder.

    Raises:
        ValueError: if the server does not answer or refuses, in a line without secrets.
    """
    try:
        from imap_tools import MailBox, MailBoxStartTls, MailBoxUnencrypted
        from imap_tools.errors import ImapToolsError, MailboxLoginError
    except ModuleNotFoundError:
        raise ValueError("answers by mail need imap-tools: pip install 'vitalsynth[crowd]'") from None
    about = {"port": settings.port, "timeout": TIMEOUT}
    try:
        if settings.security == "plain":
            mailbox = MailBoxUnencrypted(settings.host, **about)
        else:
            kind = MailBox if settings.security == "tls" else MailBoxStartTls
            mailbox = kind(settings.host, ssl_context=settings.trusted(), **about)
        with mailbox.login(settings.user, settings.password, initial_folder=None):
            yield Inbox(mailbox, folder)
    except MailboxLoginError:
        raise ValueError(f"{settings} refuses the login") from None
    except ssl.SSLCertVerificationError as error:
        raise ValueError(f"{settings}: its certificate is not trusted ({error.verify_message})") from None
    except (OSError, imaplib.IMAP4.error, ImapToolsError) as error:
        if isinstance(error, OSError) and error.filename:  # not the server's
            raise
        said = one_line(error).replace(settings.password, "***") if settings.password else one_line(error)
        raise ValueError(f"{settings} does not answer as it should: {said or type(error).__name__}") from None
