"""What looking on costs: shares of training time of gradients by layer and of similarity, at their default intervals.

    OMP_NUM_THREADS=1 python benchmarks/watching.py

Each preset trains on the ICU vitals with all that looks on at its default interval, and without; in one process, taking
turns, in CPU-seconds (this machine is shared). `shares` are by the run's own clock; `ratio` is the whole, with over
without. A JSON line per preset is printed and added to benchmarks/results/watching.jsonl.
"""

import argparse
import json
import tempfile
import time

import torch
from results import record

from vitalsynth import preset, sources
from vitalsynth.commands.train import train
from vitalsynth.monitoring.similarity import Similarity

OFF = {"gradients": 0, "similarity": Similarity(every=0)}


def cpu_seconds(sequences, folder, settings):
    """Train once; return CPU-seconds and the last row of the clock."""
    began = time.process_time()
    run = train(sequences, out=folder, condition="died", quiet=True, **settings)
    return time.process_time() - began, json.loads((run.path / "clock.jsonl").read_text().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["rcgan", "strong"])
    parser.add_argument("--steps", type=int, default=1000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sequences = sources.read("icu-demo")
    for name in asked.presets:
        settings = preset(name) | {"steps": asked.steps}
        with tempfile.TemporaryDirectory() as folder:
            without, _ = cpu_seconds(sequences, f"{folder}/without", settings | OFF)
            watched, clock = cpu_seconds(sequences, f"{folder}/with", settings)
        shares = {what: round(seconds / clock["seconds"], 4) for what, seconds in clock["watching"].items()}
        figures = {"cpu_seconds": round(watched, 1), "without": round(without, 1), "ratio": round(watched / without, 3)}
        record("watching", {"preset": name, "steps": asked.steps, "shares": shares, **figures})


if __name__ == "__main__":
    main()
