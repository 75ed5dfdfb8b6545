"""Lists and near misses in what a user writes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known word was probably meant: the end of an error message."""
    known = list(known)
    if close := difflib.get_close_matches(word, known, n=1, cutoff=0.5):
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}" if known else "there are none"


def listed(text: str | list[str]) -> list[str]:
    """Read a comma-separated list."""
    parts = text.split(",") if isinstance(text, str) else text
    return [part.strip() for part in parts if part.strip()]


def printable(text: str) -> str:
    """Return a text as one line without control characters, for terminals and the headers of mail."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def one_line(error: object) -> str:
    """Return a message without line breaks; an operating system's error with its file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())
