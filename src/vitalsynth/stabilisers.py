"""Stabilisers: small parts that steady an adversarial game, whichever its objective, as many as are wanted.

    Stabiliser(shape, **settings)
    stabiliser.shown(encoded, step) -> Encoded                                 what the discriminator is shown
    stabiliser.terms(player, networks, real, synthetic, step) -> {name: scalar}   what a player minimises besides

Each overrides one of the two. A change T of what is shown is made to real and synthetic sequences alike, in the turns
of both players, and can be differentiated: D(T(x)) is set against D(T(G(z))), so the players play for the same laws as
long as the law of T(x) determines that of x. Several are applied in the order in which they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .sequences import Block, Encoded, Shape, owners

Columns = Float[Tensor, "n length columns"]
Change = Callable[[Columns], Columns]


class Stabiliser:
    """What every stabiliser is, and by itself none. Derive from it to write your own.

    Attributes:
        private: Whether it can be used under differential privacy: it keeps nothing of what it was shown, and its terms
            of a generator do not look at real sequences.
    """

    private: ClassVar[bool] = False

    def __init__(self, shape: Shape) -> None:
        """Take what the data know.

        Args:
            shape: Of the encoded data.
        """
        self.shape = shape

    def shown(self, encoded: Encoded, step: int) -> Encoded:
        """Return what the discriminator is shown in the place of real or synthetic sequences."""
        return encoded

    def terms(
        self, player: str, networks: Mapping[str, nn.Module], real: Encoded, synthetic: Encoded, step: int
    ) -> dict[str, Tensor]:
        """Return named terms that a player minimises besides the objective's; real and synthetic are as shown."""
        return {}


class InstanceNoise(Stabiliser):
    """Normal noise on all that the discriminator sees, fading to none.

    Where real and synthetic laws hardly overlap, a discriminator can be right everywhere and teaches nothing; noise
    makes them overlap (Sønderby et al. 2017, arXiv 1610.04490; Arjovsky and Bottou 2017, arXiv 1701.04862). Near the
    equilibrium noise of variance σ² damps the game's rotation, at rate σ²/4 in the Dirac-GAN (Mescheder et al. 2018).
    """

    private = True

    def __init__(self, shape: Shape, std: float = 0.2, over: int = 2000) -> None:
        """Set the noise.

        Args:
            shape: Of the encoded data.
            std: Standard deviation σ at the first step; encoded columns have about unit scale.
            over: Steps in which it falls linearly to 0; 0 keeps it as it is.
        """
        super().__init__(shape)
        if std < 0 or over < 0:
            raise ValueError(f"noise needs std and over of at least 0, got std {std} and over {over}")
        self.std, self.over = std, over

    def at(self, step: int) -> float:
        """Return the standard deviation at a step."""
        return self.std * max(0.0, 1 - step / self.over) if self.over else self.std

    def shown(self, encoded: Encoded, step: int) -> Encoded:
        """Add noise, to 0/1 columns too: it is their hardness that a discriminator would see first."""
        std = self.at(step)
        return encoded.replaced(part + std * torch.randn_like(part) for part in encoded.parts) if std else encoded


class Augment(Stabiliser):
    """Random changes that leave a sequence plausible, so that few real ones cannot be learned by heart.

    Differentiable augmentation (DiffAugment; Zhao et al. 2020, arXiv 2006.10738). A sequence is moved in time, with
    reflection at its ends; channels and static numbers are scaled and lifted; channels are dropped; a stretch of time
    is cut out. Masks move, and go, with their channels; what was cut out or dropped looks as if never measured; what
    was not measured stays 0; a sequence keeps its length. So all that was 0 or 1 still is.

    An image, read by rows, is moved along both axes, its contrast and brightness changed, and a rectangle cut out.

    Each change is made to a share of the sequences only: where it is always made, a generator may come to make it too
    (Karras et al. 2020, arXiv 2006.06676, who find 0.8 safe).
    """

    private = True

    def __init__(
        self,
        shape: Shape,
        shift: float = 0.125,
        cutout: float = 0.25,
        scale: float = 0.2,
        level: float = 0.2,
        drop: float = 0.1,
        chance: float = 0.8,
    ) -> None:
        """Set how strong each change is; 0 leaves it out.

        Args:
            shape: Of the encoded data.
            shift: Largest move, as a share of the length, and of an image's width.
            cutout: What is cut out, as a share of the length, and of an image's width.
            scale: Numbers are multiplied by up to 1 plus or minus this, each channel by its own; an image by one.
            level: Up to plus or minus this is added to what was measured, to each channel its own; to an image one.
            drop: Share of the channels that are dropped, if there are several; none of an image.
            chance: Share of the sequences that are moved, scaled, lifted or cut, each by itself.
        """
        super().__init__(shape)
        shares = {"shift": shift, "cutout": cutout, "scale": scale, "drop": drop, "chance": chance}
        if bad := [f"{name} {share}" for name, share in shares.items() if not 0 <= share <= 1]:
            raise ValueError(f"shares of an augmentation must lie in [0, 1], got {bad[0]}")
        if level < 0:
            raise ValueError(f"level must be at least 0, got {level}")
        self.x, self.s = _Columns(shape.x, shape.alive), _Columns(shape.s)
        self.colours = shape.image[2] if shape.image and self.x.number.all() else 0
        self.shift, self.cutout, self.chance = shift, cutout, chance
        self.scale, self.level, self.drop = scale, level, drop

    def shown(self, encoded: Encoded, step: int) -> Encoded:
        """Change sequences, at every resolution alike."""
        x, s, *coarse = encoded.parts
        changes = [self._shifted(x), self._jittered(x, self.x), self._dropped(x), self._cut(x)]
        finest, *others = (reduce(lambda part, change: change(part), changes, part) for part in (x, *coarse))
        still = s[:, None]
        return encoded.replaced((finest, self._jittered(still, self.s)(still)[:, 0], *others))

    def _some(self, like: Columns) -> Float[Tensor, "n 1"]:
        """Draw which sequences are changed."""
        return (_uniform(like, 1) < self.chance).to(like.dtype)

    def _shifted(self, like: Columns) -> Change:
        by = self._some(like) * self.shift * (2 * _uniform(like, 2) - 1)

        def change(x: Columns) -> Columns:
            x = _moved(x, by[:, :1], self.x.lengths(x))
            if self.colours:
                across = _turned(x, self.colours)
                x = _turned(_moved(across, by[:, 1:], self.x.lengths(across)), self.colours)
            return x

        return change if self.shift else _same

    def _jittered(self, like: Columns, columns: _Columns) -> Change:
        image = self.colours and columns is self.x
        each = 1 if image else like.shape[2]
        factor = 1 + (self._some(like) * self.scale * (2 * _uniform(like, each) - 1))[:, None]
        offset = (self._some(like) * self.level * (2 * _uniform(like, each) - 1))[:, None]
        return lambda x: x * factor + offset if image else columns.jittered(x, factor, offset)

    def _dropped(self, like: Columns) -> Change:
        if not self.drop or self.colours or self.x.channels < 2:
            return _same
        kept = _uniform(like, like.shape[2]) >= self.drop
        return lambda x: x * self.x.kept(kept)[:, None]

    def _cut(self, like: Columns) -> Change:
        width, centre = self._some(like) * self.cutout, _uniform(like, 2)

        def change(x: Columns) -> Columns:
            hole = _near(centre[:, :1], width, self.x.lengths(x), x.shape[1])[..., None]
            if self.colours:
                across = _turned(x, self.colours)
                beside = _near(centre[:, 1:], width, self.x.lengths(across), across.shape[1])
                hole = hole & beside.repeat_interleave(self.colours, dim=1)[:, None]
            elif self.shape.alive is not None:
                hole = hole & (torch.arange(x.shape[2], device=x.device) != self.shape.alive)
            return x.masked_fill(hole, 0.0)

        return change if self.cutout else _same


class Consistency(Stabiliser):
    """Let a discriminator score a sequence as it scores the same slightly changed: w E (D(x) - D(T(x)))².

    Of real and of synthetic sequences (balanced consistency regularisation; Zhao et al. 2021, arXiv 2002.04724). The
    changes are those of `Augment`, milder, since here they must not matter at all.
    """

    private = True

    def __init__(
        self, shape: Shape, weight: float = 10.0, shift: float = 0.05, scale: float = 0.1, level: float = 0.1
    ) -> None:
        """Set the term.

        Args:
            shape: Of the encoded data.
            weight: Weight w of the term, of real and of synthetic sequences.
            shift: Largest move, as a share of the length.
            scale: Numbers are multiplied by up to 1 plus or minus this.
            level: Up to plus or minus this is added to what was measured.
        """
        super().__init__(shape)
        self.weight = weight
        self.augment = Augment(shape, shift=shift, scale=scale, level=level, cutout=0.0, drop=0.0, chance=1.0)

    def terms(
        self, player: str, networks: Mapping[str, nn.Module], real: Encoded, synthetic: Encoded, step: int
    ) -> dict[str, Tensor]:
        """Return the discriminator's term."""
        if player != "discriminator":
            return {}
        plain = Encoded.joined(real, synthetic)
        both = (plain, self.augment.shown(plain, step))
        before, after = (networks["discriminator"](each, each.condition) for each in both)
        on_real, on_synthetic = (before - after).square().chunk(2)
        return {"consistency": self.weight * (on_real.mean() + on_synthetic.mean())}


class FeatureMatching(Stabiliser):
    """Let synthetic sequences have the mean features of real ones: w ‖E h(x) - E h(G(z))‖² (Salimans et al. 2016).

    h are the features by which the discriminator scores (arXiv 1606.03498): a goal that does not run away when the
    discriminator wins.
    """

    def __init__(self, shape: Shape, weight: float = 1.0) -> None:
        """Set the term.

        Args:
            shape: Of the encoded data.
            weight: Weight w of the term.
        """
        super().__init__(shape)
        self.weight = weight

    def terms(
        self, player: str, networks: Mapping[str, nn.Module], real: Encoded, synthetic: Encoded, step: int
    ) -> dict[str, Tensor]:
        """Return the generator's term.

        Raises:
            ValueError: if the discriminator has no features.
        """
        if player != "generator":
            return {}
        discriminator = networks["discriminator"]
        features: Any = getattr(discriminator, "features", None)
        if features is None:
            name = type(discriminator).__name__
            raise ValueError(
                f"FeatureMatching needs a discriminator with features(encoded, condition); {name} has none"
            )
        ours, theirs = (features(each, each.condition).mean(dim=0) for each in (real, synthetic))
        return {"feature_matching": self.weight * (ours - theirs).square().sum()}


class _Columns:
    """What an augmentation must know of the columns of x, or of s.

    Args:
        blocks: What the columns are.
        alive: Position of the alive column, if there is one.
    """

    def __init__(self, blocks: Sequence[Block], alive: int | None = None) -> None:
        columns = sum(block.width for block in blocks)
        always = columns if alive is None else alive  # `columns`: a column of ones
        number, gate, owner = [], [], owners(blocks)
        for block in blocks:
            number += [block.kind == "continuous"] * block.width
            gate += [always if block.gate is None else block.gate] * block.width
        self.alive, self.channels = alive, len({*owner} - {alive})
        self.number = torch.tensor(number, dtype=torch.bool)
        self.gate, self.owner = torch.tensor(gate, dtype=torch.long), torch.tensor(owner, dtype=torch.long)

    def lengths(self, x: Columns) -> Int[Tensor, "n 1"]:
        """Return how many steps each sequence has."""
        if self.alive is None:
            return torch.full((len(x), 1), x.shape[1], device=x.device)
        return (x[..., self.alive] > 0.5).sum(dim=1, keepdim=True).clamp(min=1)

    def jittered(self, x: Columns, factor: Float[Tensor, "n 1 _"], offset: Float[Tensor, "n 1 _"]) -> Columns:
        """Scale and lift the numbers that were measured."""
        measured = nn.functional.pad(x, (0, 1), value=1.0)[..., self.gate.to(x.device)]
        return torch.where(self.number.to(x.device), x * factor + offset * measured, x)

    def kept(self, drawn: Bool[Tensor, "n columns"]) -> Bool[Tensor, "n columns"]:
        """Let a channel share its fate with its mask, and the alive column always stay."""
        kept = drawn[:, self.owner.to(drawn.device)]
        return kept if self.alive is None else kept | (torch.arange(kept.shape[1], device=kept.device) == self.alive)


def _same(x: Columns) -> Columns:
    return x


def _uniform(like: Tensor, columns: int) -> Float[Tensor, "n columns"]:
    return torch.rand(len(like), columns, dtype=like.dtype, device=like.device)


def _moved(x: Columns, share: Float[Tensor, "n 1"], lengths: Int[Tensor, "n 1"]) -> Columns:
    """Move sequences in time by a share of their lengths; what leaves at one end comes back from it, reflected."""
    steps = torch.arange(x.shape[1], device=x.device)
    last = lengths - 1
    source = (steps - (share * lengths).round().long()).abs() % (2 * last).clamp(min=1)
    source = torch.where(steps <= last, torch.minimum(source, 2 * last - source), steps)
    return x.gather(1, source[..., None].expand_as(x))


def _turned(x: Float[Tensor, "n height _"], colours: int) -> Float[Tensor, "n width _"]:
    """Read an image by columns instead of rows, or back."""
    return x.unflatten(2, (-1, colours)).transpose(1, 2).flatten(2)


def _near(
    centre: Float[Tensor, "n 1"], width: Float[Tensor, "n 1"], lengths: Int[Tensor, "n 1"], count: int
) -> Bool[Tensor, "n count"]:
    """Say which steps lie within half a width of the centre, both as shares of the length."""
    middles = (torch.arange(count, device=centre.device) + 0.5) / lengths
    return (middles - centre).abs() < width / 2
