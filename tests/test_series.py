"""Windows of long series: cut by hand, and never one row on both sides of a split."""

import numpy as np
import pandas as pd
import pytest

from conftest import shared_data
from vitalsynth import runs, sources
from vitalsynth.cli import main


@pytest.fixture
def counting(tmp_path):
    """A series whose values tell their row: 0, 1, 2, ... and its half."""
    path = tmp_path / "series.csv"
    pd.DataFrame(
        {"date": pd.date_range("2020", periods=50, freq="h"), "row": np.arange(50.0), "half": np.arange(50) / 2}
    ).to_csv(path, index=False)
    return str(path)


def test_windows_by_hand(counting):
    s = sources.series(counting, length=4, stride=2, block=3, drop="date")
    assert [c.name for c in s.schema.channels] == ["row", "half"] and s.schema.channels[1].resolution == 0.5
    starts = s.values[:, 0, 0].tolist()
    assert starts == [12 * b + o for b in range(4) for o in (0, 2, 4, 6, 8)]  # 50 rows: 4 blocks of 12, 2 rows are left
    assert s.subject.tolist() == [b for b in range(4) for _ in range(5)]
    assert (s.values[:, :, 0] == np.array(starts)[:, None] + np.arange(4)).all()


def test_held_out_windows_share_no_row_with_training_windows(counting):
    s = sources.series(counting, length=3, block=4, drop="date")
    train, test = runs.part(s, runs.cut(s, 0.3, seed=0), 0)
    assert len(train) and len(test) and not set(train.values[..., 0].flat) & set(test.values[..., 0].flat)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--source.drop", "dat"], "no column 'dat' to drop; did you mean 'date'?"),
        (["--source.drop", "date", "--source.length", "20"], "50 rows are fewer than one block of 4 windows of 20"),
        (["--source.drop", "date", "--source.stride", "0"], "stride must be at least 1, got 0"),
        (["--source.path", "nowhere.csv"], "nowhere.csv: no such file"),
    ],
)
def test_mistakes_are_one_line(arguments, said, counting, tmp_path, capsys):
    path = [] if "--source.path" in arguments else ["--source.path", counting]
    assert main(["train", "series", *path, *arguments, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "folder", "shape"), [("etth1", "etth1", (24, 7)), ("energy", "appliances-energy", (24, 28))]
)
def test_the_series_of_the_literature(name, folder, shape):
    s = getattr(sources, name)(folder=str(shared_data(folder)))
    assert s.values.shape[1:] == shape and len(set(s.subject)) > 150 and not np.isnan(s.values).any()
