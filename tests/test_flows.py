"""Flows: on laws whose velocity is known, and on the form of the data."""

import pytest
import torch

from vitalsynth.flows import Flow
from vitalsynth.objectives import Batch, FlowMatching
from vitalsynth.sequences import Block, Encoded, Shape

PLAIN = Shape(6, (Block("continuous"), Block("continuous")), (Block("continuous"),))


def encoded(x, s=None, condition=None):
    nothing = torch.zeros(len(x), 0)
    return Encoded(x, nothing if s is None else s, nothing if condition is None else condition)


def test_an_untrained_flow_carries_normal_noise_to_itself():
    """Its velocity is that of the unit normal law, whose flow is x_t = z √q(t), so that x_1 = z."""
    flow = Flow(PLAIN, hidden=8, blocks=1, heads=2, solver_steps=64)
    noise = torch.randn(20, flow.noise)
    out = flow(noise, torch.zeros(20, 0))
    assert torch.allclose(torch.cat([out.s, out.x.flatten(1)], dim=1), noise, atol=2e-3)
    t = torch.tensor(0.3)
    z = torch.randn(5, 6, 2)
    now = z * (t**2 + (1 - t) ** 2).sqrt()
    v, _ = flow.velocity(now, torch.zeros(5, 1), t.expand(5), torch.zeros(5, 0))
    h = 1e-3
    ahead, behind = (z * (u**2 + (1 - u) ** 2).sqrt() for u in (t + h, t - h))
    assert torch.allclose(v, (ahead - behind) / (2 * h), atol=1e-3)


def test_the_loss_of_normal_data_is_one():
    """E q ‖v - (x - z)‖² per column is 1 for the best velocity: x - z given x_t has variance 1/q."""
    torch.manual_seed(0)
    flow = Flow(PLAIN, hidden=8, blocks=1, heads=2)
    data = encoded(torch.randn(20_000, 6, 2), torch.randn(20_000, 1))
    loss = FlowMatching().loss("generator", {"generator": flow}, Batch(data, torch.zeros(1, 1)), 0)
    assert loss["velocity"].item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("solver_steps", [8, 32])
def test_it_learns_two_bumps_and_their_conditions(solver_steps):
    """Bumps at -2 and 2 of deviation 0.3, told which by the condition."""
    torch.manual_seed(1)
    shape = Shape(2, (Block("continuous"),), (), condition=1)
    flow = Flow(shape, hidden=32, blocks=2, heads=2, solver_steps=solver_steps)
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)
    for step in range(300):
        label = torch.randint(2, (256, 1)).float()
        x = (4 * label - 2)[:, None] + 0.3 * torch.randn(256, 2, 1)
        terms = FlowMatching().loss("generator", {"generator": flow}, Batch(encoded(x, None, label), x[:, 0]), step)
        optimizer.zero_grad()
        terms["velocity"].backward()
        optimizer.step()
    flow.eval()
    with torch.no_grad():
        label = torch.arange(2.0).repeat(500)[:, None]
        x = flow(torch.randn(1000, flow.noise), label).x
        known = x[label[:, 0] == 1]
        assert known.mean().item() == pytest.approx(2, abs=0.2) and known.std().item() == pytest.approx(0.3, abs=0.15)
        assert (x.flatten(1).mean(1).sign() == 2 * label[:, 0] - 1).float().mean() > 0.98
        flow.guidance = 0.0  # told nothing: both bumps, whatever the label
        assert (flow(torch.randn(500, flow.noise), torch.ones(500, 1)).x.mean((1, 2)) > 0).float().mean() < 0.8


def test_samples_obey_the_form_of_the_data():
    torch.manual_seed(2)
    blocks = (Block("continuous", gate=4), Block("categorical", 3), Block("binary"), Block("binary"))
    shape = Shape(7, blocks, (Block("continuous", gate=1), Block("binary")), 2, alive=5)
    flow = Flow(shape, hidden=8, blocks=1, heads=2)
    out = flow(torch.randn(300, flow.noise), torch.randn(300, 2))
    x, s = out.x, out.s
    alive = x[..., 5]
    assert set(alive.unique().tolist()) == {0.0, 1.0} and (alive[:, 0] == 1).all() and (alive.diff(dim=1) <= 0).all()
    assert (x[alive == 0] == 0).all() and torch.equal(x[..., 1:4].sum(-1), alive)
    assert torch.equal(x[..., 0] != 0, x[..., 4] > 0) and torch.equal(s[:, 0] != 0, s[:, 1] > 0)


@pytest.mark.parametrize("wrong", [{"hidden": 10, "heads": 4}, {"heads": 0}, {"solver_steps": 0}, {"patch": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must|solver step"):
        Flow(PLAIN, **wrong)
