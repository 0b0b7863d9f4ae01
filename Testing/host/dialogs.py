"""Modal dialogs answer at once instead of waiting for a click, and leave a record that tests can look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PySide6 import QtWidgets


@dataclass(frozen=True)
class Popup:
    """One modal dialog that a user would have had to close. `kind` is the method or class that opened it."""

    kind: str
    title: str
    text: str
    answer: Any


class Popups:
    """Record of the dialogs opened so far, and what the next ones will be answered with."""

    def __init__(self) -> None:
        self.opened: list[Popup] = []
        self._answers: list[Any] = []

    def answer_next(self, *answers: Any) -> None:
        """Answers of the next dialogs, in order; after them every dialog gets its default again."""
        self._answers.extend(answers)

    def clear(self) -> None:
        self.opened.clear()
        self._answers.clear()

    def record(self, kind: str, title: str, text: str, default: Any) -> Any:
        answer = self._answers.pop(0) if self._answers else default
        self.opened.append(Popup(kind, title, text, answer))
        return answer


popups = Popups()


def _default_button(buttons: Any, chosen: Any) -> Any:
    """What Enter would press: the chosen default, else the first of the agreeing buttons, else any."""
    no_button = QtWidgets.QMessageBox.StandardButton.NoButton
    if chosen not in (None, no_button):
        return chosen
    names = ("Ok", "Yes", "Retry", "Close", "Cancel", "No")
    for button in (getattr(QtWidgets.QMessageBox.StandardButton, name) for name in names):
        if buttons & button:
            return button
    return buttons


class QMessageBox(QtWidgets.QMessageBox):
    """A message box that is answered by its default button as soon as it is run."""

    @staticmethod
    def _static(kind: str, arguments: tuple[Any, ...], buttons: Any) -> Any:
        _parent, title, text, *rest = arguments
        buttons = rest[0] if rest else buttons
        return popups.record(kind, title, text, _default_button(buttons, rest[1] if len(rest) > 1 else None))

    @staticmethod
    def information(*arguments: Any) -> Any:
        return QMessageBox._static("information", arguments, QMessageBox.StandardButton.Ok)

    @staticmethod
    def warning(*arguments: Any) -> Any:
        return QMessageBox._static("warning", arguments, QMessageBox.StandardButton.Ok)

    @staticmethod
    def critical(*arguments: Any) -> Any:
        return QMessageBox._static("critical", arguments, QMessageBox.StandardButton.Ok)

    @staticmethod
    def question(*arguments: Any) -> Any:
        both = QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No
        return QMessageBox._static("question", arguments, both)

    @staticmethod
    def about(parent: Any, title: str, text: str) -> None:
        popups.record("about", title, text, None)

    def exec(self) -> Any:
        default = _default_button(self.standardButtons, None)
        return popups.record(type(self).__name__, self.windowTitle, self.text, default)

    exec_ = exec

    def open(self, *_: Any) -> None:
        self.exec()


class QFileDialog(QtWidgets.QFileDialog):
    """A file dialog that is cancelled unless the test has prepared an answer."""

    @staticmethod
    def getOpenFileName(parent: Any = None, caption: str = "", directory: str = "", *_: Any) -> str:
        return popups.record("getOpenFileName", caption, directory, "")

    @staticmethod
    def getSaveFileName(parent: Any = None, caption: str = "", directory: str = "", *_: Any) -> str:
        return popups.record("getSaveFileName", caption, directory, "")

    @staticmethod
    def getExistingDirectory(parent: Any = None, caption: str = "", directory: str = "", *_: Any) -> str:
        return popups.record("getExistingDirectory", caption, directory, "")

    @staticmethod
    def getOpenFileNames(
        parent: Any = None, caption: str = "", directory: str = "", *_: Any
    ) -> tuple[str, ...]:
        return popups.record("getOpenFileNames", caption, directory, ())


class QInputDialog(QtWidgets.QInputDialog):
    """An input dialog that keeps the given text unless the test has prepared an answer."""

    @staticmethod
    def getText(parent: Any, title: str, label: str, mode: Any = None, text: str = "", *_: Any) -> str:
        return popups.record("getText", title, label, text)


class QDialog(QtWidgets.QDialog):
    """A dialog that is accepted as soon as it is run."""

    def exec(self) -> Any:
        default = int(QtWidgets.QDialog.DialogCode.Accepted.value)
        return popups.record(type(self).__name__, self.windowTitle, "", default)

    exec_ = exec
