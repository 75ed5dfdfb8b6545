"""The literature's scores, on real data, of what is not worth publishing: which of it do they let pass?

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/literature_anchors.py
    python benchmarks/literature_anchors.py --table      # what is there so far, as Markdown

Windows of 24 hours of ETTh1, judged as published: against the windows that were learned from, with the published
iterations. Nobody learned anything: the windows themselves, the same reversed in time, draws from a Gaussian fitted to
them, blocks of them put together anew, real windows of other blocks of time. For the predictive score also the last
value carried on. Beside them a strong judge of ours, on the held-out blocks. Published for real windows on ETTh is a
predictive score of 0.119 to 0.121. A row per case goes to benchmarks/results/literature_anchors.jsonl; what is there
already is not done again.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from quality import read
from results import alike, record, rows
from scipy.stats import t

from vitalsynth.evaluation import literature, two_sample
from vitalsynth.evaluation.baselines import block_bootstrap, gaussian
from vitalsynth.evaluation.tsgbench import MEASURES

HELD_OUT = "held-out real"
CASES = {
    "time-reversed": lambda train, test: replace(train, values=train.values[:, ::-1].copy()),
    "gaussian": lambda train, test: gaussian(train, len(train)),
    "copy": lambda train, test: train,
    HELD_OUT: lambda train, test: test,
    "block-bootstrap": lambda train, test: block_bootstrap(train, len(train)),
}
FIFTHS = 5
CARRIED_ON = "last value carried on"


def measure(train, test, synthetic, repeats):
    """Return all scores against the training windows, as published, and ours against the held-out ones."""
    known, made = (torch.from_numpy(literature.scaled(train, part)).float() for part in (train, synthetic))
    rng = np.random.default_rng(0)
    same = known[np.sort(rng.permutation(len(known))[: len(made)])]  # as many: accuracy is of halves
    fifth = lambda x: x.numpy()[rng.integers(len(x), size=len(x) // 5)]  # noqa: E731
    return {
        "discriminative": literature.over_judges(lambda: literature.told_apart(same, made, 2000), repeats, 0),
        "predictive": literature.over_judges(lambda: literature.foretold(made, known, 5000), repeats, 0),
        "correlational": literature.over_judges(
            lambda: literature.correlations_off(fifth(same), fifth(made)), FIFTHS, 0
        ),
        "tsgbench": {key: of(same.double().numpy(), made.double().numpy()) for key, of in MEASURES.items()},
        "two_sample": two_sample(train, test, synthetic),
    }


def table(found):
    """Print a Markdown table: means and standard errors over judges."""
    titles = [
        "discriminative",
        "predictive",
        "correlational",
        *map(str.upper, MEASURES),
        "two-sample AUROC (floor)",
    ]
    print(f"| windows | {' | '.join(titles)} |\n{'|---' * (1 + len(titles))}|")
    for row in found:
        if row["case"] == CARRIED_ON:
            print(f"| {CARRIED_ON} | | {row['predictive']:.4f} |{' |' * (len(titles) - 2)}")
            continue
        judges = [row["repeats"], row["repeats"], FIFTHS]
        published = [_over_judges(*row[key][::2], count) for key, count in zip(titles[:3], judges, strict=True)]
        plain = [f"{value:.3g}" for value in row["tsgbench"].values()]
        ours = f"{row['two_sample']['auroc']:.3f} ({row['two_sample']['auroc_floor']:.3f})"
        if row["case"] == HELD_OUT:  # which ours would judge against themselves
            ours = ""
        print(f"| {' | '.join([row['case'], *published, *plain, ours])} |")


def _over_judges(mean, high, count):
    """Write a mean and its standard error, from Student's interval."""
    return f"{mean:.3f} ± {(high - mean) / t.ppf(0.975, count - 1):.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2, help="judges; 5 are published")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("literature_anchors"))
    train, test = read("etth1-24")
    for case, make in CASES.items():
        row = {"data": "etth1-24", "case": case, "repeats": asked.repeats}
        if not alike("literature_anchors", row):
            record("literature_anchors", row | measure(train, test, make(train, test), asked.repeats))
    row = {"data": "etth1-24", "case": CARRIED_ON}
    if not alike("literature_anchors", row):
        last = literature.scaled(train, train)[..., -1]
        record("literature_anchors", row | {"predictive": float(np.abs(np.diff(last, axis=1)).mean())})


if __name__ == "__main__":
    main()
