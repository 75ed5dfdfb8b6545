"""Predictors of a class or a number: what each sees of sequences, and how it is fitted.

`see` turns sequences into an array, a row each; `fit` learns from such rows. What is tuned is tuned on subjects held
out of the rows that it is given.

    convolutions  a linear model on random convolution features (`features`)
    linear        a linear model on summaries of what was measured
    boosting      gradient boosting on the same summaries
    gru           a recurrent network on the values themselves, carried forward, with their masks
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional

from ..components import locate
from ..sequences import Column, Sequences, nearest
from .features import KERNELS, View, features
from .judge import LIMIT, Judge

PENALTIES = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Tried in ridge regression, times the number of rows; the first of equals is taken."""

Predict = Callable[[ndarray], ndarray]
"""From rows `(n, ...)` to probabilities `(n, classes)`, or to numbers `(n,)`."""
Fit = Callable[[ndarray, ndarray, ndarray, int, int], Predict]
"""From rows, answers `(n,)`, subjects `(n,)`, the number of classes (0: answers are numbers) and a seed."""


@dataclass(frozen=True)
class Predictor:
    """What a predictor sees of sequences, `see(view, sequences, seed)`, and how it is fitted."""

    see: Callable[[View, Sequences, int], ndarray]
    fit: Fit


def convolutions(view: View, sequences: Sequences, seed: int, kernels: int = KERNELS) -> Float[ndarray, "n features"]:
    """Return random convolution features, and dense summaries."""
    return features(view, sequences, kernels, seed=seed)


def summaries(view: View, sequences: Sequences, seed: int) -> Float[ndarray, "n features"]:
    """Return first, last, least, mean, largest and number of each channel, the statics, and the length.

    NaN is what was never measured. Categories count as a column of 0 and 1 each.
    """
    values, static = _numbers(view.schema.channels, sequences.values), _numbers(view.schema.statics, sequences.static)
    there = ~np.isnan(values)
    count = there.sum(axis=1)
    at = lambda steps: np.take_along_axis(values, steps[:, None], axis=1)[:, 0]  # noqa: E731
    first, last = at(there.argmax(axis=1)), at(values.shape[1] - 1 - there[:, ::-1].argmax(axis=1))
    filled = lambda fill: np.where(there, values, fill)  # noqa: E731
    with np.errstate(invalid="ignore"):
        mean = filled(0.0).sum(axis=1) / count
    ends = [filled(np.inf).min(axis=1), filled(-np.inf).max(axis=1)]
    least, largest = (np.where(count > 0, end, np.nan) for end in ends)
    return np.concatenate(
        [first, last, least, mean, largest, count, static, sequences.lengths[:, None]], axis=1, dtype=np.float64
    )


def _numbers(columns: tuple[Column, ...], values: ndarray) -> ndarray:
    """Return columns, the last axis, with a column of 0 and 1 for each category; NaN stays."""
    parts = [values[..., :0]]
    for j, column in enumerate(columns):
        part = values[..., j : j + 1]
        if column.kind == "categorical":
            part = np.where(np.isnan(part), np.nan, part == np.arange(len(column.categories)))
        parts.append(part)
    return np.concatenate(parts, axis=-1)


def steps(view: View, sequences: Sequences, seed: int) -> Float[ndarray, "n length width"]:
    """Return each step as `View.dense` has it, cut at 5, then the statics and whether the sequence still runs."""
    dense = np.clip(view.dense(sequences), -5, 5)
    statics = np.broadcast_to(view.statics(sequences)[:, None], (*dense.shape[:2], view.statics(sequences).shape[1]))
    return np.concatenate([dense, statics, sequences.alive[..., None]], axis=2, dtype=np.float32)


def fit_linear(
    x: Float[ndarray, "n features"],
    answers: Float[ndarray, " n"],
    subject: Shaped[ndarray, " n"],
    classes: int,
    seed: int,
) -> Predict:
    """Fit a logistic regression (`judge`), or a ridge regression; what is missing becomes the median, and is marked."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True).fit(x)
    whole = lambda rows: cast(ndarray, imputer.transform(rows))  # noqa: E731
    if classes:
        judge = Judge.fit(whole(x), answers.astype(np.int64), subject, classes, seed)
        return lambda rows: judge.probabilities(whole(rows))
    scaler = StandardScaler().fit(whole(x))
    scaled = lambda rows: np.clip(scaler.transform(whole(rows)), -LIMIT, LIMIT)  # noqa: E731
    level = answers.mean()
    coefficients = ridge(scaled(x), answers - level, held_out(subject, seed))
    return lambda rows: level + scaled(rows) @ coefficients


def held_out(subject: Shaped[ndarray, " n"], seed: int) -> Bool[ndarray, " n"]:
    """Say which rows are of a random quarter of the subjects."""
    subjects = np.random.default_rng(seed).permutation(np.unique(subject))
    return np.isin(subject, subjects[: len(subjects) // 4])


def ridge(
    x: Float[ndarray, "n features"], y: Float[ndarray, " n"], held: Bool[ndarray, " n"]
) -> Float[ndarray, " features"]:
    """Return the coefficients of a ridge regression; its penalty is chosen on rows held out, then all are fitted."""

    def fitted(kept: Bool[ndarray, " n"], penalties: Iterable[float]) -> list[Float[ndarray, " features"]]:
        rows = x[kept]
        squares, products = rows.T @ rows, rows.T @ y[kept]
        unit = max(1, len(rows)) * np.eye(x.shape[1])
        return [np.linalg.solve(squares + penalty * unit, products) for penalty in penalties]

    wrong = [((y[held] - x[held] @ each) ** 2).sum() for each in fitted(~held, PENALTIES)]
    return fitted(np.ones(len(x), dtype=bool), [PENALTIES[int(np.argmin(wrong))]])[0]


def fit_boosting(
    x: Float[ndarray, "n features"],
    answers: Float[ndarray, " n"],
    subject: Shaped[ndarray, " n"],
    classes: int,
    seed: int,
) -> Predict:
    """Fit gradient boosting: 200 trees of 15 leaves, which needs no tuning."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    settings = {"learning_rate": 0.05, "max_iter": 200, "max_leaf_nodes": 15, "l2_regularization": 1.0}
    settings |= {"early_stopping": False, "random_state": seed}
    x = np.where(np.isnan(x).all(axis=0), 0.0, x)  # scikit-learn has no bins for what was never measured
    if not classes:
        return HistGradientBoostingRegressor(**settings).fit(x, answers).predict
    seen = np.unique(answers).astype(np.int64)
    judge = HistGradientBoostingClassifier(**settings).fit(x, answers) if len(seen) > 1 else None

    def probabilities(rows: ndarray) -> ndarray:
        out = np.zeros((len(rows), classes))
        out[:, seen] = 1.0 if judge is None else judge.predict_proba(rows)
        return out

    return probabilities


class Recurrent(nn.Module):
    """A GRU whose mean and last output say what is asked."""

    def __init__(self, width: int, outputs: int, hidden: int = 48) -> None:
        super().__init__()
        self.gru = nn.GRU(width, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * hidden, outputs))

    def forward(self, x: Float[Tensor, "n length width"]) -> Float[Tensor, "n outputs"]:
        alive = x[..., -1:]
        lengths = alive.sum(dim=(1, 2)).long()
        out, _ = self.gru(x)
        mean = (out * alive).sum(dim=1) / lengths[:, None]
        return self.head(torch.cat([mean, out[torch.arange(len(x)), lengths - 1]], dim=1))


NETWORKS, EPOCHS, BATCH = 3, 12, 64


def fit_gru(
    x: Float[ndarray, "n length width"],
    answers: Float[ndarray, " n"],
    subject: Shaped[ndarray, " n"],
    classes: int,
    seed: int,
) -> Predict:
    """Train three GRUs, each stopped by the loss of a sixth of the subjects; answer with their mean."""
    level, scale = (0.0, 1.0) if classes else (answers.mean(), answers.std() or 1.0)
    y = torch.from_numpy(answers.astype(np.int64) if classes else ((answers - level) / scale).astype(np.float32))
    rows = torch.from_numpy(x)
    with torch.random.fork_rng(devices=[]):
        networks = [_trained(rows, y, subject, classes, 1000 * seed + k) for k in range(NETWORKS)]

    def predict(asked: ndarray) -> ndarray:
        with torch.no_grad():
            said = [torch.cat([network(part) for part in torch.from_numpy(asked).split(1000)]) for network in networks]
        mean = torch.stack([each.softmax(dim=1) if classes else each for each in said]).mean(dim=0).double().numpy()
        return mean if classes else level + scale * mean[:, 0]

    return predict


def _trained(x: Tensor, y: Tensor, subject: ndarray, classes: int, seed: int) -> Recurrent:
    torch.manual_seed(seed)
    subjects, position = np.unique(subject, return_inverse=True)
    left_out = torch.randperm(len(subjects))[: len(subjects) // 6]
    held = torch.from_numpy(np.isin(position, left_out.numpy()))
    kept = (~held).nonzero()[:, 0]
    loss = lambda said, truth: (  # noqa: E731
        functional.cross_entropy(said, truth) if classes else functional.mse_loss(said[:, 0], truth)
    )
    network = Recurrent(x.shape[2], classes or 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
    least, best = float("inf"), network.state_dict()
    for epoch in range(EPOCHS):
        network.train()
        for part in kept[torch.randperm(len(kept))].split(BATCH):
            optimizer.zero_grad()
            loss(network(x[part]), y[part]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            found = float(loss(network(x[held]), y[held])) if held.any() else -epoch
        if found < least:
            least, best = found, copy.deepcopy(network.state_dict())
    network.load_state_dict(best)
    return network


PREDICTORS = {
    "convolutions": Predictor(convolutions, fit_linear),
    "linear": Predictor(summaries, fit_linear),
    "boosting": Predictor(summaries, fit_boosting),
    "gru": Predictor(steps, fit_gru),
}


def find(name: str, kernels: int = KERNELS) -> Predictor:
    """Return a predictor by its name here, or by the import path of one of the user's own.

    Raises:
        ValueError: if there is none.
    """
    if name == "convolutions":
        return Predictor(partial(convolutions, kernels=kernels), fit_linear)
    if "." not in name and name not in PREDICTORS:
        raise ValueError(f"no predictor {name!r}; {nearest(name, PREDICTORS)}")
    found = PREDICTORS.get(name) or locate(name)
    if not isinstance(found, Predictor):
        raise ValueError(
            f"{name} is a {type(found).__name__}; what is needed is a Predictor of vitalsynth.evaluation.predictors"
        )
    return found
