"""The command line: what it says, what it writes, and one clear line for each mistake."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from vitalsynth import checkpoints, cli, components
from vitalsynth.cli import main
from vitalsynth.commands import COMMANDS, function, interface
from vitalsynth.generators import GRU
from vitalsynth.runs import Run

TINY = ["--steps", "3", "--batch", "8", "--generator.hidden", "8", "--discriminator.hidden", "8", "--quiet"]

VITALS = ["hr", "resp", "o2sat", "map", "sbp", "dbp", "temp"]

NETS = '''
import torch
from torch import nn
from vitalsynth import Encoded, Generator


class Wave(Generator):
    """A perceptron of the whole sequence."""

    def __init__(self, shape, depth: int = 2):
        """Build the network.

        Args:
            depth: Layers.
        """
        super().__init__()
        self.noise, self.shape = 16, shape
        layers = [nn.Linear(16 + shape.condition, 32)]
        layers += [nn.Linear(32, 32) for _ in range(depth - 1)]
        self.layers = nn.ModuleList(layers)
        self.x, self.s = nn.Linear(32, shape.length * shape.channels), nn.Linear(32, shape.statics)

    def forward(self, noise, condition):
        h = torch.cat([noise, condition], dim=1)
        for layer in self.layers:
            h = torch.relu(layer(h))
        return Encoded(self.x(h).unflatten(1, (self.shape.length, self.shape.channels)), self.s(h), condition)
'''


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny run that the tests of other commands read."""
    path = tmp_path_factory.mktemp("runs") / "icu"
    assert main(["train", "icu-demo", "--out", str(path), "--condition", "died,sex", *TINY]) == 0
    return path


def say(capsys, *arguments):
    """Run a command; return its exit code and what it said on stderr."""
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr().err


def test_help_names_every_command_and_is_quick(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for command in ("data", "train", "continue", "branch", "merge", "list", "prune", "pack", "sample"):
        assert f"\n  {command} " in said


def test_commands_of_two_words_are_listed_under_the_first(capsys):
    assert main(["notebook", "--help"]) == main(["review"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in COMMANDS if name.startswith(("notebook ", "review ")))
    assert main(["notebook", "rnu"]) == 2
    assert "no command 'notebook rnu'" in capsys.readouterr().out


def test_interrupted_while_it_starts(monkeypatch, capsys):
    def interrupted(command):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "function", interrupted)
    assert main(["train", "icu-demo", "--out", "x"]) == 130
    assert capsys.readouterr().err == "vitalsynth train: interrupted before anything was begun\n"


def test_a_folder_of_runs_is_no_run(trained, capsys):
    assert main(["watch", str(trained.parent)]) == 2
    assert f"it holds runs: write '{trained.parent}/*'" in capsys.readouterr().err


def test_help_of_a_command_teaches_every_setting(capsys):
    with pytest.raises(SystemExit) as done:
        main(["train", "--help"])
    assert done.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for text in ("Learn a generator from sequences", "--generator GENERATOR", "LSTM", "--held_out", "never sees"):
        assert text in said
    with pytest.raises(SystemExit):
        main(["train", "--generator.help", "LSTM"])
    assert "--generator.hidden HIDDEN" in capsys.readouterr().out


def test_settings_of_a_source_are_options(tmp_path, capsys):
    run = tmp_path / "sines"
    assert main(["train", "sines", "--source.length", "7", "--source.count", "50", "--out", str(run), *TINY]) == 0
    assert Run(run).preparation.shape.length == 7
    code, said = say(capsys, "train", "sines", "--source.lenght", 7, "--out", tmp_path / "x")
    assert code == 2 and "no option --source.lenght; did you mean '--source.length'?" in said


def test_config_files(tmp_path, capsys):
    arguments = ["train", "icu-demo", "--out", str(tmp_path / "run"), "--generator", "GRU", *TINY, "--print_config"]
    with pytest.raises(SystemExit):
        main([*arguments, "--normalise", '{"hr": "local", "*": "standard"}'])
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["generator"] == {
        "class_path": "vitalsynth.generators.GRU",
        "init_args": {**components.describe(GRU)["init_args"], "hidden": 8, "renewal": 12},
    }
    assert config["generator_optimizer"]["init_args"]["betas"] == [0.0, 0.99]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", "--config", str(tmp_path / "config.yaml"), "--steps", "2"]) == 0
    record = Run(tmp_path / "run").record
    assert record["normalise"] == {"hr": "local", "*": "standard"}
    assert record["networks"]["generator"] == config["generator"]


def test_stabilisers_are_chosen_one_after_the_other(tmp_path, capsys):
    """On the command line, from a config file, and in a branch, which adds to its parent's or begins anew."""
    two = ["--stabilisers+", "InstanceNoise", "--stabilisers.std", "0.3", "--stabilisers+", "Augment"]
    with pytest.raises(SystemExit):
        main(["train", "icu-demo", "--out", str(tmp_path / "run"), *TINY, *two, "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    more = ["--stabilisers+", "Consistency", "--stabilisers.shift", "0"]
    assert main(["train", "--config", str(tmp_path / "config.yaml"), *more]) == 0
    chosen = Run(tmp_path / "run").record["stabilisers"]
    assert [part["class_path"].rpartition(".")[2] for part in chosen] == ["InstanceNoise", "Augment", "Consistency"]
    assert chosen[:2] == config["stabilisers"]
    assert chosen[0]["init_args"] == {"std": 0.3, "over": 2000} and chosen[2]["init_args"]["shift"] == 0
    fork = ["branch", str(tmp_path / "run"), "--out"]
    assert main([*fork, str(tmp_path / "more"), "--stabilisers+", "InstanceNoise", "--steps", "4", "--quiet"]) == 0
    assert Run(tmp_path / "more").record["stabilisers"][:3] == chosen
    assert len(Run(tmp_path / "more").record["stabilisers"]) == 4
    assert main([*fork, str(tmp_path / "none"), "--stabilisers", "[]"]) == 0
    assert Run(tmp_path / "none").record["stabilisers"] == []
    capsys.readouterr()
    code, said = say(capsys, *fork, tmp_path / "x", "--stabilisers+", "Augmnt")
    assert code == 2 and "--stabilisers: no class 'Augmnt'; did you mean 'Augment'?" in said
    for command in ("train", "branch"):
        with pytest.raises(SystemExit):
            main([command, "--stabilisers.help", "InstanceNoise"])
        said = capsys.readouterr().out
        assert "--stabilisers.std STD" in said and "shape" not in said  # which the data know


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("stepz: 3\n", "no setting 'stepz'; did you mean 'steps'?"),
        ("steps: [\n", "is not YAML"),
        ("- steps\n", "holds no settings"),
        (b"\xff\xfe", "is not YAML"),
    ],
)
def test_a_bad_config_file_is_one_line(content, expected, tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, said = say(capsys, "train", "icu-demo", "--out", tmp_path / "run", "--config", file)
    assert code == 2 and expected in said and said.count("\n") == 1, said
    assert not (tmp_path / "run").exists()


def test_a_run_finds_its_data_from_anywhere(tmp_path, monkeypatch):
    """The table was named relative to where training ran; brackets in a run's name are no glob."""
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    assert main(["data", "sines", "--source.count", "60", "--out", "sines.csv"]) == 0
    assert main(["train", "sines.csv", "--out", "r[1]", *TINY]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["continue", "there/r[1]", "--steps", "5", "--quiet"]) == 0
    assert len(Run("there/r[1]").log()) == 5


def test_a_cohort_keeps_the_column_of_subjects(tmp_path):
    rows = [[p, v, t, 60 + t + v, v % 2] for p in range(10) for v in range(10 * p, 10 * p + 2) for t in range(4)]
    pd.DataFrame(rows, columns=["patient", "visit", "hour", "hr", "ward"]).to_csv(tmp_path / "visits.csv", index=False)
    names = ["--source.id", "visit", "--source.time", "hour", "--source.subject", "patient"]
    assert main(["train", str(tmp_path / "visits.csv"), *names, "--out", str(tmp_path / "run"), *TINY]) == 0
    _, test = Run(tmp_path / "run").data()
    assert len(np.unique(test.subject)) == 2 and len(test) == 4
    assert main(["sample", str(tmp_path / "run"), "--count", "3", "--out", str(tmp_path / "c.csv"), "--quiet"]) == 0
    assert set(pd.read_csv(tmp_path / "c.csv")) == {"patient", "visit", "hour", "hr", "ward"}


def test_a_generator_of_the_users_own(tmp_path, monkeypatch, capsys):
    """In a file of their own, with its own settings, with no change to the package; found again by later commands."""
    (tmp_path / "my_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    own = ["--generator", "my_nets.Wave"]
    arguments = ["train", "icu-demo", "--out", "run", "--steps", "2", "--batch", "8", "--discriminator.hidden", "8"]
    assert main([*arguments, *own, "--generator.depth", "3", "--quiet"]) == 0
    record = Run(tmp_path / "run").record["networks"]["generator"]
    assert record == {"class_path": "my_nets.Wave", "init_args": {"depth": 3}}
    command = [sys.executable, "-m", "vitalsynth", "sample", "run", "--count", "4", "--out", "cohort.csv"]
    refused = subprocess.run(command, capture_output=True, text=True)  # it might be a stranger's
    assert refused.returncode == 2 and "export VITALSYNTH_TRUST=my_nets" in refused.stderr
    subprocess.run(command, check=True, env={**os.environ, "VITALSYNTH_TRUST": "my_nets"})
    assert pd.read_csv(tmp_path / "cohort.csv").id.nunique() == 4
    code, said = say(capsys, *arguments, *own, "--generator.dept", 3)
    assert code == 2 and "--generator Wave has no setting 'dept'; did you mean 'depth'?" in said
    code, said = say(capsys, *arguments, "--generator", "my_nets.Wvae")
    assert code == 2 and "module 'my_nets' has no 'Wvae'; did you mean 'Wave'?" in said
    code, said = say(capsys, *arguments, "--generator", "my_netz.Wave")
    assert code == 2 and "cannot import 'my_netz'" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "no command 'trian'; did you mean 'train'?"),
        (["train", "icu-demo", "--out", "x", "--stpes", "3"], "no option --stpes; did you mean '--steps'?"),
        (["train", "icu-demo", "--out", "x", "--generator", "LSMT"], "no class 'LSMT'; did you mean 'LSTM'?"),
        (["train", "icu-demo", "--out", "x", "--generator.hiden", "3"], "no setting 'hiden'; did you mean 'hidden'?"),
        (["train", "icu-demo", "--out", "x", "--objective", "Wassertein"], "did you mean 'Wasserstein'?"),
        (["train", "icu-demo", "--out", "x", "--objective.estimatr", "x"], "did you mean 'estimator'?"),
        (["train", "icu-demo", "--out", "x", "--stabilisers+", "Augmnt"], "no class 'Augmnt'; did you mean 'Augment'?"),
        (
            ["train", "icu-demo", "--out", "x", "--stabilisers+", "Augment", "--stabilisers.shfit", "0"],
            "--stabilisers Augment has no setting 'shfit'; did you mean 'shift'?",
        ),
        (
            ["train", "icu-demo", "--out", "x", "--stabilisers+", "Augment", "--stabilisers.shift", "far"],
            "--stabilisers Augment: must be a number, got far",
        ),
        (
            ["train", "icu-demo", "--out", "x", "--stabilisers", "Augment"],
            "one after the other: --stabilisers+ Augment",
        ),
        (
            ["train", "icu-demo", "--out", "x", "--stabilisers.shift", "0"],
            "needs a class before its settings; there are",
        ),
        (["train", "icu-demo", "--out", "x", "--stabilisers+", "LSTM"], "no class 'LSTM'; there are: InstanceNoise,"),
        (["train", "icu-demo", "--out", "x", "--stabilisers+", "torch.nn.LSTM"], "torch.nn.LSTM is not a Stabiliser"),
        (["train", "icu-demo", "--out", "x", "--stabilisers+", "Stabiliser"], "is only what others derive from"),
        (["train", "icu-demo", "--out", "x", "--stabilisers+", "my_lab.Calm"], "cannot import 'my_lab'"),
        (["train", "icu-demo", "--out", "x", "--condition", "dyed"], "no static column 'dyed'; did you mean 'died'?"),
        (["train", "icu-demo", "--out", "x", "--drop", "tmep"], "no column 'tmep'; did you mean 'temp'?"),
        (["train", "icu-dmo", "--out", "x"], "did you mean 'icu-demo'?"),
        (["train", "icu-demo"], "needs --out"),
        (["train"], "needs DATA, --out"),
        (["train", "icu-demo", "--out", "x", "--generator_schedule", "Cosine"], "needs --generator_schedule.over"),
        (["train", "ecg5000", "--out", "x", "--source.split", "bogus"], "one of 'train', 'test', 'all'"),
        (["train", "--out", "x", "--source.lenght", "3", "sines"], "did you mean '--source.length'?"),
        (["train", "icu-demo", "--config", "nowhere.yaml", "--out", "x"], "nowhere.yaml"),
        (["evaluate", "x.csv", "--data", "sines", "--source.lenght", "3"], "did you mean '--source.length'?"),
        (["train", "icu-demo", "more", "--out", "x"], "one word too many: 'more'"),
        (["train", "icu-demo", "--out", "x", "--steps", "many"], "--steps: must be a whole number, got many"),
        (["check", "x", "--data", "sines", "--data.length", "9"], "no option --data.length; --data takes a value"),
        (
            ["train", "icu-demo", "--out", "x", "--generator.hidden", "many"],
            "--generator LSTM: must be a whole number, got many",
        ),
        (
            ["train", "icu-demo", "--out", "x", "--discriminator.minibatch", "many"],
            "--discriminator Projected: must be a whole number or 'auto', got many",
        ),
        (["train", "icu-demo", "--out", "x", "--normalise", "locale"], "did you mean 'local'?"),
        (["train", "icu-demo", "--out", "x", "--steps", "0"], "--steps must be at least 1, got 0"),
        (["train", "icu-demo", "--out", "x", "--device", "cuda:9"], "device 'cuda:9' is not on this machine"),
        (
            ["train", "icu-demo", "--out", "x", "--generator", "torch.nn.LSTM"],
            "torch.nn.LSTM is not a Generator; there are",
        ),
        (
            ["train", "icu-demo", "--out", "x", "--generator", "vitalsynth.generators.Recurrent"],
            "is only what others derive from: LSTM,",
        ),
        (["train", "icu-demo", "--out", "x", "--generator", "Generator"], "is only what others derive from: LSTM,"),
        (["continue", "nowhere", "--steps", "3"], "no run matches 'nowhere'"),
        (["sample", "nowhere", "--count", "3", "--out", "x.csv"], "no run matches 'nowhere'"),
        (["evaluate", "no*"], "no run matches 'no*'"),
        (["report", "nowhere"], "no run matches 'nowhere'"),
        (["train", "sines", "--out", f"{__file__}/run"], "test_cli.py is a file, not a folder"),
        (["data", "nowhere.csv"], "no such file"),
        (["data", "sines", "--source.help"], "'vitalsynth data sines --help' lists the settings of a source"),
        (["data", "--source.help"], "'vitalsynth data SOURCE --help' lists the settings of a source"),
        (["data", "mnist", "--source.folder", "empty"], "empty"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, said = say(capsys, *arguments)
    assert code == 2
    assert expected in said
    assert said.startswith("vitalsynth") and said.count("\n") == 1, said
    assert not list(tmp_path.iterdir())


BAD_TABLES = {
    "text": ("id,time,hr\na,0,80\na,1,high\nb,0,70\nb,1,72\n", "hr"),
    "empty": ("", "empty"),
    "header only": ("id,time,hr\n", ""),
    "duplicate": (
        "id,time,hr\na,0,80\na,0,81\nb,0,70\nb,1,71\n",
        "row 2 (line 3), column 'time' repeats row 1 (line 2)",
    ),
    "all missing": ("id,time,hr,rr\na,0,80,\na,1,81,\nb,0,70,\nb,1,70,\n", "rr"),
    "one subject": ("id,time,hr\na,0,80\na,1,81\n", "one subject cannot be split"),
    "no id": ("patient,time,hr\na,0,80\n", "id"),
    "infinite": ("id,time,hr\na,0,80\na,1,inf\nb,0,70\nb,1,71\n", "infinite"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_is_one_line_and_leaves_nothing(name, tmp_path, capsys):
    content, expected = BAD_TABLES[name]
    file = tmp_path / "table.csv"
    file.write_text(content)
    code, said = say(capsys, "train", file, "--out", tmp_path / "run", *TINY)
    assert code == 2
    assert expected in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_exists_is_not_overwritten(trained, tmp_path, capsys):
    code, said = say(capsys, "train", "icu-demo", "--out", trained, *TINY)
    assert code == 2 and "exists; carry it on with 'vitalsynth continue" in said
    (tmp_path / "cohort.csv").write_text("mine")
    code, said = say(capsys, "sample", trained, "--count", 3, "--out", tmp_path / "cohort.csv")
    assert code == 2 and "exists" in said
    assert (tmp_path / "cohort.csv").read_text() == "mine"


@pytest.mark.parametrize("suffix", ["parquet", "csv", "npz"])
def test_a_cohort_has_the_form_of_the_original_and_can_be_read_as_data(trained, suffix, tmp_path, capsys):
    file = tmp_path / f"cohort.{suffix}"
    assert (
        main(
            ["sample", str(trained), "--count", "30", "--out", str(file), "--condition", "died=1,sex=Female", "--quiet"]
        )
        == 0
    )
    if suffix == "npz":
        with np.load(file) as arrays:
            assert arrays["x"].shape == (30, 25, 7)
            assert (arrays["died"] == 1).all() and (arrays["sex"] == "Female").all()
    else:
        frame = pd.read_parquet(file) if suffix == "parquet" else pd.read_csv(file)
        assert frame.columns.tolist() == ["id", "time", *VITALS, "died", "age", "sex"]
        assert frame.id.nunique() == 30
        assert (frame.died == 1).all() and (frame.sex == "Female").all()
        assert frame.o2sat.max() <= 100 and frame.hr.min() >= 0
    assert main(["train", str(file), "--out", str(tmp_path / "again"), *TINY]) == 0


def test_bad_requests_for_a_cohort(trained, tmp_path, capsys):
    for arguments, expected in (
        (["--count", 3, "--out", tmp_path / "x.docx"], ".parquet"),
        (["--count", 0, "--out", tmp_path / "x.csv"], "--count must be at least 1"),
        (["--count", 3, "--out", tmp_path / "x.csv", "--condition", "ded=1"], "did you mean 'died'?"),
        (
            ["--count", 3, "--out", tmp_path / "x.csv", "--condition", "sex=Femal"],
            "no category 'Femal'; it has Female, Male",
        ),
        (["--count", 3, "--out", tmp_path / "x.csv", "--condition", "died"], "NAME=VALUE, got 'died'"),
        (["--count", 3, "--out", tmp_path / "x.csv", "--checkpoint", 2], "no checkpoint at step 2; there are 3"),
        (["--count", 3, "--out", tmp_path / "x.png"], "did not learn images"),
    ):
        code, said = say(capsys, "sample", trained, *arguments)
        assert code == 2 and expected in said, said
        assert not list(tmp_path.iterdir())


def test_evaluate_and_report(trained, tmp_path, capsys):
    assert main(["evaluate", str(trained)]) == 0
    rows = [json.loads(line) for line in (trained / "evaluation.jsonl").read_text().splitlines()]
    metrics = {row["metric"] for row in rows}
    assert {
        "two-sample AUROC",
        "MMD²",
        "TSTR AUROC",
    } <= metrics  # died is the label: the first condition that is a class
    assert all(row["step"] == 3 and row["trained_on"] == 1094 and row["held_out"] == 273 for row in rows)
    auroc = next(row for row in rows if row["metric"] == "two-sample AUROC")
    assert auroc["value"] > 0.9 > 0.65 > auroc["floor"]  # three steps fool nobody
    assert main(["report", str(trained)]) == 0
    page = (trained / "report.html").read_text()
    assert "two-sample AUROC" in page and "died, sex" in page and "generators.LSTM(hidden 8" in page


def test_few_patients_are_warned_of(tmp_path, caplog):
    """Five patients train, but are told what that is worth; one who is held out is not attacked."""
    hours = pd.DataFrame({"id": np.repeat(range(5), 4), "time": np.tile(range(4), 5), "hr": 60.0 + np.arange(20)})
    hours.to_csv(tmp_path / "five.csv", index=False)
    run = str(tmp_path / "run")
    assert main(["train", str(tmp_path / "five.csv"), "--steps", "1", "--out", run, "--quiet"]) == 0
    (told,) = [record.getMessage() for record in caplog.records if "held out" in record.getMessage()]
    assert re.fullmatch(
        r"5 subjects, [12] held out: scores will say little, and attacks cannot be run \(docs/questions.md\)", told
    )
    caplog.clear()
    assert main(["train", "icu-demo", "--steps", "1", "--out", str(tmp_path / "many"), "--quiet"]) == 0
    assert "held out" not in caplog.text


def test_evaluate_a_file_of_somebody_else(trained, tmp_path, capsys):
    """A colleague's CSV is judged against the real data it imitates; a copy of real data is at the floor."""
    assert main(["sample", str(trained), "--count", "273", "--out", str(tmp_path / "theirs.csv"), "--quiet"]) == 0
    assert main(["data", "icu-demo", "--out", str(tmp_path / "copy.csv")]) == 0
    capsys.readouterr()
    for name, low, high in (("theirs", 0.9, 1.0), ("copy", 0.35, 0.65)):
        arguments = ["evaluate", str(tmp_path / f"{name}.csv"), "--data", "icu-demo", "--label", "died"]
        assert main([*arguments, "--metrics", "two_sample"]) == 0
        line = next(row for row in capsys.readouterr().out.splitlines() if "two-sample" in row)
        assert low <= float(line.split("│")[2].split()[0]) <= high
    assert main(["evaluate", str(tmp_path / "theirs.csv"), "--data", str(trained), "--metrics", "mmd"]) == 0
    # the run's own held-out stays
    assert "nothing is known" not in capsys.readouterr().err
    code, said = say(capsys, "evaluate", tmp_path / "copy.csv")
    assert code == 2 and "--data" in said
    code, said = say(capsys, "evaluate", tmp_path / "copy.csv", "--data", "icu-demo", "--label", "dead")
    assert code == 2 and "did you mean 'died'" in said


def test_a_damaged_run_is_one_line(trained, tmp_path, capsys):
    import shutil

    for damage, expected in (("run.json", "damaged"), ("checkpoints", "no whole checkpoint")):
        copy = tmp_path / damage
        shutil.copytree(trained, copy)
        if damage == "run.json":
            (copy / damage).write_text((copy / damage).read_text()[:200])
        else:
            (copy / "checkpoints" / "00000003" / "networks.safetensors").write_bytes(b"")
        code, said = say(capsys, "sample", copy, "--count", 3, "--out", tmp_path / "x.csv")
        assert code == 2 and expected in said, said
        assert not (tmp_path / "x.csv").exists()


def test_a_network_whose_code_changed_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "changing_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "icu-demo", "--out", "run", "--generator", "changing_nets.Wave", "--steps", "1"]
    assert main([*arguments, "--batch", "8", "--discriminator.hidden", "8", "--quiet"]) == 0
    monkeypatch.delitem(sys.modules, "changing_nets")
    (tmp_path / "changing_nets.py").write_text(NETS.replace("32", "33"))
    for command in (["sample", "run", "--count", "2", "--out", "x.csv"], ["continue", "run", "--steps", "3"]):
        code, said = say(capsys, *command)
        assert code == 2 and "do not fit changing_nets.Wave; did its code change?" in said and said.count("\n") == 1


def test_data_lists_and_describes(capsys, tmp_path):
    assert main(["data"]) == 0
    listed = capsys.readouterr().out
    for name in ("icu-demo", "mnist", "sines", "table", "ecg5000", "faces"):
        assert name in listed
    assert main(["data", "icu-demo", "--picture", str(tmp_path / "icu.png")]) == 0
    said = capsys.readouterr().out
    assert "1,367 sequences of 1,367 subjects, 25 steps of 1 h" in said
    assert "mmHg" in said and "Male 59%" in said
    assert (tmp_path / "icu.png").read_bytes().startswith(b"\x89PNG")


def test_data_of_a_table_shows_extremes_and_categories_and_warns(capsys, caplog, tmp_path, monkeypatch):
    """A typo in one row makes a static column a channel: `data` says where, and training what to look at."""
    monkeypatch.chdir(tmp_path)
    n = np.arange(400)
    wards = np.array(["ICU", "icu", "surgery", "medicine", "neuro", "cardio", "burns"])[n // 10 % 7]
    table = pd.DataFrame({"id": n // 10, "time": n % 10, "hr": 80.0 + n % 7, "died": n // 10 % 2, "ward": wards})
    table.loc[17, ["hr", "died"]] = [8800, 0]
    table.to_csv("my.csv", index=False)
    assert main(["data", "my.csv"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "hr continuous 100% 80 80 83 86 8800" in shown
    assert all(f"{ward} 1" in shown for ward in set(wards))
    doubts = [record.getMessage() for record in caplog.records]
    for doubt in (
        "hr has 1 value far out (8800 in row 18 (line 19); median 83)",
        "ward has 'ICU' (60 rows, first in row 1 (line 2)) beside 'icu' (60 rows)",
        "died changes within 1 of 40 ids (id 1, row 18 (line 19)): taken as a channel",
    ):
        assert any(doubt in said for said in doubts)
    caplog.clear()
    code, said = say(capsys, "train", "my.csv", "--condition", "died", "--held_out", "0", "--out", "run")
    assert code == 2 and len(caplog.records) == len(doubts)
    assert "'died' changes with time, though within only 1 of the 40 sequences to learn from" in said
    code, said = say(capsys, "train", "my.csv", "--condition", "hr", "--out", "run")
    assert code == 2 and "'hr' changes with time; a condition must be a static column" in said


def test_completion_is_a_script_that_knows_the_commands(capsys):
    assert main(["--completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert "complete" in script and "continue" in script and "--checkpoint_every" in script
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert checked.returncode == 0, checked.stderr
    assert main(["--completion", "fish"]) == 2


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("note", "notebook"),
        ("notebook ", "run serve"),
        ("notebook run --time", "--timeout"),
        ("notebook serve --po", "--port"),
        ("sweep ", "work show dashboard"),
        ("sweep show --ea", "--each"),
        ("sweep --sea", "--search"),
        ("train --ste", "--steps"),
    ],
)
def test_commands_of_two_words_are_completed_too(script, typed, meant):
    words = ["vitalsynth", *typed.split(" ")]
    ask = """
        completes=$(complete -p vitalsynth); completes=${completes##*-F }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        ${completes%% *}; echo "${COMPREPLY[@]}"
    """
    told = subprocess.run(["bash", "-c", f"{script}\n{ask}", "bash", *words], text=True, capture_output=True)
    assert told.stdout.split() == meant.split(), told.stderr


@pytest.fixture(scope="module")
def script():
    """What 'vitalsynth --completion bash' prints."""
    return interface.completion({command: function(command) for command in COMMANDS}, "bash")


def test_everything_the_package_promises_is_there_and_imported_late():
    code = (
        "import sys, vitalsynth; assert 'torch' not in sys.modules; vitalsynth.Sequences; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    import vitalsynth

    assert sorted(vitalsynth._HOMES) == vitalsynth.__all__
    for name in vitalsynth.__all__:
        assert getattr(vitalsynth, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Sequence'"):
        vitalsynth.Sequence  # noqa: B018


def test_a_full_disk_is_one_line_and_nothing_is_lost(small_disk, capsys):
    """Training, and then sampling, run out of room: what was there before is still whole."""
    run = small_disk / "run"
    tiny = ["--batch", "8", "--generator.hidden", "8", "--discriminator.hidden", "8", "--discriminator.kernels", "16"]
    arguments = ["train", "icu-demo", "--out", run, *tiny, "--checkpoint_every", "10", "--steps", "100000", "--quiet"]
    code, said = say(capsys, *arguments)
    assert code == 2 and said.count("\n") == 1 and "No space left on device" in said and str(small_disk) in said
    opened = Run(run)
    step = checkpoints.steps(opened.checkpoints)[-1]
    assert checkpoints.newest(opened.checkpoints)[1]["step"] == step >= 10
    left = {path.name for path in opened.checkpoints.iterdir()}
    assert not any(name.startswith(".") for name in left)

    code, said = say(capsys, "sample", run, "--count", 5000, "--out", small_disk / "cohort.csv", "--quiet")
    assert code == 2 and said.count("\n") == 1 and "No space left on device" in said
    assert not [path for path in small_disk.iterdir() if path != run]

    code, said = say(capsys, "train", "icu-demo", "--out", small_disk / "another", *tiny, "--steps", 3, "--quiet")
    assert code == 2 and "No space left on device" in said
    assert not (small_disk / "another").exists() or checkpoints.newest(small_disk / "another" / "checkpoints") is None

    for old in checkpoints.steps(opened.checkpoints)[:-1]:  # room again: it carries on
        shutil.rmtree(opened.checkpoints / f"{old:08d}")
    assert main(["continue", str(run), "--steps", str(step + 2), "--quiet"]) == 0
    assert checkpoints.newest(opened.checkpoints)[1]["step"] == step + 2
