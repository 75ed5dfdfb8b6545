"""To TensorBoard: event files in the run's folder `tensorboard/`, and its page for this machine alone.

Settings and last scores are a session of the HParams tab, in the folder `tensorboard/scores`: the tab has a column for
every scalar beside a session, and those of the log would be too many.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tensorboard import program
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.utils.tensorboard import FileWriter, SummaryWriter
from torch.utils.tensorboard.summary import hparams

from ..runs import Run
from ..sequences import one_line
from .records import Asked, Exporter, Graph, Histogram, Numbers, Picture, Record

log = logging.getLogger(__name__)


class EventFiles(Exporter):
    """Writes event files. What a writer that died wrote beyond its note is hidden by TensorBoard's own purge."""

    name = "tensorboard"

    @cached_property
    def writer(self) -> SummaryWriter:
        """Of all but scores; made when there is something to write."""
        return SummaryWriter(self.folder, purge_step=self.run.start + self.position.rows + 1)

    @cached_property
    def scores(self) -> SummaryWriter:
        """Of scores, and the settings beside them."""
        return SummaryWriter(self.folder / "scores")

    def take(self, record: Record) -> None:
        """Write a record."""
        match record:
            case Numbers(step, values, at):
                values = {_tag(name): value for name, value in values.items()}
                of_scores = any(name.startswith("scores/") for name in values)
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()])
                _files(self.scores if of_scores else self.writer).add_summary(summary, step, at)
            case Histogram(step, name, values, at):
                self.writer.add_histogram(_tag(name), values, step, "auto", at)
            case Picture(step, name, pixels, at):
                self.writer.add_image(_tag(name), pixels, step, at, "HWC")
            case Graph(module, inputs):
                self._graph(module, inputs)
            case Asked(settings):
                _, begun, ended = hparams(dict(settings), {})
                for summary in (begun, ended):
                    _files(self.scores).add_summary(summary)

    def _graph(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a trace is of these inputs only, which is all that a picture needs
            try:
                self.writer.add_graph(torch.jit.trace(module, inputs, check_trace=False), inputs)
            except Exception as error:  # networks of the user's own can fail in any way when traced
                log.warning("%s: its networks cannot be drawn as a graph (%s)", self.run.path, one_line(error))

    def flush(self) -> None:
        """Write what is held back."""
        self.writer.flush()
        self.scores.flush()

    def close(self) -> None:
        """End the files."""
        for name in {"writer", "scores"} & set(vars(self)):
            getattr(self, name).close()


def _files(writer: SummaryWriter) -> FileWriter:
    assert writer.file_writer is not None
    return writer.file_writer


def _tag(name: str) -> str:
    """Return a name as TensorBoard groups it: by what comes before the slash."""
    return name.replace(".", "/", 1)


@contextmanager
def serving(runs: Mapping[str, Run], port: int) -> Iterator[str]:
    """Show the event files of runs on a page at the address that is given, until the block ends.

    Args:
        runs: By the name to show.
        port: Where to listen on this machine's loopback; 0 picks a free one.

    Raises:
        ValueError: if the port is taken.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, run in runs.items():
            Path(folder, name).symlink_to((run.path / EventFiles.name).resolve())
        started: list[program.TensorBoardServer] = []

        def server(application: Any, flags: Any) -> program.TensorBoardServer:
            started.append(program.WerkzeugServer(application, flags))
            return started[0]

        board = program.TensorBoard(server_class=server)  # type: ignore[arg-type]
        board.configure(logdir=folder, host="127.0.0.1", port=port, load_fast="false", reload_interval=5)
        try:
            yield board.launch()
        except program.TensorBoardServerException as error:
            raise ValueError(f"--port {port}: {error}") from None
        finally:
            for each in started:
                each.shutdown()
