"""Does what is cheap to watch rank the checkpoints of a run as the whole scorecard does?

    OMP_NUM_THREADS=1 python benchmarks/ranking.py --seeds 0 1 2 --out runs/ranking
    OMP_NUM_THREADS=1 python benchmarks/ranking.py --preset rgan --seeds 0 1 2 --out runs/ranking
    python benchmarks/ranking.py --table                 # what is there so far, as Markdown

A preset (`rcgan`; `--preset rgan` for the original game) learns the ICU vitals for 1,200 steps, and each of its six
checkpoints is judged by the scorecard. Every figure of fidelity and coverage ranks them by its distance from its floor;
the mean of these ranks is that of the scorecard. Beside it Spearman's correlation of that with each similarity that was
logged, and with the minimax loss and the duality gap, plain and proximal, by clones of so many steps. How well could
they agree? As the scorecard does with itself: `halves` is the median correlation of a random half of its figures with
the other. A row a seed goes to benchmarks/results/ranking.jsonl; what is there already is not done again, and runs and
scorecards that lie in --out are taken as they are.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from results import alike, record, rows
from scipy.stats import rankdata, spearmanr

import vitalsynth
from vitalsynth.commands.theory import theory

CHECKPOINTS, EVERY = 6, 200
DIVISIONS = 500
GAPS = ("minimax", "gap", "proximal_gap")


def scorecard(run):
    """Return how every figure of fidelity and coverage ranks the checkpoints, a row a figure; 1 is the best."""
    figures = defaultdict(dict)
    judged = run.evaluations() or vitalsynth.evaluate([str(run.path)], checkpoint="all", quiet=True)
    for row in judged:
        if row["part"] in ("fidelity", "coverage") and row["value"] is not None:
            figures[row["metric"]][row["step"]] = abs(row["value"] - row["floor"])
    whole = [own for own in figures.values() if len(own) == CHECKPOINTS]
    return np.array([rankdata([own[step] for step in sorted(own)]) for own in whole])


def halves(ranks):
    """Return how a random half of the figures agrees with the other, the median of many divisions."""
    rng = np.random.default_rng(0)
    divided = (np.array_split(rng.permutation(ranks), 2) for _ in range(DIVISIONS))
    return float(np.median([spearmanr(one.mean(axis=0), other.mean(axis=0)).statistic for one, other in divided]))


def watched(run):
    """Return what was logged at the checkpoints, by measure."""
    log = run.log()
    log = log[log["step"] % EVERY == 0].sort_values("step")
    return {name: log[name].tolist() for name in log if name.startswith("similarity.") and "[" not in name}


def table(found):
    """Print Spearman's correlations, a row a measure and a column a seed."""
    print(f"| measure | {' | '.join('{preset}, seed {seed}, {clone_steps} steps'.format(**row) for row in found)} |")
    print(f"|---|{'---|' * len(found)}")
    for name in {name: None for row in found for name in row["correlations"]}:
        print(f"| {name} | {' | '.join('{:.2f}'.format(row['correlations'].get(name, np.nan)) for row in found)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--preset", default="rcgan")
    parser.add_argument("--clone-steps", type=int, default=400)
    parser.add_argument("--out", default="runs/ranking")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("ranking"))
    for seed in asked.seeds:
        row = {"data": "icu-demo", "preset": asked.preset, "seed": seed, "clone_steps": asked.clone_steps}
        if alike("ranking", row):
            continue
        settings = vitalsynth.preset(asked.preset) | {
            "steps": CHECKPOINTS * EVERY,
            "checkpoint_every": EVERY,
            "seed": seed,
        }
        path = Path(asked.out, f"{asked.preset}-{seed}")
        if not path.exists():
            vitalsynth.train("icu-demo", out=str(path), condition="died", quiet=True, **settings)
        run = vitalsynth.Run(path)
        by_figure = scorecard(run)
        ranks = by_figure.mean(axis=0).tolist()
        gaps = theory([str(run.path)], checkpoint="all", clone_steps=asked.clone_steps, quiet=True)
        measures = watched(run) | {name: [each[name] for each in gaps] for name in GAPS}
        agreeing = {"halves": halves(by_figure)} | {n: spearmanr(ranks, own).statistic for n, own in measures.items()}
        correlations = {name: round(float(each), 3) for name, each in agreeing.items()}
        found = {"ranks": ranks, "figures": len(by_figure), "measures": measures, "correlations": correlations}
        record("ranking", row | found)


if __name__ == "__main__":
    main()
