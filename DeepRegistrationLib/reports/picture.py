"""A picture with what has to be said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .palette import Stop

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Legend:
    """What the colours of a map mean.

    stops       see palette.STOPS
    low, high   values at both ends of the colours; outside them the end's colour is drawn
    unit        "" or "mm"
    folded      True where values at or below 0 are drawn in palette.FOLDED
    """

    stops: Sequence[Stop]
    low: float
    high: float
    unit: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """title and caption are plain text; `png` is the whole file.

    Pictures of one `group` stand side by side under its heading, with the legend of the first one.
    """

    title: str
    png: bytes
    caption: str = ""
    group: str = ""
    legend: Legend | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels as the file says; None where it is no PNG."""
        if not self.png.startswith(_SIGNATURE) or len(self.png) < 24:
            return None
        return int.from_bytes(self.png[16:20], "big"), int.from_bytes(self.png[20:24], "big")
