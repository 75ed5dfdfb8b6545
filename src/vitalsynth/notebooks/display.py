"""A place in a notebook's output that is renewed."""

from __future__ import annotations

import sys
from typing import Any


class Live:
    """One output that shows the last of what it was given, while a cell runs and after."""

    def __init__(self) -> None:
        self._handle: Any = None

    @staticmethod
    def possible() -> bool:
        """Say whether this Python runs behind a notebook."""
        ipython = sys.modules.get("IPython")
        return ipython is not None and hasattr(ipython.get_ipython(), "kernel")

    def show(self, html: str, text: str) -> None:
        """Show markup, and a text for front ends without."""
        from IPython.display import display

        shown = {"text/html": str(html), "text/plain": text}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)
