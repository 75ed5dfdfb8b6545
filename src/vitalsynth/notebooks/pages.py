"""A notebook as a page that needs no network."""

from __future__ import annotations

from nbconvert import HTMLExporter
from nbformat import NotebookNode


def page(notebook: NotebookNode, title: str) -> str:
    """Return a notebook as one HTML file."""
    exporter = HTMLExporter()
    return exporter.from_notebook_node(notebook, {"metadata": {"name": title}})[0]
