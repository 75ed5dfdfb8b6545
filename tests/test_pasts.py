"""Generators that learn to go on from a past: what they are given, what they make of it, and a law that is known."""

from functools import partial

import numpy as np
import pytest
import torch

import vitalsynth
from families import DISCRIMINATORS, OBJECTIVES, prepared
from vitalsynth import generators, sampling
from vitalsynth.flows import Flow
from vitalsynth.objectives import Batch, FlowMatching, drawn_pasts
from vitalsynth.sequences import Block, Column, Encoded, Fixed, Schema, Sequences, Shape

LEARNERS = {
    "LSTM": partial(generators.LSTM, hidden=8, pasts=0.5),
    "renewing": partial(generators.LSTM, hidden=8, pasts=0.5, renewal=2),
    "in patches": partial(generators.GRU, hidden=8, pasts=0.5, patch=4),
    "both ways": partial(generators.MinGRU, hidden=8, pasts=0.5, bidirectional=True),
    "Attention": partial(generators.Attention, width=8, pasts=0.5),
    "Flow": partial(Flow, hidden=8, blocks=1, heads=2, pasts=0.5, patch=4),
}


def begun(name, share=0.7, condition=("died",)):
    preparation, data = prepared(condition, "standard")
    torch.manual_seed(3)
    generator = LEARNERS[name](preparation.shape)
    for parameter in generator.parameters():  # a flow begins with zeros, by which it makes nothing of anything
        parameter.data += 0.1 * torch.randn_like(parameter)
    return data, generator, torch.randn(len(data), generator.noise), drawn_pasts(data, share, preparation.shape)


@pytest.mark.parametrize("name", LEARNERS)
def test_what_is_given_comes_back_and_the_rest_depends_on_it(name):
    data, generator, noise, fixed = begun(name)
    with torch.no_grad():
        out = generator(noise, data.condition, fixed)
        assert torch.equal(out.x[fixed.known], data.x[fixed.known])
        assert torch.equal(out.s[fixed.known_s], data.s[fixed.known_s])
        free = generator(noise, data.condition)
        without = ~fixed.known[:, 0, 0]
        torch.testing.assert_close(out.x[without], free.x[without])
        torch.testing.assert_close(out.s[without], free.s[without])
        other = Fixed(torch.where(fixed.known, fixed.x + 1, fixed.x), fixed.known, fixed.s, fixed.known_s)
        changed = generator(noise, data.condition, other)
        assert not torch.allclose(changed.x[~fixed.known], out.x[~fixed.known])
        assert not torch.allclose(changed.s[~fixed.known_s], out.s[~fixed.known_s])
        hidden = (torch.where(known, part, 1e4) for part, known in ((fixed.x, fixed.known), (fixed.s, fixed.known_s)))
        x, s = hidden
        again = generator(noise, data.condition, Fixed(x, fixed.known, s, fixed.known_s))
        assert torch.equal(again.x, out.x) and torch.equal(again.s, out.s)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_mask_alone_is_no_past(name):
    """What is imposed on some columns of a step only is put in, and nothing follows from it."""
    data, generator, noise, fixed = begun(name)
    gate = generator.shape.x[1].gate
    known = torch.zeros_like(fixed.known)
    known[..., gate] = True
    with torch.no_grad():
        masked = generator(noise, data.condition, Fixed(torch.zeros_like(data.x), known, data.s, fixed.known_s & False))
        free = generator(noise, data.condition)
    others = [j for j in range(data.x.shape[2]) if j not in (1, gate)]
    assert (masked.x[..., [1, gate]] == 0).all() and torch.equal(masked.x[..., others], free.x[..., others])


def test_pasts_are_beginnings_of_every_length_and_statics_go_with_their_masks():
    shape = Shape(5, (Block("continuous"),), (Block("continuous", gate=1), Block("binary"), Block("categorical", 3)))
    n = 20_000
    torch.manual_seed(0)
    fixed = drawn_pasts(Encoded(torch.zeros(n, 5, 1), torch.zeros(n, 5), torch.zeros(n, 0)), 0.6, shape)
    steps = fixed.known[..., 0].sum(dim=1)
    assert (fixed.known[..., 0].int().diff(dim=1) <= 0).all()
    often = torch.bincount(steps, minlength=6) / n
    torch.testing.assert_close(often, torch.tensor([0.4, 0.15, 0.15, 0.15, 0.15, 0.0]), atol=0.015, rtol=0)
    assert not fixed.known_s[steps == 0].any()
    first, second = fixed.known_s[:, 0], fixed.known_s[:, 2]
    assert torch.equal(fixed.known_s, torch.stack([first, first, second, second, second], dim=1))
    both = torch.stack([first & second, first ^ second, ~first & ~second])[:, steps > 0].float().mean(dim=1)
    torch.testing.assert_close(both, torch.full((3,), 1 / 3), atol=0.02, rtol=0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_game_is_played_with_pasts(name):
    data, generator, noise, _ = begun("in patches")
    networks = {"generator": generator, "discriminator": DISCRIMINATORS["Projected"](generator.judged(generator.shape))}
    networks["discriminator"].meet(data)
    objective = OBJECTIVES[name]()
    for player in ("discriminator", "generator"):
        terms = objective.loss(player, networks, Batch(data, noise), 0)
        assert all(torch.isfinite(term) for term in terms.values())
    sum(terms.values()).backward()
    assert generator.recurrence.weight_ih_l0.grad.abs().sum() > 0


def test_a_flow_is_not_asked_for_what_it_is_given():
    """However far away what is given lies, the loss of an untrained flow is 1, as of the rest of normal data."""
    torch.manual_seed(0)
    shape = Shape(2, (Block("continuous"),))
    flow = Flow(shape, hidden=8, blocks=1, heads=2)
    x = torch.stack([1e3 + torch.rand(20_000, 1), torch.randn(20_000, 1)], dim=1)
    batch = Batch(Encoded(x, x[:, 0, :0], x[:, 0, :0]), torch.zeros(1, 1))
    assert FlowMatching().loss("generator", {"generator": flow}, batch, 0)["velocity"] > 100
    flow = Flow(shape, hidden=8, blocks=1, heads=2, pasts=0.5)
    flow.pasts = 1.0  # all of them
    assert FlowMatching().loss("generator", {"generator": flow}, batch, 0)["velocity"].item() == pytest.approx(
        1, abs=0.03
    )


STEPS = {"rcgan": 500, "flow": 250}


@pytest.mark.parametrize("name", STEPS)
def test_a_walk_goes_on_from_where_it_was(name, tmp_path):
    """x_t+1 = x_t + 0.3 e: given the last value the next have it as their mean and deviations 0.3 and 0.3 √2."""
    walk = partial(Sequences, schema=Schema((Column("x"),)))

    def walks(count, seed):
        rng = np.random.default_rng(seed)
        steps = np.concatenate([rng.standard_normal((count, 1)), 0.3 * rng.standard_normal((count, 3))], axis=1)
        return walk(steps.cumsum(axis=1)[..., None])

    preset = vitalsynth.preset(name) | {"normalise": "standard", "steps": STEPS[name], "held_out": 0, "quiet": True}
    preset["generator"] = partial(preset["generator"], pasts=0.7, **({"patch": 1} if name == "flow" else {}))
    if "generator_schedule" in preset:
        preset["generator_schedule"] = partial(preset["generator_schedule"], over=STEPS[name])
    run = vitalsynth.train(walks(2000, 0), out=str(tmp_path / "run"), **preset)
    generator, _ = sampling.load_generator(run)
    fresh = walks(400, 1)
    drawn = sampling.collect(sampling.continued(run, generator, fresh, 2, draws=20))
    went, last = drawn.values[..., 0].reshape(400, 20, 4), fresh.values[:, 1, 0]
    assert np.abs(went[:, :, 1] - last[:, None]).max() < 1e-4
    for ahead in (1, 2):
        slope = np.polyfit(last, went[:, :, 1 + ahead].mean(axis=1), 1)[0]
        deviation = np.sqrt(went[:, :, 1 + ahead].var(axis=1).mean())
        assert slope == pytest.approx(1, abs=0.2)
        assert deviation == pytest.approx(0.3 * ahead**0.5, abs=0.15)


@pytest.mark.parametrize("pasts", [-0.1, 1.0])
@pytest.mark.parametrize("name", ["LSTM", "Attention", "Flow"])
def test_a_share_out_of_range_is_refused(name, pasts):
    with pytest.raises(ValueError, match=r"pasts must lie in \[0, 1\)"):
        partial(LEARNERS[name].func, pasts=pasts)(Shape(3, (Block("continuous"),)))
    with pytest.raises(ValueError, match="be 0 for sequences of one step"):
        LEARNERS[name](Shape(1, (Block("continuous"),)))
