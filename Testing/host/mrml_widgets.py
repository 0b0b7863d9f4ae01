"""Plain widgets of Slicer that know the scene."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from .ctk_numbers import ctkDoubleSpinBox, ctkSliderWidget
from .widget_properties import stored


class qMRMLWidget(QtWidgets.QWidget):
    """Base of a module's .ui file; hands the scene on to the widgets that are connected to it."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(qMRMLWidget):
    """Slicer's own name for the same idea."""


class qMRMLSliderWidget(ctkSliderWidget):
    """A slider that can show the scene's unit of a quantity."""

    quantity = stored(str, "quantity", "")

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene


class qMRMLSpinBox(ctkDoubleSpinBox):
    """A spin box that can show the scene's unit of a quantity."""

    quantity = stored(str, "quantity", "")

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
