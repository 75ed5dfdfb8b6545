"""Runs that earlier versions wrote are drawn from and carried on as those versions did.

In tests/data/formats lie, named after the commit that wrote them, a packed run of four steps, three sequences that were
drawn from it, and the next two rows of its log. Whoever changes what is saved adds a sample and keeps these.
"""

import json
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml

import vitalsynth

SAMPLES = sorted(Path(__file__).parent.glob("data/formats/*.zip"))


@pytest.mark.parametrize("packed", SAMPLES, ids=lambda path: path.stem)
def test_a_run_of_an_earlier_version_is_drawn_from_and_carried_on(packed, tmp_path):
    (run,) = vitalsynth.unpack([str(packed)], out=str(tmp_path / "run"))
    vitalsynth.sample(str(run.path), count=3, seed=1, out=str(tmp_path / "drawn.csv"), quiet=True)
    drawn = pd.read_csv(tmp_path / "drawn.csv")
    pd.testing.assert_frame_equal(drawn, pd.read_csv(packed.with_suffix(".csv")), rtol=1e-3)
    vitalsynth.continue_(str(run.path), steps=6, quiet=True)
    rows = run.log().tail(2).to_dict("records")
    for row, before in zip(rows, packed.with_suffix(".jsonl").read_text().splitlines(), strict=True):
        assert {name: row[name] for name in json.loads(before)} == pytest.approx(json.loads(before), rel=1e-2)


def test_there_are_samples():
    assert len(SAMPLES) >= 6


def test_the_citation_is_of_this_version():
    root = Path(__file__).parents[1]
    cited = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))["version"]
    assert cited == tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
