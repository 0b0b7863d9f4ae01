"""What is being aligned, with which method, on which device: three lists that belong together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import qt
from slicer.i18n import tr as _

from ..core.spec import MethodSpec, Need
from ..methods import registry
from ..metrics.map_kinds import map_kind
from ..mrml.results import RegistrationNodes

DEFAULT_METHOD = "convex-adam"


class ChoiceList:
    """A combo box over (value, title) pairs; `changed` is called with the value that the user picked."""

    def __init__(self, box: qt.QComboBox, changed: Callable[[str], None]) -> None:
        self._box = box
        self._values: list[str] = []
        self._changed = changed
        self._quiet = False
        box.connect("currentIndexChanged(int)", self._picked)

    def fill(self, items: Sequence[tuple[str, str]], tips: Sequence[str] = ()) -> None:
        """Replace the entries, keeping the value where it is still there."""
        kept = self.value
        self._quiet = True
        try:
            self._box.clear()
            self._values = [value for value, _title in items]
            for _value, title in items:
                self._box.addItem(title)
            for row, tip in enumerate(tips):
                self._box.setItemData(row, tip, qt.Qt.ToolTipRole)
            if kept in self._values:
                self._box.setCurrentIndex(self._values.index(kept))
        finally:
            self._quiet = False

    @property
    def value(self) -> str:
        index = self._box.currentIndex
        return self._values[index] if 0 <= index < len(self._values) else ""

    def select(self, value: str) -> None:
        """Show `value` without a call of `changed`; one that is not in the list changes nothing."""
        if value in self._values:
            self._quiet = True
            try:
                self._box.setCurrentIndex(self._values.index(value))
            finally:
                self._quiet = False

    def _picked(self, _index: int) -> None:
        if not self._quiet:
            self._changed(self.value)


def known_method(method_id: str) -> MethodSpec:
    """The method of that id, or the default one where there is none such (any more)."""
    methods = registry()
    if method_id in methods:
        return methods[method_id]
    return methods[DEFAULT_METHOD] if DEFAULT_METHOD in methods else next(iter(methods))


def method_items() -> tuple[list[tuple[str, str]], list[str]]:
    """((id, title) of every method, their descriptions)."""
    specs = list(registry())
    return [(s.id, s.title) for s in specs], [s.description for s in specs]


def preset_items(spec: MethodSpec) -> list[tuple[str, str]]:
    """(id, title) of the presets of a method; the empty id stands for its own defaults."""
    return [("", _("Anything else")), *((p.id, p.title) for p in spec.presets)]


def device_items() -> list[tuple[str, str]]:
    """(id, title) of the devices this kind of computer may have. The worker knows which there are."""
    items = [("auto", _("Automatic")), ("cpu", _("Processor (CPU)"))]
    if sys.platform == "darwin":
        items.append(("mps", _("Apple graphics (MPS)")))
    else:
        items.append(("cuda:0", _("Graphics card (CUDA)")))
    return items


def view_items(result: RegistrationNodes | None) -> list[tuple[str, str]]:
    """(id, title) of what the slice views can show of a result; maps have their own ids."""
    items = [
        ("", _("Leave the views as they are")),
        ("pair", _("Fixed and moved, one over the other")),
        ("jacobian", _("Change of volume (Jacobian determinant)")),
    ]
    return items + [(name, map_kind(name).title) for name in (result.maps if result is not None else ())]


def need_of(spec: MethodSpec, name: str) -> Need:
    """Whether the method needs an input; a declaration may name one side (`fixed_mask`) or both (`masks`)."""
    kind = name.split("_")[1]
    for key in (name, kind, f"{kind}s"):
        if key in spec.inputs:
            return spec.need(key)
    return Need.UNUSED
