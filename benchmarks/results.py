"""Where figures go: printed as a JSON line, and added to benchmarks/results/NAME.jsonl."""

import datetime
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent / "results"


def record(name, row):
    """Note a row of figures together with when and on what they were measured."""
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    )
    line = json.dumps({**row, "date": str(datetime.date.today()), "machine": machine})
    print(line, flush=True)
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{name}.jsonl").open("a") as file:
        file.write(line + "\n")


def rows(name):
    """Return the rows noted so far."""
    file = FOLDER / f"{name}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def alike(name, wanted):
    """Return the rows noted so far that agree with all that is wanted."""
    return [row for row in rows(name) if all(row.get(key) == value for key, value in wanted.items())]


def turns(take, seconds, most, least=3):
    """Take turns for so many CPU-seconds, `least` at least and `most` at most; return what each measured."""
    found, began = [], time.process_time()
    while len(found) < least or (len(found) < most and time.process_time() - began < seconds):
        found.append(take())
    return found


def spread(numbers, digits=3):
    """Return the median and the quartiles, to so many digits that count."""
    return [float(f"{q:.{digits}g}") for q in np.quantile(numbers, [0.5, 0.25, 0.75])]
