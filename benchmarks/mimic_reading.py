"""How fast and in how little memory CHARTEVENTS is read: the MIMIC-III demo repeated to 20 million rows and more.

    VITALSYNTH_DATA=../shared/data python benchmarks/mimic_reading.py --rows 20000000
    VITALSYNTH_DATA=../shared/data python benchmarks/mimic_reading.py --rows 2000000 --profile 15

Makes, in a temporary folder, tables in which the demo's patients are there many times, each time under new ids, and
reads them in processes of their own: `sources.mimic3`, all as by default; the same file by pyarrow's streaming CSV
reader alone, the columns that are needed converted to the same types; and gunzip alone. Reports rows a CPU-second, CPU
seconds, peak resident memory, and the share of the reader's CPU time that CSV parsing and gunzip take. Wanted: under
2 GiB, and most of the time spent parsing. A row per run goes to benchmarks/results/mimic_reading.jsonl.
"""

import argparse
import cProfile
import gzip
import io
import json
import pstats
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from vitalsynth import sources
from vitalsynth.sources.folders import default_folder
from vitalsynth.sources.mimic import events

SMALL = ("PATIENTS", "ADMISSIONS", "ICUSTAYS", "LABEVENTS", "OUTPUTEVENTS")
IDS = ("subject_id", "hadm_id", "icustay_id")
APART = 1_000_000  # ids of the next copy lie so much higher
WAYS = ("mimic3", "csv", "gunzip")


def build(folder, rows):
    """Write the demo so often that CHARTEVENTS has as many rows; return how many it has."""
    demo = default_folder("mimic3-demo")
    with gzip.open(demo / "CHARTEVENTS.csv.gz", "rt") as file:
        names = file.readline().strip().split(",")
    types = {name: pa.int64() if name in IDS else pa.string() for name in names}
    as_written = pa.csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    everything = pa.csv.read_csv(demo / "CHARTEVENTS.csv.gz", convert_options=as_written)
    copies = -(-rows // len(everything))
    with gzip.open(folder / "CHARTEVENTS.csv.gz", "wb", compresslevel=1) as file:
        for copy in range(copies):
            moved = everything
            for name in IDS:
                ids = pc.add(moved[name], copy * APART)
                moved = moved.set_column(moved.column_names.index(name), name, ids)
            sheet = io.BytesIO()
            pa.csv.write_csv(moved, sheet, pa.csv.WriteOptions(include_header=copy == 0, quoting_style="needed"))
            file.write(sheet.getvalue())
    for table in SMALL:
        frame = pd.read_csv(demo / f"{table}.csv.gz", dtype=dict.fromkeys(IDS, "Int64"), low_memory=False)
        ids = [name for name in IDS if name in frame]
        whole = pd.concat(
            [frame.assign(**{name: frame[name] + copy * APART for name in ids}) for copy in range(copies)]
        )
        whole.to_csv(folder / f"{table}.csv.gz", index=False, compression={"method": "gzip", "compresslevel": 1})
    return copies * len(everything)


def read(folder, way):
    """Read one way, in this process; print what it took."""
    chartevents = folder / "CHARTEVENTS.csv.gz"
    began, cpu = time.perf_counter(), time.process_time()
    if way == "mimic3":
        sequences = sources.read("mimic3", folder=str(folder))
        what = {"sequences": len(sequences), "values_MiB": round(sequences.values.nbytes / 2**20)}
    elif way == "csv":
        what = {"rows": sum(len(batch) for batch in events.batches(chartevents))}
    else:
        with gzip.open(chartevents) as file:
            what = {"bytes": sum(len(block) for block in iter(lambda: file.read(1 << 20), b""))}
    took = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 2**20  # not the parent's
    print(json.dumps({k: round(v, 2) for k, v in took.items()} | {"peak_GiB": round(peak, 3)} | what))


def measure(folder, way):
    """Read one way in a process of its own."""
    command = [sys.executable, __file__, "--read", way, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--profile", type=int, default=0, help="show so many functions of the reader, note nothing")
    parser.add_argument("--read", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    settings = parser.parse_args()
    if settings.read:
        read(settings.folder, settings.read)
        return
    folder = Path(tempfile.mkdtemp(prefix="mimic-"))
    try:
        rows = build(folder, settings.rows)
        size = round((folder / "CHARTEVENTS.csv.gz").stat().st_size / 2**20)
        print(f"CHARTEVENTS: {rows:,} rows, {size:,} MiB as gzip")
        if settings.profile:
            profile = cProfile.Profile()
            profile.runcall(read, folder, "mimic3")
            pstats.Stats(profile).sort_stats("tottime").print_stats(settings.profile)
            return
        took = {way: measure(folder, way) for way in WAYS}
        share = took["csv"]["cpu_seconds"] / took["mimic3"]["cpu_seconds"]
        speed = round(rows / took["mimic3"]["cpu_seconds"])
        for way, each in took.items():
            print(way, each)
        print(f"{speed:,} rows a CPU-second; CSV parsing (with gunzip) is {share:.0%} of the reader's CPU time")
        from results import record  # imports torch, which is no part of the reader

        record(
            "mimic_reading", {"rows": rows, "gzip_MiB": size, "rows_a_cpu_second": speed, "csv_share": share, **took}
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
