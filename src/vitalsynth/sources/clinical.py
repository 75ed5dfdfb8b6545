"""Real clinical sequences that come with the package; `data/README.md` beside them says whose they are."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np

from ..sequences import Column, Schema, Sequences
from .folders import default_folder

BEATS = ("normal", "R-on-T PVC", "PVC", "supraventricular", "unclassified")

VITALS = {
    "hr": Column("hr", unit="1/min", resolution=0.5, low=0.0),
    "resp": Column("resp", unit="1/min", resolution=0.5, low=0.0),
    "o2sat": Column("o2sat", unit="%", resolution=0.5, low=0.0, high=100.0),
    "map": Column("map", unit="mmHg", resolution=0.5, low=0.0),
    "sbp": Column("sbp", unit="mmHg", resolution=0.5, low=0.0),
    "dbp": Column("dbp", unit="mmHg", resolution=0.5, low=0.0),
    "temp": Column("temp", unit="°C", resolution=0.1, low=0.0),
}
DEMOGRAPHY = (
    Column("died", "binary"),
    Column("age", unit="years", resolution=1.0, low=0.0, high=90.0),  # eICU writes 90 for all above 89
    Column("sex", "binary", categories=("Female", "Male")),
)

LICENCE = "ODbL 1.0; eICU Collaborative Research Database Demo 2.0.1 (Pollard et al. 2018, Goldberger et al. 2000)"


def icu_demo() -> Sequences:
    """Vital signs of 1,367 ICU stays in the first 24 hours, with outcome, age and sex: the eICU demo.

    Hourly, 7 vitals, gaps where nothing was measured; `died` is death in the ICU (70 stays). Embedded. From the eICU
    Collaborative Research Database Demo 2.0.1 (Pollard et al. 2018), hourly by YAIB; licence ODbL 1.0, which a derived
    database inherits. Each vital is put on one grid of values, so that rounding habits are not taken for physiology:
    half units (moves 40 of 30,619 saturations, by 0.25 at most) and tenths of a degree (temperatures come as means of
    Fahrenheit and Celsius readings).
    """
    with np.load(_embedded("icu_demo.npz"), allow_pickle=False) as arrays:
        channels = tuple(VITALS[name] for name in arrays["variables"].tolist())
        values = arrays["x"].astype(np.float64)
        female = arrays["sex"] == "Female"
        static = np.stack([arrays["died"], arrays["age"], np.where(female, 0.0, 1.0)], axis=1).astype(np.float64)
        subject = arrays["stay_id"].astype(np.int64)
    per_unit = np.array([1 / column.resolution for column in channels if column.resolution])
    values = np.round(values * per_unit) / per_unit
    schema = Schema(channels, DEMOGRAPHY, step=1.0, step_unit="h", licence=LICENCE, rules=("dbp <= map <= sbp",))
    return Sequences(values, schema, static=static, subject=subject)


def ecg5000(split: Literal["train", "test", "all"] = "train") -> Sequences:
    """Single heartbeats of an ECG, 140 samples each, in five classes: ECG5000.

    Cut and stretched to one length and z-normalised, so without unit. All are from one patient with congestive heart
    failure (BIDMC database record chf07), so that nothing can be said about other patients; each beat counts as a
    subject. The 500 training beats are embedded. The ECG is under ODC-By 1.0; the UCR archive, which cut the beats
    (Dau et al. 2018), states no licence.

    Args:
        split: train (500 beats, embedded), test (4,500) or all; the last two are read from
            $VITALSYNTH_DATA/ecg5000/ECG5000.npz.
    """
    parts = [_beats(part) for part in (("train", "test") if split == "all" else (split,))]
    x, y = (np.concatenate([part[j] for part in parts]) for j in (0, 1))
    schema = Schema((Column("ecg"),), (Column("label", "categorical", categories=BEATS),))
    return Sequences(x[..., None], schema, static=(y - 1.0)[:, None])


def _beats(part: str) -> tuple[np.ndarray, np.ndarray]:
    if part == "train":
        with np.load(_embedded("ecg5000_train.npz"), allow_pickle=False) as arrays:
            return arrays["x"], arrays["y"]
    path = default_folder("ecg5000") / "ECG5000.npz"
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; set VITALSYNTH_DATA to a folder that holds ecg5000/ECG5000.npz, or take split=train"
        )
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["x_test"], arrays["y_test"]


def _embedded(name: str) -> Path:
    return Path(str(resources.files("vitalsynth") / "data" / name))
