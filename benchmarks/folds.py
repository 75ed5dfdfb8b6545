"""How useful, where few died: five folds of subjects, so that every death is predicted once.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/folds.py --minutes 10 --out runs/folds
    python benchmarks/folds.py --table                   # what is there so far, as Markdown

The fifth of the ICU demo that `quality.py` holds out has nine deaths, and an AUROC of nine deaths is hardly a figure.
Here every learner learns five times, each time without a fifth of the subjects (as many deaths in each), as
`quality.py` lets it learn; a predictor of the label learns from what it draws and is asked about the subjects left
out, beside the same predictor after real ones. A row per seed and fold goes to benchmarks/results/folds.jsonl; what is
there already is not done again. The table has the mean over folds, and its 95 % interval over seeds of training.
"""

import argparse

import numpy as np
import torch
from quality import DATA, drawn, enough, interval, settings_of, train
from results import alike, record, rows
from sklearn.model_selection import StratifiedGroupKFold

from vitalsynth import sources
from vitalsynth.evaluation import tstr

FOLDS = 5
LEARNERS = ("rcgan", "first")
PREDICTORS = ("convolutions", "boosting", "linear")


def folds(data):
    """Yield the training and the held-out part of each fold."""
    sequences = sources.read(DATA[data]["source"], **DATA[data]["settings"])
    labels = sequences.static_column(DATA[data]["label"])
    cuts = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for part in cuts.split(labels, labels, sequences.subject):
        yield tuple(sequences.take(np.sort(chosen)) for chosen in part)


def measured(data, learner, seed, fold, parts, minutes, out):
    """Return a row: what a learner cost, and how useful what it draws is."""
    label = DATA[data]["label"]
    settings = settings_of(learner)
    run, cost = train(parts[0], settings, label, seed, minutes, f"{out}/{data}-{learner}-{seed}-{fold}")
    synthetic = drawn(run, enough(parts), seed)
    figures = {name: tstr(*parts, synthetic, label, predictor=name) for name in PREDICTORS}
    return cost | {"figures": figures}


def table():
    """Print a Markdown table: the mean over folds, its 95 % interval over seeds, of which there must be two."""
    found = rows("folds")
    for data, minutes in dict.fromkeys((row["data"], row["minutes"]) for row in found):
        mine = [row for row in found if (row["data"], row["minutes"]) == (data, minutes)]
        print(f"| {data}, {minutes:g} CPU-min, predictor | real | learner | seeds | mean over folds |")
        print("|---" * 5 + "|")
        for predictor in PREDICTORS:
            real = np.mean([row["figures"][predictor]["auroc_floor"] for row in mine])
            for learner in LEARNERS:
                values = by_seed(mine, learner, predictor)
                cell = "{:.3f} [{:.3f}, {:.3f}]".format(*interval(values)) if len(values) > 1 else "to be measured"
                print(f"| {predictor} | {real:.3f} | {learner} | {len(values)} | {cell} |")


def by_seed(found, learner, predictor):
    """Return the mean AUROC over folds, for each seed that has them all."""
    mine = [row for row in found if row["learner"] == learner]
    seeds = {row["seed"] for row in mine}
    each = [[row["figures"][predictor]["auroc"] for row in mine if row["seed"] == seed] for seed in sorted(seeds)]
    return [np.mean(values) for values in each if len(values) == FOLDS]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="icu-demo", choices=[name for name in DATA if "label" in DATA[name]])
    parser.add_argument("--learners", nargs="*", default=list(LEARNERS), choices=LEARNERS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", default="runs/folds")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table()
    for seed in asked.seeds:
        for fold, parts in enumerate(folds(asked.data)):
            for learner in asked.learners:
                row = {"data": asked.data, "learner": learner, "seed": seed, "fold": fold, "minutes": asked.minutes}
                if not alike("folds", row):
                    record("folds", row | measured(asked.data, learner, seed, fold, parts, asked.minutes, asked.out))


if __name__ == "__main__":
    main()
