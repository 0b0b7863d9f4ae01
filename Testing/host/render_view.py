"""A Qt widget that shows what VTK draws into an offscreen window."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from .widget_properties import qt_property, stored


class ctkVTKAbstractView(QtWidgets.QWidget):
    """Window, renderer and interactor; draws when it is painted, grabbed or told to."""

    renderEnabled = stored(bool, "renderEnabled", True)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        # The generic one asks for no display.
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._annotation = vtk.vtkCornerAnnotation()
        # Points, which the window's resolution turns into pixels.
        self._annotation.SetMaximumFontSize(12)
        self._annotation.SetMinimumFontSize(12)
        self._annotation.SetMaximumLineHeight(1.0)
        self._annotation.SetNonlinearFontScaleFactor(1.0)
        self._annotation.GetTextProperty().ShadowOn()
        self._renderer.AddViewProp(self._annotation)
        self._image: QtGui.QImage | None = None
        self._pixels: np.ndarray | None = None
        self.setMinimumSize(80, 80)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Expanding)

    def renderWindow(self) -> Any:
        return self._window

    def interactor(self) -> Any:
        return self._interactor

    def interactorStyle(self) -> Any:
        return self._interactor.GetInteractorStyle()

    def cornerAnnotation(self) -> Any:
        return self._annotation

    def _corner_text(self) -> str:
        return self._annotation.GetText(2) or ""

    def setCornerAnnotationText(self, text: str) -> None:
        self._annotation.ClearAllTexts()
        self._annotation.SetText(2, text)
        self.scheduleRender()

    cornerAnnotationText = qt_property(str, _corner_text, setCornerAnnotationText)

    def scheduleRender(self) -> None:
        self._image = None
        self.update()

    def forceRender(self) -> None:
        self._render()
        self.update()

    def _device_size(self) -> tuple[int, int]:
        ratio = self.devicePixelRatioF()
        return max(1, round(self.width * ratio)), max(1, round(self.height * ratio))

    def _resized(self, width: int, height: int) -> None:
        """Overridden by views whose node keeps their size."""

    def _render(self) -> None:
        width, height = self._device_size()
        ratio = self.devicePixelRatioF()
        if tuple(self._window.GetSize()) != (width, height):
            self._window.SetSize(width, height)
        self._window.SetDPI(round(72 * ratio))
        self._resized(width, height)
        self._window.Render()
        pixels = vtk.vtkUnsignedCharArray()
        self._window.GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, pixels)
        array = vtk_to_numpy(pixels).reshape(height, width, 4)[::-1, :, :3]
        self._pixels = np.ascontiguousarray(array)
        image = QtGui.QImage(
            self._pixels.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888
        ).copy()
        image.setDevicePixelRatio(ratio)
        self._image = image

    def _rgb(self) -> np.ndarray:
        """The picture as it is now: (height, width, 3) bytes, first row on top."""
        self._render()
        assert self._pixels is not None
        return self._pixels.copy()

    def paintEvent(self, event: Any) -> None:
        if self._image is None and self.renderEnabled:
            self._render()
        if self._image is not None:
            QtGui.QPainter(self).drawImage(QtCore.QPoint(0, 0), self._image)

    def resizeEvent(self, event: Any) -> None:
        self._image = None
