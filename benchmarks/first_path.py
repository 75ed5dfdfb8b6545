"""The first path at useful size: train on each kind of data, judge against held-out subjects, write the report.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/first_path.py [CASE ...] --out runs/first-path

Prints a JSON line per case, added to benchmarks/results/first_path.jsonl: every score with its interval and floor, and
the CPU-minutes of training. Runs stay in --out with their reports; a case whose run is there already is judged again.
"""

import argparse
import os
import time
from functools import partial
from pathlib import Path

import torch
from results import record

from vitalsynth.commands.evaluate import evaluate
from vitalsynth.commands.report import report
from vitalsynth.commands.train import train
from vitalsynth.discriminators import Convolutional
from vitalsynth.generators import LSTM

DATA = os.environ.get("VITALSYNTH_DATA", "../shared/data")
ICU_OUTCOMES = "length_of_stay,survival,saps_i,sofa"
CASES = {
    "icu-demo": {"data": "icu-demo", "condition": "died", "steps": 3000},
    "ecg5000": {"data": "ecg5000", "condition": "label", "steps": 2000, "generator": partial(LSTM, bidirectional=True)},
    "physionet2012": {
        "data": f"{DATA}/physionet2012/set-a_hourly.npz",
        "condition": "in_hospital_death",
        "drop": ICU_OUTCOMES,
        "steps": 3000,
        "generator": partial(LSTM, hidden=128, sequence_noise=32),
    },
    "fashion-mnist": {
        "data": "fashion-mnist",
        "condition": "label",
        "normalise": "minmax",
        "steps": 4000,
        "generator": partial(LSTM, hidden=192, step_noise=4, sequence_noise=64),
        "discriminator": partial(Convolutional, width=96, blocks=3),
    },
    "faces": {
        "data": "faces",
        "normalise": "minmax",
        "steps": 3000,
        "batch": 32,
        "generator": partial(LSTM, hidden=128, step_noise=2, sequence_noise=64),
        "discriminator": partial(Convolutional, width=64, blocks=3),
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for case in asked.cases or CASES:
        path = f"{asked.out}/{case}"
        began = time.process_time()
        if not Path(path).exists():
            train(**CASES[case], out=path, seed=asked.seed)
        minutes = (time.process_time() - began) / 60
        scores = evaluate([path], seed=asked.seed)
        report([path])
        row = {
            "case": case,
            "seed": asked.seed,
            "steps": CASES[case]["steps"],
            "training_cpu_minutes": round(minutes, 1),
            "held_out": scores[0]["held_out"],
            "scores": {
                score["metric"]: {
                    key: score[key] for key in ("value", "low", "high", "floor", "floor_low", "floor_high")
                }
                for score in scores
            },
        }
        record("first_path", row)


if __name__ == "__main__":
    main()
