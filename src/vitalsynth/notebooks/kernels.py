"""Kernels of the Python that runs this, whatever other kernels the user has installed."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import default

SILENT = logging.getLogger(__name__)
"""Where Jupyter's own complaints go: what went wrong is told by whoever asked."""
SILENT.setLevel(logging.CRITICAL + 1)


class ThisPython(KernelSpecManager):
    """Knows one kernel, `python3`: this Python."""

    @default("kernel_dirs")
    def _none(self) -> list[str]:
        return []


def manager(folder: Path) -> AsyncKernelManager:
    """Return what starts a kernel that is reached by sockets in a folder of the user's own, and not through ports."""
    return AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=ThisPython(),
        transport="ipc",
        ip=str(folder / "kernel"),
        connection_file=str(folder / "kernel.json"),
        log=SILENT,
    )


def environment() -> dict[str, str]:
    """Return the environment of a kernel: one thread unless told otherwise, and paths that hold in any folder."""
    paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": os.pathsep.join(paths)}
