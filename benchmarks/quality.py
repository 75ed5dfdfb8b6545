"""How good: learners against each other and against trivial generators, strong judges first.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/quality.py --minutes 10 --out runs/quality
    python benchmarks/quality.py --table                 # what is there so far, as Markdown
    python benchmarks/quality.py --against rcgan first   # whether intervals over seeds overlap

Each learner is a preset, untouched but for its number of steps and the schedules that end with them: 40 steps are
timed, and as many are taken as fit into --minutes of CPU time. Each is judged on subjects (or blocks of time) that
training never saw, beside the floor of real data. A row per case goes to benchmarks/results/quality.jsonl; what is
there already is not done again.
"""

import argparse
import json
import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from results import alike, record, rows
from scipy import stats

import vitalsynth
from vitalsynth import discriminators, generators, objectives, runs, sampling, sources, storage
from vitalsynth.components import class_of, describe
from vitalsynth.evaluation import coverage, discriminative_score, mmd, predictive_score, tstr, two_sample
from vitalsynth.evaluation.baselines import BASELINES
from vitalsynth.runs import jsonl
from vitalsynth.schedules import Cosine
from vitalsynth.sequences import Sequences
from vitalsynth.stabilisers import InstanceNoise

DATA = {
    "sines": {"source": "sines", "settings": {"count": 5000}},
    "etth1-24": {"source": "etth1", "settings": {"length": 24}},
    "etth1-128": {"source": "etth1", "settings": {"length": 128, "stride": 2}},
    "energy-24": {"source": "energy", "settings": {"length": 24}},
    "ecg5000": {"source": "ecg5000", "settings": {"split": "all"}, "label": "label"},
    "icu-demo": {"source": "icu-demo", "settings": {}, "label": "died"},
    "physionet2012": {"source": "physionet2012", "settings": {}, "label": "In-hospital_death"},
}
LEARNERS = ("strong", "small-data", "rcgan", "parallel", "flow", "rgan", "first")
FIRST = {  # the first settings there were, with a critic that learns to see: what presets are to be better than
    "generator": partial(generators.LSTM, places=0),
    "discriminator": discriminators.Convolutional,
    "objective": objectives.Relativistic,
    "batch": 64,
}
HELD_OUT = 0.2
FEWEST_STEPS = 100


def read(data):
    """Return a data set's training and held-out part; the division is the same for every seed of training."""
    case = DATA[data]
    sequences = sources.read(case["source"], **case["settings"])
    return runs.part(sequences, runs.cut(sequences, HELD_OUT, 0), 0)


def settings_of(learner):
    """Return the preset of a learner's name; of `first`, which is none, what there was before presets."""
    return FIRST if learner == "first" else vitalsynth.preset(learner)


def train(part, settings, label, seed, minutes, path):
    """Train with a preset's settings, or others, for so many CPU-minutes; return the run and what it cost.

    On a GPU, if there is one; the process waits for it, so that its CPU-minutes are minutes by the clock. A run that
    lies there is taken as it is, and carried on first if it was stopped.
    """
    if run := begun(path):
        assert run.record["data"]["digest"] == part.digest(), f"{path} learned from other data"
        if run.step < target_of(run):
            vitalsynth.continue_(str(path), steps=target_of(run), data=part, quiet=True)
        return run, cost_of(run)
    settings = settings | {"condition": label or "", "seed": seed, "held_out": 0, "quiet": True}
    settings.pop("steps", None)

    def trained(steps, part):
        shutil.rmtree(path, ignore_errors=True)
        began = time.process_time()
        run = vitalsynth.train(part, out=path, checkpoint_every=steps, **settings | shortened(settings, steps))
        return run, time.process_time() - began

    few = part.take(slice(0, 2000))  # a step takes as long, and what comes before the first is no step
    trained(5, few)  # what comes first takes longer
    each = max(1e-4, (trained(45, few)[1] - trained(5, few)[1]) / 40)
    steps = max(FEWEST_STEPS, round(60 * minutes / each / 50) * 50)
    run, seconds = trained(steps, part)
    return run, cost_of(run) | {"training_cpu_minutes": round(seconds / 60, 2)}


def begun(path):
    """Return the run that lies there; those few steps that tell how long one takes are none."""
    run = runs.Run(path) if (Path(path) / "checkpoints").exists() else None
    return run if run and target_of(run) >= FEWEST_STEPS else None


def target_of(run):
    """Return how many steps were asked for."""
    return [row["target"] for row in jsonl.rows(run.path / "clock.jsonl") if row["event"] == "begin"][-1]


def cost_of(run):
    """Return how many steps a run took, for how long, and on what."""
    ends = [row for row in jsonl.rows(run.path / "clock.jsonl") if row["event"] == "end"]
    minutes = sum(row["seconds"] for row in ends) / 60
    cost = {"steps": run.step, "training_minutes_by_the_clock": round(minutes, 1), "trained_with": ends[-1]["device"]}
    spent = run.newest()[1].get("privacy") or {}
    return cost | ({"epsilon_spent": round(spent["epsilon"], 4)} if spent else {})


def learned(part, settings, label, seed, minutes, path, count):
    """Return what a learner draws, and what it cost.

    It is kept in PATH.npz, and taken from there if it is there: learning and judging may be on two machines.
    """
    kept = Path(f"{path}.npz")
    if not kept.exists():
        run, cost = train(part, settings, label, seed, minutes, path)
        generator, _ = sampling.load_generator(run)
        found = sampling.collect(sampling.sample(run, generator, count, seed=seed))
        parts = {"values": found.values, "static": found.static, "lengths": found.lengths}
        with storage.atomic_path(kept) as half, half.open("wb") as file:
            np.savez_compressed(file, **parts, cost=json.dumps(cost))
    with np.load(kept) as file:
        parts = {name: file[name] for name in ("values", "static", "lengths")}
        return Sequences(schema=part.schema, **parts), json.loads(str(file["cost"]))


def shortened(settings, steps):
    """Return so many steps, cosines of either player that end with them, and instance noise that is gone by half."""
    found = {name: settings[name] for name in ("generator_schedule", "discriminator_schedule") if name in settings}
    cosines = {name: describe(given)["init_args"] for name, given in found.items() if class_of(given) is Cosine}
    course = lambda own: own | {"over": steps, "warmup": min(own["warmup"], steps // 2)}  # noqa: E731
    changed = {name: partial(Cosine, **course(own)) for name, own in cosines.items()}
    stabilisers = [
        partial(each, over=min(describe(each)["init_args"]["over"], steps // 2))
        if class_of(each) is InstanceNoise
        else each
        for each in settings.get("stabilisers", ())
    ]
    return {"steps": steps, "stabilisers": stabilisers} | changed


def enough(parts):
    """Return how many sequences are drawn to be judged."""
    return min(max(1000, len(parts[1])), 3000)


def drawn(run, count, seed):
    """Return what a run draws."""
    generator, _ = sampling.load_generator(run, device="cpu")
    return sampling.collect(sampling.sample(run, generator, count, seed=seed))


def judge(parts, synthetic, label):
    """Return the figures, strong judges first."""
    figures = {
        "two_sample": two_sample(*parts, synthetic),
        "coverage": coverage(*parts, synthetic),
        "mmd": mmd(*parts, synthetic),
    }
    if label:
        figures["tstr"] = tstr(*parts, synthetic, label)
    return figures


def literature(parts, synthetic):
    """Return the scores of the literature, which are defined without gaps only."""
    if np.isnan(parts[0].values).any():
        return {}
    scores = {"discriminative": discriminative_score, "predictive": predictive_score}
    return {name: score(*parts, synthetic, repeats=1) for name, score in scores.items()}


COLUMNS = {
    "two-sample AUROC (floor)": ("two_sample", "auroc"),
    "coverage (floor)": ("coverage", "coverage"),
    "TSTR AUROC (real)": ("tstr", "auroc"),
    "discriminative (floor)": ("discriminative", "score"),
    "predictive (floor)": ("predictive", "mae"),
}


def newest():
    """Return the newest row of each case."""
    case = ("data", "learner", "seed", "minutes")
    return list({tuple(row[name] for name in case): row for row in rows("quality")}.values())


def table(found):
    """Print a Markdown table: the median over seeds, with the smallest and the largest."""
    print(f"| data | learner | seeds | CPU-min | {' | '.join(COLUMNS)} |")
    print("|---" * (4 + len(COLUMNS)) + "|")
    for data in DATA:
        for learner in (*LEARNERS, *BASELINES):
            mine = [row for row in found if row["data"] == data and row["learner"] == learner]
            if mine:
                minutes = np.median([row.get("training_cpu_minutes", 0) for row in mine])
                cells = [
                    _cell([row["figures"].get(figure, {}) for row in mine], key) for figure, key in COLUMNS.values()
                ]
                print(f"| {data} | {learner} | {len(mine)} | {minutes:.1f} | {' | '.join(cells)} |")


def against(found, learner, other):
    """Print a Markdown table of two learners: means with their 95 % intervals over seeds, and whether these overlap."""
    print(f"| data | figure | floor | {other} | {learner} | |")
    print("|---" * 6 + "|")
    for data in DATA:
        for title, (figure, key) in COLUMNS.items():
            figures = [
                [row["figures"].get(figure, {}) for row in found if (row["data"], row["learner"]) == (data, name)]
                for name in (other, learner)
            ]
            values = [[each[key] for each in mine if key in each] for mine in figures]
            if min(map(len, values)) < 2:
                continue
            floor = np.median([each[f"{key}_floor"] for mine in figures for each in mine])
            theirs, ours = map(interval, values)
            apart = "apart" if ours[1] > theirs[2] or ours[2] < theirs[1] else "overlap"
            cells = [f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high in (theirs, ours)]
            print(f"| {data} | {title.partition(' (')[0]} | {floor:.3f} | {' | '.join(cells)} | {apart} |")


def interval(values):
    """Return the mean, and its 95 % interval by Student's t."""
    mean, error = np.mean(values), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return mean, mean - error, mean + error


def _cell(figures, key):
    values = [each[key] for each in figures if key in each]
    if not values:
        return ""
    floors = np.median([each[f"{key}_floor"] for each in figures if key in each])
    return f"{np.median(values):.3f} [{min(values):.3f}, {max(values):.3f}] ({floors:.3f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--learners", nargs="*", default=[*BASELINES, *LEARNERS], choices=[*BASELINES, *LEARNERS])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--literature",
        action="store_true",
        help="also the scores of the literature, which take minutes, of rows without",
    )
    parser.add_argument("--out", default="runs/quality")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--against", nargs=2, metavar="LEARNER", help="a table of two learners, the better one first")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.against:
        return against(newest(), *asked.against)
    if asked.table:
        return table(newest())
    for seed in asked.seeds:
        for data in asked.data:
            for learner in asked.learners:
                minutes = 0 if learner in BASELINES else asked.minutes
                row = {"data": data, "learner": learner, "seed": seed, "minutes": minutes}
                before = alike("quality", row)
                if before and (not asked.literature or "discriminative" in before[-1]["figures"]):
                    continue
                row |= before[-1] if before else {}
                parts = read(data)
                if learner in BASELINES:
                    synthetic = BASELINES[learner](parts[0], enough(parts), seed)
                else:
                    path = f"{asked.out}/{data}-{learner}-{seed}"
                    settings = settings_of(learner)
                    run, cost = train(parts[0], settings, DATA[data].get("label"), seed, minutes, path)
                    row |= cost
                    synthetic = drawn(run, enough(parts), seed)
                figures = row.get("figures") or judge(parts, synthetic, DATA[data].get("label"))
                more = literature(parts, synthetic) if asked.literature else {}
                record("quality", row | {"figures": figures | more})


if __name__ == "__main__":
    main()
