"""Does a GAN remove personal traits, or which architecture does? Attacks against usefulness, learner by learner.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/privacy.py --minutes 4 --seeds 0 1 2
    python benchmarks/privacy.py --table                 # what is there so far, as Markdown
    python benchmarks/privacy.py --figure docs/images/privacy.png

ICU stays (PhysioNet 2012, conditioned on death in hospital) and images (MNIST, 60,000 of 28 x 28, conditioned on the
label). Learners: presets, trained for --minutes of CPU time; `differential` and the noisy marginals at several epsilon,
at a delta of 1e-5; and for comparison a Gaussian, a copy of the training set, and `nobody`: real data of others, in
which nobody can be found. `strong-500` is the strong preset on 500 stays, few enough to be remembered.

Attacks are those that hold samples (vitalsynth.evaluation.privacy), each on everybody and on copies that are planted
for control. The strongest of four is reported: the row of `nobody` says how strong that is where there is nothing to
find. Usefulness: a classifier trained on synthetic data, tested on real held-out ones: AUROC of death by gradient
boosting and logistic regression on summaries, accuracy of a small convolutional network on the 10,000 test images. That
of `copy` is that of real data. A row per case goes to benchmarks/results/privacy.jsonl; what is there already is not
done again. What was drawn, or a run that lies finished under --out, is taken as it is.
"""

import argparse
from dataclasses import replace

import judges
import numpy as np
import quality
import torch
from physionet2012 import OUTCOME
from physionet2012 import read as read_stays
from results import alike, record, rows

import vitalsynth
from vitalsynth import sources
from vitalsynth.differential import Privacy
from vitalsynth.differential.marginals import Marginals
from vitalsynth.evaluation import tstr
from vitalsynth.evaluation.baselines import BASELINES
from vitalsynth.evaluation.privacy.controls import planted, strangers
from vitalsynth.evaluation.privacy.figures import figures
from vitalsynth.evaluation.privacy.membership import ATTACKS
from vitalsynth.evaluation.privacy.points import deal, look

LIMITS = (  # of what is physiological, whatever the data say; what lies outside is cut
    "Albumin=0:7,ALP=0:1000,ALT=0:3000,AST=0:3000,Bilirubin=0:40,BUN=0:200,Cholesterol=0:400,Creatinine=0:15,"
    "DiasABP=0:150,Glucose=0:600,HCO3=0:50,HR=0:250,K=1:10,Lactate=0:25,Mg=0:6,MAP=0:200,Na=100:180,NIDiasABP=0:150,"
    "NIMAP=0:200,NISysABP=0:300,PaCO2=0:150,PaO2=0:600,pH=6.5:8,Platelets=0:1000,RespRate=0:80,SysABP=0:300,Temp=25:45,"
    "TroponinI=0:50,TroponinT=0:25,Urine=0:2000,WBC=0:100,Weight=20:250,Height=50:250,static_Weight=20:250"
)
DATA = {
    "physionet2012": {"condition": OUTCOME, "limits": LIMITS, "length": 48, "complete": OUTCOME, "batch": 128},
    "mnist": {"condition": "label", "limits": "", "length": 0, "complete": "all", "batch": 250},
}
EPSILONS = (1.0, 3.0, 10.0)
PRIVATE = ("marginals", "differential")
LEARNERS = ("copy", "nobody", "gaussian", *PRIVATE, "rcgan", "strong", "strong-500")
FEW = 500
MOST = 1000
MEMBERS = 20_000
"""Images that a classifier learns from, and at most so many that are drawn."""
RATE = "TPR at 1 % FPR"
USES = {
    "boosting": "AUROC of death by boosting that learned from it",
    "accuracy": "accuracy of a network that learned from it",
}


def read(data):
    """Return the training and the held-out part."""
    if data == "physionet2012":
        return read_stays("last")
    return [sources.mnist(split=split) for split in ("train", "test")]


def privacy(data, epsilon):
    """Return a budget, and what is public of the data."""
    case = DATA[data]
    return Privacy(epsilon, delta=1e-5, length=case["length"], public="all", complete=case["complete"])


def learned(part, data, learner, epsilon, seed, minutes, path):
    """Return what a learner draws, and what it cost."""
    count, case = min(len(part), MEMBERS), DATA[data]
    if learner in BASELINES:
        return BASELINES[learner](part, count, seed), {}
    if learner == "marginals":
        bounded = part.schema.limited((), dict(pair.split("=") for pair in case["limits"].split(",") if pair))
        found = Marginals.learn(replace(part, schema=bounded), privacy(data, epsilon), case["condition"])
        return found.draw(count, seed), {"epsilon_spent": epsilon}
    settings = vitalsynth.preset(learner.partition("-")[0])
    if epsilon:
        settings |= {"privacy": privacy(data, epsilon), "limits": case["limits"], "batch": case["batch"]}
    elif learner.startswith("strong"):
        settings |= {"batch": 32}
    return quality.learned(part, settings, case["condition"], seed, minutes, path, count)


def attacked(parts, seed):
    """Return AUROC and TPR of every attack, with their intervals, on everybody and on planted copies."""
    leak, leaked = planted(parts, seed=seed)
    seen, with_leak, count = look(parts), look(leak), len(leaked)
    out = {}
    for name, attack in ATTACKS.items():
        scores, others = attack(*seen), attack(*with_leak)
        out[name] = {
            "all": told(scores[:count], scores[count:]),
            "planted": told(others[:count][leaked], others[count:]),
        }
    return out


def told(members, others):
    found = {row["figure"]: row for row in figures(members, others)}
    return {name: [found[name][end] for end in ("value", "low", "high", "p")] for name in ("AUROC", RATE)}


def worth(data, parts, synthetic, seed):
    """Return what classifiers that learned from synthetic data are worth for real ones."""
    if data == "mnist":
        labels = synthetic.static[:, :1]
        network = judges.classifier(synthetic, labels, 3, seed)
        return {"accuracy": judges.accuracies(network, parts[1], parts[1].static[:, :1])[0]}
    found = {name: tstr(*parts, synthetic, OUTCOME, predictor=name, seed=seed) for name in ("boosting", "linear")}
    return {
        name: {key: figures[key] for key in ("auroc", "auroc_low", "auroc_high")} for name, figures in found.items()
    }


def measure(data, learner, epsilon, seed, minutes, path):
    """Train, draw, attack and use."""
    train_part, test = read(data)
    part = train_part.take(slice(0, FEW)) if learner.endswith("-500") else train_part
    if learner == "nobody":
        parts = strangers(deal(part, test, test, most=MOST, seed=seed), seed)
        return {"attacks": attacked(parts, seed)}
    drawn, cost = learned(part, data, learner, epsilon, seed, minutes, path)
    drawn = replace(drawn.like(part.schema, part.length), schema=part.schema)
    parts = deal(part, test, drawn, most=MOST, seed=seed)
    about = {"trained_on": len(part), "drawn": len(drawn), "members": min(len(part), MOST), **cost}
    return about | {"attacks": attacked(parts, seed), "utility": worth(data, (part, test), drawn, seed)}


def strongest(row, figure):
    """Return value and interval of the attack that achieves most."""
    return max((found["all"][figure] for found in row["attacks"].values()), key=lambda each: each[0])


def usefulness(row):
    """Return the figures of use by name."""
    found = row.get("utility", {})
    return {name: each["auroc"] if isinstance(each, dict) else each for name, each in found.items()}


def named(row):
    return row["learner"] + (f", ε = {row['epsilon']:g}" if row["epsilon"] else "")


def place(row):
    """Return where a row stands in a table."""
    return LEARNERS.index(row["learner"]), row["epsilon"], row["seed"]


def table(found):
    """Print a Markdown table for each data set: medians over seeds, intervals of the first seed."""
    for data in DATA:
        own = sorted((row for row in found if row["data"] == data), key=place)
        cases = {named(row): [r for r in own if named(r) == named(row)] for row in own}
        uses = list(dict.fromkeys(use for mine in cases.values() for use in usefulness(mine[0])))
        print(
            f"\n| {data} | seeds | minutes | AUROC of the strongest attack | its {RATE} | on planted copies | "
            f"{' | '.join(uses)} |\n" + "|---" * (6 + len(uses)) + "|"
        )
        for name, mine in cases.items():
            cells = [_cell([strongest(row, figure) for row in mine]) for figure in ("AUROC", RATE)]
            control = np.median([max(f["planted"][RATE][0] for f in row["attacks"].values()) for row in mine])
            used = [_median([usefulness(row).get(use) for row in mine]) for use in uses]
            minutes = np.median([minutes_of(row) for row in mine])
            print(
                f"| {name} | {len(mine)} | {minutes:.0f} | {' | '.join(cells)} | {control:.2f} | {' | '.join(used)} |"
            )


def minutes_of(row):
    return row.get("training_cpu_minutes", row.get("training_minutes_by_the_clock", 0))


def _cell(values):
    value, low, high, _ = sorted(values)[len(values) // 2]
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _median(values):
    return "" if None in values else f"{np.median(values):.3f}"


SHOWN = (0.45, 0.62)
MARKS = {0.0: "o", 1.0: "v", 3.0: "s", 10.0: "^"}


def figure(found, path):
    """Draw attack against usefulness: medians over seeds, their range, and the interval of the attack.

    Grey is what an attack achieves on data of others; what lies above the picture is named there.
    """
    from matplotlib import pyplot

    fig, axes = pyplot.subplots(1, len(DATA), figsize=(11, 4.4), layout="constrained", sharey=True)
    for axis, data, use in zip(axes, DATA, USES, strict=True):
        mine = sorted((row for row in found if row["data"] == data), key=place)
        for name in dict.fromkeys(named(row) for row in mine if usefulness(row)):
            own = [row for row in mine if named(row) == name]
            learner, epsilon = own[0]["learner"], own[0]["epsilon"]
            x = np.sort([usefulness(row)[use] for row in own])
            middle, low, high, _ = sorted(strongest(row, "AUROC") for row in own)[len(own) // 2]
            across = np.array([[np.median(x) - x[0]], [x[-1] - np.median(x)]])
            if middle > SHOWN[1]:
                said = f"{name}: {middle:.2f}, at {np.median(x):.2f}  ↑"
                axis.text(0.98, 0.98, said, transform=axis.transAxes, ha="right", va="top", fontsize=8)
            else:
                colour, spread = f"C{LEARNERS.index(learner)}", [[middle - low], [high - middle]]
                style = dict(fmt=MARKS[epsilon], color=colour, capsize=2, linewidth=0.8, label=name)  # noqa: C408
                axis.errorbar(np.median(x), middle, spread, across, **style)
        for row in mine:
            if row["learner"] == "nobody":
                axis.axhspan(*strongest(row, "AUROC")[1:3], color="0.93", zorder=0)
        axis.axhline(0.5, color="0.6", linewidth=0.8)
        axis.set(title=data, xlabel=USES[use], ylim=SHOWN)
    axes[0].set_ylabel("AUROC of the strongest attack")
    axes[0].legend(*_every_label(axes), fontsize=8, loc="upper left", ncols=2)
    fig.savefig(path, dpi=110)


def _every_label(axes):
    found = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    return list(found.values()), list(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--learners", nargs="*", default=list(LEARNERS), choices=list(LEARNERS))
    parser.add_argument("--epsilons", nargs="*", type=float, default=list(EPSILONS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=4, help="CPU-minutes of training, each")
    parser.add_argument("--out", default="runs/privacy")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--figure", help="draw what is there so far into this file")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("privacy"))
    if asked.figure:
        return figure(rows("privacy"), asked.figure)
    for seed in asked.seeds:
        for data in asked.data:
            for learner in asked.learners:
                for epsilon in asked.epsilons if learner in PRIVATE else (0.0,):
                    if data == "mnist" and learner.endswith("-500"):
                        continue
                    row = {"data": data, "learner": learner, "epsilon": epsilon, "seed": seed}
                    if learner not in (*BASELINES, "nobody", "marginals"):
                        row["minutes"] = asked.minutes
                    if alike("privacy", row):
                        continue
                    path = f"{asked.out}/{data}-{learner}-{epsilon:g}-{seed}"
                    record("privacy", row | measure(data, learner, epsilon, seed, asked.minutes, path))


if __name__ == "__main__":
    main()
