"""Every code block of the README and of the pages runs; `documents.py` says how, and how small."""

import os
import sys
import tomllib
from pathlib import Path
from unittest import mock

import pytest

from documents import ROOT, Reader, blocks, few, lines
from vitalsynth import sources

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
KNOWN = {"sh", "python", "toml", "yaml", "csv", "text", ""}


@pytest.fixture(autouse=True)
def environment():
    """What a page exports ends with it."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Trainings that were done before, by their command lines, and where they are kept."""
    return {}, tmp_path_factory.mktemp("trained")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_runs(page, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "read", few)
    monkeypatch.setattr(sys, "path", [*sys.path])
    reader, names = Reader(page, *trained), {}
    for block in blocks(page):
        assert block.language in KNOWN, f"line {block.line}: the tests know no blocks of {block.language!r}"
        if block.language == "sh":
            reader.shell(block)
        elif block.language == "python":
            reader.python(block, names)
        elif block.language == "toml":
            tomllib.loads(block.text)
        else:
            for words in lines("\n".join(line[2:] for line in block.text.splitlines() if line.startswith("$ "))):
                reader.parse(words[1:])
    assert not reader.wrong


def test_the_tests_see_what_is_wrong(trained, tmp_path, monkeypatch):
    """An option that does not exist is found, also in a line that is only taken apart, and a block that fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "read", few)
    for wrong in (
        "vitalsynth sample runs/icu --cuont 5 --out a.csv",
        "vitalsynth submit train icu-demo --presett strong --out runs/a",
        "vitalsynth train mimic3 --generator LSTMM --out runs/m",
        "srun vitalsynth train icu-demo --generator.hiden 3 --out runs/f",
        "pip install -e '.[faecs]'",
        "make tset",
        "frobnicate runs/icu",
    ):
        page = tmp_path / "page.md"
        page.write_text(f"```sh\n{wrong}\n```\n", "utf-8")
        reader = Reader(page, *trained)
        reader.shell(blocks(page)[0])
        assert reader.wrong, wrong


def test_the_extensions_are_short():
    """Source, network, objective and metric: under 20 lines each."""
    shown = [block for block in blocks(Path(ROOT, "docs", "extend.md")) if block.language == "python"]
    assert len(shown) == 4
    assert all(len(block.text.strip().splitlines()) < 20 for block in shown)
