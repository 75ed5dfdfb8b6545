"""Runs are carried on, branched, merged, pruned and packed, and what comes out is one run."""

import io
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from rich.console import Console
from safetensors.torch import load_file

import forks
from families import SMALL, cohort
from vitalsynth import checkpoints
from vitalsynth.cli import main
from vitalsynth.commands import list_
from vitalsynth.commands.branch import branch
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.evaluate import evaluate
from vitalsynth.commands.merge import merge
from vitalsynth.commands.prune import prune
from vitalsynth.commands.report import report
from vitalsynth.commands.sample import sample
from vitalsynth.commands.train import train
from vitalsynth.discriminators import LSTM as Judge
from vitalsynth.frames import to_frame
from vitalsynth.generators import LSTM
from vitalsynth.learner import Learner
from vitalsynth.runs import Run, find, lineage, merging, pruning
from vitalsynth.runs.lineage import NotALine
from vitalsynth.sequences import Column

DATA = cohort()


def begin(out, steps, **more):
    return train(DATA, **{"out": str(out), "steps": steps, **SMALL, **more})


def carry_on(run, steps):
    return continue_([str(run)], steps=steps, quiet=True, data=DATA)[0]


def fork(run, out, at=None, steps=0, **more):
    return branch([str(run)], out=str(out), at=at, steps=steps, data=DATA, quiet=True, **more)[0]


def log_of(run):
    return (Path(run) / "log.jsonl").read_bytes()


def weights_of(run, step):
    folder = checkpoints.at(Run(run).checkpoints, step)
    return load_file(folder / "networks.safetensors") | load_file(folder / "optimizers.safetensors")


def assert_same_weights(a, b, step):
    ours, theirs = weights_of(a, step), weights_of(b, step)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def files_of(run):
    """All files of a run by name, but the lock."""
    return {
        str(file.relative_to(run)): file.read_bytes()
        for file in sorted(Path(run).rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


SETTINGS = ["--condition", "died", "--generator.hidden", "8", "--discriminator.hidden", "8", "--batch", "8"]
SETTINGS += ["--checkpoint_every", "10", "--discriminator.kernels", "16", "--quiet"]


def test_a_lineage_of_four_processes_is_one_run(tmp_path):
    """Train, continue, branch, continue: merged, the log is that of a run never interrupted, byte for byte."""
    straight, first, second, merged = (tmp_path / name for name in ("straight", "first", "second", "merged"))
    forks.run("train", "icu-demo", "--out", straight, "--steps", 60, *SETTINGS)
    forks.run("train", "icu-demo", "--out", first, "--steps", 20, *SETTINGS)
    forks.run("continue", first, "--steps", 37, "--quiet")
    forks.run("branch", first, "--at", 30, "--out", second)
    forks.run("continue", second, "--steps", 45, "--quiet")
    forks.run("merge", second, first, "--out", merged)
    assert log_of(merged) == b"".join(log_of(straight).splitlines(keepends=True)[:45])
    assert_same_weights(merged, second, 45)
    forks.run("continue", second, merged, "--steps", 60, "--quiet")
    assert log_of(merged) == log_of(straight)
    assert_same_weights(merged, second, 60)
    assert_same_weights(merged, straight, 60)
    forks.run("evaluate", merged, "--quiet")
    forks.run("report", merged)
    assert (merged / "report.html").stat().st_size > 50_000
    assert {row["step"] for row in Run(merged).evaluations()} == {60}


def test_a_lineage_with_changed_settings_is_continuous(tmp_path, caplog):
    """Where settings change at a fork, the log has every step once, and goes on from the weights at the fork."""
    begin(tmp_path / "a", 12)
    fork(tmp_path / "a", tmp_path / "b", 10, 20, discriminator_optimizer=partial(torch.optim.Adam, lr=5e-4), batch=6)
    run = merge([str(tmp_path / "*")], out=str(tmp_path / "m"), quiet=True)
    assert "steps 11 to 12 of a are not in what is merged: b goes on from step 10" in caplog.text
    assert run.log().step.tolist() == list(range(1, 21))
    assert log_of(run.path) == b"".join(log_of(tmp_path / "a").splitlines(keepends=True)[:10]) + log_of(tmp_path / "b")
    assert run.record["batch"] == 6 and run.settings_at(9)["batch"] == 4 and run.settings_at(10)["batch"] == 6
    assert checkpoints.steps(run.checkpoints) == [5, 10, 15, 20]
    carry_on(run.path, 25)
    carry_on(tmp_path / "b", 25)
    assert_same_weights(run.path, tmp_path / "b", 25)


def test_a_branch_with_nothing_changed_is_its_parent(tmp_path):
    begin(tmp_path / "a", 20)
    fork(tmp_path / "a", tmp_path / "b", 10, 20)
    assert log_of(tmp_path / "b") == b"".join(log_of(tmp_path / "a").splitlines(keepends=True)[10:])
    assert_same_weights(tmp_path / "a", tmp_path / "b", 20)
    parent = Run(tmp_path / "b").record["parent"]
    assert parent == {"id": Run(tmp_path / "a").record["id"], "name": "a", "step": 10}


def test_what_a_branch_changes_and_what_it_keeps(tmp_path, caplog):
    begin(tmp_path / "a", 10, generator_optimizer=partial(torch.optim.Adam, lr=2e-3, betas=(0.0, 0.9)))
    fork(tmp_path / "a", tmp_path / "judge", 10, 12, discriminator=partial(Judge, hidden=4))
    assert "start anew: the discriminator" in caplog.text
    caplog.clear()
    fork(tmp_path / "a", tmp_path / "sgd", 10, 12, generator_optimizer=partial(torch.optim.SGD, lr=1e-2))
    assert "start anew: the optimiser of the generator" in caplog.text
    caplog.clear()
    changed = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.5))
    fork(tmp_path / "a", tmp_path / "rate", 10, 12, generator_optimizer=changed)
    assert "anew" not in caplog.text
    state = checkpoints.load(Run(tmp_path / "rate").checkpoint(10))[1]["optimizers"]["generator"]
    assert state["groups"][0]["initial_lr"] == 1e-3 and state["groups"][0]["betas"] == [0.0, 0.5]
    kept = weights_of(tmp_path / "a", 10)["discriminator.0.exp_avg_sq"]
    assert torch.equal(weights_of(tmp_path / "rate", 10)["discriminator.0.exp_avg_sq"], kept)
    with pytest.raises(ValueError, match=r"do not fit a generator vitalsynth\.generators\.LSTM \(hidden 5"):
        fork(tmp_path / "a", tmp_path / "wide", 10, generator=partial(LSTM, hidden=5))
    with pytest.raises(ValueError, match="no checkpoint at step 7; there are 5, 10"):
        fork(tmp_path / "a", tmp_path / "never", 7)
    with pytest.raises(ValueError, match="must exceed 10"):
        fork(tmp_path / "a", tmp_path / "past", 10, 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "judge", "rate", "sgd"]


def test_what_is_frozen_stays_and_the_rest_moves(tmp_path):
    """Which player trains which parameters is kept by continue, and changed by a branch that says so."""
    begin(tmp_path / "a", 10)
    fork(tmp_path / "a", tmp_path / "b", 10, 13, frozen="generator.recurrence,discriminator")
    carry_on(tmp_path / "b", 20)
    before, after = weights_of(tmp_path / "a", 10), weights_of(tmp_path / "b", 20)
    moved = {name for name in before if name.startswith(("generator.", "discriminator.")) and name in after}
    moved = {name for name in moved if not torch.equal(before[name], after[name])}
    assert moved and not any(name.startswith(("generator.recurrence", "discriminator")) for name in moved)
    trains = checkpoints.load(Run(tmp_path / "b").checkpoint(20))[1]["trains"]
    assert trains["discriminator"] == [] and moved <= {*trains["generator"], *before} and trains["generator"]
    fork(tmp_path / "b", tmp_path / "c", 20, 22)  # a branch of it keeps what is frozen
    assert checkpoints.load(Run(tmp_path / "c").checkpoint(22))[1]["trains"] == trains
    with pytest.raises(ValueError, match=r"no parameter 'generator\.recurence'; did you mean"):
        fork(tmp_path / "a", tmp_path / "d", 10, frozen="generator.recurence")


def test_what_trains_what_is_read_from_the_checkpoint(tmp_path):
    """A relation that differs from how the networks were built is carried on as it was."""
    run = begin(tmp_path / "a", 5)
    learner = Learner.build(run.record, torch.device("cpu"))
    learner.resume(run)
    names = [name for name in learner.trains["generator"] if "recurrence" in name]
    learner._restrict({"generator": names, "discriminator": list(learner.trains["discriminator"])})
    learner.step = 6
    learner.save(run.checkpoints, {"after": 5, "sha256": ""})
    again = Learner.build(run.record, torch.device("cpu"))
    again.load(*run.newest(), run.record)
    assert list(again.trains["generator"]) == names
    assert [p for p in again.networks["generator"].parameters() if p.requires_grad] == [
        again.trains["generator"][name] for name in names
    ]


def other_hospital():
    """More patients, other values, columns in another order, one category never seen."""
    data = cohort(count=90, seed=5)
    order = [3, 0, 1, 2]
    schema = data.schema
    rhythm = Column("rhythm", "categorical", categories=("flutter", "sinus"))
    channels = [schema.channels[j] for j in order]
    channels[0] = rhythm
    values = data.values[:, :, order].copy()
    values[:, :, 0] = np.where(values[:, :, 0] == 0, 1, 0.0)
    from dataclasses import replace

    return replace(data, values=values, schema=replace(schema, channels=tuple(channels)))


def test_a_branch_on_other_data_of_the_same_schema(tmp_path):
    begin(tmp_path / "a", 10)
    data = other_hospital()
    branch([str(tmp_path / "a")], out=str(tmp_path / "b"), steps=12, data=data, quiet=True)
    run = Run(tmp_path / "b")
    about = run.record["data"]
    assert (
        about["count"] == 90
        and about["digest"] == run.like(data).digest() != Run(tmp_path / "a").record["data"]["digest"]
    )
    continue_([str(run.path)], steps=14, quiet=True, data=data)
    train_part, held_out = run.data(data)
    old_train, old_held_out = Run(tmp_path / "a").data(DATA)
    assert set(old_held_out.subject) <= set(held_out.subject)  # nobody changes sides
    assert set(old_train.subject) <= set(train_part.subject)
    decoded = run.like(data)
    assert [c.name for c in decoded.schema.channels] == [c.name for c in DATA.schema.channels]
    flutter = other_hospital().channel("rhythm") == 0
    assert (run.like(data).channel("rhythm")[flutter] == 1).all()  # "flutter" is 1 in the parent's codes
    with pytest.raises(ValueError, match="not what it was trained on"):
        continue_([str(run.path)], steps=16, quiet=True, data=DATA)


def test_another_schema_is_refused_with_the_difference(tmp_path):
    from dataclasses import replace

    begin(tmp_path / "a", 5)
    schema = DATA.schema
    renamed = replace(schema.channels[0], name="pulse")
    other = replace(DATA, schema=replace(schema, channels=(renamed, *schema.channels[1:])))
    with pytest.raises(ValueError, match="another schema: no channel 'hr'; a channel 'pulse' too many"):
        branch([str(tmp_path / "a")], out=str(tmp_path / "b"), data=other, quiet=True)
    more = replace(schema.channels[3], categories=("sinus", "flutter", "asystole"))
    other = replace(DATA, schema=replace(schema, channels=(*schema.channels[:3], more)))
    with pytest.raises(
        ValueError, match=r"'rhythm' is categorical \(sinus, flutter, asystole\), not categorical \(sinus"
    ):
        branch([str(tmp_path / "a")], out=str(tmp_path / "b"), data=other, quiet=True)
    with pytest.raises(ValueError, match="the data have 8 steps, and at most 6"):
        branch([str(tmp_path / "a")], out=str(tmp_path / "b"), data=cohort(length=8), quiet=True)
    assert not (tmp_path / "b").exists()


def test_the_command_line_of_a_branch_starts_from_its_parents_settings(tmp_path, capsys):
    tiny = ["--batch", "8", "--generator.hidden", "8", "--discriminator.hidden", "8", "--steps", "2", "--quiet"]
    for name, rate in (("a1", "0.002"), ("a2", "0.003")):
        arguments = ["train", "icu-demo", "--out", str(tmp_path / name), "--generator_optimizer.lr", rate, *tiny]
        assert main(arguments) == 0
    arguments = ["branch", str(tmp_path / "a*"), "--out", str(tmp_path / "of-{run}"), "--generator-optimizer.betas"]
    assert main([*arguments, "[0.0, 0.9]", "--steps", "3", "--quiet"]) == 0
    for name, rate in (("a1", 0.002), ("a2", 0.003)):
        record = Run(tmp_path / f"of-{name}").record
        settings = record["optimizers"]["generator"]["init_args"]
        assert settings["lr"] == rate and settings["betas"] == [0.0, 0.9]
        assert record["networks"] == Run(tmp_path / name).record["networks"] and record["batch"] == 8
    assert main(["branch", str(tmp_path / "a1"), "--out", str(tmp_path / "x"), "--condition", "sex"]) == 2
    assert "no option --condition" in capsys.readouterr().err
    assert main(["branch", str(tmp_path / "a*"), "--out", str(tmp_path / "x")]) == 2
    assert "is one place for 2 runs; write {run} in it" in capsys.readouterr().err


def test_a_branch_reads_other_data_as_its_parent_read_its_own(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = to_frame(DATA).rename(columns={"id": "stay", "time": "hour"})
    table.to_csv("ward1.csv", index=False)
    table[table.stay < 50].to_csv("ward2.csv", index=False)
    tiny = ["--batch", "8", "--generator.hidden", "4", "--discriminator.hidden", "4", "--steps", "2", "--quiet"]
    assert main(["train", "ward1.csv", "--source.id", "stay", "--source.time", "hour", "--out", "a", *tiny]) == 0
    assert main(["branch", "a", "--out", "b", "--data", "ward2.csv", "--steps", "3", "--quiet"]) == 0
    about = Run("b").record["data"]
    assert about["count"] == 50 and about["source"] == str(tmp_path / "ward2.csv")
    assert main(["continue", "b", "--steps", "4", "--quiet"]) == 0
    table.rename(columns={"stay": "case"}).to_csv("ward3.csv", index=False)
    assert main(["branch", "a", "--out", "c", "--data", "ward3.csv", "--source.id", "case"]) == 0
    assert Run("c").record["data"]["settings"]["time"] == "hour"


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """A run of 15 steps, a branch of it at 10 to 20, a branch of that at 15 to 20, and a sibling at 5 to 10."""
    folder = tmp_path_factory.mktemp("family")
    begin(folder / "a", 15)
    fork(folder / "a", folder / "b", 10, 20)
    fork(folder / "b", folder / "c", 15, 20, batch=5)
    fork(folder / "a", folder / "s", 5, 10, seed=7)
    return folder


def test_siblings_are_refused_with_the_tree_drawn(family, tmp_path, capsys):
    command = ["merge", str(family / "b"), str(family / "s"), str(family / "a"), "--out", str(tmp_path / "m")]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in said[:3]] == [
        "a: to step 15",
        "├─ s: from step 5 to step 10",
        "└─ b: from step 10 to step 20",
    ]
    assert said[3].startswith("vitalsynth merge: s, b are siblings") or "b, s are siblings" in said[3]
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ("ac", "no common parent"),
        ("bs", "no common parent"),
        ("abs", "are siblings"),
    ],
)
def test_what_is_no_line_is_refused(family, tmp_path, names, reason):
    with pytest.raises(NotALine, match=reason):
        merging.merge([Run(family / name) for name in names], tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_copies_that_went_different_ways_are_refused(family, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(family / "b", tmp_path / name)
    carry_on(tmp_path / "one", 25)
    merging.merge([Run(tmp_path / "one"), Run(tmp_path / "two")], tmp_path / "m")  # one is further on, that is all
    assert log_of(tmp_path / "m") == log_of(tmp_path / "one")
    log = tmp_path / "two" / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"step": 13, ', b'"step": 13,  '))
    with pytest.raises(NotALine, match="copies of one run that went different ways at step 13"):
        merging.merge([Run(tmp_path / "one"), Run(tmp_path / "two")], tmp_path / "n")


def test_part_of_a_lineage_keeps_its_parent(family, tmp_path):
    run = merging.merge([Run(family / "c"), Run(family / "b")], tmp_path / "bc")
    assert run.start == 10 and run.record["parent"]["name"] == "a"
    assert run.log().step.tolist() == list(range(11, 21))
    whole = merging.merge([run, Run(family / "a")], tmp_path / "abc")
    at_once = merging.merge([Run(family / name) for name in "bac"], tmp_path / "at once")
    assert files_of(whole.path) == files_of(at_once.path)
    assert whole.log().step.tolist() == list(range(1, 21))
    child = fork(whole.path, tmp_path / "child", 10, 12)  # from within a piece, with that piece's settings
    assert child.record["batch"] == 4 and child.record["parent"]["id"] == Run(family / "b").record["id"]


def test_scores_and_samples_come_along_where_they_belong(family, tmp_path):
    for name in "ab":
        shutil.copytree(family / name, tmp_path / name)
        evaluate([str(tmp_path / name)], data=DATA, checkpoint="all", quiet=True)
        for step in checkpoints.steps(Run(tmp_path / name).checkpoints):
            sample(str(tmp_path / name), count=3, checkpoint=step, quiet=True)
    run = merge([str(tmp_path / "a"), str(tmp_path / "b")], out=str(tmp_path / "m"), quiet=True)
    judged = [row["step"] for row in run.evaluations() if row["metric"] == "MMD²"]
    assert judged == [5, 10, 15, 20]
    cohorts = [f"{step:08d}-3-seed0.parquet" for step in (5, 10, 15, 20)]
    assert [file.name for file in run.samples()] == [
        name for cohort in cohorts for name in (cohort, f"{cohort}.card.md")
    ]
    report([str(run.path)], data=DATA, count=10)
    assert "TSTR" in (run.path / "report.html").read_text()


def test_originals_can_be_moved_to_an_archive(family, tmp_path):
    for name in "ab":
        shutil.copytree(family / name, tmp_path / name)
    merge([str(tmp_path / "?")], out=str(tmp_path / "merged"), archive=str(tmp_path / "old"), quiet=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged", "old"]
    assert files_of(tmp_path / "old" / "a") == files_of(family / "a")
    again = merging.merge([Run(tmp_path / "merged"), *find(tmp_path / "old" / "*")], tmp_path / "again")
    assert files_of(again.path) == files_of(tmp_path / "merged")


def test_originals_go_to_an_archive_on_another_file_system(family, small_disk, tmp_path, capsys):
    shutil.copytree(family / "a", tmp_path / "a")
    merge(str(tmp_path / "a"), out=str(tmp_path / "m"), archive=str(small_disk / "old"), quiet=True)
    assert files_of(small_disk / "old" / "a") == files_of(family / "a")
    assert sorted(path.name for path in tmp_path.iterdir() if path != small_disk) == ["m"]


def test_an_archive_that_cannot_be_is_refused_before_anything_is_done(family, tmp_path):
    for folder in ("one", "two"):
        shutil.copytree(family / "a", tmp_path / folder / "a")
    with pytest.raises(ValueError, match="is one place for runs of one name"):
        merge([str(tmp_path / "*" / "a")], out=str(tmp_path / "m"), archive=str(tmp_path / "old"), quiet=True)
    (tmp_path / "old" / "a").mkdir(parents=True)
    with pytest.raises(ValueError, match="the originals cannot be moved there"):
        merge([str(tmp_path / "one" / "a")], out=str(tmp_path / "m"), archive=str(tmp_path / "old"), quiet=True)
    assert not (tmp_path / "m").exists()


def test_a_merged_run_stands_where_its_last_piece_stood(tmp_path):
    begin(tmp_path / "a", 10)
    fork(tmp_path / "a", tmp_path / "b", 10, 15)
    clock = tmp_path / "b" / "clock.jsonl"
    for target, state in ((15, "done"), (90, "dead")):
        clock.write_text(clock.read_text().replace('"target": 15', f'"target": {target}'))
        if state == "dead":
            clock.write_text("".join(line for line in clock.open() if '"event": "end"' not in line))
        assert Run(tmp_path / "b").state() == state
        assert merging.merge(find([tmp_path / "a", tmp_path / "b"]), tmp_path / state).state() == state


def test_the_average_of_siblings_is_the_mean_of_their_weights(tmp_path, caplog):
    begin(tmp_path / "a", 5)
    fork(tmp_path / "a", tmp_path / "b", 5, 15, seed=1)
    fork(tmp_path / "a", tmp_path / "c", 5, 10, seed=2)
    run = merging.average(find([tmp_path / "b", tmp_path / "c"]), tmp_path / "m")
    mean, b, c = weights_of(run.path, 15), weights_of(tmp_path / "b", 15), weights_of(tmp_path / "c", 10)
    for name in (name for name in mean if not name[0].isdigit()):
        assert torch.allclose(mean[name], (b[name] + c[name]) / 2, atol=1e-7), name
    assert run.record["parent"]["name"] == "b" and run.start == 15
    assert [(one["name"], one["step"]) for one in run.record["averaged"]] == [("b", 15), ("c", 10)]
    carry_on(run.path, 20)
    line = merging.merge(find([tmp_path / "a", tmp_path / "b", run.path]), tmp_path / "line")
    assert line.log().step.tolist() == list(range(1, 21))
    begin(tmp_path / "other", 5, generator=partial(LSTM, hidden=5))
    begin(tmp_path / "stranger", 5, seed=9)
    merging.average(find([tmp_path / "b", tmp_path / "c"]), tmp_path / "again")
    assert "common parent" not in caplog.text
    stranger = [Run(tmp_path / "b"), Run(tmp_path / "stranger")]
    with pytest.raises(ValueError, match="encode their data differently"):
        merging.average(stranger, tmp_path / "x")
    begin(tmp_path / "twin", 5)
    merging.average(find([tmp_path / "b", tmp_path / "twin"]), tmp_path / "y")
    assert "twin and" in caplog.text and "have a common parent; is their mean of use?" in caplog.text
    with pytest.raises(ValueError, match="different generators"):
        merging.average(find([tmp_path / "b", tmp_path / "other"]), tmp_path / "x")


def test_an_average_is_judged_beside_each(tmp_path, capsys):
    forks.run("train", "icu-demo", "--out", tmp_path / "a", "--steps", 3, *SETTINGS)
    for name in "bc":
        arguments = ["--out", tmp_path / name, "--seed", ord(name), "--steps", 6, "--quiet"]
        forks.run("branch", tmp_path / "a", *arguments)
    assert main(["merge", str(tmp_path / "b"), str(tmp_path / "c"), "--average", "--out", str(tmp_path / "m")]) == 0
    said = capsys.readouterr().out
    for title in ("m at step 6", "b at step 6", "c at step 6"):
        assert title in said
    assert {row["of"] for row in Run(tmp_path / "m").evaluations()} == {"m"}


def test_prune_keeps_what_was_asked_and_says_what_goes(tmp_path, capsys):
    run = begin(tmp_path / "a", 50)
    for step, value in ((10, 0.9), (25, 0.6), (35, 0.7), (40, 0.2)):
        run.add_evaluations([{"metric": "AUROC", "step": step, "value": value, "floor": 0.5, "better": "near floor"}])
    with (run.path / "log.jsonl").open("ab") as log:
        log.write(b'{"step": 51}\n{"step": 5')
    (run.path / ".notes").write_text("mine")
    (run.path / ".log.jsonl.0a1b2c3d.half.jsonl").write_text("left by a dead process")
    before = files_of(run.path)
    assert main(["prune", str(run.path), "--keep-every", "20", "--keep-best", "AUROC", "--dry-run"]) == 0
    assert files_of(run.path) == before
    said = " ".join(capsys.readouterr().out.split())
    assert "would go" in said and "5, 10, 15" in said
    planned = pruning.plan(run, keep_last=2, keep_every=20, keep_best="AUROC")
    assert planned.kept == {20: "every 20", 25: "best AUROC", 40: "every 20", 45: "last", 50: "last"}
    assert planned.steps == (5, 10, 15, 30, 35) and planned.rows == 2
    size = sum(len(content) for content in before.values())
    prune([str(run.path)], keep_last=2, keep_every=20, keep_best="AUROC", quiet=True)
    after = files_of(run.path)
    assert size - sum(len(content) for content in after.values()) == planned.bytes
    assert after.items() <= {**before, "log.jsonl": after["log.jsonl"]}.items()
    assert checkpoints.steps(run.checkpoints) == [20, 25, 40, 45, 50]
    assert ".notes" in after and not any("half" in name for name in after)
    assert run.log().step.tolist() == list(range(1, 51))
    carry_on(run.path, 52)
    with pytest.raises(ValueError, match="no score 'AURC'; did you mean 'AUROC'"):
        pruning.plan(run, keep_best="AURC")
    with pytest.raises(ValueError, match="keep_last must be at least 1"):
        pruning.plan(run, keep_last=0)


def test_prune_never_drops_the_newest_whole_checkpoint(tmp_path):
    run = begin(tmp_path / "a", 20)
    (run.checkpoints / "00000020" / "networks.safetensors").write_bytes(b"torn")
    prune([str(run.path)], quiet=True)
    assert checkpoints.steps(run.checkpoints) == [15, 20]  # the damaged one is left for somebody to look at
    assert run.step == 15
    assert run.log().step.tolist() == list(range(1, 16))


def test_a_changed_log_is_noticed(tmp_path):
    run = begin(tmp_path / "a", 10)
    log = run.path / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"step": 8, ', b'"step": 8,  '))
    with pytest.raises(ValueError, match="rows of steps 6 to 10 were changed"):
        carry_on(run.path, 15)
    with pytest.raises(ValueError, match="rows of steps 6 to 10 were changed"):
        merging.merge([run], tmp_path / "m")


def test_list_shows_every_state(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    hold = "import sys, time; from vitalsynth import Run; run = Run(sys.argv[1])\n"
    hold += "with run.lock(): print('held', flush=True); time.sleep(60)"
    begin(tmp_path / "deep" / "done", 5)
    fork(tmp_path / "deep" / "done", tmp_path / "deep" / "waiting", 5)
    begin(tmp_path / "dead", 5)
    with (tmp_path / "dead" / "clock.jsonl").open("a") as clock:
        clock.write('{"event": "begin", "step": 5, "target": 90}\n')
    begin(tmp_path / "stopped", 5)
    with (tmp_path / "stopped" / "clock.jsonl").open("a") as clock:
        clock.write('{"event": "begin", "step": 5, "target": 90}\n{"event": "end", "step": 5}\n')
    begin(tmp_path / "running", 5)
    (tmp_path / ".hidden").mkdir()
    shutil.copytree(tmp_path / "dead", tmp_path / ".hidden" / "copy")
    (shutil.copytree(tmp_path / "dead", tmp_path / "odd") / "run.json").write_text('{"format": 1, "data": {}}')
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "running")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        assert main(["list", str(tmp_path), "--json"]) == 0
    finally:
        holder.kill()
        holder.wait()
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {name: row["state"] for name, row in rows.items()} == {
        name: name for name in ("done", "waiting", "dead", "stopped", "running")
    }
    assert rows["waiting"]["parent"]["name"] == "done" and rows["done"]["parent"] is None
    assert rows["dead"]["step"] == 5 and rows["dead"]["bytes"] > 1000
    assert main(["list", str(tmp_path / "deep")]) == 0
    assert "done at 5" in " ".join(capsys.readouterr().out.split())
    assert main(["list", str(tmp_path / "nowhere")]) == 2


@pytest.mark.parametrize("width", [30, 50, 80, 200])
def test_a_narrow_terminal_keeps_run_step_and_state(width):
    shown = {
        **{"path": "sweeps/a/trials/0001", "data": "a_long_name_of_a_table.csv", "step": 12000, "state": "running"},
        **{"networks": {"generator": "a.Autoregressive"}, "scores": {"two-sample AUROC": 0.7}, "scored_at": 12000},
        **{"bytes": 3_000_000, "parent": None},
    }
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(list_._table([shown], width))
    text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    assert text.count("12,000") == text.count("running") == 1
    assert ("sweeps/a/trials/0001" in text) == (width >= 50)
    assert ("two-sample AUROC 0.700" in text) == (width == 200)
    assert ("last scores" in text.splitlines()[1]) == (width == 200)


def test_what_is_piped_is_not_made_to_fit(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    begin(tmp_path / ("long" * 30), 2)
    assert main(["list", str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "long" in line]
    assert "long" * 30 in line and "done" in line


ACTIONS = st.sampled_from(["continue", "branch", "merge", "prune"])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ACTIONS, st.integers(0, 99), st.integers(1, 7)), min_size=3, max_size=7))
def test_laws_of_random_trees(tmp_path_factory, actions):
    """However runs were carried on, branched, merged and pruned: no step twice, none missing, none out of order."""
    folder = tmp_path_factory.mktemp("tree")
    begin(folder / "r0", 4, checkpoint_every=3)
    names = ["r0"]
    for number, (action, pick, amount) in enumerate(actions, 1):
        run = Run(folder / names[pick % len(names)])
        new = folder / f"r{number}"
        if action == "continue":
            carry_on(run.path, run.step + amount)
        elif action == "branch":
            there = checkpoints.steps(run.checkpoints)
            at = there[pick % len(there)]
            fork(run.path, new, at, at + amount, **({"batch": 3 + amount % 3} if pick % 2 else {}))
            names.append(new.name)
        elif action == "merge":
            line = _ancestors(run, [Run(folder / name) for name in names])
            merging.merge(line, new)
            names.append(new.name)
        else:
            prune([str(run.path)], keep_last=1 + pick % 2, quiet=True)
        for name in names:
            _check_laws(Run(folder / name))
    for name in names:
        once = merging.merge([Run(folder / name)], folder / f"{name}-once")
        twice = merging.merge([once, Run(folder / name)], folder / f"{name}-twice")
        assert files_of(once.path) == files_of(twice.path)
    shutil.rmtree(folder)


def _ancestors(run, known):
    """The runs that a run goes on from, as far as they are there."""
    line, wanted = [run], run.record["parent"]
    while wanted:
        above = next((r for r in known if r.record["id"] == wanted["id"] and r.step >= wanted["step"]), None)
        if above is None:
            break
        line.append(above)
        wanted = above.record["parent"]
    return line


def _check_laws(run):
    steps = run.log().step.tolist() if (run.path / "log.jsonl").exists() else []
    assert steps == list(range(run.start + 1, run.step + 1))
    pieces = lineage.pieces(run)
    assert [piece.stop for piece in pieces[:-1]] == [piece.start for piece in pieces[1:]]
    assert all(run.start <= step <= run.step for step in checkpoints.steps(run.checkpoints))
    for step in checkpoints.steps(run.checkpoints):
        assert checkpoints.load(run.checkpoint(step))[1]["step"] == step
