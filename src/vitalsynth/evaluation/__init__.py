"""Judging: how faithful, how useful, and (later) how private synthetic sequences are.

Every metric is `metric(train, test, synthetic, **settings) -> dict[str, float]`, always the three sets in this order:
what the generator learned from, real sequences of subjects it never saw, and what it made. A figure stands beside its
**floor**, the same figure for real data in the place of the synthetic (`metric` says how).

Every command imports this, and few judge: scikit-learn is imported where it is used, and parts of SciPy are named in
full (`scipy.stats.t`), which imports them when they are first used. That is 0.6 of 3 CPU-seconds.
"""

from .battery import battery, two_sample
from .calibration import calibration
from .clinical import gaps, heartbeats
from .dynamics import autocorrelations, cross_correlations, marginals, sliced_wasserstein, spectra
from .fidelity import kid, mmd, signature_mmd
from .forecasting import forecast
from .frechet import context_fid, frechet
from .literature import correlational_score, discriminative_score, predictive_score
from .neighbours import copying, coverage, density, precision, recall
from .plausibility import violations
from .scorecard import evaluate, table
from .subgroups import subgroups
from .tsgbench import tsgbench
from .utility import augmented, trts, tstr
from .verdicts import verdict

__all__ = [
    "augmented",
    "autocorrelations",
    "battery",
    "calibration",
    "context_fid",
    "copying",
    "correlational_score",
    "coverage",
    "cross_correlations",
    "density",
    "discriminative_score",
    "evaluate",
    "forecast",
    "frechet",
    "gaps",
    "heartbeats",
    "kid",
    "marginals",
    "mmd",
    "precision",
    "predictive_score",
    "recall",
    "signature_mmd",
    "sliced_wasserstein",
    "spectra",
    "subgroups",
    "table",
    "trts",
    "tsgbench",
    "tstr",
    "two_sample",
    "verdict",
    "violations",
]
