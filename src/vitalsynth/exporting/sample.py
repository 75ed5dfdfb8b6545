"""Draw a synthetic cohort from an exported generator: needs numpy, and onnxruntime (generator.onnx) or torch (.pt2).

    python sample.py --count 1000 --out cohort.csv [--seed 0] [--condition died=1,sex=Female]

The cohort is a long table with the columns of the data that the generator was trained on. Nothing here belongs to
vitalsynth but this file's origin; copy and change it as you like.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CHUNK = 1024


def load():
    """Return a function from (noise, condition), float32 arrays, to (values, lengths, static), in physical units."""
    if (HERE / "generator.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(str(HERE / "generator.onnx"))
        return lambda noise, condition: session.run(None, {"noise": noise, "condition": condition})
    import torch

    module = torch.export.load(str(HERE / "generator.pt2")).module()
    return lambda *inputs: [part.numpy() for part in module(*map(torch.from_numpy, inputs))]


def conditions(about, count, fixed, random):
    """Draw conditions as the training set had them, of those that have the labels asked for."""
    rows = [
        row
        for row in about["conditions"]
        if all(str(row["labels"].get(name)) == label for name, label in fixed.items())
    ]
    if not rows:
        sys.exit(f"no condition has {fixed}; there are: {[row['labels'] for row in about['conditions']]}")
    weights = np.array([row["weight"] for row in rows], dtype=float)
    chosen = random.choice(len(rows), size=count, p=weights / weights.sum())
    return np.array([row["encoded"] for row in rows], dtype=np.float32).reshape(len(rows), -1)[chosen]


def cell(value, column):
    """Write a number as the table has it: a label, a number, or nothing."""
    if np.isnan(value):
        return ""
    if column["kind"] == "continuous":
        return repr(float(value))
    return column["categories"][int(value)] if column["categories"] else int(value)


def main():
    """Read the command line, draw, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, required=True, help="number of sequences")
    parser.add_argument("--out", required=True, help="CSV file to write")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another cohort")
    parser.add_argument("--condition", default="", help="labels to fix, such as died=1,sex=Female")
    arguments = parser.parse_args()
    about = json.loads((HERE / "about.json").read_text())
    fixed = dict(pair.split("=", 1) for pair in arguments.condition.split(",") if pair)
    if unknown := set(fixed) - {name for row in about["conditions"] for name in row["labels"]}:
        sys.exit(f"the generator is not conditioned on {', '.join(sorted(unknown))}")
    generator, random = load(), np.random.default_rng(arguments.seed)
    columns = [about["id"], about["time"], *(c["name"] for c in [*about["channels"], *about["statics"]])]
    with open(arguments.out, "x", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for first in range(0, arguments.count, CHUNK):
            count = min(CHUNK, arguments.count - first)
            noise = random.standard_normal((count, about["noise"])).astype(np.float32)
            values, lengths, static = generator(noise, conditions(about, count, fixed, random))
            for j in range(count):
                fixed_cells = [cell(v, c) for v, c in zip(static[j], about["statics"], strict=True)]
                for t in range(int(lengths[j])):
                    cells = [cell(v, c) for v, c in zip(values[j, t], about["channels"], strict=True)]
                    time = about["start"] + t * about["step_duration"]
                    table.writerow([first + j, int(time) if time == int(time) else time, *cells, *fixed_cells])


if __name__ == "__main__":
    main()
