"""The scorecard: every figure with its interval, beside its floor and what a trivial answer would get."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rich.table import Table

from .. import markup
from ..sequences import Sequences
from . import leaks, metric
from .calibration import calibration
from .measures import Inapplicable, Unanswerable
from .metric import Metric, Row
from .tasks import missing_classes, target
from .verdicts import Told, told

METRICS = (
    *("battery", "two_sample", "mmd", "marginals", "autocorrelations", "cross_correlations", "gaps", "heartbeats"),
    *("coverage", "copying", "violations", "tstr"),
)
"""What a scorecard asks, in this order, unless told otherwise; what does not apply to the data is left out."""


class Scorecard(list[Row]):
    """Rows of scores, of one cohort or several; a notebook shows them as tables."""

    def _repr_html_(self) -> str:
        cohorts: dict[tuple[Any, ...], list[Row]] = {}
        for row in self:
            cohorts.setdefault((row.get("of", ""), row.get("step")), []).append(row)
        return "".join(
            markup.block(str(of), "" if step is None else f"at step {step:,}", _markup(rows), _FLOOR)
            for (of, step), rows in cohorts.items()
        )


_FLOOR = markup.Markup(
    '<div class="note">Floor: the same figure for real data, for TSTR a classifier trained on as many real '
    "sequences.</div>"
)


def _markup(rows: list[Row]) -> markup.Markup:
    head = ("figure", "value [95 %]", "floor [95 %]", "trivial", "verdict")
    shown = [(*_figures(row), markup.toned(one.tone, words)) for row, one, words in _told(rows)]
    return markup.table(head, shown, (1, 2, 3), 4)


def _told(rows: list[Row]) -> list[tuple[Row, Told, str]]:
    """Return each figure with how it is to be taken; in the place of one that was not computed is why not."""
    found = zip(rows, told(rows), strict=True)
    return [(row, one, one.words if row["value"] is not None else row["about"]) for row, one in found]


def _figures(row: Row) -> tuple[str, str, str, str]:
    """Return the name, value, floor and trivial answer of a score as people read them."""
    value = with_interval(row["value"], row["low"], row["high"])
    floor = with_interval(row["floor"], row["floor_low"], row["floor_high"])
    return row["metric"], value, floor, number(row["baseline"])


def evaluate(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    label: str | None = None,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
    metrics: Iterable[str | Metric] = (),
) -> list[Row]:
    """Judge synthetic sequences; return one row of plain JSON values per figure.

    A row has `metric`, `value` with `low` and `high` (95 %), `floor` with `floor_low` and `floor_high` (the same figure
    for real data: the training set in the place of the synthetic), `baseline` (a trivial answer, or None), `better`
    (`near floor`, `higher` or `lower`), `part` (fidelity, usefulness, ...) and `about`, a sentence. What the data
    cannot answer has the value None, and `about` says why.

    Args:
        train: Real, what the generator learned from.
        test: Real, of subjects it never saw.
        synthetic: To be judged.
        label: What metrics predict: a static column, a channel or a task (`tasks`); None leaves those out.
        seed: Of everything random.
        progress: Told what is computed next.
        metrics: Names of metrics of `vitalsynth.evaluation`, import paths, or functions; those of the scorecard by
            default.

    Raises:
        ValueError: if the sets differ in columns or length, the training and test set share subjects or sequences, the
            label is unknown, or a metric is.
    """
    leaks.refuse(train, test)
    if label is not None:
        target(train, label)
    asked = list(metrics)
    chosen = [metric.find(each) if isinstance(each, str) else each for each in asked or METRICS]
    out: list[Row] = []
    for each in chosen:
        if metric.takes(each, "label") and label is None:
            continue
        if progress is not None:
            progress(metric.said(each).doing)
        try:
            out += _answers(each, train, test, synthetic, label, seed)
        except Inapplicable as reason:
            out += [metric.unanswered(each, str(reason))] if asked else []
    return out


def _answers(
    asked: Metric, train: Sequences, test: Sequences, synthetic: Sequences, label: str | None, seed: int
) -> list[Row]:
    given: dict[str, Any] = {"label": label, "seed": seed}
    settings = {name: value for name, value in given.items() if metric.takes(asked, name)}
    try:
        rows = metric.rows(asked, asked(train, test, synthetic, **settings), label)
    except Inapplicable:
        raise
    except Unanswerable as reason:
        return [metric.unanswered(asked, str(reason))]
    if "label" in settings and (missing := missing_classes(synthetic, str(label))):
        lacking = f" No synthetic sequence has {' or '.join(missing)}, so that is never predicted."
        return [{**row, "about": row["about"] + lacking} for row in rows]
    return rows


def continuation(train: Sequences, test: Sequences, continued: Sequences, steps: int, seed: int = 0) -> list[Row]:
    """Judge how test sequences were made to go on from their first steps, in a row like those of `evaluate`.

    The arguments are those of `calibration`.
    """
    try:
        return metric.rows(calibration, calibration(train, test, continued, steps, seed))
    except Unanswerable as reason:
        return [metric.unanswered(calibration, str(reason))]


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
    out.add_column("figure", overflow="fold")
    for title in ("value [95 %]", "floor [95 %]", "trivial"):
        out.add_column(title, justify="right", no_wrap=True)
    out.add_column("verdict", overflow="fold")
    for row, _, words in _told(rows):
        name, *numbers = _figures(row)
        out.add_row(name, *map(stacked, numbers), words)
    return out


def stacked(figure: str) -> str:
    """Put an interval below its value, so that it takes half the width, and a column need not be cut."""
    return figure.replace(" [", "\n[")
