"""Are synthetic stays useful where deaths are too few to tell: the seven early warnings of RGAN's paper.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/early_warning.py --out runs/quality
    python benchmarks/early_warning.py --table           # what is there so far, as Markdown

From all hours but the last, a classifier foretells whether a vital sign will lie beyond a threshold in the last one
(Esteban, Hyland and Rätsch 2017, arXiv 1706.02633, section 4: there from four hours by the quarter, here from 24 by
the hour, of the ICU demo). It learns from synthetic stays and is tested on held-out real ones; the floor learns from
as many real ones. Stays whose last hour was not measured do not count. Learners and held-out subjects are those of
quality.py, whose runs below --out are taken as they are, and trained where they are not there. A row per learner and
seed goes to benchmarks/results/early_warning.jsonl; what is there already is not done again.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from quality import DATA, drawn, enough, read, settings_of, train
from results import alike, record, rows

from vitalsynth.evaluation import tstr
from vitalsynth.sequences import Column, Sequences

WARNINGS = {"o2sat": ("<95",), "hr": ("<70", ">100"), "resp": ("<13", ">20"), "map": ("<70", ">110")}
ICU = "icu-demo"


def warned(sequences):
    """Return sequences without their last step, with what it was beyond as statics; NaN if it was not measured."""
    statics, columns = [], []
    for name, thresholds in WARNINGS.items():
        last = sequences.channel(name)[:, -1]
        for threshold in thresholds:
            beyond = last < float(threshold[1:]) if threshold[0] == "<" else last > float(threshold[1:])
            statics.append(np.where(np.isnan(last), np.nan, beyond))
            columns.append(Column(name + threshold, kind="binary"))
    return Sequences(
        sequences.values[:, :-1],
        replace(sequences.schema, statics=tuple(columns)),
        static=np.stack(statics, axis=1),
        subject=sequences.subject,
    )


def judge(parts, synthetic):
    """Return how well each warning is given, learned from synthetic and from real stays."""
    train, test, made = map(warned, (*parts, synthetic))
    names = [column.name for column in train.schema.statics]
    found = {}
    for name in names:
        alone = (part.drop([other for other in names if other != name]) for part in (train, test, made))
        found[name] = tstr(*alone, name)
    return found


def table(found):
    """Print a Markdown table: the median over seeds, with the smallest and the largest."""
    names = list(found[-1]["figures"])
    print(f"| learner | seeds | mean of the seven (floor) | {' | '.join(names)} |")
    print("|---" * (3 + len(names)) + "|")
    for learner in dict.fromkeys(row["learner"] for row in found):
        mine = [row["figures"] for row in found if row["learner"] == learner]
        value, floor = (
            np.array([[figures[name][key] for name in names] for figures in mine]) for key in ("auroc", "auroc_floor")
        )
        cells = [
            f"{np.median(of):.3f} [{of.min():.3f}, {of.max():.3f}] ({real:.3f})"
            for of, real in zip([value.mean(axis=1), *value.T], [floor.mean(), *floor.mean(axis=0)], strict=True)
        ]
        print(f"| {learner} | {len(mine)} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", nargs="*", default=["first", "rcgan"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--out", default="runs/quality")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("early_warning"))
    parts = read(ICU)
    for seed in asked.seeds:
        for learner in asked.learners:
            row = {"learner": learner, "seed": seed, "minutes": asked.minutes}
            if alike("early_warning", row):
                continue
            settings = settings_of(learner)
            path = f"{asked.out}/{ICU}-{learner}-{seed}"
            run, cost = train(parts[0], settings, DATA[ICU]["label"], seed, asked.minutes, path)
            record("early_warning", row | cost | {"figures": judge(parts, drawn(run, enough(parts), seed))})


if __name__ == "__main__":
    main()
