"""The report: figures of real beside synthetic sequences on one page, and scorecards in the form a paper needs."""

from . import cards
from .page import write

__all__ = ["cards", "write"]
