"""Differential privacy for patients: what is learned would be all but as likely without any one of them.

    P[M(D) ∈ S] ≤ exp(ε) P[M(D') ∈ S] + δ

for all S and all D, D' that differ in one training patient, whose sequences are in one and not in the other (Dwork et
al. 2006). M is all of training: the player that sees real sequences learns by noisy sums of clipped gradients, one of
each patient (DP-SGD; Abadi et al. 2016, arXiv 1607.00133), any other player learns from what that one knows, and the
preparation knows nothing of the data but what is public or paid for. docs/differential-privacy.md says what is covered.
"""

from .budget import Budget, calibrated, epsilon
from .mechanism import Mechanism, noise_key, nothing_kept, patients
from .privacy import Privacy
from .public import known, prepare
from .refusals import check, check_prepared

__all__ = [
    "Budget",
    "Mechanism",
    "Privacy",
    "calibrated",
    "check",
    "check_prepared",
    "epsilon",
    "known",
    "noise_key",
    "nothing_kept",
    "patients",
    "prepare",
]
