"""Text, choice and path widgets of CTK."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from . import dialogs
from .widget_properties import forwarded, qt_property, stored


class ctkComboBox(QtWidgets.QComboBox):
    """A combo box that can show a text while nothing is chosen."""

    defaultText = stored(str, "defaultText", "")
    forceDefault = stored(bool, "forceDefault", False)
    elideMode = stored(int, "elideMode", 3)
    scrollWheelEffect = stored(int, "scrollWheelEffect", 1)


class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """A text browser as high as its text."""

    collapsed = stored(bool, "collapsed", True)
    disableMouseScroll = stored(bool, "disableMouseScroll", False)
    showDetailsText = stored(str, "showDetailsText", "Show details...")
    hideDetailsText = stored(str, "hideDetailsText", "Hide details.")

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setVerticalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self.textChanged.connect(self._fit)

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        document = self.document.clone()
        document.setTextWidth(self.viewport().width)
        self.setFixedHeight(int(document.size().height()) + 2 * self.frameWidth)


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path with completion and a button that browses for it."""

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)
    label = stored(str, "label", "")
    filters = stored(int, "filters", 7)
    options = stored(int, "options", 0)
    settingKey = stored(str, "settingKey", "")
    nameFilters = stored("QStringList", "nameFilters", [])
    showHistoryButton = stored(bool, "showHistoryButton", True)
    minimumContentsLength = stored(int, "minimumContentsLength", 0)
    sizeAdjustPolicy = stored(int, "sizeAdjustPolicy", 0)
    Dirs, Files, Drives, NoSymLinks, AllEntries = 0x001, 0x002, 0x004, 0x008, 0x007
    Readable, Writable, Executable, Hidden = 0x010, 0x020, 0x040, 0x100

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.editable = True
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self._button = QtWidgets.QToolButton(self)
        self._button.text = "..."
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        layout.addWidget(self._button)
        self._combo.editTextChanged.connect(self.currentPathChanged)
        self._button.clicked.connect(lambda: self.browse())

    def _current_path(self) -> str:
        return self._combo.currentText

    def setCurrentPath(self, path: str) -> None:
        self._combo.setEditText(path)

    def _browse_visible(self) -> bool:
        return not self._button.isHidden()

    def _set_browse_visible(self, value: bool) -> None:
        self._button.setVisible(value)

    currentPath = qt_property(str, _current_path, setCurrentPath)
    showBrowseButton = qt_property(bool, _browse_visible, _set_browse_visible)

    def comboBox(self) -> Any:
        return self._combo

    def browse(self) -> None:
        only_folders = self.filters & self.Dirs and not self.filters & self.Files
        dialog = dialogs.QFileDialog
        ask = dialog.getExistingDirectory if only_folders else dialog.getOpenFileName
        chosen = ask(self, self.label, self.currentPath)
        if chosen:
            self.setCurrentPath(chosen)

    def addCurrentPathToHistory(self) -> None:
        if self._combo.findText(self.currentPath) < 0:
            path = self.currentPath
            self._combo.insertItem(0, path)
            self._combo.setEditText(path)


class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that shows a folder and browses for another."""

    directoryChanged = QtCore.Signal(str)
    directorySelected = QtCore.Signal(str)
    caption = stored(str, "caption", "")
    text = forwarded(str, "_button", "text")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None))
        self._folder = QtCore.QDir.currentPath()
        self._button = QtWidgets.QPushButton(self._folder, self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        self._button.clicked.connect(lambda: self.browse())

    def _directory(self) -> str:
        return self._folder

    def setDirectory(self, folder: str) -> None:
        if folder != self._folder:
            self._folder = folder
            self._button.text = folder
            self.directoryChanged.emit(folder)

    directory = qt_property(str, _directory, setDirectory)

    def browse(self) -> None:
        chosen = dialogs.QFileDialog.getExistingDirectory(self, self.caption, self._folder)
        if chosen:
            self.setDirectory(chosen)
            self.directorySelected.emit(chosen)


class ctkMessageBox(dialogs.QMessageBox):
    """A message box that can offer not to be shown again."""

    dontShowAgain = stored(bool, "dontShowAgain", False)
    dontShowAgainSettingsKey = stored(str, "dontShowAgainSettingsKey", "")
    dontShowAgainVisible = stored(bool, "dontShowAgainVisible", False)
