"""A plain DCGAN (Radford, Metz and Chintala 2016, arXiv 1511.06434), to compare with what reads images as sequences.

    generator, discriminator, steps = train(sequences, parameters=(700_000, 500_000), minutes=10, seed=0)
    synthetic = sample(generator, sequences, 64, seed=0)

As in the paper: strided convolutions, batch normalisation, Adam at 2e-4 with a first moment of 0.5, weights of a
deviation of 0.02, tanh. Ours are the batch of 64, and the width, by which the parameters are as many as asked for.
"""

import time
from itertools import pairwise

import numpy as np
import torch
from judges import as_tensor
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vitalsynth.sequences import Sequences
from vitalsynth.sequences.pictures import unfold

NOISE, BATCH = 100, 64


def stages(size):
    """Return the coarsest side, and how often it is doubled: 64 is 4, four times; 28 is 7, twice."""
    times = 0
    while size % 2 == 0 and size > 4:
        size, times = size // 2, times + 1
    return size, times


def generator(size, colours, width):
    """Build the generator, of `width` channels at half the size, twice as many at every coarser one."""
    coarse, times = stages(size)
    widths = [width * 2**k for k in reversed(range(times))]
    layers = [nn.ConvTranspose2d(NOISE, widths[0], coarse, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for a, b in pairwise(widths):
        layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], colours, 4, 2, 1), nn.Tanh())


def discriminator(size, colours, width):
    """Build the discriminator, the generator's mirror image."""
    coarse, times = stages(size)
    widths = [width * 2**k for k in range(times)]
    layers = [nn.Conv2d(colours, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for a, b in pairwise(widths):
        layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, coarse), nn.Flatten(0))


def count(network):
    """Return how many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def of_size(build, size, colours, parameters):
    """Build a network of the width whose number of parameters is nearest to the one asked for."""
    with torch.device("meta"):
        width = min(range(2, 257), key=lambda width: abs(count(build(size, colours, width)) - parameters))
    return build(size, colours, width)


def begin(module):
    """Draw the first weights as the paper does."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def train(sequences, parameters, minutes, seed, precision="float32"):
    """Train for so many CPU-minutes; return generator, discriminator, and how many steps it took.

    Args:
        sequences: Square images.
        parameters: How many the generator, and the discriminator, shall have.
        minutes: Of CPU time.
        seed: Of weights, noise and batches.
        precision: float32, or bfloat16 autocast.
    """
    torch.manual_seed(seed)
    real = as_tensor(sequences).contiguous(memory_format=torch.channels_last)
    size, colours = real.shape[2], real.shape[1]
    networks = [of_size(b, size, colours, p) for b, p in zip((generator, discriminator), parameters, strict=True)]
    draw, judge = (network.apply(begin).to(memory_format=torch.channels_last) for network in networks)
    drawing, judging = (torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999)) for network in (draw, judge))
    truth, steps, began = torch.ones(BATCH), 0, time.process_time()

    def says(images, target):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            scores = judge(images)
        return binary_cross_entropy_with_logits(scores.float(), target)

    while time.process_time() - began < 60 * minutes:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            synthetic = draw(torch.randn(BATCH, NOISE, 1, 1))
        judging.zero_grad()
        (says(real[torch.randint(len(real), (BATCH,))], truth) + says(synthetic.detach(), 1 - truth)).backward()
        judging.step()
        drawing.zero_grad()
        says(synthetic, truth).backward()
        drawing.step()
        steps += 1
    return draw.eval(), judge, steps


def sample(draw, like, count, seed):
    """Return synthetic images, as sequences like the real ones."""
    noise = torch.randn(count, NOISE, 1, 1, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        images = torch.cat([draw(part) for part in noise.split(500)]).permute(0, 2, 3, 1).numpy() / 2 + 0.5
    values = unfold(np.ascontiguousarray(images), like.schema.tile or (1, images.shape[2]))
    return Sequences(values.astype(np.float32), like.schema)
