"""The privacy report: every attack, on everybody and on the most isolated, beside its controls, and what it comes to.

A row of the report is a figure (`figures.Row`) and what it is of: the `attack`, what it holds (`released`: samples,
generator or discriminator), `among` whom (all, or the most isolated), and whether it is a `control` (positive, negative
or none). Many figures are looked at, so a p-value counts that many times (Bonferroni) before anything is called found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from rich import box
from rich.table import Table
from rich.text import Text

from ..measures import Inapplicable
from ..scorecard import number, with_interval
from .controls import SHARE, planted, strangers
from .diagnostics import diagnostics
from .figures import LEVEL, Row, figures, row
from .membership import ATTACKS, Attack
from .points import Parts, isolation, look
from .risks import NOTHING, attribute_inference, linkability, singling_out

WhiteBox = Mapping[str, tuple[str, Float[ndarray, " subjects"]]]
ALL, ISOLATED = "all", "most isolated"
POSITIVE, NEGATIVE = "positive", "negative"
SAMPLES = "samples"
DIAGNOSTIC = "diagnostic"
VERDICT = "verdict"
ALARM = 0.01
"""Where an attack finds members in data of others."""


def attack(
    parts: Parts,
    attacks: Mapping[str, Attack] = ATTACKS,
    white_box: WhiteBox | None = None,
    secret: str = "",
    isolated: float = 0.1,
    seed: int = 0,
    progress: Callable[[str], object] = lambda stage: None,
) -> list[Row]:
    """Try everything, and return the rows of the report.

    Args:
        parts: Who is who.
        attacks: Those that hold samples.
        white_box: Those that hold more, by name: what they hold, and their scores of all members, non-members and
            reference subjects, in this order, those of each in ascending order of their ids (`points.numbered`).
        secret: Static column whose inference is tried; each of them by default.
        isolated: Share of the subjects that count as most isolated.
        seed: Of everything random.
        progress: Told what is done next.

    Raises:
        ValueError: if there is no such static column, or the share is not between 0 and 1.
    """
    if not 0 < isolated < 1:
        raise ValueError(f"isolated must lie between 0 and 1, got {isolated}")
    secrets = [secret] if secret else [column.name for column in parts.members.schema.statics]
    for name in secrets:
        parts.members.schema.static_index(name)
    out: list[Row] = []

    def add(name: str, held: str, inside: ndarray, outside: ndarray, among: str = ALL, control: str = "") -> None:
        rows = figures(inside, outside, seed)
        out.extend(_labelled(each, name, held, among, control, len(inside), len(outside)) for each in rows)

    progress("preparing the controls")
    leak, leaked = planted(parts, seed=seed)
    seen, seen_leak, seen_strangers = look(parts), look(leak), look(strangers(parts, seed))
    count, asked = len(leaked), int(seen[0].subject.max()) + 1
    far = isolation(seen[0])
    far = far >= np.quantile(far, 1 - isolated)
    for name, each in attacks.items():
        progress(name)
        scores, with_leak, of_strangers = (each(*points) for points in (seen, seen_leak, seen_strangers))
        add(name, SAMPLES, scores[:count], scores[count:])
        add(name, SAMPLES, scores[:count][far[:count]], scores[count:][far[count:]], ISOLATED)
        add(name, SAMPLES, with_leak[:count][leaked], with_leak[count:], control=POSITIVE)
        add(name, SAMPLES, of_strangers[:count], of_strangers[count:], control=NEGATIVE)
    for name, (held, scores) in (white_box or {}).items():
        inside, outside, known = np.split(scores, [count, asked])
        add(name, held, inside, outside)
        add(name, held, inside[far[:count]], outside[far[count:]], ISOLATED)
        add(name, held, known, outside, control=NEGATIVE)
    progress("attribute inference, linkability, singling out")
    out += _risks(parts, secrets, seed)
    progress("diagnostics")
    out += [_labelled(each, DIAGNOSTIC, SAMPLES) for each in diagnostics(parts, seed)]
    return out


def _risks(parts: Parts, secrets: Iterable[str], seed: int) -> list[Row]:
    asked: dict[str, Callable[..., Row]] = {
        **{f"attribute inference: {name}": partial(attribute_inference, secret=name) for name in secrets},
        "linkability": linkability,
        "singling out": singling_out,
    }
    out = []
    for name, risk in asked.items():
        try:
            figure = risk(parts, seed=seed)
        except Inapplicable as reason:
            figure = row("risk", about=f"Not computed: {reason}.")
        out.append(_labelled(figure, name, SAMPLES))
    return out


def _labelled(
    figure: Row,
    attack: str,
    released: str,
    among: str = ALL,
    control: str = "",
    members: int | None = None,
    others: int | None = None,
) -> Row:
    of = {"attack": attack, "released": released, "among": among, "control": control}
    return {**of, **figure, "members": members, "others": others}


def found(rows: Iterable[Row], control: str = "") -> list[Row]:
    """Return the figures, or those of a control, that are beyond chance as one of so many.

    Chance does so in one report of 20, in one of 100 for the negative control.
    """
    looked_at = [each for each in rows if each["control"] == control and each["p"] is not None]
    level = ALARM if control == NEGATIVE else LEVEL
    return [each for each in looked_at if each["p"] * len(looked_at) <= level and not _shows_nothing(each)]


def _shows_nothing(row: Row) -> bool:
    """Return whether a risk is no better than a guess, so that its value is none."""
    return row["about"].endswith(NOTHING)


def verdict(rows: list[Row]) -> str:
    """Say what was tried, what it found, and what it could have found."""
    computed = [each for each in rows if each["value"] is not None]
    tried = [each for each in computed if not each["control"] and each["attack"] != DIAGNOSTIC]
    first = next(each for each in tried if each["members"])
    held = ", ".join(dict.fromkeys(each["released"] for each in tried))
    said = [
        f"{len(names(tried))} attacks, which hold {held}, on {first['members']:,} training subjects and "
        f"{first['others']:,} held out."
    ]
    if hits := found(rows):
        best = {each["attack"]: each for each in sorted(hits, key=lambda each: -each["p"])}
        said.append(f"They found: {'; '.join(map(_hit, best.values()))}.")
    else:
        looked_at = sum(each["p"] is not None for each in tried)
        said.append(
            f"They found nothing beyond chance (after correction for {looked_at} figures of {len(names(tried))} "
            "attacks: one that looks high by itself may be so by chance)."
        )
    could = [
        f"{each['figure']} of {number(each['least'])}"
        for each in tried
        if each["attack"] == first["attack"] and each["among"] == ALL and each["least"]
    ]
    said.append(f"They could have found a true {' or '.join(could) or 'next to nothing: too few were held out'}.")
    caught = names(found(rows, POSITIVE))
    missed = [name for name in names(r for r in rows if r["control"] == POSITIVE) if name not in caught]
    said.append(f"Copies of {SHARE:.0%} of the training subjects, planted, are found by {_listed(caught)}")
    said[-1] += f", not by {_listed(missed)}." if missed else "."
    if alarms := names(found(rows, NEGATIVE)):
        said.append(
            f"But members are found also in data of others, by {_listed(alarms)}: training and held-out subjects "
            "differ by themselves, so these figures are not to be trusted."
        )
    return " ".join([*said, "Weaker leaks, and attacks that were not tried, are not excluded."])


def names(rows: Iterable[Row]) -> list[str]:
    """Return the attacks that rows are of."""
    return list(dict.fromkeys(each["attack"] for each in rows))


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _hit(row: Row) -> str:
    among = "" if row["among"] == ALL else f", {row['among']}"
    value = with_interval(row["value"], row["low"], row["high"])
    return f"{row['attack']} ({row['released']}{among}): {row['figure']} {value}, by chance {number(row['chance'])}"


WHOM = {POSITIVE: "planted copies", NEGATIVE: "of others"}
Grid = tuple[list[str], list[list[str]]]
"""Heads and cells; what was found begins with an asterisk."""


def grids(rows: list[Row]) -> tuple[Grid, Grid]:
    """Lay out membership attacks, one to a line, and all else; figures that nobody has are left out."""
    hits = {id(each) for control in ("", *WHOM) for each in found(rows, control)}

    def told(each: Row) -> str:
        if _shows_nothing(each):
            return number(None)
        return "*" * (id(each) in hits) + with_interval(each["value"], each["low"], each["high"])

    lines: dict[tuple[str, str], dict[str, str]] = {}
    others = []
    for each in rows:
        if each["members"] is None:
            name = f"{each['figure']} (diagnostic)" if each["attack"] == DIAGNOSTIC else each["attack"]
            others.append([name, told(each), number(each["chance"]), each["about"]])
            continue
        name = each["attack"] if each["released"] == SAMPLES else f"{each['attack']} ({each['released']})"
        whom = str(WHOM.get(each["control"], each["among"]))
        lines.setdefault((name, whom), {})[each["figure"]] = told(each)
    known = dict.fromkeys(each["figure"] for each in rows if each["members"] is not None and each["value"] is not None)
    heads = ["attack", "whom or control", *known]
    return (
        (heads, [[*of, *(cells[figure] for figure in known)] for of, cells in lines.items()]),
        (["attack", "value", "by chance", ""], others),
    )


def alarming(cells: list[str], cell: str) -> bool:
    """Return whether a cell of a line is beyond chance where it should not be; planted copies should."""
    return cell.startswith("*") and WHOM[POSITIVE] not in cells


def table(grid: Grid, title: str = "") -> Table:
    """Lay a grid out for a terminal: intervals below their values, an attack named once, what was found bold."""
    heads, lines = grid
    out = Table(title=title, title_justify="left", box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    for head in heads:
        out.add_column(head, no_wrap=head.startswith(("AUROC", "TPR", "value")))
    before = ""
    for name, *cells in lines:
        texts = [Text(cell.replace(" [", "\n["), "bold" if alarming(cells, cell) else "") for cell in cells]
        out.add_row(Text(name if name != before else ""), *texts)
        before = name
    return out
