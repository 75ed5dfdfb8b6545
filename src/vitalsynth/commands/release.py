"""`vitalsynth release`: what a hospital may hand out of a run, or the reason why not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import runs, sampling
from ..evaluation import leaks
from ..evaluation.privacy import report as reports
from ..evaluation.verdicts import COPYING, tone
from ..reporting import attacks as pages
from ..runs import Run, archive
from ..sequences import Sequences
from ..storage import atomic_folder, refuse_existing, sha256
from . import card
from .attack import RELEASED
from .report import latest_scores, promise
from .sample import draw_into

log = logging.getLogger(__name__)

NEVER = {
    "discriminator": "a discriminator tells who was in the training data, which is what it was trained for "
    "(arXiv 1705.07663 recognised up to 98 % of them)",
    "run": "a run holds the discriminator, the optimisers and the log; 'vitalsynth pack' makes a file of it for those "
    "who may see the data",
    "data": "training data are people",
}
GENERATOR = "generator.zip"
FEWEST_WORDS = 3


def release(
    run: str | list[str],
    *,
    out: str,
    what: str = "samples",
    count: int = 0,
    file: str = "cohort.parquet",
    despite: str = "",
    seed: int = 0,
    device: str = "auto",
    data: str | Sequences = "",
    quiet: bool = False,
) -> list[Path]:
    """Make the folder that may be handed out: a cohort or generator, its card, its privacy report, a manifest.

    It is refused, with every reason, if the run was not attacked by 'vitalsynth attack' as somebody could who has what
    is released, if an attack found anything, if the attacks would not have found copies that were planted, if they
    raise an alarm where nothing can be found, or if a training sequence is in the cohort, value by value. A
    discriminator, a whole run and training data are never released.

    Args:
        run: Folders of runs; globs are expanded.
        out: Folder to make, which must not exist; {run} in it stands for the run's name.
        what: samples, or generator: what sampling needs and nothing else ('vitalsynth unpack' reads it).
        count: Synthetic sequences; as many as were trained on, at most 10,000, by default.
        file: Name of the cohort, whose ending says its form as that of 'vitalsynth sample --out' does; a name without
            one is a folder in the form of the data.
        despite: Release it all the same; the words say why and by whose decision, and are written into the card and
            the manifest, beside the reasons against it.
        seed: Of the cohort.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        data: Where the training data lie now, if they were moved. From Python also the data themselves.
        quiet: No progress bar.

    Returns:
        The folders.

    Raises:
        ValueError: with the reasons, if it is refused; nothing is left behind.
    """
    if what in NEVER:
        raise ValueError(f"--what {what} is never released: {NEVER[what]}")
    if what not in ("samples", "generator"):
        raise ValueError(f"--what must be samples or generator, got {what!r}")
    if despite and len(despite.split()) < FEWEST_WORDS:
        raise ValueError(f"--despite must say in words why and by whose decision; {despite!r} does not")
    if Path(file).name != file or file in ("", ".", "..") or Path(file).suffix == ".png":
        raise ValueError(f"--file must be the plain name of a table or folder, got {file!r}")
    found = runs.find(run)
    places = runs.destinations(out, found)
    for place in places:
        refuse_existing(place)
    asked = {"what": what, "count": count, "file": file, "seed": seed}
    return [
        _release(each, place, asked, despite, device, data, quiet) for each, place in zip(found, places, strict=True)
    ]


def objections(run: Run, step: int, what: str) -> list[str]:
    """Return every reason not to hand out samples, or the generator, of a run as it was at a step."""
    rows = latest_attack(run, step)
    held = RELEASED[: RELEASED.index(what) + 1]  # who has one has those before it
    if not rows or rows[-1]["released"] not in RELEASED[RELEASED.index(what) :]:
        how = f"vitalsynth attack {run.path} --released {what}"
        return [f"nobody tried to recognise anybody by the {what} of step {step:,} ('{how}' does)"]
    figures = [row for row in rows[:-1] if row["released"] in held]
    out = []
    if hits := reports.names(reports.found(figures)):
        out.append(f"found beyond chance by {', '.join(hits)}")
    if not reports.found(figures, reports.POSITIVE):
        out.append("the attacks would not have found copies of training subjects: too few were held out to tell")
    if alarms := reports.names(reports.found(figures, reports.NEGATIVE)):
        out.append(f"{', '.join(alarms)} find members also where there are none, so the attacks are not to be trusted")
    scores = latest_scores(run, step)
    if any(row.get("part") == COPYING and tone(row, len(scores)) == "bad" for row in scores):
        out.append("'vitalsynth evaluate' found copies of the training data")
    return out


def latest_attack(run: Run, step: int) -> list[dict[str, Any]]:
    """Return the rows of the last attack on a step, the verdict last; none if there was none."""
    rows = [row for row in run.attacks() if row["step"] == step]
    ends = [place for place, row in enumerate(rows, 1) if row["attack"] == reports.VERDICT]
    return rows[ends[-2] if len(ends) > 1 else 0 :]


def _release(
    run: Run, place: Path, asked: dict[str, Any], despite: str, device: str, data: str | Sequences, quiet: bool
) -> Path:
    generator, step = sampling.load_generator(run, device=device)
    against = objections(run, step, asked["what"])
    _refuse(run, against, despite)
    with atomic_folder(place) as folder:
        if asked["what"] == "samples":
            train, _ = run.data(data)
            count = asked["count"] or min(len(train), 10_000)
            asked = asked | {"count": count}
            copies: list[int] = []
            chunks = _counting(sampling.sample(run, generator, count, seed=asked["seed"]), train, copies)
            draw_into(run, folder / asked["file"], count, chunks, quiet)
            if sum(copies):
                against = [*against, f"{sum(copies)} of {count} are training sequences, value by value"]
                _refuse(run, against, despite)
        else:
            asked = {"what": asked["what"]}
            archive.pack(run, folder / GENERATOR, generator_only=True)
        _describe(run, step, folder, asked, against, despite)
    return place


def _refuse(run: Run, against: list[str], despite: str) -> None:
    """Raise the reasons against a release, unless they are overridden; then a warning says so."""
    if against and not despite:
        raise ValueError(f'{run.path} is not released: {"; ".join(against)} (--despite "why" overrides this)')
    if against:
        log.warning("%s is released despite this: %s", run.path, "; ".join(against))


def _counting(chunks: Iterator[Sequences], train: Sequences, copies: list[int]) -> Iterator[Sequences]:
    """Pass sequences on, and count those that are training sequences."""
    for chunk in chunks:
        copies.append(leaks.copies(train, chunk))
        yield chunk


def _describe(run: Run, step: int, folder: Path, asked: dict[str, Any], against: list[str], despite: str) -> None:
    """Write the card, the privacy report and the manifest of all files."""
    main = folder / (asked.get("file") or GENERATOR)
    if asked["what"] == "generator":
        about = card.model(run, step, main)
    else:
        about = card.text(run, step, main, {name: value for name, value in asked.items() if name != "file"})
    if against:
        about += f"\n## Released despite\n\n{'; '.join(against)}.\n\nBecause: {despite}\n"
    (folder / "card.md").write_text(about, encoding="utf-8")
    if rows := latest_attack(run, step):
        for name in ("privacy.md", "privacy.html"):
            pages.write(folder / name, {run.name: rows})
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "run": run.record["id"],
        "step": step,
        **asked,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": run.record["versions"],
        "licence": run.preparation.schema.licence or None,
        "differential_privacy": promise(run, step) or None,
        "objections": against,
        "despite": despite or None,
        "files": {str(path.relative_to(folder)): sha256(path.read_bytes()) for path in files},
    }
    (folder / "release.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
