"""What a recurrence costs: torch's LSTM and GRU against the linear ones that are computed for all steps at once.

    OMP_NUM_THREADS=1 python benchmarks/recurrences.py
    python benchmarks/recurrences.py --table             # what is there so far, as Markdown

CPU-milliseconds for a batch of 32 sequences, 16 inputs, 64 units: forward without gradients; forward and backward; and
the same with a gradient penalty, ‖∂D/∂x‖² of the mean of the features through a linear layer, by double backward, as
in R1. The four take turns in one process, and every round's CPU-time is divided by that of nn.LSTM in the same round;
given are medians and quartiles over rounds, of which there are as many as fit into --seconds, 3 at least. A row per
length, task and recurrence goes to benchmarks/results/recurrences.jsonl; what is there already is not done again.
"""

import argparse
import time

import torch
from results import record, rows, spread, turns
from torch import nn

from vitalsynth.penalties import squared_gradient
from vitalsynth.recurrences import RGLRU, MinGRU, build
from vitalsynth.sequences import Encoded

BATCH, INPUTS, HIDDEN = 32, 16, 64
LENGTHS = (24, 128, 512, 2048)
KINDS = {"nn.LSTM": nn.LSTM, "nn.GRU": nn.GRU, "MinGRU": MinGRU, "RGLRU": RGLRU}
REFERENCE = "nn.LSTM"
LEAST, MOST = 0.03, 21  # CPU-seconds of a timing, so that the clock does not matter; rounds


class Scored(nn.Module):
    """A discriminator as small as can be: the mean over time of what a recurrence knows, through a linear layer."""

    def __init__(self, kind):
        super().__init__()
        self.recurrence, self.score = build(kind, INPUTS, HIDDEN, 1, False, 0.0), nn.Linear(HIDDEN, 1)

    def forward(self, encoded, condition):
        """Score sequences."""
        return self.score(self.recurrence(encoded.x)[0].mean(dim=1))[:, 0]


def forward(network, encoded):
    """Score, with no gradients."""
    with torch.inference_mode():
        network(encoded, encoded.condition)


def backward(network, encoded):
    """Score, and take the gradients of the weights."""
    network.zero_grad()
    network(encoded, encoded.condition).mean().backward()


def penalty(network, encoded):
    """Score with a penalty on the slope, and take the gradients of the weights."""
    network.zero_grad()
    scores, squared = squared_gradient(network, encoded)
    (scores.mean() + squared.mean()).backward()


TASKS = {"forward": forward, "forward, backward": backward, "with gradient penalty": penalty}


def timed(task, network, encoded, times):
    """Return the CPU-seconds of one call, as the mean of several."""
    began = time.process_time()
    for _ in range(times):
        task(network, encoded)
    return (time.process_time() - began) / times


def measure(length, name, seconds):
    """Time a task on each recurrence in turns, and note a row for each."""
    torch.manual_seed(0)
    nothing = torch.zeros(BATCH, 0)
    encoded = Encoded(torch.randn(BATCH, length, INPUTS), nothing, nothing)
    networks, task = {kind: Scored(cell) for kind, cell in KINDS.items()}, TASKS[name]
    times = {}
    for kind, network in networks.items():
        first = timed(task, network, encoded, 1)  # slower than those that follow
        times[kind] = 1 if first > 1 else max(1, round(LEAST / timed(task, network, encoded, 1)))
    once = lambda: {kind: timed(task, network, encoded, times[kind]) for kind, network in networks.items()}  # noqa: E731
    rounds = turns(once, seconds, MOST)
    for kind, network in networks.items():
        row = {
            "length": length,
            "task": name,
            "recurrence": kind,
            "parameters": sum(p.numel() for p in network.recurrence.parameters()),
            "cpu_ms": spread([1000 * each[kind] for each in rounds]),
            "ratio": spread([each[kind] / each[REFERENCE] for each in rounds]),
            "rounds": len(rounds),
            "calls": times[kind],
        }
        record("recurrences", row)


def table(found):
    """Print a Markdown table: CPU-milliseconds, and in brackets the ratio to nn.LSTM with its quartiles."""
    print(f"| length | task | {' | '.join(KINDS)} | rounds |")
    print("|---" * (3 + len(KINDS)) + "|")
    for length in LENGTHS:
        for task in TASKS:
            mine = {row["recurrence"]: row for row in found if (row["length"], row["task"]) == (length, task)}
            if mine:
                cells = [_cell(mine[kind]) for kind in KINDS]
                print(f"| {length:,} | {task} | {' | '.join(cells)} | {mine[REFERENCE]['rounds']} |")


def _cell(row):
    ratio, low, high = row["ratio"]
    beside = "" if row["recurrence"] == REFERENCE else f" ({ratio:.2f}, {low:.2f} to {high:.2f})"
    return f"{row['cpu_ms'][0]:,g}{beside}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", nargs="*", type=int, default=list(LENGTHS), choices=LENGTHS)
    parser.add_argument("--seconds", type=float, default=15, help="CPU-seconds of a length and task")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    done = rows("recurrences")
    if asked.table:
        return table(done)
    for length in asked.lengths:
        for task in TASKS:
            if (length, task) not in {(row["length"], row["task"]) for row in done}:
                measure(length, task, asked.seconds)


if __name__ == "__main__":
    main()
