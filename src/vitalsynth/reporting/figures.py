"""Figures of real beside synthetic sequences, one small figure per channel, so that a page can lay them out anywhere.

Real is blue and synthetic vermilion everywhere (Okabe and Ito's colours, told apart with any colour vision). Every
function returns a figure and touches no global state of matplotlib.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy import ndarray

from ..sequences import Column, Schema, Sequences
from ..sequences.pictures import fold

REAL, SYNTHETIC = "#0072B2", "#D55E00"
PLAYERS = ("#009E73", "#7B3294", "#B8860B", "#444444")
MISSING = "#D9D9D9"
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#555555")

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "axes.formatter.use_mathtext": False,
    "text.parse_math": False,  # a column may be called a$b$c
    "text.usetex": False,
    "svg.fonttype": "none",
}
WIDTH = 4.7
"""Inches: at a phone's 390 pixels, 9 points are still 10 pixels high."""

Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Draw in the house style, whatever the user's own settings are, and leave those alone."""

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(STYLE)
            return draw(*args, **kwargs)

    return drawn


def _figure(height: float, columns: int = 1, **settings: Any) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, columns, squeeze=False, **settings)[0])


def clean(text: object, most: int = 48) -> str:
    """Return a text fit for a figure: one line, no control characters, not too long."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line if len(line) <= most else line[: most - 1] + "…"


def title(column: Column) -> str:
    """Return the name and unit of a column, fit for an axis."""
    return clean(column.title, 26)


def labels(column: Column) -> tuple[str, ...] | None:
    """Return the names of a column's codes; None if it is a number."""
    if column.kind == "continuous":
        return None
    return tuple(clean(c, 16) for c in column.categories) or ("0", "1")


def time_axis(sequences: Sequences) -> tuple[Float[ndarray, " length"], str]:
    """Return the time of every step and what to write below the axis."""
    schema = sequences.schema
    times = schema.start + schema.step * np.arange(sequences.length)
    return times.astype(np.float64), f"{clean(schema.time, 24)} ({clean(schema.step_unit, 12) or 'steps'})"


def pooled_pixels(sequences: Sequences) -> Sequences:
    """Return the columns of images as sequences of one channel, `pixel`: what one figure can say of 784 channels."""
    columns = np.moveaxis(fold(sequences), 1, 3)
    schema = Schema((Column("pixel"),), step_unit="", time="row")
    return Sequences(columns.reshape(-1, columns.shape[3], 1), schema)


# What is asked of the two sets together: limits, bins, scales. Real data alone decide, so that they stay legible.


def _span(values: ndarray, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    a, b = (float(q) for q in np.quantile(known, [low, high]))
    return (a, b) if b > a else (a - 0.5, b + 0.5)


def _limits(real: ndarray, synthetic: ndarray) -> tuple[float, float]:
    """Return limits that hold all real values, and synthetic ones up to one real span beyond."""
    low, high = _span(real)
    wide = high - low
    if np.isfinite(synthetic).any():
        low, high = max(low - wide, min(low, np.nanmin(synthetic))), min(high + wide, max(high, np.nanmax(synthetic)))
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def _edges(column: Column, real: ndarray, synthetic: ndarray) -> Float[ndarray, " edges"]:
    """Return bin edges that fall between recordable values, so that rounding makes no comb."""
    low, high = _span(real, 0.002, 0.998)
    wide = high - low
    if np.isfinite(synthetic).any():
        a, b = _span(synthetic, 0.002, 0.998)
        low, high = max(low - wide, min(low, a)), min(high + wide, max(high, b))
    bins = int(np.clip(2 * min(len(real), 10_000) ** (1 / 3), 12, 40))  # Rice's rule
    grain = _coarser(real, column.resolution or _grain(real))
    width = (high - low) / bins
    width = max(1, round(width / grain)) * grain if grain else width
    start = (np.floor(low / grain) - 0.5) * grain if grain else low
    return start + width * np.arange(int(np.ceil((high + grain / 2 - start) / width - 1e-6)) + 1)


def _grain(values: ndarray) -> float:
    """Return the step between neighbouring values if they are of a coarse grid, else 0."""
    unique = np.unique(values[np.isfinite(values)].astype(np.float64))
    if not 2 <= len(unique) <= 500:
        return 0.0
    gaps = np.diff(unique)
    return float(f"{gaps.min():.3g}") if gaps.min() > 1e-4 * (unique[-1] - unique[0]) else 0.0  # 0.05, not 0.0499954


def _coarser(values: ndarray, grain: float) -> float:
    """Return the coarsest grid on which seven in ten values lie: whole numbers, though some have halves.

    Zeros lie on every grid and do not count (most of a digit is black), and it stays well below the values' span.
    """
    values = values[values != 0]
    if not grain or not len(values):
        return grain
    for factor in (10, 5, 4, 2):
        aside = values / (factor * grain)
        if factor * grain < np.ptp(values) / 10 and (np.abs(aside - np.round(aside)) < 0.01).mean() >= 0.7:
            return _coarser(values, factor * grain)
    return grain


def _legend(ax: Axes) -> None:
    handles, names = ax.get_legend_handles_labels()
    ax.legend(
        handles, names, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(names), borderaxespad=0.1, handlelength=1.4
    )


def _pair_titles(axes: list[Axes]) -> None:
    for ax, name, colour in zip(axes, ("real", "synthetic"), (REAL, SYNTHETIC), strict=True):
        ax.set_title(name, color=colour)


@styled
def examples(real: Sequences, synthetic: Sequences, name: str, count: int = 6, seed: int = 0) -> Figure:
    """Draw a few real beside a few synthetic sequences of one channel, to the same scale.

    A gap is a gap; a measurement without neighbours is a dot. Those shown are drawn at random from the sequences with
    more than one measurement, if there are any.
    """
    column = real.schema.channels[real.schema.channel_index(name)]
    figure, axes = _figure(2.3, 2, sharey=True)
    times, below = time_axis(real)
    shown = [_some(s.channel(name), count, seed) for s in (real, synthetic)]
    for ax, rows, colour in zip(axes, shown, (REAL, SYNTHETIC), strict=True):
        shades = mpl.colormaps["Blues" if colour == REAL else "Oranges"](np.linspace(0.95, 0.45, max(len(rows), 1)))
        for row, shade in zip(rows, shades, strict=False):
            _line(ax, times, row, shade, column)
        ax.set_xlabel(below)
        ax.set_xlim(times[0] - 0.02 * (times[-1] - times[0] or 1), times[-1] + 0.02 * (times[-1] - times[0] or 1))
    axes[0].set_ylim(*_limits(*shown))
    axes[0].set_ylabel(title(column))
    if names := labels(column):
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(-0.4, len(names) - 0.6)
    _pair_titles(axes)
    return figure


def _some(rows: Float[ndarray, "n length"], count: int, seed: int) -> Float[ndarray, "k length"]:
    several = (~np.isnan(rows)).sum(axis=1) > 1
    rows = rows[several] if several.any() else rows
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    return rows[np.sort(chosen)].astype(np.float64)


def _line(ax: Axes, times: ndarray, row: ndarray, colour: Any, column: Column) -> None:
    step = "default" if column.kind == "continuous" else "steps-mid"
    ax.plot(times, row, color=colour, linewidth=1.1, drawstyle=step)
    known = np.pad(~np.isnan(row), 1)
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    ax.plot(times[alone], row[alone], ".", color=colour, markersize=3.5)


@styled
def heat_map(real: Sequences, synthetic: Sequences, name: str, count: int = 100, seed: int = 0) -> Figure:
    """Draw many sequences of one channel, a row each, ordered by their mean; grey is not measured.

    Both sides have the colour scale of the real values' middle 96 %.
    """
    column = real.schema.channels[real.schema.channel_index(name)]
    figure, axes = _figure(2.6, 2, sharey=True)
    times, below = time_axis(real)
    names = labels(column)
    low, high = _span(real.channel(name), 0.02, 0.98)
    colours = mpl.colormaps["viridis"]
    if names:
        low, high = -0.5, len(names) - 0.5
        colours = (
            ListedColormap(CATEGORIES[: len(names)]) if len(names) <= len(CATEGORIES) else colours.resampled(len(names))
        )
    colours = colours.with_extremes(bad=MISSING)
    half = (times[1] - times[0]) / 2 if len(times) > 1 else 0.5
    picture = None
    for ax, s in zip(axes, (real, synthetic), strict=True):
        rows = _ordered(s.channel(name), count, seed)
        extent = (times[0] - half, times[-1] + half, len(rows), 0)
        picture = ax.imshow(
            rows, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high, extent=extent
        )
        ax.set_xlabel(below)
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel(f"{min(count, len(real))} sequences")
    bar = figure.colorbar(picture, ax=axes, label=title(column), pad=0.02, aspect=24)  # type: ignore[arg-type]
    bar.outline.set_visible(False)  # type: ignore[operator]
    if names:
        bar.set_ticks(list(range(len(names))), labels=list(names))
    _pair_titles(axes)
    return figure


def _ordered(rows: Float[ndarray, "n length"], count: int, seed: int) -> Float[ndarray, "k length"]:
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    rows = rows[chosen].astype(np.float64)
    known = ~np.isnan(rows)
    sums, counts = np.where(known, rows, 0.0).sum(axis=1), known.sum(axis=1)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    return rows[np.argsort(means, kind="stable")]


@styled
def marginal(real: Sequences, synthetic: Sequences, name: str) -> Figure:
    """Draw how the values of one channel or static column are distributed, real and synthetic in one plot."""
    schema = real.schema
    is_channel = any(column.name == name for column in schema.channels)
    column = schema.channels[schema.channel_index(name)] if is_channel else schema.statics[schema.static_index(name)]
    values = [s.channel(name) if is_channel else s.static_column(name) for s in (real, synthetic)]
    known = [v[~np.isnan(v)].astype(np.float64) for v in values]
    figure, (ax,) = _figure(2.1)
    if names := labels(column):
        _bars(ax, known, names)
    else:
        _histograms(ax, known, column)
    ax.set_title(clean(column.name, 24))
    ax.set_xlabel(clean(column.unit, 24))
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.3g} %"))
    _legend(ax)
    return figure


def _bars(ax: Axes, known: list[ndarray], names: tuple[str, ...]) -> None:
    positions = np.arange(len(names))
    for values, label, colour, aside in zip(known, ("real", "synthetic"), (REAL, SYNTHETIC), (-0.2, 0.2), strict=True):
        counts = np.bincount(values.astype(np.int64).clip(0, len(names) - 1), minlength=len(names))
        ax.bar(positions + aside, 100 * counts / max(len(values), 1), 0.38, color=colour, label=label)
    shown = positions[:: -(-len(names) // 12)]
    long = sum(len(names[j]) for j in shown) > 40
    ax.set_xticks(shown, [names[j] for j in shown], rotation=30 if long else 0, ha="right" if long else "center")


def _histograms(ax: Axes, known: list[ndarray], column: Column) -> None:
    edges = _edges(column, *known)
    inside = np.nextafter(edges[-1], -np.inf)
    for values, label, colour in zip(known, ("real", "synthetic"), (REAL, SYNTHETIC), strict=True):
        counts, _ = np.histogram(values.clip(edges[0], inside), edges)  # what lies beyond is counted in the outer bins
        shares = 100 * counts / max(len(values), 1)
        ax.stairs(shares, edges, fill=True, color=colour, alpha=0.18)
        ax.stairs(shares, edges, color=colour, linewidth=1.3, label=label)


@styled
def autocorrelation(real: Sequences, synthetic: Sequences, name: str, most: int = 48) -> Figure:
    """Draw how strongly a value goes with the one so many steps later, over all pairs of which both are measured."""
    column = real.schema.channels[real.schema.channel_index(name)]
    figure, (ax,) = _figure(2.1)
    unit = clean(real.schema.step_unit, 12)
    for s, label, colour in zip((real, synthetic), ("real", "synthetic"), (REAL, SYNTHETIC), strict=True):
        correlations = lagged_correlations(s.channel(name), most)
        lags = real.schema.step * np.arange(len(correlations))
        style = ".-" if len(lags) <= 32 else "-"
        ax.plot(lags, correlations, style, color=colour, label=label, linewidth=1.3, markersize=4)
    ax.axhline(0, color="#999999", linewidth=0.8)
    ax.set_ylim(top=1.05)
    ax.set_xlabel(f"lag ({unit or 'steps'})")
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=real.schema.step == 1))
    ax.set_title(clean(column.name, 24))
    _legend(ax)
    return figure


def lagged_correlations(rows: Float[ndarray, "n length"], most: int = 48) -> Float[ndarray, " lags"]:
    """Return the correlation of x(t) with x(t + k) for k = 0, 1, ..., over all sequences and t with both measured.

    At most `most` lags, and none of which the sequences are not twice as long; NaN with fewer than 10 pairs, or
    where nothing varies.
    """
    rows = rows.astype(np.float64)
    out = np.full(min(most, rows.shape[1] // 2) + 1, np.nan)
    for lag in range(len(out)):
        now, later = rows[:, : rows.shape[1] - lag].ravel(), rows[:, lag:].ravel()
        both = ~np.isnan(now) & ~np.isnan(later)
        if both.sum() >= 10:
            x, y = now[both] - now[both].mean(), later[both] - later[both].mean()
            size = np.sqrt((x * x).sum() * (y * y).sum())
            out[lag] = (x * y).sum() / size if size > 1e-12 * both.sum() else np.nan
    return out


@styled
def measured(real: Sequences, synthetic: Sequences, name: str) -> Figure:
    """Draw at each time the share of running sequences in which one channel was measured."""
    figure, (ax,) = _figure(1.9)
    times, below = time_axis(real)
    for s, label, colour in zip((real, synthetic), ("real", "synthetic"), (REAL, SYNTHETIC), strict=True):
        running = s.alive.sum(axis=0)
        share = np.where(running > 0, (~np.isnan(s.channel(name))).sum(axis=0) / np.maximum(running, 1), np.nan)
        ax.plot(times, 100 * share, color=colour, label=label, linewidth=1.3)
    ax.set_title(clean(name, 24))
    _percent_axis(ax, below, "measured")
    _legend(ax)
    return figure


@styled
def running(real: Sequences, synthetic: Sequences) -> Figure:
    """Draw at each time the share of sequences that have not ended."""
    figure, (ax,) = _figure(1.9)
    times, below = time_axis(real)
    for s, label, colour in zip((real, synthetic), ("real", "synthetic"), (REAL, SYNTHETIC), strict=True):
        ax.step(times, 100 * s.alive.mean(axis=0), where="mid", color=colour, label=label, linewidth=1.3)
    ax.set_title("length")
    _percent_axis(ax, below, "still running")
    _legend(ax)
    return figure


def _percent_axis(ax: Axes, below: str, beside: str) -> None:
    ax.set_ylim(-3, 103)
    ax.set_yticks([0, 50, 100], ["0 %", "50 %", "100 %"])
    ax.set_xlabel(below)
    ax.set_ylabel(beside)


def terms(log: pd.DataFrame) -> dict[str, list[str]]:
    """Group the numeric columns of a log by what they measure: `r1` -> `discriminator.r1`, `generator.r1`."""
    groups: dict[str, list[str]] = {}
    for column in map(str, log.select_dtypes("number").columns):
        if column != "step" and np.isfinite(numbers(log, column)).any():
            groups.setdefault(column.rpartition(".")[2], []).append(column)
    return groups


def numbers(log: pd.DataFrame, column: str) -> Float[ndarray, " rows"]:
    """Return a column of a log; NaN where a row has none."""
    return np.asarray(log[column].astype(np.float64))


@styled
def learning(log: pd.DataFrame, columns: Iterable[str], term: str = "") -> Figure:
    """Draw columns of a log over the steps: a smooth line over the faint raw one.

    The smooth line is a mean over a fiftieth of the rows. The axis is logarithmic where all is positive and spans a
    factor of 100.
    """
    figure, (ax,) = _figure(2.3)
    drawn: list[ndarray] = []
    for column, colour in zip(columns, PLAYERS * 8, strict=False):
        values = numbers(log, column)
        known = np.isfinite(values)
        steps, values = numbers(log, "step")[known], values[known]
        window = max(1, len(values) // 50)
        smooth = np.asarray(pd.Series(values).rolling(window, center=True, min_periods=1).mean())
        thin = slice(None, None, -(-len(values) // 1000) or 1)
        player = clean(column.rpartition(".")[0] or column, 24)
        ax.plot(steps[thin], values[thin], color=colour, alpha=0.25, linewidth=0.7)
        ax.plot(steps[thin], smooth[thin], color=colour, linewidth=1.5, label=player)
        drawn.append(smooth)
    together = np.concatenate(drawn) if drawn else np.zeros(0)
    if len(together) and together.min() > 0 and together.max() > 100 * together.min():
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.yaxis.set_minor_formatter(FuncFormatter(lambda v, _: ""))
    ax.set_title(clean(term.replace("_", " "), 24))
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend(ax)
    return figure


@styled
def cohort(sequences: Sequences, count: int = 8, seed: int = 0, most: int = 16) -> Figure:
    """Draw a few sequences of every channel (16 at most), or images as a mosaic."""
    if sequences.schema.image is not None:
        return mosaic(sequences, pixel_span(sequences))
    channels = sequences.schema.channels[:most]
    columns = min(3, len(channels))
    rows = -(-len(channels) // columns)
    figure = Figure(figsize=(WIDTH * columns, 2.1 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    times, below = time_axis(sequences)
    for ax, column in zip(axes, channels, strict=False):
        drawn = _some(sequences.channel(column.name), count, seed)
        for row, shade in zip(drawn, mpl.colormaps["Blues"](np.linspace(0.95, 0.4, len(drawn))), strict=True):
            _line(ax, times, row, shade, column)
        ax.set_title(title(column))
        if names := labels(column):
            ax.set_yticks(range(len(names)), names)
    for ax in axes[len(channels) :]:
        ax.set_axis_off()
    for ax in axes[max(0, len(channels) - columns) : len(channels)]:
        ax.set_xlabel(below)
    return figure


@styled
def mosaic(sequences: Sequences, span: tuple[float, float], count: int = 48, seed: int = 0, columns: int = 8) -> Figure:
    """Draw sequences as the images they are; `span` says what is black and what is white."""
    chosen = np.random.default_rng(seed).permutation(len(sequences))[:count]
    drawn = fold(sequences.take(chosen)).astype(np.float64)
    drawn = np.nan_to_num((drawn - span[0]) / (span[1] - span[0]), nan=0.0).clip(0, 1)
    _, height, width, colours = drawn.shape
    columns = max(1, min(columns, len(chosen)))
    rows = -(-len(chosen) // columns)
    edge = max(1, width // 14)
    sheet = np.ones((rows * (height + edge), columns * (width + edge), colours))
    for k, picture in enumerate(drawn):
        top, left = (k // columns) * (height + edge), (k % columns) * (width + edge)
        sheet[top : top + height, left : left + width] = picture
    sheet = sheet[:-edge, :-edge] if rows else np.ones((1, 1, colours))
    figure = Figure(figsize=(WIDTH, WIDTH * sheet.shape[0] / sheet.shape[1]))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.imshow(sheet[..., 0] if colours == 1 else sheet[..., :3], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return figure


def pixel_span(real: Sequences) -> tuple[float, float]:
    """Return what is black and what is white, for real and synthetic images alike."""
    return _span(real.values, 0.001, 0.999)


def some(sequences: Sequences, most: int, seed: int = 0) -> Sequences:
    """Return at most so many sequences, drawn at random."""
    if len(sequences) <= most:
        return sequences
    return sequences.take(np.sort(np.random.default_rng(seed).permutation(len(sequences))[:most]))
