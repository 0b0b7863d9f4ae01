"""Pictures side by side, with a caption over every row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui

from host.screenshot import save

_GAP, _CAPTION = 6, 34
_GROUND, _INK = "#1e1e1e", "#e8e8e8"


def sheet(rows: dict[str, list[Any]], file: Path) -> Path:
    """Write a picture: caption -> pictures of one row. Pictures may differ in size."""
    width = max(sum(p.width() for p in row) + _GAP * (len(row) - 1) for row in rows.values())
    height = sum(max(p.height() for p in row) + _CAPTION + _GAP for row in rows.values()) - _GAP
    image = QtGui.QImage(width, height, QtGui.QImage.Format.Format_RGB888)
    image.fill(QtGui.QColor(_GROUND))
    painter = QtGui.QPainter(image)
    painter.setPen(QtGui.QColor(_INK))
    font = painter.font()
    font.setPixelSize(17)
    painter.setFont(font)
    top = 0
    for caption, row in rows.items():
        middle = int(QtCore.Qt.AlignmentFlag.AlignVCenter.value)
        painter.drawText(QtCore.QRect(10, top, width - 20, _CAPTION), middle, caption)
        left = 0
        for picture in row:
            picture.setDevicePixelRatio(1.0)
            painter.drawImage(QtCore.QPoint(left, top + _CAPTION), picture)
            left += picture.width() + _GAP
        top += _CAPTION + max(p.height() for p in row) + _GAP
    painter.end()
    return save(image, file)
