"""Linear recurrences against a loop in float64, with gradients and second gradients; and the layers made of them."""

import pytest
import torch
from torch import nn

from vitalsynth import recurrences
from vitalsynth.layers import Dropout
from vitalsynth.recurrences import RGLRU, MinGRU, _by_doubling, _chunks, linear_recurrence

OURS = [MinGRU, RGLRU]
CELLS = [nn.LSTM, nn.GRU, *OURS]


def loop(a, b, initial, reverse=False):
    """A step at a time, differentiable by autograd alone."""
    state, states = initial, []
    for t in range(a.shape[1])[:: -1 if reverse else 1]:
        state = a[:, t] * state + b[:, t]
        states.append(state)
    return torch.stack(states[:: -1 if reverse else 1], dim=1)


def gates(kind, *size):
    uniform = torch.rand(*size, dtype=torch.float64)
    return {
        "uniform": uniform,
        "near 0": 1e-30 * uniform,
        "near 1": 1 - 1e-6 * uniform,
        "0 or 1": (uniform < 0.5).double(),
        "zero": torch.zeros_like(uniform),
        "one": torch.ones_like(uniform),
    }[kind]


def inputs(kind, n, length, hidden):
    torch.manual_seed(length)
    return gates(kind, n, length, hidden), torch.randn(n, length, hidden).double(), torch.randn(n, hidden).double()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 2, 24, 47, 48, 61, 140, 512, 1021])
@pytest.mark.parametrize("kind", ["uniform", "near 0", "near 1", "0 or 1", "zero", "one"])
def test_the_scan_is_the_loop_to_rounding(kind, length, reverse):
    """In float32 it is as near to the loop in float64 as the loop in float32 is, in whatever chunks."""
    single = [part.float() for part in inputs(kind, 3, length, 5)]
    exact = [part.double() for part in single]
    truth = loop(*exact, reverse)
    assert torch.allclose(linear_recurrence(*exact, reverse), truth, rtol=1e-12, atol=1e-12)
    for scan in (linear_recurrence, _by_doubling):
        error = (scan(*single, reverse) - truth).abs().max()
        assert error <= 4 * (loop(*single, reverse) - truth).abs().max() + 1e-6


def test_long_sequences_go_in_chunks_and_short_ones_do_not():
    """So that the lengths of these tests try both ways, with and without steps that make no whole chunk."""
    chunks = {length: _chunks(torch.zeros(3, length, 5)) for length in (24, 48, 61, 1021)}
    assert chunks == {24: 0, 48: 12, 61: 13, 1021: 55}
    assert 48 % 12 == 0 and 61 % 13 and 1021 % 55
    assert _chunks(torch.zeros(1024, 512, 64)) == 0  # there is work enough in one step


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("length", "hidden"), [(1, 2), (5, 1), (49, 1)])
@pytest.mark.parametrize("kind", ["uniform", "near 1", "0 or 1"])
def test_gradients_and_second_gradients_against_differences(kind, length, hidden, reverse):
    values = [part.requires_grad_() for part in inputs(kind, 2, length, hidden)]
    scan = lambda a, b, initial: linear_recurrence(a, b, initial, reverse)  # noqa: E731
    assert torch.autograd.gradcheck(scan, values, fast_mode=length > 5)
    assert torch.autograd.gradgradcheck(scan, values, fast_mode=length > 5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["uniform", "near 0", "near 1", "0 or 1"])
def test_a_gradient_penalty_through_the_scan_is_that_through_the_loop(kind, reverse):
    """The gradients of ‖∂D/∂(a, b, h₀)‖², in float32 over 140 steps, D being nonlinear in the states."""
    single = [part.float() for part in inputs(kind, 4, 140, 8)]
    weight = torch.randn(4, 140, 8)

    def penalty_gradients(recurrence, values):
        values = [value.detach().requires_grad_() for value in values]
        score = (torch.tanh(recurrence(*values, reverse)) * weight.to(values[0].dtype)).sum()
        gradients = torch.autograd.grad(score, values, create_graph=True)
        return torch.autograd.grad(sum(gradient.square().sum() for gradient in gradients), values)

    truth = penalty_gradients(loop, [part.double() for part in single])
    ours = penalty_gradients(linear_recurrence, single)
    for got, plain, exact in zip(ours, penalty_gradients(loop, single), truth, strict=True):
        assert (got - exact).abs().max() <= 4 * (plain - exact).abs().max() + 1e-6 * exact.abs().max()


def test_the_state_before_the_first_step_is_zero_by_default():
    a, b, initial = inputs("uniform", 3, 50, 4)
    torch.testing.assert_close(linear_recurrence(a, b), linear_recurrence(a, b, torch.zeros_like(initial)))
    moved = linear_recurrence(a, b, initial) - linear_recurrence(a, b)
    torch.testing.assert_close(moved, a.cumprod(dim=1) * initial[:, None])


class Recurrence(nn.Module):
    def forward(self, a, b, initial):
        return linear_recurrence(a, b, initial), linear_recurrence(a, b, initial, reverse=True)


def test_an_exported_scan_is_the_scan():
    values = [part.float() for part in inputs("uniform", 3, 13, 5)]
    program = torch.export.export(Recurrence(), tuple(values)).module()
    for exported, own in zip(program(*values), Recurrence()(*values), strict=True):
        torch.testing.assert_close(exported, own)


def test_the_gates_of_a_minimal_gru_by_hand():
    """z = sigmoid(U x), h = (1 - z) h + z W x."""
    torch.manual_seed(0)
    gates, x = MinGRU.gates(3, 4), torch.randn(2, 5, 3)
    update, candidate = (x @ gates.linear.weight.T + gates.linear.bias).chunk(2, dim=2)
    z = 1 / (1 + torch.exp(-update))
    a, b = gates(x)
    torch.testing.assert_close(a, 1 - z)
    torch.testing.assert_close(b, z * candidate)


def test_the_gates_of_a_real_gated_unit_by_hand():
    """a = σ(Λ')^(8 r) with σ(Λ') = exp(-softplus(Λ)), as Griffin writes it; b = √(1 - a²) i u."""
    torch.manual_seed(0)
    gates, x = RGLRU.gates(3, 4), torch.randn(2, 5, 3)
    recurrence, admitted, candidate = (x @ gates.linear.weight.T + gates.linear.bias).chunk(3, dim=2)
    expected = torch.sigmoid(-gates.rate) ** (8 * torch.sigmoid(recurrence))
    a, b = gates(x)
    torch.testing.assert_close(a, expected)
    torch.testing.assert_close(b, (1 - expected**2).sqrt() * torch.sigmoid(admitted) * candidate)
    slowest = torch.sigmoid(-gates.rate) ** 8
    assert ((slowest > 0.9) & (slowest < 0.999)).all()


def test_a_real_gated_unit_keeps_the_variance_of_its_input():
    torch.manual_seed(0)
    a = torch.full((400, 300, 4), 0.95)
    states = linear_recurrence(a, (1 - a**2).sqrt() * torch.randn(400, 300, 4))
    assert states[:, 200:].var().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_every_recurrence_is_called_alike(cell, bidirectional):
    layer = recurrences.build(cell, 3, 8, 2, bidirectional, 0.0)
    features, state = layer(torch.randn(5, 7, 3))
    assert features.shape == (5, 7, 16 if bidirectional else 8)
    state = state[0] if cell is nn.LSTM else state
    assert state.shape == (4 if bidirectional else 2, 5, 8)


@pytest.mark.parametrize("cell", OURS)
def test_a_sequence_is_carried_on_from_the_state_where_it_stopped(cell):
    torch.manual_seed(0)
    layer, x = cell(3, 8, layers=2), torch.randn(5, 140, 3)
    whole, end = layer(x)
    first, state = layer(x[:, :33])
    second, again = layer(x[:, 33:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(again, end)


@pytest.mark.parametrize("cell", OURS)
def test_backwards_is_forwards_on_reversed_time(cell):
    """With the gates of one direction in the other's place, reversed inputs give reversed, swapped features."""
    torch.manual_seed(0)
    layer, x = cell(16, 8, bidirectional=True), torch.randn(2, 61, 16)
    (one,) = layer.layers
    for parameter in one.perceptron.outer.parameters():
        parameter.data.zero_()
    layer.first.weight.data.copy_(torch.eye(16))
    one.gates[1].load_state_dict(one.gates[0].state_dict())
    states = (layer(x)[0] - layer.first(x)).chunk(2, dim=2)
    flipped = (layer(x.flip(1))[0] - layer.first(x.flip(1))).chunk(2, dim=2)
    torch.testing.assert_close(states[0], flipped[1].flip(1))
    assert not torch.allclose(states[0], states[1])


@pytest.mark.parametrize("cell", OURS)
def test_a_layer_can_be_differentiated_twice(cell):
    torch.manual_seed(0)
    layer, x = cell(2, 2, layers=2, bidirectional=True).double(), torch.randn(1, 4, 2, requires_grad=True).double()
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0].tanh(), x, fast_mode=True)


@pytest.mark.parametrize("cell", OURS)
def test_gates_stay_precise_under_autocast(cell):
    """bfloat16 would round a gate of 0.999 to 1; the two precisions differ by the inputs' rounding only."""
    torch.manual_seed(0)
    layer, x = cell(3, 8), torch.randn(5, 200, 3)
    exact, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        rough, state = layer(x)
    assert state.dtype == torch.float32
    assert (rough - exact).abs().max() < 0.05 * exact.abs().max()


def test_dropout_takes_the_same_features_from_every_step():
    torch.manual_seed(0)
    dropped = Dropout(0.25)(torch.ones(400, 6, 50))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert (dropped == dropped[:, :1]).all()
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\), got 1"):
        Dropout(1.0)


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_is_between_layers_in_training_alone(cell):
    torch.manual_seed(0)
    layer, x = recurrences.build(cell, 3, 8, 2, False, 0.5), torch.randn(5, 7, 3)

    def features(seed):
        torch.manual_seed(seed)
        return layer(x)[0]

    assert torch.equal(features(0), features(0)) and not torch.allclose(features(0), features(1))
    layer.eval()
    assert torch.equal(features(0), features(1))
    single = recurrences.build(cell, 3, 8, 1, False, 0.5)
    assert torch.equal(single(x)[0], single(x)[0])  # there is nothing between one layer


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_a_stack_of_torchs_layers_is_torchs_stack(cell):
    """With the same weights, where nothing is dropped."""
    torch.manual_seed(0)
    own, torchs = recurrences.build(cell, 3, 8, 2, True, 0.5).eval(), recurrences.build(cell, 3, 8, 2, True, 0.0)
    for depth, layer in enumerate(own.layers):
        for name, parameter in layer.named_parameters():
            parameter.data.copy_(getattr(torchs, name.replace("_l0", f"_l{depth}")))
    x = torch.randn(5, 7, 3)
    torch.testing.assert_close(own(x)[0], torchs(x)[0])
