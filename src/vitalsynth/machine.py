"""What this machine has, and what processes hold of it."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def most_held() -> int:
    """Return the most bytes of memory that this process has held so far (its resident set).

    getrusage would count, on Linux, what the process held that started this one.
    """
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return 1024 * int(found[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
