"""The numbers of a result as rows of a small table: what, before, after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

Row = tuple[str, str, str]


def result_rows(metrics: Mapping[str, Any], provenance: Mapping[str, Any] | None = None) -> list[Row]:
    """Dice per segment, target registration error, folding, what the method itself tells, time; what was not
    measured has no row."""
    rows: list[Row] = []
    landmarks = metrics.get("landmarks")
    if landmarks:
        rows.append(_pair(_("Landmarks, mean distance (mm)"), landmarks, "mean_{}_mm", 2))
        rows.append(_pair(_("Landmarks, largest distance (mm)"), landmarks, "max_{}_mm", 2))
    segments = metrics.get("segments") or {}
    for name, scores in segments.items():
        if scores.get("dice_after") is not None or scores.get("dice_before") is not None:
            rows.append(_pair(_("Dice, {segment}").format(segment=name), scores, "dice_{}", 3))
    overlap = metrics.get("overlap")
    if overlap and overlap.get("count", 0) > 1:
        rows.append(_pair(_("Dice, mean"), overlap, "dice_mean_{}", 3))
    deformation = metrics.get("deformation")
    if deformation:
        rows.append((_("Folding (%)"), "", _number(deformation.get("folding_percent"), 4)))
        rows.append((_("Displacement, mean (mm)"), "", _number(deformation.get("displacement_mean_mm"), 1)))
    told = {} if (provenance or {}).get("chosen_alternative") else (provenance or {}).get("tables") or {}
    rows += _told(told)  # of the best of several candidates
    seconds = (provenance or {}).get("seconds")
    if seconds is not None:
        rows.append((_("Time (s)"), "", _number(seconds, 1)))
    return rows


def _told(numbers: Mapping[str, Any]) -> list[Row]:
    """What the method itself measured; a "... before" and its "... after" share a row."""
    rows = []
    for name, value in numbers.items():
        partner = name.replace(" before", " after", 1)
        if " after" in name and name.replace(" after", " before", 1) in numbers:
            continue
        title, texts = name, ("", _short(value))
        if partner != name and partner in numbers:
            title, texts = name.replace(" before", "", 1), (_short(value), _short(numbers[partner]))
        if any(texts):
            rows.append((title[:1].upper() + title[1:], *texts))
    return rows


def _short(value: Any) -> str:
    return "" if value is None else f"{float(value):.4g}"


def fill_table(table: qt.QTableWidget, rows: Sequence[Sequence[str]], heads: Sequence[str] = ()) -> None:
    """Show `rows` in a read-only table that is as high as its rows; heads: what, before, after where not given."""
    heads = heads or ("", _("Before"), _("After"))
    table.setColumnCount(len(heads))
    table.setHorizontalHeaderLabels(list(heads))
    table.setRowCount(len(rows))
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            item = qt.QTableWidgetItem(text)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            table.setItem(r, c, item)
    table.resizeColumnsToContents()
    table.horizontalHeader().setStretchLastSection(True)
    table.resizeRowsToContents()
    height = table.horizontalHeader().height + 4
    height += sum(table.rowHeight(r) for r in range(len(rows)))
    table.setFixedHeight(min(height, 260))


def time_left(seconds: float | None) -> str:
    """ "about 20 s left", or nothing where it cannot be guessed."""
    if seconds is None:
        return ""
    if seconds < 60:
        return _("about {count} s left").format(count=max(1, round(seconds)))
    return _("about {count} min left").format(count=round(seconds / 60))


def _pair(title: str, values: Mapping[str, Any], pattern: str, digits: int) -> Row:
    before, after = (_number(values.get(pattern.format(when)), digits) for when in ("before", "after"))
    return (title, before, after)


def _number(value: Any, digits: int) -> str:
    return "" if value is None else f"{float(value):.{digits}f}"
