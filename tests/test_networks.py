"""Laws that every generator and every discriminator keeps, with and without a condition."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from families import DISCRIMINATORS, GENERATORS, OBJECTIVES, cohort, prepared
from vitalsynth import discriminators, generators
from vitalsynth.layers import CoarseEmission, Emission, Minibatch, RandomFeatures, Score, Spectral, grids
from vitalsynth.objectives import Batch
from vitalsynth.penalties import squared_gradient
from vitalsynth.preparation import Preparation
from vitalsynth.sequences import Block, Encoded, Shape
from vitalsynth.sources import images

CONDITIONS = [(), ("died",), ("died", "sex", "age")]


def generate(factory, condition, seed=0):
    preparation, data = prepared(condition)
    torch.manual_seed(seed)
    generator = factory(preparation.shape)
    noise = torch.randn(len(data), generator.noise)
    return preparation, data, generator, noise, generator(noise, data.condition)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_emits_what_a_preparation_would(name, condition):
    preparation, data, _, _, out = generate(GENERATORS[name], condition)
    assert out.x.shape == data.x.shape and out.s.shape == data.s.shape
    assert torch.equal(out.condition, data.condition)
    shape = preparation.shape
    for columns, blocks in ((out.x, shape.x), (out.s, shape.s)):
        position = 0
        for block in blocks:
            here = columns[..., position : position + block.width]
            if block.kind != "continuous":
                assert torch.isin(here, torch.tensor([0.0, 1.0])).all()
            if block.gate is not None:
                assert (here[columns[..., block.gate] == 0] == 0).all()
            position += block.width
    alive = out.x[..., shape.alive]
    assert (alive[:, 0] == 1).all() and (alive.diff(dim=1) <= 0).all()
    assert (out.x[alive == 0] == 0).all()
    decoded = preparation.decode(out)
    assert torch.equal(torch.from_numpy(decoded.lengths), alive.sum(dim=1).long())


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("name", GENERATORS)
def test_gradients_reach_every_parameter_of_a_generator(name, condition):
    *_, generator, _, out = generate(GENERATORS[name], condition)
    sum(part.square().sum() for part in (out.x, out.s, *out.coarse)).backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_is_a_function_of_noise_and_condition(name):
    _, data, generator, noise, out = generate(GENERATORS[name], ("died",))
    again = generator(noise, data.condition)
    assert torch.equal(out.x, again.x) and torch.equal(out.s, again.s)
    assert not torch.allclose(generator(noise, 1 - data.condition).x, out.x)
    assert not torch.allclose(generator(torch.randn_like(noise), data.condition).x, out.x)
    half = generator(noise[:7], data.condition[:7])
    torch.testing.assert_close(half.x, out.x[:7])


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_a_discriminator_scores_each_sequence_by_itself(name, condition):
    preparation, data = prepared(condition)
    discriminator = DISCRIMINATORS[name](preparation.shape)
    scores = discriminator(data, data.condition)
    assert scores.shape == (len(data),)
    torch.testing.assert_close(discriminator(data.take(slice(5, 9)), data.condition[5:9]), scores[5:9])
    scores.sum().backward()
    for name, parameter in discriminator.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("conditioning", ["projection", "concatenation", "both"])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "Convolutional"])
def test_a_discriminator_sees_the_condition(name, conditioning):
    preparation, data = prepared(("died", "age"))
    discriminator = DISCRIMINATORS[name](preparation.shape, conditioning=conditioning)
    assert not torch.allclose(discriminator(data, data.condition), discriminator(data, 1 - data.condition))


def test_emission_draws_categories_with_the_softmax_of_its_logits():
    emission = Emission(1, [Block("categorical", 3), Block("binary")])
    with torch.no_grad():
        emission.linear.weight.zero_()
        emission.linear.bias.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0]))
    torch.manual_seed(0)
    drawn = emission(torch.zeros(40_000, 1), torch.randn(40_000, emission.noise)).mean(dim=0)
    expected = torch.cat([torch.softmax(torch.tensor([0.0, 1.0, 2.0]), 0), torch.sigmoid(torch.tensor([-1.0]))])
    torch.testing.assert_close(drawn, expected, atol=0.01, rtol=0)


def test_emission_rounds_to_the_steps_in_which_values_were_recorded():
    """0.5, 1.25, 2, ...; straight through; what was recorded as finely as no judge could see is left alone."""
    coarse, fine = Block("continuous", grid=(0.75, 0.5)), Block("continuous", grid=(0.004, 0.0))
    emission = Emission(3, [coarse, fine, Block("continuous")])
    with torch.no_grad():
        emission.linear.weight.copy_(torch.eye(3))
        emission.linear.bias.zero_()
    features = torch.tensor([[0.8, 0.8, 0.8], [1.0, 1.0, 1.0], [-0.4, -0.4, -0.4]], requires_grad=True)
    out = emission(features, torch.zeros(3, 0))
    torch.testing.assert_close(out[:, 0], torch.tensor([0.5, 1.25, -0.25]))
    assert torch.equal(out[:, 1:], features[:, 1:])
    (slope,) = torch.autograd.grad(out.sum(), features)
    torch.testing.assert_close(slope, torch.ones(3, 3))


def test_projection_is_an_inner_product_of_features_and_condition():
    torch.manual_seed(0)
    score, features, condition = Score(4, 2, projection=True), torch.randn(5, 4), torch.randn(5, 2)
    by_hand = features @ score.linear.weight[0] + score.linear.bias
    by_hand = by_hand + torch.einsum("nf,fc,nc->n", features, score.embedding.weight, condition)
    torch.testing.assert_close(score(features, condition), by_hand)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "MinGRU", "Attention"])
def test_what_is_generated_one_way_depends_on_no_later_noise(name):
    _, data, generator, noise, out = generate(GENERATORS[name], ())
    sequence, static, step, channel = generators._cut(noise, generator.parts)
    channel = channel.clone()
    step, channel[:, 4:] = step.clone(), 0.3
    step[:, 4:] = -step[:, 4:]
    parts = [part.flatten(1) for part in (sequence, static, step, channel)]
    changed = generator(torch.cat(parts, dim=1), data.condition)
    torch.testing.assert_close(changed.x[:, :4], out.x[:, :4])
    assert not torch.allclose(changed.x[:, 4:], out.x[:, 4:])


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_a_score_is_computed_from_the_features(name):
    preparation, data = prepared(("died", "age"))
    discriminator = DISCRIMINATORS[name](preparation.shape)
    features = discriminator.features(data, data.condition)
    assert features.shape[0] == len(data) and features.ndim == 2
    torch.testing.assert_close(discriminator.score(features, data.condition), discriminator(data, data.condition))


@pytest.mark.parametrize("settings", [{}, {"spectral": True}, {"minibatch": 4}], ids=["plain", "spectral", "minibatch"])
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_a_gradient_penalty_can_be_differentiated_through_every_discriminator(name, settings):
    """Its slope along a direction in the parameters is that of a central difference, in float64."""
    preparation, data = prepared(("died",))
    data = data.take(slice(0, 8)).to(torch.float64)
    torch.manual_seed(0)
    discriminator = DISCRIMINATORS[name](preparation.shape, **settings).double().eval()
    parameters = list(discriminator.parameters())
    directions = [torch.randn_like(parameter) for parameter in parameters]

    def penalty():
        return squared_gradient(discriminator, data)[1].mean()

    slopes = torch.autograd.grad(penalty(), parameters, materialize_grads=True)
    expected = sum((slope * direction).sum() for slope, direction in zip(slopes, directions, strict=True))
    ends = []
    for step in (1e-7, -2e-7):  # so small that no leaky rectifier turns
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data += step * direction
        ends.append(penalty().item())
    assert expected.item() == pytest.approx((ends[0] - ends[1]) / 2e-7, rel=1e-3)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_spectral_normalisation_brings_every_largest_singular_value_to_1(name):
    preparation, data = prepared(("died",))
    torch.manual_seed(0)
    discriminator = DISCRIMINATORS[name](preparation.shape, spectral=True)
    normalised = [module for module in discriminator.modules() if isinstance(module, Spectral)]
    weights = [(spectral, *item) for spectral in normalised for item in spectral._weights().items()]
    assert {id(weight) for *_, weight in weights} == {id(p) for p in discriminator.parameters() if p.ndim > 1}
    for spectral, name, weight in weights:
        exact = torch.linalg.svdvals(weight.flatten(1))[0].item()
        assert spectral.largest_singular_value(name, weight).item() == pytest.approx(exact, rel=0.1), name  # at once
        for _ in range(300):
            sigma = spectral.largest_singular_value(name, weight).item()
        assert sigma == pytest.approx(exact, rel=1e-3), name
    scores = discriminator.eval()(data, data.condition)
    with torch.no_grad():
        for _, _, weight in weights:
            weight *= 7
    torch.testing.assert_close(discriminator(data, data.condition), scores, rtol=1e-4, atol=1e-4)


def test_spectral_normalisation_divides_recurrent_weights_too():
    """An LSTM of given weights is the LSTM of those weights divided by their singular values."""
    torch.manual_seed(0)
    spectral, x = Spectral(torch.nn.LSTM(3, 4, batch_first=True)), torch.randn(2, 5, 3)
    for _ in range(100):
        spectral(x)
    divided = deepcopy(spectral.network)
    for parameter in divided.parameters():
        if parameter.ndim > 1:
            parameter.data /= torch.linalg.svdvals(parameter)[0]
    torch.testing.assert_close(spectral(x)[0], divided(x)[0], rtol=1e-4, atol=1e-5)


def test_power_iteration_is_kept_by_the_state():
    preparation, data = prepared(("died",))
    one, other = (discriminators.GRU(preparation.shape, spectral=True) for _ in range(2))
    one(data, data.condition)
    other.load_state_dict(one.state_dict())
    for _ in range(2):
        torch.testing.assert_close(other(data, data.condition), one(data, data.condition), rtol=0, atol=0)
    before = deepcopy(one.state_dict())
    one.eval()(data, data.condition)
    assert all(torch.equal(before[name], value) for name, value in one.state_dict().items())


def test_the_minibatch_statistic_by_hand():
    torch.manual_seed(0)
    layer, steps = Minibatch(3, 4), torch.randn(16, 5, 3)
    expected = torch.stack([steps[k : k + 4].std(dim=0, correction=0).mean() for k in (0, 4, 8, 12)])
    torch.testing.assert_close(layer.statistic(steps)[:, 0], expected.repeat_interleave(4))
    assert layer.statistic(steps[:1].expand(8, -1, -1)).max() < 2e-4  # copies do not differ
    with pytest.raises(ValueError, match="at least 2 sequences to differ, got 1"):
        Minibatch(3, 1)


@pytest.mark.parametrize("half", [4, 6, 7, 10, 30])
def test_no_group_holds_both_real_and_synthetic(half):
    """They are scored in one pass, one half after the other."""
    layer = Minibatch(3, 4)
    steps = torch.randn(2 * half, 5, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(layer.statistic(steps)[:half].sum(), steps)
    assert (slope[half:] == 0).all()
    assert slope[:half].abs().sum() > 0 or half == 7  # nothing but 1 and 7 parts 7 evenly


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_with_the_minibatch_statistic_a_score_depends_on_its_group_and_on_no_other(name):
    preparation, data = prepared(("died",))
    data = data.take(slice(0, 16))
    torch.manual_seed(0)
    discriminator = DISCRIMINATORS[name](preparation.shape, minibatch=4)
    scores = discriminator(data, data.condition)
    x = data.x.clone()
    x[0] = 3.0
    changed = discriminator(Encoded(x, data.s, data.condition), data.condition)
    assert (changed[1:4] != scores[1:4]).all()
    torch.testing.assert_close(changed[4:], scores[4:])


def test_coarse_columns_have_the_form_of_pooled_data():
    """Given features that emit the mean of what was measured, they are the pooled columns themselves."""
    preparation, data = prepared(())
    shape = preparation.shape
    (pooled,) = grids.coarser(data.x, 1, 2)
    emission = CoarseEmission(len(shape.x), shape.x, shape.alive)
    share = torch.nn.functional.pad(pooled, (0, 1), value=1.0)[..., emission.shares]
    means = torch.where(share > 0, pooled[..., emission.continuous] / share, torch.randn_like(share))
    emission.linear = torch.nn.Identity()
    torch.testing.assert_close(emission(means, pooled), pooled)
    assert (share == 0).any() and ((share > 0) & (share < 1)).any()


def test_a_generator_of_many_scales_emits_each():
    preparation, _, _, _, out = generate(GENERATORS["MultiScale"], ())
    shape = preparation.shape
    assert [part.shape for part in out.coarse] == [(60, 3, shape.channels), (60, 2, shape.channels)]
    pooled = grids.coarser(out.x, 1, 3)
    fixed = [j for j, block in enumerate(columns(shape)) if block.kind != "continuous"]
    free = [j for j, block in enumerate(columns(shape)) if block.kind == "continuous"]
    for coarse, expected in zip(out.coarse, pooled, strict=True):
        torch.testing.assert_close(coarse[..., fixed], expected[..., fixed])
        assert not torch.allclose(coarse[..., free], expected[..., free])


def columns(shape):
    return [block for block in shape.x for _ in range(block.width)]


def test_a_discriminator_of_many_scales_pools_what_comes_without():
    preparation, data = prepared(("died",))
    discriminator = discriminators.MultiScale(preparation.shape)
    pooled = Encoded(data.x, data.s, data.condition, grids.coarser(data.x, 1, 3))
    torch.testing.assert_close(discriminator(pooled, data.condition), discriminator(data, data.condition))
    coarse = [part.clone().requires_grad_() for part in pooled.coarse]
    score = discriminator(Encoded(data.x, data.s, data.condition, tuple(coarse)), data.condition)
    assert all(slope.abs().sum() > 0 for slope in torch.autograd.grad(score.sum(), coarse))
    with pytest.raises(ValueError, match="3 resolutions are emitted, and 2 looked at"):
        discriminators.MultiScale(preparation.shape, scales=2)(pooled, data.condition)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_game_of_many_scales(name):
    """Under every objective: the discriminator minds all resolutions, and teaches each way of emitting them."""
    _, preparation, data = picture()
    torch.manual_seed(0)
    networks = {
        "generator": generators.MultiScale(preparation.shape, width=8),
        "discriminator": discriminators.MultiScale(preparation.shape, width=8),
    }
    objective = OBJECTIVES[name]()
    objective.row = preparation.shape.row
    for player, taught in (("discriminator", "reducing.merges"), ("generator", "coarse")):
        batch = Batch(data, torch.randn(len(data), networks["generator"].noise))
        terms = objective.loss(player, networks, batch, 0)
        for network in networks.values():
            network.zero_grad()
        sum(terms.values()).backward()
        slopes = {n: p.grad for n, p in networks[player].named_parameters() if n.startswith(taught)}
        assert len(slopes) >= 4 and all(slope.abs().sum() > 0 for slope in slopes.values())


def test_halving_averages_pairs_along_time_and_rows():
    image = torch.arange(15.0).reshape(1, 1, 3, 5)
    expected = [[(0 + 1 + 5 + 6) / 4, (2 + 3 + 7 + 8) / 4, (4 + 9) / 2], [10.5, 12.5, 14.0]]
    torch.testing.assert_close(grids.coarsened(image)[0, 0], torch.tensor(expected))
    sequence = torch.arange(3.0).reshape(1, 1, 3, 1)
    torch.testing.assert_close(grids.coarsened(sequence).flatten(), torch.tensor([0.5, 2.0]))
    back = grids.doubled(grids.coarsened(image), (3, 5))
    assert back.shape == image.shape and (back[0, 0, :2, :2] == 3).all() and back[0, 0, 2, 4] == 14
    with pytest.raises(ValueError, match="4 resolutions need 8 steps; these sequences have 6"):
        grids.sizes(6, 1, 4)


def test_as_many_resolutions_as_leave_seven_steps():
    assert [size[0] for size in grids.sizes(64, 64, 0)] == [64, 32, 16, 8]
    assert grids.sizes(28, 28, 0)[-1] == (7, 7) and grids.sizes(27, 1, 0)[-1] == (14, 1)
    assert grids.sizes(6, 6, 0) == [(6, 6)] == grids.sizes(6, 6, 1)


@pytest.mark.parametrize("size", [(16, 16), (15, 9), (13, 1)])
def test_refining_is_to_merge_the_doubled_grid_with_noise(size):
    torch.manual_seed(0)
    refining = grids.Refining(4, grids.sizes(*size, 2), 2)
    coarse, noise = torch.randn(3, 8, *refining.sizes[1]), torch.randn(3, 2, *size)
    seen = refining.blocks[1](coarse)
    seen = refining.blocks[0](refining.merges[0](torch.cat([grids.doubled(seen, size), noise], dim=1)))
    torch.testing.assert_close(refining(coarse, [noise])[0], refining.activation(seen))


def test_what_is_seen_at_first_neither_fades_nor_grows():
    torch.manual_seed(0)
    sizes = grids.sizes(64, 64, 4)
    reducing, refining = grids.Reducing([1, 0, 0, 0], 16, False), grids.Refining(16, sizes, 1)
    smooth = torch.randn(8, 1, 1, 1) * torch.ones(8, 1, 64, 64)
    assert 0.5 < reducing([smooth]).std() / smooth.std() < 2
    noise = [torch.randn(8, 1, *size) for size in sizes[:-1]]
    assert all(0.5 < features.std() < 2 for features in refining(torch.randn(8, 128, *sizes[-1]), noise))


def picture(height=9, width=6, colours=3, count=12):
    pixels = np.random.default_rng(0).random((count, height, width, colours))
    sequences = images.as_sequences(pixels, labels=np.arange(count) % 10)
    preparation = Preparation.fit(sequences, "minmax", ("label",))
    return sequences, preparation, preparation.encode(sequences)


def test_networks_know_of_an_image_while_its_pixels_are_columns():
    sequences, preparation, _ = picture()
    assert preparation.shape.image == (9, 6, 3) and preparation.shape.row == 6
    assert Shape.from_json(preparation.shape.to_json()) == preparation.shape
    record = preparation.shape.to_json()
    del record["image"]  # as written before there was one
    assert Shape.from_json(record).image is None
    fewer = Preparation.fit(sequences.drop(["x0_r"]), "minmax")
    assert fewer.shape.image is None
    holes = sequences.values.copy()
    holes[0, 0, 0] = np.nan
    assert Preparation.fit(images.Sequences(holes, sequences.schema, static=sequences.static)).shape.image is None
    mixed = Preparation.fit(sequences, {"x1_g": "local", "*": "minmax"})
    assert mixed.shape.image == (9, 6, 3)  # a pixel's level becomes a static; its column stays


@pytest.mark.parametrize("name", ["ConvolutionalRecurrent", "MultiScale"])
def test_networks_on_images_keep_the_laws(name):
    _, preparation, data = picture()
    torch.manual_seed(0)
    generator = GENERATORS[name](preparation.shape)
    out = generator(torch.randn(len(data), generator.noise), data.condition)
    assert out.x.shape == data.x.shape
    assert [part.shape[1:] for part in out.coarse] == ([(5, 9), (3, 6)] if name == "MultiScale" else [])
    discriminator = DISCRIMINATORS[name](preparation.shape)
    for encoded in (out, data):
        scores = discriminator(encoded, data.condition)
        torch.testing.assert_close(discriminator(encoded.take(slice(3, 7)), data.condition[3:7]), scores[3:7])
    sum(discriminator(out, data.condition)).backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_convolutions_run_along_the_rows_of_images():
    """The noise of a pixel reaches its neighbours in the picture, two convolutions of size 3 far, colours together."""
    _, preparation, data = picture()
    torch.manual_seed(0)
    generator = generators.ConvolutionalRecurrent(preparation.shape)
    noise = torch.randn(1, generator.noise, requires_grad=True)
    x = generator(noise, data.condition[:1]).x.unflatten(2, (6, 3))
    (slope,) = torch.autograd.grad(x[0, 4, 3].sum(), noise)
    finest = generators._cut(slope, generator.parts)[4]
    reached = finest[0, 0] != 0
    assert reached.shape == (9, 6)
    assert reached[2:7, 1:6].all() and reached.sum() == 25


def test_the_cohort_of_these_tests_has_what_they_are_about():
    preparation, data = prepared(())
    assert preparation.varying and preparation.shape.alive is not None
    assert {block.kind for block in preparation.shape.x} == {"continuous", "binary", "categorical"}
    assert any(block.gate is not None for block in preparation.shape.x)
    assert any(block.gate is not None for block in preparation.shape.s)
    assert len(cohort()) == len(data)


def test_random_features_by_hand():
    """One kernel, (1, -1), of one channel: the differences of neighbours, at unit scale."""
    torch.manual_seed(0)
    random = RandomFeatures(Shape(5, (Block("continuous"),)), 9)
    assert random.dilations == [1, 2, 4, 1, 2, 1]  # sizes 2, 3 and 5; a kernel of 9 has no room
    random.weights0[0, 0] = torch.tensor([1.0, -1.0])
    random.output_mean[0], random.output_scale[0], random.threshold[0] = 0.5, 2.0, 0.25
    x = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0])
    z = (torch.tensor([2.0, -3.0, 3.0, -4.0]) - 0.5) / 2
    expected = torch.stack([torch.sigmoid(4 * (z - 0.25)).mean(), z.max(), z.square().mean()])
    found = random(Encoded(x[None, :, None], torch.zeros(1, 0), torch.zeros(1, 0)))[0]
    count = len(random.threshold)
    torch.testing.assert_close(found[[0, count, 2 * count]], expected / (1 + expected / 8))
    torch.testing.assert_close(found[3 * count :], x / (1 + x / 8))


def test_a_static_and_a_condition_weigh_as_much_as_a_channel():
    """Squares at unit scale sum to as much over a static as over the numbers that tell of a channel."""
    shape = Shape(20, (Block("continuous", gate=1), Block("binary")), (Block("continuous"),) * 3, condition=2)
    plain, even = (discriminators.Projected(shape, 64, carry=True, emphasis=each) for each in (False, True))
    even.load_state_dict(plain.state_dict())
    for each in (plain, even):
        each.perceptron = torch.nn.Identity()
    encoded = Encoded(torch.randn(4, 20, 2), torch.randn(4, 3), torch.randn(4, 2))
    seen, seen_evenly = (each.steps(each.project(encoded), encoded.condition)[:, 0] for each in (plain, even))
    numbers = seen.shape[1] - 3 - 2
    assert numbers == 3 * len(plain.random.threshold) + 20 * 2
    torch.testing.assert_close(seen_evenly[:, :numbers], seen[:, :numbers], rtol=0, atol=0)
    torch.testing.assert_close(seen_evenly[:, numbers:], (numbers / 2) ** 0.5 * seen[:, numbers:])
    torch.testing.assert_close(seen[:, -2:], encoded.condition, rtol=0, atol=0)


def test_random_features_of_real_sequences_have_unit_scale_and_stay_as_they_are():
    preparation, data = prepared()
    torch.manual_seed(0)
    discriminator = discriminators.Projected(preparation.shape)
    discriminator.meet(data)
    random = discriminator.random
    features = random(data)
    plain = features / (1 - features.abs() / 8)  # no longer bounded
    varying = random._features(data).std(dim=0) > 0.02
    assert varying.sum() > 500
    torch.testing.assert_close(plain.mean(dim=0), torch.zeros(random.width), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        plain.std(dim=0, correction=0)[varying], torch.ones(int(varying.sum())), atol=1e-2, rtol=0
    )
    discriminator.meet(Encoded(5 * data.x, data.s, data.condition))
    assert torch.equal(random(data), features)
    other = discriminators.Projected(preparation.shape)
    other.load_state_dict(discriminator.state_dict())
    assert torch.equal(other(data, data.condition), discriminator(data, data.condition))


def test_kernels_look_at_some_channels_and_mostly_at_changes():
    torch.manual_seed(0)
    random = RandomFeatures(Shape(60, (Block("continuous"),) * 15), 4000)
    weights = torch.cat([getattr(random, f"weights{k}") for k in range(6)])  # of size 2
    looked_at = (weights != 0).any(dim=2).sum(dim=1)
    shares = [((looked_at >= 2**k) & (looked_at < 2 ** (k + 1))).float().mean() for k in range(4)]
    assert all(abs(share - 0.25) < 0.06 for share in shares)  # uniform in the logarithm, from 1 to 15
    still = (weights.sum(dim=2).abs() < 1e-5).all(dim=1).float().mean()
    assert abs(still - 0.8) < 0.05


def test_long_sequences_are_seen_coarsely():
    random = RandomFeatures(Shape(2048, (Block("continuous"),) * 64), 64)
    x = torch.randn(2, 2048, 64)
    found = random._features(Encoded(x, torch.zeros(2, 0), torch.zeros(2, 0)))
    assert found.shape == (2, random.width) and random.steps == 64
    torch.testing.assert_close(found[:, -4096:], x.unflatten(1, (64, 32)).mean(dim=2).transpose(1, 2).flatten(1))


def test_random_features_of_what_was_measured_last():
    """One channel, 5, none, none, 2, and its mask: seen as 5, 5, 5, 2."""
    shape = Shape(5, (Block("continuous", gate=1), Block("binary"), Block("binary")), alive=2)
    torch.manual_seed(0)
    random = RandomFeatures(shape, 9, carry=True)
    mask, alive = torch.tensor([1.0, 0, 0, 1, 0]), torch.tensor([1.0, 1, 1, 1, 0])
    x = torch.stack([torch.tensor([5.0, 0, 0, 2, 0]), mask, alive], dim=1)[None].requires_grad_()
    seen = torch.stack([torch.tensor([5.0, 5, 5, 2, 0]), mask, alive], dim=1)[None]
    found = random._features(Encoded(x, torch.zeros(1, 0), torch.zeros(1, 0)))
    plain = RandomFeatures(shape, 9)
    plain.load_state_dict(random.state_dict())
    torch.testing.assert_close(found, plain._features(Encoded(seen, torch.zeros(1, 0), torch.zeros(1, 0))))
    (gradient,) = torch.autograd.grad(found[0, -15], x)  # the first number of the sequence itself
    assert gradient[0, :, 0].tolist() == [1, 0, 0, 0, 0]
    (gradient,) = torch.autograd.grad(random._features(Encoded(x, x[:, 0, :0], x[:, 0, :0]))[0, -9], x)
    assert gradient[0, :, 0].tolist() == [1, 0, 0, 0, 0]  # what is seen in the third hour


def test_where_much_may_be_missing_single_steps_are_averaged():
    gapped = tuple(Block("continuous", gate=30 + k) for k in range(30)) + (Block("binary"),) * 30
    random, plain = RandomFeatures(Shape(48, gapped), 192, carry=True), RandomFeatures(Shape(48, gapped), 192)
    assert plain.steps == 48 and random.steps == 3 * len(random.threshold) // 60 == 9
    dense = Shape(48, (Block("continuous"),) * 60)
    assert RandomFeatures(dense, 192, carry=True).steps == 48


def test_a_generator_knows_its_place_in_time():
    """With no noise but a sequence's own, a recurrence of no memory still tells the steps apart."""
    shape = Shape(8, (Block("continuous"),))
    place = generators.LSTM(shape).place
    assert place.shape == (8, 6)  # half a period, 1 and 2; a wave of 4 would have two steps to a period
    torch.testing.assert_close(place[:, 3], torch.sin(torch.pi * (torch.arange(8) + 0.5) / 8))
    assert (torch.pdist(place) > 0.1).all()
    assert generators.LSTM(shape, places=0).place.shape == (8, 0)


def test_long_sequences_are_drawn_in_patches():
    """One step of the recurrence makes a whole patch and none before it; the last patch is cut where time ends."""
    shape = Shape(10, (Block("continuous"),))
    generator = generators.LSTM(shape, hidden=4, places=0, step_noise=3, sequence_noise=2, patch=4)
    noise = torch.randn(1, generator.noise)
    assert generator.noise == 2 + 3 * 3
    before, changed = (generator(z, torch.zeros(1, 0)).x[0, :, 0] for z in (noise, noise + (torch.arange(11) == 5)))
    assert (before != changed).tolist() == [False] * 4 + [True] * 6
    assert torch.unique(before).numel() == 10
    strides = {
        length: -(-length // generators.LSTM(Shape(length, shape.x)).patch) for length in (24, 32, 33, 140, 2048)
    }
    assert strides == {24: 24, 32: 32, 33: 17, 140: 28, 2048: 32}
