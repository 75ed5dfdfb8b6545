"""Presets on a GPU: how fast, whether continued exactly, and whether both devices draw the same.

    python benchmarks/gpu.py                 # on a machine with a GPU; VITALSYNTH_DATA says where MNIST is
    python benchmarks/gpu.py --table         # what is there so far, as Markdown

Each preset learns ICU vitals (`images`: MNIST), untouched, on the GPU and on the processor (one thread). A row says:

- `steps_per_second`: of training, by device; of the second half of the steps, for the first warm up;
- `again`, `continued`: whether the log of the same run again, and of one continued from half way, is the same, byte by
  byte, on the GPU;
- `apart`: the largest difference of what the averaged generator makes of the same noise, CPU and GPU, over 256
  sequences, and the share of values that differ by more than 0.001: a choice that falls on a limit falls either way;
- `drawn_per_second`: sequences, by device.

A row per preset goes to benchmarks/results/gpu.jsonl.
"""

import argparse
import tempfile
import time

import torch
from results import record, rows

import vitalsynth
from vitalsynth import sampling, sources
from vitalsynth.runs import jsonl

PRESETS = ("rcgan", "rgan", "parallel", "flow", "strong", "small-data", "images")


def learned(data, preset, folder, device, steps, batch, every=0):
    """Train, with a checkpoint half way; return the run and the steps in a second of its last half."""
    settings = vitalsynth.preset(preset) | {"steps": steps, "checkpoint_every": every or steps // 2, "device": device}
    run = vitalsynth.train(data, out=folder, quiet=True, **settings | ({"batch": batch} if batch else {}))
    *_, half, end, _ = [row["seconds"] for row in jsonl.rows(run.path / "clock.jsonl")]
    return run, steps / 2 / (end - half)


def apart(run):
    """Return the largest difference of what CPU and GPU make of the same noise, and the share of those above 0.001."""
    noise, made = None, []
    for device in ("cpu", "cuda"):
        generator, _ = sampling.load_generator(run, device=device)
        if noise is None:
            noise = torch.randn(256, generator.noise, generator=torch.Generator().manual_seed(0))
            condition = torch.zeros(256, run.preparation.shape.condition)
        with torch.no_grad():
            made.append(generator(noise.to(device), condition.to(device)).x.cpu())
    difference = (made[0] - made[1]).abs()
    return float(difference.max()), float((difference > 1e-3).float().mean())


def draw_speed(run, device, count):
    generator, _ = sampling.load_generator(run, device=device)
    sampling.collect(sampling.sample(run, generator, 64, seed=1))
    began = time.perf_counter()
    sampling.collect(sampling.sample(run, generator, count, seed=0))
    return count / (time.perf_counter() - began)


def measure(preset, steps, batch):
    data = sources.mnist(split="train").take(slice(0, 5000)) if preset == "images" else sources.read("icu-demo")
    few = max(10, steps // 10)
    with tempfile.TemporaryDirectory() as folder:
        run, fast = learned(data, preset, f"{folder}/gpu", "cuda", steps, batch)
        again, _ = learned(data, preset, f"{folder}/again", "cuda", steps, batch)
        log = (run.path / "log.jsonl").read_bytes()
        half, _ = learned(data, preset, f"{folder}/half", "cuda", steps // 2, batch, every=steps // 2)
        (continued,) = vitalsynth.continue_(str(half.path), steps=steps, device="cuda", quiet=True, data=data)
        _, slow = learned(data, preset, f"{folder}/cpu", "cpu", few, batch)
        return {
            "steps_per_second": {"gpu": round(fast, 1), "cpu": round(slow, 2)},
            "again": (again.path / "log.jsonl").read_bytes() == log,
            "continued": (continued.path / "log.jsonl").read_bytes() == log,
            "apart": apart(run),
            "drawn_per_second": {device: round(draw_speed(run, device, 512)) for device in ("cuda", "cpu")},
        }


def table(found):
    print("| preset | batch | steps a second, GPU | CPU | again | continued | apart | drawn a second, GPU | CPU |")
    print("|---" * 9 + "|")
    for row in found:
        speeds, drawn = row["steps_per_second"], row["drawn_per_second"]
        print(
            f"| {row['preset']} | {row['batch'] or 'its own'} | {speeds['gpu']} | {speeds['cpu']} | {row['again']} | "
            f"{row['continued']} | {row['apart'][0]:.1e} ({row['apart'][1]:.1%}) | {drawn['cuda']} | {drawn['cpu']} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=0, help="0 takes the preset's")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        return table(rows("gpu"))
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU here that PyTorch can use")
    for preset in asked.presets:
        about = {"preset": preset, "batch": asked.batch, "steps": asked.steps, "gpu": torch.cuda.get_device_name()}
        record("gpu", about | measure(preset, asked.steps, asked.batch))


if __name__ == "__main__":
    main()
