"""Draw the pictures of the README from runs: `python docs/pictures.py [ICU_RUN] [MNIST_RUN]`.

The ICU run is the demo's (`make demo`), the other that of `benchmarks/images.py`; what is not there is left as it is.
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
    generator, _ = sampling.load_generator(run)
    synthetic = sampling.collect(sampling.sample(run, generator, 300))
    figures.examples(run.data()[1], synthetic, "hr", seed=3).savefig(OUT / "icu_hr.png", dpi=150)


def digits(run):
    """Each digit ten times, a row each, drawn at random, none chosen."""
    generator, _ = sampling.load_generator(run)
    rows = [sampling.collect(sampling.sample(run, generator, 10, {"label": digit}, seed=digit)) for digit in range(10)]
    images.save_grid(sampling.collect(iter(rows)), OUT / "digits.png")


def main():
    OUT.mkdir(exist_ok=True)
    asked = [*sys.argv[1:3], *("demo/run", "runs/mnist")[len(sys.argv) - 1 :]]
    for path, draw in zip(asked, (icu, digits), strict=True):
        if Path(path, "run.json").exists():
            draw(Run(path))
            print(f"drew {draw.__name__} from {path}")
        else:
            print(f"{path} is not there: {draw.__name__} not drawn")


if __name__ == "__main__":
    main()
