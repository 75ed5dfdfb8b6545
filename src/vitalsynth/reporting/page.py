"""The page: one HTML file with everything in it, for a desk or a phone, that needs no network and no script."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from ..evaluation.scorecard import number
from ..evaluation.verdicts import Told, told
from ..monitoring.anatomy import Anatomy
from ..sequences import Schema, Sequences
from ..sequences.pictures import reading
from ..storage import atomic_path
from . import figures

CHANNELS = 12
"""Most channels, and most static columns, that are drawn."""
SEQUENCES = 2000
"""Most sequences of each set that figures are computed from."""
SMALL = 40_000
"""A vector figure of fewer bytes is not worth comparing with its picture in pixels."""


@dataclass(frozen=True)
class Picture:
    """A figure as it is put into the page.

    Args:
        uri: The figure itself, as a `data:` address.
        alt: What it shows, for those who do not see it.
        width: In pixels, as drawn at its natural size.
        height: In pixels.
        caption: `real` or `synthetic` where the figure itself does not say so.
        figure: From which it was made.
        name: Of the column, the term or the set that it is of; that of its file.
    """

    uri: str
    alt: str
    width: int
    height: int
    caption: str = ""
    figure: Figure | None = field(default=None, compare=False, repr=False)
    name: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, a sentence or two, and figures.

    Args:
        id: Its anchor.
        title: Its heading.
        lead: What is seen and how to read it.
        pictures: Figures, if there are any.
        left_out: What was not drawn, or empty.
    """

    id: str
    title: str
    lead: str
    pictures: tuple[Picture, ...] = ()
    left_out: str = ""


def write(
    path: str | Path,
    *,
    title: str,
    asked: Mapping[str, Any],
    log: pd.DataFrame | None,
    real: Sequences | None,
    synthetic: Sequences,
    scores: Sequence[dict[str, Any]],
    notes: Sequence[str] = (),
    networks: Mapping[str, Anatomy] | None = None,
    cost: str = "",
    figures_in: str | Path = "",
) -> None:
    """Write a report on synthetic sequences as one self-contained HTML file, whole or not at all.

    Args:
        path: Where to.
        title: Its heading.
        asked: What was asked for, nested as you like.
        log: Rows of training: `step`, and numbers by player and term, `discriminator.r1`; None if there are none.
        real: What the synthetic sequences are shown beside; None for a page that shows nothing of real people but
            scores and what training wrote down, which are of all of them.
        synthetic: Of the same schema.
        scores: Rows of `evaluation.evaluate`.
        notes: Sentences for the top of the page.
        networks: What each player is made of.
        cost: What they cost, in words.
        figures_in: Folder in which every figure is written, too, as .pdf and .png; none if empty.

    Raises:
        ValueError: if there is no real or no synthetic sequence, or their columns or lengths differ.
        OSError: if the file cannot be written.
    """
    _check(synthetic if real is None else real, synthetic)
    beside = "" if real is None else f"{len(real):,} real and "
    counts = f"{beside}{len(synthetic):,} synthetic sequences of {synthetic.length} steps"
    names = len(synthetic.schema.channels), len(synthetic.schema.statics)
    counts += f", {names[0]} channel{'s' * (names[0] != 1)}, {names[1]} static column{'s' * (names[1] != 1)}"
    made = figures.some(synthetic, SEQUENCES)
    sections = [
        *(_without_real(made) if real is None else _sections(figures.some(real, SEQUENCES), made)),
        _learning(log),
        *([_networks(networks, cost)] if networks else []),
    ]
    page = (
        environment()
        .get_template("page.html")
        .render(
            title=title,
            counts=counts,
            notes=list(notes),
            asked=list(flat(asked)),
            scores=[_score(row, one) for row, one in zip(scores, told(scores), strict=True)],
            sections=sections,
            real_colour=figures.REAL,
            synthetic_colour=figures.SYNTHETIC,
        )
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    if str(figures_in):
        _write_figures(Path(figures_in), sections)


def _write_figures(folder: Path, sections: Sequence[Section]) -> None:
    """Write every figure as vectors and as pixels, named by its section and what it shows: marginals-hr.pdf."""
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    for section in sections:
        for place, picture in enumerate(section.pictures, 1):
            shown = re.sub(r"[^a-z0-9]+", "-", picture.name.lower()).strip("-")[:60] or str(place)
            name = f"{section.id}-{shown}"
            name += f"-{place}" * (name in names)
            names.append(name)
            for kind, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
                with atomic_path(folder / f"{name}.{kind}") as temporary, mpl.rc_context(), warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="Glyph .* missing from font")
                    mpl.rcParams.update({**figures.STYLE, "pdf.fonttype": 42})
                    assert picture.figure is not None
                    temporary.write_bytes(_saved(picture.figure, kind, dpi=300, metadata=metadata))


def environment() -> Environment:
    """Return where the templates of pages are found."""
    loader = PackageLoader("vitalsynth", "reporting")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def _check(real: Sequences, synthetic: Sequences) -> None:
    for what, sequences in (("real", real), ("synthetic", synthetic)):
        if not len(sequences):
            raise ValueError(f"there is no {what} sequence to show; a report needs at least 1")
    ours, theirs = ([(c.name, c.kind, c.categories) for c in s.schema.columns] for s in (real, synthetic))
    if ours != theirs or real.length != synthetic.length:
        raise ValueError(
            f"real and synthetic sequences must have the same columns and steps: {len(ours)} columns of {real.length} "
            f"steps against {len(theirs)} of {synthetic.length}"
        )


def flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Spell out a nested record as pairs of texts, `generator.hidden` and `64`; what is None or empty is left out."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif value is not None and not (isinstance(value, str | list | tuple) and not len(value)):
            yield f"{prefix}{name}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _score(row: dict[str, Any], one: Told) -> dict[str, str]:
    interval = lambda low, high: "" if low is None or high is None else f"[{number(low)}, {number(high)}]"  # noqa: E731
    return {
        "metric": str(row["metric"]),
        "value": number(row["value"]),
        "interval": interval(row["low"], row["high"]),
        "floor": number(row["floor"]),
        "floor_interval": interval(row["floor_low"], row["floor_high"]),
        "baseline": number(row["baseline"]),
        "verdict": one.words[:1].upper() + one.words[1:],
        "tone": one.tone,
        "about": str(row["about"]),
    }


def embed(figure: Figure, alt: str, name: str = "") -> Picture:
    """Return a figure as vectors or as pixels, whichever is smaller, in a `data:` address.

    It stays vectors where our font lacks a letter: the reader's browser will have one.
    """
    with mpl.rc_context(), warnings.catch_warnings(record=True) as told:
        mpl.rcParams.update({**figures.STYLE, "svg.hashsalt": "vitalsynth"})
        warnings.filterwarnings("ignore")
        warnings.filterwarnings("always", message="Glyph .* missing from font")
        data, kind = _saved(figure, "svg", metadata={"Date": None}), "svg+xml"
        if len(data) > SMALL and not told:
            pixels = _saved(figure, "png", dpi=160, metadata={"Software": None})
            data, kind = (pixels, "png") if len(pixels) < len(data) else (data, kind)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(
        f"data:image/{kind};base64,{base64.b64encode(data).decode()}", alt, width, height, figure=figure, name=name
    )


def _saved(figure: Figure, kind: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **settings)
    return buffer.getvalue()


def _without_real(synthetic: Sequences) -> Iterator[Section]:
    """Yield what can be shown of synthetic sequences to those who may not see real ones.

    Distributions of real values are left out, too: a bar of one patient is that patient.
    """
    views = [
        (v, embed(figures.snapshot(synthetic.take(slice(100)), v), f"Synthetic sequences, as {v}", v))
        for v in figures.views(synthetic.schema)
    ]
    yield Section(
        "sequences",
        "Synthetic sequences",
        "A few of each channel. Real sequences are not shown, nor distributions of their values; how far these are "
        "from them is in the scores.",
        tuple(replace(picture, caption="synthetic") for _, picture in views),
    )
    if synthetic.schema.image is None:
        yield _marginals(None, synthetic, [column.name for column in synthetic.schema.channels])


def _sections(real: Sequences, synthetic: Sequences) -> Iterator[Section]:
    if real.schema.image is None:
        yield from _sequence_sections(real, synthetic)
    else:
        yield from _image_sections(real, synthetic)
    yield _gaps(real, synthetic)


def _networks(networks: Mapping[str, Anatomy], cost: str) -> Section:
    return Section(
        "networks",
        "Networks",
        "What flows from what a network is given to what it makes, with the class and the parameters of each part; "
        f"sizes are of one sequence. Dashed is what goes back for the next step. {cost}",
        tuple(
            replace(
                embed(figures.anatomy(one), f"Parts of the {player} and what flows between them", player),
                caption=player,
            )
            for player, one in networks.items()
        ),
    )


def _left_out(names: Sequence[str], what: str) -> str:
    more = len(names) - CHANNELS
    return f"{more} more {what} {'is' if more == 1 else 'are'} not drawn." if more > 0 else ""


def _each(names: Sequence[str], draw: Callable[[str], Figure], alt: str) -> tuple[Picture, ...]:
    """Draw a figure for each of the first names."""
    return tuple(embed(draw(name), alt.format(name), name) for name in names[:CHANNELS])


def _sequence_sections(real: Sequences, synthetic: Sequences) -> Iterator[Section]:
    channels = [column.name for column in real.schema.channels]
    yield Section(
        "sequences",
        "Sequences side by side",
        "A few sequences of each set, drawn at random, to the same scale. Where a line breaks, nothing was measured; "
        "a dot is a measurement without neighbours. Those on the left are real people's: show this page only to those "
        "who may see the data.",
        _each(channels, lambda name: figures.examples(real, synthetic, name), "{}: a few real and synthetic sequences"),
        _left_out(channels, "channels"),
    )
    yield Section(
        "heat-maps",
        "Heat maps",
        "A row is a sequence, time runs to the right, and grey is not measured. Rows are ordered by their mean; both "
        "sides have the same colours, set by the real values.",
        _each(channels, lambda name: figures.heat_map(real, synthetic, name), "{}: heat maps of many sequences"),
        _left_out(channels, "channels"),
    )
    yield _marginals(real, synthetic, channels)
    if real.length > 1:
        yield Section(
            "autocorrelation",
            "Autocorrelation",
            "How strongly a value goes with the one some time later: 1 is perfectly, 0 not at all. Over all pairs of "
            "which both are measured.",
            _each(channels, lambda name: figures.autocorrelation(real, synthetic, name), "{}: autocorrelation by lag"),
            _left_out(channels, "channels"),
        )
    else:
        yield Section("autocorrelation", "Autocorrelation", "The sequences have but one step, so there is none.")


def _marginals(real: Sequences | None, synthetic: Sequences, channels: Sequence[str]) -> Section:
    shown = [s for s in (real, synthetic) if s is not None]
    statics = [column.name for column in synthetic.schema.statics if _known(shown[0], column.name)]
    always = {name: value for name in statics if (value := _always(shown, name))}
    statics = [name for name in statics if name not in always]
    draw = lambda name: figures.marginal(real, synthetic, name)  # noqa: E731
    constant = " ".join(f"{name} is always {value}." for name, value in always.items())
    left_out = f"{_left_out(channels, 'channels')} {_left_out(statics, 'static columns')} {constant}".strip()
    return Section(
        "marginals",
        "Marginals",
        "How often each value occurs, over all times; then the columns that belong to a whole sequence."
        + (" What lies far beyond the real values is counted in the outermost bar." if real is not None else ""),
        _each(channels, draw, "{}: distribution of values") + _each(statics, draw, "{}: distribution over sequences"),
        left_out,
    )


def _always(several: Sequence[Sequences], static: str) -> str:
    """Return the one value that a static column has in all sequences; nothing if it has several."""
    values = np.unique(np.concatenate([s.static_column(static) for s in several]))
    values = values[~np.isnan(values)]
    if len(values) != 1:
        return ""
    schema = several[0].schema
    categories = schema.statics[schema.static_index(static)].categories
    return str(categories[int(values[0])]) if categories else f"{values[0]:g}"


def _known(sequences: Sequences, static: str) -> bool:
    return bool((~np.isnan(sequences.static_column(static))).any())


def _image_sections(real: Sequences, synthetic: Sequences) -> Iterator[Section]:
    span = figures.pixel_span(real)
    mosaics = [
        replace(embed(figures.mosaic(s, span), f"{min(48, len(s))} {what} images", what), caption=what)
        for s, what in ((real, "real"), (synthetic, "synthetic"))
    ]
    yield Section(
        "sequences",
        "Sequences side by side",
        f"Each sequence is an image, read {reading(real.schema)}. Those shown are drawn at random, with the "
        "same black and white. "
        "The real ones are the data themselves: show this page only to those who may see them.",
        tuple(mosaics),
    )
    pooled = figures.pooled_pixels(figures.some(real, 500)), figures.pooled_pixels(figures.some(synthetic, 500))
    statics = [column.name for column in real.schema.statics if _known(real, column.name)]
    yield Section(
        "marginals",
        "Marginals",
        "How often each brightness occurs, over all pixels; then the columns that belong to a whole image.",
        (
            embed(figures.marginal(*pooled, "pixel"), "Distribution of pixel values"),
            *_each(statics, lambda name: figures.marginal(real, synthetic, name), "{}: distribution over images"),
        ),
        _left_out(statics, "static columns"),
    )
    yield Section(
        "autocorrelation",
        "Autocorrelation",
        "How strongly a pixel goes with the one some rows below: 1 is perfectly, 0 not at all.",
        (embed(figures.autocorrelation(*pooled, "pixel"), "Autocorrelation down the columns of the images"),),
    )


def _gaps(real: Sequences, synthetic: Sequences) -> Section:
    def with_gaps(schema: Schema) -> list[str]:
        missing = [np.isnan(s.values) & s.alive[..., None] for s in (real, synthetic)]
        any_missing = np.any([m.any(axis=(0, 1)) for m in missing], axis=0)
        return [column.name for column, gaps in zip(schema.channels, any_missing, strict=True) if gaps]

    names = with_gaps(real.schema)
    varying = any(bool((s.lengths < s.length).any()) for s in (real, synthetic))
    lead = "In how many sequences each channel was measured, over time." if names else "No channel has gaps."
    if varying:
        lead += " Sequences differ in length: the first figure shows how many are still running."
    pictures = _each(names, lambda name: figures.measured(real, synthetic, name), "{}: share measured over time")
    if varying:
        pictures = (embed(figures.running(real, synthetic), "Share of sequences still running, over time"), *pictures)
    return Section("gaps", "Gaps", lead, pictures, _left_out(names, "channels"))


def _learning(log: pd.DataFrame | None) -> Section:
    if log is None or not len(log) or "step" not in log or not (groups := figures.terms(log)):
        return Section("learning", "Learning curves", "There is no log of the training.")
    coloured = figures.losses(log)
    others = {term: columns for term, columns in groups.items() if columns not in [[column] for column in coloured]}
    pictures = tuple(
        embed(
            figures.coloured(log, column),
            f"{column} over the steps of training, coloured by the gradient's norm",
            column,
        )
        for column in coloured
    ) + tuple(
        embed(
            figures.learning(log, columns, term), f"{term} over the steps of training, for {', '.join(columns)}", term
        )
        for term, columns in list(others.items())[:CHANNELS]
    )
    return Section(
        "learning",
        "Learning curves",
        "What each player minimised, coloured by how large its gradient was; then every term by itself, and how far "
        "what was generated was from held-out sequences, in all and by condition (lower is closer; docs/watching.md). "
        "The faint line is raw, the strong one a mean over a fiftieth of the training.",
        pictures,
        _left_out(list(others), "curves"),
    )
