"""How fast: starting, training, drawing, judging, reading and reporting, each beside the least that it could take.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/speed.py          # about 12 CPU-minutes
    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/speed.py --parts learning --only rcgan
    python benchmarks/speed.py --parts learning --only rcgan --profile 25                # where the time goes, no row
    python benchmarks/speed.py --table                                                   # what is there, as Markdown

Each case is a process of its own, on one thread, and CPU-seconds count, because the machine is shared; what is compared
takes turns, and a ratio is the median over turns, with quartiles.

- `start`: what a command costs before it does anything, beside `import torch`.
- `learning`: `training.train` against a bare PyTorch loop of the same networks, batch and optimisers. The bare loop
  draws a random batch and noise and steps; the package also derives seeds, keeps the averaged generator, measures
  gradient norms, checks for NaN, and writes the log and a checkpoint. Then drawing, as in sampling_speed.py. Networks
  small and large, and the presets scaled over length, channels, width and batch, one at a time.
- `threads`: training on two threads against one, by the clock, with what the machine was doing besides.
- `judging`: `evaluate`, metric by metric, and `report`, of a run on the ICU vitals.
- `reading`: a source against the library that reads the file.

Wanted: 0.9 of the bare loop, 2 CPU-seconds of imports beyond torch's, `--help` in 0.5. Rows go to
benchmarks/results/speed.jsonl.
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
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import sampling_speed
import torch
from results import record, rows, spread, turns

import vitalsynth
from vitalsynth import discriminators, generators, objectives, sampling, sources, training
from vitalsynth.commands.evaluate import evaluate
from vitalsynth.commands.report import report
from vitalsynth.components import class_of, describe
from vitalsynth.evaluation import scorecard
from vitalsynth.learner import Learner
from vitalsynth.objectives import Batch
from vitalsynth.sources.folders import default_folder

SECONDS, MOST = 5, 25  # CPU-seconds of a case, turns at most
STEPS = 100  # of a turn of training at most, which ends with a checkpoint; by default there is one every 1,000
LENGTH, CHANNELS, COUNT = 24, 6, 2000
SCALES = {"length": (96, 384), "channels": (1, 36), "hidden": (16, 256), "batch": (256,)}
LEARNERS = {
    **{name: vitalsynth.preset(name) for name in ("rcgan", "strong", "parallel", "flow")},
    "defaults": {},
    "RCGAN of LSTMs, 100 units": {
        "generator": partial(generators.LSTM, hidden=100),
        "discriminator": partial(discriminators.LSTM, hidden=100, bidirectional=False),
        "objective": objectives.NonSaturating,
        "batch": 64,
    },
    "tiny GRUs, 16 units": {
        "generator": partial(generators.GRU, hidden=16),
        "discriminator": partial(discriminators.GRU, hidden=16),
        "objective": objectives.Hinge,
        "batch": 64,
    },
}
COMMANDS = {
    "import torch": ("-c", "import torch"),
    "import vitalsynth": ("-c", "import vitalsynth"),
    "from vitalsynth import train": ("-c", "from vitalsynth import train"),
    "all of vitalsynth": ("-c", "from vitalsynth import *"),
    "vitalsynth --help": ("-m", "vitalsynth", "--help"),
    "vitalsynth train --help": ("-m", "vitalsynth", "train", "--help"),
    "vitalsynth list": ("-m", "vitalsynth", "list", "runs/none"),
}


# Starting


def start(_):
    """Yield what each command takes, in CPU-seconds of its process."""
    for name, command in COMMANDS.items():
        taken = turns(partial(of_a_process, command), 4, 9)
        yield {"case": name, "cpu_seconds": spread([seconds for seconds, _ in taken]), "rounds": len(taken)}


def of_a_process(command):
    """Run Python on a command; return its CPU-seconds and those by the clock."""
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])  # noqa: E731
    before, began = spent(), time.perf_counter()
    subprocess.run([sys.executable, *command], capture_output=True)
    return spent() - before, time.perf_counter() - began


# Learning and drawing


def cases():
    """Yield what is learned with which learner, and how it is changed, by name."""
    for learner in LEARNERS:
        yield learner, {"learner": learner}
    for learner in ("rcgan", "strong"):
        yield f"{learner}, icu-demo", {"learner": learner, "data": "icu-demo"}
        for dial, values in SCALES.items():
            for value in values:
                yield f"{learner}, {dial} {value}", {"learner": learner, dial: value}


def read(case):
    """Return what a case learns from: sines, or a source by name."""
    if "data" in case:
        return sources.read(case["data"])
    return sources.sines(COUNT, case.get("length", LENGTH), case.get("channels", CHANNELS))


def begun(case, folder, threads=1):
    """Train a case for its first steps; return the run, and its data as networks see them."""
    settings = LEARNERS[case["learner"]] | {"steps": 20, "checkpoint_every": 1000, "quiet": True}
    if "hidden" in case:
        whole = describe(settings["generator"])
        settings["generator"] = partial(
            class_of(settings["generator"]), **{**whole["init_args"], "hidden": case["hidden"]}
        )
    settings |= {"batch": case["batch"]} if "batch" in case else {}
    sequences = read(case)
    torch.set_num_threads(threads)
    run = vitalsynth.train(sequences, out=f"{folder}/run-{threads}", threads=threads, **settings)
    return run, run.preparation.encode(run.data(sequences)[0])


def resumed(run):
    """Return the state of a run."""
    learner = Learner.build(run.record, torch.device("cpu"))
    learner.resume(run)
    return learner


def bare_loop(learner, objective, data, batch, steps):
    """The same game with nothing around it."""
    networks, optimizers = learner.networks, learner.optimizers
    for step in range(steps):
        for player in objective.players(step):
            for name, network in networks.items():
                network.requires_grad_(name == player)
            index = torch.randint(len(data), (batch,))
            noise = torch.randn(batch, networks["generator"].noise)
            loss = sum(objective.loss(player, networks, Batch(data.take(index), noise), step).values())
            optimizers[player].zero_grad()
            loss.backward()
            optimizers[player].step()


def learning(asked):
    """Yield how fast each case learns and draws, beside bare loops."""
    with tempfile.TemporaryDirectory() as folder:
        run, data = begun(asked.case, folder)
        memory, plan, ours, bare = run.most_memory(), training.Plan.of(run.record), resumed(run), resumed(run)
        bare_loop(bare, plan.objective, data, plan.batch, 1)
        each = sampling_speed.timed(bare_loop, bare, plan.objective, data, plan.batch, 1)
        steps = max(4, min(STEPS, round(2 / each)))

        def once():
            least = sampling_speed.timed(bare_loop, bare, plan.objective, data, plan.batch, steps)
            return sampling_speed.timed(training.train, run, ours, data, ours.step + steps), least

        if asked.profile:
            return profiled(lambda: training.train(run, ours, data, ours.step + 10 * steps), asked.profile)
        taken = turns(once, SECONDS, MOST)
        generator, _ = sampling.load_generator(run, device="cpu")
        drawn = sampling_speed.measure(run, generator, sampling.CHUNK, SECONDS / 2.5)
        networks = {name: sum(p.numel() for p in network.parameters()) for name, network in ours.networks.items()}
        yield {
            "case": asked.name,
            "shape": [run.preparation.length, run.preparation.shape.channels],
            "batch": plan.batch,
            "parameters": networks,
            "steps_per_cpu_second": spread([steps / ours for ours, _ in taken]),
            "sequences_per_cpu_second": spread([steps * plan.batch / ours for ours, _ in taken]),
            "ratio": spread([least / ours for ours, least in taken]),
            "drawn_per_cpu_second": drawn["sequences_per_cpu_second"],
            "drawn_ratio": drawn["ratio"],
            "drawn_ratio_at_once": drawn["ratio_at_once"],
            "memory_mib": memory // 2**20,
            "rounds": len(taken),
            "steps": steps,
        }


def profiled(work, lines):
    """Print where the time of some work goes."""
    with cProfile.Profile() as watched:
        work()
    pstats.Stats(watched).sort_stats("tottime").print_stats(lines)


# Threads


def threads(asked):
    """Yield how much faster two threads train than one, by the clock, and what they cost."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(*begun(asked.case, folder, count), count) for count in (1, 2)]
        states = [resumed(run) for run, *_ in pairs]

        def once():
            found = []
            for (run, data, _), learner in zip(pairs, states, strict=True):
                clock, spent = time.perf_counter(), time.process_time()
                training.train(run, learner, data, learner.step + 8)
                found.append((time.perf_counter() - clock, time.process_time() - spent))
            return found

        before = os.getloadavg()[0]
        taken = turns(once, SECONDS, MOST)
        yield {
            "case": asked.name,
            "batch": pairs[0][0].record["batch"],
            "one_seconds_a_step": spread([one[0] / 8 for one, _ in taken]),
            "two_seconds_a_step": spread([two[0] / 8 for _, two in taken]),
            "speed_of_two": spread([one[0] / two[0] for one, two in taken]),
            "cpu_of_two": spread([two[1] / one[1] for one, two in taken]),
            "load": [round(before, 1), round(os.getloadavg()[0], 1)],
            "rounds": len(taken),
        }


# Judging and reporting


def judging(asked):
    """Yield what each metric, `evaluate` and `report` take for a run on the ICU vitals."""
    with tempfile.TemporaryDirectory() as folder:
        run, _ = begun({"learner": "rcgan", "data": "icu-demo"}, folder)
        parts = run.data("icu-demo")
        generator, _ = sampling.load_generator(run, device="cpu")
        synthetic = sampling.collect(sampling.sample(run, generator, len(parts[0])))
        if asked.profile:
            return profiled(lambda: scorecard.evaluate(*parts, synthetic, "died"), asked.profile)
        cost = {}
        for metric in scorecard.METRICS:
            work = partial(scorecard.evaluate, *parts, synthetic, "died", metrics=[metric])
            cost[metric] = min(turns(partial(sampling_speed.timed, work), 3, 3, least=1))
        whole = {
            "evaluate": lambda: evaluate([str(run.path)], data="icu-demo", label="died", quiet=True),
            "report": lambda: report(str(run.path), data="icu-demo"),
        }
        for name, work in whole.items():
            taken = turns(partial(sampling_speed.timed, work), 6, 3, least=1)
            more = {"of_it": {m: float(f"{s:.3g}") for m, s in cost.items()}} if name == "evaluate" else {}
            about = {"train": len(parts[0]), "test": len(parts[1]), "synthetic": len(synthetic)}
            yield {"case": name, "cpu_seconds": spread(taken), "rounds": len(taken), **about, **more}


# Reading


def reading(_):
    """Yield how fast sources read, beside what reads the file and makes nothing of it."""
    with tempfile.TemporaryDirectory() as folder:
        icu = sources.read("icu-demo")
        for ending in ("csv", "parquet"):
            with sources.writer(f"{folder}/icu.{ending}", icu.schema) as writer:
                writer.write(icu)
        np.savez(f"{folder}/sines.npz", x=sources.sines(20000, LENGTH, CHANNELS).values.astype(np.float32))
        hourly = str(default_folder("etth1") / "ETTh1.csv")
        places = {
            "long table, CSV": (f"{folder}/icu.csv", pd.read_csv),
            "long table, Parquet": (f"{folder}/icu.parquet", pd.read_parquet),
            "arrays, npz": (f"{folder}/sines.npz", lambda path: np.load(path)["x"]),
        }
        work = {name: (partial(sources.read, path), partial(least, path)) for name, (path, least) in places.items()}
        work["windows of a CSV (etth1)"] = (partial(sources.etth1), partial(pd.read_csv, hourly))
        for name, (ours, least) in work.items():
            size = ours().values.size
            taken = turns(lambda: (sampling_speed.timed(ours), sampling_speed.timed(least)), 4, MOST)  # noqa: B023
            yield {
                "case": name,
                "values": size,
                "cpu_seconds": spread([ours for ours, _ in taken]),
                "million_values_per_cpu_second": spread([size / ours / 1e6 for ours, _ in taken]),
                "ratio": spread([least / ours for ours, least in taken]),
                "rounds": len(taken),
            }


PARTS = {"start": start, "learning": learning, "threads": threads, "judging": judging, "reading": reading}
TABLES = {
    "start": {"CPU-seconds": "cpu_seconds"},
    "learning": {
        "batch": "batch",
        "steps a CPU-second": "steps_per_cpu_second",
        "sequences a CPU-second": "sequences_per_cpu_second",
        "of the bare loop": "ratio",
        "drawn a CPU-second": "drawn_per_cpu_second",
        "of the bare loop, 1,024": "drawn_ratio",
        "as few at once": "drawn_ratio_at_once",
        "memory, MiB": "memory_mib",
    },
    "threads": {
        "batch": "batch",
        "one thread, s a step": "one_seconds_a_step",
        "two": "two_seconds_a_step",
        "speed of two over one": "speed_of_two",
        "CPU of two over one": "cpu_of_two",
        "load before, after": "load",
    },
    "judging": {"CPU-seconds": "cpu_seconds", "of it": "of_it"},
    "reading": {
        "million values a CPU-second": "million_values_per_cpu_second",
        "of what reads the file": "ratio",
    },
}


def table(found):
    """Print a Markdown table a part, of the newest row of each case."""
    for part, columns in TABLES.items():
        newest = {row["case"]: row for row in found if row["part"] == part}
        if newest:
            print(f"\n| {part} | {' | '.join(columns)} |\n" + "|---" * (1 + len(columns)) + "|")
            for name, row in newest.items():
                print(f"| {name} | {' | '.join(_cell(row.get(key, '')) for key in columns.values())} |")


def _cell(value):
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:.3g}" for name, number in sorted(value.items(), key=lambda pair: -pair[1]))
    if isinstance(value, list) and len(value) == 3:
        middle, low, high = (f"{number:,.0f}" if number >= 1000 else f"{number:.3g}" for number in value)
        return f"{middle} ({low} to {high})"
    return ", ".join(map(str, value)) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else value


def plan(parts, only):
    """Yield each process to start: its part, and the name and what there is to learn, if that part learns."""
    for part in parts:
        if part not in ("learning", "threads"):
            yield part, "", {}
            continue
        for name, case in cases() if part == "learning" else cases_of_threads():
            if not only or name in only:
                yield part, name, case


def cases_of_threads():
    """Yield small and large work, by name."""
    for learner in ("rcgan", "strong"):
        for batch in (32, 256):
            yield f"{learner}, batch {batch}", {"learner": learner, "batch": batch}
    yield "rcgan, batch 256, 256 units", {"learner": "rcgan", "batch": 256, "hidden": 256}
    yield "parallel, batch 256", {"learner": "parallel", "batch": 256}
    yield "flow, batch 256", {"learner": "flow", "batch": 256}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--only", nargs="*", default=[], help="names of cases of learning and of threads")
    parser.add_argument("--profile", type=int, default=0, help="print so many lines of a profile, and note no row")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--one", default="", help="the case to measure in this process, as JSON")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("speed"))
    if asked.one:
        part, asked.name, asked.case = json.loads(asked.one)
        for row in PARTS[part](asked):
            record("speed", {"part": part} | row)
        return None
    for process in plan(asked.parts, asked.only):
        command = [sys.executable, __file__, "--one", json.dumps(process), "--profile", str(asked.profile)]
        subprocess.run(command, check=True, cwd=Path(__file__).parent)


if __name__ == "__main__":
    main()
