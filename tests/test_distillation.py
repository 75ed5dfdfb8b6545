"""An offspring learns what its parent draws, and nothing of the data."""

from functools import partial

import pytest
import torch

import vitalsynth
from vitalsynth import sampling
from vitalsynth.autoregressive import Autoregressive
from vitalsynth.cli import main
from vitalsynth.commands.continue_ import continue_
from vitalsynth.distillation import Distillation
from vitalsynth.objectives import Batch
from vitalsynth.runs import Run
from vitalsynth.sequences import Encoded

SMALL = {"generator": partial(Autoregressive, hidden=16, head=8, components=3), "batch": 32, "quiet": True}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("parent") / "run")
    settings = vitalsynth.preset("strong") | SMALL | {"steps": 60, "source": {"count": 300, "length": 6}}
    return vitalsynth.train("ar1", out=path, **settings).path


def offspring(parent, path, **settings):
    objective = partial(Distillation, parent=str(parent), draws=2000)
    own = vitalsynth.preset("offspring") | SMALL | {"objective": objective, "source": {"count": 300, "length": 6}}
    return vitalsynth.train("ar1", out=str(path), **(own | settings))


def test_it_learns_the_parents_law(parent, tmp_path):
    """To the parent's own sequences it comes to give the likelihood that the parent gives them, less a little."""
    run = offspring(parent, tmp_path / "run", steps=400)
    theirs, _ = sampling.load_generator(Run(parent), device="cpu")
    ours, _ = sampling.load_generator(run, device="cpu")
    torch.manual_seed(0)
    with torch.inference_mode():
        drawn = theirs(torch.randn(2000, theirs.noise), torch.zeros(2000, 0))
        lost = (theirs.log_likelihood(drawn) - ours.log_likelihood(drawn)).mean().item()  # a KL divergence
        start = theirs.log_likelihood(drawn) - Autoregressive(run.preparation.shape, 16).log_likelihood(drawn)
    assert -0.02 < lost < 0.3 < start.mean().item()


def test_it_never_sees_the_data(parent):
    run = Run(parent)
    shape = run.preparation.shape
    objective = Distillation(str(parent), draws=100)
    objective.settle(shape, ())
    generator = Autoregressive(shape, hidden=8)
    hidden = Encoded(torch.full((4, 6, shape.channels), torch.nan), torch.zeros(4, 0), torch.zeros(4, 0))
    loss = objective.loss("generator", {"generator": generator}, Batch(hidden, torch.zeros(4, 1)), 0)
    assert torch.isfinite(loss["nll"])


def test_it_carries_on_exactly(parent, tmp_path):
    straight = offspring(parent, tmp_path / "straight", steps=6, checkpoint_every=3)
    pieces = offspring(parent, tmp_path / "pieces", steps=3, checkpoint_every=3)
    continue_(str(pieces.path), steps=6, quiet=True)
    assert Run(pieces.path).log().equals(straight.log())


def test_what_is_missing_or_does_not_fit_is_one_line(parent, tmp_path, capsys):
    ask = ["train", "ar1", "--preset", "offspring", "--source.length", "6", "--quiet", "--out", str(tmp_path / "run")]
    for more, said in (
        ([], "Distillation needs a run to learn from: --objective.parent RUN"),
        (["--objective.parent", str(tmp_path / "nowhere")], "nowhere"),
        (["--objective.parent", str(parent), "--normalise", "minmax"], "learned from other data, or prepared"),
        (["--objective.parent", str(parent), "--objective.draws", "0"], "draws must be at least 1, got 0"),
    ):
        assert main([*ask, *more]) == 2
        errors = capsys.readouterr().err.strip()
        assert said in errors and "\n" not in errors
    assert not (tmp_path / "run").exists()
