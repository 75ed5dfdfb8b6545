"""A letter to a reviewer: complete as text, with pictures as a page; and how its answers are read.

No line of a letter reads as an answer, so that one that a mail program quotes without saying so answers nothing.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..mail import Letter, Picture
from ..mail.replies import Reply
from .people import People
from .review import ANSWERS, Kind

MARKER = "-- Please answer above this line --"
SUBJECT = "Real or generated? A few questions about pictures"
QUESTIONS: dict[Kind, str] = {
    "pair": "Which looks more real, A or B?",
    "single": "Is this real or generated?",
    "rating": "How real does this look, from 1 (not at all) to 5 (entirely)?",
    "comment": "Did you notice anything? (as you like)",
}
SAYS: dict[str, str] = {"a": "A", "b": "B", "real": "real", "generated": "generated"}
SAYS |= {"true": "real", "fake": "generated", "synthetic": "generated", "artificial": "generated"}
ANSWER = re.compile(r"[\s*_•]*(\d{1,3})(?:\s*[.:)=–—-]+\s*|\s+|(?=[A-Za-z]))[\s*_]*(\w+)[\s.!*_]*")
COMMENT = re.compile(r"\s*comments?\s*[:：]\s*(.*)", re.IGNORECASE)
LEAVE = re.compile(r"\s*(unsubscribe|stop)\s*[.!]?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """An item as it stands in a letter.

    Args:
        number: In the letter, from 1.
        item: Of the review.
        kind: What is asked.
        text: The question.
        answers: That there are.
        pictures: What each is called (`1A`), and its file name.
    """

    number: int
    item: int
    kind: Kind
    text: str
    answers: tuple[str, ...]
    pictures: tuple[tuple[str, str], ...]


def questions(people: People, reviewer: int, letter: int) -> list[Question]:
    """Return what a letter asks."""
    found = []
    for number, item in enumerate(people.review.letter(reviewer, letter), 1):
        about = people.review.items[item]
        names = [f"{number}A", f"{number}B"] if about.kind == "pair" else [str(number)] * len(about.pictures)
        pictures = tuple(zip(names, about.pictures, strict=True))
        found.append(Question(number, item, about.kind, QUESTIONS[about.kind], ANSWERS[about.kind], pictures))
    return found


def letter(people: People, reviewer: int, number: int, sender: str, page: str = "", words_only: bool = False) -> Letter:
    """Return a letter, the same each time, but for its date.

    Args:
        people: To one of whom it is.
        reviewer: To whom.
        number: Which of the letters to them.
        sender: Address to which answers go.
        page: Address of a page where it can be answered, too; none if empty.
        words_only: It has no pictures; they are on the page.
    """
    token = people.token(reviewer, number)
    asked = questions(people, reviewer, number)
    link = f"{page.rstrip('/')}/{token}" if page else ""
    shown = (
        []
        if words_only
        else [
            Picture(f"picture-{name}", people.review.picture(file), f"picture {name}")
            for question in asked
            for name, file in question.pictures
        ]
    )
    leave = f"mailto:{sender}?subject={quote(f'unsubscribe {token}')}"
    headers = {
        "Message-ID": message_id(token, sender),
        "Reply-To": sender,
        "List-Unsubscribe": f"<{leave}>" + (f", <{page.rstrip('/')}/leave/{token}>" if page else ""),
    }
    if page.startswith("https://"):
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    about = {"asked": asked, "token": token, "link": link, "leave": leave, "marker": MARKER, "reply": _reply(asked)}
    subject = f"{SUBJECT} [{token}]"
    text = _text(asked, token, link, words_only)
    return Letter(subject, text, lambda pictures: _page(about, pictures), lambda: shown, headers)


def message_id(token: str, sender: str) -> str:
    """Return the id of the message that a letter is, however often it is made."""
    return f"<{token}@{sender.rpartition('@')[2] or 'localhost'}>"


def _reply(asked: Sequence[Question]) -> str:
    """Say how to answer by mail."""
    examples = {"pair": "A", "single": "real", "rating": "4"}
    some = {each.kind: f'"{each.number} {examples[each.kind]}"' for each in asked if each.kind in examples}
    such = ", or ".join(some.values())
    how = "Reply with a line for each question: its number and your answer, such as"
    return f"{how} {such}. Leave out what you cannot say."


def _text(asked: Sequence[Question], token: str, link: str, words_only: bool) -> str:
    """Return a letter for those who read no pages."""
    lines = [MARKER, "", "Some of these pictures show what was measured, others what a computer made up."]
    if words_only:
        lines += ["They are here, where you can answer, too:", link]
    else:
        lines += ["They come with this mail as picture-1 and so on."]
        lines += ["You can also answer here:", link] if link else []
    lines += ["", *_wrapped(_reply(asked)), ""]
    for each in asked:
        if each.kind == "comment":
            lines += [
                f"{each.number}. {each.text}",
                "   Begin with the word comment and a colon; it ends at the next empty line.",
                "",
            ]
        else:
            shown = " and ".join(f"picture-{name}" for name, _ in each.pictures)
            lines += [f"{each.number}. {each.text}", f"   ({shown})", ""]
    lines += ["Or fill this in:", "", *(f"{each.number}:" for each in asked if each.kind != "comment"), ""]
    lines += ["No more of these mails? Reply with the one word that says so: unsubscribe, alone in its line."]
    lines += [f"[{token}]"]
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 76)


def _page(about: dict[str, object], pictures: Sequence[Picture]) -> str:
    return templates().get_template("letter.html").render(**about, pictures={each.name for each in pictures})


@cache
def templates() -> Environment:
    """Return the pages, in which no text can become a tag."""
    return Environment(loader=PackageLoader("vitalsynth", "reviewing"), autoescape=True, undefined=StrictUndefined)


def answers(reply: Reply, asked: Sequence[Question]) -> dict[int, str]:
    """Return what a reply answers, by item: what was written, or if that answers nothing, what was filled in.

    Of two answers to one question the first counts.
    """
    return dict(_answers(reply.written, asked)) or dict(_answers(reply.quoted, asked))


def _answers(lines: Sequence[str], asked: Sequence[Question]) -> Iterator[tuple[int, str]]:
    by_number = {each.number: each for each in asked}
    given: dict[int, str] = {}
    for k, line in enumerate(lines):
        remark = COMMENT.fullmatch(line)
        comment = next((each for each in asked if each.kind == "comment"), None)
        if remark and comment:
            given.setdefault(comment.item, " ".join([remark[1], *_paragraph(lines[k + 1 :])]).strip())
            continue
        for part in re.split(r"[,;]", line):
            found = ANSWER.fullmatch(part)
            question = by_number.get(int(found[1])) if found else None
            said = SAYS.get(found[2].lower(), found[2]) if found else ""
            if question and said in question.answers:
                given.setdefault(question.item, said)
    yield from ((item, said) for item, said in given.items() if said)


def _paragraph(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip():
            return
        yield line.strip()


def leaves(reply: Reply) -> bool:
    """Say whether a reply wants no more mail."""
    return any(map(LEAVE.fullmatch, reply.written))
