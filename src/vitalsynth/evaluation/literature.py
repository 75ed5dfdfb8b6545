"""The scores of the time-series literature, as published, so that tables can be compared. They are weak: see below.

`discriminative_score` and `predictive_score` are those of TimeGAN (Yoon, Jarrett and van der Schaar 2019), which
Diffusion-TS (Yuan and Qiao 2024) and most others take over, `correlational_score` is Diffusion-TS's. Checked against
what its code does (Y-debug-sys/Diffusion-TS on GitHub). Values are scaled to [0, 1] by the training set; only complete
sequences of one length are defined. What to know before believing them:

- They judge against the training windows, so a copy of those is the best there is. Here real means held out, unless
  `against="train"` asks for the published way (then the floor is held-out windows in the place of the synthetic).
- Windows overlap, so both sides of the judge's 80/20 division hold near twins.
- The judge is a GRU of d // 2 units: two or three in most tables. Time reversed and Gaussians fitted to windows pass.
- The score is |accuracy - 1/2|: a judge that always answers the same scores 0, one that is worse than chance does not.
- The predictor never sees the past of what it foretells, so the last value carried on (`mae_trivial`) beats it by far.
- The correlational score sums over d (d + 1) / 2 pairs, so it grows with d^2, and over random fifths of the data, so it
  has a floor far from 0.
- The interval is that of the judge's own seeds on one synthetic set: not of other data, not of another training.
- Of the corruptions of the ladder the discriminative score (500 iterations) sees a missing mode and a collapse, and not
  noise as large as the data's own deviation; the predictive score sees a collapse alone, and not always.
- TSGBench trains the predictor for 2,000 iterations where 5,000 are published (`iterations=2000`).

One thing differs: the GRU is PyTorch's, which resets the state after the product with its weights, not before (so in
other ports); its first weights are drawn as TensorFlow's are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import scipy
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from ..sequences import Sequences
from .features import View
from .fidelity import equal_parts
from .measures import Unanswerable
from .metric import Figure, Interval, beside, says

Against = Literal["test", "train"]

BATCH = 128
WEAK = " ({n:.0f} sequences of each). As published, and weak: "


class TinyGRU(nn.Module):
    """A GRU of one layer and a number read off each of its states, with first weights as TensorFlow draws them."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.recurrence, self.out = nn.GRU(inputs, units, batch_first=True), nn.Linear(units, 1)
        own = dict(self.recurrence.named_parameters())
        with torch.no_grad():
            for name in ("weight_ih_l0", "weight_hh_l0"):
                for part in own[name].split([2 * units, units]):  # both gates, then the candidate
                    limit = math.sqrt(6 / (inputs + units + len(part)))
                    part.uniform_(-limit, limit)
            own["bias_ih_l0"].copy_(torch.tensor([1.0, 1.0, 0.0]).repeat_interleave(units))
            own["bias_hh_l0"].zero_()
            nn.init.xavier_uniform_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Float[Tensor, "n length inputs"]) -> Float[Tensor, "n length"]:
        return self.out(self.recurrence(x)[0])[..., 0]


def told_apart(real: Float[Tensor, "n length c"], made: Float[Tensor, "m length c"], iterations: int) -> float:
    """Return |accuracy - 1/2| of a judge on the fifth of either that it was not trained on."""
    real, made = (part[torch.randperm(len(part))] for part in (real, made))
    kept = [int(0.8 * len(part)) for part in (real, made)]
    judge = TinyGRU(real.shape[2], max(1, real.shape[2] // 2))
    labels = torch.cat([torch.ones(min(BATCH, kept[0])), torch.zeros(min(BATCH, kept[1]))])

    def loss() -> Tensor:
        x = torch.cat([part[torch.randperm(count)[:BATCH]] for part, count in zip((real, made), kept, strict=True)])
        return 2 * nn.functional.binary_cross_entropy_with_logits(judge(x)[:, -1], labels)

    _trained(judge, loss, iterations)
    with torch.no_grad():
        right = torch.cat([judge(real[kept[0] :])[:, -1] > 0, judge(made[kept[1] :])[:, -1] <= 0])
    return abs(right.float().mean().item() - 0.5)


def foretold(made: Float[Tensor, "m length c"], real: Float[Tensor, "n length c"], iterations: int) -> float:
    """Return the mean absolute error on real windows of a predictor trained on synthetic ones.

    It tells the last channel's next value from the other channels up to now; a single channel from its own past.
    """
    first = slice(None) if made.shape[2] == 1 else slice(-1)
    predictor = TinyGRU(max(1, made.shape[2] - 1), max(1, made.shape[2] // 2))
    error = lambda x: (torch.sigmoid(predictor(x[:, :-1, first])) - x[:, 1:, -1]).abs().mean()  # noqa: E731
    _trained(predictor, lambda: error(made[torch.randperm(len(made))[:BATCH]]), iterations)
    with torch.no_grad():
        return error(real).item()


def _trained(judge: TinyGRU, loss: Callable[[], Tensor], iterations: int) -> None:
    optimizer = torch.optim.Adam(judge.parameters(), lr=1e-3)
    for _ in range(iterations):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def correlations_off(real: Float[ndarray, "n length c"], made: Float[ndarray, "m length c"]) -> float:
    """Return a tenth of the sum, over pairs of channels and channels with themselves, of differences in correlation."""
    below = np.tril_indices(real.shape[2])

    def products(x: ndarray) -> ndarray:
        z = (x - x.mean(axis=(0, 1))) / x.std(axis=(0, 1), ddof=1)
        return np.tensordot(z, z, ((0, 1), (0, 1)))[below] / (x.shape[0] * x.shape[1])

    return float(np.abs(products(real) - products(made)).sum() / 10)


def comparable(
    train: Sequences, test: Sequences, synthetic: Sequences, against: Against, cap: int, seed: int
) -> tuple[list[Sequences], list[Float[ndarray, "n length c"]]]:
    """Return real, other real and synthetic sequences, as many of each, and their values scaled by the training set.

    Raises:
        Unanswerable: if something is missing, or sequences end early.
    """
    View.fit(train, test, synthetic)  # refuses sets that do not fit together
    if any(np.isnan(part.values).any() for part in (train, test, synthetic)):
        raise Unanswerable("the literature's scores are defined only for sequences of one length without gaps")
    parts = equal_parts([train, test, synthetic] if against == "train" else [test, train, synthetic], cap, seed)
    return parts, [scaled(train, part) for part in parts]


def scaled(train: Sequences, part: Sequences) -> Float[ndarray, "n length c"]:
    """Return values, each channel on [0, 1] in the training set."""
    low, high = train.values.min(axis=(0, 1)), train.values.max(axis=(0, 1))
    return (part.values.astype(np.float64) - low) / np.where(high > low, high - low, 1.0)


def over_judges(score: Callable[[], float], repeats: int, seed: int) -> Interval:
    """Return the mean over judges of other seeds, and Student's 95 % interval of it; NaN of a single one."""
    scores = []
    for k in range(repeats):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + k)
            scores.append(score())
    mean = float(np.mean(scores))
    if repeats < 2:
        return mean, math.nan, math.nan
    half = float(scipy.stats.sem(scores) * scipy.stats.t.ppf(0.975, repeats - 1))
    return mean, max(0.0, mean - half), mean + half


@says(
    Figure(
        *("score", "discriminative score", "near floor"),
        "How much better than a coin toss a tiny recurrent network tells synthetic from real sequences, at most 0.5"
        + WEAK
        + "it is passed by time reversed.",
    ),
    part="literature",
    doing="the literature's discriminative score",
    responds={"worse": ("dropped mode", "collapsed")},
)
def discriminative_score(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    against: Against = "test",
    repeats: int = 5,
    iterations: int = 2000,
    cap: int = 20_000,
    seed: int = 0,
) -> dict[str, float]:
    """Return TimeGAN's discriminative score: |accuracy - 1/2| of a GRU with d // 2 units.

    Batches of 128 real and as many synthetic windows, Adam with its defaults, four fifths of each to train on. See the
    module for its quirks. Minutes of one core: cost grows with repeats, iterations, length, not with sequences.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        against: Which real set it is told apart from; `train` is the published way.
        repeats: Judges of other seeds.
        iterations: Of each judge.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice and the judges.

    Raises:
        ValueError: if the sets differ in columns or length, have gaps, or one has fewer than 2 sequences.
    """
    _, sets = comparable(train, test, synthetic, against, cap, seed)
    real, other, made = (torch.from_numpy(values).float() for values in sets)
    scores = [over_judges(lambda x=x: told_apart(real, x, iterations), repeats, seed) for x in (made, other)]
    return {**beside("score", *scores), "n": float(len(real))}


@says(
    Figure(
        *("mae", "predictive score", "lower"),
        "How far off a tiny recurrent network trained on synthetic sequences is when it tells the last channel's next "
        "value in real ones from the other channels, in units of its range" + WEAK + "the last value carried on, "
        "which is the trivial answer, is closer.",
    ),
    part="literature",
    doing="the literature's predictive score",
    responds={"blind or worse": ("collapsed",)},
)
def predictive_score(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    against: Against = "test",
    repeats: int = 5,
    iterations: int = 5000,
    cap: int = 20_000,
    seed: int = 0,
) -> dict[str, float]:
    """Return TimeGAN's predictive score: the error, on real windows, of a GRU trained on synthetic ones.

    One step ahead, the last channel from all others, d // 2 units, batches of 128, Adam with its defaults. The floor is
    the same trained on other real windows, the trivial answer the last value carried on. See the module for its quirks.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        against: Which real set is foretold; `train` is the published way.
        repeats: Predictors of other seeds.
        iterations: Of each predictor.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice and the predictors.

    Raises:
        ValueError: if the sets differ in columns or length, have gaps, or one has fewer than 2 sequences.
    """
    if train.length < 2:
        raise Unanswerable("nothing can be foretold in sequences of a single step")
    _, sets = comparable(train, test, synthetic, against, cap, seed)
    real, other, made = (torch.from_numpy(values).float() for values in sets)
    errors = [over_judges(lambda x=x: foretold(x, real, iterations), repeats, seed) for x in (made, other)]
    carried_on = (real[:, 1:, -1] - real[:, :-1, -1]).abs().mean().item()
    return {**beside("mae", *errors), "mae_trivial": carried_on, "n": float(len(real))}


@says(
    Figure(
        *("score", "correlational score", "near floor"),
        "A tenth of the sum of how far the correlations of channels are from those of real sequences"
        + WEAK
        + "it is blind to time, and to be compared only with data of as many channels.",
    ),
    part="literature",
    doing="the literature's correlational score",
    responds={"worse": ("noise", "permuted channels", "dropped mode", "collapsed")},
)
def correlational_score(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    against: Against = "test",
    repeats: int = 5,
    cap: int = 20_000,
    seed: int = 0,
) -> dict[str, float]:
    """Return Diffusion-TS's correlational score, a mean over random fifths of the data.

    `cross_correlations` is the same question asked better: every pair counts the same, and gaps are allowed.

    Args:
        train: Real, scales the data.
        test: Real, of other subjects.
        synthetic: To be judged.
        against: Which real set it is compared with; `train` is the published way.
        repeats: Random fifths, drawn with replacement.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choices.

    Raises:
        ValueError: if the sets differ in columns or length, have gaps, or one has fewer than 2 sequences.
    """
    _, (real, other, made) = comparable(train, test, synthetic, against, cap, seed)
    rng = np.random.default_rng(seed)
    drawn = lambda x: x[rng.integers(len(x), size=max(2, len(x) // 5))]  # noqa: E731
    scores = [over_judges(lambda x=x: correlations_off(drawn(real), drawn(x)), repeats, seed) for x in (made, other)]
    return {**beside("score", *scores), "n": float(len(real))}
