"""`vitalsynth report`: one page that can be handed to a reviewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import checkpoints, runs, sampling
from ..differential import Budget
from ..monitoring import anatomy
from ..reporting import page
from ..runs import Run
from ..sequences import Sequences
from ..storage import in_words
from ..sweeping.naming import called
from .describe import cost


def report(
    run: str | list[str],
    *,
    out: str = "",
    count: int = 1000,
    seed: int = 0,
    device: str = "auto",
    data: str | Sequences = "",
    without_real: bool = False,
    figures: str = "",
) -> list[Path]:
    """Write a self-contained report.html: what was asked, scores, real and synthetic side by side, learning curves.

    It shows real people, to those who may see the data; --without_real makes one that shows none.

    Args:
        run: Folders of runs; globs are expanded.
        out: Where to write; {run} in it stands for the run's name. By default report.html in the run's folder.
        count: Synthetic sequences to draw for the pictures.
        seed: Of what is drawn.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        data: Where the data lie now, if they were moved. From Python also the data themselves.
        without_real: Show synthetic sequences, scores and learning curves, and no real sequence nor any distribution of
            real values; by default as report-without-real.html.
        figures: Folder for the figures of the page, each as .pdf and .png, for a paper; {run} in it stands for the
            run's name.

    Returns:
        The pages.

    Raises:
        ValueError: if there is no such run, or it has no checkpoint.
    """
    found = runs.find(run)
    name = "report-without-real.html" if without_real else "report.html"
    places = runs.destinations(out, found) if out else [each.path / name for each in found]
    folders = runs.destinations(figures, found) if figures else [""] * len(found)
    return [
        _write(each, place, folder, count, seed, device, data, without_real)
        for each, place, folder in zip(found, places, folders, strict=True)
    ]


def _write(
    run: Run,
    path: Path,
    folder: str | Path,
    count: int,
    seed: int,
    device: str,
    data: str | Sequences,
    without_real: bool,
) -> Path:
    train, test = run.data(data)
    generator, step = sampling.load_generator(run, device=device)
    synthetic = sampling.collect(sampling.sample(run, generator, count, seed=seed))
    scores = latest_scores(run, step)
    notes = [] if scores else [f"Not judged at step {step} yet: 'vitalsynth evaluate {run.name}' adds the scores."]
    if run.record["data"]["cut"] is None and not without_real:
        notes.append("Nobody was held out: real sequences shown here are those it was trained on.")
    described = anatomy.describe(run.settings_at(step), run.preparation)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.write(
        path,
        title=f"{called([run.path])[run.path]}: synthetic {Path(run.record['data']['source'] or 'sequences').name}",
        asked=asked_of(run, step) | {"trained on": _trained_on(run, len(train), len(test))},
        log=run.log(),
        real=None if without_real else test,
        synthetic=synthetic,
        scores=scores,
        notes=notes,
        networks=described.networks,
        cost=cost(run.record, described),
        figures_in=folder,
    )
    return path


def latest_scores(run: Run, step: int) -> list[dict[str, Any]]:
    """Return the scores of a run at a step, the last of each."""
    scores = [row for row in run.evaluations() if row["step"] == step]
    return list({(row["metric"], row["label"]): row for row in scores}.values())


def _trained_on(run: Run, learned: int, held_out: int) -> str:
    """Say how many sequences were learned from, and whose were not."""
    data = run.record["data"]
    if data["cut"] is None:
        return f"all {data['count']:,} sequences; nobody was held out"
    share = f"{100 * data['held_out']:g} % of the subjects"
    if not learned:  # not known without reading the data
        return f"{data['count']:,} sequences but for those of {share}, who were held out"
    return f"{learned:,} of {data['count']:,} sequences; {held_out:,}, of {share}, held out"


def asked_of(run: Run, step: int) -> dict[str, Any]:
    """Return, in words, what a run learned from and how."""
    record, data = run.record, run.record["data"]
    if record.get("generator_only"):
        known = {"step": f"{step:,}", "versions": _versions(record)}
        return known | ({"differential privacy": promised} if (promised := promise(run, step)) else {})

    def part(one: dict[str, Any]) -> str:
        settings = ", ".join(f"{key} {value}" for key, value in one["init_args"].items() if value is not None)
        return f"{one['class_path'].removeprefix('vitalsynth.')}({settings})"

    scored = next((row for row in reversed(run.evaluations()) if "trained_on" in row), {})
    clock = runs.rows(run.path / "clock.jsonl")
    networks = {name: part(one) for name, one in record["networks"].items()}
    return {
        "data": Path(data["source"] or "given in memory").name,
        "trained on": _trained_on(run, scored.get("trained_on", 0), scored.get("held_out", 0)),
        "condition": ", ".join(record["condition"]) or "none",
        "normalisation": _normalisation(record["normalise"]),
        **({"outline": f"{outline.width} components, drawn first"} if (outline := run.preparation.outline) else {}),
        **networks,
        "objective": " + ".join(map(part, [record["objective"], *record.get("stabilisers", [])])),
        "steps": f"{step:,}, batches of {record['batch']}",
        "ran on": f"{clock[-1]['device']}, {in_words(run.most_memory())} of memory at most" if clock else "unknown",
        "seed": record["seed"],
        "versions": _versions(record),
        **({"differential privacy": promised} if (promised := promise(run, step)) else {}),
    }


def promise(run: Run, step: int) -> str:
    """Return, in words, what a run promises to its patients; nothing if it promises nothing."""
    budget = Budget.of(run.settings_at(step))
    if budget is None:
        return ""
    budget.load(checkpoints.load(run.checkpoint(step))[1]["privacy"])
    settings = budget.privacy
    return (
        f"for each patient epsilon {budget.epsilon:.3g} at delta {settings.delta:g}, by {settings.accountant} "
        f"accounting; gradients clipped to {settings.clip:g}, noise {settings.noise:g}"
    )


def _versions(record: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in record["versions"].items())


def _normalisation(asked: str | dict[str, str]) -> str:
    if isinstance(asked, str):
        return asked
    named = [f"{kind} ({name})" for name, kind in asked.items() if name != "*"]
    return ", ".join([*named, asked.get("*", "standard") + (" (others)" if named else "")])
