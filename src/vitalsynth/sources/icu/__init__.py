"""Intensive care as its distributors write it: PhysioNet challenges, YAIB, MEDS, eICU; each read and written back."""

from .eicu import EICUWriter, eicu
from .meds import MEDSWriter, meds
from .physionet2012 import PhysioNet2012Writer, physionet2012
from .physionet2019 import PhysioNet2019Writer, physionet2019
from .yaib import YAIBWriter, yaib

__all__ = [
    "EICUWriter",
    "MEDSWriter",
    "PhysioNet2012Writer",
    "PhysioNet2019Writer",
    "YAIBWriter",
    "eicu",
    "meds",
    "physionet2012",
    "physionet2019",
    "yaib",
]
