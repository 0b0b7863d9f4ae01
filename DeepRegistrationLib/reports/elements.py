"""Pieces of a page: escaped text, tables, figures, legends. Everything given is plain text unless said otherwise."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from .palette import FOLDED, css
from .picture import Legend, Picture
from .style import STYLE
from .tables import Row

DASH = "\u2013"
#: rows from which on a table scrolls in a box of its own
_LONG = 30


def document(title: str, body: Iterable[str], script: str = "", wide: bool = False) -> str:
    """A whole page without anything from elsewhere, so that it can be mailed and archived. `body` is HTML.

    wide   for a table that needs the whole width of the window
    """
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        f"<body{_class('wide' if wide else '')}>",
        *(part for part in body if part),
        f"<script>{script}</script>" if script else "",
        "</body>",
        "</html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def section(title: str, *content: str) -> str:
    """A part of the page under its heading; nothing where there is no content (HTML)."""
    inner = "\n".join(part for part in content if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{inner}\n</section>" if inner else ""


def paragraph(text: str, kind: str = "") -> str:
    return f"<p{_class(kind)}>{escape(text)}</p>"


def bullets(sentences: Iterable[str], kind: str = "") -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in sentences)
    return f"<ul{_class(kind)}>{items}</ul>" if items else ""


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Row],
    digits: Sequence[int | None] | None = None,
    caption_hidden: bool = False,
) -> str:
    """Rows whose first cell is their head. It scrolls on its own where the page is narrow or the table long.

    digits           after the point, for each column behind the first; None for four significant ones
    caption_hidden   for eyes, where a heading says the same
    """
    lines = list(rows)
    forms = [None, *(digits or [None] * (len(heads) - 1))]
    numeric = [all(_is_number(row[k]) for row in lines) for k in range(len(heads))]
    kinds = [_class("number" if is_number else "") for is_number in numeric]
    head = "".join(f'<th scope="col"{kind}>{escape(text)}</th>' for text, kind in zip(heads, kinds, strict=True))
    body = []
    for row in lines:
        cells = (f"<td{kinds[k]}>{escape(_cell(row[k], forms[k]))}</td>" for k in range(1, len(heads)))
        body.append(f'<tr><th scope="row">{escape(shown(row[0]))}</th>{"".join(cells)}</tr>')
    inner = "\n".join(body)
    long = len(lines) > _LONG
    said = f"{caption} ({len(lines)} rows)" if long else caption
    return (
        f'<div class="scroll{" long" if long else ""}" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f"<table><caption{_class('hidden' if caption_hidden else '')}>{escape(said)}</caption>"
        f"<thead><tr>{head}</tr></thead>\n<tbody>{inner}</tbody></table></div>"
    )


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _cell(value: Any, digits: int | None) -> str:
    return f"{value:.{digits}f}" if digits is not None and isinstance(value, float) else shown(value)


def shown(value: Any) -> str:
    """A value as people read it: four digits, a dash for what is not known."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value)) or DASH
    return str(value) or DASH


def number(value: float) -> str:
    """Four digits; whole numbers of up to seven digits as they are, never 1e+04."""
    text = f"{value:.4g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e7 else text


def brief(value: float) -> str:
    """Two digits, for numbers that stand alone."""
    if 0 < abs(value) < 0.001:
        return "less than 0.001"
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"


def tiles(entries: Iterable[tuple[str, str, str]]) -> str:
    """(name, value, remark): the few numbers to read first."""
    inner = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd><dd class=remark>{escape(remark)}</dd></div>"
        for name, value, remark in entries
    )
    return f'<dl class="tiles">{inner}</dl>' if inner else ""


def figures(pictures: Sequence[Picture]) -> str:
    """Pictures side by side; those of one group under its heading, with one legend."""
    groups: dict[str, list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(picture.group, []).append(picture)
    return "\n".join(_group(name, together, f"shades-{k}") for k, (name, together) in enumerate(groups.items()))


def _group(name: str, pictures: Sequence[Picture], shades: str) -> str:
    captions = {picture.caption for picture in pictures}
    common = captions.pop() if name and len(captions) == 1 else ""
    parts = [f"<h3>{escape(name)}</h3>" if name else "", paragraph(common) if common else ""]
    if pictures[0].legend is not None:
        parts.append(legend(pictures[0].legend, shades))
    parts.append('<div class="pictures">')
    parts += [_figure(picture, with_caption=not common) for picture in pictures]
    parts.append("</div>")
    return '<div class="group">' + "\n".join(part for part in parts if part) + "</div>"


def _figure(picture: Picture, with_caption: bool) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    size = picture.size
    measures = f' width="{size[0]}" height="{size[1]}"' if size else ""
    # widths side by side are in proportion, so that slices of one scan have one scale
    share = f' style="--width:{size[0]}"' if size else ""
    text = picture.title + (f". {picture.caption}" if picture.caption else "")
    below = text if with_caption else picture.title
    return (
        f'<figure{share}><img src="data:image/png;base64,{data}" alt="{escape(text)}"{measures}>'
        f"<figcaption>{escape(below)}</figcaption></figure>"
    )


def beside(*content: str) -> str:
    """HTML side by side where there is room; what is empty is left out."""
    inner = "\n".join(f"<div>{part}</div>" for part in content if part)
    return f'<div class="beside">{inner}</div>' if inner else ""


def plot(heading: str, words: str, svg: str) -> str:
    """A plot under its heading; nothing without a plot."""
    return f"<h3>{escape(heading)}</h3>{paragraph(words)}{svg}" if svg else ""


def legend(content: Legend, name: str) -> str:
    """A bar of the colours with the numbers at its ends and in its middle, as SVG. `name` is its own on the page."""
    unit = f" {content.unit}" if content.unit else ""
    values = (content.low, (content.low + content.high) / 2, content.high)
    ends = [f"{value:.3g}{unit}" for value in values]
    stops = "".join(f'<stop offset="{place:.4g}" stop-color="{css(colour)}"/>' for place, colour in content.stops)
    left = 70 if content.folded else 0
    said = f"Colours from {ends[0]} to {ends[2]}"
    parts = [
        f'<svg class="legend" viewBox="0 0 {left + 260} 40" role="img" aria-label="{escape(said)}'
        f'{"; magenta: folded" if content.folded else ""}">',
        f'<defs><linearGradient id="{name}">{stops}</linearGradient></defs>',
        f'<rect x="{left + 10}" y="2" width="240" height="16" fill="url(#{name})"/>',
    ]
    if content.folded:
        parts.append(
            f'<rect x="4" y="2" width="44" height="16" fill="{css(FOLDED)}"/>'
            '<text x="26" y="34" text-anchor="middle">folded</text>'
        )
    for k, text in enumerate(ends):
        anchor = ("start", "middle", "end")[k]
        x = left + (4, 130, 256)[k]
        parts.append(f'<text x="{x}" y="34" text-anchor="{anchor}">{escape(text)}</text>')
    return "".join(parts) + "</svg>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
