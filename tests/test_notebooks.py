"""Notebooks run with no browser, opened runs, and what shows itself there."""

import os
import re
import signal
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import vitalsynth
from families import SMALL, cohort
from slurm import until as until_deadline
from vitalsynth import markup, to_frame
from vitalsynth.cli import main
from vitalsynth.commands import interface
from vitalsynth.commands.notebook_run import notebook_run
from vitalsynth.evaluation.scorecard import Scorecard
from vitalsynth.notebooks import executing, parameters
from vitalsynth.runs import Run
from vitalsynth.sequences import Column, Schema, Sequences

TRAINS = """
from pathlib import Path
import vitalsynth
small = dict(condition="died", batch=8, checkpoint_every=50, gradients=0, similarity=None)
if Path(folder).exists():
    run = vitalsynth.continue_(folder, steps=steps)[0]
else:
    run = vitalsynth.train("icu-demo", out=folder, steps=steps, **small)
run
"""


def notebook(path, *cells, defaults=""):
    """Write a notebook: cells of code, the first of which declares parameters."""
    made = [new_code_cell(defaults, metadata={"tags": ["parameters"]})] if defaults else []
    made += [new_code_cell(cell) for cell in cells]
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Title"), *made]), path)
    return str(path)


def said(path):
    """Return what the cells of an executed copy printed."""
    outputs = [out for cell in nbformat.read(path, 4).cells for out in cell.get("outputs", [])]
    return "".join(out.text for out in outputs if out.output_type == "stream")


def shown(path, kind="text/html"):
    """Return the rich outputs of an executed copy."""
    outputs = [out for cell in nbformat.read(path, 4).cells for out in cell.get("outputs", [])]
    return [out.data[kind] for out in outputs if kind in out.get("data", {})]


def kernels():
    return [child for child in psutil.Process().children(recursive=True) if "ipykernel_launcher" in child.cmdline()]


def until(true):
    until_deadline(true, 300, "what is waited for")


def interrupting(*waits):
    """Interrupt this process whenever the next thing is so."""

    def interrupt():
        for true in waits:
            try:
                until(true)
            finally:
                os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()


def run(folder, *words):
    return main(["notebook", "run", *words, "--out", str(folder / "executed"), "--quiet"])


def test_values_are_read_as_they_are_written():
    given = "a=200|b=1e-3|c=true|d=None|e=no|f=a=b|g=[1, x]|h={k: 0.5}|i=0123|j='5'|k=|l=inf"
    values = parameters.parse(given.split("|"))
    assert values == {
        **{"a": 200, "b": 0.001, "c": True, "d": None, "e": "no", "f": "a=b", "g": [1, "x"]},
        **{"h": {"k": 0.5}, "i": "0123", "j": "5", "k": "", "l": "inf"},
    }
    assert parameters.parse({"a": [1]}) == {"a": [1]}
    for bad in ("steps", "a b=1", "=1"):
        with pytest.raises(ValueError, match="NAME=VALUE"):
            parameters.parse([bad])


def test_options_may_stand_between_notebooks():
    given = interface.pairs(notebook_run, ["a", "-p", "x=1", "--quiet", "b", "--out=c", "-p", "y=2"])
    names = [("", "a"), ("parameters", "x=1"), ("quiet", None), ("", "b"), ("out", "c"), ("parameters", "y=2")]
    assert list(given) == names


def test_what_is_injected_runs_to_the_same_values(tmp_path):
    values = {"a": [1, {"b": float("inf")}], "b": "it's", "c": None, "d": -1.5, "e": float("nan")}
    read = executing.read(Path(notebook(tmp_path / "x.ipynb", "a", defaults="a = b = c = d = e = 0")))
    parameters.inject(read, values)
    parameters.inject(read, values)
    injected = [cell for cell in read.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    there = {}
    exec(injected[0].source, there)
    assert len(injected) == 1 and read.cells.index(injected[0]) == 2
    assert {name: there[name] for name in "abcd"} == {name: values[name] for name in "abcd"} and np.isnan(there["e"])


def test_notebooks_run_at_once_with_parameters_and_leave_copies_and_pages(tmp_path):
    # each waits for the other, so that one after the other would never end
    meet = "import time, pathlib\npathlib.Path({0!r}).touch()\nwhile not pathlib.Path({1!r}).exists(): time.sleep(0.05)"
    a = notebook(tmp_path / "a.ipynb", meet.format("a", "b"), "print(steps, name)", defaults="steps = 1\nname = 'x'")
    b = notebook(tmp_path / "b.ipynb", meet.format("b", "a"), "print(rate)", defaults="rate: float = 0.1")
    assert run(tmp_path, a, "-p", "steps=200", "-p", "name=7", b, "--parameters=rate=1e-3", "--jobs", "2") == 0
    assert said(tmp_path / "executed" / "a.ipynb") == "200 7\n" and said(tmp_path / "executed" / "b.ipynb") == "0.001\n"
    tags = [cell.metadata.get("tags") for cell in nbformat.read(tmp_path / "executed" / "a.ipynb", 4).cells]
    assert tags[1:3] == [["parameters"], ["injected-parameters"]]
    assert [cell.source for cell in nbformat.read(a, 4).cells][1] == "steps = 1\nname = 'x'", (
        "the notebook is as it was"
    )
    page = (tmp_path / "executed" / "a.html").read_text()
    assert "200 7" in page and not refers(page) and not kernels()


def refers(page):
    """Return what a page would fetch, or run."""
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.extend(value for name, value in attrs if name in ("src", "srcset") and not value.startswith("data:"))
            found.extend([tag] if tag in ("script", "link", "iframe") else [])

    Reader().feed(page)
    return found + re.findall(r"@import|url\((?!['\"]?(?:data:|#))[^)]*\)", page)


def test_what_cannot_be_run_is_refused_in_a_line(tmp_path, capsys):
    a = notebook(tmp_path / "a.ipynb", "print(1)", defaults="steps = 1")
    (tmp_path / "b.ipynb").write_text("no notebook")
    (tmp_path / "sub").mkdir()
    twin = notebook(tmp_path / "sub" / "a.ipynb", "1")
    other = new_notebook(metadata={"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}})
    nbformat.write(other, tmp_path / "r.ipynb")
    for words, what in [
        ([a, "-p", "step=3"], "no notebook has a parameter 'step'; did you mean 'steps'?"),
        ([twin, "-p", "step=3"], "no notebook has a parameter 'step'; none has a cell tagged 'parameters'"),
        ([a, "-p", "steps"], "-p takes NAME=VALUE"),
        ([str(tmp_path / "b.ipynb")], "b.ipynb is not a notebook"),
        ([str(tmp_path / "r.ipynb")], "is written in R"),
        ([str(tmp_path / "none*")], "no notebook matches"),
        ([a, twin], "have one name"),
        ([a, "--out", str(tmp_path)], "would be overwritten"),
        (["-p", "steps=3"], "needs NOTEBOOK; 'vitalsynth notebook run --help' tells more"),
        ([a, "--jobs", "0"], "--jobs must be at least 1"),
        ([a, "--timeout", "-1"], "--timeout must be at least 0"),
        ([a, "--directory", str(tmp_path / "gone")], "is no folder"),
    ]:
        code = main(["notebook", "run", *words])
        error = capsys.readouterr().err
        assert code == 2 and what in error and error.count("\n") == 1, (words, error)


def test_a_failing_cell_is_shown_the_others_go_on_and_the_exit_code_is_1(tmp_path, capsys):
    bad = notebook(tmp_path / "bad.ipynb", "x = 0", "print('before')\n1 / x", "print('never')")
    good = notebook(tmp_path / "good.ipynb", "print('good')")
    dead = notebook(tmp_path / "dead.ipynb", "import os\nos.kill(os.getpid(), 9)")
    slow = notebook(tmp_path / "slow.ipynb", "import time\ntime.sleep(600)")
    assert run(tmp_path, bad, good, dead, slow, "--timeout", "2", "--jobs", "2") == 1
    error = capsys.readouterr().err
    assert f"{bad}, cell 3: ZeroDivisionError: division by zero" in error and "----> 2 1 / x" in error
    assert "dead.ipynb, cell 2: the kernel died" in error and "slow.ipynb, cell 2 took longer than 2 s" in error
    assert "vitalsynth notebook run: 3 of 4 failed: " in error and "\x1b" not in error
    assert (
        said(tmp_path / "executed" / "bad.ipynb") == "before\n"
        and said(tmp_path / "executed" / "good.ipynb") == "good\n"
    )
    assert "ZeroDivisionError" in (tmp_path / "executed" / "bad.html").read_text() and not kernels()


def test_what_is_done_is_not_run_again_unless_it_changed(tmp_path, capsys):
    count = "open('count', 'a').write(str(x))"
    a = notebook(tmp_path / "a.ipynb", count, defaults="x = 1")
    for _ in range(2):
        assert run(tmp_path, a) == 0
    assert (tmp_path / "count").read_text() == "1"
    assert run(tmp_path, a, "-p", "x=2") == 0 and run(tmp_path, a, "-p", "x=2", "--again") == 0
    assert (tmp_path / "count").read_text() == "122"
    notebook(tmp_path / "a.ipynb", count, "1 + 1", defaults="x = 3")
    capsys.readouterr()
    assert main(["notebook", "run", a, "--out", str(tmp_path / "executed")]) == 0
    assert main(["notebook", "run", a, "--out", str(tmp_path / "executed")]) == 0
    assert (tmp_path / "count").read_text() == "1223" and "done before" in capsys.readouterr().out


def test_time_and_memory_are_those_of_the_kernel_and_its_children(tmp_path):
    held = "import time; x = b'1' * 2**28; time.sleep(2)"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {held!r}])"
    assert run(tmp_path, notebook(tmp_path / "a.ipynb", child), notebook(tmp_path / "b.ipynb", "1")) == 0
    a, b = (nbformat.read(tmp_path / "executed" / f"{name}.ipynb", 4).metadata.vitalsynth for name in "ab")
    assert a.memory > b.memory + 2**27 and b.memory < 2**28 and a.seconds > 2 and a.state == b.state == "done"


def test_killed_in_the_middle_it_leaves_what_was_done_and_begins_that_notebook_again(tmp_path):
    log = "open('log', 'a').write('{} ')"
    wait = "import time, pathlib\nwhile not pathlib.Path('go').exists(): time.sleep(0.05)"
    first = notebook(tmp_path / "first.ipynb", log.format("first"))
    second = notebook(tmp_path / "second.ipynb", log.format("second") + "\nprint('saved')", wait, log.format("end"))
    words = ["notebook", "run", first, second, "--out", str(tmp_path / "executed"), "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "vitalsynth", *words])
    copy = tmp_path / "executed" / "second.ipynb"
    try:
        until(lambda: copy.exists() and said(copy) == "saved\n")
        children = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()
    assert nbformat.read(copy, 4).metadata.vitalsynth.state == "running"
    until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    (tmp_path / "go").touch()
    assert main(words) == 0
    assert (tmp_path / "log").read_text() == "first second second end "


def test_training_in_a_stopped_notebook_saves_and_carries_on(tmp_path, capsys):
    path = notebook(tmp_path / "a.ipynb", TRAINS, "print(run.step)", defaults="folder = 'a'\nsteps = 100000")
    log = tmp_path / "a" / "log.jsonl"
    interrupting(lambda: log.exists() and log.stat().st_size)
    assert run(tmp_path, path) == 75
    assert "the same command carries on" in capsys.readouterr().err and not kernels()
    step = Run(tmp_path / "a").step
    assert 0 < step < 100000 and Run(tmp_path / "a").state() == "stopped"
    assert run(tmp_path, path, "-p", f"steps={step + 20}") == 0
    assert said(tmp_path / "executed" / "a.ipynb").endswith(f"{step + 20}\n")
    assert len(Run(tmp_path / "a").log()) == step + 20
    bars = [text for text in shown(tmp_path / "executed" / "a.ipynb", "text/plain") if "training" in text]
    assert len(bars) == 1 and f"{step + 20}/{step + 20}, " in bars[0], "one bar, renewed, and not hundreds of lines"


def test_a_second_interruption_waits_for_nothing(tmp_path):
    stubborn = """
import time
open("began", "w")
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        open("asked", "w")
"""
    interrupting((tmp_path / "began").exists, (tmp_path / "asked").exists)
    assert run(tmp_path, notebook(tmp_path / "a.ipynb", stubborn), notebook(tmp_path / "b.ipynb", "1")) == 75
    assert not kernels() and not (tmp_path / "executed" / "b.ipynb").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "a"
    vitalsynth.train(cohort(), out=str(path), steps=10, condition="died", **SMALL)
    Run(path).add_evaluations(
        [{**score("MMD²", 0.2), "step": 5}, {**score("MMD²", 0.1), "step": 10}, {**score("<i>", None), "step": 10}]
    )
    return path


def score(metric, value):
    ends = {"low": value, "high": value and value + 0.1, "floor": 0.02, "floor_low": 0.0, "floor_high": 0.05}
    return {
        "metric": metric,
        "value": value,
        **ends,
        "baseline": None,
        "better": "near floor",
        "part": "fidelity",
        "about": "none",
        "label": None,
        "of": "a",
    }


def test_an_opened_run_has_what_the_folder_holds(trained):
    opened = vitalsynth.open(trained)
    assert opened.step == 10 and list(opened.log()["step"]) == list(range(1, 11))
    networks = opened.networks()
    assert set(networks) == {"generator", "discriminator"} and not any(
        p.requires_grad for p in networks["generator"].parameters()
    )
    drawn = opened.sample(7, {"died": 1}, seed=3)
    assert len(drawn) == 7 and (drawn.static_column("died") == 1).all()
    made = trained / "out.parquet"
    vitalsynth.sample(str(trained), count=7, condition="died=1", seed=3, out=str(made), quiet=True)
    pd.testing.assert_frame_equal(pd.read_parquet(made), to_frame(drawn), check_dtype=False)
    assert [(row["metric"], row["value"]) for row in opened.scores()] == [("MMD²", 0.1), ("<i>", None)]
    shown = opened.show(20, data=cohort())
    assert len(shown.pictures) == 4 and all(picture.uri.startswith("data:") for picture in shown.pictures)
    assert "adversarial" in repr(opened.curves())
    with pytest.raises(ValueError, match="is not a run"):
        vitalsynth.open("nowhere")


def test_what_shows_itself_is_well_formed_escaped_and_needs_no_network(trained):
    wild = Schema((Column("<b>hr</b>", unit='"/min'),), (Column("sex", "binary", categories=("<F>", "M")),))
    sequences = Sequences(np.array([[[1.0], [np.nan]], [[2.0], [3.0]]]), wild, static=np.array([[0.0], [1.0]]))
    opened = vitalsynth.open(trained)
    parts = [sequences, opened, Run(trained), opened.scores(), opened.show(20, data=cohort()), opened.curves()]
    for html in [part._repr_html_() for part in parts]:
        assert balanced(html) and not refers(html) and "<b>" not in html and "<i>" not in html
    assert "&lt;b&gt;hr" in sequences._repr_html_() and "50%" in sequences._repr_html_()
    assert "10 of 10" in opened._repr_html_() and "good" in str(markup.toned("good", "x"))
    assert 'class="bad"' in opened.scores()._repr_html_() and Scorecard()._repr_html_() == ""


def balanced(html):
    """Say whether every element that is opened is closed, in order."""
    open_, empty = [], {"img", "meta"}

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            open_.extend([tag] if tag not in empty else [])

        def handle_startendtag(self, tag, attrs):
            pass

        def handle_endtag(self, tag):
            assert open_.pop() == tag

    Reader().feed(html)
    return not open_


def test_curves_live_while_another_process_trains(tmp_path):
    settings = {"batch": 8, "generator.hidden": 4, "checkpoint_every": 50, "similarity.every": 0, "gradients": 0}
    options = [f"--{name}={value}" for name, value in {**settings, "steps": 100000, "out": "a"}.items()]
    words = ["train", "icu-demo", *options, "--quiet"]
    training = subprocess.Popen([sys.executable, "-m", "vitalsynth", *words], cwd=tmp_path)
    counting = """
from IPython.display import DisplayHandle
renewed = DisplayHandle.update
def update(*args, **settings):
    open("looked", "w")
    renewed(*args, **settings)
DisplayHandle.update = update
"""
    look = "import vitalsynth\nvitalsynth.open('a').curves(every=0.2)\nprint('ended')"

    def end():
        try:
            until((tmp_path / "looked").exists)
        finally:
            training.terminate()

    try:
        until((tmp_path / "a" / "log.jsonl").exists)
        threading.Thread(target=end, daemon=True).start()
        assert run(tmp_path, notebook(tmp_path / "n.ipynb", counting, look)) == 0
        assert training.wait() == 75
    finally:
        training.kill()
        training.wait()
    curves, step = shown(tmp_path / "executed" / "n.ipynb"), Run(tmp_path / "a").step
    assert said(tmp_path / "executed" / "n.ipynb") == "ended\n"
    assert len(curves) == 1 and f"a: step {step:,}, stopped" in curves[0] and "data:image" in curves[0]
