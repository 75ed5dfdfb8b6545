"""ICU stays with gaps: PhysioNet 2012 (48 h, 37 variables, 80 % missing), by rates, values and use.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/physionet2012.py --minutes 60 --seeds 0 1 2 3 4
    python benchmarks/physionet2012.py --table           # what is there so far, as Markdown

The preset, conditioned on the outcome and the statics, learns from four fifths of the stays. As many synthetic stays as
there were are compared with the fifth that it never saw, beside the floor, the same for the real training stays:

- `rates`: the largest difference of a variable's share of measured hours, in points, over variables with more than 1 %;
- `association`: of the ten variables whose number of measurements says most about death in the training stays (by the
  distance of its AUROC from 1/2), how many say it in the same direction;
- `marginals`: the 1-Wasserstein distance of a variable's values over their standard deviation, mean over variables;
- `correlations`, `autocorrelations`: mean absolute differences of correlations between variables in the same hour, and
  of a variable's with itself 1 to 6 hours before, where there are 500 pairs or more.

Use: death in hospital, train on synthetic, test on held-out real, beside train on real, the same number of stays and
the same classifier: gradient boosting and logistic regression on summaries of each variable (first, last, least, mean,
largest, number) and statics, and a GRU of the hourly values carried forward with their masks. A row per seed goes to
benchmarks/results/physionet2012.jsonl; what is there already is not done again.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from quality import HELD_OUT, train
from results import alike, record, rows
from scipy.stats import wasserstein_distance
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import vitalsynth
from vitalsynth import runs, sampling, sources
from vitalsynth.evaluation import coverage, distances, two_sample

OUTCOME = "In-hospital_death"
FEWEST = 500
LAGS = 6


def read():
    """Return the training and the held-out stays."""
    stays = sources.read("physionet2012")
    return runs.part(stays, runs.cut(stays, HELD_OUT, 0), 0)


def died(stays):
    return stays.static_column(OUTCOME)


def rates(stays):
    """Return the share of hours in which each variable was measured."""
    return (~np.isnan(stays.values)).mean(axis=(0, 1))


def associations(stays):
    """Return the AUROC of the number of measurements of each variable for death."""
    counts = (~np.isnan(stays.values)).sum(axis=1)
    return np.array([roc_auc_score(died(stays), count) for count in counts.T])


def correlations(stays, chosen):
    """Return the correlation of each pair of variables in the same hour; NaN where there are too few pairs."""
    return distances.correlation(
        distances.channel_sums(stays.values[:, :, chosen].astype(np.float64)).sum(axis=0), FEWEST
    )


def autocorrelations(stays, chosen):
    """Return the correlation of each variable with itself 1 to 6 hours before."""
    values = stays.values[:, :, chosen].astype(np.float64)
    return distances.correlation(distances.lag_sums(values, range(1, LAGS + 1)).sum(axis=0), FEWEST)


def fidelity(reference, test, other):
    """Return how far stays are from the held-out ones; the reference says what the strongest associations are."""
    often = np.flatnonzero(rates(test) > 0.01)
    strongest = np.argsort(-np.abs(associations(reference) - 0.5))[:10]
    direction = np.sign(associations(reference) - 0.5)[strongest]
    of = lambda stays, j: stays.values[:, :, j][~np.isnan(stays.values[:, :, j])]  # noqa: E731
    apart = lambda measure: float(np.nanmean(np.abs(measure(test, often) - measure(other, often))))  # noqa: E731
    points = 100 * np.abs(rates(test) - rates(other))[often]
    marginals = [
        wasserstein_distance(of(test, j), of(other, j)) / of(test, j).std()
        for j in often
        if len(of(other, j)) and of(test, j).std() > 0  # ventilation is noted where it is on
    ]
    return {
        "rates": float(points.max()),
        "rates_of": test.schema.channels[often[points.argmax()]].name,
        "association": int((np.sign(associations(other) - 0.5)[strongest] == direction).sum()),
        "marginals": float(np.mean(marginals)),
        "correlations": apart(correlations),
        "autocorrelations": apart(autocorrelations),
    }


def summaries(stays):
    """Return first, last, least, mean, largest and number of each variable, and the statics but for the outcome."""
    values = stays.values
    there = ~np.isnan(values)
    first = np.take_along_axis(values, there.argmax(axis=1)[:, None], axis=1)[:, 0]
    last = np.take_along_axis(values, (values.shape[1] - 1 - there[:, ::-1].argmax(axis=1))[:, None], axis=1)[:, 0]
    filled = lambda fill: np.where(there, values, fill)  # noqa: E731
    none = ~there.any(axis=1)
    count = there.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = filled(0.0).sum(axis=1) / count
    least, largest = (
        np.where(none, np.nan, part) for part in (filled(np.inf).min(axis=1), filled(-np.inf).max(axis=1))
    )
    return np.concatenate([first, last, least, mean, largest, count, _statics(stays)], axis=1)


def _statics(stays):
    return stays.static[:, [j for j, column in enumerate(stays.schema.statics) if column.name != OUTCOME]]


def boosting(train_part, test, seed):
    judge = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=200, max_leaf_nodes=15, l2_regularization=1.0, random_state=seed
    )
    return judge.fit(summaries(train_part), died(train_part)).predict_proba(summaries(test))[:, 1]


def logistic(train_part, test, seed):
    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    judge = make_pipeline(impute, StandardScaler(), LogisticRegression(C=0.003, max_iter=2000, random_state=seed))
    return judge.fit(summaries(train_part), died(train_part)).predict_proba(summaries(test))[:, 1]


class Recurrent(nn.Module):
    """A GRU whose mean and last output, with the statics, say who dies."""

    def __init__(self, inputs, statics, hidden=48):
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, batch_first=True)
        self.last = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * hidden + statics, 1))

    def forward(self, x, s):
        out, _ = self.gru(x)
        return self.last(torch.cat([out.mean(dim=1), out[:, -1], s], dim=1))[:, 0]


def _level_and_scale(rows):
    """Return mean and deviation of each column, 0 and 1 where nothing is known or nothing varies."""
    known = ~np.isnan(rows).all(axis=0)
    level, scale = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    level[known], scale[known] = np.nanmean(rows[:, known], axis=0), np.nanstd(rows[:, known], axis=0)
    return level, np.where(scale > 0, scale, 1.0)


def recurrent(train_part, test, seed):
    """Train a GRU, stop by a sixth of the stays, average three of them."""
    level, scale = _level_and_scale(train_part.values.reshape(-1, train_part.values.shape[2]))
    middle, spread = _level_and_scale(_statics(train_part))

    def encode(stays):
        z = np.clip((stays.values - level) / scale, -5, 5)
        there = ~np.isnan(z)
        when = np.maximum.accumulate(np.where(there, np.arange(z.shape[1])[:, None], 0), axis=1)
        carried = np.nan_to_num(np.take_along_axis(z, when, axis=1))
        x = np.concatenate([carried, there], axis=2)
        return [torch.from_numpy(p.astype(np.float32)) for p in (x, np.nan_to_num((_statics(stays) - middle) / spread))]

    x, s = encode(train_part)
    y = torch.from_numpy(died(train_part).astype(np.float32))
    asked, found = encode(test), []
    for k in range(3):
        torch.manual_seed(1000 * seed + k)
        order = torch.randperm(len(y))
        held, rest = order[: len(y) // 6], order[len(y) // 6 :]
        network = Recurrent(x.shape[2], s.shape[1])
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
        best, answer = -1.0, None
        for _ in range(12):
            network.train()
            for part in rest[torch.randperm(len(rest))].split(64):
                loss = nn.functional.binary_cross_entropy_with_logits(network(x[part], s[part]), y[part])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            network.eval()
            with torch.no_grad():
                score = roc_auc_score(y[held].numpy(), network(x[held], s[held]).numpy())
                if score > best:
                    best, answer = score, torch.sigmoid(network(*asked)).numpy()
        found.append(answer)
    return np.mean(found, axis=0)


CLASSIFIERS = {"boosting": boosting, "logistic": logistic, "GRU": recurrent}


def utility(train_part, test, synthetic, seed):
    """Return the AUROC of each classifier, trained on synthetic and on real stays."""
    out = {}
    for name, classify in CLASSIFIERS.items():
        real, made = (roc_auc_score(died(test), classify(part, test, seed)) for part in (train_part, synthetic))
        out[name] = {"synthetic": float(made), "real": float(real)}
    return out


def measure(preset, seed, minutes, path):
    """Train, draw and compare."""
    train_part, test = read()
    settings = vitalsynth.preset(preset) | {"batch": 32}
    conditions = ",".join([OUTCOME, "Age", "Gender", "ICUType"])
    run, cost = train(train_part, settings, conditions, seed, minutes, path)
    generator, _ = sampling.load_generator(run, device="cpu")
    synthetic = sampling.collect(sampling.sample(run, generator, len(train_part), seed=seed))
    synthetic = replace(synthetic, schema=train_part.schema)
    strong = {"two_sample": two_sample(train_part, test, synthetic), "coverage": coverage(train_part, test, synthetic)}
    compared = {"synthetic": fidelity(train_part, test, synthetic), "floor": fidelity(train_part, test, train_part)}
    return cost | strong | {"fidelity": compared, "utility": utility(train_part, test, synthetic, seed)}


def table(found):
    """Print a Markdown table: the median over seeds, with the smallest and the largest, and the floor."""
    for preset in dict.fromkeys(row["preset"] for row in found):
        mine = [row for row in found if row["preset"] == preset]
        minutes = np.median([row["training_cpu_minutes"] for row in mine])
        print(f"{preset}, {len(mine)} seeds, {minutes:.0f} CPU-minutes\n\n| figure | synthetic | real |\n|---|---|---|")
        for name, keys in {"two-sample AUROC": ("two_sample", "auroc"), "coverage": ("coverage", "coverage")}.items():
            values = [row[keys[0]][keys[1]] for row in mine]
            _line(name, values, [row[keys[0]][f"{keys[1]}_floor"] for row in mine])
        for name in ("rates", "association", "marginals", "correlations", "autocorrelations"):
            _line(name, *([row["fidelity"][of][name] for row in mine] for of in ("synthetic", "floor")))
        for name in CLASSIFIERS:
            _line(
                f"AUROC of death, {name}", *([row["utility"][name][of] for row in mine] for of in ("synthetic", "real"))
            )


def _line(name, values, floors):
    spread = lambda v: f"{np.median(v):.3g} [{min(v):.3g}, {max(v):.3g}]"  # noqa: E731
    print(f"| {name} | {spread(values)} | {spread(floors)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="strong")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--out", default="runs/physionet2012")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("physionet2012"))
    for seed in asked.seeds:
        row = {"preset": asked.preset, "seed": seed, "minutes": asked.minutes}
        if not alike("physionet2012", row):
            record(
                "physionet2012", row | measure(asked.preset, seed, asked.minutes, f"{asked.out}/{asked.preset}-{seed}")
            )


if __name__ == "__main__":
    main()
