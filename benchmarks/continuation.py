"""Do continuations know what they do not know: 80 % bands of held-out stays, given their first hours.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/continuation.py --minutes 5
    python benchmarks/continuation.py --table            # what is there so far, as Markdown

A preset (`--preset rcgan --pasts 0.5`, by default `strong`) learns from four fifths of the subjects, the outcome among
the statics. Each held-out stay goes on from its first hours (the outcome unknown) in so many draws, which
`evaluation.calibration` sets against what came. Beside it `climate`: the same for draws of values at that hour from
other stays of the training set, which knows nothing of the stay, and the width of the bands, as a share of climate's. A
row per data set, learner and seed goes to benchmarks/results/continuation.jsonl; what is there is not done again.
"""

import argparse
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from quality import HELD_OUT, train
from results import alike, record, rows

import vitalsynth
from vitalsynth import runs, sampling, sources
from vitalsynth.evaluation import calibration

OUTCOMES = ("died", "in_hospital_death")
DATA = {
    "icu-demo": {"source": "icu-demo", "hours": 12},
    "physionet2012": {"source": "physionet2012", "hours": 24},
}


def read(data):
    """Return a data set's training and held-out part."""
    sequences = sources.read(DATA[data]["source"])
    return runs.part(sequences, runs.cut(sequences, HELD_OUT, 0), 0)


def unknown_outcome(stays):
    """Return stays of whom it is not known whether they died."""
    static = stays.static.copy()
    for j, column in enumerate(stays.schema.statics):
        if column.name in OUTCOMES:
            static[:, j] = np.nan
    return replace(stays, static=static)


def settings_of(preset, pasts):
    """Return a preset's settings, its generator learning from pasts if it is to."""
    settings = vitalsynth.preset(preset)
    return settings | {"generator": partial(settings["generator"], pasts=pasts)} if pasts else settings


def measure(data, settings, seed, minutes, draws, most, path):
    """Train, let held-out stays go on, and say how often bands cover."""
    hours = DATA[data]["hours"]
    train_part, test = read(data)
    run, cost = train(train_part, settings, "", seed, minutes, path)
    generator, _ = sampling.load_generator(run, device="cpu")
    stays = test.take(np.flatnonzero(test.lengths > hours)[:most])
    drawn = sampling.collect(sampling.continued(run, generator, unknown_outcome(stays), hours, draws, seed))
    figures = calibration(train_part, stays, drawn, hours, seed)
    return figures | cost | {"stays": len(stays), "hours": hours, "draws": draws}


def table(found):
    """Print a Markdown table."""
    print("| data | given, h | learner | seed | CPU-min | stays | values | in the band | climate | width / climate's |")
    print("|---" * 10 + "|")
    for row in found:
        keys = ("outside{}", "outside{}_high", "outside{}_low")
        ends = [[1 - row[key.format(which)] for key in keys] for which in ("", "_floor")]
        bands = ["{:.3f} [{:.3f}, {:.3f}]".format(*each) for each in ends]
        about = f"{row['training_cpu_minutes']:.1f} | {row['stays']} | {row['values']:,.0f} | {' | '.join(bands)}"
        print(f"| {row['data']} | {row['hours']} | {row['preset']} | {row['seed']} | {about} | {row['width']:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--preset", default="strong")
    parser.add_argument("--pasts", type=float, default=0.0, help="of the generator, where it needs to learn from them")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--stays", type=int, default=300, help="at most so many go on")
    parser.add_argument("--out", default="runs/continuation")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("continuation"))
    for seed in asked.seeds:
        for data in asked.data:
            row = {"data": data, "preset": asked.preset, "pasts": asked.pasts, "seed": seed, "minutes": asked.minutes}
            if not alike("continuation", row):
                path, settings = f"{asked.out}/{data}-{asked.preset}-{seed}", settings_of(asked.preset, asked.pasts)
                found = measure(data, settings, seed, asked.minutes, asked.draws, asked.stays, path)
                record("continuation", row | found)


if __name__ == "__main__":
    main()
