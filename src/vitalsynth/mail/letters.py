"""A letter: text, the same as a page, and pictures within the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime, make_msgid

from ..sequences import listed, printable
from .settings import Settings


@dataclass(frozen=True)
class Picture:
    """A picture in a page, which shows it as `<img src="cid:{name}">`.

    Args:
        name: Which no other picture of the page has; letters, digits and hyphens.
        png: Its content.
        alt: What it shows.
    """

    name: str
    png: bytes
    alt: str


@dataclass(frozen=True)
class Letter:
    """What is to be sent; its pictures are drawn when it is its turn.

    Args:
        subject: In one line.
        text: For those who read no pages.
        page: Returns the HTML with the pictures that could be drawn.
        draw: Returns the pictures.
        headers: That it has besides, or instead of those that every letter has.
    """

    subject: str
    text: str
    page: Callable[[Sequence[Picture]], str]
    draw: Callable[[], Sequence[Picture]] = tuple
    headers: Mapping[str, str] = field(default_factory=dict)


def addresses(text: str | list[str]) -> list[str]:
    """Read addresses, comma separated, each once.

    Raises:
        ValueError: if one is none.
    """
    found = list(dict.fromkeys(listed(text)))
    for each in found:
        try:
            parts = Address(addr_spec=each)
        except (ValueError, IndexError, MessageError):
            parts = None
        if parts is None or not parts.username or not parts.domain:
            raise ValueError(f"{each!r} is no address; --mail takes you@hospital.org,...")
    return found


def compose(settings: Settings, to: Sequence[str], letter: Letter, pictures: Sequence[Picture]) -> EmailMessage:
    """Return a letter as a message, in which no text can become a header."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = settings.sender, ", ".join(to), printable(letter.subject)
    message["Date"] = localtime()
    message["Message-ID"] = make_msgid(domain=settings.sender.rpartition("@")[2] or "localhost")
    message["Auto-Submitted"] = "auto-generated"
    for name, value in letter.headers.items():
        del message[name]
        message[name] = value
    message.set_content(_encodable(letter.text))
    message.add_alternative(_encodable(letter.page(pictures)), subtype="html")
    _, page = message.iter_parts()
    assert isinstance(page, EmailMessage)
    for picture in pictures:
        page.add_related(
            picture.png, "image", "png", cid=f"<{picture.name}>", filename=f"{picture.name}.png", disposition="inline"
        )
    return message


def _encodable(text: str) -> str:
    """Return a text in which bytes of file names that are no UTF-8 are question marks."""
    return text.encode("utf-8", "replace").decode()
