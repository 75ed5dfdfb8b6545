"""What does a likelihood learner know of those it learned from? Its runs of `quality.py`, asked one by one.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/remembered.py runs/quality/ecg5000-strong-*
    python benchmarks/remembered.py --table              # what is there so far, as Markdown

A thousand sequences of the training set and a thousand held out, told apart (AUROC) by the log likelihood that the
generator gives them, by that of their outlines alone, and by how near the nearest of 4,000 drawn sequences is. At 0.5
nobody is remembered; what a judge of `quality.py` takes for real because it is remembered shows here. A row a run goes
to benchmarks/results/remembered.jsonl; what is there already is not done again.
"""

import argparse

import numpy as np
import quality
import torch
from results import alike, record, rows
from scipy.spatial.distance import cdist

from vitalsynth import runs, sampling
from vitalsynth.commands import whitebox
from vitalsynth.evaluation.privacy.figures import figures

ASKED, DRAWN = 1_000, 4_000


def some(sequences):
    """Return some of them, at random."""
    return sequences.take(np.random.default_rng(0).permutation(len(sequences))[:ASKED])


def scores(run, generator, drawn, sequences):
    """Return what is known of each sequence, by who knows it; higher for who is known better."""
    encoded = whitebox.encode(run.preparation, sequences)
    with torch.no_grad():
        likelihood, outline = generator.log_likelihood(encoded), generator.static_likelihood(encoded)
    flat = lambda part: part.values.reshape(len(part), -1)  # noqa: E731
    near = -cdist(flat(sequences), flat(drawn)).min(axis=1)
    return {"likelihood": likelihood.numpy(), "outline": outline.numpy(), "nearest drawn": near}


def remembered(run, train, test):
    """Return how well members and others are told apart, and their mean likelihoods."""
    generator, _ = sampling.load_generator(run, device="cpu")
    drawn = sampling.collect(sampling.sample(run, generator, DRAWN))
    members, others = (scores(run, generator, drawn, some(part)) for part in (train, test))
    found = {}
    for name in members:
        auroc = next(row for row in figures(members[name], others[name]) if row["figure"] == "AUROC")
        found[name] = [round(auroc[end], 4) for end in ("value", "low", "high")]
    mean = lambda own: round(float(own["likelihood"].mean()), 2)  # noqa: E731
    return {"auroc": found, "log_likelihood": {"learned": mean(members), "others": mean(others)}}


def table(found):
    """Print a row a run."""
    print("| run | steps | log likelihood, learned, others | AUROC by likelihood | by outline | by the nearest drawn |")
    print("|---" * 6 + "|")
    for row in found:
        cells = ["{:.3f} [{:.3f}, {:.3f}]".format(*row["auroc"][name]) for name in row["auroc"]]
        means = "{learned:.0f}, {others:.0f}".format(**row["log_likelihood"])
        print(f"| {row['run']} | {row['steps']:,} | {means} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("remembered"))
    for path in asked.runs:
        run = runs.Run(path)
        about = {"run": run.name, "steps": run.step}
        if not alike("remembered", about):
            data = next(name for name in sorted(quality.DATA, key=len, reverse=True) if run.name.startswith(name))
            record("remembered", about | remembered(run, *quality.read(data)))


if __name__ == "__main__":
    main()
