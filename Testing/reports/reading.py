"""What a page says, as a browser would read it."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import SimpleITK as sitk

#: elements that have no end
_VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Elements in order as (tag, attributes), the text of the page, tables as lists of rows; checks the nesting."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self._open: list[str] = []
        self._caption, self._rows, self._cell = "", [], ""
        self.feed(source)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag in _VOID:
            return
        self._open.append(tag)
        if tag == "table":
            self._caption, self._rows = "", []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self._open and self._open[-1] == tag, f"</{tag}> ends {self._open[-3:]}"
        self._open.pop()
        if tag in ("td", "th"):
            self._rows[-1].append(self._cell.strip())
        elif tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data):
        if "caption" in self._open:
            self._caption += data
        if self._open and self._open[-1] not in ("style", "script"):
            self._cell += data
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every element of that name."""
        return [attributes for name, attributes in self.elements if name == tag]

    def references(self) -> list[str]:
        """Whatever the page would load or lead to."""
        names = ("src", "href", "srcset", "data", "action", "poster", "xlink:href")
        return [a[name] for _, a in self.elements for name in names if name in a]

    def pictures(self) -> dict[str, bytes]:
        """alt text -> PNG."""
        start = "data:image/png;base64,"
        return {a["alt"]: base64.b64decode(a["src"].removeprefix(start)) for a in self.all("img")}


def pixels(png: bytes, folder: Path) -> np.ndarray:
    """(H, W) or (H, W, 3), read by another library than the one that wrote it."""
    path = folder / "read.png"
    path.write_bytes(png)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
