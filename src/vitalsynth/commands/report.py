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
) -> list[Path]:
    """Write a self-contained report.html: what was asked, scores, real and synthetic side by side, learning curves.

    Args:
        run: Folders of runs; globs are expanded.
        out: Where to write; {run} in it stands for the run's name. By default report.html in the run's folder.
        count: Synthetic sequences to draw for the pictures.
        seed: Of what is drawn.
        device: cpu, cuda, cuda:1; auto takes a GPU where there is one.
        data: Where the data lie now, if they were moved. From Python also the data themselves.

    Returns:
        The pages.

    Raises:
        ValueError: if there is no such run, or it has no checkpoint.
    """
    found = runs.find(run)
    places = runs.destinations(out, found) if out else [each.path / "report.html" for each in found]
    return [_write(each, place, count, seed, device, data) for each, place in zip(found, places, strict=True)]


def _write(run: Run, path: Path, count: int, seed: int, device: str, data: str | Sequences) -> Path:
    train, test = run.data(data)
    generator, step = sampling.load_generator(run, device=device)
    synthetic = sampling.collect(sampling.sample(run, generator, count, seed=seed))
    scores = latest_scores(run, step)
    notes = [] if scores else [f"Not judged at step {step} yet: 'vitalsynth evaluate {run.name}' adds the scores."]
    if run.record["data"]["cut"] is None:
        notes.append("Nobody was held out: real sequences shown here are those it was trained on.")
    described = anatomy.describe(run.settings_at(step), run.preparation)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.write(
        path,
        title=f"{called([run.path])[run.path]}: synthetic {Path(run.record['data']['source'] or 'sequences').name}",
        asked=asked_of(run, step) | {"trained on": f"{len(train):,} sequences; {len(test):,} held out by subject"},
        log=run.log(),
        real=test,
        synthetic=synthetic,
        scores=scores,
        notes=notes,
        networks=described.networks,
        cost=cost(run.record, described),
    )
    return path


def latest_scores(run: Run, step: int) -> list[dict[str, Any]]:
    """Return the scores of a run at a step, the last of each."""
    scores = [row for row in run.evaluations() if row["step"] == step]
    return list({(row["metric"], row["label"]): row for row in scores}.values())


def asked_of(run: Run, step: int) -> dict[str, Any]:
    """Return, in words, what a run learned from and how."""
    record, data = run.record, run.record["data"]
    if record.get("generator_only"):
        known = {"step": f"{step:,}", "versions": _versions(record)}
        return known | ({"differential privacy": promised} if (promised := promise(run, step)) else {})

    def part(one: dict[str, Any]) -> str:
        settings = ", ".join(f"{key} {value}" for key, value in one["init_args"].items() if value is not None)
        return f"{one['class_path'].removeprefix('vitalsynth.')}({settings})"

    clock = runs.rows(run.path / "clock.jsonl")
    networks = {name: part(one) for name, one in record["networks"].items()}
    return {
        "data": Path(data["source"] or "given in memory").name,
        "trained on": f"{data['count']:,} sequences, but for those of {data['held_out']:.0%} of the subjects, held out",
        "condition": ", ".join(record["condition"]) or "none",
        "normalisation": _normalisation(record["normalise"]),
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
