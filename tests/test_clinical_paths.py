"""The whole way for each kind of clinical data: read raw, trained on, sampled, written in its own form, read again."""

import numpy as np
import pytest

import vitalsynth
from conftest import shared_data
from vitalsynth import sources
from vitalsynth.commands.sample import sample

RAW = {
    "mimic3": (("mimic3-demo",), {}),
    "physionet2012": (("physionet2012",), {}),
    "physionet2019": (("physionet2019",), {"hours": 48}),
    "yaib": (("icu-demo-hourly", "mortality24", "mimic_demo"), {}),
    "ecg": (("mitdb",), {"records": "100,101,106", "rate": 120.0}),
}


@pytest.mark.parametrize("name", RAW)
def test_raw_data_come_back_in_their_own_form(name, tmp_path):
    place, settings = RAW[name]
    raw = sources.read(name, folder=str(shared_data(*place)), **settings)
    few = raw.take(np.linspace(0, len(raw) - 1, min(len(raw), 120)).astype(int))
    unknown = [c.name for j, c in enumerate(few.schema.channels) if np.isnan(few.values[:, :, j]).all()]
    unknown += [c.name for j, c in enumerate(few.schema.statics) if np.isnan(few.static[:, j]).all()]
    small = {"steps": 2, "batch": 8, "checkpoint_every": 2, "quiet": True, "drop": unknown, "held_out": 0.0}
    run = vitalsynth.train(few, out=str(tmp_path / "run"), **small)
    out = tmp_path / "synthetic"
    sample(str(run.path), count=12, out=str(out), enforce=True, quiet=True)
    assert out.is_dir() and few.schema.licence in (tmp_path / "synthetic.card.md").read_text()

    assert sources.find(str(out)).__name__ == name  # known by what is in it
    again = sources.read(name, folder=str(out), **({"hours": 48} if name == "physionet2019" else {}))
    assert len(again) == 12
    schema = run.preparation.schema
    assert {column.name for column in schema.channels} <= {column.name for column in again.schema.channels}
    cohort = sources.read(str(sample(str(run.path), count=12, enforce=True, quiet=True)[0]))
    for column in schema.channels:
        if column.kind == "continuous":  # the challenge of 2019 has a label in every row
            theirs = again.channel(column.name)[:, : cohort.length]
            mine = cohort.channel(column.name)[:, : theirs.shape[1]]
            step = column.resolution or 1e-3 * max(1.0, float(np.nanmax(np.abs(mine), initial=0.0)))
            assert np.isnan(theirs).sum() == np.isnan(mine).sum(), column.name
            assert not (np.abs(mine - theirs) > step).any(), column.name
