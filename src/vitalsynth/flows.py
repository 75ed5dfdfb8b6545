"""Flow matching: a network learns the velocity that carries noise to data, and sampling follows it.

    x_t = (1 - t) z + t x,   v(x_t, t) = E[x - z | x_t],   dx/dt = v from t = 0 (noise) to 1 (data)

(Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023, arXiv 2209.03003.) For data of unit scale that are normal, the
velocity is known, so the network adds only what differs from it, at unit scale at every t, which is the preconditioning
of EDM (Karras et al. 2022, arXiv 2206.00364) for this path:

    v(x, t) = (2t - 1) x / q + F(x / √q, t) / √q,   q = t² + (1 - t)²

A column of 0 and 1, and a one-hot category, are numbers to the flow and are cut at the end (analog bits, Chen et al.
2023, arXiv 2208.04202).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import layer_norm, pad, scaled_dot_product_attention, silu

from .generators import Generator
from .layers import end
from .sequences import Block, Encoded, Fixed, Shape

FREQUENCIES = 16
"""Of the sines and cosines by which a network is told t."""


class Flow(Generator):
    """A transformer over patches of time, with the statics as one more token, modulated by t and the condition."""

    when_sampling = ("solver_steps", "guidance")
    at_once = 128
    takes_masks = True

    def __init__(
        self,
        shape: Shape,
        hidden: int = 96,
        blocks: int = 4,
        heads: int = 4,
        patch: int = 0,
        solver_steps: int = 8,
        guidance: float = 1.0,
        pasts: float = 0.0,
    ) -> None:
        """Build the network.

        Args:
            shape: Of the encoded data.
            hidden: Width of a token.
            blocks: Transformer blocks.
            heads: Attention heads in a block.
            patch: Steps of time in a token; 0 takes as many as make about 8 columns.
            solver_steps: Steps of Heun's method when sampling, each two evaluations of the network but the last.
            guidance: How much a condition counts when sampling: 1 as learned, more exaggerates it (classifier-free
                guidance, Ho and Salimans 2022, arXiv 2207.12598).
            pasts: Share of the sequences that are given the first steps of a real one while training, such as 0.5, so
                that stays can be gone on from (`sample --past`); 0 for none.
        """
        super().__init__()
        if heads < 1 or hidden < 1 or hidden % heads:
            raise ValueError(f"hidden must be a multiple of heads, got {hidden} and {heads}")
        if solver_steps < 1:
            raise ValueError(f"at least 1 solver step is needed, got {solver_steps}")
        if patch < 0:
            raise ValueError(f"patch must be at least 0, got {patch}")
        self.learn_pasts(pasts, shape)
        self.solver_steps, self.guidance = solver_steps, guidance
        self.patch, self.tokens = shape.patches(patch)
        width = self.patch * shape.channels
        past = self.patch * (shape.channels + 1) if pasts else 0
        self.embed, self.unembed = nn.Linear(width + past, hidden), nn.Linear(hidden, width)
        self.embed_statics = nn.Linear((3 if pasts else 1) * shape.statics, hidden) if shape.statics else None
        self.unembed_statics = nn.Linear(hidden, shape.statics) if shape.statics else None
        count = self.tokens + bool(shape.statics)
        self.place = nn.Parameter(0.02 * torch.randn(count, hidden))
        self.told = nn.Sequential(
            nn.Linear(2 * FREQUENCIES + shape.condition + bool(shape.condition), hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
        )
        self.blocks = nn.ModuleList(_Transformer(hidden, heads) for _ in range(blocks))
        self.last = nn.Linear(hidden, 2 * hidden)
        for layer in (self.unembed, self.unembed_statics, self.last):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.noise = shape.length * shape.channels + shape.statics

    def velocity(
        self,
        x: Float[Tensor, "n length channels"],
        s: Float[Tensor, "n statics"],
        t: Float[Tensor, " n"],
        condition: Float[Tensor, "n condition"],
        known: Float[Tensor, " n"] | None = None,
        fixed: Fixed | None = None,
    ) -> tuple[Float[Tensor, "n length channels"], Float[Tensor, "n statics"]]:
        """Return the velocities of channels and statics.

        Args:
            x: Channels at t.
            s: Statics at t.
            t: Between 0 (noise) and 1 (data).
            condition: What is conditioned on.
            known: 1 where the network is told the condition (the default), 0 where not.
            fixed: What is known of the data, which the network sees as it is, at every t. Where it is known the
                velocity means nothing.
        """
        q = t.square() + (1 - t).square()
        ahead, size = (2 * t - 1) / q, q.rsqrt()
        seen = self._seen(x * size[:, None, None], s * size[:, None], fixed)
        fx, fs = self._network(*seen, t, condition, known)
        vx = ahead[:, None, None] * x + size[:, None, None] * fx
        return vx, ahead[:, None] * s + size[:, None] * fs

    def _seen(self, x: Tensor, s: Tensor, fixed: Fixed | None) -> tuple[Tensor, Tensor]:
        """Set what is known beside what is not, with columns of its own, so that neither is taken for the other."""
        if not self.pasts:
            return x, s
        fixed = fixed or Fixed.nothing(x, self.shape)
        past = fixed.past
        x, s = torch.where(past[..., -1:] > 0, 0.0, x), torch.where(fixed.known_s, 0.0, s)
        return torch.cat([x, past], dim=2), torch.cat([s, fixed.told], dim=1)

    def _network(
        self, x: Tensor, s: Tensor, t: Tensor, condition: Tensor, known: Tensor | None
    ) -> tuple[Float[Tensor, "n length channels"], Float[Tensor, "n statics"]]:
        missing = self.tokens * self.patch - self.shape.length
        tokens = self.embed(pad(x, (0, 0, 0, missing)).reshape(x.shape[0], self.tokens, -1))
        if self.embed_statics is not None:
            tokens = torch.cat([tokens, self.embed_statics(s)[:, None]], dim=1)
        tokens = tokens + self.place
        told = silu(self.told(self._told(t, condition, known)))
        for block in self.blocks:
            tokens = block(tokens, told)
        shift, scale = self.last(told)[:, None].chunk(2, dim=-1)
        tokens = layer_norm(tokens, tokens.shape[-1:]) * (1 + scale) + shift
        out = self.unembed(tokens[:, : self.tokens]).reshape(x.shape[0], -1, self.shape.channels)[
            :, : self.shape.length
        ]
        return out, s if self.unembed_statics is None else self.unembed_statics(tokens[:, -1])

    def _told(self, t: Tensor, condition: Tensor, known: Tensor | None) -> Tensor:
        octaves = torch.arange(FREQUENCIES, device=t.device, dtype=t.dtype) / 2
        angles = math.pi * t[:, None] * 2**octaves
        parts = [angles.sin(), angles.cos()]
        if self.shape.condition:
            known = torch.ones_like(t) if known is None else known
            parts += [condition * known[:, None], known[:, None]]
        return torch.cat(parts, dim=1)

    def forward(
        self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"], fixed: Fixed | None = None
    ) -> Encoded:
        """Follow the velocity from noise to data by Heun's method."""
        x, s = noise[:, self.shape.statics :], noise[:, : self.shape.statics]
        x = x.unflatten(1, (self.shape.length, self.shape.channels))
        times = [j / self.solver_steps for j in range(self.solver_steps + 1)]
        for now, then in pairwise(times):
            step = then - now
            vx, vs = self._guided(x, s, now, condition, fixed)
            wx, ws = self._guided(x + step * vx, s + step * vs, then, condition, fixed)
            x, s = x + step / 2 * (vx + wx), s + step / 2 * (vs + ws)
        x, s = (x, s) if fixed is None else (fixed.put(x), fixed.put_statics(s))
        return Encoded(*_cut(x, s, self.shape), condition)

    def _guided(
        self, x: Tensor, s: Tensor, time: float, condition: Tensor, fixed: Fixed | None
    ) -> tuple[Tensor, Tensor]:
        t = torch.full_like(x[:, 0, 0], time)
        vx, vs = self.velocity(x, s, t, condition, None, fixed)
        if self.guidance == 1 or not self.shape.condition:
            return vx, vs
        ux, us = self.velocity(x, s, t, condition, torch.zeros_like(t), fixed)
        return torch.lerp(ux, vx, self.guidance), torch.lerp(us, vs, self.guidance)


class _Transformer(nn.Module):
    """Attention and a perceptron, scaled, shifted and gated by what the network is told (DiT, arXiv 2212.09748)."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.told = nn.Linear(hidden, 6 * hidden)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)
        self.mix, self.merge = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, 2 * hidden), nn.Linear(2 * hidden, hidden)

    def forward(
        self, tokens: Float[Tensor, "n tokens hidden"], told: Float[Tensor, "n hidden"]
    ) -> Float[Tensor, "n tokens hidden"]:
        shift, scale, gate, shift2, scale2, gate2 = self.told(told)[:, None].chunk(6, dim=-1)
        size = tokens.shape[-1:]
        h = self.mix(layer_norm(tokens, size) * (1 + scale) + shift)
        q, k, v = h.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
        tokens = tokens + gate * self.merge(attended)
        h = layer_norm(tokens, size) * (1 + scale2) + shift2
        return tokens + gate2 * self.down(silu(self.up(h)))


def _cut(x: Tensor, s: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """Give columns the form of the data: 0 or 1, one-hot, 0 where not measured or ended."""
    s = _hard(s, shape.s)
    x = _hard(x, shape.x)
    return (x if shape.alive is None else end(x, shape.alive)), s


def _hard(columns: Float[Tensor, "*n columns"], blocks: tuple[Block, ...]) -> Float[Tensor, "*n columns"]:
    parts, start = [], 0
    for block in blocks:
        part = columns[..., start : start + block.width]
        start += block.width
        if block.kind == "binary":
            part = (part > 0.5).to(part.dtype)
        elif block.kind == "categorical":
            part = nn.functional.one_hot(part.argmax(-1), block.width).to(part.dtype)
        if block.gate is not None:
            part = torch.where(columns[..., block.gate : block.gate + 1] > 0.5, part, 0.0)
        parts.append(part)
    return torch.cat([*parts, columns[..., :0]], dim=-1)
