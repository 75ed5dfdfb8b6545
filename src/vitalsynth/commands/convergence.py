"""`vitalsynth convergence`: how trainings stand, and how soon they reached a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import runs, storage
from ..monitoring.convergence import Verdict, classify
from ..monitoring.reaching import FEWEST, Comparison, Reached, Survival, parse, reached, sooner
from ..reporting import figures
from ..runs import Run
from ..sweeping.naming import called
from .entrants import unlike

STYLES = {"converged": "green", "converging": "green", "collapsed": "red", "diverging": "red", "oscillating": "yellow"}


def convergence(run: str | list[str], *, score: str = "", out: str = "", quiet: bool = False) -> list[dict[str, Any]]:
    """Say of runs whether they converge, and since when; and when they reached a score, and what made it sooner.

    A run is converging, converged, stalled (no better than it began), oscillating, diverging (worse than it was),
    collapsed (worse at once, or a game that the discriminator has won) or too short to say. It is judged by the
    distances to held-out sequences in its log, `similarity.*`, else by its losses, which say less.

    Args:
        run: Folders of runs; globs are expanded.
        score: When a column of the log was first at or below a value, such as similarity.mmd=0.01. Runs that never were
            count with what they were trained for.
        out: Draw the curves, and how many runs had reached the score by when, into this file (.png, .svg, .pdf).
        quiet: No table.

    Returns:
        A row a run.

    Raises:
        ValueError: if there is no such run, its log is empty, or lacks the column of the score.
    """
    asked = parse(score) if score else None
    named: dict[str, Run] = {}
    found_runs = runs.find(run)
    names = called(each.path for each in found_runs)
    for each in found_runs:
        named[unlike(names[each.path], named)] = each
    logs = {name: each.log() for name, each in named.items()}
    if empty := [name for name, log in logs.items() if not len(log)]:
        raise ValueError(f"{named[empty[0]].path} has no log yet; nothing can be said of its convergence")
    verdicts = {name: classify(log) for name, log in logs.items()}
    found = {name: reached(log, *asked) for name, log in logs.items()} if asked else {}
    console = Console(quiet=quiet)
    console.print(_table(named, verdicts, found))
    if found:
        _report(console, score, named, found)
    if out:
        figure = figures.convergence(logs, verdicts, list(found.values()), score)
        with storage.atomic_path(out) as temporary:
            figure.savefig(temporary, dpi=160)
        console.print(out)
    return [
        {"run": str(each.path), **vars(verdicts[name]), **({"reached": vars(found[name])} if found else {})}
        for name, each in named.items()
    ]


def _table(named: dict[str, Run], verdicts: dict[str, Verdict], found: dict[str, Reached]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("run", "state"):
        table.add_column(name, overflow="fold")
    table.add_column("since step", justify="right")
    table.add_column("because")
    if found:
        table.add_column("reached at step", justify="right")
        table.add_column("epoch", justify="right")
    for name, run in named.items():
        verdict = verdicts[name]
        since = f"{verdict.since:,} [{verdict.low:,}, {verdict.high:,}]"
        cells = [name, Text(verdict.state, STYLES.get(verdict.state, "")), since, f"{verdict.why} ({verdict.by})"]
        if found:
            step = found[name].step
            data = run.record["data"]
            epoch = step * run.record["batch"] / max(data["count"] * (1 - data["held_out"]), 1)
            cells += [
                f"{number}" if found[name].ever else f"not by {number}" for number in (f"{step:,}", f"{epoch:.1f}")
            ]
        table.add_row(*cells)
    return table


def _report(console: Console, score: str, named: dict[str, Run], found: dict[str, Reached]) -> None:
    """Say when half the runs were there, and what made it sooner."""
    results = list(found.values())
    there = sum(each.ever for each in results)
    middle, low, high = Survival.of(results).median()
    half = f"; half of all by step {_step(middle)} [{_step(low)}, {_step(high)}] (Kaplan-Meier)" if there else ""
    console.print(f"{there} of {len(results)} runs reached {score}{half}")
    compared = sooner([run.asked() for run in named.values()], results)
    enough = [each for each in compared if each.ratio is not None]
    if not compared:
        console.print("They differ in no setting, so nothing can have made it sooner but chance.")
    elif not enough:
        console.print(
            f"What made it sooner cannot be said: at least {FEWEST} runs are needed on each side of a setting."
        )
    else:
        console.print(_comparisons(enough))
        console.print(
            f"{len(enough)} comparison{'s' * (len(enough) > 1)}; one in twenty has p below 0.05 by chance. What was "
            "changed together cannot be told apart."
        )


def _step(step: float) -> str:
    return f"{step:,.0f}" if step < float("inf") else "∞"


def _comparisons(compared: Sequence[Comparison]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="what made it sooner", title_justify="left")
    table.add_column("runs with", overflow="fold")
    table.add_column("against others", justify="right")
    table.add_column("steps, times those of the others", justify="right")
    table.add_column("p", justify="right")
    for each in compared:
        ratio = f"{each.ratio:.2f} [{each.low:.2f}, {each.high:.2f}]"
        table.add_row(each.ours, f"{each.counts[0]} against {each.counts[1]}", ratio, f"{each.p:.2g}")
    return table
