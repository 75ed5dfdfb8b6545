"""What may be handed out of a run, and what is refused, and why."""

import hashlib
import json
import zipfile
from functools import partial

import numpy as np
import pandas as pd
import pytest

import vitalsynth
from vitalsynth import discriminators, objectives, runs
from vitalsynth.cli import main
from vitalsynth.commands.release import latest_attack, objections
from vitalsynth.differential import Privacy
from vitalsynth.evaluation import leaks


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """A run that learned nothing, and so tells nothing, attacked as one could who holds samples."""
    path = tmp_path_factory.mktemp("release") / "run"
    vitalsynth.train("icu-demo", out=str(path), steps=3, batch=8, condition="died", quiet=True)
    vitalsynth.attack([str(path)], released="samples", count=300, seed=1, quiet=True)
    return runs.Run(path)


def contents(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_cohort_is_released_with_all_that_must_be_known_of_it(attacked, tmp_path):
    (place,) = vitalsynth.release(str(attacked.path), out=str(tmp_path / "pack"), count=50, quiet=True)
    assert contents(place) == {"cohort.parquet", "card.md", "privacy.md", "privacy.html", "release.json"}
    manifest = json.loads((place / "release.json").read_text())
    assert (manifest["step"], manifest["count"], manifest["objections"], manifest["despite"]) == (3, 50, [], None)
    assert manifest["differential_privacy"] is None
    assert set(manifest["files"]) == contents(place) - {"release.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((place / name).read_bytes()).hexdigest() == digest
    assert pd.read_parquet(place / "cohort.parquet")["id"].nunique() == 50
    card, said = (place / "card.md").read_text(), latest_attack(attacked, 3)[-1]["about"]
    assert said in card and attacked.preparation.schema.licence in card
    assert said in (place / "privacy.md").read_text()
    assert not any(str(attacked.path) in (place / name).read_text(errors="replace") for name in contents(place))
    with pytest.raises(ValueError, match="exists"):
        vitalsynth.release(str(attacked.path), out=str(place), quiet=True)


def test_a_generator_needs_an_attack_of_somebody_who_holds_it(attacked, tmp_path, monkeypatch):
    out = str(tmp_path / "pack")
    with pytest.raises(ValueError, match=r"nobody tried .* by the generator of step 3 \('vitalsynth attack"):
        vitalsynth.release(str(attacked.path), out=out, what="generator")
    assert not list(tmp_path.iterdir())
    (place,) = vitalsynth.release(str(attacked.path), out=out, what="generator", despite="a trial, by the board")
    assert contents(place) == {"generator.zip", "card.md", "privacy.md", "privacy.html", "release.json"}
    (unpacked,) = vitalsynth.unpack([str(place / "generator.zip")], out=str(tmp_path / "there"))
    assert not any("discriminator" in name for name in unpacked.newest()[0]["networks"])
    assert json.loads((place / "release.json").read_text())["despite"] == "a trial, by the board"
    card = (place / "card.md").read_text()
    assert "Because: a trial, by the board" in card and "To be filled in by whoever hands it out" in card
    assert "can be asked for: died" in card and attacked.preparation.schema.licence in card
    lines = [line.split() for line in card.splitlines() if line.startswith("vitalsynth ")]
    monkeypatch.chdir(place)  # what it says works where it lies
    assert [main(words[1:]) for words in lines] == [0, 0]
    (listed,) = vitalsynth.list_("generator")
    assert list(listed["networks"]) == ["generator"]


def test_components_of_an_outline_do_not_leave_with_a_generator(tmp_path):
    brief = {"steps": 1, "quiet": True}
    run = vitalsynth.train("sines", out=str(tmp_path / "run"), **(vitalsynth.preset("strong") | brief))
    vitalsynth.pack(str(run.path), out=str(tmp_path / "generator.zip"), generator_only=True)
    (copy,) = vitalsynth.unpack([str(tmp_path / "generator.zip")], out=str(tmp_path / "copy"))
    assert np.abs(run.preparation.outline.forward).max() > 0
    assert not copy.preparation.outline.forward.any() and not copy.preparation.outline.mean.any()
    files = [vitalsynth.sample([str(each.path)], count=9, seed=1, quiet=True)[0] for each in (run, copy)]
    pd.testing.assert_frame_equal(*map(pd.read_parquet, files))


@pytest.mark.parametrize("what", ["discriminator", "run", "data"])
def test_what_is_never_released(attacked, tmp_path, what, capsys):
    code = main(["release", str(attacked.path), "--out", str(tmp_path / "pack"), "--what", what])
    told = capsys.readouterr().err.strip()
    assert code == 2 and f"--what {what} is never released" in told and "\n" not in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("control", "p", "words"),
    [
        ("", 1e-12, "found beyond chance by closest synthetic"),
        ("positive", 1.0, "would not have found copies"),
        ("negative", 1e-12, "find members also where there are none"),
    ],
)
def test_attacks_that_succeed_or_cannot_be_trusted_are_reasons_against(attacked, tmp_path, control, p, words):
    """Of a copy of the run, as if another attack had gone so, in the same second."""
    (packed,) = vitalsynth.pack(str(attacked.path), out=str(tmp_path / "run.zip"))
    (run,) = vitalsynth.unpack([str(packed)], out=str(tmp_path / "copy"))
    assert objections(run, 3, "samples") == []
    changed = [
        {**row, "p": p}
        if (row.get("control") == control and row.get("p") is not None and "closest" in row["attack"])
        or (control == "positive" and row.get("control") == control)
        else row
        for row in latest_attack(run, 3)
    ]
    run.add_attacks(changed)
    assert latest_attack(run, 3) == changed
    (reason,) = objections(run, 3, "samples")
    assert words in reason
    with pytest.raises(ValueError, match="is not released"):
        vitalsynth.release(str(run.path), out=str(tmp_path / "pack"), quiet=True)
    with pytest.raises(ValueError, match="must say in words"):
        vitalsynth.release(str(run.path), out=str(tmp_path / "pack"), despite="yes", quiet=True)
    assert not (tmp_path / "pack").exists()


def test_training_sequences_are_counted(attacked):
    train, test = attacked.data()
    some = train.take(np.array([0, 5, 9]))
    assert leaks.copies(train, some) == 3
    assert leaks.copies(train, test) == 0


def test_what_was_promised_goes_with_a_release(tmp_path):
    promise = Privacy(epsilon=9, length=25, public="all", noise=2.0)
    bounds = "hr=0:300,resp=0:80,o2sat=0:100,map=0:250,sbp=0:300,dbp=0:250,temp=25:45,age=0:90"
    run = vitalsynth.train(
        "icu-demo",
        out=str(tmp_path / "run"),
        privacy=promise,
        limits=bounds,
        normalise="minmax",
        discriminator=partial(discriminators.LSTM, hidden=8),
        objective=objectives.NonSaturating,
        steps=2,
        batch=16,
        quiet=True,
    )
    (place,) = vitalsynth.release(
        str(run.path), out=str(tmp_path / "pack"), what="generator", despite="asked by the test"
    )
    told = json.loads((place / "release.json").read_text())["differential_privacy"]
    assert told.startswith("for each patient epsilon ") and told in (place / "card.md").read_text()
    assert "noise.key" not in " ".join(zipfile.ZipFile(place / "generator.zip").namelist())
