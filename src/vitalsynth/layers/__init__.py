"""Pieces that networks share: how columns are emitted, how a condition enters, and what goes on in between."""

from .attention import Transformer
from .basic import Dropout, GatedPerceptron, RMSNorm
from .emission import CoarseEmission, Emission, end
from .features import RandomFeatures
from .renewal import Renewal
from .scores import Minibatch, Score, every_step
from .spectral import Spectral

__all__ = [
    "CoarseEmission",
    "Dropout",
    "Emission",
    "GatedPerceptron",
    "Minibatch",
    "RMSNorm",
    "RandomFeatures",
    "Renewal",
    "Score",
    "Spectral",
    "Transformer",
    "end",
    "every_step",
]
