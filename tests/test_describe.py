"""What flows where is read off networks whose flow is known; parameters and operations agree with closed forms."""

from functools import partial
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import vitalsynth
from families import DISCRIMINATORS, GENERATORS, SMALL, cohort, prepared
from vitalsynth.autoregressive import Autoregressive
from vitalsynth.cli import main
from vitalsynth.commands.describe import describe
from vitalsynth.discriminators import Discriminator
from vitalsynth.generators import Generator
from vitalsynth.learner import Learner
from vitalsynth.monitoring import anatomy
from vitalsynth.reporting import figures
from vitalsynth.sequences import Encoded


class Known(Generator):
    """noise, condition -> first -> gain (a bare weight, squared) -> x; noise -> statics, given to x by assignment."""

    def __init__(self, shape):
        super().__init__()
        self.noise, self.shape = 5, shape
        self.first = nn.Sequential(nn.Linear(5 + shape.condition, 7), nn.ReLU())
        self.gain, self.idle = _Gain(7, shape.length * shape.channels), nn.Linear(3, 3)
        self.statics = nn.Linear(5, shape.statics)
        self.same = nn.Identity()

    def forward(self, noise, condition):
        x = self.gain.times(self.same(self.first(torch.cat([noise, condition], dim=1))))
        s = self.statics(noise)
        x = x.unflatten(1, (self.shape.length, self.shape.channels))
        copy = torch.zeros_like(x)
        copy[:, :, 0] = s[:, :1]
        return Encoded(x + copy, s, condition)


class _Gain(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(outputs, inputs))

    def times(self, x):
        return nn.functional.linear(x, self.weight**2)


class Plain(Discriminator):
    """A mean, then a linear score."""

    def __init__(self, shape):
        super().__init__()
        self.score = nn.Linear(shape.channels + shape.condition, 1)

    def forward(self, encoded, condition):
        return self.score(torch.cat([encoded.x.mean(dim=1), condition], dim=1)).squeeze(1)


PREPARATION, ENCODED = prepared()
SHAPE = PREPARATION.shape


def test_what_flows_is_what_the_network_computes():
    known = Known(SHAPE)
    found, _ = anatomy.of_generator(known, torch.randn(3, 5), torch.zeros(3, 1))
    assert set(found.flows) == {
        ("noise", "first"),
        ("condition", "first"),
        ("first", "gain"),
        ("noise", "statics"),
        ("gain", "sequences out"),
        ("statics", "sequences out"),
        ("statics", "statics out"),
    }
    assert found.inputs == {"noise": (5,), "condition": (1,)}
    assert found.outputs["sequences out"] == (SHAPE.length, SHAPE.channels)
    parts = {part.name: part for part in found.parts}
    assert parts["first"].output == (7,) and parts["first.0"].parameters == 7 * (5 + 1) + 7
    assert parts["gain"].parameters == 7 * SHAPE.length * SHAPE.channels
    assert parts["idle"].output == () and not any("idle" in pair for pair in found.flows)
    found = anatomy.of_discriminator(Plain(SHAPE), ENCODED)
    assert set(found.flows) == {("sequences", "score"), ("condition", "score"), ("score", "score out")}  # not statics


def test_looking_leaves_nothing_behind():
    known = Known(SHAPE)
    given = torch.randn(3, 5), torch.zeros(3, 1)
    before = known(*given)
    anatomy.of_generator(known, *given)
    assert torch.equal(known(*given).x, before.x)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in known.modules())


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("learns", [False, True])
def test_operations_of_recurrences_agree_with_the_closed_form(cell, learns):
    """A gate of a step is one product of (inputs + hidden) by hidden; backwards it is two more, of input and weight.

    Nothing asks for the gradient of the given sequences, nor of the first state.
    """
    n, length, inputs, hidden, gates = 3, 7, 10, 20, {nn.LSTM: 4, nn.GRU: 3}[cell]
    layer, given = cell(inputs, hidden, batch_first=True), torch.randn(n, length, inputs)
    each = 2 * gates * hidden * n * length
    forward = each * (inputs + hidden)
    backward = each * (inputs + hidden) + each * hidden * (length - 1) / length  # of weights, and of states
    with anatomy.counting() as counter:
        made, _ = layer(given)
        if learns:
            made.sum().backward()
    assert counter.count == forward + learns * backward


@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_can_be_described_and_drawn(name):
    generator = GENERATORS[name](SHAPE)
    found, _ = anatomy.of_generator(generator, torch.randn(2, generator.noise), torch.zeros(2, SHAPE.condition))
    reached = {name for name, _ in found.flows}
    assert {"noise", "condition"} <= reached
    assert all(any(end == out for _, end in found.flows) for out in found.outputs)
    assert found.parts[0].parameters == sum(p.numel() for p in generator.parameters())
    figures.anatomy(found)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_discriminator_can_be_described_and_drawn(name):
    found = anatomy.of_discriminator(DISCRIMINATORS[name](SHAPE), ENCODED.take(slice(0, 4)))
    assert {"sequences", "statics", "condition"} <= {name for name, _ in found.flows}
    assert found.outputs == {"score out": ()}
    figures.anatomy(found)


def test_an_autoregressive_network_reads_what_it_drew():
    generator = Autoregressive(SHAPE)
    found, _ = anatomy.of_generator(generator, torch.randn(2, generator.noise), torch.zeros(2, SHAPE.condition))
    assert {("recurrence", "laws"), ("laws", "recurrence"), ("laws", "sequences out")} <= set(found.flows)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("described")
    settings = SMALL | {"generator": partial(SMALL["generator"], pasts=0.5)}
    return vitalsynth.train(cohort(), out=str(folder / "run"), condition="died", steps=2, **settings)


def test_a_run_is_described_without_its_data(run, tmp_path, capsys):
    (found,) = describe([str(run.path)], out=str(tmp_path / "{run}.svg"))
    said = capsys.readouterr().out
    learner = Learner.build(run.record, torch.device("cpu"))
    for player, network in learner.networks.items():
        assert f"{sum(p.numel() for p in network.parameters() if p.requires_grad):,}" in said
        root = ElementTree.parse(tmp_path / f"run-{player}.svg").getroot()
        assert root.tag.endswith("svg") and ("noise" if player == "generator" else "score") in "".join(root.itertext())
    assert found.step > 3 * run.record["batch"] * found.drawing > 0  # forwards and backwards, by two players
    assert found.memory is not None and "of memory" in said


def test_a_generator_alone_is_described(run, tmp_path, capsys):
    assert main(["pack", str(run.path), "--generator_only", "--out", str(tmp_path / "g.zip")]) == 0
    assert main(["unpack", str(tmp_path / "g.zip"), "--out", str(tmp_path / "alone")]) == 0
    capsys.readouterr()
    assert main(["describe", str(tmp_path / "alone")]) == 0
    said = capsys.readouterr().out
    assert "To draw a sequence takes" in said and "training" not in said and "discriminator" not in said


def test_the_report_draws_the_networks(run):
    (page,) = vitalsynth.report(str(run.path), count=20, data=cohort())
    text = page.read_text()
    assert 'id="networks"' in text and "Parts of the discriminator" in text and "a step of training" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{run}", "--depth", "-1"], "--depth must be 0 or more"),
        (["{run}", "--out", "a.txt"], "a picture is .svg, .png or .pdf"),
        (["nowhere"], "nowhere"),
    ],
)
def test_each_mistake_is_one_line(arguments, says, run, capsys):
    assert main(["describe", *(word.format(run=run.path) for word in arguments)]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
