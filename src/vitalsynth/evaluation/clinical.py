"""What clinicians look at: when things are measured, and how hearts beat.

`gaps` judges what is not there: how often each channel is measured, how old its last value is, which channels are
measured together. `heartbeats` finds R peaks in an electrocardiogram and judges their intervals and amplitudes.
"""

from __future__ import annotations

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..sequences import Sequences
from .distances import between_means, channel_sums, correlations_apart, figures_beside_floor, of_values
from .features import View
from .fidelity import equal_parts
from .measures import Inapplicable, Weights
from .metric import Figure, says

CAP = 2000
SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3}
BAND = (5.0, 15.0)

COUNTED = " ({n:.0f} test and {n:.0f} synthetic sequences)."


@says(
    Figure(
        *("rate", "missing rate, worst channel", "near floor"),
        "By how many percentage points a channel is missing more or less often than in real sequences, where that "
        "differs most" + COUNTED,
    ),
    Figure(
        *("age", "time since last measured", "near floor"),
        "By how many steps the time since a channel was last measured is off, on average over channels" + COUNTED,
    ),
    Figure(
        *("together", "measured together", "near floor"),
        "How far the correlation of two channels being measured in the same step is from that of real sequences, on "
        "average over pairs" + COUNTED,
    ),
    part="fidelity",
    doing="comparing when things are measured",
    responds={"worse": ("dropped mode", "collapsed")},
)
def gaps(train: Sequences, test: Sequences, synthetic: Sequences, cap: int = CAP, seed: int = 0) -> dict[str, float]:
    """Return how far missing rates, times since the last measurement and joint measurement are from those of test ones.

    `rate`: the largest difference over channels of the share of steps, before a sequence ends, at which a channel is
    missing, in percentage points. `age`: the 1-Wasserstein distance, in steps, of how long ago a channel was last
    measured, over all steps; before the first measurement that counts from the start. `together`: the absolute
    difference of the correlations of two masks, mean over pairs. Only channels with a gap in any set count. `rate` is
    blind to time and to what goes with what; `age` sees whether measurements come in bursts, `together` whether several
    channels are measured at once.

    Args:
        train: Real.
        test: Real, of other subjects.
        synthetic: To be judged.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, one has fewer than 2 sequences, or none has gaps.
    """
    view = View.fit(train, test, synthetic)
    if not view.gaps.any():
        raise Inapplicable("nothing is missing in any of the sets")
    parts = equal_parts([train, test, synthetic], cap, seed)
    alive = [part.alive for part in parts]
    measured = [~np.isnan(part.values[..., view.gaps]) for part in parts]
    chosen = np.flatnonzero(view.gaps)
    names = [view.schema.channels[j].name for j in chosen]
    steps = [own.sum(axis=1).astype(float) for own in alive]
    since = [ages(there, own) for there, own in zip(measured, alive, strict=True)]
    laws = [of_values([part[..., j] for part in since]) for j in range(len(chosen))]

    def rate(k: int, u: Weights, v: Weights) -> ndarray:
        shares = [w @ measured[i].sum(axis=1) / (w @ steps[i])[:, None] for i, w in ((1, u), (k, v))]
        return 100 * np.abs(shares[0] - shares[1])

    def age(k: int, u: Weights, v: Weights) -> ndarray:
        return np.stack([between_means(law[1], law[k], u, v) for law in laws], axis=1)

    rates = figures_beside_floor(parts, rate, {"rate": np.max}, seed + 1, names)
    out = rates | figures_beside_floor(parts, age, {"age": np.mean}, seed + 1)
    masks = [np.where(own[..., None], there, np.nan) for there, own in zip(measured, alive, strict=True)]
    if len(chosen) > 1:
        together = correlations_apart([channel_sums(mask) for mask in masks])
        out |= figures_beside_floor(parts, together, {"together": np.mean}, seed + 1)
    return out | rates  # whose columns are channels, not pairs


def ages(measured: Bool[ndarray, "n length c"], alive: Bool[ndarray, "n length"]) -> Float[ndarray, "n length c"]:
    """Return how many steps ago each channel was last measured, from the start if never; NaN after the end."""
    steps = np.arange(measured.shape[1])[None, :, None]
    last = np.maximum.accumulate(np.where(measured, steps, -1), axis=1)
    return np.where(alive[..., None], steps - last, np.nan)


@says(
    Figure(
        *("rr", "RR intervals", "near floor"),
        "By how many seconds the time from one heartbeat to the next is off (1-Wasserstein distance of the laws)"
        + COUNTED,
    ),
    Figure(
        *("rr_spread", "RR intervals, spread", "near floor"),
        "By how many seconds the standard deviation of these within a sequence is off" + COUNTED,
    ),
    Figure(
        *("amplitude", "R amplitudes", "near floor"), "By how much R peaks are too high or too low, in mV" + COUNTED
    ),
    part="fidelity",
    doing="looking for heartbeats",
    responds={"worse": ("noise", "shuffled steps", "dropped mode", "collapsed")},
)
def heartbeats(
    train: Sequences,
    test: Sequences,
    synthetic: Sequences,
    channel: str | None = None,
    cap: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Return how far RR intervals, their spread in a sequence, and R amplitudes are from those of test sequences.

    1-Wasserstein distances, in seconds and in the channel's unit. Sequences with a gap in the channel count as having
    no beats. A figure of a set in which there are no beats is NaN.

    Args:
        train: Real.
        test: Real, of other subjects.
        synthetic: To be judged.
        channel: An electrocardiogram; by default the first in mV.
        cap: Most sequences taken of each set; the same number is.
        seed: Of the choice and the bootstrap.

    Raises:
        ValueError: if the sets differ in columns or length, one has fewer than 2 sequences, steps are not in seconds or
            too long to see a beat, or there is no such channel.
    """
    View.fit(train, test, synthetic)  # refuses sets that do not fit together
    in_mv = [column.name for column in train.schema.channels if column.unit == "mV"]
    if channel is None and not in_mv:
        raise Inapplicable("no channel is in mV; name the electrocardiogram by `channel`")
    name = channel or in_mv[0]
    parts = equal_parts([train, test, synthetic], cap, seed)
    found = [beating(part.channel(name), sampling_rate(part)) for part in parts]
    out: dict[str, float] = {}
    for key in ("rr", "rr_spread", "amplitude"):
        law = of_values([each[key] for each in found])

        def apart(k: int, u: Weights, v: Weights, law=law) -> ndarray:
            return between_means(law[1], law[k], u, v)[:, None]

        out |= figures_beside_floor(parts, apart, {key: np.mean}, seed + 1)
    return out


def sampling_rate(sequences: Sequences) -> float:
    """Return samples a second.

    Raises:
        Unanswerable: if steps are not in seconds, or too few to see the steepness of a beat.
    """
    unit = sequences.schema.step_unit
    if unit not in SECONDS:
        raise Inapplicable(f"heartbeats need steps in seconds, not {unit or 'counted ones'}")
    rate = 1 / (sequences.schema.step * SECONDS[unit])
    if rate <= 2 * BAND[1]:
        raise Inapplicable(f"heartbeats need more than {2 * BAND[1]:.0f} samples a second, these have {rate:g}")
    return rate


def peaks(signal: Float[ndarray, " length"], rate: float) -> Int[ndarray, " peaks"]:
    """Return where R peaks are: maxima of the energy from 5 to 15 Hz, averaged over 0.12 s, 0.25 s apart at least.

    A maximum counts if it reaches 15 % of the sequence's 98 % quantile. On windows of 10 s of the MIT-BIH records 100,
    106, 207 and 223 that finds 99.3, 99.2, 95.2 and 100 % of the annotated beats, and of what it finds 99.3 to 100 %
    are beats. Of wfdb's detectors, xqrs finds as many but also T waves (85 % are beats in 106), and gqrs finds 71 to
    93 %.
    """
    band = scipy.signal.butter(2, BAND, "bandpass", fs=rate, output="sos")
    width = round(0.12 * rate)
    energy = np.convolve(scipy.signal.sosfiltfilt(band, signal) ** 2, np.ones(width) / width, "same")
    found, _ = scipy.signal.find_peaks(energy, distance=round(0.25 * rate), height=0.15 * np.quantile(energy, 0.98))
    return found


def beating(signals: Float[ndarray, "n length"], rate: float) -> dict[str, Float[ndarray, "_ _"]]:
    """Return RR intervals in seconds, their standard deviation, and R amplitudes above the median, per sequence.

    Rows are filled up with NaN; a sequence with a gap has nothing else.
    """
    reach = round(0.06 * rate)
    out: dict[str, list[ndarray]] = {"rr": [], "rr_spread": [], "amplitude": []}
    for signal in signals.astype(np.float64):
        found = np.zeros(0, int) if np.isnan(signal).any() else peaks(signal, rate)
        rr = np.diff(found) / rate
        around = [signal[max(0, at - reach) : at + reach + 1] for at in found]
        out["rr"].append(rr)
        out["rr_spread"].append(rr.std(keepdims=True) if len(rr) > 1 else rr[:0])
        out["amplitude"].append(np.array([np.abs(part - np.median(signal)).max() for part in around]))
    return {key: _filled_up(each) for key, each in out.items()}


def _filled_up(rows: list[ndarray]) -> Float[ndarray, "n most"]:
    out = np.full((len(rows), max([1, *map(len, rows)])), np.nan)
    for row, own in zip(out, rows, strict=True):
        row[: len(own)] = own
    return out
