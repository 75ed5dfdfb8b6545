"""Stabilisers against values worked by hand, laws of an augmentation, and games that converge with them only."""

import json
import math
import shutil
from functools import partial

import pytest
import torch
from torch import nn

from families import cohort, prepared
from vitalsynth import checkpoints, discriminators, generators, objectives, schedules, stabilisers, training
from vitalsynth.commands.branch import branch
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.train import train
from vitalsynth.discriminators import Convolutional, Discriminator
from vitalsynth.generators import LSTM
from vitalsynth.layers import every_step
from vitalsynth.objectives import Batch
from vitalsynth.runs import Run
from vitalsynth.sequences import Block, Encoded, Shape

NUMBERS = Shape(8, (Block("continuous"), Block("continuous")), (Block("continuous"),))
ALONE = dict.fromkeys(("shift", "cutout", "scale", "level", "drop"), 0.0) | {"chance": 1.0}


class Linear(nn.Module):
    """D(x) = w·x, whose features are the means over time."""

    def __init__(self, length=8, channels=2):
        super().__init__()
        self.w = nn.Parameter(torch.linspace(-1, 1, length * channels).reshape(length, channels))

    def forward(self, encoded, condition):
        return (encoded.x * self.w).sum(dim=(1, 2))

    def features(self, encoded, condition):
        return encoded.x.mean(dim=1)


def numbers(n=8, seed=0, offset=0.0):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, 2, generator=random) + offset
    return Encoded(x, torch.randn(n, 1, generator=random), torch.zeros(n, 0))


def counted(n, length=8, channels=1):
    """Sequences whose value is the number of the step, from 1 on."""
    x = torch.arange(1.0, length + 1)[None, :, None].repeat(n, 1, channels)
    return Encoded(x, torch.zeros(n, 0), torch.zeros(n, 0))


def test_noise_fades_linearly_to_none():
    noise = stabilisers.InstanceNoise(NUMBERS, std=0.4, over=100)
    torch.manual_seed(0)
    real = Encoded(torch.zeros(4_000, 8, 2), torch.zeros(4_000, 1), torch.ones(4_000, 1), (torch.zeros(4_000, 4, 2),))
    for step, std in ((0, 0.4), (25, 0.3), (75, 0.1)):
        shown = noise.shown(real, step)
        assert all(float(part.std()) == pytest.approx(std, rel=0.05) for part in shown.parts)
        assert all(abs(float(part.mean())) < 0.03 for part in shown.parts)
        assert torch.equal(shown.condition, real.condition)
    assert noise.shown(real, 100) is real and noise.shown(real, 5_000) is real
    assert stabilisers.InstanceNoise(NUMBERS, std=0.4, over=0).at(10**6) == 0.4


class Point(nn.Module):
    """The Dirac-GAN's generator: every sequence is the one number θ."""

    noise = 0

    def __init__(self, at):
        super().__init__()
        self.at = nn.Parameter(torch.tensor(at))

    def forward(self, noise, condition):
        return Encoded(self.at.expand(len(noise), 1, 1), noise[:, :0], condition)


class Slope(Discriminator):
    """The Dirac-GAN's discriminator, D(x) = ψx."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, encoded, condition):
        return self.slope * encoded.x[:, 0, 0]


def played(objective, steps, rate=0.1, batch=4_000):
    """Play the Dirac-GAN, all data at 0, by alternating gradient descent; return |(θ, ψ)| after every step."""
    torch.manual_seed(0)
    networks = {"generator": Point(0.1), "discriminator": Slope(0.0)}
    empty = torch.zeros(batch, 0)
    given = Batch(Encoded(torch.zeros(batch, 1, 1), empty, empty), empty)
    radii = []
    for step in range(steps):
        for player in objective.players(step):
            (parameter,) = networks[player].parameters()
            loss = sum(objective.loss(player, networks, given, step).values())
            (gradient,) = torch.autograd.grad(loss, [parameter])
            with torch.no_grad():
                parameter -= rate * gradient
        radii.append(math.hypot(networks["generator"].at.item(), networks["discriminator"].slope.item()))
    return radii


@pytest.mark.parametrize(
    "make", [partial(objectives.NonSaturating, smoothing=0.0), partial(objectives.Relativistic, r1=0.0, r2=0.0)]
)
def test_the_dirac_gan_converges_with_instance_noise_only(make):
    """The plain game circles; noise of std σ shrinks its orbit by exp(-σ²/4) in unit time (see its eigenvalues)."""
    assert min(played(make(), 400, batch=1)) > 0.09
    noisy = make()
    noisy.stabilisers = (stabilisers.InstanceNoise(Shape(1, (Block("continuous"),)), std=0.7, over=0),)
    turn = 130  # steps of 0.1, for 2π / Im λ = 8π / sqrt(4 - σ⁴) = 12.96
    radii = played(noisy, turn + 1)
    rate = -math.log(radii[turn] / radii[0]) / (turn * 0.1)
    assert rate == pytest.approx(0.7**2 / 4, rel=0.15)


def check_form(before, after, blocks, alive=None):
    """What was 0 or 1 still is, what has a gate of 0 is 0, and no sequence is longer or shorter."""
    start = 0
    for block in blocks:
        here = after[..., start : start + block.width]
        if block.kind != "continuous":
            assert torch.isin(here, torch.tensor([0.0, 1.0])).all()
            assert (here.sum(dim=-1) <= 1).all()
        if block.gate is not None:
            assert (here[after[..., block.gate] == 0] == 0).all()
        start += block.width
    if alive is not None:
        assert torch.equal(after[..., alive], before[..., alive])
        assert (after[after[..., alive] == 0] == 0).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("condition", [(), ("died", "age")])
def test_an_augmentation_keeps_the_form_of_the_data(condition, seed):
    preparation, data = prepared(condition)
    shape = preparation.shape
    torch.manual_seed(seed)
    seen = stabilisers.Augment(shape, shift=0.5, cutout=0.5, scale=0.5, level=1.0, drop=0.3, chance=1.0).shown(data, 0)
    check_form(data.x, seen.x, shape.x, shape.alive)
    check_form(data.s, seen.s, shape.s)
    assert torch.equal(seen.condition, data.condition)
    assert (seen.x != data.x).any(dim=(1, 2)).float().mean() > 0.9


def test_an_augmentation_can_be_differentiated_twice():
    preparation, data = prepared(())
    torch.manual_seed(0)
    x, s = (part.clone().requires_grad_() for part in data.parts)
    seen = stabilisers.Augment(preparation.shape).shown(Encoded(x, s, data.condition), 0)
    discriminator = Convolutional(preparation.shape, width=4, blocks=1)
    gradients = torch.autograd.grad(discriminator(seen, seen.condition).sum(), [x, s], create_graph=True)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    sum(gradient.square().sum() for gradient in gradients).backward()
    assert discriminator.first.weight.grad.abs().sum() > 0


def test_a_shift_reflects_at_the_ends_and_keeps_to_the_living_part():
    """By -2 to 2 of 8 steps, the value being the step's number; the second set ends after 3 of 4 steps."""
    torch.manual_seed(0)
    move = stabilisers.Augment(Shape(8, (Block("continuous"),)), **{**ALONE, "shift": 0.25})
    seen = {tuple(map(int, row)) for row in move.shown(counted(500), 0).x[..., 0].tolist()}
    assert seen == {
        (3, 2, 1, 2, 3, 4, 5, 6),
        (2, 1, 2, 3, 4, 5, 6, 7),
        (1, 2, 3, 4, 5, 6, 7, 8),
        (2, 3, 4, 5, 6, 7, 8, 7),
        (3, 4, 5, 6, 7, 8, 7, 6),
    }
    shape = Shape(4, (Block("continuous"), Block("binary")), alive=1)
    x = torch.tensor([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0], [0.0, 0.0]]).repeat(500, 1, 1)
    ended = Encoded(x, torch.zeros(500, 0), torch.zeros(500, 0))
    shown = stabilisers.Augment(shape, **{**ALONE, "shift": 0.4}).shown(ended, 0).x
    assert {tuple(map(int, row)) for row in shown[..., 0].tolist()} == {(1, 2, 3, 0), (2, 1, 2, 0), (2, 3, 2, 0)}
    assert torch.equal(shown[..., 1], x[..., 1])


def test_a_cutout_is_one_stretch_of_the_asked_width():
    """A hole of 2 of 8 steps covers 2 of them, or 1 at an end."""
    torch.manual_seed(0)
    cut = stabilisers.Augment(Shape(8, (Block("continuous"),) * 2), **{**ALONE, "cutout": 0.25})
    gone = cut.shown(counted(2_000, channels=2), 0).x == 0
    assert torch.equal(gone[..., 0], gone[..., 1])
    widths = gone[..., 0].sum(dim=1)
    assert set(widths.tolist()) == {1, 2} and float((widths == 2).float().mean()) == pytest.approx(7 / 8, abs=0.03)
    assert (gone[..., 0].float().diff(dim=1).abs().sum(dim=1) <= 2).all()


def test_scale_and_level_are_one_number_per_channel():
    torch.manual_seed(0)
    data = numbers(4_000)
    seen = stabilisers.Augment(NUMBERS, **{**ALONE, "scale": 0.3, "level": 0.5}).shown(data, 0)
    factor = (seen.x[:, 1] - seen.x[:, 0]) / (data.x[:, 1] - data.x[:, 0])
    offset = seen.x[:, 0] - factor * data.x[:, 0]
    torch.testing.assert_close(seen.x, data.x * factor[:, None] + offset[:, None], atol=1e-3, rtol=1e-3)
    for drawn, middle, most in ((factor, 1.0, 0.3), (offset, 0.0, 0.5)):
        clear = drawn[(data.x[:, 1] - data.x[:, 0]).abs() > 0.1]
        assert float(clear.mean()) == pytest.approx(middle, abs=0.02) and (clear - middle).abs().max() < most + 0.01
        assert float(clear.var()) == pytest.approx(most**2 / 3, rel=0.1)
    assert float((seen.s - data.s).abs().max()) > 0.3  # statics too


def test_a_dropped_channel_takes_its_mask_along_and_chance_is_a_share():
    torch.manual_seed(0)
    shape = Shape(8, (Block("continuous", 1, 2), Block("continuous"), Block("binary")))
    ones = Encoded(torch.ones(8_000, 8, 3), torch.zeros(8_000, 0), torch.zeros(8_000, 0))
    seen = stabilisers.Augment(shape, **{**ALONE, "drop": 0.3}).shown(ones, 0).x
    assert torch.equal(seen[..., 0], seen[..., 2]) and torch.equal(seen, seen[:, :1].expand(-1, 8, -1))
    shares = seen[:, 0].mean(dim=0)
    torch.testing.assert_close(shares, torch.full((3,), 0.7), atol=0.02, rtol=0)
    assert float((seen[:, 0, 0] * seen[:, 0, 1]).mean()) == pytest.approx(0.49, abs=0.02)  # each by itself
    some = stabilisers.Augment(shape, **{**ALONE, "level": 1.0, "chance": 0.25}).shown(ones, 0)
    assert float((some.x != ones.x).any(dim=(1, 2)).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(some.x[..., 2], ones.x[..., 2])


def picture(n):
    """Images of 6x5 pixels in 3 colours, by rows: 10 row + column + 100 colour, from 111 on."""
    row, column, colour = torch.meshgrid(*map(torch.arange, (6, 5, 3)), indexing="ij")
    x = (111 + 10 * row + column + 100 * colour).float().flatten(1)[None].repeat(n, 1, 1)
    return Encoded(x, torch.zeros(n, 0), torch.zeros(n, 0))


IMAGE = Shape(6, (Block("continuous"),) * 15, image=(6, 5, 3))


def test_an_image_is_moved_along_both_axes_whole_pixels_together():
    torch.manual_seed(0)
    seen = stabilisers.Augment(IMAGE, **{**ALONE, "shift": 0.2}).shown(picture(500), 0).x.unflatten(2, (5, 3)) - 111
    assert all(torch.equal(seen[..., c], seen[..., 0] + 100 * c) for c in range(3))
    rows, columns = seen[..., 0] // 10, seen[..., 0] % 10
    assert (rows == rows[:, :, :1]).all() and (columns == columns[:, :1]).all()
    moves = {(int(r), int(c)) for r, c in zip(rows[:, 2, 0], columns[:, 0, 2], strict=True)}
    assert moves == {(r, c) for r in (1, 2, 3) for c in (1, 2, 3)}


def test_an_image_loses_a_rectangle_and_has_one_contrast():
    torch.manual_seed(0)
    gone = stabilisers.Augment(IMAGE, **{**ALONE, "cutout": 0.5}).shown(picture(300), 0).x.unflatten(2, (5, 3)) == 0
    assert torch.equal(gone.any(dim=3), gone.all(dim=3))
    rows, columns = gone[..., 0].any(dim=2), gone[..., 0].any(dim=1)
    assert torch.equal(gone[..., 0], rows[:, :, None] & columns[:, None])
    assert rows.sum(dim=1).max() == 3 and columns.sum(dim=1).max() == 3 and gone.any(dim=(1, 2, 3)).all()
    data = picture(300)
    seen = stabilisers.Augment(IMAGE, **{**ALONE, "scale": 0.2, "level": 5.0, "drop": 0.5}).shown(data, 0).x
    factor = (seen[:, 1, 0] - seen[:, 0, 0]) / 10
    offset = seen[:, 0, 0] - 111 * factor
    torch.testing.assert_close(seen, data.x * factor[:, None, None] + offset[:, None, None], atol=0.02, rtol=0)
    assert factor.std() > 0.05 and offset.std() > 1


def test_coarser_resolutions_are_changed_alike():
    torch.manual_seed(0)
    x = torch.randn(200, 8, 2)
    halved = lambda x: x.unflatten(1, (-1, 2)).mean(dim=2)  # noqa: E731
    data = Encoded(x, torch.zeros(200, 1), torch.zeros(200, 0), (halved(x), halved(halved(x))))
    seen = stabilisers.Augment(NUMBERS, shift=0.0, cutout=0.0, drop=0.4).shown(data, 0)
    torch.testing.assert_close(seen.coarse[0], halved(seen.x))
    torch.testing.assert_close(seen.coarse[1], halved(halved(seen.x)))
    late = stabilisers.Augment(Shape(8, (Block("continuous"),)), **{**ALONE, "shift": 0.25})
    fine = counted(400)
    seen = late.shown(Encoded(fine.x, fine.s, fine.condition, (halved(fine.x),)), 0)
    moved = (seen.x[:, 4, 0] - 5).abs() >= 2  # by 2 fine steps, which is 1 coarse step
    assert ((seen.coarse[0][moved, 2, 0] - 5.5).abs() == 2).all() and moved.sum() > 50


def test_consistency_of_a_linear_discriminator():
    """A lift by L u with u uniform in (-1, 1) moves w·x by L u Σw of the channel: the mean square is L²/3 Σ_c (Σw)²."""
    torch.manual_seed(0)
    judge, steady = Linear(), stabilisers.Consistency(NUMBERS, weight=2.0, shift=0.0, scale=0.0, level=0.5)
    networks = {"discriminator": judge}
    term = steady.terms("discriminator", networks, numbers(40_000, 1), numbers(40_000, 2), 0)
    expected = 2 * 2.0 * 0.25 / 3 * float(judge.w.detach().sum(dim=0).square().sum())
    assert float(term["consistency"].detach()) == pytest.approx(expected, rel=0.03)
    assert steady.terms("generator", networks, numbers(), numbers(), 0) == {}
    term["consistency"].backward()
    assert judge.w.grad.abs().sum() > 0


def test_feature_matching_is_the_squared_distance_of_mean_features():
    real = Encoded(torch.ones(6, 8, 2) * torch.tensor([2.0, 3.0]), torch.zeros(6, 1), torch.zeros(6, 0))
    at = torch.tensor([1.0, 1.0], requires_grad=True)
    synthetic = Encoded(at.expand(4, 8, 2), torch.zeros(4, 1), torch.zeros(4, 0))
    match = stabilisers.FeatureMatching(NUMBERS, weight=3.0)
    (term,) = match.terms("generator", {"discriminator": Linear()}, real, synthetic, 0).values()
    assert float(term) == pytest.approx(3.0 * (1 + 4))
    term.backward()
    torch.testing.assert_close(at.grad, torch.tensor([-6.0, -12.0]))
    assert match.terms("discriminator", {"discriminator": Linear()}, real, synthetic, 0) == {}
    with pytest.raises(ValueError, match=r"needs a discriminator with .*; Slope has none"):
        match.terms("generator", {"discriminator": Slope(1.0)}, real, synthetic, 0)


class Doubled(stabilisers.Stabiliser):
    """Shows twice as much, and adds to the adversarial term."""

    def __init__(self, shape, more: float = 1.0):
        super().__init__(shape)
        self.more = more

    def shown(self, encoded, step):
        return encoded.replaced(2 * part for part in encoded.parts)

    def terms(self, player, networks, real, synthetic, step):
        return {"adversarial": self.more * real.x.mean(), f"of_{player}": torch.tensor(float(step))}


class Known(nn.Module):
    """A generator that always emits the same."""

    def forward(self, noise, condition):
        return numbers(len(noise), 4)


def test_stabilisers_work_one_after_the_other_and_terms_of_one_name_add_up():
    real, noise = numbers(16, 3), torch.zeros(16, 0)
    networks = {"generator": Known(), "discriminator": Linear()}
    plain, two = objectives.Hinge(), objectives.Hinge()
    two.stabilisers = (Doubled(NUMBERS), Doubled(NUMBERS, more=10.0))
    terms = two.loss("generator", networks, Batch(real, noise), 7)
    assert float(terms["of_generator"]) == 14
    expected = 4 * plain.loss("generator", networks, Batch(real, noise), 7)["adversarial"] + 11 * 4 * real.x.mean()
    torch.testing.assert_close(terms["adversarial"], expected)


class Featured(Discriminator):
    """A small discriminator with features."""

    def __init__(self, shape, width: int = 8):
        super().__init__()
        self.hidden = nn.Linear(shape.channels + shape.statics + shape.condition, width)
        self.score = nn.Linear(width, 1)

    def features(self, encoded, condition):
        return torch.tanh(self.hidden(every_step(encoded.x, encoded.s, condition))).mean(dim=1)

    def forward(self, encoded, condition):
        return self.score(self.features(encoded, condition))[:, 0]


SMALL = {
    "generator": partial(LSTM, hidden=8),
    "discriminator": Featured,
    "condition": "died",
    "normalise": "local",
    "batch": 8,
    "quiet": True,
    "checkpoint_every": 10,
}
EVERYTHING = {
    "stabilisers": [
        partial(stabilisers.InstanceNoise, std=0.3, over=15),
        stabilisers.Augment,
        stabilisers.Consistency,
        partial(stabilisers.FeatureMatching, weight=0.5),
    ],
    "objective": partial(objectives.Relativistic, every=3),
    "clip": 0.5,
    "generator_schedule": schedules.Balanced,
    "discriminator_schedule": partial(schedules.Balanced, least=0.2, most=2.0, at=0.1),
}


class Regression(objectives.Objective):
    """A game of one player: real sequences themselves are to be generated."""

    def players(self, step):
        return ("generator",)

    def loss(self, player, networks, batch, step):
        return {"square": (networks["generator"](batch.noise, batch.real.condition).x - batch.real.x).square().mean()}


def begin(out, steps, **more):
    return train(cohort(), out=str(out), steps=steps, **{**SMALL, **more})


def carry_on(run, steps):
    return continue_([str(run)], steps=steps, quiet=True, data=cohort())[0]


def assert_same(a, b):
    """Log, weights and optimisers are the same, byte for byte."""
    for name in ("log.jsonl", *(f"checkpoints/{Run(a).step:08d}/{n}.safetensors" for n in ("networks", "optimizers"))):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def test_pieces_make_the_whole_with_everything_on(tmp_path):
    """Every stabiliser there is, at several resolutions, with spectral normalisation and minibatch statistics."""
    everything = {
        **EVERYTHING,
        "generator": partial(generators.MultiScale, hidden=8, width=4, scales=2),
        "discriminator": partial(discriminators.MultiScale, width=4, scales=2, spectral=True, minibatch=4),
    }
    straight = begin(tmp_path / "straight", 17, **everything)
    pieces = begin(tmp_path / "pieces", 7, **everything)
    carry_on(pieces.path, 13)
    shutil.rmtree(pieces.checkpoint(13))  # as if killed there: the log is longer than the newest checkpoint
    carry_on(pieces.path, 17)
    assert_same(straight.path, pieces.path)
    assert {"discriminator.consistency", "generator.feature_matching"} <= set(straight.log())


def test_the_record_keeps_them_and_a_branch_may_change_them(tmp_path):
    run = begin(tmp_path / "a", 10, **EVERYTHING)
    named = [part["class_path"].rpartition(".")[2] for part in run.record["stabilisers"]]
    assert named == ["InstanceNoise", "Augment", "Consistency", "FeatureMatching"]
    assert run.record["stabilisers"][0]["init_args"] == {"std": 0.3, "over": 15}
    fork = partial(branch, [str(run.path)], data=cohort(), quiet=True)
    (kept,) = fork(out=str(tmp_path / "kept"), at=10, steps=14)
    carry_on(run.path, 14)
    assert kept.record["stabilisers"] == run.record["stabilisers"]
    assert (kept.path / "log.jsonl").read_bytes() == b"".join(
        (run.path / "log.jsonl").read_bytes().splitlines(keepends=True)[10:]
    )
    (without,) = fork(out=str(tmp_path / "without"), at=10, steps=12, stabilisers=[])
    assert without.record["stabilisers"] == [] and "discriminator.consistency" not in without.log()


def test_a_run_from_before_there_were_any_goes_on(tmp_path):
    begin(tmp_path / "straight", 24)
    old = begin(tmp_path / "old", 10)
    record = {key: value for key, value in old.record.items() if key not in ("stabilisers", "clip")}
    made = Run.create(tmp_path / "earlier", record, old.preparation)
    (old.path / "log.jsonl").rename(made.path / "log.jsonl")
    tensors, state = checkpoints.load(old.checkpoint(10))
    checkpoints.save(made.checkpoints, 10, tensors, {k: v for k, v in state.items() if k != "balance"})
    assert "stabilisers" not in json.loads((made.path / "run.json").read_text())
    carry_on(made.path, 24)
    assert_same(tmp_path / "straight", made.path)
    (forked,) = branch([str(made.path)], out=str(tmp_path / "fork"), data=cohort(), quiet=True)
    assert forked.record["stabilisers"] == []


def test_a_balanced_schedule_slows_down_whoever_is_ahead():
    schedule = schedules.Balanced(least=0.1, most=2.0, at=0.4)
    for lead, factor in ((0.0, 1.0), (0.2, 0.1**0.5), (0.4, 0.1), (0.9, 0.1), (-0.2, 2**0.5), (-1.0, 2.0)):
        assert schedule(7, lead) == pytest.approx(factor)
    for bad in ({"least": 0.0}, {"most": 0.5}, {"at": 0.0}, {"at": 1.5}):
        with pytest.raises(ValueError, match="0 < least <= 1 <= most"):
            schedules.Balanced(**bad)


def test_the_balance_is_an_average_of_the_loss_over_its_ideal(tmp_path):
    """Rates in a checkpoint are those of its last step, by the balance before; the players are each other's mirror."""
    balanced = partial(schedules.Balanced, least=0.5, most=2.0, at=1.0)
    run = begin(tmp_path / "run", 20, generator_schedule=balanced, discriminator_schedule=balanced)
    leads = 1 - run.log()["discriminator.adversarial"] / math.log(2)
    balance = [0.0]
    for lead in leads:
        balance.append(balance[-1] + (lead - balance[-1]) / training.BALANCE_MEMORY)
    state = run.newest()[1]
    assert state["balance"] == pytest.approx(balance[-1], rel=1e-12) and abs(balance[-2]) > 1e-4
    for player, lead in (("discriminator", balance[-2]), ("generator", -balance[-2])):
        (group,) = state["optimizers"][player]["groups"]
        factor = 0.5**lead if lead > 0 else 2.0**-lead
        assert group["lr"] == pytest.approx(group["initial_lr"] * factor, rel=1e-12) != group["initial_lr"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"stabilisers": [partial(stabilisers.Augment, shift=2.0)]}, r"must lie in \[0, 1\], got shift 2.0"),
        ({"stabilisers": [partial(stabilisers.InstanceNoise, std=-1.0)]}, "at least 0, got std -1.0"),
        ({"stabilisers": [stabilisers.Stabiliser]}, "only what others derive from: InstanceNoise"),
        ({"stabilisers": [LSTM]}, "is not a Stabiliser"),
        (
            {"objective": objectives.Wasserstein, "generator_schedule": schedules.Balanced},
            "the losses of Wasserstein do not tell who is ahead",
        ),
        ({"objective": Regression, "stabilisers": [stabilisers.Augment]}, "adversarial game, which Regression is not"),
        (
            {"stabilisers": [stabilisers.FeatureMatching], "discriminator": partial(Linear, channels=3)},
            "is not a Discriminator",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(bad, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        begin(tmp_path / "run", 2, **bad)
    assert not list(tmp_path.iterdir())
