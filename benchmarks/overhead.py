"""What the framework costs: its training loop against a bare PyTorch loop of the same networks, batch and optimisers.

    OMP_NUM_THREADS=1 python benchmarks/overhead.py

Both take turns in one process, in CPU-seconds (this machine is shared), on the ICU vitals. The bare loop draws a
random batch and noise and steps; the framework also derives seeds, keeps the averaged generator, measures gradient
norms, checks for NaN, writes the log and a checkpoint. The figure is the median over rounds of the ratio of their
CPU-seconds; the issue allows 1.10. A JSON line per case is printed and added to benchmarks/results/overhead.jsonl.
"""

import argparse
import tempfile
import time
from copy import deepcopy
from functools import partial

import numpy as np
import torch
from results import record

from vitalsynth import discriminators, generators, objectives, sources, training
from vitalsynth.commands.train import Adam, train
from vitalsynth.learner import Learner
from vitalsynth.objectives import Batch

CASES = {
    "default": {},
    "default, penalties by difference": {"objective": partial(objectives.Relativistic, estimator="finite-difference")},
    "RCGAN of LSTMs, 100 units": {
        "generator": partial(generators.LSTM, hidden=100),
        "discriminator": partial(discriminators.LSTM, hidden=100, bidirectional=False),
        "objective": objectives.NonSaturating,
    },
    "tiny GRUs, 16 units": {
        "generator": partial(generators.GRU, hidden=16),
        "discriminator": partial(discriminators.GRU, hidden=16),
        "objective": objectives.Hinge,
    },
}


def bare_loop(networks, optimizers, objective, data, batch, steps):
    """The same game with nothing around it."""
    for step in range(steps):
        for player in objective.players(step):
            for name, network in networks.items():
                network.requires_grad_(name == player)
            index = torch.randint(len(data), (batch,))
            noise = torch.randn(batch, networks["generator"].noise)
            loss = sum(objective.loss(player, networks, Batch(data.take(index), noise), step).values())
            optimizers[player].zero_grad()
            loss.backward()
            optimizers[player].step()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=60)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sequences = sources.read("icu-demo")
    for case, settings in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            run = train(sequences, out=f"{folder}/run", steps=20, condition="died", quiet=True, **settings)
            plan, data = training.Plan.of(run.record), run.preparation.encode(run.data(sequences)[0])
            learner = Learner.build(run.record, torch.device("cpu"))
            learner.resume(run)
            networks = deepcopy(learner.networks)
            optimizers = {name: Adam(network.parameters()) for name, network in networks.items()}
            ratios, bare_seconds = [], []
            for _ in range(asked.rounds):
                began = time.process_time()
                bare_loop(networks, optimizers, plan.objective, data, plan.batch, asked.steps)
                middle = time.process_time()
                training.train(run, learner, data, learner.step + asked.steps)
                ratios.append((time.process_time() - middle) / (middle - began))
                bare_seconds.append((middle - began) / asked.steps)
        row = {
            "case": case,
            "ratio": round(float(np.median(ratios)), 3),
            "quartiles": [round(q, 3) for q in np.quantile(ratios, [0.25, 0.75]).tolist()],
            "bare_cpu_ms_per_step": round(1000 * float(np.median(bare_seconds)), 2),
            "rounds": asked.rounds,
            "steps": asked.steps,
        }
        record("overhead", row)


if __name__ == "__main__":
    main()
