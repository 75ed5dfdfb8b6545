"""Units that are mistaken for each other, and how that shows.

One value gives Fahrenheit among Celsius away, and per cent among fractions. Glucose in mmol/L or a pressure in kPa only
a whole column does: its median is one that no cohort has in the unit of the column, but that is common in the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..sequences import Column

CONVERSIONS = {
    ("°F", "°C"): (5 / 9, -160 / 9),
    ("lb", "kg"): (0.453592, 0.0),
    ("oz", "kg"): (0.453592 / 16, 0.0),
    ("inch", "cm"): (2.54, 0.0),
    ("kPa", "mmHg"): (7.50062, 0.0),
    ("%", "fraction"): (0.01, 0.0),
    ("fraction", "%"): (100.0, 0.0),
}
"""Factor and offset from one unit to another."""

GIVEN_AWAY = {"°C": ("°F", 68.0, 113.0), "fraction": ("%", 20.0, 100.0)}
"""By a column's unit: the unit mistaken for it, from where to where a value gives it away.

68 to 113 °F is 20 to 45 °C: no living body is hotter than that.
"""


class Usual(NamedTuple):
    """What is usual of a variable.

    Args:
        names: What sources call it, in lower case.
        unit: In which the range is.
        low: Least median of a cohort.
        high: Greatest.
        other: Unit mistaken for it.
        factor: From the other unit to this.
    """

    names: tuple[str, ...]
    unit: str
    low: float
    high: float
    other: str
    factor: float


USUAL = (
    Usual(("glucose", "bedside glucose", "glu"), "mg/dL", 40, 600, "mmol/L", 18.016),
    Usual(("creatinine", "crea"), "mg/dL", 0.2, 20, "µmol/L", 1 / 88.42),
    Usual(("bilirubin", "bilirubin_total", "total bilirubin", "bili"), "mg/dL", 0.1, 6, "µmol/L", 1 / 17.104),
    Usual(("lactate", "lact"), "mmol/L", 0.3, 10, "mg/dL", 1 / 9.008),
    Usual(("sbp", "sysabp", "nisysabp", "systolic", "systolic blood pressure", "systemicsystolic",
           "noninvasivesystolic"), "mmHg", 60, 250, "kPa", 7.50062),
    Usual(("map", "nimap", "mean blood pressure", "systemicmean", "noninvasivemean"), "mmHg", 40, 180, "kPa", 7.50062),
    Usual(("dbp", "diasabp", "nidiasabp", "diastolic", "diastolic blood pressure", "systemicdiastolic",
           "noninvasivediastolic"), "mmHg", 25, 140, "kPa", 7.50062),
    Usual(("paco2", "pco2"), "mmHg", 18, 130, "kPa", 7.50062),
    Usual(("pao2", "po2"), "mmHg", 30, 500, "kPa", 7.50062),
    Usual(("etco2",), "mmHg", 15, 110, "kPa", 7.50062),
    Usual(("weight", "admissionweight"), "kg", 30, 130, "lb", 0.453592),
    Usual(("height", "admissionheight"), "cm", 100, 220, "inch", 2.54),
)  # fmt: skip
"""Adults' reference intervals (Kratz et al. 2004, N Engl J Med 351:1548), widened to what half of an ICU cohort may lie
beyond; factors from molar masses. Urea, and venous and intracranial pressures, have medians that are usual in
either unit, and are not here."""

FEWEST = 20
"""Sequences: a median of fewer may be anything."""


def conversion(sample: Float[ndarray, " n"], column: Column) -> tuple[str, float]:
    """Say in which unit a column is, and what to multiply it by; its own unit and 1 where nothing shows otherwise.

    Args:
        sample: A value of each sequence; NaN where there is none.
        column: What they are said to be.
    """
    known = sample[~np.isnan(sample)]
    name, unit = column.name.lower().removeprefix("static_"), column.unit.replace(" ", "")
    for usual in USUAL:
        if name in usual.names and unit in (usual.unit, usual.other) and len(known) >= FEWEST:
            is_own = unit == usual.unit
            own, other = (1.0, usual.factor) if is_own else (usual.factor, 1.0)  # to the unit of the range
            median = float(np.median(known))
            if not usual.low <= median * own <= usual.high and usual.low <= median * other <= usual.high:
                return (usual.other if is_own else usual.unit), other / own
    return column.unit, 1.0
