"""A real SMTP server on the loopback, with STARTTLS and login, that takes or refuses as a test says."""

import os
import shutil
import socket
import ssl
import subprocess
from contextlib import contextmanager
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

USER, PASSWORD = "ward", "pass word+7"


class Mailbox:
    """What arrives, and what is answered.

    Attributes:
        messages: That were taken, with the addresses they were for, and whether STARTTLS came before.
        answers: To the next messages, instead of taking them.
        refused: Answer to each address that is not taken, or a list, of answers to the next times.
        logins: Whether each was right.
        taking: Called with each message before it is taken, and with whom it is for; an answer is given instead.
        taken: Called with each message after it was taken, before that is said.
    """

    def __init__(self):
        self.messages, self.answers, self.refused, self.logins = [], [], {}, []
        self.taking = self.taken = lambda content, to: None

    async def handle_RCPT(self, server, session, envelope, address, options):
        if answer := self.refused.get(address):
            return answer if isinstance(answer, str) else answer.pop()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.answers:
            return self.answers.pop(0)
        if answer := self.taking(envelope.content, envelope.rcpt_tos):
            return answer
        message = message_from_bytes(envelope.content, policy=policy.default)
        self.messages.append((message, envelope.rcpt_tos, session.ssl is not None))
        self.taken(envelope.content, envelope.rcpt_tos)
        return "250 OK"

    def authenticate(self, server, session, envelope, mechanism, data):
        right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        self.logins.append(right)
        return AuthResult(success=right, handled=False)


def certificate(folder):
    """Make a key and a certificate for this machine, and return their files."""
    if not shutil.which("openssl"):
        if os.environ.get("CI"):
            pytest.fail("there is no openssl, and CI must have it")
        pytest.skip("openssl is not installed here: apt install openssl")
    key, cert = folder / "key.pem", folder / "cert.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return key, cert


@contextmanager
def running(folder, security="starttls"):
    """Start a server, and give its mailbox and the settings that lead to it."""
    key, cert = certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    mailbox, port = Mailbox(), free_port()
    about = {"authenticator": mailbox.authenticate, "auth_required": True} if security != "plain" else {}
    if security == "starttls":
        about |= {"tls_context": context, "require_starttls": True}
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=port,
        ssl_context=context if security == "tls" else None,
        auth_require_tls=security == "starttls",
        **about,
    )
    controller.start()
    settings = {"host": "127.0.0.1", "port": str(port), "security": security, "from": "vitalsynth@ward.example"}
    if security != "plain":
        settings |= {"user": USER, "password": PASSWORD, "ca": str(cert)}
    try:
        yield mailbox, settings
    finally:
        controller.stop()


@contextmanager
def hanging():
    """Give the settings of a server that never says anything, and its socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        yield {"host": "127.0.0.1", "port": port, "user": USER, "password": PASSWORD}, server


def environment(monkeypatch, settings):
    """Put settings where `Settings.read` finds them."""
    for name, value in settings.items():
        monkeypatch.setenv(f"VITALSYNTH_SMTP_{name.upper()}", value)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def parts(message):
    """Return the text, the page and the pictures of a message, the latter by the name that the page has for them."""
    text, page = (message.get_body((kind,)).get_content() for kind in ("plain", "html"))
    found = [part for part in message.walk() if part.get_content_maintype() == "image"]
    return text, page, {part["Content-ID"].strip("<>"): part.get_content() for part in found}
