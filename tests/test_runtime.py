"""The runtime for Colab: a client that behaves as its page does, and everybody who is to be refused."""

import json
import signal
import socket
import subprocess
import sys
import uuid

import psutil
import pytest
import requests
import websocket

from slurm import until
from vitalsynth.cli import main

COLAB = "https://colab.research.google.com"
ELSEWHERE = "https://example.org"


class Client:
    """Behaves as Colab's page: its origin, the token, a session with a kernel, and a websocket to it."""

    def __init__(self, url):
        self.base, self.token = url.split("/?token=")

    def ask(self, method, path, origin=COLAB, token=None, **more):
        headers = {"Origin": origin, "Authorization": f"token {self.token if token is None else token}"}
        headers = {name: value for name, value in headers.items() if value and value != "token "}
        return requests.request(method, self.base + path, headers=headers, timeout=60, allow_redirects=False, **more)

    def session(self, name="a"):
        asked = {"kernel": {"name": "python3"}, "name": name, "path": f"{name}.ipynb", "type": "notebook"}
        return self.ask("POST", "/api/sessions", json=asked).json()["kernel"]["id"]

    def socket(self, kernel, origin=COLAB, token=None):
        token = self.token if token is None else token
        address = f"{self.base.replace('http', 'ws')}/api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
        return websocket.create_connection(address + (f"&token={token}" if token else ""), origin=origin, timeout=60)

    def execute(self, channel, code):
        """Run a cell, and return what it printed and how it ended."""
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3"}
        asked = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = {"header": {**header, "username": "", "session": "s"}, "parent_header": {}, "metadata": {}}
        channel.send(json.dumps({**message, "content": asked, "channel": "shell", "buffers": []}))
        printed, status, idle = "", "", False
        while not (status and idle):
            answer = json.loads(channel.recv())
            if answer["parent_header"].get("msg_id") == header["msg_id"]:
                content = answer["content"]
                printed += content["text"] if answer["msg_type"] == "stream" else ""
                status = content["status"] if answer["msg_type"] == "execute_reply" else status
                idle = idle or content.get("execution_state") == "idle"
        return printed, status


CALL = (
    "from vitalsynth.commands.notebook_serve import notebook_serve; notebook_serve(port=0, directory={!r}, idle={!r})"
)


def serving(command):
    command = [sys.executable, *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return process, Client(process.stdout.readline().strip())


def called(folder, idle=""):
    """Serve as from Python, which begins sooner than the command line."""
    return serving(["-c", CALL.format(str(folder), idle)])


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    process, client = serving(["-m", "vitalsynth", "notebook", "serve", "--port", "0", "--directory", str(folder)])
    yield process, client, client.session()
    process.terminate()
    process.wait()


def test_a_client_like_colabs_page_runs_a_cell(runtime):
    _, client, kernel = runtime
    preflight = client.ask("OPTIONS", "/api/sessions", token="")
    for answer in (preflight, client.ask("GET", "/api/kernels")):
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == COLAB
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    channel = client.socket(kernel)
    assert client.execute(channel, "import sys\nprint(6 * 7, sys.executable)") == (f"42 {sys.executable}\n", "ok")
    assert client.execute(channel, "1 / 0") == ("", "error")
    channel.close()


@pytest.mark.parametrize(
    ("origin", "token"), [(ELSEWHERE, None), (COLAB, ""), (COLAB, "guess"), (ELSEWHERE, ""), ("null", None), ("", "")]
)
def test_another_page_and_who_has_no_token_are_refused(runtime, origin, token):
    _, client, kernel = runtime
    paths = ("/api/kernels", "/api/contents", "/api/sessions", "/files/a.txt", "/api/me")
    for path in paths:
        assert client.ask("GET", path, origin, token).status_code in (302, 403, 404), path
    kernels = len(client.ask("GET", "/api/kernels").json())
    assert client.ask("POST", "/api/kernels", origin, token, json={}).status_code in (403, 404)
    assert client.ask("DELETE", f"/api/kernels/{kernel}", origin, token).status_code in (403, 404)
    assert len(client.ask("GET", "/api/kernels").json()) == kernels
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        client.socket(kernel, origin, token)
    assert refused.value.status_code == 403


def test_a_cookie_of_the_page_does_not_let_another_page_in(runtime):
    _, client, kernel = runtime
    cookies = client.ask("GET", "/api/kernels").cookies.get_dict()
    assert cookies and client.ask("GET", "/api/kernels", token="", cookies=cookies).status_code == 200
    assert client.ask("GET", "/api/kernels", ELSEWHERE, "", cookies=cookies).status_code in (403, 404)
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    address = f"{client.base.replace('http', 'ws')}/api/kernels/{kernel}/channels"
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(address, origin=ELSEWHERE, cookie=header, timeout=60)


def test_a_name_that_leads_here_is_no_way_in(runtime):
    _, client, _ = runtime  # DNS rebinding: a page of elsewhere whose name suddenly is 127.0.0.1
    headers = {"Host": "example.org", "Authorization": f"token {client.token}"}
    assert requests.get(client.base + "/api/kernels", headers=headers, timeout=60).status_code == 403


def test_nothing_listens_beyond_loopback(runtime):
    process, client, kernel = runtime
    client.execute(client.socket(kernel), "1")
    server = psutil.Process(process.pid)
    everyone = [server, *server.children(recursive=True)]
    listening = [c for each in everyone for c in each.net_connections("inet") if c.status in ("LISTEN", "NONE")]
    assert len(everyone) > 1 and {c.laddr.ip for c in listening} == {"127.0.0.1"}
    assert any(c.laddr.port == int(client.base.rpartition(":")[2]) for c in listening)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_all_its_kernels_which_may_save_before(tmp_path, number):
    process, client = called(tmp_path)
    saves = "import time\ntry: open('began', 'w'); time.sleep(600)\nexcept KeyboardInterrupt: open('saved', 'w')"
    channels = [client.socket(client.session(name)) for name in "ab"]
    asked = {"header": {"msg_id": "1", "msg_type": "execute_request", "version": "5.3"}, "parent_header": {}}
    channels[0].send(json.dumps({**asked, "content": {"code": saves}, "metadata": {}, "channel": "shell"}))
    until((tmp_path / "began").exists, 300, "the cell")
    kernels = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == 0 and (tmp_path / "saved").exists() and len(kernels) == 2
    assert not any(kernel.is_running() for kernel in kernels)
    assert "runs anything as" in said and "its kernels with it" in said and "Traceback" not in said


def test_it_ends_when_nothing_was_asked_for_long(tmp_path):
    process, client = called(tmp_path, "4s")
    kernel = client.session()
    assert client.execute(client.socket(kernel), "print(1)")[1] == "ok"
    process.communicate()
    assert process.returncode == 0


def test_what_cannot_be_served_is_refused_in_a_line(tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, what in [
            (["--port", port], f"port {port} cannot be used (Address already in use); choose another --port"),
            (["--port", "70000"], "a port is a number up to 65535"),
            (["--directory", str(tmp_path / "gone")], "is no folder"),
            (["--idle", "soon"], "--idle"),
        ]:
            assert main(["notebook", "serve", *words]) == 2
            said = capsys.readouterr().err
            assert what in said and said.count("\n") == 1
