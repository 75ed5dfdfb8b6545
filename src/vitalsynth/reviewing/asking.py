"""What is asked of whom: a pool of items, of which each reviewer gets those that were asked least."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .review import REAL, SPOILT, Item, Kind

VARIANTS = 2
"""In how many different pictures each pair, and each contestant, is asked about; and both ways round."""


@dataclass(frozen=True)
class Wanted:
    """How much is asked of a reviewer.

    Args:
        pairs: Which of two looks more real?
        singles: Is it real, or generated?
        ratings: How real does it look, from 1 to 5?
        planted: Items whose answer everybody knows who looks, beside these.
        comment: A remark is asked for in each letter.
        per_mail: Items in a letter.
    """

    pairs: int
    singles: int
    ratings: int
    planted: int
    comment: bool
    per_mail: int

    def __post_init__(self) -> None:
        for name in ("pairs", "singles", "ratings", "planted"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must be at least 0, got {getattr(self, name)}")
        if self.per_mail < 1:
            raise ValueError(f"--per_mail must be at least 1, got {self.per_mail}")
        if not self.pairs + self.singles + self.ratings:
            raise ValueError("nothing is asked; --pairs, --singles and --ratings are all 0")


def pool(pictures: Mapping[str, Sequence[str]], rng: np.random.Generator) -> dict[str, list[Item]]:
    """Return what may be asked: `pairs`, `singles`, `ratings`, `planted` and a `comment`.

    Args:
        pictures: File names by the key of whose they are, `VARIANTS` or more of each.
        rng: What is random is this.
    """
    asked = [key for key in pictures if key != SPOILT]
    draw = lambda key: str(rng.choice(pictures[key]))  # noqa: E731

    def pairs(between: Iterator[tuple[str, str]], variants: int) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
        for a, b in between:
            for variant in range(variants):
                whose = (a, b) if variant % 2 else (b, a)
                yield (draw(whose[0]), draw(whose[1])), whose

    def about(kind: Kind, keys: Sequence[str], planted: str = "") -> list[Item]:
        return [Item(kind, (name,), (key,), planted) for key in keys for name in pictures[key][:VARIANTS]]

    known = [
        Item("pair", names, whose, "AB"[whose.index(REAL)])
        for names, whose in pairs(iter([(REAL, SPOILT)]), 4 * VARIANTS)
    ]
    return {
        "pairs": [Item("pair", names, whose) for names, whose in pairs(combinations(asked, 2), VARIANTS)],
        "singles": about("single", asked),
        "ratings": about("rating", asked),
        "planted": known + about("single", [SPOILT], planted="generated"),
        "comment": [Item("comment")],
    }


def assigned(
    items: Mapping[str, Sequence[Item]], reviewers: int, wanted: Wanted, rng: np.random.Generator
) -> tuple[list[Item], list[list[list[int]]]]:
    """Return all items, and those of each letter to each reviewer, by number: none twice, and all about equally often.

    Raises:
        ValueError: if more is wanted than there is.
    """
    groups = {name: getattr(wanted, name) for name in ("pairs", "singles", "ratings", "planted")}
    for name, count in groups.items():
        if count > len(items[name]):
            raise ValueError(f"--{name} {count} is more than there are: {len(items[name])} with so many runs")
    every = [item for name in groups for item in items[name]]
    first = dict(zip(groups, np.cumsum([0, *(len(items[name]) for name in groups)]), strict=False))
    uses = np.zeros(len(every))
    letters = []
    for _ in range(reviewers):
        mine: list[int] = []
        for name, count in groups.items():
            there = np.arange(first[name], first[name] + len(items[name]))
            order = np.lexsort((rng.random(len(there)), uses[there]))
            mine += there[order[:count]].tolist()
        uses[mine] += 1
        mine = rng.permutation(mine).tolist()
        parts = [mine[k : k + wanted.per_mail] for k in range(0, len(mine), wanted.per_mail)]
        letters.append(parts)
    if wanted.comment:  # an item of its own for each letter of a reviewer
        most = max(map(len, letters), default=0)
        letters = [[[*part, len(every) + k] for k, part in enumerate(parts)] for parts in letters]
        every += list(items["comment"]) * most
    return every, letters
