"""Joining runs: those of one line in time into one run, and siblings into the average of their weights."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from .. import checkpoints, storage
from . import jsonl, lineage
from .lineage import Piece
from .run import Run, log_state, making

log = logging.getLogger(__name__)


def merge(runs: Sequence[Run], out: str | Path) -> Run:
    """Make one run of runs that go on from each other, as if training had never been interrupted.

    The log is that of each up to where the next goes on. Checkpoints, scores and samples come along. Settings and
    newest weights are those of the last; `run.json` keeps the earlier settings as `pieces`.

    Raises:
        ValueError: if something is there, or a run is damaged or in use.
        lineage.NotALine: if they are not one line.
    """
    with _locked(runs):
        line = lineage.line(runs)
        first, last = line[0], line[-1]
        record = {key: value for key, value in last.record.items() if key != "format"}
        earlier = [{"name": p.name, "start": p.start, "stop": p.stop, "record": p.record} for p in line[:-1]]
        record |= {"parent": first.record["parent"]} | ({"pieces": earlier} if earlier else {})
        with making(out, record, last.run.preparation.to_json()) as folder:
            _write(
                folder / "log.jsonl", (row for piece in line for row in piece.run.log_lines(piece.start, piece.stop))
            )
            for name in ("clock.jsonl", "evaluation.jsonl", "privacy.jsonl"):
                _write(folder / name, (row for p in line for row in _rows_of(p, name, p is first, p is last)))
            for piece in line:
                _copy_checkpoints(piece, folder / "checkpoints")
                _copy_samples(piece, folder / "samples", piece is first)
    return Run(out)


@contextmanager
def _locked(runs: Sequence[Run]) -> Iterator[None]:
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(run.lock())
        yield


def _write(path: Path, lines: Iterator[bytes]) -> None:
    if content := b"".join(lines):
        storage.write(path, content)


def _rows_of(piece: Piece, name: str, first: bool, last: bool) -> Iterator[bytes]:
    """Yield the lines of a file that belong to a piece; that training began at a step belongs to what came of it."""
    path = piece.run.path / name
    for line, row in zip(jsonl.lines(path), jsonl.rows(path), strict=True):
        step = row["step"] + (row.get("event") == "begin")
        if piece.start - first < step and (last or step <= piece.stop):
            yield line


def _copy_checkpoints(piece: Piece, folder: Path) -> None:
    """Copy the checkpoints of a piece; where it begins, its own replaces that of the piece before."""
    for step, files in checkpoints.whole(piece.run.checkpoints):
        if piece.start <= step <= piece.stop:
            piece.run.verify_log(json.loads(files["state.json"]))
            checkpoints.write(folder, step, files)


def _copy_samples(piece: Piece, folder: Path, first: bool) -> None:
    for file in piece.run.samples():
        if piece.start - first < int(file.name[:8]) <= piece.stop:
            folder.mkdir(exist_ok=True)
            storage.copy(file, folder / file.name)


def average(runs: Sequence[Run], out: str | Path) -> Run:
    """Make a run whose networks are the mean of those of siblings, weight by weight.

    A "model soup" (Wortsman et al. 2022, arXiv 2203.05482). It is a branch of the run trained longest, at its newest
    step and with its settings; optimisers start anew, since their moments belong to the weights they had. What siblings
    spent of budgets of differential privacy adds up, and with one that has none the average has none.

    Raises:
        ValueError: if there is one run only, they differ in preparation or generator, or something is at `out`.
    """
    if len(runs) < 2:
        raise ValueError("an average needs at least two runs")
    with _locked(runs):
        newest = [run.newest() for run in runs]
        longest = max(range(len(runs)), key=lambda j: newest[j][1]["step"])
        leading = runs[longest]
        for run in runs:
            if run.record["networks"]["generator"] != leading.record["networks"]["generator"]:
                raise ValueError(f"{run.path} and {leading.path} have different generators; weights cannot be averaged")
            if run.preparation.to_json() != leading.preparation.to_json():
                raise ValueError(f"{run.path} and {leading.path} encode their data differently; they are no siblings")
        if strangers := [run for run in runs if run is not leading and not lineage.related(run, leading)]:
            log.warning(
                "nothing shows that %s and %s have a common parent; is their mean of use?",
                strangers[0].path,
                leading.path,
            )
        tensors, state = newest[longest]
        networks = {
            name: _mean(value, [other[0]["networks"].get(name, value) for other in newest])
            for name, value in tensors["networks"].items()
        }
        optimizers = {name: {**part, "plain": {}} for name, part in state["optimizers"].items()}
        origin = [
            {"id": run.record["id"], "name": run.name, "step": other[1]["step"]}
            for run, other in zip(runs, newest, strict=True)
        ]
        record = {key: value for key, value in leading.record.items() if key not in ("format", "id", "pieces")}
        record |= {"parent": origin[longest], "averaged": origin}
        promised = [other[1]["privacy"]["spent"] for other in newest if "privacy" in other[1]]
        if len(promised) == len(newest):  # what they have in common is counted for each: more than needed, never less
            state = {**state, "privacy": {"spent": [part for spent in promised for part in spent]}}
        elif promised:
            log.warning("%s has no differential privacy: not all of its parents have", out)
            record["privacy"] = None
            state.pop("privacy", None)
        step = state["step"]
        with making(out, record, leading.preparation.to_json()) as folder:
            checkpoints.save(
                folder / "checkpoints",
                step,
                {"networks": networks, "optimizers": {}},
                {**state, "optimizers": optimizers, "log": log_state(step)},
            )
    return Run(out)


def _mean(own: torch.Tensor, all_of_them: list[torch.Tensor]) -> torch.Tensor:
    """Return the mean of weights; a run's own where the others' are no numbers, or of another shape."""
    if not all(each.shape == own.shape and each.is_floating_point() for each in all_of_them):
        return own
    return torch.stack([each.double() for each in all_of_them]).mean(dim=0).to(own.dtype)


def move(runs: Sequence[Run], places: Sequence[Path]) -> None:
    """Move runs, each whole or not at all, also to another file system.

    Raises:
        ValueError: if something is there.
    """
    for run, place in zip(runs, places, strict=True):
        storage.refuse_existing(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            run.path.rename(place)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with storage.atomic_folder(place) as copy:
                storage.copy_folder(run.path, copy)
            storage.remove(run.path)
        else:
            for folder in (place.parent, run.path.parent):
                storage.sync_folder(folder)
