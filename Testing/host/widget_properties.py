"""Short spelling of the Qt properties of the stand-in's own widgets.

Properties stand in the class body: QUiLoader would make dynamic ones of those it does not find there.
"""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore

from .pythonqt import register_setter


def qt_property(kind: Any, read: Any, write: Any = None, notify: Any = None) -> Any:
    """A Qt property of a Python class, read-only where `write` is None."""
    more = {} if notify is None else {"notify": notify}
    found = QtCore.Property(kind, read, write, **more)
    register_setter(found, write)
    return found


def stored(kind: Any, name: str, default: Any) -> Any:
    """A property that only remembers its value."""
    key = "_" + name

    def read(self: Any) -> Any:
        return getattr(self, key, default)

    def write(self: Any, value: Any) -> None:
        setattr(self, key, value)

    return qt_property(kind, read, write)


def forwarded(kind: Any, child: str, name: str) -> Any:
    """A property of an inner widget, kept in the private attribute `child`."""

    def read(self: Any) -> Any:
        return getattr(getattr(self, child), name)

    def write(self: Any, value: Any) -> None:
        setattr(getattr(self, child), name, value)

    return qt_property(kind, read, write)
