"""The module `qt`: every Q* class, dialogs that do not wait, and a loader that knows Slicer's widgets."""

from __future__ import annotations

import sys
from types import ModuleType

from PySide6 import QtCore, QtGui, QtWidgets

from . import dialogs
from .ui_loader import QUiLoader


def build() -> ModuleType:
    """Make the module and register it under its name, so that `import qt` finds it."""
    module = ModuleType("qt", "Stand-in for Slicer's module qt on PySide6.")
    for source in (QtCore, QtGui, QtWidgets):
        # Only Q*: Signal, Slot and Property of PySide do not exist in PythonQt.
        for name in dir(source):
            if name.startswith("Q"):
                setattr(module, name, getattr(source, name))
    for replacement in (
        dialogs.QDialog,
        dialogs.QMessageBox,
        dialogs.QFileDialog,
        dialogs.QInputDialog,
        QUiLoader,
    ):
        setattr(module, replacement.__name__, replacement)
    sys.modules["qt"] = module
    return module
