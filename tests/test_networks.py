"""Laws that every generator and every discriminator keeps, with and without a condition."""

import pytest
import torch

from families import DISCRIMINATORS, GENERATORS, cohort, prepared
from vitalsynth.layers import Emission, Score
from vitalsynth.sequences import Block

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
    (out.x.square().sum() + out.s.square().sum()).backward()
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


def test_projection_is_an_inner_product_of_features_and_condition():
    torch.manual_seed(0)
    score, features, condition = Score(4, 2, projection=True), torch.randn(5, 4), torch.randn(5, 2)
    by_hand = features @ score.linear.weight[0] + score.linear.bias
    by_hand = by_hand + torch.einsum("nf,fc,nc->n", features, score.embedding.weight, condition)
    torch.testing.assert_close(score(features, condition), by_hand)


def test_the_cohort_of_these_tests_has_what_they_are_about():
    preparation, data = prepared(())
    assert preparation.varying and preparation.shape.alive is not None
    assert {block.kind for block in preparation.shape.x} == {"continuous", "binary", "categorical"}
    assert any(block.gate is not None for block in preparation.shape.x)
    assert any(block.gate is not None for block in preparation.shape.s)
    assert len(cohort()) == len(data)
