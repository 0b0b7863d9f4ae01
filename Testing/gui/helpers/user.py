"""A user in front of one of the modules."""

from __future__ import annotations

from typing import Any


class User:
    """What users of every panel do and see."""

    def __init__(self, host: Any, loaded: Any) -> None:
        self.host, self.loaded = host, loaded

    @property
    def widget(self) -> Any:
        return self.loaded.widget

    @property
    def ui(self) -> Any:
        return self.widget.ui

    @property
    def panel(self) -> Any:
        return self.widget.panel

    @property
    def parameters(self) -> Any:
        return self.widget._parameterNode

    def open(self) -> None:
        self.loaded.representation.show()
        self.widget.parent.enter()

    @staticmethod
    def pick(box: Any, title: str) -> None:
        titles = [box.itemText(k) for k in range(box.count)]
        box.setCurrentIndex(titles.index(title))
