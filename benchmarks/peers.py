"""Other people's packages beside ours: training throughput at like size, and quality after as many CPU-minutes.

    python benchmarks/peers.py --install /tmp/peers                      # an environment each; needs a network
    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/peers.py --from /tmp/peers --minutes 1
    python benchmarks/peers.py --table

All learn windows of 24 hours of ETTh1's seven channels (`etth1-24` of quality.py), one thread, batches of 64.

- `training`: CPU-seconds of many steps less those of few, so that what comes before the first step is not in it, of a
  peer and of the learner here that is nearest to it, in turns, each in a process of its own. Sizes are as near as
  settings allow: hidden units are the same, parameters are told.
- `quality`: trained for as many steps as fit into so many CPU-minutes, preparation included, rounded to whole epochs
  where a package counts in those; 1,000 sequences are drawn and judged as in quality.py, beside floors. Ours are
  presets, untouched, theirs what the functions below set. PAR takes all it is given in every step: 512 windows.

A peer runs in an environment of its own, which knows nothing of ours: windows go there, and sequences come back, as npz
files. Diffusion-TS is no package; its repository is cloned (see INSTALL), and it draws in 50 steps of 500.
Rows, with versions, go to benchmarks/results/peers.jsonl; failed installations stand in benchmarks/README.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

BATCH, COUNT = 64, 1000
FEW, MANY = 8, 40  # steps of the two trainings whose difference is taken
ROUNDS = 2
HIDDEN = {"dgan": 100, "par": 32, "timegan": 100, "diffusion": 64}
OURS = {"dgan": "LSTM, convolutional critic", "par": "Autoregressive", "timegan": "RCGAN of LSTMs", "diffusion": "Flow"}
INSTALL = {  # on a machine without a GPU, torch as a CPU build; what each package asks for, where it asks in vain
    "par": ["deepecho torch"],
    "dgan": [
        "--no-deps gretel-synthetics category-encoders==2.6.4",
        "torch numpy<2.4 pandas<3 scikit-learn scipy statsmodels patsy packaging tqdm",
    ],
    "timegan": [
        "--no-deps synthcity",
        "torch torchvision numpy<2 pandas<3 pyarrow<16 scikit-learn loguru pydantic cloudpickle optuna pillow networkx "
        "matplotlib seaborn opacus xgboost monai tsai shap geomloss lifelines torchtuples pycox xgbse redis",
    ],
    "diffusion": ["torch einops ema-pytorch tqdm pandas scipy scikit-learn pyyaml tensorboard matplotlib"],
}
REPOSITORY = "https://github.com/Y-debug-sys/Diffusion-TS"
PACKAGES = {"par": "deepecho", "dgan": "gretel-synthetics", "timegan": "synthcity"}


# In a peer's environment. Each learns for so many steps, and returns what draws, and how many parameters there are.


def par(x, steps, batch, _):
    from deepecho import PARModel

    few = x[np.random.default_rng(0).permutation(len(x))[:batch]].tolist()
    sequences = [{"context": [], "data": np.transpose(each).tolist()} for each in few]
    model = PARModel(epochs=steps, cuda=False, verbose=False)
    model.fit_sequences(sequences, [], ["continuous"] * x.shape[2])
    draw = lambda count: np.stack([np.transpose(model.sample_sequence([], x.shape[1])) for _ in range(count)])  # noqa: E731
    return draw, _parameters(model._model)


def dgan(x, steps, batch, _):
    from gretel_synthetics.timeseries_dgan.config import DGANConfig
    from gretel_synthetics.timeseries_dgan.dgan import DGAN

    epochs = max(1, round(steps / np.ceil(len(x) / batch)))
    settings = {"max_sequence_len": x.shape[1], "sample_len": 1, "batch_size": batch, "epochs": epochs, "cuda": False}
    model = DGAN(DGANConfig(**settings))
    model.train_numpy(x)
    return lambda count: model.generate_numpy(count)[1], _parameters(model.generator, model.feature_discriminator)


def timegan(x, steps, batch, _):
    import torch
    from synthcity.plugins.core.models.ts_gan import TimeSeriesGAN

    low, high = x.min(axis=(0, 1)), x.max(axis=(0, 1))
    scaled = 2 * (x - low) / (high - low) - 1
    epochs = max(1, round(steps / np.ceil(len(x) / batch)))
    times = np.tile(np.linspace(0, 1, x.shape[1]), (len(x), 1))
    model = TimeSeriesGAN(
        *(0, 0, x.shape[2], x.shape[1], x.shape[2]),  # no statics, and noise as wide as the data
        generator_n_units_hidden=HIDDEN["timegan"],
        generator_n_iter=epochs,
        generator_lr=1e-3,
        generator_temporal_nonlin_out=[("tanh", x.shape[2])],
        discriminator_n_units_hidden=HIDDEN["timegan"],
        discriminator_lr=1e-3,
        batch_size=batch,
        mode="GRU",
        device=torch.device("cpu"),
    )
    model.fit(np.zeros((len(x), 0)), list(scaled), list(times))

    def draw(count):
        _, temporal, _ = model.generate(count)
        return (np.asarray(temporal) + 1) / 2 * (high - low) + low

    return draw, _parameters(model)


def diffusion(x, steps, batch, folder):
    sys.path.insert(0, str(Path(folder, "Diffusion-TS")))
    import torch
    import yaml
    from engine.solver import Trainer
    from Models.interpretable_diffusion.gaussian_diffusion import Diffusion_TS

    config = yaml.safe_load(Path(folder, "Diffusion-TS", "Config", "etth.yaml").read_text())
    low, high = x.min(axis=(0, 1)), x.max(axis=(0, 1))
    scaled = torch.tensor(2 * (x - low) / (high - low) - 1, dtype=torch.float32)
    settings = config["model"]["params"] | {"feature_size": x.shape[2], "sampling_timesteps": 50}
    model = Diffusion_TS(**settings)
    with tempfile.TemporaryDirectory() as results:
        changed = {"max_epochs": steps, "gradient_accumulate_every": 1, "save_cycle": steps + 1}
        config["solver"] |= changed | {"results_folder": f"{results}/run"}
        config["solver"]["scheduler"]["params"].pop("verbose", None)
        loader = torch.utils.data.DataLoader(scaled, batch, shuffle=True, drop_last=True)
        trainer = Trainer(config, None, model, {"dataloader": loader})
        trainer.train()

    def draw(count):
        found = trainer.ema.ema_model.eval().generate_mts(batch_size=count).detach().numpy()
        return (found + 1) / 2 * (high - low) + low

    return draw, _parameters(model)


PEERS = {"par": par, "dgan": dgan, "timegan": timegan, "diffusion": diffusion}


def _parameters(*networks):
    return sum(p.numel() for network in networks for p in network.parameters())


def timed(work, *given):
    """Return the CPU-seconds of some work, and what it returns."""
    began = time.process_time()
    found = work(*given)
    return time.process_time() - began, found


def each_step(learn, x, batch, folder):
    """Return the CPU-seconds of a step, and how many parameters there are."""
    few = x.take(np.arange(FEW * batch), *[0] * isinstance(x, np.ndarray))  # an epoch is so many steps
    learn(few, FEW, batch, folder)
    short, _ = timed(learn, few, FEW, batch, folder)
    long, (_, parameters) = timed(learn, few, MANY, batch, folder)
    return (long - short) / (MANY - FEW), parameters


def work_of_a_peer(asked):
    """Measure a peer in its own environment, and print what was found."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(asked.seed)
    x = np.load(asked.windows)["x"]
    batch = 512 if asked.one == "par" and asked.minutes else BATCH
    told = {"torch": torch.__version__, "version": _version(asked.one, asked.environments)}
    each, parameters = each_step(PEERS[asked.one], x, batch, asked.environments)
    told |= {"cpu_seconds_a_step": each, "parameters": parameters}
    if asked.minutes:
        steps = max(1, round(60 * asked.minutes / each))
        spent, (draw, _) = timed(PEERS[asked.one], x, steps, batch, asked.environments)
        drawing, drawn = timed(draw, COUNT)
        np.savez(asked.to, x=drawn)
        told |= {"steps": steps, "training_cpu_minutes": spent / 60, "drawn_per_cpu_second": COUNT / drawing}
    print("\n" + json.dumps(told))


def _version(peer, folder):
    if peer in PACKAGES:
        return f"{PACKAGES[peer]} {metadata.version(PACKAGES[peer])}"
    command = ["git", "-C", str(Path(folder, "Diffusion-TS")), "rev-parse", "--short", "HEAD"]
    return f"{REPOSITORY.rsplit('/', 1)[1]} {subprocess.run(command, capture_output=True, text=True).stdout.strip()}"


# In ours.


def install(folder):
    """Make an environment for each peer, and say where one cannot be made."""
    for peer, wanted in INSTALL.items():
        subprocess.run([sys.executable, "-m", "venv", f"{folder}/{peer}"], check=True)
        for packages in wanted:
            done = subprocess.run([f"{folder}/{peer}/bin/pip", "install", "--quiet", *packages.split()])
            print(peer, packages, "failed" if done.returncode else "installed", flush=True)
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, f"{folder}/Diffusion-TS"], check=False)


def of_a_peer(peer, asked, folder, minutes=0.0, seed=0):
    """Run a peer in its environment; return what it tells."""
    command = [f"{asked.environments}/{peer}/bin/python", __file__, "--one", peer, "--from", asked.environments]
    command += ["--windows", f"{folder}/windows.npz", "--to", f"{folder}/{peer}.npz"]
    command += ["--minutes", str(minutes), "--seed", str(seed)]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=clean)
    if done.returncode:
        raise RuntimeError(f"{peer}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def alike(peer):
    """Return the settings of the learner that is nearest to a peer."""
    from functools import partial

    from vitalsynth import autoregressive, discriminators, flows, generators, objectives, preset

    hidden = HIDDEN[peer]
    if OURS[peer] == "Autoregressive":
        return preset("strong") | {"generator": partial(autoregressive.Autoregressive, hidden=hidden, layers=1, head=8)}
    if OURS[peer] == "Flow":
        return preset("flow") | {"generator": partial(flows.Flow, hidden=hidden, blocks=5)}
    game = {"generator": partial(generators.LSTM, hidden=hidden)}
    if peer == "timegan":
        recurrent = partial(discriminators.LSTM, hidden=hidden, bidirectional=False)
        return game | {"discriminator": recurrent, "objective": objectives.NonSaturating}
    wasserstein = partial(objectives.Wasserstein, discriminator_steps=1)
    return game | {"discriminator": discriminators.Convolutional, "objective": wasserstein}


def of_ours(peer, part):
    """Return the CPU-seconds of a step of the learner nearest to a peer, and its parameters."""
    import vitalsynth
    from vitalsynth.learner import Learner

    def learn(few, steps, batch, folder):
        more = {"batch": batch, "steps": steps, "checkpoint_every": MANY, "held_out": 0, "quiet": True}
        run = vitalsynth.train(few, out=f"{folder}/{time.time_ns()}", **alike(peer) | more)
        learner = Learner.build(run.record, "cpu")
        return None, _parameters(*learner.networks.values())

    with tempfile.TemporaryDirectory() as folder:
        return each_step(learn, part, BATCH, folder)


def training(peer, part, asked, folder):
    """Take turns; return the row."""
    from results import spread

    turns = [(of_a_peer(peer, asked, folder), of_ours(peer, part)) for _ in range(ROUNDS)]
    theirs, (_, parameters) = turns[-1]
    return {
        "part": "training",
        "peer": peer,
        "ours": OURS[peer],
        "version": theirs["version"],
        "their_torch": theirs["torch"],
        "parameters": [theirs["parameters"], parameters],
        "sequences_per_cpu_second": spread([BATCH / told["cpu_seconds_a_step"] for told, _ in turns]),
        "ours_per_cpu_second": spread([BATCH / each for _, (each, _) in turns]),
        "ratio": spread([told["cpu_seconds_a_step"] / each for told, (each, _) in turns]),
        "rounds": ROUNDS,
    }


def quality(peer, parts, asked, folder, seed):
    """Let a peer learn for so many CPU-minutes; return the row with what judges say of what it draws."""
    from dataclasses import replace

    from quality import judge

    told = of_a_peer(peer, asked, folder, asked.minutes, seed)
    with np.load(f"{folder}/{peer}.npz") as file:
        x = file["x"].astype(float)
    few = parts[0].take(np.arange(len(x)))
    synthetic = replace(few, values=x, subject=np.arange(len(x)))
    told |= {"seed": seed, "minutes": asked.minutes}
    return {"part": "quality", "peer": peer, **told, "figures": judge(parts, synthetic, None)}


def ours(learner, parts, asked, folder, seed):
    """The same of a preset of ours."""
    from quality import drawn, judge, train

    import vitalsynth

    run, cost = train(parts[0], vitalsynth.preset(learner), None, seed, asked.minutes, f"{folder}/{learner}-{seed}")
    spent, synthetic = timed(drawn, run, COUNT, seed)
    told = {"version": "vitalsynth", **cost, "drawn_per_cpu_second": COUNT / spent}
    told |= {"seed": seed, "minutes": asked.minutes}
    return {"part": "quality", "peer": learner, **told, "figures": judge(parts, synthetic, None)}


def table(found):
    """Print both tables, of the newest rows."""
    newest = {(row["part"], row["peer"], row.get("seed"), row.get("minutes")): row for row in found}
    print("| peer | ours | parameters, theirs, ours | sequences a CPU-second, theirs | ours | ours over theirs |")
    print("|---" * 6 + "|")
    cell = lambda three: "{:,.4g} ({:,.4g} to {:,.4g})".format(*three)  # noqa: E731
    for row in (row for row in newest.values() if row["part"] == "training"):
        speeds = [cell(row[name]) for name in ("sequences_per_cpu_second", "ours_per_cpu_second", "ratio")]
        sizes = "{:,}, {:,}".format(*row["parameters"])
        print(f"| {row['version']} | {row['ours']} | {sizes} | {' | '.join(speeds)} |")
    print("\n| learner | seed | steps asked | CPU-min | two-sample AUROC (floor) | coverage (floor) | drawn a second |")
    print("|---" * 7 + "|")
    for row in (row for row in newest.values() if row["part"] == "quality"):
        figures = row["figures"]
        about = "{auroc:.3f} [{auroc_low:.3f}, {auroc_high:.3f}] ({auroc_floor:.3f})".format(**figures["two_sample"])
        covered = "{coverage:.3f} ({coverage_floor:.3f})".format(**figures["coverage"])
        cost = f"{row['steps']:,} | {row['training_cpu_minutes']:.1f}"
        drawn = f"{row['drawn_per_cpu_second']:,.0f}"
        print(f"| {row['peer']} ({row['version']}) | {row['seed']} | {cost} | {about} | {covered} | {drawn} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", default="", help="a folder to make environments in")
    parser.add_argument("--from", dest="environments", default="/tmp/peers", help="the folder with the environments")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--ours", nargs="*", default=["small-data", "rcgan"], help="presets to judge beside peers")
    parser.add_argument("--parts", nargs="*", default=["training", "quality"], choices=["training", "quality"])
    parser.add_argument("--minutes", type=float, default=1.0, help="CPU-minutes of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true")
    for hidden in ("--one", "--windows", "--to"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        return work_of_a_peer(asked)
    if asked.install:
        return install(asked.install)
    import torch
    from quality import read
    from results import record, rows

    if asked.table:
        return table(rows("peers"))
    torch.set_num_threads(1)
    parts = read("etth1-24")
    about = {"data": "etth1-24", "batch": BATCH}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/windows.npz", x=parts[0].values)
        for part in asked.parts:
            for peer in asked.peers:
                try:
                    row = training(peer, parts[0], asked, folder) if part == "training" else None
                    row = row or quality(peer, parts, asked, folder, asked.seed)
                except RuntimeError as error:
                    print(error, file=sys.stderr)
                    continue
                record("peers", about | row)
            if part == "quality":
                for learner in asked.ours:
                    record("peers", about | ours(learner, parts, asked, folder, asked.seed))
    return None


if __name__ == "__main__":
    main()
