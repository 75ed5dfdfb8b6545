"""What every model must beat has the form of the data, and of their laws exactly as much as it says."""

import numpy as np
import pytest

from families import cohort
from vitalsynth.evaluation.baselines import BASELINES, block_bootstrap, copy, gaussian
from vitalsynth.sequences import Column, Schema, Sequences


@pytest.mark.parametrize("draw", BASELINES.values(), ids=BASELINES)
def test_baselines_draw_what_has_the_form_of_the_data(draw):
    train = cohort(40)
    drawn = draw(train, 60, 3)
    assert drawn.schema == train.schema
    assert drawn.values.shape == (60, 6, 4)
    assert drawn.digest() == draw(train, 60, 3).digest() != draw(train, 60, 4).digest()
    assert set(np.unique(drawn.channel("rhythm"))[:3]) <= {0.0, 1.0, 2.0}
    assert drawn.lengths.min() < 6
    assert 0.2 < np.isnan(drawn.channel("temp")[drawn.alive]).mean() < 0.8
    assert np.nanmax(drawn.channel("hr")) <= np.nanmax(train.channel("hr"))


def test_a_copy_takes_each_sequence_once_before_any_twice():
    train = cohort(40)
    assert len(set(copy(train, 30, 0).subject)) == 30
    assert sorted(np.bincount(copy(train, 60, 0).subject)) == [1] * 20 + [2] * 20


def plain(values):
    return Sequences(values, Schema(tuple(Column(f"x{j}") for j in range(values.shape[2]))))


def test_blocks_come_from_training_sequences_and_their_ends_do_not_meet(rng):
    train = plain(rng.standard_normal((30, 8, 2)).astype(np.float32))
    drawn = block_bootstrap(train, 50, 0).values
    for start in range(0, 8, 2):
        distance = np.abs(drawn[:, None, start : start + 2] - train.values[None, :, start : start + 2]).max(axis=(2, 3))
        assert distance.min(axis=1).max() < 1e-5
    nearest = np.abs(drawn[:, None] - train.values[None]).max(axis=(2, 3)).min(axis=1)
    assert np.median(nearest) > 1


def test_the_gaussian_has_mean_and_covariance_of_the_data(rng):
    train = plain(rng.standard_normal((500, 6, 1)).cumsum(axis=1).astype(np.float32) + 5)
    drawn = gaussian(train, 20_000, 0).values[..., 0]
    np.testing.assert_allclose(drawn.mean(axis=0), train.values[..., 0].mean(axis=0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(train.values[..., 0].T), atol=0.25)
