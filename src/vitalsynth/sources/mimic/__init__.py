"""MIMIC-III and MIMIC-IV, from the distributed tables to sequences and back; the folders of the MIMIC-III benchmark.

    items    which item id is which variable, in which unit, within which limits
    cohort   who is read, from when to when; static columns and the labels of the benchmark's tasks
    events   CHARTEVENTS, LABEVENTS and OUTPUTEVENTS, streamed
    reading  `mimic3` and `mimic4`
    writing  tables of MIMIC-III and MIMIC-IV out of a cohort
    episodes `mimic3_benchmark`, and what writes such folders

Variables, item ids, limits, inclusion and labels are those of Harutyunyan, Khachatrian, Kale, Ver Steeg, Galstyan 2019,
Multitask learning and benchmarking with clinical time series data, Scientific Data 6:96 (arXiv 1703.07771), with their
code (github.com/YerevaNN/mimic3-benchmarks, MIT licence) as the reference.
"""

from .episodes import EpisodeWriter, mimic3_benchmark
from .reading import mimic3, mimic4
from .writing import MIMIC3Writer, MIMIC4Writer

__all__ = ["EpisodeWriter", "MIMIC3Writer", "MIMIC4Writer", "mimic3", "mimic3_benchmark", "mimic4"]
