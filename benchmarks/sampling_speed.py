"""How fast a cohort is drawn: sequences of 24 steps and 6 channels per CPU-second, against a bare loop of the network.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/sampling_speed.py
    python benchmarks/sampling_speed.py --presets rcgan --again --profile 15    # where the time goes, nothing noted
    python benchmarks/sampling_speed.py --table          # what is there so far, as Markdown

The whole path, `sampling.sample`, draws noise, calls the averaged network and decodes to physical units; the bare loop
draws noise and calls the same network on batches of the same 1,024, and that is all; a second one calls it on as few at
once as the package does, which for some networks is faster and gives the same numbers. All take turns in one process
and draw --count sequences a turn; given are medians and quartiles over rounds, of which there are as many as fit into
--seconds, 3 at least. Each preset is trained for 20 steps, as speed does not depend on how good a network is; a setting
that may be changed when sampling follows it behind an @, as in flow@solver_steps=2. Wanted: at least 0.9 of the bare
loop's speed, 10,000 sequences a CPU-second of `rcgan` and `offspring`, 500 of `strong`. A row per data set and preset
goes to benchmarks/results/sampling_speed.jsonl; what is there already is not done again, but with --again.
"""

import argparse
import cProfile
import pstats
import tempfile
import time
from functools import partial

import torch
from results import record, rows, spread, turns

import vitalsynth
from vitalsynth import presets, sampling, sources
from vitalsynth.distillation import Distillation
from vitalsynth.sources.folders import default_folder

DATA = {
    "sines": lambda: sources.sines(count=2000, channels=6),
    "etth1": lambda: sources.series(str(default_folder("etth1") / "ETTh1.csv"), stride=4, drop="date,OT"),
}
PRESETS = ("rcgan", "parallel", "strong", "offspring", "flow", "flow@solver_steps=2")
TRAINED, MOST = 20, 41  # steps; rounds


def load(data, case, folder):
    """Train a preset for a few steps; return its run and averaged generator."""
    name, _, using = case.partition("@")
    brief = {"steps": TRAINED, "checkpoint_every": TRAINED, "quiet": True}
    settings = vitalsynth.preset(name) | brief
    if name == "offspring":
        vitalsynth.train(DATA[data](), out=f"{folder}/parent", **(vitalsynth.preset("strong") | brief))
        settings["objective"] = partial(Distillation, parent=f"{folder}/parent", draws=1000)
    run = vitalsynth.train(DATA[data](), out=f"{folder}/run", **settings)
    return run, sampling.load_generator(run, device="cpu", using=sampling.parse_pairs(using))[0]


def whole(run, generator, count):
    """Draw as the package does, up to physical units."""
    for _ in sampling.sample(run, generator, count):
        pass


def bare(generator, count, batch):
    """Draw with nothing around the network."""
    with torch.inference_mode():
        for first in range(0, count, batch):
            here = min(batch, count - first)
            generator(torch.randn(here, generator.noise), torch.zeros(here, 0))


def timed(draw, *given):
    """Return the CPU-seconds of a turn."""
    began = time.process_time()
    draw(*given)
    return time.process_time() - began


def measure(run, generator, count, seconds):
    """Return how many sequences a CPU-second each draws, and how the package's speed stands to the bare loops'."""
    batches = (sampling.CHUNK, generator.at_once)
    whole(run, generator, 64), bare(generator, 64, 64)  # the first calls are slower

    def once():
        ours = timed(whole, run, generator, count)
        return ours, *(timed(bare, generator, count, batch) for batch in batches)

    taken = turns(once, seconds, MOST)
    row = {
        "sequences_per_cpu_second": spread([count / ours for ours, *_ in taken]),
        "count": count,
        "rounds": len(taken),
    }
    for name, place in (("", 1), ("_at_once", 2)):
        row[f"bare{name}"] = spread([count / turn[place] for turn in taken])
        row[f"ratio{name}"] = spread([turn[place] / turn[0] for turn in taken])
    return row | {"at_once": generator.at_once}


def profile(run, generator, count, lines):
    """Print where the whole path spends its time."""
    with cProfile.Profile() as watched:
        whole(run, generator, count)
    pstats.Stats(watched).sort_stats("tottime").print_stats(lines)


def table(found):
    """Print a Markdown table of the newest rows: medians, with quartiles in brackets."""
    print("| data | preset | sequences per CPU-second | bare loop, 1,024 | ratio | bare loop, as few at once | ratio |")
    print("|---" * 7 + "|")
    for row in {(row["data"], row["preset"]): row for row in found}.values():
        speeds = [_cell(row[name], ",.0f") for name in ("sequences_per_cpu_second", "bare", "bare_at_once")]
        ratios = [_cell(row[name], ".2f") for name in ("ratio", "ratio_at_once")]
        cells = (speeds[0], speeds[1], ratios[0], f"{row['at_once']:,}: {speeds[2]}", ratios[1])
        print(f"| {row['data']} | {row['preset']} | {' | '.join(cells)} |")


def _cell(numbers, form):
    middle, low, high = (f"{number:{form}}" for number in numbers)
    return f"{middle} ({low} to {high})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--presets", nargs="*", default=list(PRESETS), help=", ".join(presets.names()))
    parser.add_argument("--count", type=int, default=sampling.CHUNK)
    parser.add_argument("--seconds", type=float, default=10, help="CPU-seconds of a preset")
    parser.add_argument("--again", action="store_true", help="also what is there already")
    parser.add_argument("--profile", type=int, default=0, help="print so many lines of a profile, and note no row")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = rows("sampling_speed")
    if asked.table:
        return table(found)
    done = set() if asked.again else {(row["data"], row["preset"]) for row in found}
    for data in asked.data:
        for name in asked.presets:
            if (data, name) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                run, generator = load(data, name, folder)
                if asked.profile:
                    profile(run, generator, asked.count, asked.profile)
                else:
                    row = {"data": data, "preset": name}
                    record("sampling_speed", row | measure(run, generator, asked.count, asked.seconds))


if __name__ == "__main__":
    main()
