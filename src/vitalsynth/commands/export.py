"""`vitalsynth export`: a generator for use without vitalsynth."""

from __future__ import annotations

from pathlib import Path

from .. import exporting, runs
from ..exporting import Format


def export(run: str | list[str], *, out: str, format: Format = "onnx", checkpoint: int | None = None) -> list[Path]:
    """Write the generator alone, for use without vitalsynth: from noise and a condition to values in physical units.

    The folder holds generator.onnx (or generator.pt2), the weights as generator.safetensors, about.json, which names
    what goes in and what comes out, and sample.py, which draws a cohort with numpy and onnxruntime alone. No
    discriminator, optimiser or data are in it.

    Args:
        run: Folders of runs; globs are expanded.
        out: Folder to make, which must not exist; {run} in it stands for the run's name.
        format: onnx, for any language and machine, or torch, for torch.export.load.
        checkpoint: Step of the checkpoint to export; the newest by default.

    Returns:
        The folders.

    Raises:
        ValueError: if something is there, an extra is not installed, or the network cannot be exported.
    """
    found = runs.find(run)
    places = runs.destinations(out, found)
    return [exporting.export(each, place, format, checkpoint) for each, place in zip(found, places, strict=True)]
