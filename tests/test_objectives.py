"""Objectives against values worked by hand, and penalties against closed forms."""

import math
from collections import Counter
from functools import partial

import pytest
import torch
from torch import nn

from families import DISCRIMINATORS, GENERATORS, OBJECTIVES, prepared
from vitalsynth import objectives, penalties
from vitalsynth.discriminators import Discriminator
from vitalsynth.objectives import Batch
from vitalsynth.sequences import Encoded

LOG2 = math.log(2)


class Linear(Discriminator):
    """D(x, s) = w·x + v·s: its gradient is (w, v) everywhere."""

    def __init__(self, length=3, channels=2, statics=1):
        super().__init__()
        self.w = nn.Parameter(torch.linspace(-1, 1, length * channels).reshape(length, channels))
        self.v = nn.Parameter(torch.full((statics,), 0.5))

    def forward(self, encoded, condition):
        return (encoded.x * self.w).sum(dim=(1, 2)) + encoded.s @ self.v


class Quadratic(Discriminator):
    """D(x, s) = a |x|² / 2: its gradient is a x."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.5))

    def forward(self, encoded, condition):
        return self.a / 2 * encoded.x.square().sum(dim=(1, 2))


class Fixed(Discriminator):
    """Scores real batches one thing and synthetic ones another, told apart by the first value."""

    def __init__(self, real, synthetic):
        super().__init__()
        self.real, self.synthetic = real, synthetic

    def forward(self, encoded, condition):
        return torch.where(encoded.x[:, 0, 0] > 0, self.real, self.synthetic) + 0 * encoded.x.sum(dim=(1, 2))


class Pyramid(Discriminator):
    """D = w·x summed over every resolution: its gradient is w at each of their numbers."""

    def __init__(self, weight):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(weight))

    def forward(self, encoded, condition):
        return self.w * sum(part.sum(dim=(1, 2)) for part in (encoded.x, *encoded.coarse))


class Shrinking(nn.Module):
    """A generator that emits its noise at 4, 2 and 1 steps of one channel."""

    noise = 7

    def forward(self, noise, condition):
        fine, middle, one = noise[..., None].split([4, 2, 1], dim=1)
        return Encoded(fine, noise[:, :0], condition, (middle, one))


def encoded(n=8, seed=0, offset=0.0):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, 2, generator=random) + offset
    return Encoded(x, torch.randn(n, 1, generator=random), torch.zeros(n, 0))


def marked(value):
    return Encoded(torch.full((8, 3, 2), value), torch.zeros(8, 1), torch.zeros(8, 0))


def softplus(x):
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("objective", "discriminator_loss", "generator_loss"),
    [
        (objectives.NonSaturating(smoothing=0.0), softplus(-2) + softplus(-1), softplus(1)),
        # real label 0.9: 0.9 softplus(-2) + 0.1 softplus(2)
        (objectives.NonSaturating(smoothing=0.1), 0.9 * softplus(-2) + 0.1 * softplus(2) + softplus(-1), softplus(1)),
        (objectives.Hinge(), 0.0, 1.0),
        (objectives.Wasserstein(penalty=0.0), -3.0, 1.0),
        (objectives.Relativistic(r1=0.0, r2=0.0), softplus(-3), softplus(3)),
    ],
    ids=["non-saturating", "smoothed", "hinge", "wasserstein", "relativistic"],
)
def test_losses_by_hand(objective, discriminator_loss, generator_loss):
    """D is 2 on real and -1 on synthetic."""
    real, synthetic, judge = marked(1.0), marked(-1.0), Fixed(2.0, -1.0)
    total = lambda terms: sum(terms.values()).item()  # noqa: E731
    assert total(objective.discriminator_loss(judge, real, synthetic)) == pytest.approx(discriminator_loss, abs=1e-6)
    assert total(objective.generator_loss(judge, real, synthetic)) == pytest.approx(generator_loss, abs=1e-6)


@pytest.mark.parametrize(
    "objective",
    [
        objectives.NonSaturating(smoothing=0.0),
        objectives.NonSaturating(smoothing=0.3),
        objectives.NonSaturating(smoothing=0.3, noisy=True),
        objectives.Hinge(),
        objectives.Relativistic(r1=0.0, r2=0.0),
    ],
)
def test_the_ideal_loss_is_the_best_of_a_discriminator_that_cannot_tell(objective):
    """Of all that score real and synthetic sequences alike."""
    torch.manual_seed(0)
    real, synthetic = (
        Encoded(torch.full((4_000, 3, 2), v), torch.zeros(4_000, 0), torch.zeros(4_000, 0)) for v in (1.0, -1.0)
    )
    blind = [Fixed(score, score) for score in torch.linspace(-1.5, 1.5, 61).tolist()]
    losses = [float(objective.discriminator_loss(judge, real, synthetic)["adversarial"]) for judge in blind]
    assert min(losses) == pytest.approx(objective.ideal, abs=2e-3)


def test_noisy_smoothing_is_one_sided_and_uniform():
    """Cross-entropy is linear in the label: its mean is that at the mean label, 0.8, on the real side only."""
    torch.manual_seed(0)
    real = Encoded(torch.ones(20_000, 3, 2), torch.zeros(20_000, 1), torch.zeros(20_000, 0))
    synthetic = Encoded(-real.x, real.s, real.condition)
    loss = objectives.NonSaturating(smoothing=0.4, noisy=True).discriminator_loss(Fixed(2.0, -1.0), real, synthetic)
    expected = 0.8 * softplus(-2) + 0.2 * softplus(2) + softplus(-1)
    assert float(loss["adversarial"]) == pytest.approx(expected, abs=0.005)


def test_exact_penalties_of_a_linear_discriminator():
    judge, real, synthetic = Linear(), encoded(seed=1), encoded(seed=2)
    squared = float((judge.w.square().sum() + judge.v.square().sum()).detach())
    terms = objectives.Relativistic(r1=3.0, r2=5.0).discriminator_loss(judge, real, synthetic)
    assert float(terms["r1"]) == pytest.approx(1.5 * squared, rel=1e-5)
    assert float(terms["r2"]) == pytest.approx(2.5 * squared, rel=1e-5)
    terms = objectives.Wasserstein(penalty=10.0).discriminator_loss(judge, real, synthetic)
    assert float(terms["penalty"]) == pytest.approx(10 * (math.sqrt(squared) - 1) ** 2, rel=1e-5)


def test_exact_penalty_and_its_gradient_of_a_quadratic_discriminator():
    """(γ/2) E|a x|² has the derivative γ a E|x|² in a: the double backward is right."""
    judge, real = Quadratic(), encoded(seed=1)
    zero = Encoded(torch.zeros_like(real.x), real.s, real.condition)
    terms = objectives.Relativistic(r1=3.0, r2=3.0).discriminator_loss(judge, real, zero)
    mean_square = float(real.x.square().sum(dim=(1, 2)).mean())
    assert float(terms["r1"]) == pytest.approx(1.5 * 1.5**2 * mean_square, rel=1e-5)
    assert float(terms["r2"]) == 0
    terms["r1"].backward()
    assert float(judge.a.grad) == pytest.approx(3.0 * 1.5 * mean_square, rel=1e-5)


def test_finite_differences_estimate_the_squared_gradient_without_bias():
    torch.manual_seed(0)
    one, judge = encoded(1), Quadratic().double()
    many = Encoded(one.x.double().expand(40_000, -1, -1), one.s.double().expand(40_000, -1), torch.zeros(40_000, 0))
    _, exact = penalties.squared_gradient(judge, many)
    scores, estimate = penalties.squared_slope(judge, many)
    torch.testing.assert_close(scores, judge(many, many.condition))
    ratio = estimate / exact
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.03)
    assert float(ratio.std()) == pytest.approx(math.sqrt(2), rel=0.05)  # as the docstring says


def test_slope_between_equals_the_norm_for_the_optimal_critic():
    """With all synthetic at -u and all real at +u, D = u·x has slope 1 between them, which is its gradient's norm."""
    unit = torch.zeros(3, 2)
    unit[0, 0] = 1.0
    judge = Linear()
    with torch.no_grad():
        judge.w.copy_(unit)
        judge.v.zero_()
    shift = lambda sign: Encoded(sign * unit.expand(8, 3, 2), torch.zeros(8, 1), torch.zeros(8, 0))  # noqa: E731
    torch.testing.assert_close(penalties.slope_between(judge, shift(1), shift(-1)), torch.ones(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(penalties.gradient_norm_between(judge, shift(1), shift(-1)), torch.ones(8))


def test_slope_between_is_at_most_the_norm():
    torch.manual_seed(0)
    judge, real, synthetic = Linear(), encoded(seed=1), encoded(seed=2)
    norm = (judge.w.square().sum() + judge.v.square().sum()).sqrt()
    assert (penalties.slope_between(judge, real, synthetic).abs() <= norm + 1e-4).all()


@pytest.mark.parametrize("estimator", ["exact", "finite-difference"])
def test_penalties_reach_every_resolution(estimator):
    """At 4, 2 and 1 steps the gradient of w Σ has the squared norm 7w², and real sequences are averaged over time."""
    torch.manual_seed(0)
    networks = {"generator": Shrinking(), "discriminator": Pyramid(0.5)}
    real = Encoded(torch.randn(5_000, 4, 1), torch.zeros(5_000, 0), torch.zeros(5_000, 0))
    batch = Batch(real, torch.randn(5_000, 7))
    relativistic = objectives.Relativistic(r1=2.0, r2=4.0, estimator=estimator)
    terms = relativistic.loss("discriminator", networks, batch, 0)
    assert float(terms["r1"]) == pytest.approx(7 * 0.25, rel=1e-5 if estimator == "exact" else 0.1)
    assert float(terms["r2"]) == pytest.approx(2 * 7 * 0.25, rel=1e-5 if estimator == "exact" else 0.1)
    on_real = 0.5 * (1 + 1 / 2 + 1 / 4) * real.x.sum(dim=(1, 2))
    on_synthetic = 0.5 * batch.noise.sum(dim=1)
    expected = nn.functional.softplus(on_synthetic - on_real).mean()
    assert float(terms["adversarial"]) == pytest.approx(float(expected), rel=1e-5)
    terms = objectives.Wasserstein(penalty=3.0).loss("discriminator", networks, batch, 0)
    assert float(terms["penalty"]) == pytest.approx(3 * (math.sqrt(7) / 2 - 1) ** 2, rel=1e-4)


def test_real_sequences_are_halved_as_synthetic_ones_come():
    """Three steps of images two pixels wide, in two colours: 3x2, 2x1, 1x1; what has no partner stays as it is."""
    x = torch.tensor([[[1.0, 10.0, 3.0, 30.0], [5.0, 50.0, 7.0, 70.0], [9.0, 90.0, 11.0, 110.0]]])
    real, none = Encoded(x, x[:, 0, :0], x[:, 0, :0]), x[:, :0]
    coarse = objectives.resolved(real, Encoded(x, real.s, real.condition, (none, none)), row=2).coarse
    assert coarse[0].tolist() == [[[4.0, 40.0], [10.0, 100.0]]]
    assert coarse[1].tolist() == [[[7.0, 70.0]]]


class Watched(Linear):
    """Notes whether its inputs are to be differentiated, as penalties need."""

    differentiated = False

    def forward(self, encoded, condition):
        self.differentiated |= encoded.x.requires_grad
        return super().forward(encoded, condition)


@pytest.mark.parametrize("make", [objectives.Relativistic, partial(objectives.Wasserstein, penalty=7.0)])
def test_lazy_penalties_are_the_same_on_average_and_really_lazy(make):
    """Of steps 6, 7, 8, ... every fourth has penalties, of four times the weight; the others differentiate no input."""
    real, synthetic = encoded(seed=1), encoded(seed=2)
    always, total = make().discriminator_loss(Linear(), real, synthetic, 6), Counter()
    for step in range(6, 14):
        judge = Watched()
        terms = make(every=4).discriminator_loss(judge, real, synthetic, step)
        assert (set(terms) == set(always)) == judge.differentiated == (step % 4 == 0)
        for name, term in terms.items():
            total[name] += float(term.detach())
    assert total == pytest.approx({name: 8 * float(term.detach()) for name, term in always.items()}, rel=1e-5)
    with pytest.raises(ValueError, match="every 2nd"):
        make(every=0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_player_trains_its_own_network_only(name):
    preparation, data = prepared(("died",))
    torch.manual_seed(0)
    networks = {
        "generator": GENERATORS["GRU"](preparation.shape),
        "discriminator": DISCRIMINATORS["LSTM"](preparation.shape),
    }
    objective = OBJECTIVES[name]()
    assert set(objective.players(0)) == set(networks)
    noise = torch.randn(len(data), networks["generator"].noise)
    for player in objective.players(0):
        for other, network in networks.items():
            network.requires_grad_(other == player).zero_grad()
        terms = objective.loss(player, networks, Batch(data, noise), 0)
        assert all(term.dim() == 0 and torch.isfinite(term) for term in terms.values())
        sum(terms.values()).backward()
        for other, network in networks.items():
            norms = [p.grad.abs().sum() for p in network.parameters() if p.grad is not None]
            assert bool(norms) == (other == player), (player, other)
            assert not norms or sum(norms) > 0


@pytest.mark.parametrize("bad", [{"smoothing": 0.7}, {"discriminator_steps": 0}])
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValueError, match=r"label smoothing|at least 1 step"):
        objectives.NonSaturating(**bad)
