"""What judges of images see: Inception cannot be had here, so small networks stand in for it, and say which they are.

`classifier` is a CNN trained on labels (of digits, of clothes; of faces the age, sex and ethnicity of UTKFace, another
data set than the one judged); its penultimate layer is what `kid` compares. `untrained` are averages over a 4 x 4 grid
of what fixed random convolutions find at four resolutions: they know nothing of the data, and miss nothing on purpose.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from vitalsynth import sources
from vitalsynth.sequences.pictures import fold

AGES = (3, 13, 20, 28, 36, 50, 65)


class Judge(nn.Module):
    """Four convolutions, each halving the image, and a layer of features that all labels are read off."""

    def __init__(self, colours, classes, width=32, features=128):
        super().__init__()
        widths = [colours, width, 2 * width, 4 * width, 4 * width]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()) for a, b in pairwise(widths)
        )
        self.last = nn.Sequential(
            *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3)),
            *(nn.Linear(16 * widths[-1], features), nn.ReLU()),
        )
        self.heads = nn.ModuleList(nn.Linear(features, k) for k in classes)

    def forward(self, x):
        """Return the features, and what they say of each label."""
        for stage in self.stages:
            x = stage(x)
        features = self.last(x)
        return features, [head(features) for head in self.heads]

    def at_every_stage(self, x):
        """Return averages over a 4 x 4 grid of what each convolution finds."""
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(nn.functional.adaptive_avg_pool2d(x, 4).flatten(1))
        return torch.cat(found, dim=1)


def as_tensor(sequences):
    """Return images as `(n, colours, height, width)`, from -1 to 1."""
    return 2 * torch.from_numpy(np.nan_to_num(fold(sequences))).float().permute(0, 3, 1, 2) - 1


def classifier(sequences, labels, epochs, seed, mirror=False, batch=128, device="cpu"):
    """Train a judge on images and their labels `(n, kinds)`; images are shifted a little, and mirrored if asked."""
    torch.manual_seed(seed)
    x, y = as_tensor(sequences), torch.as_tensor(labels).long()
    network = Judge(x.shape[1], (y.max(dim=0).values + 1).tolist()).to(device)
    steps = epochs * len(x) // batch
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    margin = x.shape[2] // 14
    for _ in range(steps):
        index = torch.randint(len(x), (batch,))
        shift = tuple(torch.randint(-margin, margin + 1, (2,)).tolist())
        images = x[index].roll(shift, (2, 3)).to(device)
        images = images.flip(3) if mirror and torch.rand(()) < 0.5 else images
        said, truth = network(images)[1], y[index].to(device)
        loss = sum(nn.functional.cross_entropy(logits, truth[:, k]) for k, logits in enumerate(said))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def accuracies(network, sequences, labels):
    """Return the share of images of which each label is told rightly."""
    with torch.inference_mode():
        said = [network(part.to(_device(network)))[1] for part in as_tensor(sequences).split(500)]
    told = [torch.cat(parts).argmax(1).cpu().numpy() for parts in zip(*said, strict=True)]
    return [float((head == labels[:, k]).mean()) for k, head in enumerate(told)]


def embedding(network):
    """Return the function from images to the penultimate layer."""
    return lambda sequences: _in_parts(lambda x: network(x)[0], network, sequences)


def untrained(colours=1, width=32, seed=0):
    """Return the function from images to what fixed random convolutions find in them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Judge(colours, [], width)
    for stage in network.stages:  # gain for ReLU, so that deep convolutions still see something
        nn.init.kaiming_normal_(stage[0].weight, generator=torch.Generator().manual_seed(seed))
    return lambda sequences: _in_parts(network.at_every_stage, network, sequences)


def _in_parts(function, network, sequences):
    with torch.inference_mode():
        return torch.cat([function(x.to(_device(network))).cpu() for x in as_tensor(sequences).split(500)]).numpy()


def _device(network):
    return next(network.parameters()).device


def utkface(folder, size):
    """Read UTKFace with what its file names say: age (in 8 bins), sex and ethnicity; 3 names say less and are left out.

    From Zhang, Song and Qi 2017, for research that is not commercial.
    """
    images = sources.faces(folder, size=size)
    parts = [str(name).split("_") for name in images.subject]
    whole = np.array([len(part) == 4 for part in parts])
    told = [(np.digitize(int(part[0]), AGES), int(part[1]), int(part[2])) for part in parts if len(part) == 4]
    return images.take(whole), np.array(told)
