"""Sweeps by several workers, some of which are killed: no trial is lost or doubled, and none differs for it."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import postgres
import vitalsynth
from slurm import until
from vitalsynth import checkpoints
from vitalsynth.cli import main
from vitalsynth.cluster.jobs import Task
from vitalsynth.commands import handing, submit
from vitalsynth.processes import STOPPED, StopFlag, hold
from vitalsynth.reporting.figures import sweep as sweep_figure
from vitalsynth.runs import Run, jsonl
from vitalsynth.sweeping import naming, notation, results, working
from vitalsynth.sweeping.naming import called
from vitalsynth.sweeping.notation import Range, Values
from vitalsynth.sweeping.plan import Line
from vitalsynth.sweeping.scores import Score
from vitalsynth.sweeping.sweep import Sweep

NETS = """
import os
import sys
import time
from pathlib import Path

from vitalsynth.generators import LSTM


class Gated(LSTM):
    def forward(self, noise, condition):
        while "GATE" in os.environ and not Path(os.environ["GATE"]).exists() and saved():
            time.sleep(0.05)
        return super().forward(noise, condition)


def saved():
    runs = [word.removeprefix("--out=") for word in sys.argv if word.startswith("--out=")]
    return any(checkpoint for run in runs for checkpoint in Path(run, "checkpoints").glob("[0-9]*"))


class Astray(LSTM):
    def forward(self, noise, condition):
        time.sleep(0.1)
        drawn = super().forward(noise, condition)
        return type(drawn)(drawn.x + 100, drawn.s, drawn.condition)
"""
TINY = ["--source.count", "120", "--source.length", "6", "--batch", "4", "--discriminator.hidden", "4"]
TINY += ["--gradients", "0", "--checkpoint_every", "2", "--similarity.every", "2"]
SINES = ["train", "sines", *TINY, "--generator.hidden", "4", "--steps", "4"]
TWELVE = ["train", "sines", *TINY, "--generator", "gated_nets.Gated", "--steps", "12"]
HIDDEN, SEEDS = (3, 4, 5), range(4)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A folder to work in, as a user does, with networks of their own."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "gated_nets.py").write_text(NETS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def unswept(bench):
    """The logs of the same trainings by hand."""
    for hidden, seed in product(HIDDEN, SEEDS):
        words = [*TWELVE, "--generator.hidden", str(hidden), "--seed", str(seed), "--out", f"by-hand/{hidden}-{seed}"]
        assert main([*words, "--quiet"]) == 0
    return {(h, s): Path(f"by-hand/{h}-{s}/log.jsonl").read_bytes() for h, s in product(HIDDEN, SEEDS)}


@pytest.fixture(scope="module")
def database():
    with postgres.running() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", postgres.PASSWORD)
        yield address


@pytest.fixture
def worker():
    """Start another worker, with all that it starts in a group of its own, which ends with the test.

    With a GATE, its trainings stay at their first checkpoint until there is such a file.
    """
    started = []

    def start(sweep, **environment):
        words = [sys.executable, "-m", "vitalsynth", "sweep", "work", sweep, "--quiet"]
        started.append(subprocess.Popen(words, env={**os.environ, **environment}, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def begins(run):
    """At which steps training began."""
    return [row["step"] for row in jsonl.rows(run / "clock.jsonl") if row["event"] == "begin"]


@pytest.mark.parametrize("where", ["journal", "postgres"])
def test_twelve_trials_by_three_workers_of_which_two_are_killed(where, unswept, worker, request):
    """One is killed with the training that it started, one without, which goes on and is not doubled."""
    storage = ["--storage", request.getfixturevalue("database")] if where == "postgres" else []
    swept = ["--generator.hidden", "3,4,5", "--seed", "0..3", "--out", where]
    assert main(["sweep", "--at-most", "0", *storage, *TWELVE, *swept]) == 0
    assert postgres.PASSWORD not in Path(where, "sweep.json").read_text()
    killed = [worker(where, GATE=f"{where}-gate") for _ in range(2)]
    stuck = [Path(where, "trials", f"{k:04}") for k in range(2)]
    until(lambda: all(checkpoints.steps(run / "checkpoints") for run in stuck), 300, "training by both")
    third = worker(where)
    os.killpg(killed[0].pid, signal.SIGKILL)
    os.kill(killed[1].pid, signal.SIGKILL)
    Path(f"{where}-gate").touch()
    assert third.wait(300) == 0
    assert [process.wait() for process in killed] == [-signal.SIGKILL] * 2
    sweep = Sweep(where)
    runs = results.each(sweep)
    assert list(runs["trial"]) == list(range(12)) and set(runs["state"]) == {"done"}
    assert set(zip(runs["generator.hidden"], runs["seed"], strict=True)) == set(product(HIDDEN, SEEDS))
    assert sorted(path.name for path in Path(where, "trials").iterdir()) == [f"{k:04}" for k in range(12)]
    for row in runs.to_dict("records"):
        run = Path(where, "trials", f"{row['trial']:04}")
        assert (run / "log.jsonl").read_bytes() == unswept[row["generator.hidden"], row["seed"]]
        assert row["similarity.mmd"] == Run(run).log()["similarity.mmd"].dropna().iloc[-1]
    begun = sorted(begins(run) for run in Path(where, "trials").iterdir())
    assert begun[:11] == [[0]] * 11 and begun[11][0] == 0 and 2 <= begun[11][1] < 12
    table = vitalsynth.sweep_show(where, out=f"{where}.png,{where}.csv,{where}.parquet", quiet=True)
    assert len(table) == 3 and set(table["runs"]) == {4} and table["similarity.mmd"].is_monotonic_increasing
    pd.testing.assert_frame_equal(pd.read_parquet(f"{where}.parquet"), table)
    assert set(results.importance(sweep)["similarity.mmd"]) == {"generator.hidden", "seed"}
    assert Path(f"{where}.png").stat().st_size > 10_000


def test_ctrl_c_saves_and_the_same_trial_goes_on(bench, worker, capsys):
    assert main(["sweep", "--at-most", "0", *TWELVE, "--seed", "0..1", "--out", "stopped"]) == 0
    run = Path("stopped/trials/0000")
    stopped = worker("stopped", GATE="stopped-gate")
    until(lambda: checkpoints.steps(run / "checkpoints"), 120, "training")
    os.killpg(stopped.pid, signal.SIGINT)  # as a terminal does
    Path("stopped-gate").touch()
    assert stopped.wait(60) == STOPPED
    assert Run(run).state() == "stopped" and 0 < Run(run).step == len(Run(run).log()) < 12
    step = Run(run).step
    assert main(["sweep", "work", "stopped"]) == 0
    assert "2 done" in capsys.readouterr().err
    assert begins(run) == [0, step] and Run(run).step == 12


def test_bad_trials_are_pruned_and_can_be_continued(bench, capsys):
    asked = ["--prune", "halving", "train", "sines", *TINY, "--steps", "60", "--generator.hidden", "4"]
    assert main(["sweep", *asked, "--generator", "LSTM,gated_nets.Astray", "--out", "pruned"]) == 0
    assert "1 done, 1 pruned" in capsys.readouterr().err
    runs = results.each(Sweep("pruned"))
    assert list(runs["state"]) == ["done", "pruned"]
    bad = Run("pruned/trials/0001")
    assert bad.state() == "stopped" and bad.step < 60
    assert main(["continue", str(bad.path), "--steps", str(bad.step + 1), "--quiet"]) == 0


def test_a_search_with_seeds_and_two_scores(bench, capsys):
    """A trial is trained with each seed; one of the scores is of evaluate, and its distance from the floor."""
    swept = ["--generator_optimizer.lr", "1e-3..1e-1", "--seed", "5,7", "--out", "searched"]
    asked = ["--search", "tpe", "--trials", "1", "--score", "similarity.mmd:best,mmd", "--evaluate", "--count 60"]
    assert main(["sweep", *asked, *SINES, *swept]) == 0
    sweep = Sweep("searched")
    names = ["0000-5", "0000-7"]
    assert sorted(path.name for path in Path("searched/trials").iterdir()) == names
    rows, table = results.each(sweep), results.table(sweep)
    for name, row in zip(names, rows.to_dict("records"), strict=True):
        run = Run(f"searched/trials/{name}")
        judged = run.evaluations()[0]
        assert judged["metric"] == "MMD²" and judged["synthetic"] == 60
        assert row["mmd"] == abs(judged["value"] - judged["floor"])
        assert row["similarity.mmd"] == run.log()["similarity.mmd"].min()
        assert run.record["seed"] == row["seed"]
        assert run.record["optimizers"]["generator"]["init_args"]["lr"] == row["generator_optimizer.lr"]
    assert table["mmd"][0] == pytest.approx(rows["mmd"].mean()) and bool(table["front"][0])
    assert sweep.trials()[0].values == pytest.approx([rows["similarity.mmd"].mean(), rows["mmd"].mean()])
    assert vitalsynth.sweep_show("searched", each=True, out="searched.png")["trial"].tolist() == [0, 0]


def test_other_commands_are_swept_too_and_what_failed_is_tried_again(bench, capsys):
    """The first of two fails, as its place is taken; when it is free, that one alone is done again."""
    assert main([*SINES, "--out", "one", "--quiet"]) == 0
    Path("cohorts").mkdir()
    Path("cohorts/0-0000.csv").write_text("taken")
    words = ["sample", "one", "--count", "3", "--seed", "0..1", "--out", "cohorts/{seed}-{trial}.csv"]
    assert main(["sweep", *words]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "sweeps/sample-1" and "1 failed, 1 done" in said.err
    assert "0000: vitalsynth sample: cohorts/0-0000.csv exists" in said.err
    assert main(["sweep", "work", "sweeps/sample-1", "--again"]) == 0
    assert results.each(Sweep("sweeps/sample-1"))["trial"].tolist() == [1, 2]
    assert {"0-0000.csv", "0-0002.csv", "1-0001.csv"} <= set(os.listdir("cohorts"))
    assert len(pd.read_csv("cohorts/0-0002.csv")) > 3


def test_a_branch_is_swept(bench):
    assert main([*SINES, "--out", "parent", "--quiet"]) == 0
    words = ["branch", "parent", "--batch", "2,8", "--steps", "6", "--out", "branches"]
    assert main(["sweep", "--at-most", "2", *words]) == 0
    found = [Run(f"branches/trials/{k:04}") for k in range(2)]
    assert [run.record["batch"] for run in found] == [2, 8]
    assert [(run.record["parent"]["step"], run.step) for run in found] == [(4, 6), (4, 6)]


def test_workers_are_submitted_as_an_array(bench):
    """Each task is the same command, is stopped before its time limit as training is, and put back into the queue."""
    task = handing.task(["sweep", "work", "shown"], vitalsynth.submit, later=True)
    assert task == Task(["sweep", "work", "shown"], ["sweep", "work", "shown"], ["shown/trials/*"])
    assert list(submit._variants(["sweep", "work", "a"], "1..3")) == [["sweep", "work", "a"]] * 3


@contextmanager
def dashboard(sweep, monkeypatch, capsys):
    flags = []
    monkeypatch.setattr("vitalsynth.commands.sweep_dashboard.StopFlag", lambda: flags.append(StopFlag()) or flags[0])
    said = []
    thread = threading.Thread(target=lambda: main(["sweep", "dashboard", sweep]))
    thread.start()
    until(lambda: said.append(capsys.readouterr().err) or "http" in "".join(said), 60, "the page")
    yield "".join(said).split("is at ")[1].split()[0]
    flags[0].raised = True
    thread.join()


def test_the_dashboard_shows_the_study(bench, monkeypatch, capsys):
    assert main(["sweep", "--at-most", "0", *SINES, "--seed", "0..1", "--out", "shown"]) == 0
    with dashboard("shown", monkeypatch, capsys) as url:
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{url}/api/studies") as answer:
            (study,) = json.load(answer)["study_summaries"]
        with urllib.request.urlopen(f"{url}/dashboard") as answer:
            assert b"Optuna Dashboard" in answer.read()
    assert study["study_name"].startswith("shown-")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian", "sines"], "no command 'trian' to sweep; did you mean 'train'?"),
        ([*SINES], "nothing is swept; write several values, such as --seed 0..4"),
        ([*SINES, "--condition", "a,b", "--out", "x"], "nothing is swept"),
        ([*SINES, "--seeed", "0..4"], "no option --seeed; did you mean '--seed'?"),
        (
            [*SINES, "--seed", "0..4", "--search", "tpe"],
            "--search is an option of sweep, which come before the command",
        ),
        ([*SINES, "--seed", "4..0"], "4..0 must go from the smaller to the larger"),
        ([*SINES, "--seed", "1,2,1"], "'1' stands twice in 1,2,1"),
        ([*SINES, "--seed", "1,x"], "--seed: must be a whole number, got x"),
        ([*SINES, "--generator", "LSTM,LSTN"], "no class 'LSTN'; did you mean 'LSTM'?"),
        ([*SINES, "--batch", "4,0"], "--batch must be at least 1, got 0"),
        ([*SINES, "--batch", "4,5", "--microbatches", "2"], "--batch 5 cannot be divided"),
        ([*SINES, "--seed", "0..1", "--out", "there"], "there exists; carry it on with 'vitalsynth sweep work there'"),
        ([*SINES, "--generator_optimizer.lr", "1e-4..1e-2"], "any number between; list values, or use --search random"),
        (["--trials", "3", *SINES, "--seed", "0..1"], "--trials is for --search random and tpe"),
        (["--search", "tpe", *SINES, "--batch", "1..4"], "--search tpe needs --trials"),
        (["--search", "tpe", "--trials", "3", *SINES, "--seed", "1..4"], "nothing to choose but seeds"),
        (["--score", "similarity.mdm", *SINES, "--seed", "0..1"], "no measure 'mdm'; did you mean 'mmd'?"),
        (["--score", "generator.nll", *SINES, "--seed", "0..1"], "say which way is better, generator.nll:min"),
        (["--score", "tsrt", *SINES, "--seed", "0..1"], "--score tsrt: "),
        ([*SINES, "--seed", "0..1", "--similarity.every", "0"], "do not measure similarity"),
        ([*SINES, "--seed", "0..1", *["--similarity.every", "9"], "--checkpoint_every", "9"], "and there are 4"),
        (["--prune", "median", "--score", "mmd", *SINES, "--seed", "0..1"], "--prune goes by one --score, of the log"),
        (["--evaluate", "--count 3", *SINES, "--seed", "0..1"], "--evaluate is for a --score that 'evaluate' computes"),
        (["--score", "mmd", "--evaluate", "--cuont 3", *SINES, "--seed", "0..1"], "no option --cuont"),
        (["--storage", "postgresql://a:b@c/d", *SINES, "--seed", "0..1"], "leave the password out of it"),
        (["--storage", "postgresql://a@127.0.0.1:1/d", *SINES, "--seed", "0..1"], "the study's database: "),
        (["--storage", "nonsense", *SINES, "--seed", "0..1"], "the study's database: "),
        (
            ["--score", "mmd", "data", "sines", "--source.count", "3,4"],
            "--score is of runs, which only train and branch",
        ),
        (
            ["sample", "there", "--count", "3", "--seed", "0..1", "--out", "c.csv"],
            "c.csv is one place for 2 tasks; write {NAME} in --out",
        ),
        (["work", "there"], "there is no sweep (it has no sweep.json)"),
        (["show", "there"], "there is no sweep (it has no sweep.json)"),
        (["show", "there", "--out", "a.jpg"], "a table is .csv or .parquet, a figure .png, .svg or .pdf"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_made(words, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    assert main(["sweep", *words]) == 2
    said = capsys.readouterr().err
    assert expected in said and said.count("\n") == 1, said
    assert [path.name for path in tmp_path.iterdir() if path.name != "sweeps"] == ["there"]
    assert not list(tmp_path.glob("sweeps/*"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("32,64,128", Values(("32", "64", "128"))),
        ("0..4", Range(0, 4, log=False, whole=True)),
        ("-2..2", Range(-2, 2, log=False, whole=True)),
        ("1..100", Range(1, 100, log=True, whole=True)),
        ("1e-4..1e-2", Range(1e-4, 1e-2, log=True, whole=False)),
        ("0.1..0.5", Range(0.1, 0.5, log=False, whole=False)),
        ("log:1e-3..1e-2", Range(1e-3, 1e-2, log=True, whole=False)),
        ("linear:1..5000", Range(1, 5000, log=False, whole=True)),
        ("{standard,local}", Values(("standard", "local"))),
        ('{died,"died,sex"}', Values(("died", "died,sex"))),
        ("{,died}", Values(("", "died"))),
        ('{"hr": "local", "*": "standard"}', Values(('{"hr": "local"', '"*": "standard"}'))),
        ("runs/{seed}", None),
        ("{seed}", None),
        ("../data/stays.csv", None),
        ("a..b", None),
        ("", None),
        ("1,", None),
    ],
)
def test_what_is_several_values(text, expected):
    assert notation.several(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{standard,local}", True),
        ('{died,"died,sex"}', True),
        ("log:1..3", True),
        ('{"hr": "local", "*": "standard"}', False),
        ("{hr: local, temp: minmax}", False),
        ("{seed}", False),
        ("a,b", False),
        ("0..4", False),
    ],
)
def test_what_is_several_values_whatever_the_setting_takes(text, expected):
    assert notation.explicit(text) == expected


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters='"{}:\n\r'), min_size=1), min_size=2))
def test_any_values_can_be_written_in_braces(values):
    values = [value.strip() or "x" for value in values]
    written = "{" + ",".join(f'"{value}"' for value in values) + "}"
    assert notation.explicit(written) and notation.several(written) == Values(tuple(values))


@given(st.integers(-50, 50), st.integers(1, 60))
def test_whole_numbers_are_listed_with_both_ends(low, more):
    assert notation.listed(f"{low}..{low + more}") == tuple(map(str, range(low, low + more + 1)))


def test_trials_are_called_by_what_differs(bench, capsys):
    """In a comparison and in legends; where the study is gone, by their number."""
    swept = ["--generator", "GRU,LSTM", "--seed", "0..1", "--generator.hidden", "3"]
    assert main(["sweep", *["train", "sines", *TINY, "--steps", "4"], *swept, "--out", "named"]) == 0
    paths = [Path(f"named/trials/000{k}") for k in range(4)]
    assert list(called(paths).values()) == ["GRU, seed 0", "GRU, seed 1", "LSTM, seed 0", "LSTM, seed 1"]
    assert list(called(paths[:2]).values()) == ["seed 0", "seed 1"]
    assert called([paths[3], Path("elsewhere")]) == {paths[3]: "LSTM, seed 1", Path("elsewhere"): "elsewhere"}
    capsys.readouterr()
    assert main(["evaluate", "named/trials/*", "--metrics", "marginals", "--report", "named.md"]) == 0
    assert "GRU, seed 1 at step 4" in Path("named.md").read_text() and "0001" not in Path("named.md").read_text()
    assert main(["convergence", "named/trials/*"]) == 0
    assert "LSTM, seed 1" in capsys.readouterr().out
    for path in Path("named").glob("study.journal*"):
        path.unlink()
    assert set(called(paths).values()) == {"0000", "0001", "0002", "0003"}


def test_words_need_no_name_and_numbers_do():
    values = {
        "preset": "strong",
        "generator.hidden": "32",
        "discriminator.hidden": "8",
        "data": "a/b.csv",
        "average": "0.9",
    }
    assert naming._said(values, values) == "strong, generator.hidden 32, discriminator.hidden 8, b.csv, average 0.9"
    assert (
        naming._said({"generator.hidden": "32", "quiet": "true"}, ["generator.hidden", "quiet"])
        == "hidden 32, quiet true"
    )


def test_categories_are_joined_by_no_line():
    runs = pd.DataFrame({"kind": ["a", "a", "b", "b"], "hidden": [1, 2, 1, 2], "score": [1.0, 1.2, 2.0, 2.4]})
    table = pd.DataFrame({"kind": ["a", "b"], "hidden": [1, 2], "runs": [2, 2], "score": [1.1, 2.2]})
    by_kind, by_hidden = sweep_figure(runs, table, {"score": False}, {}).axes
    joined = [line for line in by_kind.lines if line.get_linestyle() not in ("None", "")]
    assert not joined and len(by_kind.containers) == 1
    low, high = by_kind.get_ylim()
    assert 0 < low < 1 and 2.4 < high < 3.5  # though two runs leave an interval of any width
    assert any(line.get_linestyle() == "-" and len(line.get_xdata()) == 2 for line in by_hidden.lines)


def test_who_is_on_the_front():
    costs = np.array([[1.0, 5.0], [2.0, 2.0], [2.0, 2.0], [3.0, 2.0], [4.0, 1.0], [math.nan, 0.0]])
    assert results.front(costs).tolist() == [True, True, True, False, True, False]


def test_the_interval_of_a_mean_is_students():
    """By hand: mean 2, standard deviation 1, 4.303 / sqrt 3 of it."""
    assert results.interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2, 2 - 2.484, 2 + 2.484), abs=1e-3)
    assert results.interval(np.array([1.0]))[0] == 1 and math.isnan(results.interval(np.array([1.0]))[1])


def test_which_way_a_score_is_better():
    better = ["similarity.mmd", "generator.nll:max", "two_sample", "tstr", "forecast"]
    assert [Score.parse(text).maximised for text in better] == [False, True, False, True, False]


def test_a_line_that_a_full_disk_tore_does_not_end_a_study(bench):
    assert main(["sweep", "--at-most", "0", *SINES, "--seed", "0..2", "--out", "torn"]) == 0
    with Path("torn/study.journal").open("ab") as journal:
        journal.write(b'{"op_code": 5, "wor')
    with Sweep("torn").claim().log:
        pass
    assert [trial.state.name for trial in Sweep("torn").trials()] == ["RUNNING", "WAITING", "WAITING"]


def test_a_run_whose_maker_died_before_the_first_step_is_made_anew(bench):
    assert main([*SINES, "--out", "early", "--quiet"]) == 0
    line = Line(Path("early"), ["train"], ["continue", "early"])
    assert working.to_train(line, line.run) == ["continue", "early", "--steps=4"]
    Path("early/clock.jsonl").unlink()
    assert working.to_train(line, line.run) == ["train"] and not line.run.exists()


def test_arguments_and_what_is_added_to_are_swept_too(bench):
    words = ["train", "{sines,ar1}", *TINY[4:], "--stabilisers+", "{InstanceNoise,Augment}", "--quiet", "--out", "both"]
    assert main(["sweep", "--at-most", "0", *words]) == 0
    claim = Sweep("both").claim()
    (line,) = Sweep("both").lines(claim).values()
    assert Sweep("both").total == 4 and claim.values == {"data": "sines", "stabilisers+": "InstanceNoise"}
    assert line.words[:2] == ["train", "sines"] and "--stabilisers+=InstanceNoise" in line.words
    assert line.words[-2:] == ["--quiet", f"--out={Path('both/trials/0000').absolute()}"]


def test_a_trial_that_is_held_is_nobody_elses(bench):
    assert main(["sweep", "--at-most", "0", *SINES, "--seed", "0..1", "--out", "held"]) == 0
    first, second = Sweep("held").claim(), Sweep("held").claim()
    assert (first.values, second.values) == ({"seed": "0"}, {"seed": "1"})
    assert Sweep("held").claim() is None and hold(Path("held/logs/0000")) is None
    first.log.close()
    again = Sweep("held").claim()
    assert again.trial.number == 0 and again.values == {"seed": "0"}
