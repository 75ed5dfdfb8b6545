"""A review on disk: what is asked of whom, and the answers.

review.json     written once: contestants, items (which pictures, and whose they are), the letters of each reviewer
pictures/       what is shown, under names that say nothing
votes.jsonl     a row an answer: the reviewer by number, the item, the answer; it only grows

The first answer of a reviewer to an item stands. So nothing that comes twice counts twice, whoever sends it again.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ..processes import hold
from ..sequences import printable
from ..storage import atomic_folder, read_record, write

FORMAT = 1
REAL, SPOILT = "real", "spoilt"
"""Keys of those who are no model: held-out sequences, and the same spoilt so that everybody should see it."""
Kind = Literal["pair", "single", "rating", "comment"]
ANSWERS: dict[Kind, tuple[str, ...]] = {
    "pair": ("A", "B"),
    "single": ("real", "generated"),
    "rating": ("1", "2", "3", "4", "5"),
    "comment": (),
}
LONGEST = 2000
"""Letters of a comment that are kept."""


@dataclass(frozen=True)
class Item:
    """A question about pictures.

    Args:
        kind: What is asked: which of two looks more real, whether one is real, how real one looks, or for a comment.
        pictures: File names: of A and B, of one, or none.
        whose: Keys of the contestants that they are of.
        planted: The answer of everybody who looks; empty if there is none.
    """

    kind: Kind
    pictures: tuple[str, ...] = ()
    whose: tuple[str, ...] = ()
    planted: str = ""


@dataclass(frozen=True)
class Ballot:
    """Answers of a reviewer to items, by number.

    Args:
        reviewer: By number.
        letter: In which they were asked.
        answers: By item.
        by: How they came: mail or page.
        time: When, in seconds.
    """

    reviewer: int
    letter: int
    answers: Mapping[int, str]
    by: str
    time: float


class Review:
    """A review on disk.

    Args:
        path: Its folder.

    Raises:
        ValueError: if there is none, or it is of a format that this version does not know.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.record = read_record(self.path, "review", FORMAT)
        self._votes: list[dict[str, Any]] = []
        self._given: set[tuple[int, int]] = set()
        self._read = 0

    @classmethod
    def create(
        cls,
        path: Path,
        items: Sequence[Item],
        letters: Sequence[Sequence[Sequence[int]]],
        pictures: Mapping[str, bytes],
        **record: Any,
    ) -> Review:
        """Make a review, whole or not at all.

        Args:
            path: Its folder.
            items: What is asked.
            letters: Of each reviewer, and of each of the letters to them, the numbers of items.
            pictures: PNG by file name.
            **record: More to be kept in review.json.

        Raises:
            ValueError: if something is there already.
        """
        about = {"format": FORMAT, "id": secrets.token_hex(6), "created": round(time.time()), **record}
        with atomic_folder(path) as folder:
            content = {**about, "items": list(map(asdict, items)), "letters": letters}
            write(folder / "review.json", json.dumps(content).encode())
            write(folder / "votes.jsonl", b"")
            (folder / "pictures").mkdir()
            for name, png in pictures.items():
                write(folder / "pictures" / name, png)
        return cls(path)

    @property
    def id(self) -> str:
        return self.record["id"]

    @cached_property
    def items(self) -> list[Item]:
        return [
            Item(each["kind"], tuple(each["pictures"]), tuple(each["whose"]), each["planted"])
            for each in self.record["items"]
        ]

    @property
    def reviewers(self) -> int:
        return len(self.record["letters"])

    def letters(self, reviewer: int) -> int:
        """Return how many letters a reviewer is sent."""
        return len(self.record["letters"][reviewer])

    def letter(self, reviewer: int, letter: int) -> list[int]:
        """Return the numbers of the items of a letter, in its order.

        Raises:
            IndexError: if there is no such letter.
        """
        return self.record["letters"][reviewer][letter]

    def picture(self, name: str) -> bytes:
        """Return a picture, as PNG."""
        return (self.path / "pictures" / name).read_bytes()

    def closed(self, when: float) -> bool:
        """Say whether it is too late for answers."""
        return when > self.record["until"]

    def votes(self) -> list[dict[str, Any]]:
        """Return all answers, oldest first: `reviewer`, `item`, `answer`, `by`, `time`."""
        with hold(self.path / "votes.jsonl", wait=True) as file:  # type: ignore[union-attr]
            self._catch_up(file)
        return self._votes

    def cast(self, ballots: Iterable[Ballot]) -> int:
        """Note answers that are answers, came in time, and are the first; return how many.

        When this returns they are on disk.
        """
        with hold(self.path / "votes.jsonl", wait=True) as file:  # type: ignore[union-attr]
            self._catch_up(file)
            new = [row for ballot in ballots if not self.closed(ballot.time) for row in self._rows(ballot)]
            if new:
                file.write("".join(json.dumps(row) + "\n" for row in new).encode())
                file.flush()
                os.fsync(file.fileno())
                self._catch_up(file)
        return len(new)

    def _rows(self, ballot: Ballot) -> Iterable[dict[str, Any]]:
        """Yield the rows of a ballot that count; each is counted once."""
        mine = self.letter(ballot.reviewer, ballot.letter)
        for item, said in ballot.answers.items():
            if item not in mine or (ballot.reviewer, item) in self._given:
                continue
            kind = self.items[item].kind
            answer = printable(said)[:LONGEST] if kind == "comment" else said
            if answer and (kind == "comment" or answer in ANSWERS[kind]):
                self._given.add((ballot.reviewer, item))
                when = round(ballot.time, 1)
                yield {"reviewer": ballot.reviewer, "item": item, "answer": answer, "by": ballot.by, "time": when}

    def _catch_up(self, file: BinaryIO) -> None:
        """Read what others have added; a last line that a full disk tore goes."""
        with (self.path / "votes.jsonl").open("rb") as there:
            there.seek(self._read)
            new = there.read()
        whole = new[: new.rfind(b"\n") + 1]
        if len(whole) < len(new):
            file.truncate(self._read + len(whole))
        self._read += len(whole)
        rows = list(map(json.loads, whole.splitlines()))
        self._votes += rows
        self._given.update((row["reviewer"], row["item"]) for row in rows)
