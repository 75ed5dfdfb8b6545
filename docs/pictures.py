"""Draw pictures of the README and the gallery from runs: `python docs/pictures.py [ICU_RUN] [ECG_RUN] [MNIST_RUN]`.

The ICU run is the demo's (`make demo`), that of heartbeats the gallery's, the last that of `benchmarks/images.py`; what
is not there is left as it is.
"""

import sys
from pathlib import Path

from vitalsynth import sampling
from vitalsynth.reporting import figures
from vitalsynth.runs import Run
from vitalsynth.sources import images

OUT = Path(__file__).parent / "images"


def icu(run):
    """Six real and six synthetic stays."""
    beside(run, "hr", OUT / "icu_hr.png")


def ecg(run):
    """Six real and six synthetic heartbeats."""
    beside(run, "ecg", OUT / "ecg.png")


def beside(run, channel, out):
    """Six held-out sequences beside six synthetic ones, of a channel."""
    generator, _ = sampling.load_generator(run)
    synthetic = sampling.collect(sampling.sample(run, generator, 300))
    figures.examples(run.data()[1], synthetic, channel, seed=3).savefig(out, dpi=150)


def digits(run):
    """Each digit ten times, a row each, drawn at random, none chosen."""
    generator, _ = sampling.load_generator(run)
    rows = [sampling.collect(sampling.sample(run, generator, 10, {"label": digit}, seed=digit)) for digit in range(10)]
    images.save_grid(sampling.collect(iter(rows)), OUT / "digits.png")


def main():
    OUT.mkdir(exist_ok=True)
    usual = ("demo/run", "runs/ecg", "runs/mnist")
    for path, draw in zip([*sys.argv[1:4], *usual[len(sys.argv) - 1 :]], (icu, ecg, digits), strict=True):
        if Path(path, "run.json").exists():
            draw(Run(path))
            print(f"drew {draw.__name__} from {path}")
        else:
            print(f"{path} is not there: {draw.__name__} not drawn")


if __name__ == "__main__":
    main()
