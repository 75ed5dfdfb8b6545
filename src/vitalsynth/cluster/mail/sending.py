"""One message, one session with the server."""

from __future__ import annotations

import base64
import platform
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path

from ...sequences import one_line
from .settings import Settings

TIMEOUT = 20.0
"""Seconds to wait for any answer of a server."""
TOO_LARGE = 552


class Undelivered(Exception):
    """Why a message was not taken.

    Args:
        why: In a line, without secrets.
        lasting: What it will be the next time, too: nothing (it may work then), this message, or all messages.
    """

    def __init__(self, why: str, lasting: str = "") -> None:
        super().__init__(why)
        self.lasting = lasting


def deliver(settings: Settings, message: EmailMessage, to: Sequence[str]) -> dict[str, Undelivered]:
    """Hand a message to the server; return the addresses that it did not take, and why.

    Raises:
        Undelivered: if it never came to addresses, or to the message.
    """
    try:
        with _session(settings) as server:
            refused = server.send_message(message, settings.sender, list(to))
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except smtplib.SMTPAuthenticationError as error:
        said = _said(settings, error.smtp_code, error.smtp_error)
        raise Undelivered(f"{settings} refuses the login: {said}", "" if _passing(error.smtp_code) else "all") from None
    except smtplib.SMTPResponseException as error:
        code = error.smtp_code
        of_message = isinstance(error, smtplib.SMTPDataError) or code == TOO_LARGE
        lasting = "" if _passing(code) else "message" if of_message else "all"
        raise Undelivered(f"{settings}: {_said(settings, code, error.smtp_error)}", lasting) from None
    except smtplib.SMTPNotSupportedError as error:
        raise Undelivered(f"{settings}: {one_line(error)}", "all") from None
    except ssl.SSLCertVerificationError as error:
        raise Undelivered(f"{settings}: its certificate is not trusted ({error.verify_message})", "all") from None
    except (OSError, smtplib.SMTPException) as error:
        raise Undelivered(f"{settings} does not answer: {one_line(error) or type(error).__name__}") from None
    return {
        each: Undelivered(f"{each}: {_said(settings, *answer)}", "" if _passing(answer[0]) else "all")
        for each, answer in refused.items()
    }


def _session(settings: Settings) -> smtplib.SMTP:
    """Connect, encrypt as asked, and log in."""
    trusted = ssl.create_default_context(cafile=str(Path(settings.ca).expanduser()) if settings.ca else None)
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
