"""Images read row by row: train an RCGAN on the label, and judge it as Esteban et al. (2017) did, by a CNN.

    python benchmarks/images.py --data mnist --steps 20000 --out runs/mnist

TSTR: the CNN is trained on synthetic images and tested on the real test set; TRTS the other way round; TRTR is the
ceiling. The RCGAN paper gives 0.975, 0.988 and 0.991 for MNIST (quoted from memory of its table, not re-read). A JSON
line with the figures is printed and added to benchmarks/results/images.jsonl; a mosaic is drawn beside the run.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import torch
from results import record
from torch import nn

from vitalsynth import objectives, sampling, schedules, sources
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.train import train
from vitalsynth.discriminators import Convolutional
from vitalsynth.generators import LSTM
from vitalsynth.runs import Run
from vitalsynth.sources import images

SHARE = 20_000


def cnn(sequences, epochs, seed):
    """Train a small convolutional classifier on images (the paper's judge is a CNN too)."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.LazyLinear(128), nn.ReLU(), nn.Linear(128, 10)),
    )
    x, y = as_tensors(sequences)
    network(x[:2])
    steps = epochs * len(x) // 128
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        index = torch.randint(len(x), (128,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[index]), y[index]).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def accuracy(network, sequences):
    x, y = as_tensors(sequences)
    with torch.inference_mode():
        return torch.cat([network(part).argmax(1) for part in x.split(1000)]).eq(y).float().mean().item()


def as_tensors(sequences):
    return torch.from_numpy(sequences.values).float()[:, None], torch.from_numpy(sequences.static[:, 0]).long()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", choices=["mnist", "fashion-mnist"])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--gamma", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", required=True)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    began = time.process_time()
    if Path(asked.out).exists():
        run = Run(asked.out)
        if len(run.log()) < asked.steps:
            (run,) = continue_([asked.out], steps=asked.steps)
    else:
        adam = partial(torch.optim.Adam, lr=asked.rate, betas=(0.0, 0.99))
        course = partial(schedules.Cosine, over=asked.steps, final=0.1)
        run = train(
            asked.data,
            out=asked.out,
            steps=asked.steps,
            seed=asked.seed,
            condition="label",
            normalise="minmax",
            held_out=0.0,
            generator=partial(LSTM, hidden=asked.hidden, step_noise=4, sequence_noise=64),
            discriminator=partial(Convolutional, width=asked.width, blocks=3),
            objective=partial(objectives.Relativistic, r1=asked.gamma, r2=asked.gamma),
            generator_optimizer=adam,
            discriminator_optimizer=adam,
            generator_schedule=course,
            discriminator_schedule=course,
            batch=asked.batch,
        )
    trained = time.process_time() - began
    generator, step = sampling.load_generator(run)
    synthetic = sampling.collect(sampling.sample(run, generator, SHARE, seed=asked.seed))
    images.save_grid(synthetic.take(slice(0, 100)), run.path / "samples.png")
    real = sources.read(asked.data).split(SHARE / 60_000, asked.seed)[1]
    test = sources.read(asked.data, split="test")
    judge, ceiling = cnn(synthetic, asked.epochs, asked.seed), cnn(real, asked.epochs, asked.seed)
    row = {
        **{name: value for name, value in vars(asked).items() if name != "out"},
        "step": step,
        "tstr": accuracy(judge, test),
        "trts": accuracy(ceiling, synthetic),
        "trtr": accuracy(ceiling, test),
        "judge_trained_on": SHARE,
        "training_cpu_minutes": round(trained / 60, 1),
    }
    record("images", row)


if __name__ == "__main__":
    main()
