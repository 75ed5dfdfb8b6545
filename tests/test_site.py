"""The documentation as a site: it builds without a warning, its links lead somewhere, and it needs no other host."""

import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

import vitalsynth
from conftest import chromium
from vitalsynth.commands import COMMANDS

ROOT = Path(__file__).parents[1]
LOADED = {"img", "script", "link", "iframe", "source", "video", "audio", "embed", "object", "use", "image"}


class Page(HTMLParser):
    """What a page links to, what it loads, and where one can link to in it."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loaded, self.paragraphs = set(), [], [], re.findall(r"<p>(.*?)</p>", text, re.S)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        for name in ("href", "src", "data", "poster", "srcset"):
            if given.get(name) and (tag == "a" or name == "href") and tag not in LOADED:
                self.links.append(given[name])
            elif given.get(name) and tag in LOADED:
                self.loaded.append(given[name])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """All pages, by their path in the site."""
    return {str(path.relative_to(site)): Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_links_and_anchors_lead_somewhere(site, pages):
    lost = []
    for name, page in pages.items():
        if name == "404.html":  # is shown at any address, so its links begin at the root
            continue
        for link in [*page.links, *page.loaded]:
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(path).partition("?")[0]))
            target = name if not path else target
            if not (site / target).exists() or (
                anchor and target in pages and unquote(anchor) not in pages[target].anchors
            ):
                lost.append(f"{name}: {link}")
    assert not lost


def test_nothing_comes_from_another_host(site, pages):
    far = [f"{name}: {link}" for name, page in pages.items() for link in page.loaded if re.match(r"(https?:)?//", link)]
    sheets = [(path.name, path.read_text("utf-8")) for path in site.rglob("*.css")]
    far += [
        f"{name}: {link}"
        for name, sheet in sheets
        for link in re.findall(r"(?:url\(|@import )['\"]?(https?:[^)'\"]+)", sheet)
    ]
    assert not far


def test_lists_and_tables_became_lists_and_tables(pages):
    """Forges take a list right after a line of text for one; the site does not."""
    odd = [
        f"{name}: {paragraph[:80]}"
        for name, page in pages.items()
        for paragraph in page.paragraphs
        if re.search(r"\n(- |\d\. |\| )|^\| ", re.sub(r"<code>.*?</code>", "", paragraph, flags=re.S))
    ]
    assert not odd


def test_the_reference_has_every_command_and_public_name(pages):
    assert not {command.replace(" ", "-") for command in COMMANDS} - pages["reference/commands.html"].anchors
    assert not {name.lower() for name in vitalsynth.__all__} - pages["reference/python.html"].anchors


def test_pictures_are_small():
    pictures = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".png", ".gif", ".svg", ".jpg", ".webp")]
    assert sum(path.stat().st_size for path in pictures) < 2_000_000


def test_searching_works_from_a_file(site, tmp_path):
    shown = chromium(
        f"{(site / 'index.html').as_uri()}?q=epsilon", tmp_path, "--virtual-time-budget=20000", "--dump-dom"
    )
    assert re.search(r"\d+ matching documents", shown.stdout)
    assert 'class="md-search-result__link"' in shown.stdout and "differential-privacy.html" in shown.stdout
