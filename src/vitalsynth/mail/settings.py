"""Through which servers mail goes and comes: from the environment, or from a file that nobody else can read."""

from __future__ import annotations

import getpass
import ipaddress
import os
import platform
import ssl
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..sequences import nearest

PREFIX = "VITALSYNTH_SMTP_"
PREFIXES = {"smtp": PREFIX, "imap": "VITALSYNTH_IMAP_"}
FILE = "~/.config/vitalsynth/mail.toml"
NAMES = ("host", "port", "user", "password", "from", "security", "ca")
PORTS = {"smtp": {"starttls": 587, "tls": 465, "plain": 25}, "imap": {"starttls": 143, "tls": 993, "plain": 143}}
Kind = Literal["smtp", "imap"]


@dataclass(frozen=True)
class Settings:
    """How to reach the server that takes our mail, or that has mail for us.

    Args:
        host: Its name, which its certificate must be for.
        port: Where it listens.
        security: `starttls` and `tls` encrypt or fail; `plain` does not encrypt.
        user: Who logs in; empty for no login.
        password: Of the user.
        sender: From whom mail is.
        ca: A file of certificates to trust instead of the system's.
    """

    host: str
    port: int
    security: str
    user: str
    password: str = field(repr=False)
    sender: str = ""
    ca: str = ""

    @classmethod
    def read(cls, kind: Kind = "smtp") -> Settings:
        """Read them from the environment, VITALSYNTH_SMTP_HOST and so on, or, if that is not set, from a file.

        Args:
            kind: Of the server that takes mail, or of the one that has it (VITALSYNTH_IMAP_HOST, or the file's table
                [imap], in which user, password and ca are those of the other unless it says so).

        Raises:
            ValueError: if there are none, they are wrong, or others can read the file.
        """
        prefix = PREFIXES[kind]
        given = {name: os.environ[prefix + name.upper()] for name in NAMES if os.environ.get(prefix + name.upper())}
        if "host" in given:
            return cls.of(given, f"{prefix}*", kind)
        path = Path(os.environ.get("VITALSYNTH_MAIL_SETTINGS") or FILE).expanduser()
        found = _private(path, kind)
        inbox = found.pop("imap", None)
        if kind == "smtp":
            return cls.of(found, str(path))
        if not isinstance(inbox, Mapping):
            raise ValueError(
                f"{path} has no table [imap], and {prefix}HOST is not set; docs/reviews.md says what to write"
            )
        login = {name: found[name] for name in ("user", "password", "ca") if name in found}
        return cls.of({**login, **inbox}, f"{path} [imap]", kind)

    @classmethod
    def of(cls, given: Mapping[str, Any], where: str, kind: Kind = "smtp") -> Settings:
        """Check what was given, and fill in the rest.

        Raises:
            ValueError: naming the setting, but never its value.
        """
        ports = PORTS[kind]
        if unknown := sorted(set(given) - set(NAMES)):
            raise ValueError(f"{where}: no setting {unknown[0]!r}; {nearest(unknown[0], NAMES)}")
        if "host" not in given:
            raise ValueError(f"{where} lacks host, the name of the mail server")
        texts = {name: str(value) for name, value in given.items()}
        host, user, password = texts["host"], texts.get("user", ""), texts.get("password", "")
        if bool(user) != bool(password):
            raise ValueError(f"{where}: user and password belong together, and one is missing")
        if not password.isascii():
            raise ValueError(f"{where}: the password has letters that mail servers do not take (not ASCII)")
        port = texts.get("port", "")
        security = texts.get("security") or _security(kind, port, is_loopback(host) and not user)
        if security not in ports:
            raise ValueError(f"{where}: security {security!r}: {nearest(security, ports)}")
        if port and not (port.isdecimal() and 0 < int(port) < 2**16):
            raise ValueError(f"{where}: port must be a number from 1 to 65535, got {port!r}")
        ca = texts.get("ca", "")
        if ca and not Path(ca).expanduser().is_file():
            raise ValueError(f"{where}: ca: there is no file {ca}")
        sender = texts.get("from") or (user if "@" in user else f"{getpass.getuser()}@{platform.node()}")
        return cls(host, int(port or ports[security]), security, user, password, sender, ca)

    def trusted(self) -> ssl.SSLContext:
        """Return what certificates are checked by."""
        return ssl.create_default_context(cafile=str(Path(self.ca).expanduser()) if self.ca else None)

    def __str__(self) -> str:
        login = f", as {self.user}" if self.user else ", without login"
        return f"{self.host}:{self.port} ({self.security}{login})"


def _security(kind: Kind, port: str, unencrypted: bool) -> str:
    """Return how a server is spoken to that nothing is said of."""
    if kind == "imap":
        return "starttls" if port == "143" else "tls"
    return "tls" if port == "465" else "plain" if unencrypted else "starttls"


def is_loopback(host: str) -> bool:
    """Say whether a name is that of this machine, as far as can be told without asking anybody."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _private(path: Path, kind: Kind) -> dict[str, Any]:
    """Read a file of settings that is ours and readable by us only.

    Raises:
        ValueError: if it is not, or not there, or not TOML; nothing in it is repeated.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        done, about = ("sent", "watchman") if kind == "smtp" else ("read", "reviews")
        said = f"{path} is not there, and {PREFIXES[kind]}HOST not set; docs/{about}.md says what to write"
        raise ValueError(f"no mail can be {done}: {said}") from None
    with file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.getuid():
            raise ValueError(f"{path} is not a file of yours; mail settings are read from no other")
        if about.st_mode & 0o077:
            raise ValueError(
                f"{path} can be read or changed by others (mode {stat.S_IMODE(about.st_mode):04o}): chmod 600 {path}"
            )
        try:
            return tomllib.loads(file.read().decode())
        except ValueError:  # which may quote a line with the password in it
            raise ValueError(f'{path} is not TOML; a line is like host = "smtp.hospital.org"') from None
