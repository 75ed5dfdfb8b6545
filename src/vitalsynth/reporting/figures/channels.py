"""One channel, or all of a cohort."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy import ndarray

from ...sequences import Column, Schema, Sequences
from .images import mosaic, pixel_span
from .limits import axis_limits, bin_edges, span
from .style import CATEGORIES, MISSING, REAL, SYNTHETIC, WIDTH, blank, clean, labels, legend, pair_titles, styled, title

MOST = 16
"""Channels that are drawn together."""
PAIR = (("real", REAL, -0.2), ("synthetic", SYNTHETIC, 0.2))
INK = "#30363c"
"""Of what is neither shown as real nor as synthetic."""


def time_axis(sequences: Sequences) -> tuple[Float[ndarray, " length"], str]:
    """Return the time of every step and what to write below the axis."""
    schema = sequences.schema
    if schema.gap is not None:
        return np.arange(sequences.length, dtype=np.float64), "event"
    times = schema.start + schema.step * np.arange(sequences.length)
    unit = clean(schema.step_unit, 12) or ("steps" if schema.time == Schema.time else "")  # "hour" says it itself
    return times.astype(np.float64), f"{clean(schema.time, 24)} ({unit})" if unit else clean(schema.time, 24)


@styled
def examples(real: Sequences, synthetic: Sequences, name: str, count: int = 6, seed: int = 0) -> Figure:
    """Draw a few real beside a few synthetic sequences of one channel, to the same scale.

    A gap is a gap; a measurement without neighbours is a dot. Those shown are drawn at random from the sequences with
    more than one measurement, if there are any.
    """
    column = real.schema.channels[real.schema.channel_index(name)]
    figure, axes = blank(2.3, 2, sharey=True)
    times, below = time_axis(real)
    shown = [_some(s.channel(name), count, seed) for s in (real, synthetic)]
    for ax, rows, colour in zip(axes, shown, (REAL, SYNTHETIC), strict=True):
        shades = mpl.colormaps["Blues" if colour == REAL else "Oranges"](np.linspace(0.95, 0.45, max(len(rows), 1)))
        for row, shade in zip(rows, shades, strict=False):
            _line(ax, times, row, shade, column)
        ax.set_xlabel(below)
        ax.set_xlim(times[0] - 0.02 * (times[-1] - times[0] or 1), times[-1] + 0.02 * (times[-1] - times[0] or 1))
    axes[0].set_ylim(*axis_limits(*shown))
    axes[0].set_ylabel(title(column))
    if names := labels(column):
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(-0.4, len(names) - 0.6)
    pair_titles(axes)
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
    figure, axes = blank(2.6, 2, sharey=True)
    times, below = time_axis(real)
    names = labels(column)
    low, high = span(real.channel(name), 0.02, 0.98)
    colours = mpl.colormaps["viridis"]
    if names:
        low, high = -0.5, len(names) - 0.5
        colours = (
            ListedColormap(CATEGORIES[: len(names)]) if len(names) <= len(CATEGORIES) else colours.resampled(len(names))
        )
    colours = colours.with_extremes(bad=MISSING)
    half = (times[1] - times[0]) / 2 if len(times) > 1 else 0.5
    picture = None
    count = min(count, len(real), len(synthetic))  # rows are as high on both sides
    for ax, s in zip(axes, (real, synthetic), strict=True):
        rows = _ordered(s.channel(name), count, seed)
        extent = (times[0] - half, times[-1] + half, len(rows), 0)
        picture = ax.imshow(
            rows, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high, extent=extent
        )
        ax.set_xlabel(below)
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.set_ylabel(f"{count} of {len(s):,} sequences")
    bar = figure.colorbar(picture, ax=axes, label=title(column), pad=0.02, aspect=24)  # type: ignore[arg-type]
    bar.outline.set_visible(False)  # type: ignore[operator]
    if names:
        bar.set_ticks(list(range(len(names))), labels=list(names))
    pair_titles(axes)
    return figure


def _ordered(rows: Float[ndarray, "n length"], count: int, seed: int) -> Float[ndarray, "k length"]:
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    rows = rows[chosen].astype(np.float64)
    known = ~np.isnan(rows)
    sums, counts = np.where(known, rows, 0.0).sum(axis=1), known.sum(axis=1)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    return rows[np.argsort(means, kind="stable")]


@styled
def marginal(real: Sequences | None, synthetic: Sequences, name: str) -> Figure:
    """Draw how the values of one channel or static column are distributed, real and synthetic in one plot.

    Without real sequences nothing of these is used, not even for limits and bins.
    """
    schema = synthetic.schema
    is_channel = any(column.name == name for column in schema.channels)
    column = schema.channels[schema.channel_index(name)] if is_channel else schema.statics[schema.static_index(name)]
    shown = [s for s in (real, synthetic) if s is not None]
    values = [s.channel(name) if is_channel else s.static_column(name) for s in shown]
    known = [v[~np.isnan(v)].astype(np.float64) for v in values]
    figure, (ax,) = blank(2.1)
    if names := labels(column):
        _bars(ax, known, names)
    else:
        _histograms(ax, known, column)
    ax.set_title(clean(column.name, 24))
    ax.set_xlabel(clean(column.unit, 24))
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.3g} %"))
    legend(ax)
    return figure


def _bars(ax: Axes, known: list[ndarray], names: tuple[str, ...]) -> None:
    positions = np.arange(len(names))
    for values, (label, colour, aside) in zip(known, PAIR[-len(known) :], strict=True):
        counts = np.bincount(values.astype(np.int64).clip(0, len(names) - 1), minlength=len(names))
        ax.bar(
            positions + aside * (len(known) > 1), 100 * counts / max(len(values), 1), 0.38, color=colour, label=label
        )
    shown = positions[:: -(-len(names) // 12)]
    long = sum(len(names[j]) for j in shown) > 40
    ax.set_xticks(shown, [names[j] for j in shown], rotation=30 if long else 0, ha="right" if long else "center")


def _histograms(ax: Axes, known: list[ndarray], column: Column) -> None:
    edges = bin_edges(column, known[0], known[-1])
    inside = np.nextafter(edges[-1], -np.inf)
    for values, (label, colour, _) in zip(known, PAIR[-len(known) :], strict=True):
        counts, _ = np.histogram(values.clip(edges[0], inside), edges)  # what lies beyond is counted in the outer bins
        shares = 100 * counts / max(len(values), 1)
        ax.stairs(shares, edges, fill=True, color=colour, alpha=0.18)
        ax.stairs(shares, edges, color=colour, linewidth=1.3, label=label)


@styled
def autocorrelation(real: Sequences, synthetic: Sequences, name: str, most: int = 48) -> Figure:
    """Draw how strongly a value goes with the one so many steps later, over all pairs of which both are measured."""
    column = real.schema.channels[real.schema.channel_index(name)]
    figure, (ax,) = blank(2.1)
    unit = clean(real.schema.step_unit, 12) if real.schema.gap is None else "events"
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
    legend(ax)
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
    figure, (ax,) = blank(1.9)
    times, below = time_axis(real)
    for s, label, colour in zip((real, synthetic), ("real", "synthetic"), (REAL, SYNTHETIC), strict=True):
        running = s.alive.sum(axis=0)
        share = np.where(running > 0, (~np.isnan(s.channel(name))).sum(axis=0) / np.maximum(running, 1), np.nan)
        ax.plot(times, 100 * share, color=colour, label=label, linewidth=1.3)
    ax.set_title(clean(name, 24))
    _percent_axis(ax, below, "measured")
    legend(ax)
    return figure


@styled
def running(real: Sequences, synthetic: Sequences) -> Figure:
    """Draw at each time the share of sequences that have not ended."""
    figure, (ax,) = blank(1.9)
    times, below = time_axis(real)
    for s, label, colour in zip((real, synthetic), ("real", "synthetic"), (REAL, SYNTHETIC), strict=True):
        ax.step(times, 100 * s.alive.mean(axis=0), where="mid", color=colour, label=label, linewidth=1.3)
    ax.set_title("length")
    _percent_axis(ax, below, "still running")
    legend(ax)
    return figure


def _percent_axis(ax: Axes, below: str, beside: str) -> None:
    ax.set_ylim(-3, 103)
    ax.set_yticks([0, 50, 100], ["0 %", "50 %", "100 %"])
    ax.set_xlabel(below)
    ax.set_ylabel(beside)


@styled
def cohort(sequences: Sequences, count: int = 8, seed: int = 0, most: int = MOST) -> Figure:
    """Draw a few sequences of every channel (16 at most), or images as a mosaic."""
    if sequences.schema.image is not None:
        return mosaic(sequences, pixel_span(sequences))
    figure, axes = _panels(sequences, most)
    times, _ = time_axis(sequences)
    for name, ax in axes.items():
        column = sequences.schema.channels[sequences.schema.channel_index(name)]
        drawn = _some(sequences.channel(name), count, seed)
        for row, shade in zip(drawn, mpl.colormaps["Blues"](np.linspace(0.95, 0.4, len(drawn))), strict=True):
            _line(ax, times, row, shade, column)
    return figure


def _panels(sequences: Sequences, most: int) -> tuple[Figure, dict[str, Axes]]:
    """Return an empty figure with a panel for each of the first channels, and the panels by channel."""
    channels = sequences.schema.channels[:most]
    columns = min(3, len(channels))
    rows = -(-len(channels) // columns)
    figure = Figure(figsize=(WIDTH * columns, 2.1 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    below = time_axis(sequences)[1]
    for ax, column in zip(axes, channels, strict=False):
        ax.set_title(title(column))
        if names := labels(column):
            ax.set_yticks(range(len(names)), names)
    for ax in axes[len(channels) :]:
        ax.set_axis_off()
    for ax in axes[max(0, len(channels) - columns) : len(channels)]:
        ax.set_xlabel(below)
    return figure, {column.name: ax for column, ax in zip(channels, axes, strict=False)}


Limits = dict[str, tuple[float, float]]


def views(schema: Schema) -> tuple[str, ...]:
    """Return how sequences of a schema can be seen by `snapshot`."""
    return ("images",) if schema.image is not None else ("signals", "heat-map")


def limits_of(sequences: Sequences) -> Limits:
    """Return the limits of each channel for `snapshot`, which leave out the most extreme half percent."""
    if sequences.schema.image is not None:
        return {"pixel": pixel_span(sequences)}
    return {column.name: span(sequences.channel(column.name), 0.0025, 0.9975) for column in sequences.schema.channels}


@styled
def snapshot(synthetic: Sequences, view: str, limits: Limits | None = None, most: int = MOST) -> Figure:
    """Draw the first of some sequences, in their order, so that figures of one noise can be laid over each other.

    Args:
        synthetic: What a fixed noise became.
        view: One of `views`.
        limits: Of the values of each channel, from `limits_of`; by default those of these sequences.
        most: Channels that are drawn.
    """
    limits = limits or limits_of(synthetic)
    if view == "images":
        return mosaic(synthetic, limits["pixel"])
    figure, axes = _panels(synthetic, most)
    times, _ = time_axis(synthetic)
    for name, ax in axes.items():
        column, values, (low, high) = (
            synthetic.schema.channels[synthetic.schema.channel_index(name)],
            synthetic.channel(name),
            limits[name],
        )
        if view == "signals":
            for row, shade in zip(values[:6], mpl.colormaps["Oranges"](np.linspace(0.95, 0.4, 6)), strict=False):
                _line(ax, times, row, shade, column)
            margin = 0.04 * (high - low)
            ax.set_ylim(low - margin, high + margin)
        else:
            extent = (times[0], times[-1] + synthetic.schema.step, len(values), 0)
            colours = mpl.colormaps["viridis"].with_extremes(bad=MISSING)
            ax.imshow(values, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high, extent=extent)
            ax.set_yticks([])
    return figure


@styled
def blind(sequences: Sequences, limits: Limits, most: int = 4) -> Figure:
    """Draw one sequence so that nothing but its values tells whose it is.

    Args:
        sequences: Of which the first is drawn.
        limits: Of the values of each channel, from `limits_of` of real ones, the same for all that are compared.
        most: Channels that are drawn.
    """
    if sequences.schema.image is not None:
        return mosaic(sequences, limits["pixel"], count=1)
    channels = sequences.schema.channels[:most]
    columns = min(2, len(channels))
    rows = -(-len(channels) // columns)
    height = 1.5 * rows + 0.35
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(0.13, 0.5 / height, 0.97, 1 - 0.28 / height, wspace=0.3, hspace=0.55)
    times, below = time_axis(sequences)
    for ax, column in zip(figure.subplots(rows, columns, squeeze=False).ravel(), channels, strict=False):
        _line(ax, times, sequences.channel(column.name)[0], INK, column)
        low, high = limits[column.name]
        margin = 0.25 * (high - low) or 1.0  # what is beyond is to be seen, too
        ax.set_ylim(low - margin, high + margin)
        ax.set_xlim(times[0] - 0.5, times[-1] + 0.5)
        if names := labels(column):
            ax.set_yticks(range(len(names)), names)
        ax.set_title(title(column))
    for ax in figure.axes[len(channels) :]:
        ax.set_axis_off()
    for ax in figure.axes[max(0, len(channels) - columns) : len(channels)]:
        ax.set_xlabel(below)
    return figure


def some(sequences: Sequences, most: int, seed: int = 0) -> Sequences:
    """Return at most so many sequences, drawn at random."""
    if len(sequences) <= most:
        return sequences
    return sequences.take(np.sort(np.random.default_rng(seed).permutation(len(sequences))[:most]))
