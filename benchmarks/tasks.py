"""Tasks of benchmarks by name: the MIMIC-III demo and PhysioNet 2012, in both directions, split by patient.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/tasks.py --minutes 5 --seeds 0
    python benchmarks/tasks.py --table                   # what is there so far, as Markdown

A preset learns from four fifths of the patients and draws as many stays; so does a copy of the training part, which no
task tells from the real. The MIMIC-III demo has about a hundred patients: its intervals are as wide as that. A row per
cohort, learner, predictor and seed goes to benchmarks/results/tasks.jsonl; what is there already is not done again.
"""

import argparse

import numpy as np
import torch
from quality import HELD_OUT, drawn, train
from results import alike, record, rows

import vitalsynth
from vitalsynth import runs, sources
from vitalsynth.evaluation import trts, tstr
from vitalsynth.evaluation.measures import Unanswerable

TASKS = {
    "mimic3 in-hospital-mortality": ("mimic3", {"task": "in-hospital-mortality"}),
    "mimic3 length-of-stay": ("mimic3", {"task": "length-of-stay"}),
    "mimic3 decompensation": ("mimic3", {"task": "decompensation"}),
    "physionet2012 in-hospital-mortality": ("physionet2012", {"scores": True}),
    "physionet2012 length-of-stay": ("physionet2012", {"scores": True}),
}
"""What is read, and how, for each task."""
PREDICTORS = ("linear", "boosting")
CONDITIONS = ("died", "In-hospital_death")


def read(case):
    """Return the training and the held-out stays; of the demo all are taken, and what nobody has is left out."""
    source, settings = TASKS[case]
    if source == "mimic3":
        settings = settings | {"folder": str(sources.folders.default_folder("mimic3-demo")), "repair": True}
        stays = sources.read(source, include="all", **settings).drop(["Capillary refill rate"])
    else:
        stays = sources.read(source, **settings)
    return runs.part(stays, runs.cut(stays, HELD_OUT, 0), 0)


def cohort(part, learner, seed, minutes, path):
    """Return as many stays as were learned from."""
    if learner == "copy":
        return part
    condition = next(c.name for c in part.schema.statics if c.name in CONDITIONS)
    run, _ = train(part, vitalsynth.preset(learner) | {"batch": 32}, condition, seed, minutes, path)
    return drawn(run, len(part), seed)


def judged(metric, *arguments, **settings):
    """Return the figures of a metric, or why there are none."""
    try:
        return metric(*arguments, **settings)
    except Unanswerable as reason:
        return {"unanswerable": str(reason)}


def table(found):
    """Print a Markdown table of the first figure of each task."""
    print("| task | learner | predictor | figure | TSTR | TRTS | real |\n|---|---|---|---|---|---|---|")
    for row in found:
        key = "kappa" if "kappa" in row["tstr"] else "auroc"
        made, back = (with_interval(row[of], key) for of in ("tstr", "trts"))
        real = with_interval(row["tstr"], key, "_floor")
        print(f"| {row['case']} | {row['learner']} | {row['predictor']} | {key} | {made} | {back} | {real} |")


def with_interval(figures, key, of=""):
    values = [figures.get(f"{key}{of}{end}", np.nan) for end in ("", "_low", "_high")]
    return "{:.3g} [{:.3g}, {:.3g}]".format(*values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--learners", nargs="*", default=["copy", "strong"], help="copy, or presets")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--minutes", type=float, default=5, help="CPU-minutes of training, each")
    parser.add_argument("--out", default="runs/tasks")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("tasks"))
    for case in asked.cases:
        parts = None
        for learner in asked.learners:
            for seed in asked.seeds:
                row = {"case": case, "learner": learner, "seed": seed}
                row |= {} if learner == "copy" else {"minutes": asked.minutes}
                if alike("tasks", row):
                    continue
                parts = parts or read(case)
                path = f"{asked.out}/{case.replace(' ', '-')}-{learner}-{seed}"
                synthetic = cohort(parts[0], learner, seed, asked.minutes, path)
                for predictor in PREDICTORS:
                    arguments = (*parts, synthetic.like(parts[0].schema, parts[0].length), case.split()[1])
                    figures = {m.__name__: judged(m, *arguments, predictor=predictor, seed=seed) for m in (tstr, trts)}
                    record("tasks", row | {"predictor": predictor} | figures)


if __name__ == "__main__":
    main()
