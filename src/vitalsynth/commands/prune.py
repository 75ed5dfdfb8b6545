"""`vitalsynth prune`: drop checkpoints that are not needed any more."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from .. import runs
from ..runs import Run, pruning
from ..runs.pruning import Pruning
from ..storage import in_words


def prune(
    run: str | list[str],
    *,
    keep_last: int = 1,
    keep_every: int = 0,
    keep_best: str = "",
    dry_run: bool = False,
    quiet: bool = False,
) -> list[Run]:
    """Drop checkpoints but the newest and those asked for, and log rows that no checkpoint reaches.

    Args:
        run: Folders of runs; globs are expanded.
        keep_last: How many of the newest to keep, at least 1.
        keep_every: Also keep those at multiples of this many steps.
        keep_best: Also keep the best by a score of 'vitalsynth evaluate', such as 'two-sample AUROC', or by a measure
            of similarity while training, such as two_sample; the best by that which the run names always stays.
        dry_run: Only say what would go, and how many bytes.
        quiet: No table.

    Returns:
        The runs.

    Raises:
        ValueError: if a run is in use, has no whole checkpoint, or no such score.
    """
    plans = [pruning.plan(each, keep_last, keep_every, keep_best) for each in runs.find(run)]
    if not dry_run:
        for planned in plans:
            pruning.prune(planned)
    Console(quiet=quiet).print(_table(plans, dry_run))
    return [] if dry_run else [planned.run for planned in plans]


def _table(plans: list[Pruning], dry_run: bool) -> Table:
    table = Table(title="would go" if dry_run else "gone", title_justify="left")
    for title in ("run", "checkpoints that stay", "that go", "log rows"):
        table.add_column(title)
    table.add_column("bytes", justify="right")
    for planned in plans:
        stay = ", ".join(f"{step} ({why})" for step, why in planned.kept.items())
        go = ", ".join(map(str, planned.steps)) or "none"
        table.add_row(str(planned.run.path), stay, go, str(planned.rows), in_words(planned.bytes))
    if len(plans) > 1:
        table.add_section()
        table.add_row("together", "", "", "", in_words(sum(planned.bytes for planned in plans)))
    return table
