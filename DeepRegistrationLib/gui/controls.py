"""One widget for one parameter of a method."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import qt

from ..core.errors import InputError
from ..core.spec import Parameter
from .segment_tables import segment_control

# what a spin box of Qt can hold
_LARGEST_INT = 2**31 - 1
_MOST_DECIMALS = 6


class Control(Protocol):
    """`read` gives the value that stands in `widget`, `write` puts one there."""

    widget: Any

    def read(self) -> Any: ...

    def write(self, value: Any) -> None: ...


def make_control(parameter: Parameter, changed: Callable[[], None]) -> Control:
    """The widget that fits the declaration; `changed` is called after every edit."""
    if parameter.segments is not None:
        control: Control = segment_control(parameter, changed)
    elif parameter.choice is not None:
        control = _ChoiceControl(parameter, changed)
    elif parameter.optional:
        control = _TextControl(parameter, changed)
    elif parameter.type is bool:
        control = _BoolControl(changed)
    elif parameter.type in (int, float):
        control = _NumberControl(parameter, changed)
    else:
        control = _TextControl(parameter, changed)
    control.widget.setToolTip(tool_tip(parameter))
    control.widget.setObjectName(f"{parameter.name}Control")
    return control


def tool_tip(parameter: Parameter) -> str:
    """The help, then the allowed range and the name that console and command line use."""
    lines = [parameter.help] if parameter.help else []
    if parameter.range is not None:
        unit = f" {parameter.unit}" if parameter.unit else ""
        lines.append(f"{parameter.range.minimum:g} to {parameter.range.maximum:g}{unit}.")
    lines.append(f"({parameter.name})")
    return " ".join(lines)


def decimals_for(parameter: Parameter) -> int:
    """Decimals that show step, default and lower limit; without a step also a thousandth of the range."""
    limits = parameter.range
    shown = [parameter.default] if parameter.default is not None else []
    needed = 1
    if limits is not None:
        shown += [limits.minimum, limits.step or 0.0]
        if not limits.step:
            span = max(limits.maximum - limits.minimum, 1e-6)
            needed = min(_MOST_DECIMALS, max(1, math.ceil(3 - math.log10(span))))
    for value in shown:
        while needed < _MOST_DECIMALS and not math.isclose(round(value, needed), value, rel_tol=1e-6):
            needed += 1
    return needed


class _NumberControl:
    def __init__(self, parameter: Parameter, changed: Callable[[], None]) -> None:
        whole = parameter.type is int
        self.widget = qt.QSpinBox() if whole else qt.QDoubleSpinBox()
        limits = parameter.range
        if not whole:
            self.widget.setDecimals(decimals_for(parameter))
        low = limits.minimum if limits is not None else -_LARGEST_INT
        high = limits.maximum if limits is not None else _LARGEST_INT
        if whole:
            self.widget.setRange(int(max(low, -_LARGEST_INT)), int(min(high, _LARGEST_INT)))
        else:
            self.widget.setRange(float(low), float(high))
        step = limits.step if limits is not None and limits.step else (1 if whole else self._step(parameter))
        self.widget.setSingleStep(step)
        if parameter.unit:
            self.widget.setSuffix(f" {parameter.unit}")
        self.widget.setKeyboardTracking(False)
        self._whole = whole
        self.widget.connect(
            "valueChanged(int)" if whole else "valueChanged(double)", lambda _value: changed()
        )

    @staticmethod
    def _step(parameter: Parameter) -> float:
        size = abs(float(parameter.default)) or 1.0
        return float(10.0 ** (math.floor(math.log10(size)) - 1))

    def read(self) -> int | float:
        return int(self.widget.value) if self._whole else float(self.widget.value)

    def write(self, value: Any) -> None:
        self.widget.setValue(int(value) if self._whole else float(value))


class _ChoiceControl:
    def __init__(self, parameter: Parameter, changed: Callable[[], None]) -> None:
        assert parameter.choice is not None
        self.widget = qt.QComboBox()
        # as narrow as the panel wants to be, whatever the titles
        self.widget.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self.widget.setMinimumContentsLength(12)
        self._values = list(parameter.choice.titles)
        for value in self._values:
            self.widget.addItem(parameter.choice.titles[value])
        self.widget.connect("currentIndexChanged(int)", lambda _index: changed())

    def read(self) -> Any:
        return self._values[self.widget.currentIndex]

    def write(self, value: Any) -> None:
        self.widget.setCurrentIndex(self._values.index(value))


class _BoolControl:
    def __init__(self, changed: Callable[[], None]) -> None:
        self.widget = qt.QCheckBox()
        self.widget.connect("toggled(bool)", lambda _on: changed())

    def read(self) -> bool:
        return bool(self.widget.checked)

    def write(self, value: Any) -> None:
        self.widget.setChecked(bool(value))


class _TextControl:
    """Texts, and values that may be left empty. What cannot be read counts as it was before."""

    def __init__(self, parameter: Parameter, changed: Callable[[], None]) -> None:
        self.widget = qt.QLineEdit()
        self._parameter = parameter
        self._value: Any = parameter.default
        if parameter.optional:
            self.widget.setPlaceholderText("automatic")
        self._changed = changed
        self.widget.connect("editingFinished()", self._edited)

    def _edited(self) -> None:
        try:
            value = self._parameter.parse(self.widget.text)
        except InputError:
            value = self._value
        self.write(value)
        self._changed()

    def read(self) -> Any:
        return self._value

    def write(self, value: Any) -> None:
        self._value = value
        self.widget.setText("" if value is None else f"{value}")
