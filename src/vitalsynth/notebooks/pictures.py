"""Several figures, side by side as the page is wide."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.figure import Figure

from .. import markup
from ..markup import Markup
from ..reporting import page
from ..reporting.page import Picture


class Pictures:
    """Figures that a notebook shows side by side.

    Args:
        pictures: The figures.
        title: Above them.
    """

    def __init__(self, pictures: Iterable[Picture], title: str = "") -> None:
        self.pictures: list[Picture] = list(pictures)
        self.title: str = title

    def __repr__(self) -> str:
        return f"{self.title or 'Pictures'}: {', '.join(each.alt for each in self.pictures)}"

    def _repr_html_(self) -> str:
        inner = Markup("").join(map(_figure, self.pictures))
        return markup.block(self.title, "", Markup('<div class="pictures">{}</div>').format(inner))


def drawn(figure: Figure, alt: str, caption: str = "") -> Picture:
    """Return a figure as a picture; a caption says what the figure itself does not."""
    made = page.embed(figure, alt)
    return Picture(made.uri, made.alt, made.width, made.height, caption)


def _figure(picture: Picture) -> Markup:
    below = Markup("<figcaption>{}</figcaption>").format(picture.caption) if picture.caption else ""
    return Markup('<figure><img src="{}" alt="{}" width="{}" height="{}">{}</figure>').format(
        picture.uri, picture.alt, picture.width, picture.height, below
    )
