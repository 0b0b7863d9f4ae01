"""Slicer's main window: a module's panel on the left, the views on the right."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from .widget_properties import qt_property


class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):
    """Chooses the module whose panel is shown."""

    moduleSelected = QtCore.Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._selected = ""
        self._title = QtWidgets.QLabel("Modules:")
        self._name = QtWidgets.QComboBox()
        self._name.setMinimumWidth(220)
        self.addWidget(self._title)
        self.addWidget(self._name)
        self.movable = False

    selectedModule = qt_property(str, lambda self: self._selected)

    def selectModule(self, name: str) -> None:
        module = slicer.app.moduleManager().module(name)
        if module is None:
            raise RuntimeError(f"There is no module '{name}'")
        if name != self._selected:
            self._selected = name
            self._name.clear()
            self._name.addItem(module.icon, module.title or name)
            self.moduleSelected.emit(name)


class qSlicerMainWindow(QtWidgets.QMainWindow):
    """The window that `slicer.util.mainWindow()` finds."""

    def __init__(self, layout_manager: Any) -> None:
        super().__init__()
        self.objectName = "qSlicerMainWindow"
        self.windowTitle = "3D Slicer"
        self._entered: Any = None
        self._layout_manager = layout_manager
        self._selector = qSlicerModuleSelectorToolBar(self)
        self._selector.moduleSelected.connect(self._show_module)
        self.addToolBar(self._selector)
        self._scroll = QtWidgets.QScrollArea()
        self._scroll.widgetResizable = True
        self._scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._splitter = QtWidgets.QSplitter(QtCore.Qt.Orientation.Horizontal)
        self._splitter.addWidget(self._scroll)
        self._splitter.addWidget(layout_manager.viewport())
        layout_manager.viewport().show()
        self._splitter.setStretchFactor(1, 1)
        self.setCentralWidget(self._splitter)
        self.resize(1400, 860)

    def moduleSelector(self) -> Any:
        return self._selector

    def _show_module(self, name: str) -> None:
        self._leave()
        representation = slicer.app.moduleManager().module(name).widgetRepresentation()
        self._scroll.setWidget(representation)
        representation.installEventFilter(self)
        representation.show()
        representation.enter()
        self._entered = representation
        self._fit_panel()

    def _fit_panel(self) -> None:
        """The panel has no scroll bar below it: like Slicer's it is never narrower than its contents."""
        width = self._entered.minimumSizeHint().width() + self._scroll.verticalScrollBar().sizeHint().width()
        self._scroll.minimumWidth = width

    def eventFilter(self, watched: Any, event: Any) -> bool:
        if watched is self._entered and event.type() == QtCore.QEvent.Type.LayoutRequest:
            self._fit_panel()
        return False

    def _leave(self) -> None:
        if self._entered is not None:
            self._entered.removeEventFilter(self)
            self._entered.exit()
            self._scroll.takeWidget()
            self._entered.setParent(None)
            self._entered = None

    def _release(self) -> None:
        """Give back the widgets that outlive the window."""
        self._leave()
        self._layout_manager.viewport().setParent(None)
