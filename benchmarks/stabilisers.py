"""What each stabiliser is worth: the preset `rcgan` with and without it, for the same CPU-time.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/stabilisers.py --minutes 3 --out runs/stabilisers
    python benchmarks/stabilisers.py --table             # what is there so far, as Markdown

The preset is read when the script is started. For each factor there is a row for each of its arms, mostly with and
without; everything else stays as in the preset, and an arm that the preset has already is the preset itself, which is
trained once for all of them. Each is trained for --minutes of CPU time (see quality.py) and judged on subjects (or
blocks of time) that training never saw. What is cheaper takes more steps, so a stabiliser has to be worth its time;
instance noise is gone by half of them.
A row per data set, factor, arm and seed goes to benchmarks/results/stabilisers.jsonl with all settings; what is there
already, with the same settings, is not done again.
"""

import argparse
import hashlib
import json
from functools import partial

import numpy as np
import torch
from quality import DATA, drawn, enough, judge, read, train
from results import alike, record, rows

import vitalsynth
from vitalsynth import discriminators, generators
from vitalsynth.components import class_of, describe
from vitalsynth.schedules import Balanced, Constant, Cosine
from vitalsynth.stabilisers import Augment, Consistency, FeatureMatching, InstanceNoise
from vitalsynth.training import Diverged

PRESET = "rcgan"
ON = ("icu-demo", "etth1-24")
FIGURES = (("two_sample", "auroc"), ("coverage", "coverage"), ("mmd", "mmd2"), ("tstr", "auroc"))
OVER = 1000  # of a cosine whose end `train` sets to the last step


def changed(settings, part, **own):
    """Give one part other settings of its own."""
    return {part: partial(class_of(settings[part]), **getattr(settings[part], "keywords", {}) | own)}


def has(settings, part, name, default):
    """Return a setting of a part, as it is or by default."""
    return getattr(settings[part], "keywords", {}).get(name) or default


def stabilised(settings, kind):
    """Return the arms of one of the stabilisers, which keeps what settings the preset gives it."""
    others = [each for each in settings.get("stabilisers", ()) if class_of(each) is not kind]
    own = [each for each in settings.get("stabilisers", ()) if class_of(each) is kind] or [kind]
    return {"with": {"stabilisers": [*others, *own]}, "without": {"stabilisers": others}}


def both(schedule, **own):
    """Return one schedule for both players."""
    return {f"{player}_schedule": partial(schedule, **own) for player in ("generator", "discriminator")}


def arms(settings):
    """Return what each arm of each factor changes in a preset's settings."""
    rate = settings["discriminator_optimizer"].keywords["lr"]
    return {
        "the preset": {"": {}},
        **{
            kind.__name__: stabilised(settings, kind) for kind in (InstanceNoise, Augment, Consistency, FeatureMatching)
        },
        "discriminator": {
            "on random features": {"discriminator": partial(discriminators.Projected, carry=True)},
            "convolutional": {"discriminator": discriminators.Convolutional},
        },
        "place in time": {
            "with": changed(settings, "generator", places=6),
            "without": changed(settings, "generator", places=0),
        },
        "renewal of masks": {
            "with": changed(settings, "generator", renewal=has(settings, "generator", "renewal", 12)),
            "without": changed(settings, "generator", renewal=0),
        },
        "values carried into gaps": {
            "with": changed(settings, "discriminator", carry=True),
            "without": changed(settings, "discriminator", carry=False),
        },
        "statics and conditions as a channel": {
            "with": changed(settings, "discriminator", emphasis=True),
            "without": changed(settings, "discriminator", emphasis=False),
        },
        "spectral normalisation": {
            "with": changed(settings, "discriminator", spectral=True),
            "without": changed(settings, "discriminator", spectral=False),
        },
        "minibatch statistics": {
            "with": changed(settings, "discriminator", minibatch=has(settings, "discriminator", "minibatch", "auto")),
            "without": changed(settings, "discriminator", minibatch=0),
        },
        "multi-scale gradients": {
            "with": {"generator": generators.MultiScale, "discriminator": discriminators.MultiScale},
            "without": {
                "generator": generators.ConvolutionalRecurrent,
                "discriminator": discriminators.ConvolutionalRecurrent,
            },
        },
        "clipping of gradients": {"with": {"clip": settings.get("clip") or 1.0}, "without": {"clip": 0.0}},
        "penalties": {
            "every 4th step": changed(settings, "objective", every=4),
            "every step": changed(settings, "objective", every=1),
        },
        "averaging": {"with": {"average": settings.get("average") or 0.999}, "without": {"average": 0.0}},
        "learning rates": {
            "fixed": both(Constant),
            "cosine": both(Cosine, over=OVER, warmup=100, final=0.02),
            "balanced": both(Balanced),
            "discriminator twice as fast": changed(settings, "discriminator_optimizer", lr=2 * rate),
            "discriminator half as fast": changed(settings, "discriminator_optimizer", lr=rate / 2),
        },
    }


def spelled_out(settings):
    """Return settings as plain data, every default included, so that what is alike can be told."""
    plain = {"stabilisers": [], "clip": 0.0, "average": 0.999} | settings

    def told(value):
        return list(map(told, value)) if isinstance(value, list) else describe(value) if callable(value) else value

    found = {name: told(value) for name, value in plain.items() if name != "steps"}
    for player in ("generator", "discriminator"):
        schedule = found.setdefault(f"{player}_schedule", describe(Constant))
        schedule["init_args"].pop("over", None)  # `train` sets it
    return json.loads(json.dumps(found))


def digest(settings):
    """Return a short name of settings, by which rows of one preset are known."""
    return hashlib.sha256(json.dumps(spelled_out(settings), sort_keys=True).encode()).hexdigest()[:12]


def measure(data, settings, seed, minutes, path):
    """Train, draw and judge."""
    parts, label = read(data), DATA[data].get("label")
    try:
        run, cost = train(parts[0], settings, label, seed, minutes, path)
    except Diverged:
        return {"diverged": True, "figures": {}}
    return cost | {"figures": judge(parts, drawn(run, enough(parts), seed), label)}


def table(found):
    """Print a Markdown table of the newest preset: medians over seeds, with the smallest and the largest."""
    figures = "two-sample AUROC (floor) | coverage (floor) | MMD² (floor) | TSTR AUROC (real)"
    print(f"| data | factor | | seeds | steps | CPU-s | {figures} |")
    print("|---" * 10 + "|")
    newest = [row for row in found if all(row[name] == found[-1][name] for name in ("preset", "minutes"))]
    for data, factor, arm in dict.fromkeys((row["data"], row["factor"], row["arm"]) for row in newest):
        mine = [row for row in newest if (row["data"], row["factor"], row["arm"]) == (data, factor, arm)]
        good = [row for row in mine if not row.get("diverged")]
        lost = f" ({len(mine) - len(good)} diverged)" if len(good) < len(mine) else ""
        steps = f"{np.median([row['steps'] for row in good]):,.0f}" if good else ""
        seconds = f"{60 * np.median([row['training_cpu_minutes'] for row in good]):.0f}" if good else ""
        cells = [_cell(good, *keys) for keys in FIGURES]
        print(f"| {data} | {factor} | {arm} | {len(mine)}{lost} | {steps} | {seconds} | {' | '.join(cells)} |")


def _cell(good, figure, key):
    found = [row["figures"][figure] for row in good if figure in row["figures"]]
    if not found:
        return ""
    values, floors = ([each[name] for each in found] for name in (key, f"{key}_floor"))
    places = 4 if key == "mmd2" else 3
    middle, low, high, floor = (
        f"{number:.{places}f}" for number in (np.median(values), min(values), max(values), np.median(floors))
    )
    return f"{middle} [{low}, {high}] ({floor})"


def main():
    settings = vitalsynth.preset(PRESET)
    factors = arms(settings)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(ON), choices=list(DATA))
    parser.add_argument("--factors", nargs="*", default=list(factors), choices=list(factors))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--out", default="runs/stabilisers")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("stabilisers"))
    wanted = [(factor, arm, change) for factor in asked.factors for arm, change in factors[factor].items()]
    for seed in asked.seeds:
        for data in asked.data:
            for factor, arm, change in wanted:
                chosen = settings | change
                same = {"data": data, "seed": seed, "minutes": asked.minutes, "settings": spelled_out(chosen)}
                if alike("stabilisers", same | {"factor": factor, "arm": arm}):
                    continue
                what = {"factor": factor, "arm": arm, "preset": digest(settings)}
                if known := alike("stabilisers", same):
                    record("stabilisers", known[0] | what)
                    continue
                path = f"{asked.out}/{data}-{factor}-{arm}-{seed}".replace(" ", "-")
                record("stabilisers", what | same | measure(data, chosen, seed, asked.minutes, path))


if __name__ == "__main__":
    main()
