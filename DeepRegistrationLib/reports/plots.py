"""Plots as SVG inside the page: horizontal bars and boxes, one row an item. They follow the page's colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .elements import number

_WIDTH = 430
_LONGEST_NAME = 22
_LETTER = 7.8
_ROW = 31
_TOP = 26
#: room for the number behind a bar
_RIGHT = 48
#: items a plot can show before its rows say nothing any more
_MOST_ITEMS = 60
_MOST_LANDMARKS = 25
_BOX = ("jacobian_p5", "jacobian_p25", "jacobian_p50", "jacobian_p75", "jacobian_p95")
#: Jacobians shown at the most; the rest is drawn at the edge
_LOWEST, _HIGHEST = -0.5, 3.0


class _Chart:
    """A frame with names on the left and a scale at the bottom; rows go from top to bottom."""

    def __init__(self, title: str, names: Sequence[str], low: float, high: float) -> None:
        self._title = title
        self._names = names
        self._low, self._high = low, high
        longest = max(min(len(name), _LONGEST_NAME) for name in names)
        self.left = 8 + _LETTER * longest
        self.right = _WIDTH - _RIGHT
        self.bottom = _TOP + _ROW * len(names)
        self._parts: list[str] = []

    def x(self, value: float) -> float:
        share = (min(max(value, self._low), self._high) - self._low) / (self._high - self._low)
        return self.left + share * (self.right - self.left)

    def row(self, k: int) -> float:
        """Upper edge of a row."""
        return _TOP + _ROW * k

    def add(self, part: str) -> None:
        self._parts.append(part)

    def rect(self, low: float, high: float, y: float, height: float, kind: str) -> None:
        a, b = self.x(low), self.x(high)
        self.add(f'<rect class="{kind}" x="{a:.1f}" y="{y:.1f}" width="{b - a:.1f}" height="{height:.1f}"/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self.add(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        style = f' class="{kind}"' if kind else ""
        self.add(f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

    def key(self, entries: Iterable[tuple[str, str]]) -> None:
        """What the colours stand for, above the rows: (class, words)."""
        x = self.left
        for kind, words in entries:
            self.add(f'<rect class="{kind}" x="{x:.1f}" y="6" width="11" height="11"/>')
            self.text(x + 16, 16, words)
            x += 30 + _LETTER * len(words)

    def svg(self, unit: str, marks: Sequence[float] = ()) -> str:
        frame = [f"<title>{escape(self._title)}</title>"]
        for value in _ticks(self._low, self._high):
            x = self.x(value)
            frame.append(f'<line class="axis" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{self.bottom}"/>')
            frame.append(
                f'<text class="tick" x="{x:.1f}" y="{self.bottom + 14}" text-anchor="middle">{number(value)}</text>'
            )
        for value in marks:
            x = self.x(value)
            frame.append(f'<line class="mark" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{self.bottom}"/>')
        for k, name in enumerate(self._names):
            short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "\u2026"
            frame.append(
                f'<text x="{self.left - 6:.1f}" y="{self.row(k) + _ROW / 2 + 4:.1f}" text-anchor="end">'
                f"{escape(short)}<title>{escape(name)}</title></text>"
            )
        height = self.bottom + 34
        middle = (self.left + self.right) / 2
        frame.append(f'<text class="tick" x="{middle:.1f}" y="{height - 5}" text-anchor="middle">{escape(unit)}</text>')
        return (
            f'<svg class="plot" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(self._title)}; '
            f'the numbers are in the table">{"".join(frame)}{"".join(self._parts)}</svg>'
        )


def dice_bars(segments: Mapping[str, Mapping[str, Any]]) -> str:
    """Dice of every segment before and after, 0 to 1; "" where none was measured."""
    rows = [(name, _number(s.get("dice_before")), _number(s.get("dice_after"))) for name, s in segments.items()]
    rows = [row for row in rows if row[1] is not None or row[2] is not None]
    return _bars("Overlap (Dice) of each segment before and after", rows, "Dice (1 = the same)", 1.0, "{:.2f}")


def landmark_bars(landmarks: Mapping[str, Any] | None) -> str:
    """TRE of every landmark before and after, the worst after first; "" where there are none."""
    rows = sorted(landmark_rows(landmarks), key=lambda row: -(row[2] or 0.0))
    most = max((v for row in rows for v in row[1:] if v is not None), default=0.0)
    return _bars(
        "Distance of each landmark to its partner (TRE) before and after, the worst first",
        rows,
        "TRE (mm)",
        most or 1.0,
        "{:.1f}",
        _MOST_LANDMARKS,
    )


def landmark_rows(landmarks: Mapping[str, Any] | None) -> list[tuple[str, float | None, float | None]]:
    """(name, before, after) of every landmark, in mm."""
    if not landmarks or not landmarks.get("count"):
        return []
    names = landmarks.get("names") or []
    pairs = zip(landmarks.get("before_mm") or [], landmarks.get("after_mm") or [], strict=False)
    return [
        (str(names[k]) if k < len(names) and names[k] else f"Point {k + 1}", _number(before), _number(after))
        for k, (before, after) in enumerate(pairs)
    ]


def _bars(
    title: str,
    rows: Sequence[tuple[str, float | None, float | None]],
    unit: str,
    high: float,
    form: str,
    count: int = _MOST_ITEMS,
) -> str:
    if not rows:
        return ""
    rows, left_out = rows[:count], len(rows) - count
    chart = _Chart(title, [name for name, _, _ in rows], 0.0, high)
    chart.key((("before", "before"), ("after", "after")))
    for k, (_, before, after) in enumerate(rows):
        y = chart.row(k) + 3
        for value, kind, offset in ((before, "before", 0), (after, "after", 12)):
            if value is not None:
                chart.rect(0.0, value, y + offset, 11, kind)
                chart.text(chart.x(value) + 4, y + offset + 10.5, form.format(value), "tick")
    return chart.svg(unit) + _more(left_out)


def jacobian_boxes(segments: Mapping[str, Mapping[str, Any]]) -> str:
    """Jacobians inside every segment: 25th to 75th percentile as a box, 5th to 95th as a line, median, smallest."""
    rows = []
    for name, scores in segments.items():
        shares = [_number(scores.get(key)) for key in _BOX]
        if all(share is not None for share in shares):
            rows.append((name, [share or 0.0 for share in shares], _number(scores.get("jacobian_min"))))
    if not rows:
        return ""
    rows, left_out = rows[:_MOST_ITEMS], len(rows) - _MOST_ITEMS
    values = [v for _, shares, least in rows for v in (*shares, least) if v is not None]
    low = max(_LOWEST, min(0.0, *values))
    high = min(_HIGHEST, max(2.0, *values))
    chart = _Chart("Change of volume (Jacobian) inside each segment", [name for name, _, _ in rows], low, high)
    chart.key((("box", "middle half"), ("folded", "folded")))
    if low < 0:
        chart.rect(low, 0.0, chart.row(0), chart.bottom - chart.row(0), "zone")
    for k, (_, (p5, p25, p50, p75, p95), least) in enumerate(rows):
        y = chart.row(k) + _ROW / 2
        chart.line(chart.x(p5), y, chart.x(p95), y, "line")
        chart.rect(p25, p75, y - 8, 16, "box")
        chart.line(chart.x(p50), y - 9, chart.x(p50), y + 9, "median")
        if least is not None:
            kind = "folded" if least <= 0 else "after"
            chart.add(f'<circle class="{kind}" cx="{chart.x(least):.1f}" cy="{y:.1f}" r="3"/>')
            chart.text(chart.right + 6, y + 4, f"{least:.2f}", "tick")
    chart.text(_WIDTH - 2, 16, "smallest", "tick", "end")
    return chart.svg("Jacobian (1 = volume kept, 0 or less = folded)", (1.0,)) + _more(left_out)


def _more(left_out: int) -> str:
    return f"<p>{left_out} more are in the table.</p>" if left_out > 0 else ""


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 10) + 0.0 for k in range(first, last + 1)]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)
