"""Do continuations know what they do not know: 80 % bands of held-out stays, given their first hours.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/continuation.py --minutes 5
    python benchmarks/continuation.py --table            # what is there so far, as Markdown

The preset `strong` learns from four fifths of the subjects, the outcome among the statics. Each held-out stay goes on
from its first hours (the outcome unknown) in so many draws, and every value that was measured later is placed among the
draws in which it was measured: u = (draws below it + U (draws equal to it + 1)) / (draws + 1), U uniform, which is
uniform if the draws have its law (the randomised probability integral transform; Smith 1985, J. Forecasting 4, 283).
Covered is what has 0.1 <= u <= 0.9. Beside it `climate`: the same for draws of values at that hour from other stays of
the training set, which knows nothing of the stay, and the width of the bands, as a share of climate's. A row per data
set and seed goes to benchmarks/results/continuation.jsonl; what is there already is not done again.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from quality import HELD_OUT, train
from results import alike, record, rows

import vitalsynth
from vitalsynth import runs, sampling, sources

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


def place(truth, draws, rng):
    """Return where values lie among their draws, NaN where there is none, and how wide the 80 % band of draws is.

    Args:
        truth: `(n, length, channels)`, NaN where not measured.
        draws: `(n, draws, length, channels)`, likewise.
        rng: Breaks ties.
    """
    below = (draws < truth[:, None]).sum(axis=1)
    equal = (draws == truth[:, None]).sum(axis=1)
    count = (~np.isnan(draws)).sum(axis=1)
    u = (below + rng.uniform(size=truth.shape) * (equal + 1)) / (count + 1)
    u[np.isnan(truth) | (count == 0)] = np.nan
    low, high = np.nanquantile(draws, [0.1, 0.9], axis=1)
    return u, np.where(np.isnan(u), np.nan, high - low)


def covered(u, subject):
    """Return the share of values in the 80 % band, its standard error by stays, and by channel."""
    known = ~np.isnan(u)
    inside = (u >= 0.1) & (u <= 0.9)
    share = inside.sum() / known.sum()
    each = (inside.sum(axis=(1, 2)) - share * known.sum(axis=(1, 2))) / known.sum()
    by_channel = inside.sum(axis=(0, 1)) / np.maximum(known.sum(axis=(0, 1)), 1)
    return float(share), float(np.sqrt((each**2).sum())), by_channel, known.sum(axis=(0, 1))


def measure(data, seed, minutes, draws, most, path):
    """Train, let held-out stays go on, and say how often bands cover."""
    hours = DATA[data]["hours"]
    train_part, test = read(data)
    run, cost = train(train_part, vitalsynth.preset("strong"), "", seed, minutes, path)
    generator, _ = sampling.load_generator(run, device="cpu")
    stays = test.take(np.flatnonzero(test.lengths > hours)[:most])
    chunks = sampling.continued(run, generator, unknown_outcome(stays), hours, draws, seed)
    drawn = sampling.collect(chunks).values.reshape(len(stays), draws, *stays.values.shape[1:])
    rng = np.random.default_rng(seed)
    others = train_part.values[rng.integers(len(train_part), size=(len(stays), draws))]
    truth = stays.values[:, hours:]
    numbers = [j for j, column in enumerate(stays.schema.channels) if column.kind == "continuous"]
    out = dict(cost, stays=len(stays), hours=hours, draws=draws)
    widths = {}
    for name, sample in (("continued", drawn), ("climate", others)):
        u, widths[name] = place(truth[..., numbers], sample[:, :, hours:][..., numbers], rng)
        share, error, by_channel, counts = covered(u, stays.subject)
        names = [stays.schema.channels[j].name for j in numbers]
        often = {n: round(float(c), 3) for n, c, k in zip(names, by_channel, counts, strict=True) if k >= 200}
        out[name] = {"covered": share, "standard_error": error, "values": int(counts.sum()), "by_channel": often}
    both = ~np.isnan(widths["continued"]) & ~np.isnan(widths["climate"])
    scale = np.nanmean(np.where(both, widths["climate"], np.nan), axis=(0, 1))
    out["width"] = float(np.nanmean(np.where(both, widths["continued"], np.nan) / scale))
    return out


def table(found):
    """Print a Markdown table."""
    print("| data | given, h | seed | CPU-min | stays | values | in the 80 % band | climate | width / climate's |")
    print("|---" * 9 + "|")
    for row in found:
        bands = [
            f"{row[key]['covered']:.3f} ± {1.96 * row[key]['standard_error']:.3f}" for key in ("continued", "climate")
        ]
        about = f"{row['training_cpu_minutes']:.1f} | {row['stays']} | {row['continued']['values']:,}"
        print(
            f"| {row['data']} | {row['hours']} | {row['seed']} | {about} | {' | '.join(bands)} | {row['width']:.2f} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
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
            row = {"data": data, "seed": seed, "minutes": asked.minutes}
            if not alike("continuation", row):
                path = f"{asked.out}/{data}-{seed}"
                record("continuation", row | measure(data, seed, asked.minutes, asked.draws, asked.stays, path))


if __name__ == "__main__":
    main()
