"""Presets: each trains on any data and can be sampled; what follows on the command line wins."""

import json
from functools import partial

import pandas as pd
import pytest

import vitalsynth
from families import cohort
from vitalsynth import presets
from vitalsynth.cli import main
from vitalsynth.commands.report import asked_of
from vitalsynth.distillation import Distillation
from vitalsynth.runs import Run


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_trains_on_gaps_lengths_and_categories(name, tmp_path):
    brief = {"steps": 2, "batch": 8, "quiet": True}
    settings = vitalsynth.preset(name) | brief
    if name == "offspring":
        parent = vitalsynth.train(cohort(), out=str(tmp_path / "parent"), **(vitalsynth.preset("strong") | brief))
        settings["objective"] = partial(Distillation, parent=str(parent.path), draws=100)
    run = vitalsynth.train(cohort(), out=str(tmp_path / "run"), **settings)
    assert Run(run.path).step == 2
    drawn = vitalsynth.Synthesizer.load(run.path).sample_sequences(20)
    assert drawn.schema == cohort().schema and len(drawn) == 20


@pytest.mark.parametrize("name", ["strong", "rcgan"])
def test_what_follows_a_preset_wins(name, tmp_path, capsys):
    out = str(tmp_path / "run")
    quick = ["--steps", "2", "--generator.hidden", "16", "--batch", "8", "--quiet"]
    assert main(["train", "icu-demo", *quick, "--preset", name, "--average", "0.5", "--out", out]) == 0
    record = Run(out).record
    theirs = presets.preset(name)["generator"].keywords
    assert record["networks"]["generator"]["init_args"] | theirs | {"hidden": 16} == {
        **record["networks"]["generator"]["init_args"],
        **{key: value for key, value in theirs.items() if key != "hidden"},
        "hidden": 16,
    }
    assert record["average"] == 0.5 and record["batch"] == 8


def test_an_unknown_preset_is_one_line(tmp_path, capsys):
    assert main(["train", "icu-demo", "--preset", "strog", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.strip() == "vitalsynth train: no preset 'strog'; did you mean 'strong'?"
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert all(f"{name}: {what}" in told for name, what in presets.names().items())


def test_a_flow_can_be_guided_after_training(tmp_path, capsys):
    out = str(tmp_path / "run")
    small = ["--steps", "2", "--batch", "8", "--generator.hidden", "8", "--generator.blocks", "1", "--quiet"]
    assert main(["train", "icu-demo", "--preset", "flow", "--condition", "died", *small, "--out", out]) == 0
    for using in ("guidance=3,solver_steps=2", "guidance=1.0"):
        assert main(["sample", out, "--count", "5", "--using", using, "--quiet"]) == 0
    files = sorted((tmp_path / "run" / "samples").glob("*.parquet"))
    one, other = (pd.read_parquet(file) for file in files)
    assert len(files) == 2 and not one.equals(other)
    capsys.readouterr()
    for using, said in (
        ("guidanc=3", "'guidanc' is no setting that can be changed when sampling; did you mean 'guidance'?"),
        ("solver_steps=many", "when sampling: invalid literal for int() with base 10: 'many'"),
        ("solver_steps=0", "cannot be built as asked: at least 1 solver step is needed, got 0"),
        ("guidance", "a setting is NAME=VALUE, got 'guidance'"),
    ):
        assert main(["sample", out, "--count", "5", "--using", using, "--seed", "1"]) == 2
        assert said in capsys.readouterr().err


def test_the_chosen_normalisers_are_recorded_and_told(tmp_path, capsys):
    out = str(tmp_path / "run")
    small = ["--steps", "1", "--batch", "8", "--generator.hidden", "8", "--discriminator.hidden", "8"]
    assert main(["train", "ecg5000", "--normalise", "auto", *small, "--out", out]) == 0
    told = capsys.readouterr().err
    chosen = json.loads((tmp_path / "run" / "run.json").read_text())["normalise"]
    assert all(f"{name}: {kind} (" in told for name, kind in chosen.items() if name != "*")


def test_a_report_says_of_an_outline_if_there_is_one(tmp_path):
    brief = {"steps": 1, "checkpoint_every": 1, "quiet": True}
    for source, outline in (("sines", "16 components, drawn first"), ("icu-demo", None)):  # the vital signs have gaps
        run = vitalsynth.train(source, out=str(tmp_path / source), **(vitalsynth.preset("strong") | brief))
        assert asked_of(Run(run.path), 1).get("outline") == outline
