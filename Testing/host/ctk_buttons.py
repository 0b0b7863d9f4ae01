"""Buttons and foldable boxes of CTK."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .widget_properties import qt_property, stored

_HEADER_PADDING = 8


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A titled section whose contents fold away. Its title is a button; its children are the contents."""

    contentsCollapsed = QtCore.Signal(bool)
    collapsedHeight = stored(int, "collapsedHeight", 10)
    flat = stored(bool, "flat", False)

    def __init__(self, *arguments: Any) -> None:
        text = next((a for a in arguments if isinstance(a, str)), "")
        parent = next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None)
        super().__init__(parent)
        self.text = text
        self.checkable = True
        self.checked = True
        self._hidden_by_me: list[QtWidgets.QWidget] = []
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Fixed)
        self.setContentsMargins(0, self._header_height(), 0, 0)
        self.toggled.connect(self._fold)

    def _is_collapsed(self) -> bool:
        return not self.checked

    def _set_collapsed(self, value: bool) -> None:
        self.checked = not value

    collapsed = qt_property(bool, _is_collapsed, _set_collapsed)

    def setCollapsed(self, value: bool) -> None:
        self.checked = not value

    def _header_height(self) -> int:
        return self.fontMetrics().height() + _HEADER_PADDING

    def _fold(self, opened: bool) -> None:
        if opened:
            for child in self._hidden_by_me:
                child.show()
            self._hidden_by_me = []
            self.maximumHeight = 16777215
        else:
            children = [c for c in self.children() if isinstance(c, QtWidgets.QWidget)]
            self._hidden_by_me = [c for c in children if not c.isHidden()]
            for child in self._hidden_by_me:
                child.hide()
            self.maximumHeight = self._header_height()
        self.updateGeometry()
        self.contentsCollapsed.emit(not opened)

    def hitButton(self, position: Any) -> bool:
        return position.y() < self._header_height()

    def paintEvent(self, event: Any) -> None:
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, self._header_height())
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        size = self._header_height() // 2
        arrow.rect = QtCore.QRect(6, (self._header_height() - size) // 2, size, size)
        style = QtWidgets.QStyle.PrimitiveElement
        painter.drawPrimitive(
            style.PE_IndicatorArrowDown if self.checked else style.PE_IndicatorArrowRight, arrow
        )
        text = option.rect.adjusted(size + 14, 0, -4, 0)
        alignment = QtCore.Qt.AlignmentFlag.AlignLeft | QtCore.Qt.AlignmentFlag.AlignVCenter
        painter.drawItemText(
            text, alignment, option.palette, self.enabled, self.text, QtGui.QPalette.ColorRole.ButtonText
        )


class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box whose check box folds its contents."""

    collapsedHeight = stored(int, "collapsedHeight", 14)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.checkable = True
        self.checked = True
        self._hidden_by_me: list[QtWidgets.QWidget] = []
        self.toggled.connect(self._fold)

    def _is_collapsed(self) -> bool:
        return not self.checked

    def _set_collapsed(self, value: bool) -> None:
        self.checked = not value

    collapsed = qt_property(bool, _is_collapsed, _set_collapsed)

    def setCollapsed(self, value: bool) -> None:
        self.checked = not value

    def _fold(self, opened: bool) -> None:
        if opened:
            for child in self._hidden_by_me:
                child.show()
            self._hidden_by_me = []
            self.maximumHeight = 16777215
        else:
            children = [c for c in self.children() if isinstance(c, QtWidgets.QWidget)]
            self._hidden_by_me = [c for c in children if not c.isHidden()]
            for child in self._hidden_by_me:
                child.hide()
            self.maximumHeight = self.fontMetrics().height() + _HEADER_PADDING


class ctkPushButton(QtWidgets.QPushButton):
    """A push button with more ways to align its text."""

    buttonTextAlignment = stored(int, "buttonTextAlignment", 0x84)
    iconAlignment = stored(int, "iconAlignment", 0x81)
    elideMode = stored(int, "elideMode", 3)


class ctkCheckablePushButton(ctkPushButton):
    """A push button with a check box in it."""

    checkBoxToggled = QtCore.Signal(bool)
    indicatorAlignment = stored(int, "indicatorAlignment", 0x81)
    checkBoxControlsButton = stored(bool, "checkBoxControlsButton", True)
    checkBoxControlsButtonToggleState = stored(bool, "checkBoxControlsButtonToggleState", False)
    checkBoxUserCheckable = stored(bool, "checkBoxUserCheckable", True)


class ctkCheckBox(QtWidgets.QCheckBox):
    """A check box that can show an icon as its indicator."""
