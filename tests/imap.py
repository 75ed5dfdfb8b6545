"""A real IMAP server on the loopback, in memory, with one mailbox."""

import socket
import subprocess
import sys
import time
from contextlib import contextmanager

from imap_tools import MailBoxUnencrypted

import smtp

USER, PASSWORD = "crowd", "s3cret-word"


class Postbox:
    """The mailbox; what is put into it has arrived."""

    def __init__(self, port):
        self.port = port
        self.settings = {"host": "127.0.0.1", "port": str(port), "security": "plain", "user": USER}
        self.settings["password"] = PASSWORD

    def put(self, *contents):
        with MailBoxUnencrypted("127.0.0.1", self.port).login(USER, PASSWORD) as box:
            for content in contents:
                box.append(content, "INBOX")

    def flags(self):
        with MailBoxUnencrypted("127.0.0.1", self.port).login(USER, PASSWORD) as box:
            return [message.flags for message in box.fetch(mark_seen=False, headers_only=True)]


@contextmanager
def running():
    """Start a server, and give its mailbox."""
    port = smtp.free_port()
    about = ["--host", "127.0.0.1", "--port", str(port), "--no-tls", "dict"]
    login = ["--demo-user", USER, "--demo-password", PASSWORD]
    command = [sys.executable, "-c", "from pymap.main import main; main()", *about, *login]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, "pymap ended"
                time.sleep(0.1)
        yield Postbox(port)
    finally:
        process.terminate()
        process.wait()


def environment(monkeypatch, settings):
    """Put settings where `Settings.read` finds them."""
    for name, value in settings.items():
        monkeypatch.setenv(f"VITALSYNTH_IMAP_{name.upper()}", value)
