"""Windows of long multivariate series, as the time-series literature cuts them, but held out by blocks of time.

Published protocols shuffle overlapping windows before they split them, so that nearly every test window has twins in
the training set. Here the series is first cut into blocks, a window never crosses the border of a block, and a block is
the subject: what is held out shares not one row with what is trained on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int
from numpy import ndarray

from .. import frames
from ..sequences import Schema, Sequences, listed, nearest
from .folders import default_folder
from .tables import read_csv


def series(path: str, length: int = 24, stride: int = 1, block: int = 4, drop: str = "") -> Sequences:
    """Windows of one long series of your own: a CSV with a row per time step, every column a channel.

    Leave out the column of times with `drop`; rows are taken to be equally spaced. The subject of a window is the block
    of time it lies in, so that held-out windows share no row with training windows. The data are your own.

    Args:
        path: File: .csv or .csv.gz.
        length: Rows of a window.
        stride: Rows from one window to the next.
        block: Length of a block, in windows; what is left at the end of the series is not used.
        drop: Columns to leave out, comma separated.
    """
    where = Path(path)
    frame = read_csv(where)
    left_out = listed(drop)
    if unknown := [name for name in left_out if name not in frame]:
        raise ValueError(f"{path}: no column {unknown[0]!r} to drop; {nearest(unknown[0], map(str, frame.columns))}")
    with frames.prefixed(path):
        return _cut(frame.drop(columns=left_out), length, stride, block)


def etth1(length: int = 24, stride: int = 1, block: int = 4, folder: str | None = None) -> Sequences:
    """ETTh1: oil temperature and six loads of an electricity transformer, hourly, 17,420 hours.

    Zhou et al. 2021; CC BY-ND 4.0. Held out by blocks of time; see `series`.

    Args:
        length: Hours of a window.
        stride: Hours from one window to the next.
        block: Length of a block, in windows.
        folder: Where `ETTh1.csv` lies; $VITALSYNTH_DATA/etth1 by default.
    """
    where = Path(folder) if folder else default_folder("etth1")
    return series(str(where / "ETTh1.csv"), length, stride, block, drop="date")


def energy(length: int = 24, stride: int = 1, block: int = 4, folder: str | None = None) -> Sequences:
    """Energy use of appliances, 28 channels every 10 minutes, 19,735 rows: TimeGAN's `energy`.

    Candanedo, Feldheim, Deramaix 2017 (UCI 374); CC BY 4.0. Held out by blocks of time; see `series`.

    Args:
        length: Rows of a window.
        stride: Rows from one window to the next.
        block: Length of a block, in windows.
        folder: Where `energy_data.csv.gz` lies; $VITALSYNTH_DATA/appliances-energy by default.
    """
    where = Path(folder) if folder else default_folder("appliances-energy")
    return series(str(where / "energy_data.csv.gz"), length, stride, block)


def _cut(frame: pd.DataFrame, length: int, stride: int, block: int) -> Sequences:
    for name, number in (("length", length), ("stride", stride), ("block", block)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    rows = length * block
    if len(frame) < rows:
        raise ValueError(f"{len(frame):,} rows are fewer than one block of {block} windows of {length}")
    read = [frames.infer(column, str(name)) for name, column in frame.items()]
    values = np.stack([numbers for _, numbers in read], axis=1)
    start, blocks = _starts(len(frame), rows, length, stride)
    windows = np.lib.stride_tricks.sliding_window_view(values, length, axis=0)[start].transpose(0, 2, 1)
    return Sequences(windows.copy(), Schema(tuple(column for column, _ in read)), subject=blocks)


def _starts(count: int, rows: int, length: int, stride: int) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"]]:
    """Return where windows begin, and in which block each lies."""
    within = np.arange(0, rows - length + 1, stride)
    blocks = np.repeat(np.arange(count // rows), len(within))
    return blocks * rows + np.tile(within, count // rows), blocks
