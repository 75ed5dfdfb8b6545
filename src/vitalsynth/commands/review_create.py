"""`vitalsynth review create`: pictures and questions, for people to judge."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import runs, sampling, storage
from ..evaluation import ladder
from ..reporting import figures
from ..reviewing import asking, drawing
from ..reviewing.people import People, read
from ..reviewing.review import REAL, SPOILT, Review
from ..runs import Run
from ..seeds import derive
from ..sequences import Sequences
from ..sweeping import results
from ..sweeping.sweep import Sweep
from . import settings
from .progress import Progress

FOLDER = Path("reviews")
PICTURES = 6
"""Of each contestant; of real sequences twice as many."""
KEPT = 2
"""Trials that people found best in earlier rounds of a sweep, which they see again beside the new ones."""


def review_create(
    what: str | list[str],
    *,
    to: str,
    out: str = "",
    pairs: int = 6,
    singles: int = 2,
    ratings: int = 2,
    planted: int = 8,
    comment: bool = True,
    per_mail: int = 20,
    days: float = 14.0,
    most: int = 8,
    channels: int = drawing.CHANNELS,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> Path:
    """Make a review: pictures of runs and of held-out real sequences, blind, and what each reviewer is asked.

    Nothing is sent yet: 'vitalsynth review send' does that. Each reviewer is asked which of two looks more real,
    whether one is real, and how real one looks; and some items whose answer everybody knows who looks: real against
    spoilt.
    Addresses are kept apart from the review, below ~/.local/share/vitalsynth, until 'review forget' erases them.

    The pictures show real sequences, too, and mail leaves the house: ask who has to be asked, or let people come to a
    page of yours ('review send --words_only').

    Args:
        what: Folders of runs that were trained on the same data (globs are expanded), or of a sweep, of which the best
            trials are taken.
        to: File of addresses: one a line, or a CSV with a column 'address'.
        out: Folder of the review; reviews/NAME-1 and so on by default.
        pairs: How often a reviewer is asked which of two looks more real, A or B.
        singles: How often, whether one is real or generated.
        ratings: How often, how real one looks, from 1 to 5.
        planted: How often, besides, what everybody knows who looks.
        comment: Ask for a remark.
        per_mail: Most questions in a mail.
        days: After which answers come too late.
        most: Trials of a sweep that are taken.
        channels: Most channels that are drawn.
        seed: Of what is drawn, and of who is asked what.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        quiet: No progress bar.

    Returns:
        The folder of the review.

    Raises:
        ValueError: if there is nothing to compare, or an address is none.
    """
    wanted = asking.Wanted(pairs, singles, ratings, planted, comment, per_mail)
    settings.check_at_least_one(most=most, channels=channels)
    if not 0 < days < 3650:
        raise ValueError(f"--days must be more than 0 and less than 3650, got {days:g}")
    addresses = read(to)
    what = [what] if isinstance(what, str) else what
    contestants = _contestants(what, most)
    path = Path(out) if out else storage.numbered(FOLDER, Path(what[0]).name or "review")
    storage.refuse_existing(path)
    train, test = _real(contestants)
    rng = np.random.default_rng(derive(seed, "review"))
    sequences = _drawn(contestants, train, test, seed, device, rng)
    names: dict[str, list[str]] = {}
    pictures: dict[str, bytes] = {}
    limits = figures.limits_of(test)
    with Progress("drawing", sum(map(len, sequences.values())), quiet=quiet) as progress:
        for key, shown in sequences.items():
            found, drawn = drawing.pictures({key: shown}, limits, channels)
            names |= found
            pictures |= drawn
            progress.advance(len(shown))
    items, letters = asking.assigned(asking.pool(names, rng), len(addresses), wanted, rng)
    about = {each.key: each.record() for each in contestants}
    common = {REAL: {"name": "real", "runs": []}, SPOILT: {"name": "spoilt", "runs": []}}
    until = time.time() + 86400 * days
    digest = contestants[0].runs[0].record["data"]["digest"]
    record = {"until": until, "seed": seed, "data": digest, "contestants": {**common, **about}}
    made = Review.create(path, items, letters, pictures, **record, **settings.provenance())
    People.create(made, addresses)
    if not quiet:
        shown = len(sequences[REAL]) + len(sequences[SPOILT])
        print(
            f"{len(addresses)} reviewers, {len(contestants)} contestants, {len(pictures)} pictures, of which {shown} "
            f"show held-out real sequences; now: vitalsynth review send {path}",
            file=sys.stderr,
        )
    return made.path


@dataclass(frozen=True)
class _Contestant:
    key: str
    name: str
    runs: Sequence[Run]
    study: str = ""
    trial: int = -1

    def record(self) -> dict[str, Any]:
        of = {"study": self.study, "trial": self.trial} if self.study else {}
        return {"name": self.name, "runs": [str(run.path.absolute()) for run in self.runs], **of}


def _contestants(what: Sequence[str], most: int) -> list[_Contestant]:
    """Return whose pictures are judged.

    Raises:
        ValueError: if there is nobody, or one twice.
    """
    found: list[_Contestant] = []
    for pattern in what:
        if Path(pattern, "sweep.json").exists():
            found += _trials(Sweep(pattern), most)
        else:
            found += [_Contestant(run.record["id"], run.name, [run]) for run in runs.find(pattern)]
    keys = [each.key for each in found]
    if twice := [each for k, each in enumerate(found) if each.key in keys[:k]]:
        raise ValueError(f"{twice[0].name} is named twice, or a copy of a run is")
    return found


def _trials(sweep: Sweep, most: int) -> Iterator[_Contestant]:
    """Yield the best trials of a sweep, or those that people have to judge next, beside the best they judged.

    Raises:
        ValueError: if it has none that are finished.
    """
    rows = results.each(sweep).drop_duplicates("trial")
    done = pd.DataFrame(rows[rows["state"] == "done"])
    if sweep.scores:
        score = sweep.scores[0]
        done = done.sort_values(by=score.name, ascending=not score.maximised, kind="stable")
    chosen = done["trial"].tolist()[:most]
    if sweep.by_people:
        chosen = [*sweep.unjudged(), *chosen[:KEPT]]
    if not chosen:
        raise ValueError(f"{sweep.path} has no finished trials; carry it on with 'vitalsynth sweep work {sweep.path}'")
    for number in chosen:
        name = f"{number:04}"
        paths = [sweep.path / "trials" / (f"{name}-{seed}" if seed else name) for seed in sweep.seeds or ("",)]
        study = sweep.record["study"]
        yield _Contestant(f"{study}/{number}", f"{sweep.path.name} {name}", [Run(p) for p in paths], study, number)


def _real(contestants: Sequence[_Contestant]) -> tuple[Sequences, Sequences]:
    """Return what all runs were trained on, and what was held out.

    Raises:
        ValueError: if that is not the same, nobody was held out, or it must not be shown.
    """
    every = [run for each in contestants for run in each.runs]
    for run in every:
        data, first = run.record["data"], every[0].record["data"]
        if [data[name] for name in ("digest", "cut", "seed")] != [first[name] for name in ("digest", "cut", "seed")]:
            raise ValueError(
                f"{run.path} and {every[0].path} did not hold out the same sequences, so no real ones are new to both; "
                "train them on the same data with the same --seed and --held_out"
            )
        if run.record.get("privacy"):
            raise ValueError(f"{run.path} is under differential privacy, and a review shows real sequences")
    if every[0].record["data"]["cut"] is None:
        raise ValueError(f"{every[0].path} held nobody out (--held_out 0), so there are no real sequences to show")
    return every[0].data()


def _drawn(
    contestants: Sequence[_Contestant],
    train: Sequences,
    test: Sequences,
    seed: int,
    device: str,
    rng: np.random.Generator,
) -> dict[str, Sequences]:
    """Return the sequences of which there will be pictures, by whose they are.

    Raises:
        ValueError: if there are too few held-out ones.
    """
    if len(test) < 3 * PICTURES:
        raise ValueError(f"only {len(test)} sequences were held out, and {3 * PICTURES} are to be shown")
    real = test.take(rng.permutation(len(test))[: 3 * PICTURES])
    shuffled = ladder.shuffled_steps(real.take(slice(2 * PICTURES, None)), train, 1.0, rng)
    shown = {REAL: real.take(slice(0, 2 * PICTURES)), SPOILT: ladder.noise(shuffled, train, 2.0, rng)}
    for each in contestants:
        parts = []
        for k, run in enumerate(each.runs):
            generator, _ = sampling.load_generator(run, device=device)
            count = PICTURES // len(each.runs) + (k < PICTURES % len(each.runs))
            parts += sampling.sample(run, generator, count, seed=seed) if count else []
        shown[each.key] = sampling.collect(iter(parts))
    return shown
