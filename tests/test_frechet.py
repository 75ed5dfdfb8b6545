"""The Fréchet distance against closed forms, and on sequences whose relation is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from vitalsynth.evaluation import context_fid, frechet, ts2vec
from vitalsynth.evaluation.frechet import _gaussian, frechet_distance, reduced
from vitalsynth.evaluation.measures import Unanswerable
from vitalsynth.sequences import Column, Schema, Sequences


def test_closed_forms_of_two_gaussians(rng):
    mean, other = rng.standard_normal((2, 4))
    scale, wide = rng.uniform(0.5, 2, (2, 4))
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    turned = lambda variances: turn @ np.diag(variances) @ turn.T  # noqa: E731
    commuting = frechet_distance((mean, turned(scale**2)), (other, turned(wide**2)))
    assert commuting == pytest.approx(np.square(mean - other).sum() + np.square(scale - wide).sum())
    a, b = (m @ m.T for m in rng.standard_normal((2, 4, 4)))
    by_scipy = np.square(mean - other).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance((mean, a), (other, b)) == pytest.approx(by_scipy)
    assert frechet_distance((mean, a), (mean, a)) == pytest.approx(0, abs=1e-9)


def test_samples_of_two_gaussians_are_as_far_apart_as_their_laws(rng):
    x, y = rng.standard_normal((20_000, 3)), 0.5 + 2 * rng.standard_normal((20_000, 3))
    found = frechet_distance(*(_gaussian(z, np.ones(len(z))) for z in (x, y)))
    assert found == pytest.approx(3 * 0.5**2 + 3 * (2 - 1) ** 2, rel=0.03)


def test_a_weight_is_a_repetition(rng):
    x, weights = rng.standard_normal((6, 2)), np.array([1.0, 0, 2, 1, 3, 1])
    mean, covariance = _gaussian(x, weights)
    drawn = np.repeat(x, weights.astype(int), axis=0)
    np.testing.assert_allclose(mean, drawn.mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(drawn.T, ddof=0))


def test_features_are_reduced_to_what_varies_and_constant_ones_left_out(rng):
    x = rng.standard_normal((300, 2)) @ rng.standard_normal((2, 10))
    x = np.concatenate([x, np.ones((300, 1))], axis=1)
    first, second = reduced([x, x + 3], 2)
    assert first.var(axis=0).sum() == pytest.approx(1)
    assert np.linalg.matrix_rank(np.cov(first.T)) == 2
    assert np.abs((second - first).mean(axis=0)).max() > 0.5


def walks(n, seed):
    rng = np.random.default_rng(seed)
    schema = Schema((Column("a"), Column("b")))
    return Sequences(rng.standard_normal((n, 20, 2)).cumsum(axis=1), schema, subject=1000 * seed + np.arange(n))


def test_equal_laws_are_at_the_floor_and_others_are_not():
    train, test, made = (walks(200, k) for k in (1, 2, 3))
    got = frechet(train, test, made)
    assert got["frechet_floor_low"] < got["frechet"] < got["frechet_floor_high"]
    assert got["frechet_low"] < got["frechet"] < got["frechet_high"]
    reversed_ = frechet(train, test, replace(made, values=made.values[:, ::-1].copy()))
    assert reversed_["frechet_low"] > got["frechet_floor_high"]
    with pytest.raises(Unanswerable, match="15 sequences say too little"):
        frechet(train, test, made.take(slice(0, 15)))


def test_context_fid_sees_what_it_learned_from_backwards():
    train, test, made = (walks(150, k) for k in (1, 2, 3))
    got = context_fid(train, test, made)
    assert got["context_fid_floor_low"] < got["context_fid"] < got["context_fid_floor_high"]
    reversed_ = context_fid(train, test, replace(made, values=made.values[:, ::-1].copy()))
    assert reversed_["context_fid_low"] > got["context_fid_floor_high"]


def test_contrast_is_its_definition(rng):
    """The authors' instance loss, written out: for each step, each view's item among all others of both views."""
    first, second = rng.standard_normal((2, 3, 4, 5))
    both, losses = np.concatenate([first, second]), []
    for step in range(4):
        for k in range(6):
            alike = {j: np.exp(both[k, step] @ both[j, step]) for j in range(6) if j != k}
            losses.append(-np.log(alike[(k + 3) % 6] / sum(alike.values())))
    found = ts2vec.contrast(torch.from_numpy(first), torch.from_numpy(second))
    assert found.item() == pytest.approx(np.mean(losses))


def test_the_hierarchical_loss_is_the_mean_over_scales(rng):
    first, second = torch.from_numpy(rng.standard_normal((2, 3, 5, 4)))
    pooled = [z[:, :4].reshape(3, 2, 2, 4).amax(dim=2) for z in (first, second)]
    last = [z.amax(dim=1, keepdim=True) for z in pooled]
    swapped = lambda pair: [z.transpose(0, 1) for z in pair]  # noqa: E731
    parts = [ts2vec.contrast(*pair) + ts2vec.contrast(*swapped(pair)) for pair in ((first, second), pooled)]
    expected = sum(part / 2 for part in (*parts, ts2vec.contrast(*last))) / 3
    assert ts2vec.hierarchical(first, second).item() == pytest.approx(expected.item())


def test_an_encoder_learns_and_sees_the_whole_sequence(rng):
    x = walks(64, 5).values
    encoder = ts2vec.learn(x, 60)
    overlap = lambda e: ts2vec.hierarchical(*ts2vec._overlap(e, torch.from_numpy(x).float(), np.random.default_rng(1)))  # noqa: E731
    with torch.no_grad():
        torch.manual_seed(0)
        learned, not_yet = overlap(encoder), overlap(ts2vec.learn(x, 0))
    assert learned < 0.8 * not_yet
    moved = x.copy()
    moved[:, 0] += 1
    steps = [encoder(torch.from_numpy(each).float()) for each in (x, moved)]
    assert (steps[0][:, -1] != steps[1][:, -1]).any()
    np.testing.assert_array_equal(ts2vec.embed(encoder, x), ts2vec.embed(ts2vec.learn(x, 60), x))
