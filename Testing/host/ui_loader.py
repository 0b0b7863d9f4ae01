"""Loads Designer files that use the widgets of CTK and of Slicer."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools

from .pythonqt import ignoring_new_attributes

# Classes that a .ui file may name besides Qt's own; filled by the modules that define them.
CUSTOM_WIDGETS: dict[str, type] = {}


def register(*classes: type) -> None:
    """Make widget classes known to .ui files under their own names."""
    CUSTOM_WIDGETS.update({cls.__name__: cls for cls in classes})


class QUiLoader(QtUiTools.QUiLoader):
    """As Qt's, but an unknown class or a connection that cannot be made raises instead of being passed over.

    Connections are made here and not by Qt, whose meta-object does not know the vtk types of the signals.
    """

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        cls = CUSTOM_WIDGETS.get(class_name)
        if cls is None:
            return super().createWidget(class_name, parent, name)
        widget = cls(parent)
        widget.objectName = name
        return widget

    def load(self, device: Any, parent: Any = None) -> Any:
        text = bytes(device.readAll()).decode("utf-8")
        root = ElementTree.fromstring(text)
        self._check_classes(root)
        _resolve_flags(root)
        connections = root.find("connections")
        if connections is not None:
            root.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root, encoding="utf-8"))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        with ignoring_new_attributes():
            widget = super().load(buffer, parent)
        if widget is None:
            raise RuntimeError(f"Qt could not build the user interface: {self.errorString()}")
        for connection in [] if connections is None else connections.findall("connection"):
            _make_connection(widget, connection)
        return widget

    def _check_classes(self, root: ElementTree.Element) -> None:
        known = {*self.availableWidgets(), *CUSTOM_WIDGETS, "Line", "QAxWidget"}
        unknown = sorted({w.get("class", "") for w in root.iter("widget")} - known)
        if unknown:
            raise RuntimeError(f"The .ui file uses widget classes that are not known: {', '.join(unknown)}")


def _resolve_flags(root: ElementTree.Element) -> None:
    """Turn enumerators of the custom classes (`ctkPathLineEdit::Dirs`) into numbers, which Qt can read."""
    for widget in root.iter("widget"):
        for prop in widget.findall("property"):
            for value in [*prop.findall("set"), *prop.findall("enum")]:
                words = [word.split("::") for word in (value.text or "").split("|")]
                if all(len(w) == 2 and w[0] in CUSTOM_WIDGETS for w in words):
                    flags = 0
                    for class_name, name in words:
                        flags |= int(getattr(CUSTOM_WIDGETS[class_name], name))
                    value.tag, value.text = "number", str(flags)


def _make_connection(root: Any, connection: ElementTree.Element) -> None:
    def text(tag: str) -> str:
        found = connection.findtext(tag)
        if not found:
            raise RuntimeError(f"A connection of the .ui file has no {tag}")
        return found

    def find(name: str) -> Any:
        found = root if root.objectName == name else root.findChild(QtCore.QObject, name)
        if found is None:
            raise RuntimeError(f"A connection of the .ui file names '{name}', which is not in the file")
        return found

    sender, receiver = find(text("sender")), find(text("receiver"))
    slot = text("slot").split("(")[0]
    if not callable(getattr(receiver, slot, None)):
        raise RuntimeError(f"'{text('receiver')}' has no slot {text('slot')}, to which the .ui file connects")
    sender.connect(text("signal"), receiver, text("slot"))
