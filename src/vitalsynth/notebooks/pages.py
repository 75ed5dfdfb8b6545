"""A notebook as a page that needs no network and runs no script of ours."""

from __future__ import annotations

from pathlib import Path

from jinja2 import DictLoader
from nbconvert import HTMLExporter
from nbformat import NotebookNode

# nbconvert's own page fetches require.js, MathJax and Mermaid from elsewhere.
ALONE = """{% extends "lab/index.html.j2" %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
"""


def page(notebook: NotebookNode, title: str, folder: Path) -> str:
    """Return a notebook as one HTML file; formulas stay as they are written, and what scripts would draw stays away.

    Args:
        notebook: With its outputs.
        title: Of the page.
        folder: From which the pictures that its texts name are taken.
    """
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"alone.html.j2": ALONE})], template_file="alone.html.j2", embed_images=True
    )
    return exporter.from_notebook_node(notebook, {"metadata": {"name": title, "path": str(folder)}})[0]
