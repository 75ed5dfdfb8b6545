"""What happens at the edges: a million sequences, 1,000 channels, 10,000 steps, 500 runs at once, a slow disk.

Each case is a process of its own that does what a user would, by the commands' functions, and reports after each part
the CPU-seconds it took and the most memory that the process had held by then (resident set, some 600 MiB of it Python,
PyTorch and the rest). Data are made up, trainings take a few steps: what is learned does not matter here.

    OMP_NUM_THREADS=1 python benchmarks/stress.py                     # all cases; some 10 CPU-minutes, 2 GB of disk
    OMP_NUM_THREADS=1 python benchmarks/stress.py --cases channels --size 100
    OMP_NUM_THREADS=1 python benchmarks/stress.py --cases channels --profile evaluate    # where its time goes
    python benchmarks/stress.py --table                               # what has been measured, as Markdown

A row per case and size goes to benchmarks/results/stress.jsonl. The slow disk needs FUSE and mfusepy: Linux.
"""

import argparse
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from results import record, rows

import vitalsynth
from vitalsynth import sources
from vitalsynth.machine import most_held
from vitalsynth.runs import Run
from vitalsynth.runs.record import sealed
from vitalsynth.storage import copy_folder

STRONG = 200
"""Most channels that `strong` is given: its weights from channel to channel grow with their square."""
CHEAP = "marginals,autocorrelations,coverage"
PARTS, PROFILED = {}, ""


@contextmanager
def part(name):
    """Note what is done within: CPU-seconds, those of its children included, and the most memory held until its end."""
    began, profile = _cpu(), cProfile.Profile()
    if name == PROFILED:
        profile.enable()
    yield
    profile.disable()
    PARTS[name] = {"cpu_seconds": round(_cpu() - began, 2), "held_MiB": most_held() // 2**20}
    if name == PROFILED:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("cumtime").print_stats(60)


def _cpu():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def table_of(length, channels, ids):
    """Write a long table of waves, a tenth of whose cells are gaps, with a label."""
    rng = np.random.default_rng(0)
    time_, phase = np.arange(length), rng.uniform(0, 6, (ids, 1, channels))
    values = np.sin(time_[None, :, None] / 5 + phase) + rng.normal(0, 0.1, (ids, length, channels))
    values = np.where(rng.random(values.shape) < 0.1, np.nan, values).reshape(-1, channels).round(3)
    frame = pd.DataFrame(values, columns=[f"channel{number:04d}" for number in range(channels)])
    frame.insert(0, "time", np.tile(time_, ids))
    frame.insert(0, "id", np.repeat(np.arange(ids), length))
    frame["label"] = np.repeat(rng.integers(0, 2, ids), length)
    return frame


def whole_path(folder, data, preset, *, steps, batch, drawn, metrics=CHEAP, **settings):
    """Do all that is usually done with a run."""
    path, name = str(Path(folder) / preset), f" {preset}"
    with part("train" + name):
        asked = vitalsynth.preset(preset) | {"steps": steps, "batch": batch, "checkpoint_every": steps} | settings
        vitalsynth.train(data, out=path, quiet=True, **asked)
    with part("sample" + name):
        vitalsynth.sample(path, count=drawn, out=f"{folder}/{preset}.parquet", quiet=True)
    with part("evaluate" + name):
        vitalsynth.evaluate([path], metrics=metrics, count=drawn, quiet=True)
    with part("report" + name):
        vitalsynth.report(path, count=drawn)


def sequences(folder, size):
    """Draw so many sequences of 24 steps and 6 channels into Parquet."""
    with part("train"):
        brief = {"steps": 5, "checkpoint_every": 5, "quiet": True}
        vitalsynth.train(
            sources.sines(count=1000, channels=6), out=f"{folder}/run", **(vitalsynth.preset("rcgan") | brief)
        )
    with part("sample"):
        vitalsynth.sample(f"{folder}/run", count=size, out=f"{folder}/cohort.parquet", quiet=True)
    return {"file_MiB": (Path(folder) / "cohort.parquet").stat().st_size // 2**20}


def channels(folder, size):
    """Go the whole path with a table of so many channels, 200 ids of 24 steps."""
    table_of(24, size, 200).to_csv(f"{folder}/table.csv", index=False)
    with part("read"):
        vitalsynth.data(f"{folder}/table.csv")
    for preset in ("parallel", "rcgan") if size > STRONG else ("parallel", "rcgan", "strong"):
        whole_path(folder, f"{folder}/table.csv", preset, steps=5, batch=16, drawn=100, condition="label")


def steps(folder, size):
    """Go the whole path with 40 sequences of so many steps and 3 channels."""
    table_of(size, 3, 40).to_parquet(f"{folder}/table.parquet", index=False)
    with part("read"):
        vitalsynth.data(f"{folder}/table.parquet")
    for preset in ("parallel", "rcgan", "strong"):
        whole_path(folder, f"{folder}/table.parquet", preset, steps=5, batch=4, drawn=20)


def many(folder, size):
    """Set so many runs beside each other."""
    place = Path(folder) / "runs"
    brief = {"steps": 20, "checkpoint_every": 10, "batch": 16, "quiet": True}
    with part("train"):
        vitalsynth.train("icu-demo", out=str(place / "0000"), **(vitalsynth.preset("small-data") | brief))
    with part("copy"):
        first = Run(place / "0000")
        record = {name: value for name, value in first.record.items() if name not in ("id", "format")}
        for number in range(1, size):  # each with an id of its own
            copy_folder(first.path, place / f"{number:04d}")
            for name, content in sealed(record, first.preparation.to_json()).items():
                (place / f"{number:04d}" / name).write_bytes(content)
    asked = f"{place}/*"
    with part("list"):
        vitalsynth.list_([asked])
    with part("evaluate --report"):
        vitalsynth.evaluate([asked], metrics="marginals", count=50, report=f"{folder}/cards.html", quiet=True)
    with part("convergence"):
        vitalsynth.convergence(asked, score="generator.nll=2")
    return {"page_MiB": round((Path(folder) / "cards.html").stat().st_size / 2**20, 1)}


def disk(folder, size):
    """Go the whole path in a folder whose operations take up to so many milliseconds and get there a second late."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from slow_filesystem import mounted, settle

    for name, delay in (("fast", 0), ("slow", size / 1000)):
        with mounted(f"{folder}/cloud-{name}", f"{folder}/{name}", lag=1.0, delay=delay):
            began = time.monotonic()
            brief = {"steps": 40, "checkpoint_every": 10}
            whole_path(f"{folder}/{name}", "icu-demo", "small-data", batch=16, drawn=100, **brief)
            PARTS[f"all, {name}"] = {"seconds": round(time.monotonic() - began, 1), "held_MiB": most_held() // 2**20}
            settle(f"{folder}/{name}")


CASES = {"sequences": 1_000_000, "channels": 1000, "steps": 10_000, "many": 500, "disk": 50}


def table(found):
    print("| case | size | part | CPU-seconds | held so far, MiB |\n" + "|---" * 5 + "|")
    for row in {(row["case"], row["size"]): row for row in found}.values():
        for name, told in row["parts"].items():
            print(
                f"| {row['case']} | {row['size']:,} | {name} | {told.get('cpu_seconds', '')} | {told['held_MiB']:,} |"
            )


def main():
    global PROFILED
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES)
    parser.add_argument("--size", type=int, help="of each; by default the one in the issue")
    parser.add_argument("--profile", default="", help="a part whose profile is printed; no row is noted")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--one", action="store_true", help="measure the one named in this process")
    asked = parser.parse_args()
    if asked.table:
        return table(rows("stress"))
    for case in asked.cases:
        size = asked.size or CASES[case]
        if asked.one:
            PROFILED = asked.profile
            torch.set_num_threads(1)
            with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as away:
                said, sys.stdout = sys.stdout, away
                more = globals()[case](folder, size) or {}
                sys.stdout = said
            return print(json.dumps({"parts": PARTS, **more}))
        command = [sys.executable, __file__, "--one", "--cases", case, "--size", str(size), "--profile", asked.profile]
        found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        if not asked.profile:
            record("stress", {"case": case, "size": size} | json.loads(found))


if __name__ == "__main__":
    main()
