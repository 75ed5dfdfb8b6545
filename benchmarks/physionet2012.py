"""ICU stays with gaps: PhysioNet 2012 (48 h, 37 variables, 80 % missing), by rates, values and use.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/physionet2012.py --minutes 60 --seeds 0 1 2 3 4
    python benchmarks/physionet2012.py --table           # what is there so far, as Markdown

The preset, conditioned on the outcome and the statics, learns from four fifths of the stays. As many synthetic stays as
there were are compared with the fifth that it never saw, beside the floor, the same for the real training stays:

- `rates`: the largest difference of a variable's share of measured hours, in points, over variables with more than 1 %;
  and the same of four times as many synthetic stays, as the shares of as many vary by up to a point by chance;
- `association`: of the ten variables whose number of measurements says most about death in the training stays (by the
  distance of its AUROC from 1/2), how many say it in the same direction;
- `marginals`: the 1-Wasserstein distance of a variable's values over their standard deviation, mean over variables;
- `correlations`, `autocorrelations`: mean absolute differences of correlations between variables in the same hour, and
  of a variable's with itself 1 to 6 hours before, where there are 500 pairs or more.

Use: death in hospital, train on synthetic, test on held-out real, beside train on real, with the same predictor of
vitalsynth.evaluation: gradient boosting and logistic regression on summaries of each variable, a GRU of the hourly
values: of as many synthetic stays as there are real ones, twice and four times as many. A row per seed goes to
benchmarks/results/physionet2012.jsonl; what is there already is not done again.
"""

import argparse

import numpy as np
import torch
from quality import HELD_OUT, learned
from results import alike, record, rows
from scipy.stats import wasserstein_distance
from sklearn.metrics import roc_auc_score

import vitalsynth
from vitalsynth import runs, sources
from vitalsynth.evaluation import coverage, distances, tstr, two_sample

OUTCOME = "In-hospital_death"
PREDICTORS = ("boosting", "linear", "gru")
TIMES = (1, 2, 4)
FEWEST = 500
LAGS = 6


def read(several):
    """Return the training and the held-out stays."""
    stays = sources.read("physionet2012", several=several)
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


def rates_apart(test, other):
    """Return which variables are measured more than now and then, how far rates are apart at most, and whose are."""
    often = np.flatnonzero(rates(test) > 0.01)
    points = 100 * np.abs(rates(test) - rates(other))[often]
    return often, float(points.max()), test.schema.channels[often[points.argmax()]].name


def fidelity(reference, test, other):
    """Return how far stays are from the held-out ones; the reference says what the strongest associations are."""
    often, points, most = rates_apart(test, other)
    strongest = np.argsort(-np.abs(associations(reference) - 0.5))[:10]
    direction = np.sign(associations(reference) - 0.5)[strongest]
    of = lambda stays, j: stays.values[:, :, j][~np.isnan(stays.values[:, :, j])]  # noqa: E731
    apart = lambda measure: float(np.nanmean(np.abs(measure(test, often) - measure(other, often))))  # noqa: E731
    marginals = [
        wasserstein_distance(of(test, j), of(other, j)) / of(test, j).std()
        for j in often
        if len(of(other, j)) and of(test, j).std() > 0  # ventilation is noted where it is on
    ]
    return {
        "rates": points,
        "rates_of": most,
        "association": int((np.sign(associations(other) - 0.5)[strongest] == direction).sum()),
        "marginals": float(np.mean(marginals)),
        "correlations": apart(correlations),
        "autocorrelations": apart(autocorrelations),
    }


def utility(train_part, test, synthetic, seed):
    """Return the AUROC of each classifier, trained on synthetic and on real stays."""
    found = {}
    for name in PREDICTORS:
        for times in TIMES:
            figures = tstr(train_part, test, synthetic, OUTCOME, predictor=name, seed=seed, times=times)
            found |= {f"{name}, {times} x": {"synthetic": figures["auroc"], "real": figures["auroc_floor"]}}
    return found


def measure(preset, seed, minutes, several, path, draw_only):
    """Train, draw and, if asked to, compare."""
    train_part, test = read(several)
    settings = vitalsynth.preset(preset) | {"batch": 32}
    conditions = ",".join([OUTCOME, "Age", "Gender", "ICUType"])
    synthetic, cost = learned(train_part, settings, conditions, seed, minutes, path, max(TIMES) * len(train_part))
    if draw_only:
        return None
    as_many = synthetic.take(slice(0, len(train_part)))
    strong = {"two_sample": two_sample(train_part, test, as_many), "coverage": coverage(train_part, test, as_many)}
    compared = {"synthetic": fidelity(train_part, test, as_many), "floor": fidelity(train_part, test, train_part)}
    _, compared["synthetic"]["rates, 4 x"], _ = rates_apart(test, synthetic)
    compared["floor"]["rates, 4 x"] = compared["floor"]["rates"]
    return cost | strong | {"fidelity": compared, "utility": utility(train_part, test, synthetic, seed)}


def table(found):
    """Print a Markdown table: the median over seeds, with the smallest and the largest, and the floor."""
    case = lambda row: (row["preset"], row["minutes"], row["trained_with"])  # noqa: E731
    for preset, minutes, device in dict.fromkeys(map(case, found)):
        mine = [row for row in found if case(row) == (preset, minutes, device)]
        steps = np.median([row["steps"] for row in mine])
        print(f"\n{preset}, {len(mine)} seeds, {minutes:g} minutes on {device}, {steps:.0f} steps")
        print("\n| figure | synthetic | real |\n|---|---|---|")
        for name, keys in {"two-sample AUROC": ("two_sample", "auroc"), "coverage": ("coverage", "coverage")}.items():
            values = [row[keys[0]][keys[1]] for row in mine]
            _line(name, values, [row[keys[0]][f"{keys[1]}_floor"] for row in mine])
        for name in ("rates", "rates, 4 x", "association", "marginals", "correlations", "autocorrelations"):
            if name in mine[0]["fidelity"]["floor"]:
                _line(name, *([row["fidelity"][of][name] for row in mine] for of in ("synthetic", "floor")))
        for name in mine[0]["utility"]:
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
    parser.add_argument("--several", default="last", help="what an hour holds of several measurements: last or mean")
    parser.add_argument("--out", default="runs/physionet2012")
    parser.add_argument("--draw_only", action="store_true", help="learn and draw; to be compared later, or elsewhere")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("physionet2012"))
    for seed in asked.seeds:
        row = {"preset": asked.preset, "seed": seed, "minutes": asked.minutes, "several": asked.several}
        if not alike("physionet2012", row):
            path = f"{asked.out}/{asked.preset}-{seed}"
            figures = measure(asked.preset, seed, asked.minutes, asked.several, path, asked.draw_only)
            if figures is not None:
                record("physionet2012", row | figures)


if __name__ == "__main__":
    main()
