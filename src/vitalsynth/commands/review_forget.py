"""`vitalsynth review forget`: erase who the reviewers were."""

from __future__ import annotations

import sys

from ..reviewing.people import People
from ..reviewing.review import Review


def review_forget(review: str, *, address: str = "") -> None:
    """Erase the addresses of a review, and the secret that signs its letters; answers and results stay.

    Nobody can answer afterwards, and nobody can say whose an answer was. With --address only one is erased, who gets no
    more mail.

    Args:
        review: Its folder.
        address: Erase this one only.

    Raises:
        ValueError: if they were erased already, or there is no such address.
    """
    people = People(Review(review))
    people.forget(address)
    print(f"erased {address or people.path}; copies in your mail program are yours to erase", file=sys.stderr)
