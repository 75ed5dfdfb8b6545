"""The autoregressive generator: its likelihood is a likelihood, and it draws what it says is likely."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.special import ndtr

from vitalsynth.autoregressive import BLUR, Autoregressive, _transitions, habits
from vitalsynth.laws import Laws, _log_between, _log_mixture
from vitalsynth.preparation import Preparation
from vitalsynth.sequences import Block, Column, Encoded, Fixed, Schema, Sequences, Shape

SHAPE = Shape(
    length=5,
    x=(
        Block("continuous", gate=6),
        Block("continuous", grid=(0.5, 0.1), range=(-1.4, 1.6)),
        Block("binary"),
        Block("categorical", 3),
        Block("binary"),
        Block("binary"),
    ),
    s=(Block("continuous", gate=1), Block("binary"), Block("categorical", 2)),
    condition=2,
    alive=7,
)


def randomised(generator):
    """Give every parameter a value that matters, as training would."""
    for parameter in generator.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return generator.eval()


def drawn(generator, count, condition=2):
    with torch.no_grad():
        return generator(torch.randn(count, generator.noise), torch.randn(count, condition))


@pytest.mark.parametrize("patch", [1, 2, 3, 5])
def test_samples_obey_the_form_of_the_data(patch):
    torch.manual_seed(patch)
    sample = drawn(randomised(Autoregressive(SHAPE, hidden=8, head=4, components=2, patch=patch)), 500)
    x, s = sample.x, sample.s
    assert x.shape == (500, 5, 8) and s.shape == (500, 4)
    assert set(x[..., 2].unique().tolist()) <= {0.0, 1.0} and set(x[..., 6].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(x[..., 0] != 0, x[..., 6] > 0)  # a value where the mask says so, and nowhere else
    alive = x[..., 7]
    assert (alive[:, 0] == 1).all() and (alive.diff(dim=1) <= 0).all() and (alive[:, -1] == 0).any()
    assert (x[alive == 0] == 0).all()
    assert torch.equal(x[..., 3:6].sum(-1), alive)
    on_grid = (x[..., 1][alive > 0] - 0.1) / 0.5
    assert torch.allclose(on_grid, on_grid.round(), atol=1e-5) and on_grid.abs().max() <= 3.001
    assert torch.equal(s[:, 0] != 0, s[:, 1] > 0) and torch.equal(s[:, 2:].sum(-1), torch.ones(500))


@pytest.mark.parametrize("repeats", [0.0, 0.4])
@pytest.mark.parametrize("patch", [1, 2])
def test_probabilities_of_all_sequences_sum_to_one(patch, repeats):
    """Every sequence of a small discrete world, with gaps, an end and categories."""
    shape = Shape(
        2,
        (
            Block("continuous", gate=3, grid=(1.0, 0.0), range=(-1.0, 1.0), repeats=repeats),
            Block("categorical", 2),
            Block("binary"),
            Block("binary"),
        ),
        (Block("binary"),),
        1,
        alive=4,
    )
    torch.manual_seed(0)
    generator = randomised(Autoregressive(shape, hidden=6, head=4, components=2, patch=patch))
    step = [
        [v * m, *c, m, 1.0]
        for m in (0.0, 1.0)
        for v in ((-1.0, 0.0, 1.0) if m else (0.0,))
        for c in ((1.0, 0.0), (0.0, 1.0))
    ]
    over = [0.0] * 5
    rows = [[a, b] for a in step for b in (*step, over)]
    x = torch.tensor([row for row in rows for _ in range(2)])
    s = torch.tensor([[0.0], [1.0]]).repeat(len(rows), 1)
    total = generator.log_likelihood(Encoded(x, s, torch.full((len(x), 1), 0.7))).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("repeats", [0.0, 0.4])
@pytest.mark.parametrize("patch", [1, 2, 3])
def test_frequencies_are_the_probabilities(patch, repeats):
    block = Block("continuous", gate=1, grid=(1.0, 0.0), range=(0.0, 1.0), repeats=repeats)
    shape = Shape(3, (block, Block("binary")))
    torch.manual_seed(1)
    generator = randomised(Autoregressive(shape, hidden=6, head=4, components=2, patch=patch))
    sample = drawn(generator, 20_000, condition=0)
    rows, counts = np.unique(sample.x.flatten(1).numpy(), axis=0, return_counts=True)
    worlds = Encoded(torch.from_numpy(rows).unflatten(1, (3, 2)), torch.zeros(len(rows), 0), torch.zeros(len(rows), 0))
    probability = generator.log_likelihood(worlds).exp().detach().numpy()
    expected = probability * 20_000
    assert probability.sum() == pytest.approx(1, abs=0.01)
    assert (np.abs(counts - expected) < 4.5 * np.sqrt(expected) + 3).all()


def test_a_density_integrates_to_one():
    shape = Shape(1, (Block("continuous"),))
    torch.manual_seed(2)
    generator = randomised(Autoregressive(shape, hidden=6, head=4, components=3))
    x = torch.linspace(-60, 60, 200_001)[:, None, None]
    none = torch.zeros(len(x), 0)
    density = generator.log_likelihood(Encoded(x, none, none)).exp()
    assert torch.trapezoid(density, x[:, 0, 0]).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("patch", [1, 2])
def test_what_was_measured_before_comes_again_as_often_as_is_likely(patch):
    """Of a repeat there is a probability, of all else a density: what both come to is what is drawn."""
    shape = Shape(2, (Block("continuous", repeats=0.4),))
    torch.manual_seed(3)
    generator = randomised(Autoregressive(shape, hidden=6, head=4, components=2, patch=patch))
    x = torch.full((200_002, 2, 1), 0.3)
    x[1:, 1, 0] = torch.linspace(-60, 60, 200_001)
    none = torch.zeros(len(x), 0)
    likely = generator.log_likelihood(Encoded(x, none, none)).exp().detach()
    others = torch.trapezoid(likely[1:], x[1:, 1, 0])
    share = (likely[0] / (likely[0] + others)).item()
    n = 20_000
    none = torch.zeros(n, 0)
    past = Fixed(x[:1].expand(n, 2, 1), torch.tensor([True, False])[None, :, None].expand(n, 2, 1), none, none.bool())
    generator.requires_grad_(False)
    again = (generator(torch.randn(n, generator.noise), none, past).x[:, 1] == x[0, 0]).double().mean().item()
    assert 0.1 < share < 0.9 and again == pytest.approx(share, abs=4.5 * math.sqrt(share * (1 - share) / n))


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_nothing_comes_again_before_it_was_measured(patch):
    shape = Shape(4, (Block("continuous", gate=1, repeats=0.9), Block("binary")))
    torch.manual_seed(3)
    values, there = drawn(Autoregressive(shape, hidden=6, head=4, patch=patch), 2000, condition=0).x.unbind(2)
    last, again, new = torch.full((2000,), torch.nan), 0, 0
    for now, measured in zip(values.unbind(1), there.unbind(1), strict=True):
        assert (now[(measured > 0) & last.isnan()] != 0).all()  # 0 is what stands for nothing
        both = (measured > 0) & ~last.isnan()
        again, new = again + int((now == last)[both].sum()), new + int((now != last)[both].sum())
        last = torch.where(measured > 0, now, last)
    assert 0.6 < again / (again + new) < 0.98


def test_repeats_are_told_by_the_preparation():
    weight = np.array([[70.0, np.nan, 70.0, 71.0], [60.0, 60.0, np.nan, 60.0]] * 20)
    pulse = np.array([[70.0, 71.0, 71.0, 72.0], [60.0, 60.0, 61.0, 62.0]] * 20)
    values = np.stack([weight, pulse, pulse, np.random.default_rng(0).standard_normal((40, 4))], axis=2)
    columns = (Column("weight", resolution=1.0), Column("pulse", resolution=1.0), Column("as measured"), Column("x"))
    preparation = Preparation.fit(Sequences(values, Schema(columns)))
    told = [block.repeats for block in preparation.shape.x if block.kind == "continuous"]
    assert told == pytest.approx([0.75, 0.0, 1 / 3, 0.0])  # on a grid only where they are most
    assert Preparation.from_json(preparation.to_json()).shape == preparation.shape


def test_the_past_is_all_a_step_depends_on():
    torch.manual_seed(3)
    generator = randomised(Autoregressive(SHAPE, hidden=8, head=4, components=2))
    noise, condition = torch.randn(4, generator.noise), torch.randn(4, 2)
    first = generator(noise, condition)
    noise[:, -generator.laws.noise :] = torch.randn(4, generator.laws.noise)  # of the last step
    assert torch.equal(generator(noise, condition).x[:, :-1], first.x[:, :-1])


@pytest.mark.parametrize("width", [1e-4, 0.011, 0.5, 3.0])
def test_the_mass_of_a_cell_far_out_is_exact(width):
    lower = np.linspace(-12, 12, 97)
    middle = lower + width / 2
    narrow = norm.logpdf(middle) + np.log(width)
    ours = _log_between(*(torch.from_numpy(edge).float() for edge in (lower, lower + width, narrow))).numpy()
    low, high = np.where(middle > 0, -lower - width, lower), np.where(middle > 0, -lower, lower + width)
    exact = norm.logcdf(high) + np.log(-np.expm1(norm.logcdf(low) - norm.logcdf(high)))
    assert np.abs(ours - exact).max() < 2e-3


def test_a_cell_is_differentiable_however_far_it_lies():
    place = torch.tensor([-1e6, -200.0, -31.0, -29.0, 0.0, 29.0, 31.0, 200.0, 1e6], requires_grad=True)
    mass = _log_between(place, place + 2, torch.zeros(9))
    mass.sum().backward()
    assert torch.isfinite(mass).all() and place.grad is not None
    assert (place.grad.sign() == torch.tensor([1, 1, 1, 1, -1, -1, -1, -1, -1])).all()
    assert place.grad[1].item() == pytest.approx(198, rel=0.01)  # of -b²/2 at b = -198


def test_cells_at_the_ends_take_the_tails():
    cells = torch.tensor([[1.0, 0.0, 0.0, 2.0]]).expand(3, -1)
    x = torch.tensor([0.0, 1.0, 2.0])
    mass = _log_mixture(x, torch.zeros(3, 4), torch.ones(3), cells, 1, torch.full((3, 1), -5.0)).exp()
    tail = ndtr(torch.tensor(-0.5))
    assert torch.allclose(mass, torch.stack([tail, 1 - 2 * tail, tail]), atol=1e-5)


def test_it_learns_a_process_whose_entropy_is_known():
    """An AR(1) process: the best there is are the entropies of its steps, 0.5 ln(2 π e var)."""
    from vitalsynth.sources import ar1

    data = ar1(count=2000, length=8, coefficient=0.9, noise=1.0)
    preparation = Preparation.fit(data)
    encoded = preparation.encode(data)
    scale = preparation.channels[0].normaliser.scale
    entropies = [0.5 * math.log(2 * math.pi * math.e * v / scale**2) for v in (1 / (1 - 0.81), *[1.0] * 7)]
    torch.manual_seed(0)
    generator = Autoregressive(preparation.shape, hidden=16, head=16, components=2, patch=1, dropout=0.0)
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-2)
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 150)
        loss = -generator.log_likelihood(encoded.take(torch.randint(2000, (128,)))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fresh = preparation.encode(ar1(count=4000, length=8, coefficient=0.9, noise=1.0, seed=1))
    assert -generator.log_likelihood(fresh).mean().item() == pytest.approx(sum(entropies), abs=0.15)


def test_what_is_not_measured_does_not_count():
    """Values behind a closed gate carry no likelihood and no information."""
    torch.manual_seed(4)
    generator = randomised(Autoregressive(SHAPE, hidden=8, head=4, components=2))
    sample = drawn(generator, 50)
    closed = (sample.x[..., 6] == 0) & (torch.arange(5) > 0)
    changed = sample.x.clone()
    changed[..., 0] = torch.where(closed, 99.0, sample.x[..., 0])
    assert closed.any()
    theirs = generator.log_likelihood(Encoded(changed, sample.s, sample.condition))
    assert torch.equal(generator.log_likelihood(sample), theirs)


def test_all_rows_say_the_same_as_the_measured_ones_alone(monkeypatch):
    """A GPU works out all rows and throws away those not measured: same likelihood, same gradients."""
    torch.manual_seed(5)
    generator = randomised(Autoregressive(SHAPE, hidden=8, head=4, components=2, patch=2))
    sample, found = drawn(generator, 50), []
    assert (sample.x[..., 6] == 0).any()
    generator, sample = generator.double(), Encoded(*(part.double() for part in (sample.x, sample.s, sample.condition)))
    for rows in (Laws._measured_rows, lambda self, values: {}):
        monkeypatch.setattr(Laws, "_measured_rows", rows)
        likelihood = generator.log_likelihood(sample)
        found.append([likelihood, *torch.autograd.grad(likelihood.sum(), list(generator.parameters()))])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(
    "wrong", [{"finest": 0.0}, {"finest": -1.0}, {"dropout": 1.0}, {"hidden": 0}, {"layers": 0}, {"patch": -1}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Autoregressive(SHAPE, **wrong)


def test_the_grid_is_told_by_the_preparation():
    values = np.random.default_rng(0).integers(0, 9, (50, 4, 1)) * 0.5
    data = Sequences(values, Schema((Column("x", resolution=0.5),)))
    preparation = Preparation.fit(data)
    block = preparation.shape.x[0]
    assert block.grid is not None and block.range is not None
    cells = (preparation.encode(data).x.double() - block.grid[1]) / block.grid[0]
    assert torch.allclose(cells, cells.round(), atol=1e-5)
    assert block.range == pytest.approx(
        (preparation.encode(data).x.min().item(), preparation.encode(data).x.max().item())
    )


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_a_past_is_gone_on_from_as_the_probabilities_say(patch):
    """Given the first step, the others come as often as log p(whole) - log p(first) says; a mask is obeyed."""
    shape = Shape(3, (Block("continuous", gate=1, grid=(1.0, 0.0), range=(0.0, 1.0)), Block("binary")))
    torch.manual_seed(1)
    generator = randomised(Autoregressive(shape, hidden=6, head=4, components=2, patch=patch))
    n = 20_000
    past = torch.tensor([1.0, 1.0]).expand(n, 3, 2)
    known = (torch.arange(3) == 0)[None, :, None].expand(n, 3, 2)
    none = torch.zeros(n, 0)
    fixed = Fixed(past, known, none, none.bool())
    generator.requires_grad_(False)
    sample = generator(torch.randn(n, generator.noise), none, fixed)
    assert (sample.x[:, 0] == 1).all()
    rows, counts = np.unique(sample.x.flatten(1).numpy(), axis=0, return_counts=True)
    step = [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    worlds = torch.tensor([[(1.0, 1.0), b, c] for b in step for c in step])
    few = torch.zeros(len(worlds), 0)
    probability = generator.log_likelihood(Encoded(worlds, few, few)).exp()
    probability = (probability / probability.sum()).numpy()
    often = dict(zip(map(tuple, rows.tolist()), counts, strict=True))
    counted = np.array([often.get(tuple(world), 0) for world in worlds.flatten(1).tolist()])
    assert (np.abs(counted - n * probability) < 4.5 * np.sqrt(n * probability) + 3).all()

    never = Fixed(torch.zeros(n, 3, 2), (torch.arange(2) == 1).expand(n, 3, 2), none, none.bool())
    assert (generator(torch.randn(n, generator.noise), none, never).x == 0).all()


@pytest.fixture(scope="module")
def outlined():
    """A network that has learned walks from their outline and without it, the preparation, and the walks."""
    torch.manual_seed(0)
    walks = np.random.default_rng(0).normal(size=(600, 12, 1)).cumsum(axis=1)
    s = Sequences(walks, Schema((Column("walk"),)))
    preparation = Preparation.fit(s, outline=2)
    generator = Autoregressive(preparation.shape, hidden=24, head=16, components=2, patch=3, dropout=0)
    optimizer, encoded = torch.optim.Adam(generator.parameters(), 5e-3), preparation.encode(s)
    for _ in range(300):
        optimizer.zero_grad()
        (-generator.log_likelihood(encoded.take(torch.randint(600, (64,)))).mean()).backward()
        optimizer.step()
    return generator.eval(), preparation, encoded


def test_steps_fill_in_the_outline_that_was_drawn(outlined):
    generator, preparation, _ = outlined
    sample = drawn(generator, 500, condition=0)
    again = preparation.encode(preparation.decode(sample)).s
    for j, least in enumerate((0.85, 0.7)):  # by the blur alone 0.96
        assert np.corrcoef(sample.s[:, j], again[:, j])[0, 1] > least
    assert sample.s.std(dim=0).min() > 0.8 and sample.s.std(dim=0).max() < 1.2


def test_a_past_is_gone_on_from_whatever_outline_was_drawn(outlined):
    generator, _, encoded = outlined
    known = (torch.arange(12) < 6)[None, :, None].expand(600, -1, -1)
    fixed = Fixed(encoded.x, known, encoded.s, torch.zeros_like(encoded.s, dtype=torch.bool))
    noise = torch.randn(600, generator.noise)
    other = torch.cat([torch.randn(600, generator.static_laws.noise), noise[:, generator.static_laws.noise :]], dim=1)
    with torch.no_grad():
        one, two = (generator(each, torch.zeros(600, 0), fixed) for each in (noise, other))
    assert torch.equal(one.x, two.x) and not torch.equal(one.s, two.s)
    on = one.x[:, -1, 0] - one.x[:, 5, 0]  # six steps further, whose deviation is known of a walk
    real = encoded.x[:, -1, 0] - encoded.x[:, 5, 0]
    assert on.std() == pytest.approx(float(real.std()), rel=0.15)


def test_by_dropout_an_outlines_law_knows_less_whom_it_learned_from():
    """Walks of steps that are all alike: what it says of 300 that it learned, blurred, and of 300 others."""
    walks = np.random.default_rng(1).normal(size=(600, 10, 1)).cumsum(axis=1)
    s = Sequences(walks, Schema((Column("walk"),)))
    preparation = Preparation.fit(s.take(slice(0, 300)), outline=8)
    learned, others = (preparation.encode(s.take(part)) for part in (slice(0, 300), slice(300, 600)))

    def known_by(dropout):
        torch.manual_seed(0)
        generator = Autoregressive(preparation.shape, hidden=4, head=16, components=4, dropout=dropout)
        optimizer = torch.optim.Adam(generator.static_laws.parameters(), 5e-3)
        for _ in range(400):
            optimizer.zero_grad()
            blurred = replace(learned, s=learned.s + BLUR * torch.randn_like(learned.s))
            (-generator.static_likelihood(blurred).mean()).backward()
            optimizer.step()
        with torch.no_grad():
            one, other = (generator.eval().static_likelihood(part).mean() for part in (learned, others))
        return float(one - other), float(other)

    (heart, worse), (less, better) = known_by(0.0), known_by(0.4)
    assert less < heart / 2
    assert better > worse + 3


@pytest.mark.parametrize(("outline", "width", "dropout"), [(0, 4 * 48, 0.0), (2, 64, 0.3)])
def test_laws_with_one_example_a_sequence_are_narrow_and_learn_with_dropout_after_an_outline(outline, width, dropout):
    s = Sequences(np.random.default_rng(0).normal(size=(40, 6, 1)), Schema((Column("walk"),)))
    shape = Preparation.fit(s, outline=outline).shape
    generator = Autoregressive(shape, hidden=4, head=48, dropout=0.3)
    assert generator.laws.bias.shape[1] == 48 and generator.laws.dropout == 0
    for laws in (generator.static_laws, generator.first_laws):
        assert (laws.bias.shape[1], laws.dropout) == (width, dropout)


def test_habits_are_counted():
    """A mask that was 1, 1, 0, 1 went 0-1, 1-1, 1-0, 0-1 (0 comes before): odds 3.5 : 1.5, and 1.5 : 1.5 after a 1."""
    masks = torch.tensor([1.0, 1.0, 0.0, 1.0])[None, :, None]
    steps = _transitions(torch.zeros(1, 1), masks)
    assert (steps.sum(dim=(2, 3)) == 1).all()
    found = habits(steps.sum(dim=1), masks[:, -1])
    assert torch.allclose(found, torch.tensor([[1.0, math.log(3.5 / 1.5), 0.0]]))
