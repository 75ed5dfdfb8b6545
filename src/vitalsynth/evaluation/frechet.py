"""Fréchet distance: how far apart two sets of features are, taken for Gaussian.

    d^2 = |m - m'|^2 + tr(C + C' - 2 (C^1/2 C' C^1/2)^1/2)

with means m and covariances C (Dowson and Landau 1982; as the Fréchet inception distance: Heusel et al. 2017,
arXiv 1706.08500). It is biased upwards by a number that shrinks with the number of sequences, so it means something
only beside its floor, of the same number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..sequences import Sequences
from . import ts2vec
from .features import View
from .fidelity import equal_parts, principal
from .judge import LIMIT
from .measures import Unanswerable, resamples
from .metric import Figure, Interval, beside, says
from .minirocket import MiniRocket

FEATURES = 2016
DIMENSIONS = 32
"""Most principal components: a covariance of 32 needs some hundred sequences to be known."""
PER_DIMENSION = 10
"""Fewest sequences for each."""
RESAMPLES = 200

Gaussian = tuple[Float[ndarray, " k"], Float[ndarray, "k k"]]
"""A mean and a covariance."""


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Return the squared Fréchet distance of two Gaussians."""
    (mean, covariance), (other_mean, other_covariance) = first, second
    root = _root(covariance)
    cross = np.sqrt(np.linalg.eigvalsh(root @ other_covariance @ root).clip(0)).sum()
    return float(np.square(mean - other_mean).sum() + np.trace(covariance) + np.trace(other_covariance) - 2 * cross)


def _root(covariance: Float[ndarray, "k k"]) -> Float[ndarray, "k k"]:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


@says(
    Figure(
        *("frechet", "Fréchet distance", "near floor"),
        "How far apart the means and covariances of random convolution features of synthetic and real sequences are; "
        "never 0, and as large as its floor if nothing differs ({n:.0f} test and {n:.0f} synthetic sequences).",
    ),
    part="fidelity",
    doing="comparing features (Fréchet distance)",
    responds={"worse": ("noise", "reversed time", "shuffled steps", "permuted channels", "dropped mode", "collapsed")},
)
def frechet(
    train: Sequences, test: Sequences, synthetic: Sequences, cap: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Return the Fréchet distance of MiniRocket features of test and synthetic sequences, and test and training ones.

    Kernels are drawn by the seed and their biases read off the training set; nothing is learned. Features, 2,016 and
    the statics, are standardised by the training set and reduced to its first principal components, at most 32 and a
    tenth of the number of sequences, so that their covariance is well conditioned; distances are in units of the
    training set's total variance over these. The interval is a bootstrap over subjects, shifted to have its median at
    the figure, because resampling adds to the bias.

    Args:
        train: Real, fixes the features.
        test: Real, of other subjects.
        synthetic: To be judged.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice, the kernels and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, or one has fewer than 20 sequences.
    """
    view = View.fit(train, test, synthetic)
    parts = equal_parts([train, test, synthetic], cap, seed)
    dense = [view.dense(part) for part in parts]
    rocket = MiniRocket.fit(dense[0], FEATURES, seed)
    seen = [
        np.concatenate([rocket.transform(x), view.statics(part)], axis=1) for x, part in zip(dense, parts, strict=True)
    ]
    return _compared("frechet", parts, seen, seed)


@says(
    Figure(
        *("context_fid", "Context-FID", "near floor"),
        "As the Fréchet distance, but of what an encoder (TS2Vec) learned from the training data tells of a sequence "
        "({n:.0f} test and {n:.0f} synthetic sequences).",
    ),
    part="fidelity",
    doing="learning an encoder of sequences (Context-FID)",
    responds={"worse": ("noise", "shuffled steps", "permuted channels", "dropped mode", "collapsed")},
)
def context_fid(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    cap: int = 1000,
    iterations: int = ts2vec.ITERATIONS,
    seed: int = 0,
) -> dict[str, float]:
    """Return the Fréchet distance of TS2Vec's representations of test and synthetic sequences, and test and training.

    The idea is that of Jeha et al. 2022 (PSA-GAN, arXiv 2108.00981), the encoder `ts2vec`, trained on the training
    set. It is reduced and scaled as in `frechet`, so that it is comparable with its floor and between generators, not
    with published values, which are of other encoders (and of training windows). Statics are not looked at.

    Args:
        train: Real, trains the encoder.
        test: Real, of other subjects.
        synthetic: To be judged.
        cap: Most sequences taken of each set; the same number is.
        iterations: Of training the encoder.
        seed: Of the choice, the encoder and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, have one step only, or one has fewer than 20 sequences.
    """
    view = View.fit(train, test, synthetic)
    parts = equal_parts([train, test, synthetic], cap, seed)
    if view.length < 2:
        raise Unanswerable("sequences of one step have no context")
    dense = [np.clip(view.dense(part), -LIMIT, LIMIT) for part in parts]
    encoder = ts2vec.learn(dense[0], iterations, seed)
    return _compared("context_fid", parts, [ts2vec.embed(encoder, x) for x in dense], seed)


def _compared(
    key: str, parts: Sequence[Sequences], seen: Sequence[Float[ndarray, "n features"]], seed: int
) -> dict[str, float]:
    """Return the distance of features of test and synthetic sequences beside that of test and training ones."""
    if len(parts[0]) < 2 * PER_DIMENSION:
        raise Unanswerable(f"{len(parts[0])} sequences say too little of a covariance; {2 * PER_DIMENSION} are needed")
    x = reduced(seen, min(DIMENSIONS, len(parts[0]) // PER_DIMENSION))
    weights = [resamples(part.subject, seed + k, RESAMPLES) for k, part in enumerate(parts)]

    def figure(judged: int) -> Interval:
        value = frechet_distance(*(_gaussian(x[k], np.ones(len(x[k]))) for k in (1, judged)))
        pairs = zip(weights[1], weights[judged], strict=True)
        drawn = [frechet_distance(_gaussian(x[1], v), _gaussian(x[judged], w)) for v, w in pairs]
        low, high = np.quantile(drawn, [0.025, 0.975]) - np.median(drawn)
        return value, max(0.0, value + float(low)), value + float(high)

    return {**beside(key, figure(2), figure(0)), "n": float(len(parts[1]))}


def reduced(seen: Sequence[Float[ndarray, "n features"]], most: int) -> list[Float[ndarray, "n k"]]:
    """Standardise by the first set and keep its first principal components, of total variance 1."""
    mean, scale = seen[0].mean(axis=0), seen[0].std(axis=0)
    scaled = [(x - mean) / np.where(scale > 1e-9, scale, np.inf) for x in seen]
    basis = principal(scaled[0], most)
    total = float(np.sqrt((scaled[0] @ basis).var(axis=0).sum())) or 1.0
    return [x @ basis / total for x in scaled]


def _gaussian(x: Float[ndarray, "n k"], weights: Float[ndarray, " n"]) -> Gaussian:
    return np.average(x, axis=0, weights=weights), np.atleast_2d(np.cov(x.T, aweights=weights, ddof=0))
