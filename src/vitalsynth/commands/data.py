"""`vitalsynth data`: what there is to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from rich.console import Console
from rich.table import Table

from .. import sources
from ..notebooks.display import Live
from ..reporting import figures
from ..sequences import Sequences, summary
from ..storage import refuse_existing

BARS = "▁▂▃▄▅▆▇█"


def data(data: str = "", *, picture: str = "", out: str = "", source: dict[str, Any] | None = None) -> Sequences | None:
    """List the sources, or describe one source or file: its columns, how much was measured, what it looks like.

    Args:
        data: A source's name, a CSV, Parquet or npz file, a folder of a known layout or of images, or an import path;
            nothing lists the sources. Its own settings follow as --source.NAME; 'vitalsynth data FILE.csv --help' lists
            them.
        picture: File to draw examples to, .png, .svg or .pdf.
        out: File to write the sequences to, .parquet, .csv or .npz; or a folder, in the form that the data came in.
        source: Settings of the source, as --source.NAME on the command line.

    Returns:
        The sequences, if any were named.

    Raises:
        ValueError: if they cannot be read.
    """
    console = Console()
    if not data:
        table = Table("source", "what it is", box=None)
        for name, about in sources.names().items():
            table.add_row(name, about)
        console.print(table)
        return None
    sequences = sources.read(data, **(source or {}))
    if not Live.possible():  # a notebook shows what is returned
        console.print(f"{data}: {summary.sentence(sequences)}")
        console.print(_columns(sequences))
    if picture:
        figures.cohort(sequences).savefig(picture)
        console.print(f"drawn to {picture}")
    if out:
        _export(sequences, Path(out))
    return sequences


def _export(sequences: Sequences, path: Path) -> None:
    refuse_existing(path)
    with sources.writer(path, sequences.schema) as writer:
        writer.write(sequences)


def _columns(sequences: Sequences, most: int = summary.MOST) -> Table:
    table = Table(*summary.HEAD, box=None, padding=(0, 1, 0, 0))
    for j in summary.NUMBERS:
        table.columns[j].justify = "right"
    alive = sequences.alive
    for j, column in enumerate(sequences.schema.channels[:most]):
        values = sequences.values[:, :, j]
        over_time = _spark(values) if column.kind != "categorical" else ""
        table.add_row(*summary.row(column, values[alive]), f"{summary.categories(column, values)} {over_time}".strip())
    if (left := len(sequences.schema.channels) - most) > 0:
        table.add_row(f"... and {left} more")
    for j, column in enumerate(sequences.schema.statics):
        values = sequences.static[:, j]
        table.add_row(*summary.row(column, values), f"static {summary.categories(column, values)}".strip())
    return table


def _spark(values: ndarray) -> str:
    """Draw the mean over sequences against time in one line of text."""
    means = np.array(summary.means(values), dtype=float)
    if np.isnan(means).all():
        return ""
    low, span = np.nanmin(means), np.nanmax(means) - np.nanmin(means)
    levels = (means - low) / span * (len(BARS) - 1) if span else np.where(np.isnan(means), np.nan, 3.0)
    return "".join(" " if np.isnan(level) else BARS[round(level)] for level in levels)
