"""Does it collapse: a preset, untouched, from many seeds, and how much of the held-out data its samples cover.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/collapse.py --minutes 0.7 --out runs/collapse
    python benchmarks/collapse.py --table                # what is there so far, as Markdown

A generator that has collapsed covers little: coverage (Naeem et al. 2020, arXiv 2002.09797) is the share of held-out
sequences that have a synthetic one nearby, beside its floor, the same with training sequences. A seed has collapsed if
its coverage is below half the floor. Data sets and the time each is given are those of quality.py. A row per case goes
to benchmarks/results/collapse.jsonl; what is there already is not done again.
"""

import argparse

import numpy as np
import torch
from quality import DATA, drawn, enough, read, train
from results import alike, record, rows

import vitalsynth
from vitalsynth.evaluation import coverage
from vitalsynth.training import Diverged

ON = ("icu-demo", "etth1-24", "sines", "energy-24", "ecg5000")


def measure(data, preset, seed, minutes, path):
    """Train, draw and count what is covered."""
    parts = read(data)
    try:
        run, cost = train(parts[0], vitalsynth.preset(preset), DATA[data].get("label"), seed, minutes, path)
    except Diverged:
        return {"diverged": True, "coverage": 0.0, "floor": 1.0}
    found = coverage(*parts, drawn(run, enough(parts), seed))
    return cost | {"coverage": found["coverage"], "floor": found["coverage_floor"]}


def table(found):
    """Print a Markdown table: the range over seeds, and how many collapsed."""
    print("| data | preset | seeds | CPU-min, median | coverage, median [least, most] | floor | collapsed |")
    print("|---" * 7 + "|")
    for data, preset in dict.fromkeys((row["data"], row["preset"]) for row in found):
        mine = [row for row in found if (row["data"], row["preset"]) == (data, preset)]
        values, floors = np.array([[row["coverage"], row["floor"]] for row in mine]).T
        minutes = np.median([row.get("training_cpu_minutes", 0) for row in mine])
        spread = f"{np.median(values):.3f} [{values.min():.3f}, {values.max():.3f}]"
        collapsed = int((values < floors / 2).sum())
        print(f"| {data} | {preset} | {len(mine)} | {minutes:.1f} | {spread} | {np.median(floors):.3f} | {collapsed} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(ON), choices=list(DATA))
    parser.add_argument("--preset", default="rcgan")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=0.7)
    parser.add_argument("--out", default="runs/collapse")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("collapse"))
    for seed in range(asked.seeds):
        for data in asked.data:
            row = {"data": data, "preset": asked.preset, "seed": seed, "minutes": asked.minutes}
            if alike("collapse", row):
                continue
            path = f"{asked.out}/{data}-{seed}"
            record("collapse", row | measure(data, asked.preset, seed, asked.minutes, path))


if __name__ == "__main__":
    main()
