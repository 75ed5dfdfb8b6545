"""How things show themselves in a notebook: small tables that read well on light and on dark pages, without scripts.

Colours are the page's own, but for two that say good and bad; lines are half transparent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

STYLE = Markup("""<style>
.vitalsynth{max-width:64em;color:inherit;font-size:13px;line-height:1.45}
.vitalsynth .head{font-weight:600}
.vitalsynth .head small,.vitalsynth .note{font-weight:400;opacity:.8;font-size:12px}
.vitalsynth .wide{overflow-x:auto}
.vitalsynth .wide table{border-collapse:collapse;border:0;margin:.3em 0 .5em;font-size:12px;color:inherit}
.vitalsynth.vitalsynth .wide tr,.vitalsynth.vitalsynth .wide thead{background:none;border:0}
.vitalsynth.vitalsynth .wide :is(td,th){border:0;border-bottom:1px solid rgba(128,128,128,.3);padding:.2em .9em .2em 0;
text-align:left;vertical-align:top;white-space:nowrap;color:inherit;max-width:none}
.vitalsynth.vitalsynth .wide th{font-weight:600}
.vitalsynth.vitalsynth .wide .long{white-space:normal;min-width:16em}
.vitalsynth.vitalsynth .wide .number{text-align:right;font-variant-numeric:tabular-nums}
.vitalsynth svg{display:block;overflow:visible;margin-top:.2em}
.vitalsynth progress{width:14em;vertical-align:middle;accent-color:#0072b2}
.vitalsynth :is(.good,.fair,.bad,.unknown)::before{content:"";display:inline-block;width:.65em;height:.65em;
border-radius:50%;margin-right:.5em;background:#999}
.vitalsynth .good::before{background:#009e73}.vitalsynth .fair::before{background:#e69f00}
.vitalsynth .bad::before{background:#d55e00}
.vitalsynth .pictures{display:flex;flex-wrap:wrap;gap:6px;margin:.3em 0}
.vitalsynth figure{flex:0 1 370px;margin:0;background:#fff;color:#333;border-radius:4px;padding:4px;
box-sizing:border-box}
.vitalsynth figure img{display:block;max-width:100%;height:auto;margin:0}
.vitalsynth figcaption{font-size:12px;text-align:center}
</style>""")


def block(head: str, note: str = "", *parts: str) -> str:
    """Return a heading with a note beside it, and what comes below."""
    beside = Markup(" <small>{}</small>").format(note) if note else ""
    inner = Markup("").join(parts)
    return Markup('{}<div class="vitalsynth"><div class="head">{}{}</div>{}</div>').format(STYLE, head, beside, inner)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = (), long: int = -1) -> Markup:
    """Lay out a table; what is not markup is escaped.

    Args:
        head: Titles of the columns; none if all are empty.
        rows: Their cells.
        numbers: Columns that are set to the right.
        long: A column whose text may wrap.
    """
    classes = {**dict.fromkeys(numbers, Markup(' class="number"')), long: Markup(' class="long"')}

    def row(cells: Sequence[str], tag: str) -> Markup:
        inner = (Markup("<{0}{1}>{2}</{0}>").format(tag, classes.get(k, ""), cell) for k, cell in enumerate(cells))
        return Markup("<tr>{}</tr>").format(Markup("").join(inner))

    top = Markup("<thead>{}</thead>").format(row(head, "th")) if any(head) else ""
    body = Markup("").join(row(cells, "td") for cells in rows)
    return Markup('<div class="wide"><table>{}<tbody>{}</tbody></table></div>').format(top, body)


def line(values: Sequence[float | None], width: int = 96, height: int = 16) -> Markup:
    """Draw numbers as a small line in the colour of the text; where one is None, it breaks."""
    known = [value for value in values if value is not None]
    if not known:
        return Markup("")
    low, span = min(known), max(known) - min(known)
    parts: list[list[str]] = [[]]
    for k, value in enumerate(values):
        if value is None:
            parts.append([])
        else:
            x = width * k / max(len(values) - 1, 1)
            parts[-1].append(f"{x:.1f},{height * (1 - (value - low) / span if span else 0.5):.1f}")
    drawn = Markup("").join(
        Markup('<polyline points="{}"/>').format(" ".join(part if len(part) > 1 else part * 2))
        for part in parts
        if part
    )
    return Markup(
        '<svg width="{0}" height="{1}" viewBox="0 0 {0} {1}" fill="none" stroke="currentColor" stroke-width="1.5" '
        'stroke-linecap="round" aria-hidden="true">{2}</svg>'
    ).format(width, height, drawn)


def bar(at: float, total: float, text: str) -> Markup:
    """Return how far something has come, and words beside it."""
    return Markup('<progress value="{}" max="{}"></progress> {}').format(at, max(total, 1), text)


def toned(tone: str, text: str) -> Markup:
    """Return words after a dot that says good, fair, bad or unknown."""
    return Markup('<span class="{}">{}</span>').format(tone, text)


__all__ = ["Markup", "bar", "block", "escape", "line", "table", "toned"]
