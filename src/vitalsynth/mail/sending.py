"""Messages to the server: one in a session of its own, or many in one, each for all of its addresses or for none."""

from __future__ import annotations

import base64
import platform
import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP

from ..sequences import one_line
from .settings import Settings

TIMEOUT = 20.0
"""Seconds to wait for any answer of a server."""
TOO_LARGE = 552


class Undelivered(Exception):
    """Why a message was not taken.

    Args:
        why: In a line, without secrets.
        lasting: What it will be the next time, too: nothing (it may work then), this message, or all messages.
        code: Of the server's answer; 0 if there was none.
        unsure: It may have been taken, as the server's last answer was lost.
    """

    def __init__(self, why: str, lasting: str = "", code: int = 0, unsure: bool = False) -> None:
        super().__init__(why)
        self.lasting, self.code, self.unsure = lasting, code, unsure


def deliver(settings: Settings, message: EmailMessage, to: Sequence[str]) -> dict[str, Undelivered]:
    """Hand a message to the server; return the addresses that it did not take, and why.

    Raises:
        Undelivered: if it never came to addresses, or to the message.
    """
    try:
        with _in_one_line(settings), _session(settings) as server:
            refused = server.send_message(message, settings.sender, list(to))
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    return {each: _refusal(settings, each, answer, "all") for each, answer in refused.items()}


def connect(settings: Settings) -> smtplib.SMTP:
    """Return a session for many messages.

    Raises:
        Undelivered: if there is none to be had.
    """
    with _in_one_line(settings):
        server = _session(settings)
        server.ehlo_or_helo_if_needed()
        return server


def hand_over(server: smtplib.SMTP, settings: Settings, message: EmailMessage, to: str, copy: str = "") -> None:
    """Hand a message to the server for an address and for that of a copy, or, if it does not take both, for none.

    Raises:
        Undelivered: if it was not taken; `unsure` if the server took leave before it said so.
    """
    content, asked = message.as_bytes(policy=SMTP), False
    try:
        with _in_one_line(settings):
            code, said = server.mail(settings.sender)
            if code != 250:
                raise smtplib.SMTPSenderRefused(code, said, settings.sender)
            for each, lasting in ((to, "message"), *([(copy, "all")] if copy else [])):
                code, said = server.rcpt(each)
                if code not in (250, 251):
                    raise _refusal(settings, each, (code, said), lasting)
            asked = True
            code, said = server.data(content)
            if code != 250:
                raise smtplib.SMTPDataError(code, said)
    except Undelivered as error:
        error.unsure = asked and not error.code
        raise


@contextmanager
def _in_one_line(settings: Settings) -> Iterator[None]:
    """Say in a line why a server did not take a message, unless it is the addresses.

    Raises:
        Undelivered: with what it will be the next time.
    """
    try:
        yield
    except smtplib.SMTPRecipientsRefused:
        raise
    except smtplib.SMTPAuthenticationError as error:
        said, lasting = _said(settings, error.smtp_code, error.smtp_error), "" if _passing(error.smtp_code) else "all"
        raise Undelivered(f"{settings} refuses the login: {said}", lasting, error.smtp_code) from None
    except smtplib.SMTPResponseException as error:
        code = error.smtp_code
        of_message = isinstance(error, smtplib.SMTPDataError) or code == TOO_LARGE
        lasting = "" if _passing(code) else "message" if of_message else "all"
        raise Undelivered(f"{settings}: {_said(settings, code, error.smtp_error)}", lasting, max(code, 0)) from None
    except smtplib.SMTPNotSupportedError as error:
        raise Undelivered(f"{settings}: {one_line(error)}", "all") from None
    except ssl.SSLCertVerificationError as error:
        raise Undelivered(f"{settings}: its certificate is not trusted ({error.verify_message})", "all") from None
    except (OSError, smtplib.SMTPException) as error:
        raise Undelivered(f"{settings} does not answer: {one_line(error) or type(error).__name__}") from None


def _refusal(settings: Settings, address: str, answer: tuple[int, bytes], lasting: str) -> Undelivered:
    return Undelivered(f"{address}: {_said(settings, *answer)}", "" if _passing(answer[0]) else lasting, answer[0])


def _session(settings: Settings) -> smtplib.SMTP:
    """Connect, encrypt as asked, and log in."""
    trusted = settings.trusted()
    about = {"timeout": TIMEOUT, "local_hostname": platform.node() or "localhost"}  # which would be looked up else
    if settings.security == "tls":
        server = smtplib.SMTP_SSL(settings.host, settings.port, context=trusted, **about)
    else:
        server = smtplib.SMTP(settings.host, settings.port, **about)
    try:
        if settings.security == "starttls":
            server.starttls(context=trusted)
        if settings.user:
            server.login(settings.user, settings.password)
    except BaseException:
        server.close()
        raise
    return server


def _passing(code: int) -> bool:
    """Say whether a code means that it may work later: a full or busy server (RFC 5321, 4.2.1)."""
    return 400 <= code < 500 or code == -1


def _said(settings: Settings, code: int, answer: bytes | str) -> str:
    """Return what a server said, without the password, should it repeat it."""
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    if settings.password:
        pair = f"\0{settings.user}\0{settings.password}".encode()
        secrets = (settings.password, *(base64.b64encode(s).decode() for s in (settings.password.encode(), pair)))
        for secret in secrets:
            text = text.replace(secret, "***")
    return f"{code} {one_line(text)}"
