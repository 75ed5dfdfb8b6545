"""Pictures as sequences: a recurrent generator trained on half of the images, judged against the other half.

    VITALSYNTH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/pictures.py --data mnist --minutes 6
    OMP_NUM_THREADS=1 python benchmarks/pictures.py --data faces --faces lfw-deepfunneled --minutes 40

The preset `images`, untouched but for its number of steps: 96 steps are timed, and as many are taken as fit into
--minutes of CPU time. Beside it a plain DCGAN (`dcgan.py`) whose generator and discriminator have as many parameters,
trained as long, on the same images in the same precision. Labels are left out: nobody is told what is on an image.
Faces are grey, 64 x 64, the middle half of a folder of LFW (Huang et al. 2007), halved by person.

KID compares 2,000 images that training never saw with 2,000 synthetic ones, and (the floor) with 2,000 that it saw, by
the features of `judges.py`: those of a classifier of the labels, and of untrained convolutions. `found` is the share of
samples in which scikit-image's detector of frontal faces finds one. A mosaic of 64 samples, none chosen, is drawn. A
row for each data set and learner goes to benchmarks/results/pictures.jsonl.
"""

import argparse
import shutil
import time
from functools import partial
from pathlib import Path

import dcgan
import judges
import numpy as np
import torch
from results import record

import vitalsynth
from vitalsynth import runs, sampling, sources
from vitalsynth.evaluation import kid
from vitalsynth.preparation import Preparation
from vitalsynth.sources import images

COUNT = 2000


def read(asked):
    """Return the half of a data set to train on and the half held out, and their labels."""
    if asked.data == "faces":
        whole = sources.faces(asked.faces, size=64, crop=images.LFW_FACE)
    else:
        whole = sources.read(asked.data)
    halves = [runs.part(whole, runs.cut(whole, 0.5, 0), 0)[k] for k in (0, 1)]
    return [half.drop(["label"] if half.schema.statics else []) for half in halves], [half.static for half in halves]


def recurrent(part, asked, path):
    """Train the preset for so many CPU-minutes; return a function that draws from it, and how it was trained."""
    preset = vitalsynth.preset("images")
    settings = {name: value for name, value in preset.items() if name != "steps"}
    settings |= {"seed": asked.seed, "held_out": 0.0, "quiet": True, "precision": asked.precision}

    def trained(steps, every):
        shutil.rmtree(path, ignore_errors=True)
        began = time.process_time()
        run = vitalsynth.train(part, out=path, steps=steps, checkpoint_every=every, **settings)
        return run, time.process_time() - began

    each = max(1e-4, (trained(104, 104)[1] - trained(8, 8)[1]) / 96)
    steps = max(50, round(60 * asked.minutes / each / 50) * 50)
    run, seconds = trained(steps, max(50, steps // 20))
    generator, _ = sampling.load_generator(run)
    cost = {"steps": steps, "batch": settings["batch"], "seconds": seconds, "parameters": parameters(part)}
    return partial(_drawn, run, generator), cost


def _drawn(run, generator, count, seed):
    return sampling.collect(sampling.sample(run, generator, count, seed=seed))


def plain(part, asked, path):
    """Train a DCGAN; return a function that draws from it, and how it was trained."""
    began = time.process_time()
    network, other, steps = dcgan.train(part, parameters(part), asked.minutes, asked.seed, asked.precision)
    cost = {"steps": steps, "batch": dcgan.BATCH, "seconds": time.process_time() - began}
    cost["parameters"] = [dcgan.count(network), dcgan.count(other)]
    return partial(dcgan.sample, network, part), cost


def parameters(part):
    """Return how many parameters the preset's generator and discriminator have for these images."""
    preset = vitalsynth.preset("images")
    shape = Preparation.fit(part, preset["normalise"]).shape
    return [dcgan.count(preset[player](shape)) for player in ("generator", "discriminator")]


def detected(sequences):
    """Return the share of images in which a frontal face is found."""
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade
    from skimage.transform import resize

    detector = Cascade(lbp_frontal_face_cascade_filename())
    found = [
        detector.detect_multi_scale(resize(np.pad(face, 24, mode="edge"), (128, 128)), 1.1, 1, (40, 40), (128, 128))
        for face in images.draw(sequences)[..., 0] / 255.0
    ]
    return float(np.mean([len(boxes) > 0 for boxes in found]))


def judge(halves, labels, synthetic, data):
    """Return KID by each judge, and for faces how many are found."""
    figures = {"kid_untrained": kid(*halves, synthetic, judges.untrained())}
    if data == "faces":
        figures["found"] = {
            "synthetic": detected(synthetic),
            "real": detected(halves[1].take(slice(0, len(synthetic)))),
        }
    else:
        classifier = judges.classifier(halves[0], labels[0], 4, 0)
        figures["kid"] = kid(*halves, synthetic, judges.embedding(classifier))
        figures["judge_right"] = judges.accuracies(classifier, halves[1], labels[1])[0]
    return figures


LEARNERS = {"recurrent": recurrent, "dcgan": plain}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", choices=["faces", "mnist", "fashion-mnist"])
    parser.add_argument("--faces", help="folder of LFW")
    parser.add_argument("--learners", nargs="*", default=list(LEARNERS), choices=list(LEARNERS))
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="runs/pictures")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    halves, labels = read(asked)
    for learner in asked.learners:
        path = f"{asked.out}/{asked.data}-{learner}-{asked.seed}"
        draw, cost = LEARNERS[learner](halves[0], asked, path)
        asked.minutes = cost.pop("seconds") / 60  # what comes beside it trains as long, however well that was foreseen
        synthetic = draw(COUNT, asked.seed)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        images.save_grid(synthetic.take(slice(0, 64)), f"{path}.png")
        row = {"data": asked.data, "learner": learner, "seed": asked.seed, "precision": asked.precision}
        row |= {"trained_on": len(halves[0]), **cost, "training_cpu_minutes": round(asked.minutes, 2)}
        record("pictures", row | {"figures": judge(halves, labels, synthetic, asked.data)})


if __name__ == "__main__":
    main()
