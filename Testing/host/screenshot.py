"""Pictures of the window and of single views, as PNG files or as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PySide6 import QtCore, QtGui, QtWidgets


def window(main_window: Any, file: Path, size: tuple[int, int], panel_width: int) -> Path:
    """Bring the window to a size, let everything settle, draw the views anew and save a picture."""
    application = QtWidgets.QApplication.instance()
    main_window.resize(*size)
    for _ in range(3):
        application.processEvents()
        main_window._splitter.setSizes([panel_width, size[0] - panel_width])
    return save(grab(main_window), file)


def grab(widget: Any) -> QtGui.QImage:
    """A picture of a widget with its children."""
    for view in widget.findChildren(QtWidgets.QWidget):
        if hasattr(view, "scheduleRender"):
            view.scheduleRender()
    return widget.grab().toImage()


def save(image: QtGui.QImage, file: Path) -> Path:
    """Write a PNG; raises OSError where it cannot be written."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not image.save(str(file), "PNG"):
        raise OSError(f"The picture could not be written to {file}")
    return file


def array(image: QtGui.QImage) -> np.ndarray:
    """A picture as (height, width, 3) bytes of red, green, blue."""
    image = image.convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def view(widget: Any) -> np.ndarray:
    """What a slice view or a 3-D view shows now, drawn anew: (height, width, 3) bytes of red, green, blue."""
    return widget.viewWidget()._rgb()


def side_by_side(pictures: list[QtGui.QImage], columns: int, gap: int = 6) -> QtGui.QImage:
    """Equal pictures in rows of `columns`, on a dark ground."""
    width = max(p.width() for p in pictures)
    height = max(p.height() for p in pictures)
    rows = -(-len(pictures) // columns)
    sheet = QtGui.QImage(
        columns * (width + gap) - gap, rows * (height + gap) - gap, QtGui.QImage.Format.Format_RGB888
    )
    sheet.fill(QtGui.QColor("#2b2b2b"))
    painter = QtGui.QPainter(sheet)
    for index, picture in enumerate(pictures):
        picture.setDevicePixelRatio(1.0)
        left, top = (index % columns) * (width + gap), (index // columns) * (height + gap)
        painter.drawImage(QtCore.QPoint(left, top), picture)
    painter.end()
    return sheet
