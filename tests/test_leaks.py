"""What is on both sides of a split is found, by id and by value, and honest recurrences are not."""

from dataclasses import replace

import numpy as np
import pytest

from conftest import shared_data
from vitalsynth import sources
from vitalsynth.evaluation import evaluate, leaks
from vitalsynth.sequences import Column, Schema, Sequences


@pytest.fixture(scope="module")
def sides():
    return sources.icu_demo().split(0.3, 0)


def test_a_planted_leak_is_refused_in_one_line(sides):
    train, test = sides
    patient = train.take(slice(5, 6))
    joined = {name: np.concatenate([getattr(test, name), getattr(patient, name)]) for name in ("values", "lengths")}
    joined |= {name: np.concatenate([getattr(test, name), getattr(patient, name)]) for name in ("static", "subject")}
    same_id = replace(test, **joined)
    with pytest.raises(ValueError, match=f"subject {patient.subject[0]} in both the training and the test set") as told:
        evaluate(train, same_id, test)
    assert "\n" not in str(told.value)
    renamed = replace(same_id, subject=np.concatenate([test.subject, [10**6]]))
    with pytest.raises(ValueError, match=r"1 of \d+ test sequences are also in the training set, value by value"):
        evaluate(train, renamed, test)


def test_ids_are_counted(sides):
    train, test = sides
    with pytest.raises(ValueError, match=r"subjects 0, 1, 2 and 7 more in both"):
        leaks.refuse(
            replace(train.take(slice(0, 10)), subject=np.arange(10)), replace(test, subject=np.arange(len(test)))
        )


def test_honest_real_data_pass(sides):
    leaks.refuse(*sides)
    assert leaks.copies(*sides) == 0
    leaks.refuse(*sources.etth1(folder=str(shared_data("etth1"))).split(0.3, 0))


def test_empty_short_and_recurring_sequences_are_no_leak(rng):
    schema = Schema((Column("alarm", "binary"), Column("x")))
    empty = Sequences(np.full((4, 6, 2), np.nan), schema)
    leaks.refuse(empty, replace(empty, subject=np.arange(4, 8)))
    assert leaks.copies(empty, empty) == 0
    alarms = Sequences((rng.random((60, 6, 2)) < 0.5).astype(float), schema)
    leaks.refuse(alarms.take(slice(0, 30)), alarms.take(slice(30, 60)))
    rhythms = rng.standard_normal((5, 12, 2))[rng.integers(5, size=60)]  # five kinds, each of many subjects
    recurring = Sequences(rhythms, schema)
    leaks.refuse(recurring.take(slice(0, 30)), recurring.take(slice(30, 60)))
    assert (
        leaks.copies(recurring.take(slice(0, 30)), recurring.take(slice(30, 60))) == 30
    )  # alike, and told from a leak
