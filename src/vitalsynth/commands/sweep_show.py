"""`vitalsynth sweep show`: what came of a sweep."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from .. import storage
from ..evaluation.scorecard import with_interval
from ..reporting import figures
from ..sequences import listed
from ..sweeping import results
from ..sweeping.sweep import Sweep

TABLES, FIGURES = (".csv", ".parquet"), (".png", ".svg", ".pdf")


def sweep_show(sweep: str, *, each: bool = False, out: str | list[str] = "", quiet: bool = False) -> pd.DataFrame:
    """Show the configurations of a sweep, best first, with 95 % intervals over seeds, and which settings mattered.

    With several scores, a star marks those than which no other is better in all (Pareto). What a setting explains is
    its share of a score's variance (fANOVA; Hutter et al. 2014); of the seed it is chance.

    Args:
        sweep: Its folder.
        each: A row a trial, rather than a row a configuration.
        out: Write the table to .csv or .parquet, and a figure to .png, .svg or .pdf, comma separated.
        quiet: Print nothing.

    Returns:
        The table.

    Raises:
        ValueError: if there is no such sweep, or its database does not answer.
    """
    places = [Path(name) for name in listed(out)]
    for place in places:
        if place.suffix not in (*TABLES, *FIGURES):
            raise ValueError(f"--out {place}: a table is .csv or .parquet, a figure .png, .svg or .pdf")
    opened = Sweep(sweep)
    runs, table, importance = results.each(opened), results.table(opened), results.importance(opened)
    shown = runs if each else table
    console = Console(quiet=quiet)
    console.print(_each(runs) if each else _configurations(opened, table))
    counts = Counter(runs.drop_duplicates("trial")["state"])
    console.print(f"{len(runs)} runs; trials: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    for score, shares in importance.items():
        told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        console.print(f"What explains {score}: {told}", highlight=False)
    for place in places:
        with storage.atomic_path(place) as temporary:
            if place.suffix == ".csv":
                shown.to_csv(temporary, index=False)
            elif place.suffix == ".parquet":
                shown.to_parquet(temporary, index=False)
            else:
                maximised = {score.name: score.maximised for score in opened.scores}
                figures.sweep(runs, table, maximised, importance).savefig(temporary, dpi=160)
        console.print(str(place))
    return shown


def _configurations(sweep: Sweep, table: pd.DataFrame) -> Table:
    scores = [score.name for score in sweep.scores]
    settings = list(table.columns[: table.columns.get_loc("runs")])
    out = Table(box=box.SIMPLE_HEAD)
    for name in settings:
        out.add_column(name, overflow="fold")
    for name in scores:
        out.add_column(f"{name} [95 %]", justify="right")
    out.add_column("runs", justify="right")
    for row in table.to_dict("records"):
        star = " *" if row.get("front") else ""
        cells = [_interval(row, name) for name in scores]
        runs = str(row["runs"]) if row["runs"] == row["of"] else f"{row['runs']} of {row['of']}"
        out.add_row(*(_cell(row[name]) for name in settings), *cells, runs + star)
    return out


def _interval(row: dict[str, Any], name: str) -> str:
    ends = [None if pd.isna(row[name + end]) else row[name + end] for end in results.ENDS]
    return with_interval(*ends)


def _each(runs: pd.DataFrame) -> Table:
    out = Table(box=box.SIMPLE_HEAD)
    for name in runs.columns:
        out.add_column(str(name), overflow="fold")
    for row in runs.to_dict("records"):
        out.add_row(*(_cell(value) for value in row.values()))
    return out


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.4g}"
    return str(value)
