"""Penalties on how steep a discriminator is, exactly by double backward or estimated by finite differences.

Both are with respect to all that is real or synthetic about a sequence: its channels, its statics, and its coarser
resolutions where it comes in several. ‖∂D/∂(x, s)‖² is what R1 and R2 (Mescheder et al. 2018, arXiv 1801.04406) and the
penalty of the Wasserstein game (Gulrajani et al. 2017, arXiv 1704.00028) are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .sequences import Encoded

Scores = Float[Tensor, " n"]


def squared_gradient(discriminator: Any, encoded: Encoded) -> tuple[Scores, Scores]:
    """Return scores and ‖∂D/∂(x, s)‖² of each sequence, differentiable once more (double backward).

    Where sequences come at several temporal resolutions, the gradient is with respect to all of them, and where the
    discriminator projects them first, with respect to what it makes of them.
    """
    return _squared_gradient(discriminator, discriminator.project(encoded))


def _squared_gradient(discriminator: Any, projected: Encoded) -> tuple[Scores, Scores]:
    inputs = projected.replaced(p if p.requires_grad else p.detach().requires_grad_() for p in projected.parts)
    with _twice_differentiable(inputs.x):
        scores = discriminator.judge(inputs, inputs.condition)
    gradients = torch.autograd.grad(scores.sum(), inputs.parts, create_graph=True, materialize_grads=True)
    return scores, _squared_norm(gradients)


def squared_slope(discriminator: Any, encoded: Encoded, size: float = 1e-2) -> tuple[Scores, Scores]:
    """Return scores and an estimate of ‖∂D/∂(x, s)‖² of each sequence from two more evaluations, no double backward.

    (D(e + h v) - D(e - h v))² / 4h² for a standard normal direction v has the mean ‖∇D‖² + O(h²), because
    E (v·∇D)² = ‖∇D‖²; its standard deviation is √2 ‖∇D‖² for one direction. Fused recurrent kernels can be used.
    """
    projected = discriminator.project(encoded)
    direction = [torch.randn_like(part) for part in projected.parts]
    scores = discriminator.judge(projected, projected.condition)
    slope = _difference(discriminator, projected, direction, size)
    return scores, slope.square()


def gradient_norm_between(discriminator: Any, real: Encoded, synthetic: Encoded) -> Scores:
    """Return ‖∇D‖ at a uniform random point between each real sequence and its synthetic partner (WGAN-GP)."""
    between = _between(discriminator.project(real), discriminator.project(synthetic))
    _, squared = _squared_gradient(discriminator, between)
    return (squared + 1e-12).sqrt()


def slope_between(discriminator: Any, real: Encoded, synthetic: Encoded, size: float = 1e-2) -> Scores:
    """Return the slope of D from synthetic to real at a uniform random point between, by a central difference.

    It is the component of ∇D along the unit vector u from synthetic to real, so a lower bound of its norm. The optimal
    critic's gradient is u itself (Gulrajani et al. 2017, proposition 1), where the two agree.
    """
    real, synthetic = discriminator.project(real), discriminator.project(synthetic)
    apart = [a - b for a, b in zip(real.parts, synthetic.parts, strict=True)]
    distance = (_squared_norm(apart) + 1e-12).sqrt()
    unit = [part / _beside(distance, part) for part in apart]
    return _difference(discriminator, _between(real, synthetic), unit, size)


def _difference(discriminator: Any, projected: Encoded, direction: Sequence[Tensor], size: float) -> Scores:
    ends = [
        projected.replaced(part + sign * size * way for part, way in zip(projected.parts, direction, strict=True))
        for sign in (1, -1)
    ]
    with torch.autocast(projected.x.device.type, enabled=False):  # bfloat16 is coarser than the difference
        ahead, behind = both(discriminator.judge, *ends)
    return (ahead - behind) / (2 * size)


def _between(real: Encoded, synthetic: Encoded) -> Encoded:
    weight = torch.rand(len(real), dtype=real.x.dtype, device=real.x.device)
    pairs = zip(real.parts, synthetic.parts, strict=True)
    return real.replaced(torch.lerp(ours, theirs, _beside(weight, ours)) for ours, theirs in pairs)


def _squared_norm(parts: Iterable[Tensor]) -> Scores:
    return sum(part.flatten(1).square().sum(dim=1) for part in parts)  # type: ignore[return-value]


def _beside(numbers: Float[Tensor, " n"], part: Tensor) -> Tensor:
    """Give one number per sequence as many axes as a part has."""
    return numbers.reshape(-1, *[1] * (part.dim() - 1))


def both(score: Callable[..., Scores], first: Encoded, second: Encoded) -> tuple[Scores, Scores]:
    """Score two batches in one pass, which costs a recurrent network little more than one."""
    joined = Encoded.joined(first, second)
    on_first, on_second = score(joined, joined.condition).chunk(2)
    return on_first, on_second


def _twice_differentiable(tensor: Tensor) -> Any:
    """cuDNN's recurrent kernels have no double backward; PyTorch's own have (pytorch issue 5261)."""
    return torch.backends.cudnn.flags(enabled=False) if tensor.is_cuda else nullcontext()
