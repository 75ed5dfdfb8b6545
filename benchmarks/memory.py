"""Is the memory that training takes what was told before?

Each training is a process of its own: it reads its data, is told what it will hold at most, takes ten steps, and
reports the most that it held (resident set). Two ratios of told to held: of the whole, which is what must fit, and of
what came on top of the data and the program, which is what is estimated.

    python benchmarks/memory.py                   # five models, three sizes of batches each; about 15 minutes
    python benchmarks/memory.py --table           # what has been measured, as Markdown
"""

import argparse
import json
import subprocess
import sys
import tempfile

import torch
from results import record, rows

import vitalsynth
from vitalsynth import memory, sources, training
from vitalsynth.differential import patients
from vitalsynth.learner import Learner
from vitalsynth.machine import most_held

MODELS = ("rcgan", "strong", "flow", "parallel", "images")
BATCHES = (32, 256, 1024)
STEPS = 10


def measured(model, batch):
    """Return what a training was told that it would hold, what it held, and what it held before it began, in MiB."""
    images = model == "images"
    data = sources.mnist(split="train").take(slice(0, 2000)) if images else sources.read("icu-demo")
    with tempfile.TemporaryDirectory() as folder:
        settings = vitalsynth.preset(model) | {"steps": 1, "batch": 2, "condition": "label" if images else "died"}
        run = vitalsynth.train(data, out=f"{folder}/run", quiet=True, **settings)
    part, _ = run.data(data)
    encoded, asked = run.preparation.encode(part), run.record | {"batch": batch}
    before = memory.held(encoded.x.device)
    told = before + memory.needed(asked, encoded, run.preparation, patients(part.subject)).of(batch)
    learner, plan = Learner.build(asked, encoded.x.device), training.Plan.of(asked)
    with training.kept_settings(asked):
        learner.meet(encoded)
        for _ in range(STEPS):
            training.take_step(learner, encoded, plan)
    return {name: round(value / 2**20) for name, value in (("before", before), ("told", told), ("held", most_held()))}


def table(found):
    print("| model | batch | told, MiB | held, MiB | ratio | ratio of what came on top |\n" + "|---" * 6 + "|")
    for row in found:
        on_top = (row["told"] - row["before"]) / (row["held"] - row["before"])
        sizes = f"{row['batch']:,} | {row['told']:,} | {row['held']:,}"
        print(f"| {row['model']} | {sizes} | {row['told'] / row['held']:.2f} | {on_top:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--one", action="store_true", help="measure the one named in this process")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("memory"))
    for model in asked.models:
        for batch in asked.batches:
            if asked.one:
                return print(json.dumps(measured(model, batch)))
            command = [sys.executable, __file__, "--one", "--models", model, "--batches", str(batch)]
            found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
            record("memory", {"model": model, "batch": batch, "steps": STEPS} | json.loads(found))


if __name__ == "__main__":
    main()
