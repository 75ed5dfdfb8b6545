"""The report: figures of real beside synthetic sequences, and one page that holds them all."""

from .page import write

__all__ = ["write"]
