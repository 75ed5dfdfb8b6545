"""From data to a report, on every kind of real data, at tiny size; and the same from Python."""

import json
import os
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import vitalsynth
from conftest import shared_data
from vitalsynth.cli import main
from vitalsynth.generators import GRU, LSTM
from vitalsynth.runs import Run

TINY = ["--steps", "12", "--batch", "16", "--generator.hidden", "16", "--discriminator.hidden", "16", "--quiet"]


@pytest.fixture
def face_folder(tmp_path):
    """Rectangular pictures in two people's folders, of scikit-image's sample of LFW."""
    from skimage.data import lfw_subset

    for k, face in enumerate(lfw_subset()[:40]):
        person = tmp_path / "faces" / f"person{k % 8}"
        person.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * face).astype(np.uint8)).resize((20, 25)).save(person / f"{k}.png")
    return tmp_path / "faces"


def whole_path(tmp_path, data, *settings, label=True, condition="label"):
    """Train, sample, evaluate, report; return the run."""
    run = tmp_path / "run"
    conditions = ["--condition", condition] if condition else []
    assert main(["train", str(data), "--out", str(run), *conditions, *settings, *TINY]) == 0
    assert main(["sample", str(run), "--count", "40", "--out", str(tmp_path / "cohort.parquet"), "--quiet"]) == 0
    assert main(["evaluate", str(run), "--count", "300", "--quiet"]) == 0
    assert main(["report", str(run), "--count", "100"]) == 0
    opened = Run(run)
    metrics = {row["metric"]: row for row in opened.evaluations()}
    assert metrics["two-sample AUROC"]["value"] > 0.5
    assert ("TSTR AUROC" in metrics) == label
    assert (run / "report.html").stat().st_size > 50_000
    assert pd.read_parquet(tmp_path / "cohort.parquet")[opened.preparation.schema.id].nunique() == 40
    return opened


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_images_from_idx_files(tmp_path, name, monkeypatch):
    monkeypatch.setenv("VITALSYNTH_DATA", str(shared_data()))
    run = whole_path(tmp_path, name, "--source.split", "test", "--normalise", "minmax")
    assert run.preparation.schema.image == (28, 28, 1)
    assert (
        main(["sample", str(run.path), "--count", "9", "--out", str(tmp_path / "nine.png"), "--condition", "label=3"])
        == 0
    )
    width, height = Image.open(tmp_path / "nine.png").size
    assert width >= 3 * 28 and height >= 3 * 28


def test_faces_from_a_folder_of_rectangular_images(tmp_path, face_folder):
    run = whole_path(
        tmp_path,
        face_folder,
        "--source.height",
        "15",
        "--source.width",
        "12",
        "--held_out",
        "0.25",
        label=False,
        condition="",
    )
    assert run.preparation.schema.image == (15, 12, 1)
    train, test = run.data()
    assert not set(train.subject) & set(test.subject)  # nobody's face is on both sides


def test_the_offline_faces(tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    run = whole_path(tmp_path, "faces", label=False, condition="")
    assert run.preparation.schema.image == (25, 25, 1)


def test_ecg5000(tmp_path):
    run = whole_path(tmp_path, "ecg5000", "--normalise", "minmax")
    assert run.preparation.shape.length == 140


def test_physionet2012_through_table(tmp_path):
    data = shared_data("physionet2012", "set-a_hourly.npz")
    run = whole_path(
        tmp_path,
        data,
        *("--drop", "length_of_stay,survival,saps_i,sofa", "--normalise", "local"),
        condition="in_hospital_death",
    )
    assert run.preparation.shape.length == 48
    gaps = [part.gaps for part in run.preparation.channels]
    assert len(gaps) == 37 and all(gaps)


def test_a_toy_process_with_gaps(tmp_path):
    run = whole_path(tmp_path, "ornstein-uhlenbeck", "--source.count", "200", label=False, condition="")
    assert all(part.gaps for part in run.preparation.channels)


def test_the_synthesizer_learns_from_a_frame_and_gives_one_back(tmp_path):
    frame = vitalsynth.to_frame(vitalsynth.Sequences.take(_icu(), slice(0, 120)))
    synthesizer = vitalsynth.Synthesizer(
        steps=10, condition="died,sex", quiet=True, batch=16, generator=partial(GRU, hidden=8)
    )
    cohort = synthesizer.fit(frame).sample(15, {"died": 1})
    assert cohort.columns.tolist() == frame.columns.tolist()
    assert cohort.id.nunique() == 15 and (cohort.died == 1).all()
    pd.testing.assert_frame_equal(synthesizer.sample(15, "died=1"), cohort)
    assert not synthesizer.sample(15, "died=1", seed=1).equals(cohort)

    run = synthesizer.save(tmp_path / "kept")
    again = vitalsynth.Synthesizer.load(tmp_path / "kept")
    pd.testing.assert_frame_equal(again.sample(15, {"died": 1}), cohort)
    assert run.record["networks"]["generator"]["init_args"]["hidden"] == 8
    with pytest.raises(ValueError, match="exists"):
        synthesizer.save(tmp_path / "kept")


def test_the_synthesizer_begins_with_a_preset():
    synthesizer = vitalsynth.Synthesizer(preset="strong", steps=3, batch=16)
    given = vitalsynth.preset("strong")
    assert synthesizer.settings["steps"] == 3 and synthesizer.settings["batch"] == 16
    assert synthesizer.settings["generator"].keywords == given["generator"].keywords
    with pytest.raises(ValueError, match="no preset 'stong'; did you mean 'strong'"):
        vitalsynth.Synthesizer(preset="stong")


def test_the_synthesizer_names_what_is_wrong():
    with pytest.raises(ValueError, match="no setting 'conditon'; did you mean 'condition'"):
        vitalsynth.Synthesizer(conditon="died")
    with pytest.raises(ValueError, match="call fit first"):
        vitalsynth.Synthesizer().sample(3)
    with pytest.raises(ValueError, match="no static column 'dead'"):
        vitalsynth.Synthesizer(condition="dead", steps=1).fit(_icu())


def _icu():
    from vitalsynth import sources

    return sources.read("icu-demo")


def test_a_sample_does_not_depend_on_how_many_follow(tmp_path):
    run = vitalsynth.train(_icu(), out=str(tmp_path / "run"), steps=2, quiet=True, generator=partial(LSTM, hidden=8))
    for count in (1, 300, 1500):
        vitalsynth.sample(str(run.path), count=count, out=str(tmp_path / f"{count}.parquet"), quiet=True)
    most = pd.read_parquet(tmp_path / "1500.parquet")
    for count in (1, 300):
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{count}.parquet"), most[most.id < count])
    assert most.id.nunique() == 1500


def test_a_strong_learner_would_be_seen(tmp_path):
    """The scores can tell: real held-out sequences given as synthetic are at the floor, so a low score is possible."""
    from vitalsynth.evaluation import scorecard

    train, rest = _icu().split(0.4, 0)
    test, stand_in = rest.split(0.5, 1)
    rows = {row["metric"]: row for row in scorecard.evaluate(train, test, stand_in, "died", 0)}
    auroc = rows["two-sample AUROC"]
    assert auroc["low"] < 0.5 < auroc["high"]
    assert abs(rows["MMD²"]["value"]) < 0.003
    assert json.dumps(list(rows.values()), allow_nan=False)


def test_runs_are_found_by_glob(tmp_path):
    for name in ("a1", "a2", "b1"):
        vitalsynth.train(_icu(), out=str(tmp_path / name), steps=1, quiet=True, generator=partial(LSTM, hidden=4))
    from vitalsynth.commands import report as pages

    with pytest.raises(ValueError, match="in memory"):
        pages.report([str(tmp_path / "a*")])
    written = pages.report([f"{tmp_path}/a*", f"{tmp_path}/a1"], count=20, data=_icu())
    assert [path.parent.name for path in written] == ["a1", "a2"]
    assert os.path.getsize(written[0]) > 50_000
    with pytest.raises(ValueError, match="is one place for 2 runs"):
        pages.report([f"{tmp_path}/a*"], out="x.html")
