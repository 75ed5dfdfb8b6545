"""Pieces that networks share: how columns are emitted, how a condition enters, and what goes on in between."""

from .basic import Dropout, GatedPerceptron, RMSNorm
from .emission import Emission
from .scores import Score, every_step

__all__ = ["Dropout", "Emission", "GatedPerceptron", "RMSNorm", "Score", "every_step"]
