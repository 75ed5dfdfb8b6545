"""Logs of real trainings, healthy and provoked, that the classifier of convergence is tested on.

    OMP_NUM_THREADS=1 python benchmarks/convergence.py record --out runs/convergence   # about 20 CPU-minutes
    python benchmarks/convergence.py keep --out runs/convergence           # thinned, to tests/data/curves.parquet
    python benchmarks/convergence.py sheet --out curves.png                # to look at, and label by hand

Twelve kinds of training on three data sets that come with the package. Beside the log's own rows, the averaged
generator's samples of one fixed noise are compared with held-out sequences, 80 times in a training, by three cheap
distances under the keys `similarity.*`: MMD by random Fourier features (Rahimi and Recht 2007), sliced Wasserstein, and
the mean difference of autocorrelations. What a curve is was written into tests/data/curves.csv by looking at the sheet,
never by the classifier. Six have no label, because whoever looked could not say either: distances disagree in
rgan-icu-demo, spike-ecg5000 and strong-ecg5000, and what began badly was spoilt and came back in collapse-ecg5000,
hot-ecg5000 and spike-sines.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch.optim import SGD, Adam

import vitalsynth
from vitalsynth import discriminators, generators, objectives, training
from vitalsynth.autoregressive import Autoregressive
from vitalsynth.flows import Flow
from vitalsynth.learner import Learner

DATA = {"icu-demo": 1.0, "sines": 0.5, "ecg5000": 0.5}
"""What is learned, and the share of the steps below that it takes."""
KEPT = Path(__file__).parents[1] / "tests" / "data" / "curves.parquet"
MEASURED = 80

calm = partial(Adam, lr=1e-3, betas=(0.0, 0.99))
momentum = partial(Adam, lr=2e-3, betas=(0.9, 0.99))
hot = partial(Adam, lr=0.1, betas=(0.0, 0.99))
frozen = partial(Adam, lr=1e-7, betas=(0.0, 0.99))
small = partial(generators.LSTM, hidden=32)
critic = partial(discriminators.LSTM, hidden=32)
convolutions = partial(discriminators.Convolutional, width=16, blocks=2)
game = dict(generator=small, generator_optimizer=calm, discriminator_optimizer=calm, average=0.99, batch=32)  # noqa: C408
alone = dict(discriminator=None, average=0.99, batch=32)  # noqa: C408
likelihood = dict(
    **alone,
    objective=objectives.Likelihood,
    generator=partial(Autoregressive, hidden=48, head=16),
    generator_optimizer=partial(Adam, lr=3e-3),
)
KINDS = {
    "strong": dict(likelihood, steps=1200),
    "flow": dict(
        alone,
        generator=partial(Flow, hidden=32, blocks=2),
        objective=objectives.FlowMatching,
        generator_optimizer=partial(Adam, lr=2e-3),
        steps=1600,
    ),
    "rgan": dict(
        game,
        discriminator=critic,
        objective=partial(objectives.NonSaturating, smoothing=0.0),
        generator_optimizer=partial(Adam, lr=1e-3),
        discriminator_optimizer=partial(SGD, lr=0.1),
        normalise="minmax",
        average=0.0,
        steps=1600,
    ),
    "hot": dict(game, generator_optimizer=hot, discriminator_optimizer=hot, steps=800),
    "momentum": dict(
        game,
        discriminator=convolutions,
        objective=partial(objectives.Relativistic, r1=0.0, r2=0.0),
        generator_optimizer=momentum,
        discriminator_optimizer=momentum,
        average=0.0,
        steps=1600,
    ),
    "collapse": dict(
        game,
        discriminator=convolutions,
        objective=partial(objectives.Relativistic, r1=0.0, r2=0.0),
        steps=1200,
        spike=(500, 10**9, 100.0),
    ),
    "tiny": dict(game, generator_optimizer=frozen, discriminator_optimizer=frozen, steps=400),
    "brief": dict(game, steps=14),
    "spike": dict(likelihood, steps=1200, spike=(400, 415, 10.0)),
    "long": dict(likelihood, generator=partial(Autoregressive, hidden=16, head=8), steps=3000),
    "rcgan": dict(game, steps=1600),
    "overfit": dict(
        likelihood,
        generator=partial(Autoregressive, hidden=128, dropout=0.0),
        held_out=0.9,
        steps=1600,
    ),
}
"""Settings of `vitalsynth.train`; `spike` multiplies learning rates from one step to another."""
ABOUT = {"icu-demo": {"condition": "died", "drop": "age"}}


class Similarity:
    """Distances of samples to held-out sequences, as the networks see them."""

    def __init__(self, real, features=256, count=200):
        draw = torch.Generator().manual_seed(0)
        self.real = real.take(torch.randperm(len(real), generator=draw)[:count])
        flat = self.real.x.flatten(1)
        width = torch.cdist(flat, flat).median().clamp_min(1e-6)
        self.frequencies = torch.randn(flat.shape[1], features, generator=draw) / width
        self.phases = torch.rand(features, generator=draw) * 2 * torch.pi
        directions = torch.randn(flat.shape[1], 64, generator=draw)
        self.directions = directions / directions.norm(dim=0)
        self.draw = draw
        self.noise = None

    def __call__(self, generator):
        if self.noise is None:
            self.noise = torch.randn(len(self.real), generator.noise, generator=self.draw)
        state = torch.get_rng_state()
        torch.manual_seed(0)
        generator.eval()
        with torch.inference_mode():
            x = generator(self.noise, self.real.condition).x
        generator.train()
        torch.set_rng_state(state)
        ours, theirs = x.flatten(1), self.real.x.flatten(1)
        found = {
            "mmd": 2 * (self._embedded(ours) - self._embedded(theirs)).square().mean(),
            "sliced_wasserstein": ((ours @ self.directions).sort(dim=0)[0] - (theirs @ self.directions).sort(dim=0)[0])
            .abs()
            .mean(),
            "autocorrelation": (_autocorrelation(x) - _autocorrelation(self.real.x)).abs().mean(),
        }
        return {f"similarity.{name}": float(value) for name, value in found.items()}

    def _embedded(self, flat):
        return torch.cos(flat @ self.frequencies + self.phases).mean(dim=0)


def _autocorrelation(x, most=8):
    x = x - x.mean(dim=(0, 1))
    variance = x.square().mean(dim=(0, 1)).clamp_min(1e-6)
    return torch.stack([(x[:, k:] * x[:, : x.shape[1] - k]).mean(dim=(0, 1)) / variance for k in range(1, most + 1)])


def trained(kind, data, seed, path, shortened):
    """Train, and return the log with distances in the rows where they were measured."""
    settings = dict(KINDS[kind])
    steps, spike = settings.pop("steps"), settings.pop("spike", (0, 0, 1.0))
    steps, spike = round(steps * shortened), (*(round(s * shortened) for s in spike[:2]), spike[2])
    run = vitalsynth.train(
        data, **settings, **ABOUT.get(data, {}), seed=seed, steps=1, out=path, quiet=True, checkpoint_every=10**6
    )
    parts = [run.preparation.encode(part) for part in run.data()]
    learner = Learner.build(run.record, torch.device("cpu"))
    learner.resume(run)
    similarity, every = Similarity(parts[1]), max(1, steps // MEASURED)
    measured = {}

    def look(row):
        step = row["step"]
        if step in spike[:2]:
            for optimizer in learner.optimizers.values():
                for group in optimizer.param_groups:
                    group["initial_lr"] *= spike[2] if step == spike[0] else 1 / spike[2]
        if step % every == 0:
            measured[step] = similarity(learner.average)

    try:
        training.train(run, learner, parts[0], steps, look)
    except training.Diverged as error:
        print(f"{kind} {data}: {error}")
    return [row | measured.get(row["step"], {}) for row in run.log().to_dict("records")]


def record(folder, seed, names):
    for data in names:
        for kind in KINDS:
            place = folder / f"{kind}-{data}.jsonl"
            if place.exists():
                continue
            rows = trained(kind, data, seed, str(folder / f"{kind}-{data}"), DATA[data])
            place.write_text("".join(json.dumps(row) + "\n" for row in rows))
            print(place.stem, len(rows), flush=True)


def keep(folder, most=240):
    """Thin the logs to the rows in which something was measured and as many between, and write them in one file."""
    thinned = []
    for place in sorted(folder.glob("*.jsonl")):
        log = pd.DataFrame([json.loads(line) for line in place.read_text().splitlines()])
        every = max(1, len(log) // most)
        measured = log.get("similarity.mmd", pd.Series(np.nan, log.index)).notna()
        thinned.append(log[measured | (log.index % every == 0) | (log.index == len(log) - 1)].assign(curve=place.stem))
    table = pd.concat(thinned, ignore_index=True)
    numbers = table.columns.difference(["curve", "step"])
    table[numbers] = table[numbers].astype(np.float32)
    table.to_parquet(KEPT, compression="zstd", compression_level=19)
    print(f"{table['curve'].nunique()} curves, {len(table):,} rows, {KEPT.stat().st_size:,} bytes in {KEPT}")


def sheet(table, place):
    """Draw every curve: distances above, losses and gradient norms below, as one who labels them looks at them."""
    names = list(table["curve"].unique())
    columns = 6
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.6 * rows), layout="constrained")
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for k, name in enumerate(names):
        log = table[table["curve"] == name].dropna(axis=1, how="all")
        above, below = (axes[2 * (k // columns) + j, k % columns] for j in range(2))
        for key in log.columns.drop(["curve", "step"]):
            ax, known = (above if key.startswith("similarity.") else below), log[key].notna()
            ax.plot(log["step"][known], log[key][known], linewidth=0.8, label=key)
        above.set_yscale("log")
        below.set_yscale("symlog", linthresh=0.1)
        above.set_title(name, fontsize=9)
        for ax in (above, below):
            ax.tick_params(labelsize=6)
            ax.legend(fontsize=4.5, loc="upper right", framealpha=0.4)
    figure.savefig(place, dpi=75)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "keep", "sheet"))
    parser.add_argument("--out", type=Path, default=Path("runs/convergence"))
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.what == "record":
        asked.out.mkdir(parents=True, exist_ok=True)
        record(asked.out, asked.seed, asked.data)
    elif asked.what == "keep":
        keep(asked.out)
    else:
        sheet(pd.read_parquet(KEPT), asked.out)


if __name__ == "__main__":
    main()
