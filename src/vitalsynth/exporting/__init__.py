"""A generator alone, for use without vitalsynth: no discriminator, no optimiser, no data.

    generator.onnx (or generator.pt2)   (noise, condition) -> (values, lengths, static), in physical units
    generator.safetensors               its weights
    about.json                          what goes in and what comes out: columns, noise, conditions
    sample.py                           a cohort as CSV, with numpy and onnxruntime alone

The way back to physical units (categories, gaps, lengths, normalisation) is part of the exported graph.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn

from .. import sampling, storage
from ..generators import Generator
from ..preparation import Preparation
from ..runs import Run
from ..sequences import Column, one_line

Format = Literal["onnx", "torch"]


class Physical(nn.Module):
    """A generator followed by the way back to physical units."""

    def __init__(self, generator: Generator, preparation: Preparation) -> None:
        super().__init__()
        self.generator, self.preparation = generator, preparation

    def forward(
        self, noise: Float[Tensor, "n noise"], condition: Float[Tensor, "n condition"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return values `(n, length, channels)` with NaN where not measured, lengths, and statics."""
        return self.preparation.physical(self.generator(noise, condition), within_extremes=True)


def export(run: Run, out: str | Path, format: Format = "onnx", checkpoint: int | None = None) -> Path:
    """Write the averaged generator of a run into a new folder.

    Args:
        run: Of which run.
        out: The folder; it must not exist.
        format: `onnx`, or `torch` for a program of `torch.export`.
        checkpoint: Step of the checkpoint; the newest by default.

    Raises:
        ValueError: if something is there, an extra is not installed, or the network cannot be exported.
    """
    if format == "onnx" and (lacking := [n for n in ("onnx", "onnxscript") if importlib.util.find_spec(n) is None]):
        raise ValueError(f"ONNX needs {lacking[0]}: pip install 'vitalsynth[export]' (or --format torch)")
    storage.refuse_existing(out)
    generator, step = sampling.load_generator(run, checkpoint, "cpu")
    preparation = run.preparation
    with storage.atomic_folder(out) as folder:
        storage.write(folder / "generator.safetensors", tensor_bytes(generator.state_dict()))
        storage.write(folder / "about.json", json.dumps(_about(run, generator, step), indent=1).encode())
        storage.write(folder / "sample.py", files("vitalsynth.exporting").joinpath("sample.py").read_bytes())
        target = folder / ("generator.onnx" if format == "onnx" else "generator.pt2")
        try:
            _write(Physical(generator, preparation).eval(), preparation.conditions(2), target)
        except Exception as error:  # whatever a user's own network does that cannot be exported
            kind = run.settings_at(step)["networks"]["generator"]["class_path"]
            raise ValueError(f"{kind} cannot be exported as {format}: {one_line(error)[:300]}") from error
        storage.sync_file(target)
    return Path(out)


def _write(model: Physical, condition: Tensor, target: Path) -> None:
    inputs = (torch.randn(2, model.generator.noise), condition)
    any_number = torch.export.Dim("n", min=1)
    sizes = ({0: any_number}, {0: any_number})
    with torch.no_grad(), _quiet():
        if target.suffix == ".pt2":
            torch.export.save(torch.export.export(model, inputs, dynamic_shapes=sizes), target)
        else:
            torch.onnx.export(
                model,
                inputs,
                target,
                dynamo=True,
                external_data=False,
                verbose=False,
                optimize=False,  # takes many minutes where steps are unrolled; onnxruntime optimises when it loads
                dynamic_shapes=sizes,
                input_names=["noise", "condition"],
                output_names=["values", "lengths", "static"],
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's exporters from logging and warning of what they do."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def _about(run: Run, generator: Generator, step: int) -> dict[str, Any]:
    """Return what somebody needs to know who has the exported files only; nothing of where the data lay."""
    preparation, schema = run.preparation, run.preparation.schema
    rows, encoded, weights = preparation.condition_table()
    given = [part.column for part in preparation.given]
    conditions = [
        {
            "labels": {column.name: _label(code, column) for column, code in zip(given, row, strict=True)},
            "encoded": numbers,
            "weight": weight,
        }
        for row, numbers, weight in zip(rows.tolist(), encoded.tolist(), weights.tolist(), strict=True)
    ]
    return {
        "made_with": f"vitalsynth {version('vitalsynth')}",
        "step": step,
        "generator": run.settings_at(step)["networks"]["generator"],
        "noise": generator.noise,
        "length": preparation.length,
        "channels": [_column(column) for column in schema.channels],
        "statics": [_column(column) for column in schema.statics],
        "id": schema.id,
        "time": schema.time,
        "start": schema.start if schema.time_kind == "number" else 0.0,
        "step_duration": schema.step,
        "step_unit": schema.step_unit,
        "conditions": conditions or [{"labels": {}, "encoded": [], "weight": 1}],
    }


def _column(column: Column) -> dict[str, Any]:
    return {"name": column.name, "kind": column.kind, "unit": column.unit, "categories": list(column.categories)}


def _label(code: float, column: Column) -> Any:
    if np.isnan(code):
        return None
    if column.kind == "continuous":
        return code
    return column.categories[int(code)] if column.categories else int(code)
