"""The data card of a cohort and the model card of a generator: what it is, how it was made, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..evaluation.scorecard import with_interval
from ..evaluation.verdicts import told
from ..runs import Run
from ..storage import atomic_path
from .report import asked_of, latest_scores, promise

OPENING = """\
These sequences are synthetic: a generator drew them, nobody was measured. They serve to develop and to test methods;
what is found in them about patients has to be found again in real ones.
"""
MODEL = """\
A generator of synthetic sequences. It holds numbers, no code and no record of a patient, and needs vitalsynth:
"""
USES = """\
It is meant for developing and testing methods, for teaching, and for planning studies. It is not meant for decisions
about a patient, for findings that nobody checks on real patients, or for groups that the training data hardly hold: it
knows the hospital and the years that it learned from. It draws what was usual; what was rare may be missing.
"""
ANSWERS = """\
To be filled in by whoever hands it out:

- responsible, with address:
- approved by, on, under which number:
- for which purpose, and until when:
"""
PRIVACY = """\
No attack was run on this cohort. That it is synthetic does not by itself mean that nobody in the training data can be
recognised.
"""
PROMISED = """\
It was learned with differential privacy, as said above; that holds for the sequences, not for scores and
attacks, which were computed from real ones.
"""
OWN = "Learned from the user's own data: what may be done with those decides what may be done with this."


def text(run: Run, step: int, cohort: Path, drawn: Mapping[str, Any]) -> str:
    """Return the card of a cohort, as Markdown.

    Args:
        run: That the cohort was drawn from.
        step: Of which checkpoint.
        cohort: The file or folder.
        drawn: How it is drawn: how many, conditions, what is imposed, the seed.
    """
    made = _drawn(drawn) | asked_of(run, step)
    return _joined({f"# {cohort.name}": OPENING, **_parts(run, step, made)})


def model(run: Run, step: int, file: Path) -> str:
    """Return the card of a generator, as Markdown.

    Args:
        run: That it is of.
        step: Of which checkpoint.
        file: The packed generator.
    """
    schema = run.preparation.schema
    use = f"vitalsynth unpack {file.name} --out generator\nvitalsynth sample generator --count 1000 --out cohort.csv"
    draws = {
        "channels": ", ".join(column.name for column in schema.channels),
        "once a sequence": ", ".join(column.name for column in schema.statics) or "nothing",
        "can be asked for": ", ".join(run.record["condition"]) or "nothing",
    }
    parts = {
        f"# {file.name}": f"{MODEL}\n```sh\n{use}\n```",
        "## What it is for, and what not": USES,
        "## What it draws": _list(draws),
    }
    return _joined(parts | _parts(run, step, asked_of(run, step)) | {"## Who answers for it": ANSWERS})


def _parts(run: Run, step: int, made: Mapping[str, Any]) -> dict[str, str]:
    """Return what a cohort's card and a generator's have in common."""
    licence = run.preparation.schema.licence
    return {
        "## How it was made": _list(made),
        "## How good it is": _scores(latest_scores(run, step)),
        "## How private it is": (PROMISED if promise(run, step) else "") + _privacy(run, step),
        "## Whose it is": f"Learned from data under {licence}. Such a licence may bind what is made of them, too."
        if licence
        else OWN,
    }


def _joined(parts: Mapping[str, str]) -> str:
    return "\n\n".join(f"{heading}\n\n{body.strip()}" for heading, body in parts.items()) + "\n"


def _privacy(run: Run, step: int) -> str:
    said = [row["about"] for row in run.attacks() if row["attack"] == "verdict" and row["step"] == step]
    return f"Attacks on cohorts of this run: {said[-1]}" if said else PRIVACY


def write(cohort: Path, text: str) -> None:
    """Write a card beside its cohort, as `cohort.csv.card.md`."""
    with atomic_path(cohort.with_name(f"{cohort.name}.card.md")) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _drawn(drawn: Mapping[str, Any]) -> dict[str, str]:
    """Say in words what was drawn, and how."""
    rest = {name: value for name, value in drawn.items() if name not in ("what", "count")}
    return {"drawn": f"{drawn['count']:,} sequences" + (f", {_pairs(rest)}" if rest else "")}


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {Path(value).name if isinstance(value, str) else value}" for name, value in values.items()
    )


def _list(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in values.items())


def _scores(scores: list[dict[str, Any]]) -> str:
    if not scores:
        return "It has not been judged: `vitalsynth evaluate` does that."
    rows = ["| figure | value [95 %] | floor [95 %] | verdict |", "|---|---|---|---|"]
    for row, one in zip(scores, told(scores), strict=True):
        value = with_interval(row["value"], row["low"], row["high"])
        floor = with_interval(row["floor"], row["floor_low"], row["floor_high"])
        rows.append(f"| {row['metric']} | {value} | {floor} | {one.words} |")
    return "\n".join(rows)
