"""Linear recurrences against a loop in float64, with gradients and second gradients."""

import pytest
import torch

from vitalsynth.recurrences import _by_doubling, _chunks, linear_recurrence


def loop(a, b, initial, reverse=False):
    """h_t = a_t h_{t-1} + b_t, a step at a time, differentiable by autograd alone."""
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
@pytest.mark.parametrize("kind", ["uniform", "near 1", "0 or 1", "zero"])
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


class Recurrence(torch.nn.Module):
    def forward(self, a, b, initial):
        return linear_recurrence(a, b, initial), linear_recurrence(a, b, initial, reverse=True)


def test_an_exported_scan_is_the_scan():
    values = [part.float() for part in inputs("uniform", 3, 61, 5)]
    program = torch.export.export(Recurrence(), tuple(values)).module()
    for exported, own in zip(program(*values), Recurrence()(*values), strict=True):
        torch.testing.assert_close(exported, own)
