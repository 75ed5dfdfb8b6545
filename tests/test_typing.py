"""All that `import vitalsynth` exports has a known type, as an editor of a user sees it."""

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vitalsynth


def symbols():
    """Return what pyright says of every symbol of the package, and what it cannot tell."""
    here = Path(sys.executable).parent  # pyright takes the first Python that it finds
    program = shutil.which("pyright", path=here)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("pyright is missing, and CI must have it")
        pytest.skip("pyright is not in this environment (make check installs it)")
    environment = os.environ | {"PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}
    words = [program, "--outputjson", "--verifytypes", "vitalsynth", "--ignoreexternal"]
    said = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(said)["typeCompleteness"]["symbols"]


def test_what_is_exported_has_known_types():
    exported = [getattr(vitalsynth, name) for name in vitalsynth.__all__]
    homes = {f"{each.__module__}.{each.__qualname__}" for each in exported}
    classes = {f"{each.__module__}.{each.__qualname__}" for each in exported if inspect.isclass(each)}
    found = symbols()
    public = [s for s in found if s["name"] in homes or s["name"].rpartition(".")[0] in classes | {"vitalsynth"}]
    assert homes <= {symbol["name"] for symbol in public}
    unclear = [
        (symbol["name"], *(row["message"] for row in symbol["diagnostics"]))
        for symbol in public
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
    ]
    assert not unclear
