"""Hooks of mkdocs: what the site takes from elsewhere in the repository, so that nothing is written twice.

- The reference is generated from signatures and docstrings (`reference.py`).
- `benchmarks/README.md`, `CHANGELOG.md` and the like become pages (`BROUGHT`).
- A link to a section of the README that stands alone in its line becomes that section: in the repository it is a
  link, on the site the text itself.
- A drawing (`drawings.py`) stands in the page itself, so that it follows the page's colours.
- Links are rewritten from where a file lies in the repository to where its page is; what is not on the site is text.
"""

import posixpath
import re
import sys
from pathlib import Path

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))
import reference

ROOT = Path(__file__).parents[2]
BROUGHT = {
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "reference/changelog.md",
    "CONTRIBUTING.md": "reference/contributing.md",
    "src/vitalsynth/data/README.md": "data/embedded.md",
}
GENERATED = {
    "reference/commands.md": reference.commands,
    "reference/parts.md": reference.parts,
    "reference/python.md": reference.python,
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
SECTION = re.compile(r"^\[[^\]]*\]\((?:\.\./)*README\.md#([\w-]+)\)$", re.MULTILINE)
DRAWING = re.compile(r"^!\[([^\]]*)\]\(images/(\w+)\.svg\)$", re.MULTILINE)


def on_files(files, config):
    """Add the pages that do not lie in docs/."""
    for place, page in BROUGHT.items():
        files.append(File.generated(config, page, content=(ROOT / place).read_text("utf-8")))
    for page, write in GENERATED.items():
        files.append(File.generated(config, page, content=write()))
    return files


def on_page_markdown(markdown, page, config, files):
    """Put in sections of the README and drawings, and rewrite links."""
    uri = page.file.src_uri
    place = next((source for source, target in BROUGHT.items() if target == uri), f"docs/{uri}")
    parts = []
    last = 0
    for found in SECTION.finditer(markdown):
        parts += [rewritten(markdown[last : found.start()], place, uri, files)]
        parts += [rewritten(section(found[1]), "README.md", uri, files)]
        last = found.end()
    text = "".join([*parts, rewritten(markdown[last:], place, uri, files)])
    return DRAWING.sub(inlined, text)


def section(anchor):
    """Return the text of a section of the README, without its heading; "vitalsynth" is what comes before the first.

    Raises:
        ValueError: if there is none of this name.
    """
    for each in re.split(r"^##? ", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE):
        heading, _, text = each.partition("\n")
        if slug(heading) == anchor:
            return text.strip()
    raise ValueError(f"README.md has no section #{anchor}")


def slug(heading):
    """Return the anchor of a heading, as mkdocs and code forges make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def rewritten(text, place, uri, files):
    """Rewrite the links of a text that lies at a place of the repository, for its page."""

    def target(found):
        picture, words, link = found.groups()
        path, hash_, anchor = link.partition("#")
        if not path or "://" in link or link.startswith("mailto:"):
            return found[0]
        there = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
        here = BROUGHT.get(there, "index.md" if there == "README.md" else there.removeprefix("docs/"))
        if files.get_file_from_path(here) is None:
            exists = (ROOT / there).exists()
            return f"{words}" if exists else found[0]
        return f"{picture}[{words}]({posixpath.relpath(here, posixpath.dirname(uri) or '.')}{hash_}{anchor})"

    return "".join(
        part if k % 2 else LINK.sub(target, part)
        for k, part in enumerate(re.split(r"(^```.*?^```$|`[^`\n]+`)", text, flags=re.MULTILINE | re.DOTALL))
    )


def inlined(found):
    """Return a drawing as part of the page; its own colours, for where it stands alone, go."""
    drawing = (ROOT / "docs" / "images" / f"{found[2]}.svg").read_text("utf-8")
    drawing = re.sub(r"<style>.*?</style>\n?", "", drawing, flags=re.DOTALL)
    return f'<figure class="drawing" markdown="0">\n{drawing.strip()}\n</figure>'
