"""What came of reviews: who looks more real, who answered with care, and which metric sees what people see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..runs import Run
from . import fitting
from .review import ANSWERS, REAL, SPOILT, Review

PERSON = ["person", "review", "reviewer", "answers", "right", "planted", "looks", "careless"]
CARELESS = 0.5
"""Whoever looks with a smaller probability is left out."""


@dataclass(frozen=True, eq=False)
class Results:
    """What came of one or several reviews of the same real data.

    The strengths of all are fitted together, as differences from real: so those of different reviews can be compared,
    through the real sequences and whoever is in more than one of them.

    Args:
        reviews: Which.
        everybody: Count the careless, too.

    Raises:
        ValueError: if there is none, or they do not have the same real data.
    """

    reviews: Sequence[Review]
    everybody: bool = False

    def __post_init__(self) -> None:
        if len({review.id for review in self.reviews}) < len(self.reviews):
            raise ValueError("a review is named twice")
        if len({review.record["data"] for review in self.reviews}) > 1:
            raise ValueError("these reviews are not of the same real data, so that their strengths cannot be compared")

    @cached_property
    def votes(self) -> pd.DataFrame:
        """A row an answer: `person`, `item`, `kind`, `whose`, `planted`, `answer`, of all reviews together."""
        columns = ["review", "reviewer", "person", "item", "kind", "whose", "planted", "answer"]
        return pd.DataFrame([dict(zip(columns, row, strict=True)) for row in self._rows()], columns=columns)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        persons = items = 0
        for review in self.reviews:
            for vote in review.votes():
                item, who = review.items[vote["item"]], vote["reviewer"]
                about = (item.kind, item.whose, item.planted)
                yield review.path.name, who, persons + who, items + vote["item"], *about, vote["answer"]
            persons, items = persons + review.reviewers, items + len(review.items)

    @cached_property
    def people(self) -> pd.DataFrame:
        """A row a reviewer who answered: how many `planted` items, `right` ones, and the probability that they look."""
        rows = []
        for person, mine in self.votes.groupby("person"):
            planted = mine[mine["planted"] != ""]
            right = int(np.sum(planted["planted"] == planted["answer"]))
            looks = fitting.looks(right, len(planted))
            about = {"person": person, "review": mine["review"].iloc[0], "reviewer": mine["reviewer"].iloc[0]}
            judged = {"right": right, "planted": len(planted), "looks": looks, "careless": looks < CARELESS}
            rows.append({**about, "answers": len(mine), **judged})
        return pd.DataFrame(rows, columns=PERSON)

    @cached_property
    def counted(self) -> pd.DataFrame:
        """The answers that count: without planted items, and of those who look."""
        careless = [] if self.everybody else self.people.loc[self.people["careless"].astype(bool), "person"]
        counts = (self.votes["planted"] == "") & ~self.votes["person"].isin(careless)
        return pd.DataFrame(self.votes[counts])

    @cached_property
    def named(self) -> dict[str, dict[str, Any]]:
        """What is known of each contestant, by key."""
        return {key: about for review in self.reviews for key, about in review.record["contestants"].items()}

    @cached_property
    def contestants(self) -> pd.DataFrame:
        """A row a contestant, the most real first.

        `strength` (logits, 0 is real), `taken` for real (share), and `rating` (1 to 5), each with the ends of its 95 %
        interval, `_low` and `_high`, and how many answers there are (`pairs`, `singles`, `ratings`).
        """
        keys = [key for key in self.named if key != SPOILT]
        pairs, singles, ratings = (self._of(kind) for kind in ("pair", "single", "rating"))
        strengths = self._strengths(keys, pairs)
        rows = []
        for k, key in enumerate(keys):
            about = {"key": key, "name": self.named[key]["name"]}
            mine = [whose for whose in pairs["whose"] if key in whose]
            known = bool(mine) or key == REAL
            row = {"pairs": len(mine), **_ends("strength", *(s[k] if known else np.nan for s in strengths))}
            real = [answer == "real" for answer in _one(singles, key)["answer"]]
            rated = _one(ratings, key)
            row |= {"singles": len(real), **_ends("taken", *fitting.wilson(sum(real), len(real)))}
            means = fitting.mean(rated["answer"].to_numpy(float), rated["person"].to_numpy(int))
            rows.append({**about, **row, "ratings": len(rated), **_ends("rating", *means)})
        return pd.DataFrame(rows).sort_values("strength", ascending=False, kind="stable", ignore_index=True)

    def _of(self, kind: str) -> pd.DataFrame:
        return pd.DataFrame(self.counted[self.counted["kind"] == kind])

    def _strengths(self, keys: list[str], pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        place = {key: k for k, key in enumerate(keys)}
        both = np.array([[place[key] for key in whose] for whose in pairs["whose"]], int).reshape(-1, 2)
        chosen = np.where((pairs["answer"] == "A").to_numpy()[:, None], both, both[:, ::-1])
        found = fitting.bradley_terry(chosen, pairs["person"].to_numpy(int), len(keys), place[REAL])
        return found.value, found.low, found.high

    @cached_property
    def agreement(self) -> dict[str, float]:
        """Krippendorff's alpha of each kind of question."""
        found = {}
        for kind in ("pair", "single", "rating"):
            rows = self._of(kind)
            numbers = [float(ANSWERS[kind].index(answer)) for answer in rows["answer"]]
            units = [list(unit) for _, unit in pd.Series(numbers, rows.index).groupby(rows["item"])]
            found[kind] = fitting.alpha(units, ordinal=kind == "rating")
        return found

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row a metric of the scorecards of the runs: Spearman's correlation with the strengths, best first.

        It is taken so that 1 means that a metric finds good what people find real, however it counts.
        """
        strength = self.contestants.set_index("key")["strength"]
        keys = [str(key) for key in strength.index]
        goodness = pd.DataFrame({key: self._goodness(key) for key in keys if self.named[key]["runs"]}).T
        rows = []
        for metric in goodness:
            both = pd.concat([goodness[metric], strength], axis=1, join="inner").dropna().to_numpy(float)
            rho = fitting.spearman(both[:, 0], both[:, 1])
            rows.append({"metric": metric, "contestants": len(both), **_ends("rho", *rho)})
        frame = pd.DataFrame(rows, columns=["metric", "contestants", "rho", "rho_low", "rho_high"])
        return frame.dropna(subset="rho").sort_values("rho", ascending=False, ignore_index=True)

    def _goodness(self, key: str) -> dict[str, float]:
        """Return how good the metrics find the runs of a contestant, as means over its runs."""
        rows = []
        for path in self.named[key]["runs"]:
            if Path(path, "run.json").exists():
                run = Run(path)
                step = run.step
                rows.append({row["metric"]: _good(row) for row in run.evaluations() if row["step"] == step})
        return pd.DataFrame(rows).mean().dropna().to_dict() if rows else {}

    @property
    def comments(self) -> list[str]:
        """What reviewers remarked."""
        return list(self.votes.loc[self.votes["kind"] == "comment", "answer"])

    def trials(self, study: str) -> dict[int, float]:
        """Return the strengths of the trials of a sweep, by number.

        Raises:
            ValueError: if there is none of them.
        """
        known = self.contestants.set_index("key")["strength"].dropna().to_dict()
        of = {key: about["trial"] for key, about in self.named.items() if about.get("study") == study}
        if not set(of) & set(known):
            raise ValueError("nobody has compared trials of this sweep in these reviews")
        return {number: float(known[key]) for key, number in of.items() if key in known}


def _ends(name: str, value: float, low: float, high: float) -> dict[str, float]:
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _one(votes: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return the answers about one contestant alone."""
    return votes.loc[np.array([whose == (key,) for whose in votes["whose"]], bool)]


def _good(row: Mapping[str, Any]) -> float:
    """Return a figure of a scorecard so that more is better; NaN if it has none."""
    value, floor = row["value"], row["floor"]
    if value is None:
        return np.nan
    if row["better"] == "near floor":
        return np.nan if floor is None else -abs(value - floor)
    return value if row["better"] == "higher" else -value
