"""The settings of a method as a form, made from its declaration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import ctk
import qt
from slicer.i18n import tr as _

from ..core.errors import InputError
from ..core.spec import Parameter, Preset, parameters_of
from .controls import Control, make_control, tool_tip
from .segment_tables import SegmentControl


class Declaration(Protocol):
    """What has settings: a method, or whatever else declares them as methods do."""

    @property
    def parameters(self) -> type: ...

    def preset(self, preset_id: str) -> Preset: ...


class ParameterForm:
    """Fills `container` (a plain widget) with one row a parameter; advanced ones lie in a folded section.

    What counts as set by the user is what differs from the defaults with the chosen preset: `overrides`.
    `changed` is called after every edit by the user, not after `show` or `set_overrides`.
    """

    def __init__(self, container: qt.QWidget, changed: Callable[[], None]) -> None:
        self._container = container
        self._changed = changed
        self._quiet = False
        self._parameters: tuple[Parameter, ...] = ()
        self._controls: dict[str, Control] = {}
        self._base: dict[str, Any] = {}
        self._body: qt.QWidget | None = None
        self._segments: tuple[str, ...] = ()
        if container.layout() is None:
            layout = qt.QVBoxLayout(container)
            layout.setContentsMargins(0, 0, 0, 0)

    @property
    def controls(self) -> Mapping[str, Control]:
        """Parameter name -> control."""
        return self._controls

    def show(self, spec: Declaration, preset: str | None = None) -> None:
        """Make the rows of `spec` with the values of its defaults and `preset`."""
        self._clear()
        self._parameters = parameters_of(spec.parameters)
        self._body = qt.QWidget()
        rows = qt.QFormLayout(self._body)
        rows.setContentsMargins(0, 0, 0, 0)
        hidden = [p for p in self._parameters if p.advanced]
        for parameter in self._parameters:
            if not parameter.advanced:
                self._add_row(rows, parameter)
        if hidden:
            section = ctk.ctkCollapsibleButton()
            section.setObjectName("advancedSettingsButton")
            section.text = _("Advanced")
            inner = qt.QFormLayout(section)
            for parameter in hidden:
                self._add_row(inner, parameter)
            section.collapsed = True
            rows.addRow(section)
        self._container.layout().addWidget(self._body)
        self.set_base(spec, preset)
        self.set_segments(self._segments)

    def set_base(self, spec: Declaration, preset: str | None) -> None:
        """Show the defaults with the values of `preset`; forgets what the user had set."""
        values = dict(spec.preset(preset).values) if preset else {}
        self._base = {p.name: values.get(p.name, p.default) for p in self._parameters}
        self._write(self._base)

    def values(self) -> dict[str, Any]:
        """Every parameter with the value that is shown."""
        return {name: control.read() for name, control in self._controls.items()}

    def overrides(self) -> dict[str, Any]:
        """Only what differs from the defaults with the preset."""
        return {name: value for name, value in self.values().items() if not _same(value, self._base[name])}

    def set_overrides(self, values: Mapping[str, Any]) -> None:
        """Show `values` on top of the defaults with the preset; names and values that do not fit are passed
        over (a scene may have been saved by another version)."""
        shown = dict(self._base)
        for parameter in self._parameters:
            if parameter.name in values:
                try:
                    shown[parameter.name] = parameter.parse(values[parameter.name])
                except InputError:
                    continue
        self._write(shown)

    def set_segments(self, names: Sequence[str]) -> None:
        """The segments that tables have rows for; what was set for others is kept for when they come back."""
        self._segments = tuple(names)
        self._quiet = True
        try:
            for control in self._controls.values():
                if isinstance(control, SegmentControl):
                    control.set_segments(self._segments)
        finally:
            self._quiet = False

    # ------------------------------------------------------------------ inner workings

    def _add_row(self, rows: qt.QFormLayout, parameter: Parameter) -> None:
        control = make_control(parameter, self._edited)
        # a spin box shows the unit behind the number
        unit = f" ({parameter.unit})" if parameter.unit and parameter.optional else ""
        label = qt.QLabel(f"{parameter.title}{unit}:")
        label.setToolTip(tool_tip(parameter))
        if parameter.segments is None:
            rows.addRow(label, control.widget)
        else:  # a table needs the whole width
            rows.addRow(label)
            rows.addRow(control.widget)
        self._controls[parameter.name] = control

    def _edited(self) -> None:
        if not self._quiet:
            self._changed()

    def _write(self, values: Mapping[str, Any]) -> None:
        self._quiet = True
        try:
            for name, value in values.items():
                self._controls[name].write(value)
        finally:
            self._quiet = False

    def _clear(self) -> None:
        if self._body is not None:
            self._container.layout().removeWidget(self._body)
            self._body.hide()
            self._body.deleteLater()
        self._body = None
        self._controls = {}
        self._base = {}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, (int, float)):
        return abs(a - b) <= 1e-9 + 1e-6 * abs(b)
    return bool(a == b)
