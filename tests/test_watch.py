"""The watchman of runs: whom he stops and whom he never touches, what he sees, and what he writes."""

import copy
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

import smtp
from families import SMALL, cohort
from slurm import until
from vitalsynth import gpus, machine, runs, training
from vitalsynth.cli import main
from vitalsynth.cluster.watching import drawing, processes, telling, watchman
from vitalsynth.cluster.watching.amounts import DURATIONS, SIZES, amount
from vitalsynth.cluster.watching.processes import Unproven, prove
from vitalsynth.cluster.watching.standing import Standing
from vitalsynth.cluster.watching.telling import Teller
from vitalsynth.cluster.watching.watchman import Event, Limits, Watched, Watchman
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.train import train
from vitalsynth.machine import Room
from vitalsynth.mail import Settings, compose, outbox, sending
from vitalsynth.processes import StopFlag
from vitalsynth.runs import Run
from vitalsynth.training import Diverged

HOARD = """
import time

import numpy as np

from vitalsynth.generators import LSTM

KEPT = []


class Hoard(LSTM):
    def forward(self, noise, condition):
        if self.training and len(KEPT) < 2000:
            KEPT.append(np.ones(2**17))  # 1 MiB
        time.sleep(0.01)
        return super().forward(noise, condition)
"""
MIB = 2**20
ASKED = ["icu-demo", "--condition", "died", "--batch", "8", "--similarity.every", "0", "--gradients", "0", "--quiet"]
ASKED += ["--generator.hidden", "4", "--checkpoint_every", "3", "--steps", "1000000"]


def trained(out, steps=2, **more):
    settings = {**SMALL, "condition": "died", "batch": 8, "checkpoint_every": 1, "quiet": True, **more}
    return train(cohort(), out=str(out), steps=steps, **settings)


def training_process(folder, *more, out="run"):
    """Start training in a process of its own."""
    command = [sys.executable, "-m", "vitalsynth", "train", *ASKED, *more, "--out", out]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def saved(folder):
    return any((folder / "checkpoints").glob("[0-9]*"))


def note(run, event="begin", **more):
    row = {"event": event, "step": run.step, "target": 10, "time": time.time(), "host": platform.node()}
    runs.append(run.path / "clock.jsonl", [{**row, "process": os.getpid(), "gpu_memory_mib": None, **more}])


def look(limits=None, *patterns, said=None, only_tell=False, grace=60.0):
    """Return a watchman and what he has to tell at first."""
    say = [].append if said is None else said.append
    man = Watchman([str(each) for each in patterns], limits or Limits(), grace, only_tell, say)
    return man, man.look()


def whats(events):
    return [event.what for event in events]


@pytest.fixture
def run(tmp_path):
    return trained(tmp_path / "run")


# what is proven


def test_the_process_that_trains_is_proven(run):
    with run.lock():
        note(run)
        assert prove(run, Standing.of(run).begin).pid == os.getpid()
    with pytest.raises(Unproven, match="does not have its files open"):
        prove(run, Standing.of(run).begin)


@pytest.fixture
def stranger():
    """A process that looks like training, of the same name and command line, but is not."""
    process = subprocess.Popen(
        ["python -m vitalsynth train icu-demo --out run", "-c", "import sys; sys.stdin.read()"],
        executable=sys.executable,
        stdin=subprocess.PIPE,
    )
    yield process
    assert process.poll() is None, "somebody ended it"
    process.kill()
    process.wait()


ALL = Limits(
    memory=amount("memory", "1B", SIZES),
    stalled=amount("stalled", "0.01s", DURATIONS),
    disk=amount("disk", "100%", SIZES),
)
"""Limits that everything is beyond."""


def test_a_foreign_process_that_looks_like_training_is_left_alone(run, stranger):
    """Its number is that of the run, it is ours and older than the training, and somebody holds the run's lock."""
    with run.lock():
        note(run, process=stranger.pid, time=time.time() + 5)
        man, events = look(ALL, run.path, grace=0.0)
        time.sleep(0.02)
        events += man.look() + man.look()
    assert [event.kind for event in events] == ["start", "limit", "limit"]  # disk, then stalled, each told once
    for event in events[1:]:
        assert f"left alone, as process {stranger.pid} does not have its files open" in event.what


def test_a_process_that_was_given_the_number_later_is_left_alone(run):
    began = time.time() - 10
    code = f"file = open({str(run.path / 'log.jsonl')!r}); print(flush=True); import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as late:
        late.stdout.readline()
        with run.lock():
            note(run, process=late.pid, time=began)
            with pytest.raises(Unproven, match="younger than the training"):
                prove(run, Standing.of(run).begin)
            note(run, process=late.pid, time=time.time() + 5)
            assert prove(run, Standing.of(run).begin).pid == late.pid  # so it was that which told them apart
        assert late.poll() is None
        late.stdin.close()


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        ({"host": "elsewhere"}, "another machine, elsewhere"),
        ({"process": 2**22 + 1}, "NoSuchProcess"),
        ({"process": None}, "does not say which process"),
        ({"process": -1}, "ValueError"),
        ({"time": "now"}, "TypeError"),
    ],
)
def test_what_is_in_doubt_is_left_alone(run, begin, said):
    with run.lock():
        note(run, **begin)
        with pytest.raises(Unproven, match=said):
            prove(run, Standing.of(run).begin)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start processes of others")
def test_a_process_of_somebody_else_is_left_alone(run):
    sleeping = subprocess.Popen(["sleep", "600"], user=65534)
    with run.lock():
        note(run, process=sleeping.pid, time=time.time() + 5)
        with pytest.raises(Unproven, match="another user's"):
            prove(run, Standing.of(run).begin)
    sleeping.kill()
    sleeping.wait()


def test_who_has_yet_to_begin_is_not_asked_and_asking_twice_does_no_harm():
    """SIGTERM would end what does not listen; what listens goes on listening while it saves."""
    me = psutil.Process()
    assert not processes.hears(me)
    with StopFlag() as stop:
        for _ in range(2):
            os.kill(me.pid, signal.SIGTERM)
            assert stop.raised and processes.hears(me)
    assert not processes.hears(me)


# what is done


def test_a_run_that_grows_is_saved_stopped_told_of_and_can_be_continued(tmp_path, monkeypatch, capfd):
    """The whole way, with a mail server that is full at first, and nobody else's process touched."""
    (tmp_path / "hoard.py").write_text(HOARD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("VITALSYNTH_TRUST", "hoard")
    monkeypatch.setattr(outbox, "PAUSES", (0.05, 0.2))
    monkeypatch.setattr(outbox, "PATIENCE", 1200)
    monkeypatch.setattr(drawing, "TIME", 600)
    process = training_process(tmp_path, "--generator", "hoard.Hoard", out="runs/a")
    with smtp.running(tmp_path) as (mailbox, settings):
        mailbox.answers = ["452 4.3.1 Insufficient system storage"] * 2
        smtp.environment(monkeypatch, settings)
        until(lambda: saved(tmp_path / "runs" / "a"), 240, "training")
        limit = processes.held(psutil.Process(process.pid)) // MIB + 100
        words = ["watch", "runs/*", "--memory", f"{limit}MiB", "--grace", "10m", "--every", "0.2s"]
        assert main([*words, "--mail", "anna@ward.example"]) == 0
        assert process.wait() == 75
    run = Run("runs/a")
    rows = runs.rows(run.path / "clock.jsonl")
    assert rows[-1]["event"] == "end" and run.step == rows[-1]["step"] == len(run.log())
    assert mailbox.answers == []
    start, stopped, ended = [message for message, _, _ in mailbox.messages]
    assert "a is being trained" in start["Subject"] and f"above --memory {limit}MiB" in stopped["Subject"]
    assert f"was saved at step {run.step:,} of 1,000,000, and stopped" in ended["Subject"]
    text, html, pictures = smtp.parts(ended)
    assert "vitalsynth continue runs/a --steps 1000000" in text
    assert re.search(rf"^  step .* {run.step}\r?$", text, re.MULTILINE)  # the end of its log
    assert len(pictures) == 3 and all(png.startswith(b"\x89PNG") for png in pictures.values())  # two losses, samples
    assert all(f'src="cid:{name}"' in html for name in pictures)
    said = capfd.readouterr()
    assert "asked to save and stop" in said.err and "452 4.3.1" in said.err
    everything = [file.read_bytes() for file in run.path.rglob("*") if file.is_file()]
    assert not any(smtp.PASSWORD.encode() in content for content in [*everything, (said.out + said.err).encode()])
    (run,) = continue_("runs/a", steps=run.step + 2, quiet=True)
    assert run.state() == "done"


def test_a_run_that_does_not_listen_is_killed_when_the_grace_is_over(tmp_path):
    """Its process is stopped, as one that hangs: it writes nothing, and no signal but the last gets through."""
    process = training_process(tmp_path)
    until(lambda: saved(tmp_path / "run"), 240, "training")
    process.send_signal(signal.SIGSTOP)
    man, events = look(Limits(stalled=amount("stalled", "1s", DURATIONS)), tmp_path / "run", grace=0.5)
    assert [event.kind for event in events] == ["start"]
    while process.poll() is None:
        events += man.look()
        time.sleep(0.05)
    assert process.returncode == -signal.SIGKILL
    _, stalled, killed = whats(events)
    assert "has written nothing" in stalled and "--stalled 1s: asked to save and stop" in stalled
    assert "did not stop in 0.5 s, and was killed; it is kept at step" in killed
    assert man.look() == [] and not man.training and Run(tmp_path / "run").state() == "dead"


def test_a_run_that_is_killed_is_told_of_and_a_hanging_mail_server_stops_nobody(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sending, "TIMEOUT", 3600)
    monkeypatch.setattr(outbox, "PATIENCE", 0.1)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    process = training_process(tmp_path)
    run = tmp_path / "run"

    def kill():
        connection, _ = server.accept()  # the start is being told
        begun = len(runs.rows(run / "clock.jsonl"))
        until(lambda: len(runs.rows(run / "clock.jsonl")) > begun + 1, 240, "training")  # it goes on as before
        process.kill()
        process.wait()
        connection.close()

    until(lambda: saved(run), 240, "training")
    with smtp.hanging() as (settings, server):
        smtp.environment(monkeypatch, settings)
        killer = threading.Thread(target=kill)
        killer.start()
        assert main(["watch", str(run), "--every", "0.2s", "--mail", "anna@ward.example", "--words_only"]) == 0
        killer.join()
    said = capsys.readouterr().err
    assert "run vanished without a word (killed?); it is kept at step" in said and "kept in" in said
    letters = [file.read_text() for file in (tmp_path / "state").rglob("*.eml")]
    assert len(letters) == 2 and any("vanished" in each for each in letters)
    assert not any(smtp.PASSWORD in each for each in [said, *letters])


def test_a_run_that_fails_says_why_and_the_watchman_too(tmp_path):
    man, _ = look(None, tmp_path / "*")
    wild = partial(SMALL["generator"].func, hidden=4)
    with pytest.raises(Diverged):
        trained(tmp_path / "run", 50, generator=wild, generator_optimizer=partial(training.torch.optim.SGD, lr=1e30))
    start, failure = man.look()
    assert (start.kind, failure.kind) == ("start", "failure") and "failed: Diverged: step" in failure.what
    last = runs.rows(tmp_path / "run" / "clock.jsonl")[-1]
    assert (last["event"], last["step"]) == ("failed", Standing.of(Run(tmp_path / "run")).saved)
    assert Run(tmp_path / "run").state() == "dead" and man.look() == []


def test_what_happens_is_seen_once_in_order(run):
    man, events = look(None, run.path)
    assert [event.kind for event in events] == ["seen"] and not man.training
    with run.lock():
        note(run)
        assert [event.kind for event in man.look()] == ["start"] and man.training
        note(run, "save")
        assert man.look() == []
        note(run, "end", target=run.step)
    assert whats(man.look()) == [f"is done, at step {run.step}"] and not man.training
    with run.lock():
        note(run)
    start, gone = man.look()
    assert (start.kind, gone.kind) == ("start", "failure") and "vanished" in gone.what
    assert man.look() == []


def test_a_run_of_another_machine_is_only_told_of(run):
    note(run, host="elsewhere")
    man, events = look(ALL, run.path, grace=0.0)
    assert man.training and [event.kind for event in events] == ["start", "limit"]
    assert "left alone, as it is trained on another machine" in events[1].what
    note(run, "end", host="elsewhere")
    assert [event.kind for event in man.look()] == ["end"]


def test_only_telling_touches_nothing(run):
    with run.lock(), StopFlag() as stop:  # this process is what trains it
        note(run)
        man, events = look(ALL, run.path, only_tell=True, grace=0.0)
        time.sleep(0.02)
        events += man.look() + man.look()
    assert [event.kind for event in events] == ["start", "limit", "limit", "limit"]
    assert all(what.endswith("only told, as asked") for what in whats(events)[1:]) and not stop.raised


def test_of_runs_that_fill_a_memory_the_largest_is_asked_one_at_a_time(run, tmp_path, monkeypatch):
    other = trained(tmp_path / "other", seed=1)
    sizes = {run.path: 10, other.path: 30}
    asked = []
    process = SimpleNamespace(pid=1, terminate=lambda: asked.append(1))
    monkeypatch.setattr(processes, "prove", lambda run, begin: SimpleNamespace(**vars(process), path=run.path))
    monkeypatch.setattr(watchman, "rooms", lambda process: [Room("the machine", 95, 100)])
    monkeypatch.setattr(processes, "held", lambda process: sizes[process.path])
    monkeypatch.setattr(processes, "hears", lambda process: True)
    with run.lock(), other.lock():
        note(run)
        note(other)
        man, events = look(Limits(memory=amount("memory", "90%", SIZES)), run.path, other.path)
        (limit,) = [event for event in events if event.kind == "limit"]
        assert limit.run.path == other.path and "of the machine 95% is in use, above --memory 90%" in limit.what
        assert man.look() == [] and len(asked) == 1
        note(other, "end")
        assert [(event.kind, event.run.path) for event in man.look()] == [("end", other.path), ("limit", run.path)]


def test_a_damaged_run_does_not_stop_watching(run, tmp_path):
    said = []
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    man, _ = look(None, tmp_path / "*", said=said)
    (run.path / "clock.jsonl").write_text("no JSON\n")
    man.look()
    man.look()
    assert len(said) == 2 and "bad" in said[0] and "clock.jsonl is damaged" in said[1]


def test_ending_watching_by_a_signal_leaves_runs_alone(run, capsys):
    def interrupt():
        until(lambda: isinstance(getattr(signal.getsignal(signal.SIGINT), "__self__", None), StopFlag), 60, "watching")
        os.kill(os.getpid(), signal.SIGINT)

    with run.lock():
        note(run)
        signaller = threading.Thread(target=interrupt)
        signaller.start()
        assert main(["watch", str(run.path), "--every", "1h"]) == 0
        signaller.join()
    assert "watching ends; runs go on" in capsys.readouterr().err


# memory


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_control_group_counts_where_there_is_one(version, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    top = tmp_path if version == 2 else tmp_path / "memory"
    for path, limit in (("job", str(1000 * MIB)), ("job/step", "max" if version == 2 else str(2**63 - 4096))):
        (top / path).mkdir(parents=True)
        (top / path / names[0]).write_text(f"{limit}\n")
        (top / path / names[1]).write_text(str(990 * MIB))
        aside = "inactive_file" if version == 2 else "total_inactive_file"
        (top / path / "memory.stat").write_text(f"anon 5\n{aside} {40 * MIB}\n")
    listing = "0::/job/step\n" if version == 2 else "9:name=systemd:/\n4:cpu,memory:/job/step\n0::/\n"
    rooms = [room for room in machine._limited(listing) if room.total < psutil.virtual_memory().total]
    assert rooms == [Room("the control group job", 950 * MIB, 1000 * MIB)]


def test_the_memory_of_children_counts_and_the_machine_has_some():
    hoard = "x = bytearray(b'x') * 2**26; print(flush=True); input()"
    before = processes.held(psutil.Process())
    with subprocess.Popen([sys.executable, "-c", hoard], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert processes.held(psutil.Process()) - before > 2**26 * 0.9
        child.stdin.close()
    assert all(0 < room.share < 1 and room.free > 0 for room in machine.rooms(psutil.Process()))


NVIDIA = """#!/bin/sh
case "$1" in
*compute-apps*) printf 'GPU-b, {pid}, 3000\\nGPU-b, 1, 100\\nGPU-a, 77, [N/A]\\n' ;;
*) printf '0, GPU-a, 10, 81559\\n1, GPU-b, 79000, 81559\\n2, GPU-c, [N/A], [N/A]\\n' ;;
esac
"""


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    def write(content):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / "nvidia-smi").write_text(content)
        (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    return write


@pytest.mark.parametrize(
    ("limit", "said"),
    [("2GiB", "holds 3.1 GB, above --gpu_memory 2GiB"), ("90%", "of GPU 1 97% is in use, above --gpu_memory 90%")],
)
def test_memory_of_gpus(run, nvidia_smi, limit, said):
    nvidia_smi(NVIDIA.format(pid=os.getpid()))
    with run.lock():
        note(run)
        _, events = look(Limits(gpu_memory=amount("gpu_memory", limit, SIZES)), run.path, only_tell=True)
    assert said in events[1].what


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "there is no nvidia-smi here"),
        ("#!/bin/sh\necho 'NVIDIA-SMI has failed: no driver'; exit 9\n", "nvidia-smi fails: NVIDIA-SMI has failed"),
        ("#!/bin/sh\nexec sleep 600\n", "did not answer"),
        (NVIDIA.format(pid=1), "nvidia-smi does not tell what"),
    ],
)
def test_gpus_that_do_not_tell_are_said_once(run, nvidia_smi, monkeypatch, content, expected):
    monkeypatch.setattr(gpus, "TIMEOUT", 0.5)
    if content:
        nvidia_smi(content)
    else:
        monkeypatch.setenv("PATH", "/nowhere")
    said = []
    with run.lock():
        note(run, gpu_memory_mib=5)
        man, _ = look(Limits(gpu_memory=amount("gpu_memory", "90%", SIZES)), run.path, said=said)
        man.look()
    assert len(said) == 1 and expected in said[0]


# what is written


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = SimpleNamespace(monotonic=lambda: now.value, strftime=time.strftime, localtime=time.localtime, value=0.0)
    monkeypatch.setattr(telling, "time", now)
    return now


def sweep(run, count):
    """Return many runs, as far as letters are concerned, and how they stand."""
    every = [copy.copy(run) for _ in range(count)]
    for number, each in enumerate(every):
        each.path = run.path.parent / f"r{number}"
    return every, [Watched(each, Standing("running", 5, 3, 10, []), 0.0) for each in every]


def test_a_sweep_of_500_runs_sends_a_handful_and_a_failure_waits_no_longer_than_said(run, clock):
    letters, told = [], {}
    teller = Teller(letters.append, 3600.0, False)
    every, watched = sweep(run, 500)
    for second in range(0, 5 * 3600, 10):
        clock.value = float(second)
        if (number := second // 36) < 500 and second % 36 < 10:
            kind = "failure" if number % 7 == 0 else "end"
            teller.take(Event(every[number], kind, f"ends ({number})", watched[number].standing))
            told[number] = (second, kind)
        before = len(letters)
        teller.tell(watched)
        for number in [
            n for n, (since, _) in told.items() if len(letters) > before and f"ends ({n})" in letters[-1].text
        ]:
            assert second - told.pop(number)[0] <= 3600
    teller.tell(watched, last=True)
    assert not [number for number, (since, _) in told.items() if f"ends ({number})" not in letters[-1].text]
    assert 5 <= len(letters) <= 8 and letters[0].subject == "vitalsynth: r0 ends (0)"  # a failure goes at once
    assert "500 runs: 500 running" in letters[1].subject and "and 300 more" in letters[1].text


def test_without_a_digest_each_event_is_a_letter(run, clock):
    letters = []
    teller = Teller(letters.append, 0.0, False)
    every, watched = sweep(run, 3)
    for each, kind in zip(every, ("seen", "start", "end"), strict=True):
        teller.take(Event(each, kind, "happens", watched[0].standing))
    teller.tell(watched)
    assert [letter.subject for letter in letters] == ["vitalsynth: r1 happens", "vitalsynth: r2 happens"]


def test_names_and_reasons_are_no_markup_and_no_headers(run):
    run = copy.copy(run)
    run.path = run.path.parent / "a<b>\nBcc: eve@evil.example"
    event = Event(run, "failure", "failed: <script>", Standing("failed", 5, 3, 10, []))
    letter = telling.letter([event], [(run, event.standing)], with_pictures=False)
    message = compose(Settings.of({"host": "mx"}, ""), ["anna@ward.example"], letter, letter.draw())
    _, html, pictures = smtp.parts(message)
    assert message["Bcc"] is None and pictures == {}
    assert "a&lt;b&gt; Bcc" in html and "&lt;script&gt;" in html and "<script>" not in html


def test_a_letter_of_a_run_under_privacy_has_no_pictures(run):
    run.record["privacy"] = {"epsilon": 1}
    event = Event(run, "end", "is done", Standing.of(run))
    assert telling.letter([event], [(run, event.standing)], with_pictures=True).draw() == []


# what is asked


@given(st.integers(1, 999), st.sampled_from(sorted({**SIZES, **DURATIONS})), st.sampled_from(["", " "]))
def test_amounts_are_read_as_they_are_written(number, unit, between):
    units = {**SIZES, **DURATIONS}
    if unit == "%":
        number = min(number, 100)
    assert amount("x", f"{number}{between}{unit}", units).value == pytest.approx(number * units[unit])


@pytest.mark.parametrize("wrong", ["", "10", "m", "0m", "-5m", "5 min", "1e3s", "infs", "nanm", "5m 3s"])
def test_what_is_no_duration_is_one_line(wrong):
    with pytest.raises(ValueError, match=r"--stalled takes a number above 0 with one of s, m, h, d; got"):
        amount("stalled", wrong, DURATIONS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs RUN"),
        (["nowhere"], "no run matches 'nowhere'"),
        (["nowhere", "--memory", "101%"], "of which there are 100 at most"),
        (["nowhere", "--disk", "5 percent"], "--disk takes a number above 0"),
        (["nowhere", "--grace", ""], "--grace takes a number above 0"),
        (["nowhere", "--digest", "1h"], "--digest needs --mail"),
        (["nowhere", "--mail", "anna"], "'anna' is no address"),
        (["nowhere", "--mail", "a@b.example"], "no mail can be sent"),
        (["nowhere", "--stall", "1h"], "did you mean '--stalled'?"),
    ],
)
def test_a_mistake_is_one_line(words, said, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("VITALSYNTH_MAIL_SETTINGS", str(tmp_path / "none.toml"))
    assert main(["watch", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("count", [1, 3, 50])
def test_the_last_rows_are_found_however_long_they_are(count, tmp_path):
    rows = [{"step": step, "name": "x" * (step * 997 % 9000)} for step in range(60)]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 60, "na')
    assert runs.last(path, count) == rows[-count:]
    assert runs.last(tmp_path / "none.jsonl", count) == []
