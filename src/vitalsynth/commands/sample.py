"""`vitalsynth sample`: a synthetic cohort from a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import frames, runs, sampling, sources
from ..runs import Run, pruning
from ..sampling import Pattern, parse_pairs
from ..sequences import Sequences, listed, rules
from ..sources import images
from ..sources.tables import table_like
from ..storage import refuse_existing
from . import card
from .progress import Progress


def sample(
    run: str | list[str],
    *,
    count: int,
    out: str = "",
    condition: str | dict[str, str] = "",
    balance: str = "",
    using: str | dict[str, str] = "",
    never: str | list[str] = "",
    pattern: str = "",
    past: str = "",
    past_steps: int = 0,
    enforce: bool = False,
    seed: int = 0,
    checkpoint: int | str = "",
    device: str = "auto",
    quiet: bool = False,
) -> list[Path]:
    """Write a synthetic cohort, in the form of the data it was learned from.

    Args:
        run: Folders of runs; globs are expanded.
        count: Number of sequences; with --past, how often each goes on.
        out: File to write: .parquet or .csv (a long table with the columns of the original), .npz (arrays), or .png
            (a mosaic, for images); or a folder, in the form that the data came in. It must not exist; {run} in it
            stands for the run's name. By default a Parquet file in the folder samples of the run, named after step,
            count and seed.
        condition: What to fix, such as died=1,sex=Female; other conditions are drawn as in the training data.
        balance: A condition whose values are to be equally frequent, such as died.
        using: Settings of the generator that may be changed after training, such as guidance=2,solver_steps=16 of a
            flow.
        never: Channels that are never measured, comma separated, such as lactate: what is drawn beside them is as of
            patients in whom they were not.
        pattern: What is measured when, of which sequences, is taken from these, drawn at random: a file with the
            columns of the original, or a source. The values are the generator's.
        past: Sequences that are to go on, such as of stays that have just begun: a file with the columns of the
            original, or a source. Each goes on --count times; a column says which. Needs an autoregressive run, or one
            trained with --generator.pasts.
        past_steps: How many of their steps are given; later ones are not looked at.
        enforce: Keep to the rules and bounds that the data declare ('train --rules', '--limits'): what breaks them is
            moved to the nearest that does not.
        seed: Another seed gives another cohort.
        checkpoint: Step of the checkpoint to sample from, or best: that which was most similar to held-out sequences
            while training; the newest by default.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        quiet: No progress bar.

    A data card lies beside the file, `cohort.csv.card.md`: what the cohort was learned from and how, how good it was
    found to be, and under which licence the data were.

    Returns:
        The files.

    Raises:
        ValueError: if anything asked for is impossible; of what cannot be written whole, nothing is left behind.
    """
    if count < 1:
        raise ValueError(f"--count must be at least 1, got {count}")
    given = parse_pairs(condition)
    changed = parse_pairs(using, "setting")
    _check_together(past, past_steps, (never, pattern, balance))
    options = {
        "balance": balance,
        "never": "+".join(listed(never)),
        "pattern": pattern,
        "past": past,
        "past_steps": past_steps,
        "enforce": enforce,
    }
    asked = given | changed | {name: value for name, value in options.items() if value}
    found = runs.find(run)
    if out:
        for place in runs.destinations(out, found):
            refuse_existing(place)
    made = []
    for each in found:
        generator, step = sampling.load_generator(each, pruning.named(each, checkpoint), device, changed)
        path = runs.destinations(out, [each])[0] if out else _own_place(each, step, count, seed, asked)
        about = card.text(each, step, path, {"count": count, "seed": seed} | asked)
        if past:
            begun = _begun(each, past, given)
            chunks = sampling.continued(each, generator, begun, past_steps, count, seed)
        else:
            begun, imposed = None, _pattern(each, listed(never), pattern)
            chunks = sampling.sample(each, generator, count, given, seed, imposed, balance)
        chunks = map(rules.enforce, chunks) if enforce else chunks
        draw_into(each, path, count * (1 if begun is None else len(begun)), chunks, quiet, begun is not None)
        if path.suffix != ".png":
            card.write(path, about)
        made.append(path)
    return made


def _check_together(past: str, past_steps: int, others: Sequence[object]) -> None:
    """Refuse what does not go together."""
    if past and any(others):
        raise ValueError("--past does not go together with --never, --pattern or --balance")
    if bool(past) != bool(past_steps):
        raise ValueError(
            "--past and --past_steps go together: which sequences go on, and how many of their steps are given"
        )


def _pattern(run: Run, never: list[str], like: str) -> Pattern | None:
    for name in never:
        run.preparation.schema.channel_index(name)
    return Pattern(tuple(never), _read_like(run, like) if like else None) if never or like else None


def _begun(run: Run, past: str, given: dict[str, Any]) -> Sequences:
    """Return the sequences that go on, with conditions that are given put in."""
    begun, schema = _read_like(run, past), run.preparation.schema
    static = begun.static.copy()
    for name, label in given.items():
        static[:, schema.static_index(name)] = schema.statics[schema.static_index(name)].code(label)
    return replace(begun, static=static)


def _read_like(run: Run, where: str) -> Sequences:
    """Read sequences from a file or a source, in the form of those a run was trained on."""
    schema, length = run.preparation.schema, run.preparation.length
    if Path(where).is_file():
        return table_like(where, schema, length)
    source = run.record["data"]
    settings = source["settings"] if where == source["source"] else {}
    return sources.read(where, **settings).drop(source["drop"]).like(schema, length)


def draw_into(
    run: Run, path: Path, count: int, chunks: Iterator[Sequences], quiet: bool, keep_subjects: bool = False
) -> None:
    """Write sequences as they are drawn."""
    schema = run.preparation.schema
    if path.suffix == ".png":
        if schema.image is None:
            raise ValueError(f"{run.path} did not learn images; write .parquet, .csv or .npz")
        images.save_grid(sampling.collect(chunks), path)
        return
    if keep_subjects:
        schema = replace(schema, subject=schema.subject or frames.free_name("subject", schema), form="")
    with (
        sources.writer(path, schema) as writer,
        Progress(f"sampling {run.path}", count, quiet=quiet) as progress,
    ):
        writer.keep_subjects = keep_subjects
        for chunk in chunks:
            writer.write(replace(chunk, schema=schema))
            progress.advance(len(chunk))


def _own_place(run: Run, step: int, count: int, seed: int, given: dict[str, Any]) -> Path:
    """Return a place in the run's own folder that says what is there."""
    fixed = "".join("-" + re.sub(r"[^\w.]+", "_", f"{name}_{value}") for name, value in given.items())
    path = run.path / "samples" / f"{step:08d}-{count}-seed{seed}{fixed}.parquet"
    refuse_existing(path, "it is the same cohort; another --seed draws another")
    path.parent.mkdir(exist_ok=True)
    return path
