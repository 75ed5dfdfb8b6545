"""Draw the drawings of the documentation again: `python docs/building/drawings.py`.

SVG by hand, narrow enough for a telephone. Text and lines have the colour of the text around them where a drawing
stands in a page (`hooks.py` puts it there), and that of light or dark mode where it stands alone.
"""

from pathlib import Path

OUT = Path(__file__).parents[1] / "images"
REAL, MADE, PLAIN = "#1b9e8a", "#d5762a", "#8a8f98"
ALONE = "<style>svg{color:#222}@media (prefers-color-scheme:dark){svg{color:#ddd}}</style>"


class Drawing:
    """Boxes, arrows and words on a canvas of 440 units in width."""

    def __init__(self, height: int, title: str):
        """Begin a drawing.

        Args:
            height: Of the canvas, in the units of its width.
            title: What it shows, in words, for who cannot see it.
        """
        self.height, self.title = height, title
        self.parts: list[str] = []

    def box(self, x, y, width, height, *lines, tone=PLAIN):
        """Draw a box with lines of text in it, the first bold."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{tone}" fill-opacity=".14" '
            f'stroke="{tone}" stroke-width="1.5"/>'
        )
        first = y + height / 2 + 5 - 9 * (len(lines) - 1)
        for k, line in enumerate(lines):
            self.words(x + width / 2, first + 18 * k, line, bold=not k, small=bool(k))

    def words(self, x, y, text, anchor="middle", bold=False, small=True):
        """Write a line of text."""
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{13 if small else 14.5}" '
            f'font-weight="{600 if bold else 400}">{text}</text>'
        )

    def arrow(self, *points, tone="currentColor", dashed=False):
        """Draw a line through points, `(x, y)` each, with a head at its end."""
        (x0, y0), (x1, y1) = points[-2:]
        length = max(abs(x1 - x0), abs(y1 - y0))
        along, across = (x1 - x0) / length, (y1 - y0) / length
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        head = [(x1 - 8 * along + s * 5 * across, y1 - 8 * across + s * 5 * along) for s in (1, -1)]
        corners = " L".join(f"{x:g} {y:g}" for x, y in (head[0], (x1, y1), head[1]))
        self.parts.append(f'<path d="M{path}" fill="none" stroke="{tone}" stroke-width="1.6"{dash}/>')
        self.parts.append(f'<path d="M{corners}" fill="none" stroke="{tone}" stroke-width="1.6"/>')

    def dot(self, x, y, tone):
        """Draw a checkpoint."""
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="6.5" fill="{tone}"/>')

    def save(self, name):
        """Write the drawing to the folder of pictures."""
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 440 {self.height}" role="img" '
            f'font-family="system-ui, sans-serif" fill="currentColor" aria-label="{self.title}">\n{ALONE}\n'
        )
        (OUT / f"{name}.svg").write_text(svg + "\n".join(self.parts) + "\n</svg>\n", "utf-8")


def spaces():
    """Draw the two spaces, and what lies between them."""
    drawing = Drawing(
        400, "Real sequences are encoded for the networks; what a generator makes is decoded into a cohort"
    )
    drawing.words(220, 18, "your world: units, names, gaps", bold=True)
    drawing.box(10, 30, 200, 64, "real sequences", "NaN: not measured", tone=REAL)
    drawing.box(230, 30, 200, 64, "synthetic sequences", "the same columns", tone=MADE)
    drawing.arrow((110, 94), (110, 138))
    drawing.words(120, 121, "encode", "start")
    drawing.arrow((330, 138), (330, 94))
    drawing.words(340, 121, "decode", "start")
    drawing.box(10, 140, 420, 46, "preparation", "fitted on the training subjects; undone exactly")
    drawing.arrow((110, 186), (110, 224))
    drawing.arrow((330, 224), (330, 186))
    drawing.box(10, 226, 200, 64, "encoded, real", "dense, no NaN, scale near 1", tone=REAL)
    drawing.box(230, 226, 200, 64, "encoded, synthetic", "dense, no NaN, scale near 1", tone=MADE)
    drawing.words(220, 312, "the networks' world", bold=True)
    drawing.arrow((330, 336), (330, 290))
    drawing.box(230, 338, 200, 50, "generator", tone=MADE)
    drawing.words(115, 358, "noise, and the condition")
    drawing.words(115, 376, "that was asked for")
    drawing.arrow((200, 363), (228, 363))
    drawing.save("spaces")


def players():
    """Draw who plays: the two of a game, and the one of a likelihood or a flow."""
    drawing = Drawing(424, "A generator and a discriminator learn from each other; likelihood and flow have one player")
    drawing.words(10, 18, "a game has two players", "start", bold=True)
    drawing.box(10, 34, 120, 50, "noise", "and condition")
    drawing.arrow((130, 59), (158, 59))
    drawing.box(160, 34, 120, 50, "generator", tone=MADE)
    drawing.arrow((220, 84), (220, 120))
    drawing.box(160, 122, 120, 50, "synthetic", tone=MADE)
    drawing.box(10, 122, 120, 50, "real", "and its condition", tone=REAL)
    drawing.arrow((220, 172), (220, 208))
    drawing.arrow((70, 172), (70, 233), (158, 233))
    drawing.box(160, 210, 120, 50, "discriminator")
    drawing.arrow((280, 235), (308, 235))
    drawing.box(310, 210, 120, 50, "score", "how real?")
    drawing.arrow((370, 208), (370, 59), (284, 59), tone=MADE, dashed=True)
    drawing.words(362, 96, "gradient: be", "end")
    drawing.words(362, 112, "taken for real", "end")
    drawing.arrow((370, 262), (370, 286), (220, 286), (220, 264), dashed=True)
    drawing.words(295, 304, "gradient: tell them apart")
    drawing.words(10, 344, "likelihood and flow have one", "start", bold=True)
    drawing.box(10, 358, 120, 50, "real", "and its condition", tone=REAL)
    drawing.arrow((130, 383), (158, 383))
    drawing.box(160, 358, 120, 50, "generator", tone=MADE)
    drawing.arrow((280, 383), (308, 383))
    drawing.box(310, 358, 120, 50, "loss", "its own")
    drawing.save("players")


def life():
    """Draw a run's life: trained, stopped, carried on, asked, handed out."""
    drawing = Drawing(400, "A run is trained, stopped and continued; it is sampled, judged and attacked; then released")
    drawing.box(10, 10, 120, 50, "train", "makes the folder")
    drawing.arrow((130, 35), (158, 35))
    drawing.box(160, 10, 120, 50, "checkpoint", "one of many", tone=MADE)
    drawing.arrow((280, 35), (308, 35))
    drawing.box(310, 10, 120, 50, "last step", tone=MADE)
    drawing.arrow((200, 60), (200, 98))
    drawing.box(82, 100, 158, 50, "stopped", "Ctrl-C, killed, time up")
    drawing.arrow((240, 125), (256, 125), (256, 64), dashed=True)
    drawing.words(266, 112, "continue: as if", "start")
    drawing.words(266, 128, "never stopped", "start")
    drawing.arrow((370, 60), (370, 178))
    drawing.words(220, 174, "any checkpoint can be asked", bold=True)
    for k, (name, about) in enumerate((("sample", "a cohort"), ("evaluate", "scores"), ("attack", "privacy"))):
        drawing.box(10 + 145 * k, 184, 130, 50, name, about, tone=REAL)
        drawing.arrow((75 + 145 * k, 234), (75 + 145 * k, 268))
    drawing.box(10, 270, 420, 44, "report", "one page, for a reviewer")
    drawing.arrow((220, 314), (220, 342))
    drawing.box(10, 344, 130, 46, "release", "or the reasons not")
    drawing.box(155, 344, 130, 46, "pack", "a run as a file")
    drawing.box(300, 344, 130, 46, "export", "ONNX")
    drawing.save("life")


def lineage():
    """Draw a lineage: a run, two branches, and what can be merged."""
    drawing = Drawing(330, "Branches go on from a checkpoint of their parent; merge joins a line, or averages siblings")
    drawing.words(10, 40, "runs/icu", "start", bold=True)
    drawing.arrow((90, 36), (430, 36), tone=REAL)
    for k, step in enumerate((0, 500, 1000, 1500, 2000)):
        drawing.dot(100 + 75 * k, 36, REAL)
        drawing.words(100 + 75 * k, 18, f"{step:,}")
    drawing.arrow((250, 44), (250, 106), (430, 106), tone=MADE)
    drawing.dot(325, 106, MADE)
    drawing.dot(400, 106, MADE)
    drawing.words(240, 92, "runs/slow", "end", bold=True)
    drawing.words(240, 110, "branch --at 1000, another rate", "end")
    drawing.arrow((250, 106), (250, 176), (430, 176), tone=MADE)
    drawing.dot(325, 176, MADE)
    drawing.dot(400, 176, MADE)
    drawing.words(240, 162, "runs/ward2", "end", bold=True)
    drawing.words(240, 180, "branch --at 1000, other data", "end")
    drawing.box(10, 212, 420, 48, "merge runs/icu runs/slow", "a line: icu to 1,000, then slow, as one run", tone=REAL)
    drawing.box(
        10, 272, 420, 48, "merge --average runs/slow runs/ward2", "siblings: the mean of their weights", tone=MADE
    )
    drawing.save("lineage")


if __name__ == "__main__":
    for draw in (spaces, players, life, lineage):
        draw()
