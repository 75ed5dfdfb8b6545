"""A real PostgreSQL on the loopback, started and ended by the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "open sesame"


@contextmanager
def running():
    """Start it; the address of an empty database is given, for which PGPASSWORD is needed."""
    path = os.pathsep.join([os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
    initdb, control = (shutil.which(name, path=path) for name in ("initdb", "pg_ctl"))
    if not (initdb and control):
        if os.environ.get("CI"):
            pytest.fail("there is no PostgreSQL, and CI must have it")
        pytest.skip("PostgreSQL is not installed here: apt install postgresql")
    as_owner = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []  # it refuses to be run by root
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="vitalsynth-postgres-"))
    folder.chmod(0o777)
    (folder / "password").write_text(PASSWORD)
    try:
        made = ["-D", folder / "data", "-U", "sweeper", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}"]
        made += ["--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run([*as_owner, initdb, *made], check=True, capture_output=True)
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
        start = [*as_owner, control, "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start"]
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
        try:
            yield f"postgresql://sweeper@127.0.0.1:{port}/postgres"
        finally:
            stop = [*as_owner, control, "-D", folder / "data", "-m", "immediate", "stop"]
            subprocess.run(stop, check=True, stdout=subprocess.DEVNULL)
    finally:
        shutil.rmtree(folder)
