"""The corruption ladder of every metric that says how it answers it, as tables in docs/judging.md.

    OMP_NUM_THREADS=1 python benchmarks/ladder.py --data examples [--metrics battery mmd]
    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/ladder.py --data etth1
    python benchmarks/ladder.py --table                  # only write the tables of what was measured

On one draw of `evaluation.examples`, 600 sequences in each of three sets, and on ETTh1: windows of 24 hours, every 12
hours; 60 % of the blocks of time are the training set, 20 % the test set, 20 % stand in for honest synthetic sequences,
which are spoilt. Metrics that predict a label are given one there: whether a window's oil is warmer than the median. A
row per metric goes to benchmarks/results/ladder.jsonl.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from results import record, rows

from vitalsynth import evaluation, sources
from vitalsynth.evaluation import ladder, metric
from vitalsynth.evaluation.measures import Unanswerable
from vitalsynth.sequences import Column

PAGE = Path(__file__).parents[1] / "docs" / "judging.md"
BEGIN, END = "<!-- ladder on {}: written by benchmarks/ladder.py -->\n", "<!-- /ladder on {} -->\n"
DATA = ("examples", "etth1")
LABEL = "warm"
SHORTENED = {"discriminative_score": {"iterations": 500}, "predictive_score": {"iterations": 500}}


def climbers():
    """Return the names of the metrics that say how they answer the ladder."""
    found = {name: getattr(evaluation, name) for name in evaluation.__all__}
    return [name for name, each in found.items() if metric.said(each).responds is not None]


def sets():
    """Return the training set, the test set, and what is as good as synthetic sequences can be."""
    train, rest = sources.etth1(stride=12).split(0.4, 0)
    return train, *rest.split(0.5, 1)


def labelled(three):
    """Give every window a class: whether its last channel, the oil, is warmer than the median."""
    warmth = [np.nanmean(s.values[:, :, -1], axis=1) for s in three]
    schema = replace(three[0].schema, statics=(Column(LABEL, "binary"),))
    middle = np.median(warmth[0])
    return [replace(s, schema=schema, static=1.0 * (w > middle)[:, None]) for s, w in zip(three, warmth, strict=True)]


def climb(name, data):
    """Return a row: the figure of honest sequences, and how it answers."""
    asked, began = metric.find(name), time.process_time()
    settings = SHORTENED.get(name, {})
    if data == "examples":
        answers = list(ladder.tried(asked, **settings))
    else:
        settings = settings | ({"label": LABEL} if metric.takes(asked, "label") else {})
        answers = list(ladder.climb(asked, *(labelled(sets()) if LABEL in settings.values() else sets()), **settings))
    return {
        "metric": name,
        "data": data,
        "figure": answers[0].title,
        "honest": [float(f"{number:.4g}") for number in answers[0].honest],
        "floor": float(f"{answers[0].floor:.4g}"),
        "answers": {each.rung: [each.response, float(f"{each.spoilt[-1][0]:.3g}")] for each in answers},
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def table(data):
    """Return the newest row of every metric as Markdown: what it promises, or with an exclamation mark what came."""
    newest = {row["metric"]: row for row in rows("ladder") if row["data"] == data}
    lines = [f"| figure | honest | {' | '.join(ladder.RUNGS)} |", "|---" * (2 + len(ladder.RUNGS)) + "|"]
    for name in climbers():
        if name not in newest:
            continue
        row, asked = newest[name], metric.find(name)
        cells = []
        for rung, (response, value) in row["answers"].items():
            promised = metric.said(asked).promised(rung) if ladder.kept(asked, rung, response) else f"{response}!"
            cells.append(f"{promised} ({value:g})")
        value, low, high = row["honest"]
        lines.append(f"| {row['figure']} | {value:.3g} [{low:.3g}, {high:.3g}] | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write():
    """Put the tables where they belong in the page."""
    page = PAGE.read_text()
    for data in DATA:
        begin, end = BEGIN.format(data), END.format(data)
        before, rest = page.split(begin)
        page = f"{before}{begin}\n{table(data)}\n{end}{rest.split(end)[1]}"
    PAGE.write_text(page)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=DATA, default=DATA[0])
    parser.add_argument("--metrics", nargs="*", default=climbers())
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    for name in () if asked.table else asked.metrics:
        try:
            record("ladder", climb(name, asked.data))
        except Unanswerable as reason:
            print(f"{name}: {reason}")
    write()


if __name__ == "__main__":
    main()
