"""People as the objective of a sweep: trials wait for them, in rounds, and the next are chosen by what they say."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from test_sweep import SINES, bench  # noqa: F401
from vitalsynth.cli import main
from vitalsynth.reviewing import fitting
from vitalsynth.reviewing.people import People
from vitalsynth.reviewing.review import Ballot, Review
from vitalsynth.sweeping import results
from vitalsynth.sweeping.plan import Axis, Plan
from vitalsynth.sweeping.sweep import Sweep

WIDE = 0.15
"""How far from what they like best people still like it."""


def answer(path, taste):
    """Answer a review by a taste in contestants, by name, and look when it matters."""
    review, ballots = Review(path), []
    names = {key: about["name"] for key, about in review.record["contestants"].items()}
    people, rng = People(review), np.random.default_rng(0)
    assert len(people.addresses) == review.reviewers
    for reviewer in range(review.reviewers):
        given = {}
        for item in review.letter(reviewer, 0):
            about = review.items[item]
            if about.kind == "pair":
                a, b = (taste(names[key]) for key in about.whose)
                given[item] = about.planted or ("A" if rng.random() < expit(a - b) else "B")
        ballots.append(Ballot(reviewer, 0, given, "page", review.record["until"] - 1))
    assert review.cast(ballots) == sum(len(ballot.answers) for ballot in ballots)


def test_a_sweep_that_people_judge_in_two_rounds(bench, monkeypatch, capsys):  # noqa: F811
    """Trained, judged, told, searched on; one that people see again has a strength that can be compared."""
    monkeypatch.setenv("VITALSYNTH_PRIVATE", str(Path("private").absolute()))
    Path("people.csv").write_text("".join(f"p{k}@x.org\n" for k in range(12)))
    search = ["--search", "tpe", "--trials", "4", "--per-round", "2", "--score", "people"]
    swept = ["--generator.hidden", "2..12", "--out", "judged", "--source.count", "150"]
    assert main(["sweep", *search, *SINES, *swept]) == 0
    sweep = Sweep("judged")
    assert sweep.unjudged() == [0, 1] and "review create judged" in capsys.readouterr().err
    assert main(["sweep", "work", "judged", "--quiet"]) == 0 and sweep.unjudged() == [0, 1]
    hidden = {f"judged {n:04}": trial.params["generator.hidden"] for n, trial in enumerate(sweep.trials())}
    taste = lambda name: {"real": 3.0}.get(name, hidden.get(name, 0) / 2)  # noqa: E731
    review = ["review", "create", "judged", "--to", "people.csv", "--channels", "1", "--quiet"]
    assert main(review) == 0
    answer("reviews/judged-1", taste)
    assert main(["review", "results", "reviews/judged-1", "--tell", "judged"]) == 0
    first = results.each(sweep).set_index("trial")["people"].to_dict()
    assert sweep.unjudged() == [] and len(first) == 2
    assert main(["sweep", "work", "judged", "--quiet"]) == 0 and sweep.unjudged() == [2, 3]
    hidden |= {f"judged {n:04}": trial.params["generator.hidden"] for n, trial in enumerate(sweep.trials())}
    assert main([*review, "--seed", "1"]) == 0
    again = {about.get("trial") for about in Review("reviews/judged-2").record["contestants"].values()}
    assert again == {None, 0, 1, 2, 3}
    answer("reviews/judged-2", taste)
    assert main(["review", "results", "reviews/judged-*", "--tell", "judged", "--quiet"]) == 0
    table = results.table(sweep)
    assert len(results.each(sweep)["people"].dropna()) == 4 and sweep.finished == sweep.total == 4
    assert table["people"].is_monotonic_decreasing
    order = table["generator.hidden"].to_numpy(float)
    assert np.corrcoef(order, table["people"].to_numpy(float))[0, 1] > 0.8
    assert main(["sweep", "show", "judged"]) == 0


def searched(folder, search, liked, rng):
    """Search for what people like, who compare trials, and return the values that were tried."""
    axis = Axis("generator.hidden", 2, "0..1000", True)
    plan = Plan(["train", "sines", ""], [axis], ["people"], search, 24, "", 1, "", {}, [], [], str(folder), 6)
    sweep = Sweep.create(folder, plan)
    chosen, who = np.zeros((0, 2), int), np.zeros(0, int)
    while True:
        while claim := sweep.claim():
            sweep.finish(claim, {})
        if not sweep.unjudged():
            return np.array([trial.params["generator.hidden"] / 1000 for trial in sweep.trials()])
        values = np.array([trial.params["generator.hidden"] / 1000 for trial in sweep.trials()])
        taste = np.append(-np.abs(values - liked) / 0.1, 1.0)  # the last is real
        new = [*sweep.unjudged(), len(values)]
        pairs = np.array([rng.choice(new, 2, replace=False) for _ in range(90)])
        wins = rng.random(90) < expit(taste[pairs[:, 0]] - taste[pairs[:, 1]])
        pairs = np.where(wins[:, None], pairs, pairs[:, ::-1])
        chosen = np.concatenate([chosen, np.where(pairs == len(values), 999, pairs)])  # over all rounds
        who = np.concatenate([who, np.arange(90) % 15])
        numbered = np.where(chosen == 999, len(values), chosen)
        strengths = fitting.bradley_terry(numbered, who, len(values) + 1, anchor=len(values)).value
        sweep.tell({k: float(strength) for k, strength in enumerate(strengths[:-1])})


def test_a_search_finds_what_people_like_more_often_than_chance(tmp_path):
    """24 trials in 4 rounds: the share of the last 12 near what they like best, over 8 tastes."""
    near = {"tpe": [], "random": []}
    for k, liked in enumerate(np.linspace(0.1, 0.9, 8)):
        for search, found in near.items():
            tried = searched(tmp_path / f"{search}-{k}", search, liked, np.random.default_rng(k))
            assert len(tried) == 24
            found.append(np.mean(np.abs(tried[12:] - liked) < WIDE))
    assert np.mean(near["tpe"]) > np.mean(near["random"]) + 0.15, near


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--score", "people,tstr"], "--score people goes alone"),
        (["--score", "people", "--prune", "median"], "--prune goes by one --score, of the log"),
        (["--score", "people", "--search", "tpe", "--trials", "2", "--per-round", "0"], "per_round"),
    ],
)
def test_mistakes_are_one_line(words, said, bench, capsys):  # noqa: F811
    assert main(["sweep", *words, *SINES, "--generator.hidden", "2..12", "--out", "wrong"]) == 2
    assert said in capsys.readouterr().err and not Path("wrong").exists()
