"""An exported generator gives the same sequences where vitalsynth cannot be imported."""

import csv
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from families import cohort
from test_cli import NETS
from vitalsynth import sampling
from vitalsynth.autoregressive import Autoregressive
from vitalsynth.cli import main
from vitalsynth.commands.export import export
from vitalsynth.commands.train import train
from vitalsynth.discriminators import Convolutional
from vitalsynth.flows import Flow
from vitalsynth.generators import GRU, LSTM, Attention, ConvolutionalRecurrent, MinGRU, MultiScale

# Runs in a process that cannot import vitalsynth: from noise and condition in a file to sequences in a file.
ELSEWHERE = """
import sys, numpy as np
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "vitalsynth":
            raise ImportError("vitalsynth is not here")
sys.meta_path.insert(0, Nothing())
sys.path.insert(0, sys.argv[1])
import sample
inputs = np.load(sys.argv[2])
values, lengths, static = sample.load()(inputs["noise"], inputs["condition"])
assert not any(name.split(".")[0] == "vitalsynth" for name in sys.modules)
np.savez(sys.argv[3], values=values, lengths=lengths, static=static)
"""


def trained(out, generator, normalise, condition="died,age"):
    return train(
        cohort(),
        out=str(out),
        steps=3,
        condition=condition,
        normalise=normalise,
        generator=generator,
        discriminator=partial(Convolutional, width=8, blocks=1),
        batch=8,
        quiet=True,
    )


CASES = {
    "onnx LSTM local": ("onnx", partial(LSTM, hidden=8), "local"),
    "onnx GRU quantile integrated": (
        "onnx",
        partial(GRU, hidden=8, bidirectional=True),
        {"hr": "quantile", "temp": "integrated", "age": "quantile"},
    ),
    "torch LSTM": ("torch", partial(LSTM, hidden=8, layers=2), {"hr": "local-max", "*": "minmax"}),
    "onnx MinGRU": ("onnx", partial(MinGRU, hidden=8, bidirectional=True), "standard"),
    "onnx Attention": ("onnx", partial(Attention, width=8, heads=2, dropout=0.5), "standard"),
    "onnx ConvolutionalRecurrent": ("onnx", partial(ConvolutionalRecurrent, hidden=8, width=4), "standard"),
    "onnx Autoregressive": ("onnx", partial(Autoregressive, hidden=8, head=4, components=2, patch=2), "standard"),
    "onnx Flow": ("onnx", partial(Flow, hidden=8, blocks=1, heads=2, solver_steps=2, guidance=2.0), "standard"),
    "torch Autoregressive": ("torch", partial(Autoregressive, hidden=8, head=4, components=2), "standard"),
    "torch MultiScale": ("torch", partial(MultiScale, hidden=8, width=4), "standard"),
}


@pytest.mark.parametrize(("format", "generator", "normalise"), CASES.values(), ids=CASES)
def test_an_exported_generator_gives_the_same_sequences_elsewhere(tmp_path, format, generator, normalise):
    run = trained(tmp_path / "run", generator, normalise)
    export(str(run.path), out=str(tmp_path / "out"), format=format)
    assert not any(b"discriminator" in file.read_bytes() for file in (tmp_path / "out").iterdir())
    network, _ = sampling.load_generator(run, device="cpu")
    count = 37  # not the number it was exported with
    noise = torch.randn(count, network.noise, generator=torch.Generator().manual_seed(0))
    condition = run.preparation.conditions(count, seed=1)
    expected = run.preparation.decode(network(noise, condition), within_extremes=True)
    np.savez(tmp_path / "inputs.npz", noise=noise.numpy(), condition=condition.numpy())
    command = [sys.executable, "-c", ELSEWHERE, tmp_path / "out", tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
    subprocess.run(command, check=True, cwd=tmp_path)
    with np.load(tmp_path / "outputs.npz") as got:
        np.testing.assert_array_equal(got["lengths"], expected.lengths)
        np.testing.assert_allclose(got["values"], expected.values, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(got["static"], expected.static, rtol=1e-4, atol=1e-3)
    assert np.isnan(expected.values).any() and len(set(expected.lengths.tolist())) > 1
    weights = load_file(tmp_path / "out" / "generator.safetensors")
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())


def test_the_script_beside_it_draws_a_cohort(tmp_path):
    run = trained(tmp_path / "run", partial(LSTM, hidden=8), "standard", condition="died,sex")
    export(str(run.path), out=str(tmp_path / "out"), format="torch")
    draw = [sys.executable, "-I", str(tmp_path / "out" / "sample.py"), "--count", "20"]
    subprocess.run([*draw, "--out", str(tmp_path / "a.csv"), "--condition", "died=1,sex=F"], check=True)
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "time", "hr", "temp", "ventilated", "rhythm", "died", "sex", "age"]
    assert {row["id"] for row in rows} == set(map(str, range(20)))
    assert {(row["died"], row["sex"]) for row in rows} == {("1", "F")}
    assert {row["rhythm"] for row in rows} <= {"sinus", "flutter", "paced"}
    refused = subprocess.run(
        [*draw, "--out", str(tmp_path / "b.csv"), "--condition", "dead=1"], capture_output=True, text=True
    )
    assert refused.returncode == 1 and "not conditioned on dead" in refused.stderr
    assert not (tmp_path / "b.csv").exists()


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    own = NETS.replace(
        "h = torch.cat([noise, condition], dim=1)", "h = torch.cat([noise, condition], dim=1)\n        h.tolist()"
    )
    (tmp_path / "odd_nets.py").write_text(own)
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "icu-demo", "--out", "run", "--generator", "odd_nets.Wave", "--steps", "1", "--quiet"]
    assert main([*arguments, "--batch", "8", "--discriminator.hidden", "8"]) == 0
    capsys.readouterr()
    assert main(["export", "run", "--out", "x", "--format", "torch"]) == 2
    said = capsys.readouterr().err
    assert "odd_nets.Wave cannot be exported as torch" in said and said.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"odd_nets.py", "run"}
