"""Are synthetic sequences useful where there is no label: does a forecaster that learned from them foretell real ones.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/forecasting.py --minutes 2 --out runs/quality
    python benchmarks/forecasting.py --table             # what is there so far, as Markdown

The error is that one step ahead, as a share of what always foretelling the last value errs by
(`vitalsynth.evaluation.forecast`); the floor learns from as many real sequences. Learners and held-out parts are those
of quality.py, whose runs below --out are taken as they are, and trained where they are not there. A row per data set,
learner and seed goes to benchmarks/results/forecasting.jsonl; what is there already is not done again.
"""

import argparse

import torch
from folds import cell
from quality import DATA, LEARNERS, drawn, enough, read, settings_of, train
from results import alike, record, rows

from vitalsynth.evaluation import forecast

ON = ("etth1-24", "energy-24", "sines", "etth1-128")


def table(found):
    """Print a Markdown table: the mean over seeds with its 95 % interval, if there are enough."""
    learners = list(dict.fromkeys(row["learner"] for row in found))
    print(f"| data | CPU-min | real | {' | '.join(learners)} |")
    print("|---" * (3 + len(learners)) + "|")
    for data, minutes in dict.fromkeys((row["data"], row["minutes"]) for row in found):
        mine = [row for row in found if (row["data"], row["minutes"]) == (data, minutes)]
        errors = [[row["figures"]["error"] for row in mine if row["learner"] == learner] for learner in learners]
        print(f"| {data} | {minutes:g} | {mine[0]['figures']['error_floor']:.3f} | {' | '.join(map(cell, errors))} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(ON), choices=list(DATA))
    parser.add_argument("--learners", nargs="*", default=["first", "rcgan"], choices=LEARNERS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--out", default="runs/quality")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("forecasting"))
    for data in asked.data:
        parts = read(data)
        for seed in asked.seeds:
            for learner in asked.learners:
                row = {"data": data, "learner": learner, "seed": seed, "minutes": asked.minutes}
                if alike("forecasting", row):
                    continue
                path = f"{asked.out}/{data}-{learner}-{seed}"
                run, cost = train(parts[0], settings_of(learner), DATA[data].get("label"), seed, asked.minutes, path)
                found = forecast(*parts, drawn(run, enough(parts), seed))
                figures = {name: round(value, 4) for name, value in found.items()}
                record("forecasting", row | cost | {"figures": figures})


if __name__ == "__main__":
    main()
