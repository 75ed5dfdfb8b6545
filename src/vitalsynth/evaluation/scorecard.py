"""The scorecard: every figure with its interval, beside its floor and what a trivial answer would get."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.table import Table

from ..sequences import Sequences
from .fidelity import coverage, mmd, two_sample
from .measures import Unanswerable
from .plausibility import BOUNDS, violations
from .utility import class_names, label_column, missing_classes, tstr

Row = dict[str, Any]

AUROC = "two-sample AUROC"
UTILITY = {
    "auroc": ("TSTR AUROC", "the chance that it ranks the right class above another"),
    "accuracy": ("TSTR accuracy", "the share of sequences it classes rightly"),
    "balanced_accuracy": ("TSTR balanced accuracy", "the share it classes rightly, every class counting the same"),
    "average_precision": ("TSTR average precision", "how many of its alarms are right, over all thresholds"),
}


def evaluate(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    label: str | None = None,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> list[Row]:
    """Judge synthetic sequences; return one row of plain JSON values per figure.

    A row has `metric`, `value` with `low` and `high` (95 %), `floor` with `floor_low` and `floor_high` (the same figure
    for real data: the training set in the place of the synthetic), `baseline` (a trivial answer, or None), `better`
    (`near floor`, `higher` or `lower`) and `about`, a sentence. What the data cannot answer has the value None, and
    `about` says why. At most 1,000 sequences of each set are compared, and 5,000 trained on; all test sequences are
    tested on.

    Args:
        train: Real, what the generator learned from.
        test: Real, of subjects it never saw.
        synthetic: To be judged.
        label: Static column for train on synthetic, test on real; None for fidelity only.
        seed: Of everything random.
        progress: Told what is computed next.

    Raises:
        ValueError: if the sets differ in columns or length, or the label is unknown or a number.
    """
    if label is not None:
        label_column(train, label)
    say = progress or (lambda _: None)
    say("telling synthetic from real")
    rows = _answered(AUROC, "near floor", lambda: _two_sample_rows(train, test, synthetic, seed))
    say("comparing distributions (MMD)")
    rows += _answered("MMD²", "near floor", lambda: _mmd_rows(train, test, synthetic, seed))
    say("looking for real sequences that nothing synthetic is near (coverage)")
    rows += _answered("coverage", "higher", lambda: _coverage_rows(train, test, synthetic, seed))
    say("looking for what physiology forbids")
    rows += _violation_rows(train, test, replace(synthetic, schema=train.schema), seed)
    if label is not None:
        say(f"training on synthetic, testing on real: {label}")
        rows += _answered("TSTR AUROC", "higher", lambda: _utility_rows(train, test, synthetic, label, seed))
    return rows


def _answered(metric: str, better: str, rows: Callable[[], list[Row]]) -> list[Row]:
    try:
        return rows()
    except Unanswerable as reason:
        return [_row(metric, {}, better, f"Not computed: {reason}.")]


def _row(metric: str, figures: dict[str, float], better: str, about: str, baseline: float | None = None) -> Row:
    names = ("value", "low", "high", "floor", "floor_low", "floor_high")
    numbers = {name: _finite(figures.get(name)) for name in names}
    return {"metric": metric, **numbers, "baseline": _finite(baseline), "better": better, "about": about}


def _finite(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else float(number)


def _two_sample_rows(train: Sequences, test: Sequences, synthetic: Sequences, seed: int) -> list[Row]:
    got = two_sample(train, test, synthetic, seed=seed)
    about = (
        "How often a classifier given one real and one synthetic sequence picks the synthetic one: 0.5 is a coin toss, "
        f"1 is always ({got['n']:.0f} test and {got['n']:.0f} synthetic sequences)."
    )
    return [_row(AUROC, {**got, "value": got["auroc"]}, "near floor", about)]


def _mmd_rows(train: Sequences, test: Sequences, synthetic: Sequences, seed: int) -> list[Row]:
    got = mmd(train, test, synthetic, seed=seed)
    about = (
        "A distance between the distributions of synthetic and real sequences, compared step by step: 0 is none, "
        f"and below 0 is chance ({got['n']:.0f} test and {got['n']:.0f} synthetic sequences)."
    )
    return [_row("MMD²", {**got, "value": got["mmd2"]}, "near floor", about)]


def _coverage_rows(train: Sequences, test: Sequences, synthetic: Sequences, seed: int) -> list[Row]:
    got = coverage(train, test, synthetic, seed=seed)
    about = (
        "The share of real sequences that have a synthetic one nearby, nearer than their own fifth real neighbour: a "
        f"generator that has collapsed covers little ({got['n']:.0f} test and {got['n']:.0f} synthetic sequences)."
    )
    return [_row("coverage", {**got, "value": got["coverage"]}, "higher", about, baseline=0.0)]


def _violation_rows(train: Sequences, test: Sequences, synthetic: Sequences, seed: int) -> list[Row]:
    rows = []
    for rule, got in violations(train, test, synthetic, seed).items():
        what = "a value lies outside of its bounds" if rule == BOUNDS else f"{rule} does not hold"
        about = f"The share of steps at which {what}, of those at which it could be seen; real data have some, too."
        names = {"value": "share", "low": "share_low", "high": "share_high"}
        figures = {key: got[name] for key, name in names.items()} | {key: got[key] for key in got if "floor" in key}
        rows.append(_row(f"broken: {rule}", figures, "lower", about))
    return rows


def _utility_rows(train: Sequences, test: Sequences, synthetic: Sequences, label: str, seed: int) -> list[Row]:
    got = tstr(train, test, synthetic, label, seed=seed)
    missing = missing_classes(synthetic, label)
    lacking = (
        f" No synthetic sequence has {label} {' or '.join(missing)}, so that is never predicted." if missing else ""
    )
    of = (
        f" (class {class_names(label_column(train, label))[1]})"
        if len(class_names(label_column(train, label))) == 2
        else ""
    )
    rows = []
    for name, (metric, meaning) in UTILITY.items():
        if name not in got:
            continue
        ends = {"value": "", "low": "_low", "high": "_high"}
        ends |= {"floor": "_real", "floor_low": "_real_low", "floor_high": "_real_high"}
        about = (
            f"A classifier of {label!r} trained on {got['trained_on']:.0f} synthetic sequences and tested on "
            f"{got['tested_on']:.0f} real ones of other subjects: {meaning}{of if name == 'average_precision' else ''}."
        )
        figures = {key: got[name + end] for key, end in ends.items()}
        rows.append(_row(metric, figures, "higher", about + lacking, got[f"{name}_trivial"]))
    return rows


def verdict(row: Row) -> str:
    """Say in a few words how a figure stands to its floor."""
    value, low, floor, baseline = row["value"], row["low"], row["floor"], row["baseline"]
    if value is None or floor is None:
        return "not computed"
    if row["better"] == "near floor":
        if low is None or row["floor_high"] is None:
            return "no interval"
        if row.get("metric") == AUROC and row["high"] < row["floor_low"]:
            return "closer to the held-out data than real data are: are they copies?"
        apart = value > row["floor_high"] and low > floor
        return "differs from real data" if apart else "no difference from real data found"
    if row["better"] == "lower" and baseline is None:
        return "more often than real data" if low is not None and low > floor else "no more often than real data"
    if baseline is None:
        return "no trivial answer to compare with"
    higher = row["better"] == "higher"
    worst = row["floor_low" if higher else "floor_high"]
    least_gain = ((floor if worst is None else worst) - baseline) * (1 if higher else -1)
    if least_gain <= 0:
        return "real data themselves do no better than the trivial answer, within chance"
    return f"reaches {(value - baseline) / (floor - baseline):.0%} of what real data gain over the trivial answer"


def number(value: float | None) -> str:
    """Write a figure with three digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:.3f}" if 0.0995 <= abs(value) < 1000 or value == 0 else f"{value:.2g}"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Write a figure and its interval, `0.83 [0.80, 0.86]`."""
    return number(value) if low is None or high is None else f"{number(value)} [{number(low)}, {number(high)}]"


def table(rows: list[Row], title: str = "") -> Table:
    """Lay the rows out for a terminal."""
    out = Table(
        title=title,
        title_justify="left",
        caption="Floor: the same figure for real data, for TSTR a classifier trained on as many real sequences.",
    )
    out.add_column("figure")
    for title in ("value [95 %]", "floor [95 %]", "trivial"):
        out.add_column(title, justify="right")
    out.add_column("verdict")
    for row in rows:
        told = verdict(row) if row["value"] is not None else row["about"]
        value = with_interval(row["value"], row["low"], row["high"])
        floor = with_interval(row["floor"], row["floor_low"], row["floor_high"])
        out.add_row(row["metric"], value, floor, number(row["baseline"]), told)
    return out
