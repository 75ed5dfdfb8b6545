"""What it brings to share every batch: steps a second with one process and with two, of the same batches.

    OMP_NUM_THREADS=1 python benchmarks/devices.py            # two processes on the CPU, one thread each
    python benchmarks/devices.py --device cuda                # two GPUs
    python benchmarks/devices.py --table

Each preset learns ICU vitals in batches of two parts, worked out by one process or by two, which take turns; a figure
is the steps a second between the first checkpoint and the last, so that no start is in it. `log` says whether both
wrote the same. A row a preset and batch goes to benchmarks/results/devices.jsonl: medians and quartiles over rounds.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from results import record, rows, spread

import vitalsynth
from vitalsynth.monitoring.similarity import Similarity
from vitalsynth.runs import jsonl

PRESETS = ("rcgan", "strong", "flow")
BATCHES = (32, 256)


def measured(preset, batch, devices, device, steps, folder):
    """Train, and return the steps a second and the log."""
    settings = vitalsynth.preset(preset) | {"steps": steps, "checkpoint_every": steps // 2, "batch": batch}
    watched = {"gradients": 0, "similarity": Similarity(every=0), "microbatches": 2}
    run = vitalsynth.train(
        "icu-demo", out=folder, condition="died", device=device, devices=devices, quiet=True, **settings, **watched
    )
    *_, half, end, _ = [row["seconds"] for row in jsonl.rows(run.path / "clock.jsonl")]
    return steps / 2 / (end - half), (run.path / "log.jsonl").read_bytes()


def table(found):
    print("| preset | batch | one process, steps a second | two | two over one | same log | on |\n" + "|---" * 7 + "|")
    for row in found:
        cells = " | ".join("{} [{}, {}]".format(*row[name]) for name in ("one", "two", "ratio"))
        print(f"| {row['preset']} | {row['batch']} | {cells} | {row['log']} | {row['device']} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--batches", nargs="*", type=int, default=list(BATCHES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("devices"))
    for preset in asked.presets:
        for batch in asked.batches:
            found = {1: [], 2: []}
            logs = set()
            with tempfile.TemporaryDirectory() as folder:
                for k in range(asked.rounds):
                    for devices, speeds in found.items():
                        place = str(Path(folder, f"{devices}-{k}"))
                        speed, log = measured(preset, batch, devices, asked.device, asked.steps, place)
                        speeds.append(speed)
                        logs.add(log)
            ratios = np.array(found[2]) / np.array(found[1])
            about = {"preset": preset, "batch": batch, "device": asked.device, "rounds": asked.rounds}
            figures = {"one": spread(found[1]), "two": spread(found[2]), "ratio": spread(ratios)}
            record("devices", about | figures | {"log": len(logs) == 1})


if __name__ == "__main__":
    main()
