"""0/1 columns that know when they were last 1, against the closed form of renewal theory."""

import numpy as np
import pytest
import torch

from vitalsynth import generators
from vitalsynth.layers import Emission, Renewal
from vitalsynth.sequences import Block, Fixed, Shape

NEVER = -30.0
ALWAYS = 30.0


def renewal(*factors, columns=1, features=1):
    """Return one with the same factors for every column, whatever the features."""
    layer = Renewal(features, columns, len(factors) - 2)
    with torch.no_grad():
        layer.linear.bias.copy_(torch.tensor(factors).repeat(columns))
    return layer


def drawn(layer, logits, seed=0, imposed=None):
    """Return the draws of each step, and their log odds."""
    torch.manual_seed(seed)
    logistic = torch.logit(torch.rand(logits.shape).clamp(1e-6, 1 - 1e-6))
    odds = layer(torch.ones(*logits.shape[:2], 1), logits, logistic, imposed)
    return odds + logistic > 0, odds


def test_regular_measurements_are_regular():
    """Odds that are high four steps after the last 1, and before the first, and nowhere else."""
    layer = renewal(NEVER, NEVER, NEVER, ALWAYS, NEVER, ALWAYS)
    ones, _ = drawn(layer, torch.zeros(5, 13, 1))
    assert (ones[..., 0].nonzero()[:, 1].reshape(5, 4) == torch.tensor([0, 4, 8, 12])).all()


def test_draws_have_the_renewal_density():
    """u(t) = f(t) + Σ u(t - k) f(k), f being the law of the time between two ones (Feller, volume I, XIII.3)."""
    factors, first, length = [-1.0, 0.5, 1.5, -2.0], -0.5, 12
    hazard = torch.sigmoid(torch.tensor(factors)).numpy()
    hazards = np.concatenate([hazard[:3], np.full(length, hazard[3])])
    between = hazards * np.cumprod(np.concatenate([[1.0], 1 - hazards[:-1]]))
    never = torch.sigmoid(torch.tensor(first)).item()
    density = np.array([never * (1 - never) ** t for t in range(length)])
    for t in range(length):
        density[t] += sum(density[t - k] * between[k - 1] for k in range(1, t + 1))
    ones, _ = drawn(renewal(*factors, first), torch.zeros(40_000, length, 1))
    np.testing.assert_allclose(ones[..., 0].double().mean(dim=0), density, atol=0.01)


def test_factors_come_on_top_of_the_odds_of_a_step():
    layer = renewal(0.5, -1.0, 2.0, 0.25, columns=2)
    logits = torch.randn(50, 9, 2, generator=torch.Generator().manual_seed(1))
    ones, odds = drawn(layer, logits)
    for row in range(50):
        for column in range(2):
            last = None
            for step in range(9):
                ago = None if last is None else step - last
                factor = 0.25 if ago is None else (0.5, -1.0, 2.0)[min(ago, 3) - 1]
                assert odds[row, step, column].item() == pytest.approx(logits[row, step, column].item() + factor)
                last = step if ones[row, step, column] else last


def test_what_is_imposed_counts_as_drawn():
    layer = renewal(NEVER, ALWAYS, NEVER, NEVER)
    value, known = torch.zeros(3, 8, 1), torch.zeros(3, 8, 1, dtype=torch.bool)
    known[:, :4] = True
    value[:, 3] = 1
    ones, _ = drawn(layer, torch.zeros(3, 8, 1), imposed=(value, known))
    assert ones[:, 4:, 0].tolist() == [[False, True, False, True]] * 3


def test_gradients_take_the_past_as_given():
    layer = renewal(0.5, -1.0, 2.0, 0.25)
    logits = torch.zeros(1, 6, 1, requires_grad=True)
    _, odds = drawn(layer, logits)
    (slope,) = torch.autograd.grad(odds[0, 5, 0], logits, retain_graph=True)
    assert slope[0, :, 0].tolist() == [0, 0, 0, 0, 0, 1]
    (slope,) = torch.autograd.grad(odds.sum(), layer.linear.bias)
    assert slope.sum() == 6


def test_an_emission_renews_masks_and_binary_channels_but_not_how_long_a_sequence_is():
    blocks = [Block("continuous", gate=2), Block("binary"), Block("binary"), Block("binary")]
    emission = Emission(4, blocks, alive=3, renewal=2)
    assert [emission.binary[k] for k in emission.recurring] == [1, 2] and emission.renewal.columns == 2
    features, noise = torch.randn(7, 5, 4), torch.randn(7, 5, emission.noise)
    plain = Emission(4, blocks, alive=3)
    plain.linear.load_state_dict(emission.linear.state_dict())
    assert torch.equal(emission(features, noise), plain(features, noise))  # a beginner's factors are 0
    with torch.no_grad():
        emission.renewal.linear.bias.fill_(ALWAYS)
    out = emission(features, noise)
    assert (out[..., 1:3] == out[..., 3:]).all()
    known = torch.zeros_like(out, dtype=torch.bool)
    known[..., 2] = True
    unmeasured = Fixed(torch.zeros_like(out), known, out[:, 0, :0], known[:, 0, :0])
    assert (emission(features, noise, unmeasured)[..., [0, 2]] == 0).all()


def test_without_0_1_columns_there_is_nothing_to_renew():
    shape = Shape(5, (Block("continuous"),), (Block("continuous"), Block("categorical", 3)))
    assert generators.LSTM(shape, renewal=4).channels.renewal is None
    with pytest.raises(ValueError, match="renewal must be 0 or more, got 6, 0 and -1"):
        generators.LSTM(shape, renewal=-1)
