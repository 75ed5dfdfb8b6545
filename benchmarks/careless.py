"""Are the careless found, and does the true ranking come back? Rounds of people of known taste, by their answers alone.

    OMP_NUM_THREADS=1 python benchmarks/careless.py --rounds 200
    python benchmarks/careless.py --table                # what is there so far, as Markdown

In each round four runs of known strengths and real sequences are judged by 30 who look and 4 who guess. Those who look
choose by the model of Bradley and Terry, and answer each question as if they guessed in --slips of the cases. A row per
number of planted items goes to benchmarks/results/careless.jsonl.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from results import record, rows
from scipy.special import expit

from vitalsynth.reviewing import asking
from vitalsynth.reviewing.results import Results
from vitalsynth.reviewing.review import ANSWERS, REAL, SPOILT, Ballot, Review

TASTE = {REAL: 0.0, "a": -1.0, "b": -2.2, "c": -3.4, "d": -4.6, SPOILT: -9.0}
LOOK, GUESS = 30, 4
FIGURES = {
    "found": "who guess, found",
    "left_out_wrongly": "who look, left out",
    "exactly": "rounds with all found and no other",
    "ranking": "rounds with the true ranking",
    "covered": "truth in 95 % intervals",
}


def answer(item, slips, rng):
    """Return what somebody answers who looks, but for some slips."""
    if rng.random() < slips:
        return str(rng.choice(ANSWERS[item.kind]))
    taste = [TASTE[key] for key in item.whose]
    if item.kind == "pair":
        return "A" if rng.random() < expit(taste[0] - taste[1]) else "B"
    if item.kind == "single":
        return "real" if rng.random() < expit(2 + taste[0]) else "generated"
    return str(round(np.clip(5 + taste[0] + rng.normal() / 2, 1, 5)))


def judged(planted, slips, seed, folder):
    """Return what came of one round, beside what is true."""
    rng = np.random.default_rng(seed)
    names = {key: [f"{rng.bytes(8).hex()}.png" for _ in range(3)] for key in TASTE}
    wanted = asking.Wanted(pairs=6, singles=2, ratings=2, planted=planted, comment=False, per_mail=100)
    items, letters = asking.assigned(asking.pool(names, rng), LOOK + GUESS, wanted, rng)
    contestants = {key: {"name": key, "runs": []} for key in TASTE}
    about = {"until": time.time() + 1e6, "data": "none", "contestants": contestants}
    pictures = {name: b"" for mine in names.values() for name in mine}
    review = Review.create(Path(folder) / str(seed), items, letters, pictures, **about)
    for who, (letter,) in enumerate(letters):
        answers = {k: answer(items[k], slips if who < LOOK else 1.0, rng) for k in letter}
        review.cast([Ballot(who, 0, answers, "mail", time.time())])
    found = Results([review])
    careless = set(found.people.loc[found.people["careless"], "reviewer"])
    table = found.contestants.set_index("key").loc[list(TASTE)[:-1]]
    truth = np.array([TASTE[key] for key in table.index])
    covered = (table["strength_low"] <= truth) & (truth <= table["strength_high"])
    return {
        "found": sum(who >= LOOK for who in careless) / GUESS,
        "left_out_wrongly": sum(who < LOOK for who in careless) / LOOK,
        "exactly": careless == set(range(LOOK, LOOK + GUESS)),
        "ranking": table["strength"].is_monotonic_decreasing,
        "covered": float(covered[1:].mean()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planted", nargs="+", type=int, default=[4, 8, 10])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--slips", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.table:
        print(f"| planted | {' | '.join(FIGURES.values())} |")
        print("|---" * 6 + "|")
        for row in rows("careless"):
            print(f"| {row['planted']} | " + " | ".join(f"{row[key]:.3f}" for key in FIGURES) + " |")
        return
    for planted in asked.planted:
        with tempfile.TemporaryDirectory() as folder:
            rounds = [judged(planted, asked.slips, asked.seed + k, folder) for k in range(asked.rounds)]
        means = {key: round(float(np.mean([each[key] for each in rounds])), 4) for key in FIGURES}
        row = {"planted": planted, "rounds": asked.rounds, "slips": asked.slips, "seed": asked.seed}
        record("careless", row | means)


if __name__ == "__main__":
    main()
