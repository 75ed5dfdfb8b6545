"""Recurrences, torch's and our own: `features, state = recurrence(inputs)`, for all of them.

    h_t = a_t h_{t-1} + b_t,    a_t and b_t functions of the input at step t alone

Such a recurrence is linear, so it need not be computed step by step. `MinGRU` (Feng et al. 2024, arXiv 2410.01201) and
`RGLRU` (De et al. 2024, arXiv 2402.19427) differ in a and b only. A unit sees no other unit's past, so every layer ends
in a perceptron that mixes them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .layers import Dropout, GatedPerceptron, RMSNorm

Steps = Float[Tensor, "n length hidden"]
State = Float[Tensor, "n hidden"]
Ends = Float[Tensor, "ends n hidden"]
InTurn = Callable[[Tensor, int], Sequence[Tensor]]


def linear_recurrence(a: Steps, b: Steps, initial: State | None = None, reverse: bool = False) -> Steps:
    """Return h_t = a_t h_{t-1} + b_t of every step.

    Equal to the loop over steps up to rounding, with gradients of any order. Nothing is divided and no logarithm is
    taken, there are only products of gates; so gates of exactly 0 and 1 are as good as any.

    Args:
        a: Gates, 0 to 1.
        b: What each step adds.
        initial: The state before the first step; zeros by default.
        reverse: Run from the last step to the first, h_t = a_t h_{t+1} + b_t.
    """
    initial = torch.zeros_like(b[:, 0]) if initial is None else initial
    if torch.compiler.is_exporting():
        return _by_doubling(a, b, initial, reverse)
    states = _Scan.apply(a, b, initial, reverse)
    return states[:, :-1] if reverse else states[:, 1:]


class _Scan(torch.autograd.Function):
    """All states, `length + 1` of them, the initial one where it belongs.

    For a loss with partial derivatives g_t by the states, the whole effect of a state is λ_t = g_t + a_{t+1} λ_{t+1}:
    the same recurrence, run the other way. So backward calls this function again, and can itself be differentiated.
    """

    @staticmethod
    def forward(ctx: Any, a: Steps, b: Steps, initial: State, reverse: bool) -> Tensor:
        states = b.new_empty(b.shape[0], b.shape[1] + 1, b.shape[2])
        states[:, -1 if reverse else 0] = initial
        _fill(a, b, initial, states[:, :-1] if reverse else states[:, 1:], reverse)
        ctx.save_for_backward(a, states)
        ctx.reverse = reverse
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (a, states), (g,) = ctx.saved_tensors, gradients
        if ctx.reverse:
            effect = _Scan.apply(a, g[:, 1:], g[:, 0], False)
            return effect[:, :-1] * states[:, 1:], effect[:, :-1], effect[:, -1], None
        effect = _Scan.apply(a, g[:, :-1], g[:, -1], True)
        return effect[:, 1:] * states[:, :-1], effect[:, 1:], effect[:, 0], None


def _fill(a: Steps, b: Steps, initial: State, out: Steps, reverse: bool) -> None:
    """Write the states into `out`, chunks of time advancing together; steps that make no whole chunk come last."""
    length, chunks = a.shape[1], _chunks(a)
    size, rest = divmod(length, chunks) if chunks else (0, length)
    whole, remaining = slice(0, length - rest), slice(length - rest, None)
    if reverse:
        whole, remaining = slice(rest, None), slice(0, rest)

    def in_turn(tensor: Tensor, axis: int) -> Sequence[Tensor]:
        return tensor.unbind(axis)[::-1] if reverse else tensor.unbind(axis)

    if chunks:
        gates, added, states = (in_turn(tensor[:, whole].unflatten(1, (chunks, size)), 2) for tensor in (a, b, out))
        _loop(gates, added, _before(gates, added, initial, in_turn), states)
        initial = in_turn(states[-1], 1)[-1]
    gates, added, states = (in_turn(tensor[:, remaining], 1) for tensor in (a, b, out))
    _loop(gates, added, initial, states)


def _loop(gates: Sequence[Tensor], added: Sequence[Tensor], state: Tensor, out: Sequence[Tensor]) -> None:
    for gate, more, here in zip(gates, added, out, strict=True):
        state = torch.addcmul(more, gate, state, out=here)


def _before(gates: Sequence[Tensor], added: Sequence[Tensor], initial: State, in_turn: InTurn) -> Tensor:
    """Return the state before each chunk.

    A chunk makes A h + B of the state h before it, A being the product of its gates and B its end if it starts from 0.
    Found in one pass, they are themselves a recurrence over chunks, and a short one.
    """
    product, end = gates[0].clone(), added[0].clone()
    for gate, more in zip(gates[1:], added[1:], strict=True):
        product *= gate
        torch.addcmul(more, gate, end, out=end)
    before = torch.empty_like(end)
    first, *others = in_turn(before, 1)
    first.copy_(initial)
    _loop(in_turn(product, 1)[:-1], in_turn(end, 1)[:-1], initial, others)
    return before


def _chunks(a: Steps) -> int:
    """Return into how many chunks to part the time, 0 for none.

    m chunks of c steps take 3 c + m operations where the plain loop takes c m, fewest at m = √(3 length); but they read
    everything twice. On a CPU an operation takes about as long to call as to compute 30,000 numbers, so larger ones
    gain nothing, and below a dozen chunks the second reading costs more than is saved. For 32 sequences of 512 steps of
    64 units: 4.6 ms with 16 chunks, 6.3 ms with none.
    """
    n, length, hidden = a.shape
    most = 32_768 // max(1, n * hidden) if a.device.type == "cpu" else length
    chunks = min(most, math.isqrt(3 * length))
    return chunks if chunks >= 12 else 0


def _by_doubling(a: Steps, b: Steps, initial: State, reverse: bool) -> Steps:
    """Do the same in ⌈log₂ length⌉ rounds of whole-length operations (Hillis and Steele 1986), which export well.

    After the round of shift d, (a, b) of a step carry the state of 2 d steps before to it.
    """
    if reverse:
        return _by_doubling(a.flip(1), b.flip(1), initial, False).flip(1)
    b = torch.cat([b[:, :1] + a[:, :1] * initial[:, None], b[:, 1:]], dim=1)
    shift = 1
    while shift < a.shape[1]:
        b = torch.cat([b[:, :shift], b[:, shift:] + a[:, shift:] * b[:, :-shift]], dim=1)
        a = torch.cat([a[:, :shift], a[:, shift:] * a[:, :-shift]], dim=1)
        shift *= 2
    return b


class LinearRecurrence(nn.Module, ABC):
    """Layers of a linear recurrence, called as torch's recurrent layers are. Derive from it for other gates.

    Every layer is residual, x + recurrence(norm(x)), then x + perceptron(norm(x)); both directions of a bidirectional
    layer read the same x. A layer's state is its h, so a sequence can be carried on from where another ended.
    """

    def __init__(
        self, inputs: int, hidden: int, layers: int = 1, bidirectional: bool = False, dropout: float = 0.0
    ) -> None:
        """Build the layers.

        Args:
            inputs: Width of the inputs.
            hidden: Units in each direction.
            layers: How many, one on top of the other.
            bidirectional: Also run backwards; features are then twice as wide.
            dropout: Share of features dropped between layers.
        """
        super().__init__()
        directions = 2 if bidirectional else 1
        width = directions * hidden
        self.first = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(
            _Layer([self.gates(width, hidden) for _ in range(directions)], width) for _ in range(layers)
        )
        self.dropout = Dropout(dropout)

    @staticmethod
    @abstractmethod
    def gates(inputs: int, hidden: int) -> nn.Module:
        """Return the network that makes (a, b) of every step from its input."""

    def forward(
        self, inputs: Float[Tensor, "n length inputs"], state: Ends | None = None
    ) -> tuple[Float[Tensor, "n length features"], Ends]:
        """Return the features of every step, and the state at the end of every layer, of both directions."""
        features, ends = self.first(inputs), []
        before = [None] * len(self.layers) if state is None else state.chunk(len(self.layers))
        for depth, layer in enumerate(self.layers):
            features, end = layer(self.dropout(features) if depth else features, before[depth])
            ends.append(end)
        return features, torch.cat(ends)


class _Layer(nn.Module):
    def __init__(self, gates: list[nn.Module], width: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(gates)
        self.norms = nn.ModuleList([RMSNorm(width), RMSNorm(width)])
        self.perceptron = GatedPerceptron(width, width)

    def forward(
        self, x: Float[Tensor, "n length width"], before: Float[Tensor, "directions n hidden"] | None
    ) -> tuple[Float[Tensor, "n length width"], Float[Tensor, "directions n hidden"]]:
        normed = self.norms[0](x)
        states, ends = [], []
        for backwards, gates in enumerate(self.gates):
            a, b = gates(normed)
            state = linear_recurrence(a, b, None if before is None else before[backwards], reverse=bool(backwards))
            states.append(state)
            ends.append(state[:, 0 if backwards else -1])
        x = x + torch.cat(states, dim=2)
        return x + self.perceptron(self.norms[1](x)), torch.stack(ends)


class MinGRU(LinearRecurrence):
    """h_t = (1 - z) h_{t-1} + z W x, with z = sigmoid(U x): a GRU whose gate and candidate see the input alone."""

    @staticmethod
    def gates(inputs: int, hidden: int) -> nn.Module:
        """Return the network of z and the candidate."""
        return _MinGates(inputs, hidden)


class _MinGates(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * hidden)

    def forward(self, x: Float[Tensor, "n length inputs"]) -> tuple[Steps, Steps]:
        update, candidate = _precise(self.linear(x)).chunk(2, dim=-1)
        z = torch.sigmoid(update)
        return 1 - z, z * candidate


class RGLRU(LinearRecurrence):
    """h_t = a h_{t-1} + √(1 - a²) i W x, with a = exp(-8 softplus(Λ) r) and gates r, i = sigmoid(U x).

    The input's share is such that a stationary input of variance 1 keeps h at variance 1.
    """

    @staticmethod
    def gates(inputs: int, hidden: int) -> nn.Module:
        """Return the network of a and what is let in."""
        return _RealGates(inputs, hidden)


class _RealGates(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 3 * hidden)
        longest = torch.empty(hidden).uniform_(0.9, 0.999)  # a where r = 1: memories of 10 to 1000 steps
        self.rate = nn.Parameter((-longest.log() / 8).expm1().log())  # Λ, the softplus undone

    def forward(self, x: Float[Tensor, "n length inputs"]) -> tuple[Steps, Steps]:
        recurrence, admitted, candidate = _precise(self.linear(x)).chunk(3, dim=-1)
        log_a = -8 * nn.functional.softplus(self.rate) * torch.sigmoid(recurrence)
        share = torch.sqrt((-torch.expm1(2 * log_a)).clamp(min=1e-6))  # the root's slope is infinite at 0
        return log_a.exp(), share * torch.sigmoid(admitted) * candidate


def _precise(x: Tensor) -> Tensor:
    """Undo autocast: bfloat16 has no gates between 0.996 and 1."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class Stack(nn.Module):
    """Layers of one of torch's recurrences with our dropout between them, called as a single one."""

    def __init__(
        self, cell: type[nn.LSTM | nn.GRU], inputs: int, hidden: int, layers: int, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        width = hidden * (2 if bidirectional else 1)
        self.layers = nn.ModuleList(
            cell(width if depth else inputs, hidden, batch_first=True, bidirectional=bidirectional)
            for depth in range(layers)
        )
        self.dropout = Dropout(dropout)

    def forward(self, inputs: Float[Tensor, "n length inputs"]) -> tuple[Float[Tensor, "n length features"], list[Any]]:
        """Return the features of every step, and the state at the end of each layer."""
        features, ends = inputs, []
        for depth, layer in enumerate(self.layers):
            features, end = layer(self.dropout(features) if depth else features)
            ends.append(end)
        return features, ends


Cell = type[nn.LSTM] | type[nn.GRU] | type[LinearRecurrence]


def build(cell: Cell, inputs: int, hidden: int, layers: int, bidirectional: bool, dropout: float) -> nn.Module:
    """Build a recurrence of a kind, torch's or ours.

    Raises:
        ValueError: if the dropout is not in [0, 1).
    """
    if issubclass(cell, LinearRecurrence):
        return cell(inputs, hidden, layers, bidirectional, dropout)
    if dropout:
        return Stack(cell, inputs, hidden, layers, bidirectional, dropout)
    return cell(inputs, hidden, layers, batch_first=True, bidirectional=bidirectional)
