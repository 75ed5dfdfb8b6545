"""Convolutions over time, and over the rows of images too, at several resolutions.

A grid is `(n, features, length, row)`: a step of a sequence is a row of one place with all its channels, a row of an
image as many places as it has pixels, with its colours. So one network serves both. The next coarser resolution halves
time, and rows where they have places to halve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..sequences import halved

Steps = Float[Tensor, "n length channels"]
Grid = Float[Tensor, "n features length row"]
Grids = Sequence[Float[Tensor, "n _ _ _"]]
LEAST = 7
"""Steps that a coarsest resolution has at least, if nobody says how many resolutions there are."""
AFTER_RELU = nn.init.calculate_gain("leaky_relu", 0.2)
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def to_grid(x: Steps, row: int) -> Grid:
    """Part the channels of every step among the places of a row."""
    return x.unflatten(2, (row, -1)).permute(0, 3, 1, 2)


def to_steps(grid: Grid) -> Steps:
    """Undo `to_grid`."""
    return grid.permute(0, 2, 3, 1).flatten(2)


def sizes(length: int, row: int, scales: int) -> list[tuple[int, int]]:
    """Return (length, row) of every resolution, the finest first; 0 scales halve as long as 7 whole steps are left.

    Raises:
        ValueError: if there is nothing left to halve.
    """
    scales = scales or max(1, (length // LEAST).bit_length())
    if scales < 1 or 2 ** (scales - 1) > length:
        raise ValueError(f"{scales} resolutions need {2 ** (max(scales, 1) - 1)} steps; these sequences have {length}")
    return [(-(-length // 2**k), -(-row // 2**k)) for k in range(scales)]


def coarsened(grid: Grid) -> Tensor:
    """Average pairs in time, and along rows where they have more than one place."""
    if grid.shape[2] % 2 == 0 and grid.shape[3] % 2 == 0:
        return nn.functional.avg_pool2d(grid, 2)
    return halved(halved(grid, 2), 3)


def doubled(grid: Grid, size: tuple[int, int]) -> Tensor:
    """Repeat every place, up to the next finer resolution's size."""
    length, row = size
    grid = nn.functional.interpolate(grid, scale_factor=(2, 1 if row == 1 else 2), mode="nearest")
    return grid[:, :, :length, :row]


def coarser(x: Steps, row: int, scales: int) -> tuple[Float[Tensor, "n _ _"], ...]:
    """Return what sequences are at the coarser resolutions: each the average of pairs of the one before."""
    found, grid = [], to_grid(x, row)
    for _ in range(scales - 1):
        grid = coarsened(grid)
        found.append(to_steps(grid))
    return tuple(found)


def scaled(layer: Layer, gain: float = 1.0) -> Layer:
    """Let a layer begin so that what it makes of independent inputs has `gain` times their size, not 0.6 of it.

    There are no norms here: over ten layers that shrink their inputs, nothing of a sequence would reach the score, and
    a game stands still for hundreds of steps (He et al. 2015, arXiv 1502.01852).
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    with torch.no_grad():
        layer.weight.mul_(gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Convolutions(nn.Module):
    """x + two convolutions of size 3 in time, and in rows where they have more than one place; no normalisation.

    At first the sum's second part has half the size of the first, so that it stays small over many resolutions.
    """

    def __init__(self, features: int, flat: bool) -> None:
        super().__init__()
        first, second = (scaled(_three(features, flat), gain) for gain in (AFTER_RELU, AFTER_RELU / 2))
        self.layers = nn.Sequential(nn.LeakyReLU(0.2), first, nn.LeakyReLU(0.2), second)

    def forward(self, grid: Grid) -> Grid:
        """Convolve; the size stays."""
        grid = grid.contiguous(memory_format=torch.channels_last)  # in which convolutions are fastest
        return grid + self.layers(grid)


def _three(features: int, flat: bool) -> nn.Conv2d:
    return nn.Conv2d(features, features, (3, 1 if flat else 3), padding=(1, 0 if flat else 1))


class Refining(nn.Module):
    """From the coarsest grid to the finest: at each resolution double, add noise, convolve.

    Args:
        width: Features at the finest resolution, and twice as many at every coarser one.
        sizes: Of the resolutions, the finest first.
        noise: Normal numbers for every place of every resolution but the coarsest.
    """

    def __init__(self, width: int, sizes: Sequence[tuple[int, int]], noise: int) -> None:
        super().__init__()
        self.sizes, flat = tuple(sizes), sizes[0][1] == 1
        self.widths = [width * 2**k for k in range(len(sizes))]
        self.blocks = nn.ModuleList(Convolutions(features, flat) for features in self.widths)
        self.merges = nn.ModuleList(
            scaled(nn.Conv2d(coarse + noise, fine, 1))
            for fine, coarse in zip(self.widths, self.widths[1:], strict=False)
        )
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, grid: Grid, noise: Grids) -> Grids:
        """Return the features at every resolution, the finest first; `noise` is given in that order too."""
        grid = self.blocks[-1](grid)
        found = [grid]
        for k in reversed(range(len(self.merges))):
            grid = self.blocks[k](_merged(self.merges[k], grid, noise[k], self.sizes[k]))
            found.insert(0, grid)
        return [self.activation(grid) for grid in found]


def _merged(merge: nn.Module, grid: Grid, noise: Float[Tensor, "n _ _ _"], size: tuple[int, int]) -> Tensor:
    """Return what `merge` makes of the doubled grid and the noise; merging comes first, at a quarter of the work."""
    assert isinstance(merge, nn.Conv2d)
    of_grid, of_noise = merge.weight.split([grid.shape[1], noise.shape[1]], dim=1)
    wide = doubled(nn.functional.conv2d(grid, of_grid, merge.bias), size)
    return wide + nn.functional.conv2d(noise, of_noise) if noise.shape[1] else wide


class Reducing(nn.Module):
    """From the finest grid to the coarsest: at each resolution convolve, halve, and look at the next.

    Args:
        inputs: Features of what is looked at, the finest first; 0 where a resolution brings nothing of its own.
        width: Features at the finest resolution, and twice as many at every coarser one.
        flat: Whether rows are of one place.
    """

    def __init__(self, inputs: Sequence[int], width: int, flat: bool) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(len(inputs))]
        seen = [0, *widths[:-1]]
        self.merges = nn.ModuleList(
            scaled(nn.Conv2d(before + new, features, 1))
            for before, new, features in zip(seen, inputs, widths, strict=True)
        )
        self.blocks = nn.ModuleList(Convolutions(features, flat) for features in widths)
        self.activation = nn.LeakyReLU(0.2)
        self.features = widths[-1]

    def forward(self, grids: Grids) -> Grid:
        """Return the features of the coarsest resolution; only the first grids need be given."""
        grid = self.blocks[0](self.merges[0](grids[0]))
        for k in range(1, len(self.blocks)):
            grid = torch.cat([coarsened(grid), *grids[k : k + 1]], dim=1)
            grid = self.blocks[k](self.merges[k](grid))
        return self.activation(grid)
