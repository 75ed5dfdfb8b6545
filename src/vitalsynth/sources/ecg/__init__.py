"""Electrocardiograms: WFDB records as beats or windows, and 12 leads of PTB-XL; written back as both, and as EDF+."""

from .edf import EDFWriter
from .ptbxl import PTBXLWriter, ptbxl
from .records import WFDBWriter, ecg

__all__ = ["EDFWriter", "PTBXLWriter", "WFDBWriter", "ecg", "ptbxl"]
