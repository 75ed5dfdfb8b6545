"""How useful, where few died: five folds of subjects, so that every death is predicted once.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/folds.py --minutes 10 --out runs/folds
    python benchmarks/folds.py --table                   # what is there so far, as Markdown

The fifth of the ICU demo that `quality.py` holds out has nine deaths, and an AUROC of nine deaths is hardly a figure.
Here every learner learns five times, each time without a fifth of the subjects (as many deaths in each), as
`quality.py` lets it learn; a predictor of the label learns from what it draws and is asked about the subjects left
out, beside the same predictor after real ones. It learns from as many sequences as there are real ones, and from eight
times as many: two draws of a thousand stays with 57 deaths, from one and the same generator, can be 0.1 apart, and
that is no property of the generator. A forecaster learns from it as well, for of hours there are enough. And how far
the statics of its deaths differ from those of its survivors is set against how far the real ones do. A row per seed
and fold goes to benchmarks/results/folds.jsonl; what is there already is not done again. The table has the mean over
folds (of predictors after eight times as many), its 95 % interval over seeds of training, and the root mean square of
what differences of statics are off by.
"""

import argparse

import numpy as np
import torch
from quality import DATA, FIRST, drawn, interval, train
from results import alike, record, rows
from sklearn.model_selection import StratifiedGroupKFold
from stabilisers import changed

from vitalsynth import preset, sources
from vitalsynth.evaluation import forecast, tstr

FOLDS = 5
RCGAN = preset("rcgan")
LEARNERS = {
    "rcgan": RCGAN,
    "rcgan-no-emphasis": RCGAN | changed(RCGAN, "discriminator", emphasis=False),
    "first": FIRST,
}
PREDICTORS = ("convolutions", "boosting", "linear")
TIMES = {1: "as many", 8: "eight times as many"}
FEWEST_SEEDS = 3


def folds(data):
    """Yield the training and the held-out part of each fold."""
    sequences = sources.read(DATA[data]["source"], **DATA[data]["settings"])
    labels = sequences.static_column(DATA[data]["label"])
    cuts = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for part in cuts.split(labels, labels, sequences.subject):
        yield tuple(sequences.take(np.sort(chosen)) for chosen in part)


def measured(data, learner, seed, fold, parts, minutes, out):
    """Return a row: what a learner cost, and how useful what it draws is to each predictor, in each number."""
    label = DATA[data]["label"]
    run, cost = train(parts[0], LEARNERS[learner], label, seed, minutes, f"{out}/{data}-{learner}-{seed}-{fold}")
    synthetic = drawn(run, max(TIMES) * len(parts[0]), seed)
    found = {
        (predictor, times): tstr(*parts, synthetic, label, predictor=predictor, times=times)
        for predictor in PREDICTORS
        for times in TIMES
    }
    figures = {f"{predictor}, {times}": each["auroc"] for (predictor, times), each in found.items()}
    floors = {predictor: found[predictor, 1]["auroc_floor"] for predictor in PREDICTORS}
    foretold = {name: value for name, value in forecast(*parts, synthetic).items() if name.startswith("error")}
    off = statics_off(parts[0], synthetic, label)
    return cost | {"figures": figures, "floors": floors, "forecast": foretold, "statics_off": off}


def statics_off(real, synthetic, label):
    """Return how far each static's difference between deaths and survivors is from the real one, in deviations."""
    names = [column.name for column in real.schema.statics if column.name != label and column.kind != "categorical"]

    def difference(sequences, name):
        values, died = sequences.static_column(name), sequences.static_column(label) == 1
        return (np.nanmean(values[died]) - np.nanmean(values[~died])) / np.nanstd(real.static_column(name))

    return {name: round(float(difference(synthetic, name) - difference(real, name)), 4) for name in names}


def table():
    """Print a Markdown table: the mean over folds, its 95 % interval over seeds if there are three."""
    found = rows("folds")
    for data, minutes in dict.fromkeys((row["data"], row["minutes"]) for row in found):
        mine = [row for row in found if (row["data"], row["minutes"]) == (data, minutes)]
        print(f"| {data}, {minutes:g} CPU-min, TSTR by | real | {' | '.join(LEARNERS)} |")
        print("|---" * (2 + len(LEARNERS)) + "|")
        for title in beside_real(mine[0]):
            real = np.mean([beside_real(row)[title][1] for row in mine])
            cells = [cell(by_seed(mine, learner, title)) for learner in LEARNERS]
            print(f"| {title} | {real:.3f} | {' | '.join(cells)} |")
        for name in sorted({name for row in mine for name in row.get("statics_off", ())}):
            off = [[row["statics_off"][name] for row in mine if row["learner"] == learner] for learner in LEARNERS]
            cells = [f"{np.sqrt(np.mean(np.square(each))):.2f} ({len(each)})" if each else "" for each in off]
            print(f"| difference in {name}, off by (trainings) | 0 | {' | '.join(cells)} |")


def beside_real(row):
    """Return each figure of the table, by its title, and the same after real sequences."""
    useful = {name: (row["figures"][f"{name}, {max(TIMES)}"], row["floors"][name]) for name in PREDICTORS}
    foretold = (row["forecast"]["error"], row["forecast"]["error_floor"])
    return useful | {"mean of these": np.mean(list(useful.values()), axis=0), "forecast error": foretold}


def by_seed(found, learner, title):
    """Return the mean of a figure over folds, for each seed that has all folds."""
    mine = [row for row in found if row["learner"] == learner]
    seeds = sorted({row["seed"] for row in mine})
    of = [[beside_real(row)[title][0] for row in mine if row["seed"] == seed] for seed in seeds]
    return [np.mean(each) for each in of if len(each) == FOLDS]


def cell(values):
    """Return a mean with its interval over seeds, and how many there are; as they are, if they are too few for one."""
    if len(values) < FEWEST_SEEDS:
        return ", ".join(f"{value:.3f}" for value in values) or "to be measured"
    return "{:.3f} [{:.3f}, {:.3f}], {} seeds".format(*interval(values), len(values))


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
