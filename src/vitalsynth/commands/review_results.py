"""`vitalsynth review results`: what people said."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.console import Console

from .. import storage
from ..reviewing import showing
from ..reviewing.results import Results
from ..reviewing.review import Review
from ..sequences import listed
from ..sweeping.sweep import Sweep


def review_results(
    review: list[str], *, everybody: bool = False, tell: str = "", out: str | list[str] = "", quiet: bool = False
) -> pd.DataFrame:
    """Show what people find real, who answered with care, how well they agree, and which metric sees what they see.

    Strengths are of the model of Bradley and Terry (1952), with 95 % intervals over people; real is 0. Whoever answers
    planted items as one who does not look is left out. Several reviews of the same data are taken together.

    Args:
        review: Folders of reviews; globs are expanded.
        everybody: Count the careless, too.
        tell: Folder of a sweep with --score people, whose trials are ranked by this; 'sweep work' then goes on.
        out: Write everything to .json or .html, the table to .csv or .parquet, the figure to .png, .svg or .pdf, comma
            separated.
        quiet: Print nothing.

    Returns:
        A row a contestant, the most real first.

    Raises:
        ValueError: if there is no such review, or they do not have the same real data.
    """
    places = [Path(name) for name in listed(out)]
    for place in places:
        if place.suffix not in showing.FORMS:
            raise ValueError(f"--out {place}: it is one of {', '.join(showing.FORMS)}")
    paths = [path for pattern in review for path in storage.expand(pattern) or [pattern]]
    found = Results([Review(path) for path in dict.fromkeys(paths)], everybody)
    sweep = Sweep(tell) if tell else None
    if sweep and not sweep.by_people:
        raise ValueError(f"{tell} is not judged by people; make it with 'vitalsynth sweep --score people'")
    console = Console(quiet=quiet)
    for grid in showing.grids(found):
        console.print(showing.table(grid))
    console.print("\n".join(showing.in_words(found)), highlight=False, markup=False)
    for place in places:
        showing.write(place, found)
        console.print(str(place))
    if sweep:
        sweep.tell(found.trials(sweep.record["study"]))
        left = sweep.total - sweep.finished
        console.print(f"{tell} knows; " + (f"now: vitalsynth sweep work {tell}" if left else "it has no more trials"))
    return found.contestants
