"""What somebody wrote in a reply, apart from what their mail program quotes, signs and wraps it in.

Mail programs say "On Monday Anna wrote:" in any language. What all of them share is how it looks: a line that ends in a
colon, has a year or an address in it, and stands before what is quoted. So nothing here knows a language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import EmailMessage
from html.parser import HTMLParser

QUOTES = re.compile(r"\b(gmail_quote|yahoo_quoted|moz-cite-prefix|protonmail_quote|zmail_extra|WordSection0)\b")
"""Classes of elements in which mail programs quote."""
CUTS = {
    "divRplyFwdMsg",
    "appendonsend",
    "mail-editor-reference-message-container",
    "ms-outlook-mobile-reference-message",
}
"""Ids of elements behind which Outlook quotes."""
CUT = "\f"
"""Stands in text for the place from which on all is quoted."""
HIDDEN = {"head", "script", "style", "title", "template", "noscript", "svg"}
BLOCKS = {"p", "div", "li", "tr", "h1", "h2", "h3", "h4", "ul", "ol", "table", "blockquote", "pre", "section"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
SEPARATOR = re.compile(r"\f|\s*(_{5,}|-{5,}|-{2,} ?[^-]{3,60} ?-{2,})\s*")
"""A line that Outlook draws, or `-----Original Message-----`, in any language."""
HEADER = re.compile(r"\s*\*?[^\W\d_][\w .’'-]{0,24}\s?[:：]\*? ?\S?.*")
"""A line such as `From: Anna Meyer`, of which Outlook puts some above what it quotes."""


@dataclass(frozen=True)
class Reply:
    """A reply in two parts.

    Args:
        written: Its lines that are not quoted, up to a signature.
        quoted: The other lines, without the signs that say so; where somebody filled in a form, it is here.
    """

    written: list[str]
    quoted: list[str]


def read(message: EmailMessage, marker: str = "") -> Reply:
    """Part what was written from what is quoted.

    Args:
        message: The reply, of which the end may be missing.
        marker: A line of ours, from which on a text is quoted even if nothing else says so.
    """
    lines = [line.replace("\xa0", " ").rstrip() for line in _text(message).splitlines()]
    end = next((k for k in range(len(lines)) if _ends(lines, k, marker)), len(lines))
    written: list[str] = []
    quoted: list[str] = []
    for line in lines[:end]:
        if line.lstrip().startswith(">"):
            if not quoted:
                _drop_attribution(written, beside=bool(written and written[-1].strip()))
            quoted.append(line.lstrip("> "))
        else:
            written.append(line)
    if end < len(lines) and not quoted:
        _drop_attribution(written)
    if "--" in written:
        written = written[: written.index("--")]
    return Reply(written, quoted + [line.lstrip("> ") for line in lines[end:]])


def _ends(lines: list[str], k: int, marker: str) -> bool:
    """Say whether all is quoted from a line on."""
    line = lines[k]
    if line.startswith(">"):
        return False
    if (marker and marker in line) or SEPARATOR.fullmatch(line):
        return True
    return all(HEADER.fullmatch(each) for each in lines[k : k + 3]) and len(lines) > k + 3


def _drop_attribution(written: list[str], beside: bool = False) -> None:
    """Drop the lines at the end that say who wrote what comes now, of which there are three at most.

    A line right `beside` what is quoted says so in any case.
    """
    while written and not written[-1].strip():
        written.pop()
    if not written or not written[-1].rstrip().endswith((":", "：")):
        return
    for count in range(1, 4):
        if re.search(r"\d{4}|@", " ".join(written[-count:])):
            del written[-count:]
            return
    if beside:
        written.pop()


def _text(message: EmailMessage) -> str:
    """Return the plain text of a message, or that of its page if it has none."""
    parts = [part for part in message.walk() if not part.is_multipart() and not part.is_attachment()]
    texts = {kind: [part for part in parts if part.get_content_type() == kind] for kind in ("text/plain", "text/html")}
    plain = "\n".join(map(_decoded, texts["text/plain"]))
    return plain if plain.strip() else "\n".join(_Page.text(_decoded(part)) for part in texts["text/html"])


def _decoded(part: EmailMessage) -> str:
    """Return the text of a part in its own charset, or in the likeliest if that is none."""
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    for charset in (part.get_content_charset("utf-8"), "utf-8"):
        try:
            return content.decode(charset)
        except (LookupError, UnicodeError, ValueError):
            continue
    return content.decode("cp1252", "replace")


class _Page(HTMLParser):
    """Turns a page into lines, with > before those that are quoted."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[tuple[str, bool, bool]] = []
        self.line = ""

    @classmethod
    def text(cls, page: str) -> str:
        parser = cls()
        parser.feed(page)
        parser.close()
        parser.end_line()
        return "\n".join(parser.found)

    def end_line(self) -> None:
        """Begin a new line."""
        quoted = any(quoted for _, quoted, _ in self.open)
        self.found.append(("> " if quoted and self.line.strip() else "") + " ".join(self.line.split()))
        self.line = ""

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        about = dict(attrs)
        if tag in BLOCKS and self.line.strip():
            self.end_line()
        if tag == "br":
            self.end_line()
        if (about.get("id") or "").removeprefix("x_") in CUTS:
            self.found.append(CUT)
        if tag not in VOID and len(self.open) < 1000:
            quoted = tag == "blockquote" or bool(QUOTES.search(about.get("class") or ""))
            self.open.append((tag, quoted, tag in HIDDEN))

    def handle_endtag(self, tag: str) -> None:
        place = next((k for k in range(len(self.open) - 1, -1, -1) if self.open[k][0] == tag), None)
        if tag in BLOCKS:
            self.end_line()
        if place is not None:
            del self.open[place:]

    def handle_data(self, data: str) -> None:
        if not any(hidden for _, _, hidden in self.open):
            self.line += data
