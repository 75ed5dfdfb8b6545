"""The scores of the time-series literature, as TimeGAN's code has them, on held-out data: weak judges, for comparison.

    discriminative = |accuracy - 1/2| of a one-layer GRU of d // 2 units, 2,000 iterations, batches of 128
    predictive     = mean absolute error, on real data, of a GRU trained on synthetic data to tell the last channel's
                     next value from the other channels, 5,000 iterations

(Yoon, Jarrett, van der Schaar 2019.) TimeGAN judges against the training set; here real means held out, and the floor
is the training set in the place of the synthetic. Values are scaled to [0, 1] by the training set; gaps are 0.
"""

import numpy as np
import torch
from torch import nn

BATCH = 128


def discriminative_score(train, test, synthetic, iterations=2000, seed=0):
    """Return the score of synthetic against test sequences, and of training against test sequences (the floor)."""
    real, known, made = _scaled(train, test, train, synthetic)
    return {
        "score": _told_apart(real, made, iterations, seed),
        "score_floor": _told_apart(real, known, iterations, seed),
    }


def predictive_score(train, test, synthetic, iterations=5000, seed=0):
    """Return the error on test sequences after training on synthetic ones, and on real ones (the floor)."""
    real, known, made = _scaled(train, test, train, synthetic)
    return {"mae": _foretold(made, real, iterations, seed), "mae_floor": _foretold(known, real, iterations, seed)}


class _Recurrent(nn.Module):
    def __init__(self, inputs, hidden, last):
        super().__init__()
        self.recurrence, self.out, self.last = nn.GRU(inputs, hidden, batch_first=True), nn.Linear(hidden, 1), last

    def forward(self, x):
        features, state = self.recurrence(x)
        return self.out(state[-1] if self.last else features)[..., 0]


def _scaled(train, *others):
    low, high = (edge(train.values.reshape(-1, train.values.shape[2]), axis=0) for edge in (np.nanmin, np.nanmax))
    size = np.where(high > low, high - low, 1.0)
    return [torch.from_numpy(np.nan_to_num((s.values - low) / size).astype(np.float32)) for s in others]


def _told_apart(real, made, iterations, seed):
    torch.manual_seed(seed)
    count = min(len(real), len(made))
    real, made = (part[torch.randperm(len(part))[:count]] for part in (real, made))
    kept = int(0.8 * count)
    judge = _Recurrent(real.shape[2], max(1, real.shape[2] // 2), last=True)
    optimizer = torch.optim.Adam(judge.parameters(), lr=1e-3)
    labels = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)])
    for _ in range(iterations):
        x = torch.cat([part[torch.randint(kept, (BATCH,))] for part in (real, made)])
        loss = nn.functional.binary_cross_entropy_with_logits(judge(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = torch.cat([judge(real[kept:]) > 0, judge(made[kept:]) <= 0]).float().mean()
    return abs(right.item() - 0.5)


def _foretold(source, target, iterations, seed):
    torch.manual_seed(seed)
    first = slice(None) if source.shape[2] == 1 else slice(-1)  # a single channel is told from its own past
    model = _Recurrent(max(1, source.shape[2] - 1), max(1, source.shape[2] // 2), last=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    error = lambda x: (torch.sigmoid(model(x[:, :-1, first])) - x[:, 1:, -1]).abs().mean()  # noqa: E731
    for _ in range(iterations):
        loss = error(source[torch.randint(len(source), (BATCH,))])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return error(target).item()
