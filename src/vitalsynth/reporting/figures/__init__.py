"""Figures of real beside synthetic sequences, one small figure per channel, so that a page can lay them out anywhere.

Real is blue and synthetic vermilion everywhere (Okabe and Ito's colours, told apart with any colour vision). Every
function returns a figure and touches no global state of matplotlib.
"""

from .anatomy import anatomy
from .channels import (
    Limits,
    autocorrelation,
    blind,
    cohort,
    examples,
    heat_map,
    lagged_correlations,
    limits_of,
    marginal,
    measured,
    running,
    snapshot,
    some,
    views,
)
from .convergence import convergence
from .images import mosaic, pixel_span, pooled_pixels
from .learning import coloured, learning, losses, terms
from .nearest import nearest, nearest_distances
from .review import review
from .style import MISSING, REAL, STYLE, SYNTHETIC, pixels
from .sweep import sweep

__all__ = [
    "MISSING",
    "REAL",
    "STYLE",
    "SYNTHETIC",
    "Limits",
    "anatomy",
    "autocorrelation",
    "blind",
    "cohort",
    "coloured",
    "convergence",
    "examples",
    "heat_map",
    "lagged_correlations",
    "learning",
    "limits_of",
    "losses",
    "marginal",
    "measured",
    "mosaic",
    "nearest",
    "nearest_distances",
    "pixel_span",
    "pixels",
    "pooled_pixels",
    "review",
    "running",
    "snapshot",
    "some",
    "sweep",
    "terms",
    "views",
]
