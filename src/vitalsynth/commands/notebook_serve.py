"""`vitalsynth notebook serve`: a local runtime for Colab."""

from __future__ import annotations


def notebook_serve(*, port: int = 8888) -> None:
    """Serve a local runtime.

    Args:
        port: Where.
    """
