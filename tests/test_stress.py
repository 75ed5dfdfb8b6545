"""What benchmarks/stress.py does, small: many sequences, many channels, many steps."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

import vitalsynth
from vitalsynth import sampling, sources

BRIEF = {"steps": 2, "batch": 8, "checkpoint_every": 2, "quiet": True}


def test_memory_does_not_grow_with_the_number_of_sequences(tmp_path):
    run = str(vitalsynth.train(sources.sines(count=50, length=4, channels=2), out=str(tmp_path / "run"), **BRIEF).path)
    held = []
    for chunks in (1, 2, 8):
        if chunks > 1:  # the first imports and fills caches
            tracemalloc.start()
        vitalsynth.sample(run, count=chunks * sampling.CHUNK, out=str(tmp_path / f"{chunks}.parquet"), quiet=True)
        held.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert pd.read_parquet(tmp_path / "8.parquet", columns=["id"])["id"].nunique() == 8 * sampling.CHUNK
    assert held[2] < 1.2 * held[1]


@pytest.mark.parametrize(("channels", "length"), [(300, 6), (3, 2000)])
def test_wide_and_long_tables_go_the_whole_way(tmp_path, channels, length):
    ids, rng = 20, np.random.default_rng(0)
    names = [f"channel{number:03d}" for number in range(channels)]
    frame = pd.DataFrame(rng.normal(size=(ids * length, channels)).round(3), columns=names)
    frame.insert(0, "id", np.repeat(np.arange(ids), length))
    frame.insert(1, "time", np.tile(np.arange(length), ids))
    frame.to_parquet(tmp_path / "table.parquet", index=False)
    settings = vitalsynth.preset("parallel") | BRIEF
    run = str(vitalsynth.train(str(tmp_path / "table.parquet"), out=str(tmp_path / "run"), **settings).path)
    vitalsynth.sample(run, count=5, out=str(tmp_path / "drawn.parquet"), quiet=True)
    drawn = pd.read_parquet(tmp_path / "drawn.parquet")
    assert list(drawn) == list(frame) and len(drawn) == 5 * length
    rows = vitalsynth.evaluate([run], metrics="marginals", count=5, quiet=True)
    assert all(np.isfinite(row["value"]) for row in rows)
