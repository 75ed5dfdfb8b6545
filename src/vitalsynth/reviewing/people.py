"""Who the reviewers are: addresses, the secret that signs letters, and what was sent. It lies apart, and can be erased.

people.json     addresses by number, and the secret
journal.jsonl   which letter was begun, taken or refused (`posting`)
left.jsonl      who wants no more mail
inbox.json      up to which message replies were read
lock            held by whoever sends

All of it is below ~/.local/share/vitalsynth/reviews (or XDG_DATA_HOME, or VITALSYNTH_PRIVATE), for its owner alone.

A letter's token is `review-reviewer-letter-mac` with the HMAC-SHA256 (RFC 2104), of which 128 bits are kept, over the
review, the reviewer, the letter, and the items in it: whoever has it can answer these items for this reviewer, and
nothing else.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import mail
from ..runs import append, rows
from ..storage import atomic_path
from .review import Review

TOKEN = re.compile(r"\b([0-9a-f]{12})-(\d{1,6})-(\d{1,3})-([a-z2-7]{26})\b")


def folder(review: Review) -> Path:
    """Return where people of a review are."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    root = os.environ.get("VITALSYNTH_PRIVATE") or f"{data}/vitalsynth/reviews"
    return Path(root).expanduser() / review.id


class People:
    """The reviewers of a review.

    Args:
        review: Which.

    Raises:
        ValueError: if they were erased, lie elsewhere, or others can read them.
    """

    def __init__(self, review: Review) -> None:
        self.review, self.path = review, folder(review)
        try:
            about = self.path.stat()
            self._record: dict[str, Any] = json.loads((self.path / "people.json").read_bytes())
        except FileNotFoundError:
            raise ValueError(
                f"the addresses of {review.path} were erased, or lie on another machine ({self.path} is not there)"
            ) from None
        if about.st_mode & 0o077:
            raise ValueError(f"{self.path} can be read by others: chmod 700 {self.path}")

    @classmethod
    def create(cls, review: Review, addresses: list[str]) -> People:
        """Keep the addresses of the reviewers, for us alone."""
        path = folder(review)
        path.mkdir(mode=0o700, parents=True)
        _write(
            path / "people.json",
            {"review": str(review.path.absolute()), "secret": secrets.token_hex(32), "people": addresses},
        )
        return cls(review)

    @property
    def addresses(self) -> list[str | None]:
        """By number; None for those that were erased."""
        return self._record["people"]

    @cached_property
    def _secret(self) -> bytes:
        return bytes.fromhex(self._record["secret"])

    def token(self, reviewer: int, letter: int) -> str:
        """Return what says that an answer is of this reviewer to this letter."""
        items = ",".join(map(str, self.review.letter(reviewer, letter)))
        about = f"{self.review.id}/{reviewer}/{letter}/{items}"
        digest = hmac.digest(self._secret, about.encode(), hashlib.sha256)[:16]
        mac = base64.b32encode(digest).decode().rstrip("=").lower()
        return f"{self.review.id}-{reviewer}-{letter}-{mac}"

    def whose(self, token: str) -> tuple[int, int] | None:
        """Return the reviewer and letter of a token; None if we did not make it."""
        found = TOKEN.fullmatch(token)
        if found is None or found[1] != self.review.id:
            return None
        reviewer, letter = int(found[2]), int(found[3])
        try:
            right = self.token(reviewer, letter)
        except IndexError:
            return None
        return (reviewer, letter) if hmac.compare_digest(right, token) else None

    @property
    def left(self) -> set[int]:
        """Who wants no more mail."""
        return {row["reviewer"] for row in rows(self.path / "left.jsonl")}

    def leave(self, reviewer: int) -> None:
        """Note that somebody wants no more mail."""
        append(self.path / "left.jsonl", [{"reviewer": reviewer}])

    def forget(self, address: str = "") -> None:
        """Erase one address, or all of this: then no token is of use any more.

        Raises:
            ValueError: if there is no such address.
        """
        if not address:
            shutil.rmtree(self.path)
            return
        if address not in self.addresses:
            raise ValueError(f"{address} is no reviewer of {self.review.path}, or was erased already")
        left = [None if each == address else each for each in self.addresses]
        _write(self.path / "people.json", {**self._record, "people": left})
        self._record["people"] = left

    @property
    def read_up_to(self) -> dict[str, int]:
        """Up to which message of each folder, by its validity, replies were read."""
        place = self.path / "inbox.json"
        return json.loads(place.read_bytes()) if place.exists() else {}

    @read_up_to.setter
    def read_up_to(self, found: dict[str, int]) -> None:
        _write(self.path / "inbox.json", found)


def read(path: str) -> list[str]:
    """Read addresses: a column `address` or `email` of a CSV file, or its first.

    Raises:
        ValueError: if it has none, or one that is none, or one twice.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        table = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    heads = [cell.strip().lower() for cell in table[0]] if table else []
    column = next((heads.index(name) for name in ("address", "email", "mail", "e-mail") if name in heads), None)
    cells = [row[column or 0].strip() if len(row) > (column or 0) else "" for row in table[column is not None :]]
    if not cells:
        raise ValueError(f"{path} has no addresses; it takes one a line, or a column 'address'")
    for k, cell in enumerate(cells, 1):
        if not cell.isascii() or len(mail.addresses(cell)) != 1:
            raise ValueError(f"{path}: {cell!r} is no address that mail servers take")
        if cell.lower() in [each.lower() for each in cells[: k - 1]]:
            raise ValueError(f"{path}: {cell} stands there twice")
    return cells


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content), "utf-8")
