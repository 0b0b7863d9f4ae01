"""`slicer.app`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from .widget_properties import qt_property


class qSlicerApplication(QtWidgets.QApplication):
    """The part of Slicer's application that modules here use."""

    startupCompleted = QtCore.Signal()

    def _set_up(self, parts: Any, home: Path) -> None:
        from .io_manager import qSlicerCoreIOManager
        from .layout_manager import SliceLogics
        from .module_manager import qSlicerModuleManager

        self._parts, self._home = parts, home
        self._module_manager = qSlicerModuleManager()
        self._io_manager = qSlicerCoreIOManager(parts.mrml)
        self._views = SliceLogics(parts.mrml, parts.application_logic)
        self._layout_manager: Any = None
        self._testing = False

    temporaryPath = qt_property(str, lambda self: str(self._home / "temporary"))
    slicerHome = qt_property(str, lambda self: str(self._home))
    cachePath = qt_property(str, lambda self: str(self._home / "temporary"))
    majorVersion = qt_property(int, lambda self: 5)
    minorVersion = qt_property(int, lambda self: 12)
    revision = qt_property(str, lambda self: "0")
    os = qt_property(str, lambda self: "linux")
    arch = qt_property(str, lambda self: "amd64")
    documentationBaseUrl = qt_property(str, lambda self: "https://slicer.readthedocs.io/en/latest/")

    def mrmlScene(self) -> Any:
        return self._parts.mrml

    def applicationLogic(self) -> Any:
        return self._parts.application_logic

    def moduleLogic(self, name: str) -> Any:
        return self._parts.logics.get(name)

    def moduleManager(self) -> Any:
        return self._module_manager

    def coreIOManager(self) -> Any:
        return self._io_manager

    def ioManager(self) -> Any:
        return self._io_manager

    def layoutManager(self) -> Any:
        # Made when first asked for: most tests draw nothing.
        if self._layout_manager is None:
            from .layout_manager import qSlicerLayoutManager

            self._layout_manager = qSlicerLayoutManager(self._views, self.applicationLogic())
        return self._layout_manager

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def settings(self) -> Any:
        return QtCore.QSettings()

    def userSettings(self) -> Any:
        return QtCore.QSettings()

    def testingEnabled(self) -> bool:
        return self._testing

    def translate(self, context: str, text: str) -> str:
        return text
