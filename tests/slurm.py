"""A real SLURM of one node on the loopback, without accounting, started and ended by the tests."""

import os
import platform
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=10
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def running(folder):
    """Start it; the environment that leads to it, and to nothing else, is given."""
    path = f"{os.environ['PATH']}:/usr/sbin"  # where Debian has daemons
    if missing := [name for name in DAEMONS if not shutil.which(name, path=path)]:
        if os.environ.get("CI"):
            pytest.fail(f"SLURM is not whole: there is no {', '.join(missing)}, and CI must have it")
        pytest.skip(
            f"SLURM is not installed here ({', '.join(missing)}): apt install slurmctld slurmd slurm-client munge"
        )
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    user, host = pwd.getpwuid(os.getuid()).pw_name, platform.node().partition(".")[0]
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, user=user, host=host, ports=_free_ports(2)))
    environment = {**os.environ, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}
    munge = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log"}
    options = [f"--{option}={folder / name}" for option, name in {**munge, "seed-file": "munge.seed"}.items()]
    started = []
    try:
        for words, ready in (
            (["munged", "--foreground", "--force", *options], (folder / "munge.socket").exists),
            (["slurmctld", "-D"], lambda: _said(environment, "scontrol", "ping").count("is UP")),
            (["slurmd", "-D"], lambda: _said(environment, "sinfo", "--noheader", "--format=%t").strip() == "idle"),
        ):
            with (folder / f"{words[0]}.out").open("wb") as out:
                started.append(subprocess.Popen(words, env=environment, stdin=-3, stdout=out, stderr=out))
            until(ready, 30, words[0])
        yield environment
        subprocess.run(["scancel", f"--user={user}"], env=environment, check=True)
        until(lambda: not _said(environment, "squeue", "--noheader"), 60, "the end of all jobs")
    finally:
        for daemon in reversed(started):
            daemon.terminate()
            daemon.wait(30)


def until(true, seconds, what):
    """Wait until something is so, or fail."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} took more than {seconds} s"
        time.sleep(0.2)


def _said(environment, *words):
    return subprocess.run(words, env=environment, capture_output=True, text=True).stdout


def _free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
