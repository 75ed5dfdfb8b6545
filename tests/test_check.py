"""Planted faults are named by `check`, each in its layer, and healthy runs raise none."""

import re
from functools import partial

import pytest
import torch
from torch import nn

from families import cohort
from vitalsynth import preset, training
from vitalsynth.cli import main
from vitalsynth.commands.check import check
from vitalsynth.commands.train import Adam, train
from vitalsynth.discriminators import Convolutional, Discriminator
from vitalsynth.generators import GRU, Generator, MinGRU
from vitalsynth.layers import every_step
from vitalsynth.monitoring import differences, tracing
from vitalsynth.monitoring.similarity import Similarity
from vitalsynth.objectives import Hinge, NonSaturating, Relativistic
from vitalsynth.sequences import Encoded

DATA = cohort(160)


class Halved(torch.autograd.Function):
    """The identity, with half its gradient: a wrong backward."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, *gradients):
        return gradients[0] / 2


class Perceptron(Generator):
    """A perceptron of whole sequences, healthy without a fault."""

    def __init__(self, shape, fault: str = "", hidden: int = 32):
        super().__init__()
        self.noise, self.shape, self.fault = 8, shape, fault
        self.first = nn.Linear(8 + shape.condition, hidden)
        self.squash, self.second = nn.Sigmoid(), nn.Linear(hidden, hidden)
        self.x, self.s = nn.Linear(hidden, shape.length * shape.channels), nn.Linear(hidden, max(1, shape.statics))
        if fault == "saturated":
            nn.init.uniform_(self.first.weight, 30, 60)

    def forward(self, noise, condition):
        noise = noise * 0 if self.fault == "collapsed" else noise
        h = self.first(torch.cat([noise, condition], dim=1))
        h = self.squash(h) if self.fault == "saturated" else torch.tanh(h / 2)
        h = h.detach() if self.fault == "detached" else h
        h = Halved.apply(h) if self.fault == "halved" else h
        h = nn.functional.leaky_relu(self.second(h), 0.2)
        if self.fault == "dead":
            h = torch.relu(h - 100)
        x = self.x(h).unflatten(1, (self.shape.length, self.shape.channels))
        return Encoded(x, self.s(h)[:, : self.shape.statics], condition)


class Bad(Discriminator):
    """A discriminator with something not finite in the layer `root`: the value, or only the slope."""

    def __init__(self, shape, slope: bool = False, after: int = 0):
        super().__init__()
        self.slope, self.after = slope, after
        self.first, self.root, self.last = nn.Linear(shape.channels, 8), Root(), nn.Linear(8, 1)
        self.calls: torch.Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, encoded, condition):
        self.calls += 1
        bad = self.after and int(self.calls) > self.after
        return self.last(self.root(self.first(every_step(encoded.x).mean(dim=1)), self.slope if bad else None))[:, 0]


class Root(nn.Module):
    """The square root, of 0 where the slope shall not be finite, of -1 where the value shall not be."""

    def forward(self, x, slope):
        if slope is None:
            return torch.tanh(x)
        return torch.sqrt(x * 0) if slope else torch.sqrt(-1 - x * 0)


def run_of(out, steps=200, **settings):
    usual = {
        "generator": Perceptron,
        "discriminator": partial(Convolutional, width=8, blocks=1),
        "batch": 16,
        "gradients": 5,
        "condition": "died",
        "quiet": True,
    }
    return train(DATA, **{"out": str(out), "steps": steps, **usual, **settings})


def found(run):
    return [str(each) for each in check(str(run.path), data=DATA, quiet=True)]


def but_for_collapse(said):
    """Leave out what a fault may lead to: a generator that does not learn varies little."""
    return [line for line in said if not line.startswith("generator: collapsed")]


def test_a_detached_layer_is_named(tmp_path):
    run = run_of(tmp_path / "run", generator=partial(Perceptron, fault="detached"))
    (said,) = but_for_collapse(found(run))
    assert said.startswith("generator.first: no gradient reaches it. It is detached from the loss or not used")


def test_a_saturated_sigmoid_is_named(tmp_path):
    run = run_of(tmp_path / "run", generator=partial(Perceptron, fault="saturated"))
    assert any(re.match(r"generator\.squash: \d+% of what its sigmoid gives is saturated", s) for s in found(run))


def test_a_wrong_backward_is_named(tmp_path):
    run = run_of(tmp_path / "run", generator=partial(Perceptron, fault="halved"))
    (said,) = but_for_collapse(found(run))
    assert said.startswith("generator.first.weight, generator.first.bias: the gradient of the generator's objective is")
    measured, told = map(float, re.findall(r"bias is (\S+), and its gradient says (\S+)\.", said)[0])
    assert told == pytest.approx(measured / 2, rel=1e-3)


def test_a_kink_right_beside_is_no_wrong_backward():
    """A penalty jumps where a unit switches; however near that is on one side, the other says what the gradient is."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def loss(held):
        return (2 * weight + 1e-3 * (weight > 3e-9)).sum()

    told = torch.full((1,), 2.0, dtype=torch.float64)
    assert differences._compare(loss, 0.0, "w", weight, told) is None
    wrong = differences._compare(loss, 0.0, "w", weight, 1.5 * told)
    assert wrong is not None and wrong.parameter == "w"


def test_dead_units_are_named(tmp_path):
    run = run_of(tmp_path / "run", generator=partial(Perceptron, fault="dead"))
    said = found(run)
    assert any(s.startswith("generator.second: its gradient is exactly 0") for s in said)


def test_a_collapsed_generator_is_named(tmp_path):
    run = run_of(tmp_path / "run", generator=partial(Perceptron, fault="collapsed"))
    said = found(run)
    assert len(said) == 1 and re.match("generator: collapsed: its sequences vary 0[.0-9]* times as", said[0])


@pytest.mark.parametrize("learner", ["perceptron", "rcgan", "strong", "flow"])
def test_a_learning_rate_100_times_too_high_is_named(tmp_path, learner):
    settings = {"generator_optimizer": Adam} if learner == "perceptron" else tiny(learner)
    settings |= {"similarity": Similarity(every=0)}
    optimizer = settings["generator_optimizer"]
    fast = partial(optimizer, lr=100 * optimizer.keywords["lr"])
    run = run_of(tmp_path / "run", **{**settings, "steps": 120, "generator_optimizer": fast})
    said = [s for s in found(run) if "learning rate is far too" in s]
    assert len(said) == 1 and said[0].startswith("generator: its learning rate is far too high")
    assert "Try --generator_optimizer.lr 10 to 100 times lower" in said[0]


def test_a_learning_rate_far_too_low_is_named(tmp_path):
    run = run_of(tmp_path / "run", discriminator_optimizer=partial(Adam, lr=1e-8))
    (said,) = but_for_collapse(found(run))
    assert said.startswith("discriminator: its learning rate is far too low")


def tiny(name):
    settings = preset(name)
    small = {
        "rcgan": {"hidden": 8},
        "strong": {"hidden": 16, "layers": 1, "head": 8},
        "flow": {"hidden": 16, "blocks": 1},
    }
    generator = settings["generator"]
    return settings | {"generator": partial(generator.func, **{**generator.keywords, **small[name]})}


HEALTHY = {
    "rcgan": lambda: tiny("rcgan") | {"steps": 200},
    "strong": lambda: tiny("strong") | {"steps": 200},
    "flow": lambda: tiny("flow") | {"steps": 300},
    "perceptron": lambda: {"steps": 200},
    "hinge, spectral": lambda: {
        "generator": partial(GRU, hidden=8),
        "discriminator": partial(Convolutional, width=8, blocks=1, spectral=True, minibatch=4),
        "objective": Hinge,
        "steps": 150,
    },
    "linear recurrences": lambda: {
        "generator": partial(MinGRU, hidden=8),
        "objective": partial(Relativistic, estimator="finite-difference"),
        "steps": 150,
    },
    "non-saturating": lambda: {"generator": partial(GRU, hidden=8), "objective": NonSaturating, "steps": 150},
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_raises_none(tmp_path, name):
    assert found(run_of(tmp_path / "run", **HEALTHY[name]())) == []


@pytest.mark.parametrize("slope", [False, True])
def test_nan_is_traced_to_its_layer(tmp_path, slope):
    """Training says where it arose, and so does a check that takes as many steps from the last checkpoint."""
    where = "through discriminator.root, going backwards" if slope else "out of discriminator.root, going forwards"
    settings = {"objective": Hinge, "checkpoint_every": 10, "steps": 40}
    with pytest.raises(training.Diverged, match=rf"the run is kept at step 10\. .* (NaN|Inf) .*{where}$"):
        run_of(tmp_path / "run", discriminator=partial(Bad, slope=slope, after=30), **settings)
    said = [str(each) for each in check(str(tmp_path / "run"), steps=10, data=DATA, quiet=True)]
    assert any(where in line for line in said)
    assert not any(where in line for line in found_at(tmp_path / "run", 2))


class Mute(torch.autograd.Function):
    """As some kernels of GPUs do, it says that a gradient is zero by none at all."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return None


def test_where_there_is_no_gradient_none_is_traced():
    layer, trace = torch.nn.Linear(2, 2), tracing.Trace()
    with trace.of({"generator": layer}):
        muted, made = layer(torch.ones(1, 2)), layer(torch.zeros(1, 2))
        (Mute.apply(muted).sum() + (made * torch.inf).sum() * 0).backward()
    assert trace.origin.startswith("NaN first came up in the gradient")


def found_at(run, steps):
    return [str(each) for each in check(str(run), steps=steps, data=DATA, quiet=True)]


def test_all_faults_at_once_on_the_command_line(tmp_path, capsys, monkeypatch):
    """One run with several faults: each has its line, the exit code is 1, and nothing of the run has changed."""
    monkeypatch.setenv("VITALSYNTH_TRUST", "test_check")
    out = tmp_path / "sick"
    arguments = ["train", "icu-demo", "--out", str(out), "--steps", "100", "--gradients", "5", "--quiet"]
    arguments += ["--generator", "test_check.Sick", "--generator_optimizer.lr", "0.1"]
    assert main(arguments) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert main(["check", str(out)]) == 1
    said = capsys.readouterr().out
    for line in (
        "generator.before: no gradient reaches it",
        r"generator.squash: \d+% of what its sigmoid gives is saturated",
        "generator.*: the gradient of the generator's objective is not that of differences",
        "generator: its learning rate is far too high",
        "generator: collapsed",
    ):
        assert re.search(f"^{line}", said, re.MULTILINE), (line, said)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


class Sick(Perceptron):
    """Has all faults but NaN."""

    def __init__(self, shape):
        super().__init__(shape, "halved")
        self.before, self.middle = nn.Linear(8, 8), nn.Linear(8, 8)
        nn.init.uniform_(self.middle.bias, 30, 60)

    def forward(self, noise, condition):
        h = self.squash(self.middle(self.before(noise).detach()) * 5)
        return super().forward(h, condition)


def test_a_healthy_run_exits_0(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["train", "icu-demo", "--out", str(out), "--steps", "60", "--generator.hidden", "8", "--quiet"]
    assert main(arguments) == 0
    assert main(["check", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{out} at step 60: nothing found"
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    assert "docs/watching.md" in capsys.readouterr().out


def test_wrong_use_is_refused(tmp_path):
    run = run_of(tmp_path / "run", steps=2)
    with pytest.raises(ValueError, match="--steps must be at least 1"):
        check(str(run.path), steps=0, data=DATA)
