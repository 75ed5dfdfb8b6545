"""Several processes that train one run: how they find each other, and what the first tells the others.

The first process leads: it reads the data, writes the run and draws the progress bar. The others are told all that they
need, settings, data and state, over torch.distributed (gloo on processors, NCCL on GPUs), so that they read no file and
need no folder in common. They are started by `--devices`, as `python -m vitalsynth.cluster.distributed`, or come from
torchrun or srun, where each runs the same command.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NoReturn

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from .. import differential, gpus, training
from ..differential import Mechanism
from ..learner import Learner
from ..preparation import Preparation
from ..runs import Run
from ..sequences import Encoded, one_line
from ..team import ALONE, Lost, Team

PATIENCE = timedelta(hours=1)
"""How long one waits for another that is there but busy, as with scores at a checkpoint; who is gone is noticed."""
COMING = timedelta(minutes=5)
"""How long the first waits for the others to come."""


def check_shares(devices: int, microbatches: int) -> None:
    """Refuse what cannot be shared evenly.

    Raises:
        ValueError: if the parts of a batch cannot be shared evenly.
    """
    if microbatches % devices:
        raise ValueError(
            f"{devices} devices cannot share batches of {microbatches} microbatches evenly; "
            f"--devices may be {', '.join(str(n) for n in range(1, microbatches + 1) if microbatches % n == 0)}"
        )


def started() -> int:
    """Return how many processes torchrun or srun started, 0 if neither did; what srun says is put as torchrun would."""
    if "RANK" not in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_STEP_NODELIST" in os.environ:
        hosts = subprocess.run(
            ["scontrol", "show", "hostnames", os.environ["SLURM_STEP_NODELIST"]],
            capture_output=True,
            text=True,
            check=True,
        )
        os.environ |= {
            "RANK": os.environ["SLURM_PROCID"],
            "LOCAL_RANK": os.environ["SLURM_LOCALID"],
            "WORLD_SIZE": os.environ["SLURM_NTASKS"],
            "MASTER_ADDR": hosts.stdout.split()[0],
            "MASTER_PORT": str(20_000 + int(os.environ["SLURM_JOB_ID"]) % 20_000),
        }
    size = int(os.environ.get("WORLD_SIZE", 1))
    return size if size > 1 else 0


def follows() -> bool:
    """Return whether another process leads."""
    return started() > 1 and int(os.environ["RANK"]) > 0


def leading_device(device: str, devices: int) -> torch.device:
    """Return the device of the process that leads.

    Raises:
        ValueError: if there are fewer GPUs than asked for, or one was named for several.
    """
    if devices == 1:
        return gpus.pick_device(device)
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device {device} is one, and --devices asks for {devices}: --device auto, cpu or cuda")
    found = gpus.pick_device(device)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    if found.type == "cuda" and torch.cuda.device_count() < here:
        raise ValueError(
            f"there are {torch.cuda.device_count()} GPUs, and {here} processes would share them: "
            f"--devices {torch.cuda.device_count()}, or --device cpu"
        )
    return torch.device("cuda", 0) if found.type == "cuda" else found


@contextmanager
def team(devices: int, run: Run, learner: Learner, encoded: Encoded, patients: Sequence[np.ndarray]) -> Iterator[Team]:
    """Lead a team, once all others are there and know what is to be done; they end with it.

    Raises:
        Lost: if the others do not come.
    """
    if devices == 1:
        yield ALONE
        return
    about = {
        "record": run.record,
        "preparation": run.preparation.to_json(),
        "patients": [own.tolist() for own in patients],
        "key": differential.noise_key(run.path) if learner.budget is not None else "",
    }
    tensors, state = learner.contents()
    data = {"x": encoded.x, "s": encoded.s, "condition": encoded.condition}
    with _others(devices, encoded.x.device) as store, _group(encoded.x.device, store, 0, devices):
        _tell({**about, "state": {**state, "step": learner.step}}, {**tensors, "data": data})
        yield Team(0, devices)


def follow(device: str, trainings: int = 1, store: TCPStore | None = None) -> NoReturn:
    """Take part in trainings that another process leads, and end this one.

    Args:
        device: cpu, cuda or auto.
        trainings: How many, one after the other.
        store: Where they find each other, if the environment does not say.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the first as well, which says what is done
    at = gpus.pick_device(device)
    if at.type == "cuda":
        at = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    try:
        for _ in range(trainings):
            with _group(at, store, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])):
                _take_part(at)
    except (Lost, training.Diverged):
        sys.exit(75)  # the first says why
    sys.exit(0)


def _take_part(device: torch.device) -> None:
    about, tensors = _told()
    record = {**training.EARLIER, **about["record"]}
    data = tensors["data"]
    encoded = Encoded(data["x"], data["s"], data["condition"]).to(device)
    learner = Learner.build(record, device)
    learner.load(tensors, about["state"], record)
    preparation = Preparation.from_json(about["preparation"])
    members = [np.array(own, dtype=np.int64) for own in about["patients"]]
    mechanism = Mechanism.of(record, preparation, members, about["key"])
    groups = preparation.groups(encoded, record["balance"])
    training.follow(learner, encoded, record, groups, mechanism, Team(dist.get_rank(), dist.get_world_size()))


@contextmanager
def _others(devices: int, device: torch.device) -> Iterator[TCPStore | None]:
    """Start the other processes, unless torchrun or srun did, and see them end; yield where they find each other."""
    if started():
        yield None
        return
    store = TCPStore("127.0.0.1", 0, devices, is_master=True, wait_for_workers=False, timeout=COMING)
    command = [sys.executable, "-m", __name__, device.type, str(store.port)]
    ranks = [{"RANK": str(k), "LOCAL_RANK": str(k), "WORLD_SIZE": str(devices)} for k in range(1, devices)]
    others = [subprocess.Popen(command, env=os.environ | rank) for rank in ranks]
    try:
        yield store
    finally:
        for process in others:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            process.wait()


@contextmanager
def _group(device: torch.device, store: TCPStore | None, rank: int, size: int) -> Iterator[None]:
    """Be one of the group, who meet in a store, or where the environment says."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise Lost(f"the processes did not come together ({one_line(error)})") from None
    try:
        yield
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()


def _tell(about: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Tell the others something, and give them tensors."""
    flat = {
        group: {name: value.detach().cpu().contiguous() for name, value in own.items()}
        for group, own in tensors.items()
    }
    layout = {
        group: {name: [str(value.dtype).removeprefix("torch."), list(value.shape)] for name, value in own.items()}
        for group, own in flat.items()
    }
    text = torch.frombuffer(bytearray(json.dumps({"about": about, "layout": layout}).encode()), dtype=torch.uint8)
    leader = Team(0, dist.get_world_size())
    leader.shared([torch.tensor([len(text)]), text])
    leader.shared(_as_bytes(flat))


def _told() -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Return what the first tells."""
    me, size = Team(dist.get_rank(), dist.get_world_size()), torch.zeros(1, dtype=torch.int64)
    me.shared([size])
    text = torch.empty(int(size), dtype=torch.uint8)
    me.shared([text])
    said = json.loads(text.numpy().tobytes())
    tensors = {
        group: {name: torch.empty(shape, dtype=getattr(torch, dtype)) for name, (dtype, shape) in own.items()}
        for group, own in said["layout"].items()
    }
    me.shared(_as_bytes(tensors))
    return said["about"], tensors


def _as_bytes(tensors: Mapping[str, Mapping[str, Tensor]]) -> list[Tensor]:
    """Return the memory of tensors that have any, one after the other."""
    each = (value for own in tensors.values() for value in own.values())
    return [value.reshape(-1).view(torch.uint8) for value in each if value.numel()]


if __name__ == "__main__":
    _, kind, port = sys.argv
    try:
        follow(kind, store=TCPStore("127.0.0.1", int(port), timeout=COMING))
    except SystemExit as end:
        os._exit(int(end.code or 0))  # gloo's threads, taken down with the interpreter, sometimes abort it
