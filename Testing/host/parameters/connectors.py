"""Widgets that can show a parameter, by their exact class and the parameter's type, as in Slicer."""

from __future__ import annotations

import enum
import pathlib
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer

from .annotations import (
    Choice,
    Decimals,
    Maximum,
    Minimum,
    SingleStep,
    WithinRange,
    findFirstAnnotation,
    splitAnnotations,
    unannotatedType,
)
from .serializers import getNodeTypes, isNodeOrUnionOfNodes

_INTEGER_LIMIT = 2**31


class GuiConnector:
    """One widget that shows one parameter. Subclasses name the property and the signal of its change."""

    value_property = ""
    changed_signal = ""

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        raise NotImplementedError("A connector says which widgets and types it is for")

    @classmethod
    def create(cls, widget: Any, datatype: Any) -> GuiConnector:
        return cls(widget, datatype)

    def __init__(self, widget: Any, datatype: Any) -> None:
        self._widget, self._type, self._callback = widget, datatype, None

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        before, self._callback = self._callback, callback
        if not self.changed_signal:
            return
        signal = getattr(self._widget, self.changed_signal)
        if callback is None and before is not None:
            signal.disconnect(self.changed)
        elif callback is not None and before is None:
            signal.connect(self.changed)

    def changed(self) -> None:
        if self._callback:
            self._callback()

    def widget(self) -> Any:
        return self._widget

    def read(self) -> Any:
        return getattr(self._widget, self.value_property)

    def write(self, value: Any) -> None:
        setattr(self._widget, self.value_property, value)


_connectors: list[type[GuiConnector]] = []


def parameterNodeGuiConnector(classtype: Any = None) -> Any:
    """Class decorator that adds a connector."""

    def add(cls: type[GuiConnector]) -> type[GuiConnector]:
        _connectors.append(cls)
        return cls

    return add if classtype is None else add(classtype)


def createGuiConnector(widget: Any, datatype: Any) -> GuiConnector:
    """The connector for a widget and a type; raises RuntimeError where Slicer has none either."""
    for connector in _connectors:
        if connector.canRepresent(widget, datatype):
            return connector.create(widget, datatype)
    raise RuntimeError(
        f"Unable to create GUI connector from datatype '{datatype}' to widget type '{type(widget)}'"
    )


@parameterNodeGuiConnector
class CheckBoxConnector(GuiConnector):
    value_property, changed_signal = "checked", "toggled"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        classes = (qt.QCheckBox, ctk.ctkCheckBox, qt.QPushButton, ctk.ctkCheckablePushButton)
        return unannotatedType(datatype) is bool and type(widget) in classes

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        if not widget.checkable:
            widget.checkable = True


def _limits(notes: Any) -> tuple[float | None, float | None]:
    both = findFirstAnnotation(notes, WithinRange)
    if both is not None:
        return both.minimum, both.maximum
    low, high = findFirstAnnotation(notes, Minimum), findFirstAnnotation(notes, Maximum)
    return low.minimum if low else None, high.maximum if high else None


@parameterNodeGuiConnector
class IntegerConnector(GuiConnector):
    value_property, changed_signal = "value", "valueChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return unannotatedType(datatype) is int and type(widget) in (qt.QSlider, qt.QSpinBox)

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        notes = splitAnnotations(datatype)[1]
        step = findFirstAnnotation(notes, SingleStep)
        if step is not None:
            widget.singleStep = step.value
        low, high = _limits(notes)
        if isinstance(widget, qt.QSlider) and (low is None or high is None):
            raise RuntimeError("A QSlider needs an int with limits")
        widget.setRange(-_INTEGER_LIMIT if low is None else low, _INTEGER_LIMIT - 1 if high is None else high)


@parameterNodeGuiConnector
class NumberConnector(GuiConnector):
    value_property, changed_signal = "value", "valueChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        classes = (
            qt.QDoubleSpinBox,
            ctk.ctkSliderWidget,
            ctk.ctkDoubleSlider,
            ctk.ctkDoubleSpinBox,
            slicer.qMRMLSliderWidget,
            slicer.qMRMLSpinBox,
        )
        return unannotatedType(datatype) in (float, int) and type(widget) in classes

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        kind, notes = splitAnnotations(datatype)
        self._integer = kind is int
        if not isinstance(widget, ctk.ctkDoubleSlider):
            decimals = findFirstAnnotation(notes, Decimals)
            if self._integer:
                widget.decimals = 0
            elif decimals is not None:
                widget.decimals = decimals.value
        step = findFirstAnnotation(notes, SingleStep)
        if step is not None:
            widget.singleStep = step.value
        low, high = _limits(notes)
        sliders = (ctk.ctkSliderWidget, slicer.qMRMLSliderWidget)
        if type(widget) in sliders and (low is None or high is None):
            raise RuntimeError("A ctkSliderWidget needs a number with limits")
        widget.minimum = float("-inf") if low is None else low
        widget.maximum = float("inf") if high is None else high

    def read(self) -> Any:
        return int(self._widget.value) if self._integer else self._widget.value

    def write(self, value: Any) -> None:
        self._widget.value = int(value) if self._integer else value


class _ItemsConnector(GuiConnector):
    """A combo box with one item for each possible value."""

    changed_signal = "currentIndexChanged"

    def __init__(self, widget: Any, datatype: Any, values: list[Any], labels: list[str]) -> None:
        super().__init__(widget, datatype)
        self._values = values
        widget.clear()
        for label in labels:
            widget.addItem(label)

    def read(self) -> Any:
        return self._values[self._widget.currentIndex]

    def write(self, value: Any) -> None:
        if value not in self._values:
            raise ValueError(f"The value {value!r} is none of the choices {self._values}")
        self._widget.currentIndex = self._values.index(value)


@parameterNodeGuiConnector
class ChoiceConnector(_ItemsConnector):
    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) in (qt.QComboBox, ctk.ctkComboBox) and (
            unannotatedType(datatype) in (int, float, str, bool)
        )

    def __init__(self, widget: Any, datatype: Any) -> None:
        choice = findFirstAnnotation(splitAnnotations(datatype)[1], Choice)
        if choice is None:
            raise RuntimeError("A combo box needs a type with the annotation Choice")
        values = list(choice.choices)
        super().__init__(widget, datatype, values, [str(v) for v in values])


@parameterNodeGuiConnector
class EnumConnector(_ItemsConnector):
    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        kind = unannotatedType(datatype)
        is_enum = isinstance(kind, type) and issubclass(kind, enum.Enum)
        return type(widget) in (qt.QComboBox, ctk.ctkComboBox) and is_enum

    def __init__(self, widget: Any, datatype: Any) -> None:
        kind = unannotatedType(datatype)
        label = getattr(kind, "label", lambda e: e.name)
        super().__init__(widget, datatype, list(kind), [label(e) for e in kind])


@parameterNodeGuiConnector
class LineEditConnector(GuiConnector):
    value_property, changed_signal = "text", "textChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is qt.QLineEdit and unannotatedType(datatype) is str

    def write(self, value: Any) -> None:
        # Writing the same text would move the cursor of somebody who is typing.
        if value != self._widget.text:
            self._widget.text = value


@parameterNodeGuiConnector
class LabelConnector(GuiConnector):
    value_property = "text"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is qt.QLabel and unannotatedType(datatype) is str


@parameterNodeGuiConnector
class TextEditConnector(GuiConnector):
    value_property, changed_signal = "plainText", "textChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is qt.QTextEdit and unannotatedType(datatype) is str


class _PathConnector(GuiConnector):
    def read(self) -> Any:
        return unannotatedType(self._type)(super().read())

    def write(self, value: Any) -> None:
        super().write(str(value))


@parameterNodeGuiConnector
class PathLineEditConnector(_PathConnector):
    value_property, changed_signal = "currentPath", "currentPathChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is ctk.ctkPathLineEdit and _is_path(datatype)


@parameterNodeGuiConnector
class DirectoryButtonConnector(_PathConnector):
    value_property, changed_signal = "directory", "directoryChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is ctk.ctkDirectoryButton and _is_path(datatype)


def _is_path(datatype: Any) -> bool:
    kind = unannotatedType(datatype)
    return isinstance(kind, type) and issubclass(kind, pathlib.PurePath)


@parameterNodeGuiConnector
class NodeConnector(GuiConnector):
    changed_signal = "currentNodeChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is slicer.qMRMLNodeComboBox and isNodeOrUnionOfNodes(datatype)

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        widget.nodeTypes = getNodeTypes(datatype)

    def read(self) -> Any:
        return self._widget.currentNode()

    def write(self, value: Any) -> None:
        self._widget.setCurrentNode(value)
