"""How networks emit encoded columns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..sequences import Block, Fixed
from .renewal import Renewal

FINE = 0.01
"""Steps of recording up to this, for columns of about unit scale, are as good as none."""


class Emission(nn.Module):
    """Map features onto encoded columns that obey the data's form.

    Continuous columns are linear. 0/1 columns and one-hot groups are *hard* forwards and soft backwards: a category is
    drawn by the Gumbel-max trick from the logits, with the softmax's gradient (straight through; Jang, Gu, Poole 2017,
    arXiv 1611.01144). Likewise a continuous column that was recorded in coarse steps is rounded to them. So a
    discriminator cannot tell synthetic from real by their softness, and values recur as they do in data. A gated block
    is zero where its gate is 0, and everything is zero once the alive column has fallen to 0, exactly as `Preparation`
    encodes it.

    Args:
        features: Width of the input.
        blocks: The columns to emit.
        alive: Position of the alive column, which starts at 1 and falls once; None if there is none.
        renewal: Steps back at which the other 0/1 columns know when they were last 1, if time is the last axis but one;
            0 for none.
    """

    def __init__(self, features: int, blocks: Sequence[Block], alive: int | None = None, renewal: int = 0) -> None:
        super().__init__()
        columns = sum(block.width for block in blocks)
        self.linear = nn.Linear(features, columns)
        self.alive = alive
        self.binary: list[int] = []
        self.groups: list[slice] = []
        gates: list[int] = []
        cells: list[tuple[int, float, float]] = []
        start = 0
        for block in blocks:
            if block.grid is not None and block.grid[0] > FINE:
                cells.append((start, *block.grid))
            if block.kind == "binary":
                self.binary.append(start)
            elif block.kind == "categorical":
                self.groups.append(slice(start, start + block.width))
            gates += [columns if block.gate is None else block.gate] * block.width  # `columns`: a column of ones
            start += block.width
        self.gates = gates if any(gate < columns for gate in gates) else None
        self.recurring = [k for k, column in enumerate(self.binary) if column != alive] if renewal else []
        self.renewal = Renewal(features, len(self.recurring), renewal) if self.recurring else None
        self.stepped = [column for column, *_ in cells]
        self.grid: Tensor
        self.register_buffer("grid", torch.tensor([own for _, *own in cells]).reshape(-1, 2), persistent=False)

    @property
    def noise(self) -> int:
        """How many normal draws a step needs: one for every 0/1 column and every category."""
        return len(self.binary) + sum(group.stop - group.start for group in self.groups)

    def forward(
        self, features: Float[Tensor, "*n features"], noise: Float[Tensor, "*n noise"], fixed: Fixed | None = None
    ) -> Float[Tensor, "*n columns"]:
        """Return encoded columns; time is the last axis but one where there is an alive column, or any is fixed."""
        columns = _at_least_float32(self.linear(features))
        if self.noise:
            columns = self._draw(columns, noise, features, fixed)
        if self.stepped:
            columns = self._round(columns)
        if fixed is not None:
            columns = fixed.put(columns)
        if self.gates is not None:
            columns = columns * nn.functional.pad(columns, (0, 1), value=1.0)[..., self.gates]
        return columns if self.alive is None else end(columns, self.alive)

    def _round(self, columns: Tensor) -> Tensor:
        spacing, origin = self.grid.T
        soft = columns[..., self.stepped]
        rounded = columns.clone()
        rounded[..., self.stepped] = _straight_through(((soft - origin) / spacing).round() * spacing + origin, soft)
        return rounded

    def _draw(self, logits: Tensor, noise: Tensor, features: Tensor, fixed: Fixed | None) -> Tensor:
        columns = logits.clone()
        if self.binary:
            odds, logistic = logits[..., self.binary], _logistic(noise[..., : len(self.binary)])
            if self.renewal is not None:
                own, imposed = self.recurring, None
                if fixed is not None:
                    imposed = tuple(part[..., self.binary][..., own] for part in (fixed.x, fixed.known))
                odds[..., own] = self.renewal(features, odds[..., own], logistic[..., own], imposed)
            soft = torch.sigmoid(odds + logistic)
            columns[..., self.binary] = _straight_through((soft > 0.5).to(soft.dtype), soft)
        position = len(self.binary)
        for group in self.groups:
            width = group.stop - group.start
            gumbel = -torch.log(-torch.log(_uniform(noise[..., position : position + width])))
            soft = torch.softmax(logits[..., group] + gumbel, dim=-1)
            hard = nn.functional.one_hot(soft.argmax(-1), width).to(soft.dtype)
            columns[..., group] = _straight_through(hard, soft)
            position += width
        return columns


class CoarseEmission(nn.Module):
    """Map features of a coarse resolution onto the columns that pooled sequences have there.

    What pooling does to data decides their form. A continuous column that was measured in part of a cell is the mean of
    what was measured, which is emitted, times the measured part, which is its gate, pooled; likewise for what had not
    ended. Shares of 0/1 columns and categories, and the gates, are those of the finest resolution, pooled: there is
    nothing to add to a count.

    Args:
        features: Width of the input.
        blocks: The columns, as of the finest resolution.
        alive: Position of the alive column; None if there is none.
    """

    def __init__(self, features: int, blocks: Sequence[Block], alive: int | None = None) -> None:
        super().__init__()
        columns = sum(block.width for block in blocks)
        always = columns if alive is None else alive  # `columns`: a column of ones
        self.continuous: list[int] = []
        self.shares: list[int] = []
        start = 0
        for block in blocks:
            if block.kind == "continuous":
                self.continuous += range(start, start + block.width)
                self.shares += [always if block.gate is None else block.gate] * block.width
            start += block.width
        self.linear = nn.Linear(features, len(self.continuous)) if self.continuous else None

    def forward(
        self, features: Float[Tensor, "*n features"], pooled: Float[Tensor, "*n columns"]
    ) -> Float[Tensor, "*n columns"]:
        """Return the columns, given the finest resolution's, pooled."""
        if self.linear is None:
            return pooled
        columns = pooled.clone()
        share = nn.functional.pad(pooled, (0, 1), value=1.0)[..., self.shares]
        columns[..., self.continuous] = _at_least_float32(self.linear(features)) * share
        return columns


def _at_least_float32(columns: Tensor) -> Tensor:
    """Undo what autocast made bfloat16, too coarse to draw from."""
    return columns.to(torch.promote_types(columns.dtype, torch.float32))


def _uniform(noise: Tensor) -> Tensor:
    """Return normal draws as uniform ones."""
    return torch.special.ndtr(noise).clamp(1e-6, 1 - 1e-6)


def _logistic(noise: Tensor) -> Tensor:
    """Return normal draws as logistic ones."""
    return torch.logit(_uniform(noise))


def _straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    return hard + (soft - soft.detach())


def end(columns: Float[Tensor, "n length columns"], alive: int) -> Float[Tensor, "n length columns"]:
    """Let all be 0 once the alive column has fallen to 0, for good; in the first step it is 1."""
    first = torch.ones_like(columns[:, :1, alive])
    steps = torch.cat([first, columns[:, 1:, alive]], dim=1)
    if torch.compiler.is_exporting():  # ONNX has no product along an axis; the column is 0 or 1
        still = (torch.cumsum(1 - steps, dim=1) < 0.5).to(steps.dtype)
    else:
        still = torch.cumprod(steps, dim=1)
    ended = columns * still[..., None]
    return torch.cat([ended[..., :alive], still[..., None], ended[..., alive + 1 :]], dim=-1)
