"""Number widgets of CTK: they differ from Qt's in taking floating point values."""

from __future__ import annotations

import math
from typing import Any

from PySide6 import QtCore, QtWidgets

from .widget_properties import forwarded, qt_property, stored

# Qt rounds limits to the decimals, which infinity does not survive.
_LARGEST = 1.0e300


def _finite(value: float) -> float:
    return math.copysign(_LARGEST, value) if math.isinf(value) else float(value)


class ctkDoubleSpinBox(QtWidgets.QWidget):
    """A spin box inside a plain widget, as in CTK."""

    valueChanged = QtCore.Signal((float,), (str,))
    decimalsChanged = QtCore.Signal(int)
    editingFinished = QtCore.Signal()
    prefix = forwarded(str, "_box", "prefix")
    suffix = forwarded(str, "_box", "suffix")
    singleStep = forwarded(float, "_box", "singleStep")
    readOnly = forwarded(bool, "_box", "readOnly")
    cleanText = forwarded(str, "_box", "cleanText")
    decimalsOption = stored(int, "decimalsOption", 0)
    invertedControls = stored(bool, "invertedControls", False)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._box = QtWidgets.QDoubleSpinBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(self._changed)
        self._box.editingFinished.connect(self.editingFinished)
        self.setFocusProxy(self._box)

    def _changed(self, value: float) -> None:
        self.valueChanged[float].emit(value)
        self.valueChanged[str].emit(self._box.text)

    def _decimals(self) -> int:
        return self._box.decimals

    def _set_decimals(self, value: int) -> None:
        changed = value != self._box.decimals
        self._box.decimals = value
        if changed:
            self.decimalsChanged.emit(value)

    def _minimum(self) -> float:
        return self._box.minimum

    def _set_minimum(self, value: float) -> None:
        self._box.minimum = _finite(value)

    def _maximum(self) -> float:
        return self._box.maximum

    def _set_maximum(self, value: float) -> None:
        self._box.maximum = _finite(value)

    def _value(self) -> float:
        return self._box.value

    def _set_value(self, value: float) -> None:
        self._box.value = float(value)

    decimals = qt_property(int, _decimals, _set_decimals)
    minimum = qt_property(float, _minimum, _set_minimum)
    maximum = qt_property(float, _maximum, _set_maximum)
    value = qt_property(float, _value, _set_value, notify=decimalsChanged)

    def setValue(self, value: float) -> None:
        self._set_value(value)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._box.setRange(_finite(minimum), _finite(maximum))

    def stepUp(self) -> None:
        self._box.stepUp()

    def stepDown(self) -> None:
        self._box.stepDown()


class ctkDoubleSlider(QtWidgets.QWidget):
    """A slider over floating point values: `steps` positions of `singleStep` each."""

    valueChanged = QtCore.Signal(float)
    sliderMoved = QtCore.Signal(float)
    rangeChanged = QtCore.Signal(float, float)
    tracking = forwarded(bool, "_slider", "tracking")
    tickInterval = stored(float, "tickInterval", 0.0)
    pageStep = stored(float, "pageStep", 10.0)

    def __init__(self, *arguments: Any) -> None:
        orientations = [a for a in arguments if isinstance(a, QtCore.Qt.Orientation)]
        parents = [a for a in arguments if isinstance(a, QtWidgets.QWidget)]
        super().__init__(parents[0] if parents else None)
        self._minimum_value, self._maximum_value, self._step, self._current = 0.0, 99.0, 1.0, 0.0
        orientation = orientations[0] if orientations else QtCore.Qt.Orientation.Vertical
        self._slider = QtWidgets.QSlider(orientation, self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        self._slider.valueChanged.connect(self._slid)
        self._rescale()

    def _rescale(self) -> None:
        blocked = self._slider.blockSignals(True)
        self._slider.setRange(0, max(0, round((self._maximum_value - self._minimum_value) / self._step)))
        self._slider.value = round((self._current - self._minimum_value) / self._step)
        self._slider.blockSignals(blocked)

    def _slid(self, position: int) -> None:
        self.setValue(self._minimum_value + position * self._step)

    def _get_minimum(self) -> float:
        return self._minimum_value

    def _set_minimum(self, value: float) -> None:
        self.setRange(value, max(value, self._maximum_value))

    def _get_maximum(self) -> float:
        return self._maximum_value

    def _set_maximum(self, value: float) -> None:
        self.setRange(min(value, self._minimum_value), value)

    def _get_step(self) -> float:
        return self._step

    def _set_step(self, value: float) -> None:
        self._step = value
        self._rescale()

    def _get_value(self) -> float:
        return self._current

    def setValue(self, value: float) -> None:
        value = min(max(float(value), self._minimum_value), self._maximum_value)
        changed = value != self._current
        self._current = value
        self._rescale()
        if changed:
            self.valueChanged.emit(value)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._minimum_value, self._maximum_value = float(minimum), float(maximum)
        self._rescale()
        self.rangeChanged.emit(self._minimum_value, self._maximum_value)
        self.setValue(self._current)

    minimum = qt_property(float, _get_minimum, _set_minimum)
    maximum = qt_property(float, _get_maximum, _set_maximum)
    singleStep = qt_property(float, _get_step, _set_step)
    value = qt_property(float, _get_value, setValue)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box that show the same value."""

    valueChanged = QtCore.Signal(float)
    decimalsChanged = QtCore.Signal(int)
    minimum = forwarded(float, "_slider", "minimum")
    prefix = forwarded(str, "_box", "prefix")
    suffix = forwarded(str, "_box", "suffix")
    tracking = forwarded(bool, "_slider", "tracking")
    pageStep = forwarded(float, "_slider", "pageStep")
    tickInterval = forwarded(float, "_slider", "tickInterval")
    popupSlider = stored(bool, "popupSlider", False)
    invertedAppearance = stored(bool, "invertedAppearance", False)
    invertedControls = stored(bool, "invertedControls", False)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._slider = ctkDoubleSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._box = ctkDoubleSpinBox(self)
        self._box.maximum = 99.0
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._box)
        self._slider.valueChanged.connect(self._slid)
        self._box.valueChanged[float].connect(self.setValue)

    def _slid(self, value: float) -> None:
        # The spin box rounds to the decimals; its value is the one that counts.
        before = self._box.blockSignals(True)
        self._box.value = value
        self._box.blockSignals(before)
        self.valueChanged.emit(self._box.value)

    def _minimum(self) -> float:
        return self._slider.minimum

    def _set_minimum(self, value: float) -> None:
        self._box.minimum = value
        self._slider.minimum = value

    def _maximum(self) -> float:
        return self._slider.maximum

    def _set_maximum(self, value: float) -> None:
        self._box.maximum = value
        self._slider.maximum = value

    def _step(self) -> float:
        return self._slider.singleStep

    def _set_step(self, value: float) -> None:
        self._box.singleStep = value
        self._slider.singleStep = value

    def _decimals(self) -> int:
        return self._box.decimals

    def _set_decimals(self, value: int) -> None:
        self._box.decimals = value
        self.decimalsChanged.emit(value)

    def _spin_box_visible(self) -> bool:
        return not self._box.isHidden()

    def _set_spin_box_visible(self, value: bool) -> None:
        self._box.setVisible(value)

    def _value(self) -> float:
        return self._box.value

    def setValue(self, value: float) -> None:
        self._slider.setValue(round(float(value), self._box.decimals))

    def setRange(self, minimum: float, maximum: float) -> None:
        self._set_minimum(minimum)
        self._set_maximum(maximum)

    minimum = qt_property(float, _minimum, _set_minimum)
    maximum = qt_property(float, _maximum, _set_maximum)
    singleStep = qt_property(float, _step, _set_step)
    decimals = qt_property(int, _decimals, _set_decimals)
    value = qt_property(float, _value, setValue)
    spinBoxVisible = qt_property(bool, _spin_box_visible, _set_spin_box_visible)


class ctkRangeWidget(QtWidgets.QWidget):
    """Two spin boxes for the ends of an interval."""

    minimumValueChanged = QtCore.Signal(float)
    maximumValueChanged = QtCore.Signal(float)
    valuesChanged = QtCore.Signal(float, float)
    rangeChanged = QtCore.Signal(float, float)
    minimum = forwarded(float, "_low", "minimum")
    maximum = forwarded(float, "_high", "maximum")
    minimumValue = forwarded(float, "_low", "value")
    maximumValue = forwarded(float, "_high", "value")

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._low, self._high = ctkDoubleSpinBox(self), ctkDoubleSpinBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._low)
        layout.addWidget(self._high)
        self.setRange(0.0, 99.0)
        self._high.value = 99.0
        self._low.valueChanged[float].connect(self._low_changed)
        self._high.valueChanged[float].connect(self._high_changed)

    def _low_changed(self, value: float) -> None:
        self._high.minimum = value
        self.minimumValueChanged.emit(value)
        self.valuesChanged.emit(value, self._high.value)

    def _high_changed(self, value: float) -> None:
        self._low.maximum = value
        self.maximumValueChanged.emit(value)
        self.valuesChanged.emit(self._low.value, value)

    def _decimals(self) -> int:
        return self._low.decimals

    def _set_decimals(self, value: int) -> None:
        self._low.decimals = self._high.decimals = value

    def _step(self) -> float:
        return self._low.singleStep

    def _set_step(self, value: float) -> None:
        self._low.singleStep = self._high.singleStep = value

    decimals = qt_property(int, _decimals, _set_decimals)
    singleStep = qt_property(float, _step, _set_step)

    def setRange(self, minimum: float, maximum: float) -> None:
        for box in (self._low, self._high):
            box.setRange(minimum, maximum)
        self.rangeChanged.emit(minimum, maximum)

    def setValues(self, minimum: float, maximum: float) -> None:
        self._low.value, self._high.value = minimum, maximum
