"""Which map lies over the fixed volume, how strongly, and between which values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..metrics.map_kinds import map_kind
from ..mrml import map_nodes
from .choices import ChoiceList


class MapSection:
    """`taking_views` is called before the views are touched, `leaving` after they are let go of."""

    def __init__(self, ui: Any, taking_views: Callable[[], None], leaving: Callable[[], None]) -> None:
        self._ui, self._taking, self._leaving = ui, taking_views, leaving
        self._fixed: slicer.vtkMRMLVolumeNode | None = None
        self._maps: Mapping[str, slicer.vtkMRMLScalarVolumeNode] = {}
        self._numbers: Mapping[str, Any] = {}
        self._quiet = False
        self.maps = ChoiceList(ui.mapBox, self.pick)
        ui.opacitySlider.connect("valueChanged(double)", lambda _value: self._opacity_changed())
        ui.thresholdCheck.connect("toggled(bool)", lambda _on: self._threshold_changed())
        ui.thresholdRange.connect("valuesChanged(double,double)", lambda _low, _high: self._threshold_changed())
        ui.legendCheck.connect("toggled(bool)", lambda _on: self._legend_changed())
        self.show(None, {}, {})

    @property
    def current(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The map that is shown."""
        return self._maps.get(self.maps.value)

    def show(
        self,
        fixed: slicer.vtkMRMLVolumeNode | None,
        maps: Mapping[str, slicer.vtkMRMLScalarVolumeNode],
        numbers: Mapping[str, Any],
    ) -> None:
        """Offer these maps; `numbers` are metrics["maps"]."""
        self.close()
        self._fixed, self._maps, self._numbers = fixed, maps, numbers
        self.maps.fill(
            [("", _("No map")), *((i, map_kind(i).title) for i in maps)], ["", *(map_kind(i).help for i in maps)]
        )
        self.maps.select("")
        self._show_controls()

    def close(self) -> None:
        """Take the legend away; the views themselves are put back by whoever saved them."""
        if self.current is not None:
            map_nodes.legend(self.current, False)
        self.maps.select("")
        self._show_controls()

    def pick(self, map_id: str) -> None:
        """Show this map; empty: none."""
        self.maps.select(map_id)
        for other, node in self._maps.items():
            if other != map_id:
                map_nodes.legend(node, False)
        node = self.current
        if node is None or self._fixed is None:
            self._show_controls()
            self._leaving()
            return
        self._taking()
        low, high = map_nodes.range_of(node)
        self._quiet = True
        try:
            self._ui.thresholdRange.setRange(low, high)
            self._ui.thresholdRange.setValues(low, high)
            self._ui.thresholdRange.singleStep = max(0.01, round((high - low) / 100, 2))
            self._ui.thresholdCheck.setChecked(False)
        finally:
            self._quiet = False
        map_nodes.clear_threshold(node)
        map_nodes.show_map(node, self._fixed, self._ui.opacitySlider.value)
        self._legend_changed()
        self._show_controls()

    def _opacity_changed(self) -> None:
        if self.current is not None and self._fixed is not None:
            map_nodes.set_opacity(self.current, self._ui.opacitySlider.value)

    def _threshold_changed(self) -> None:
        node = self.current
        self._ui.thresholdRange.setEnabled(node is not None and self._ui.thresholdCheck.checked)
        if node is None or self._quiet:
            return
        if self._ui.thresholdCheck.checked:
            limits = self._ui.thresholdRange
            map_nodes.set_threshold(node, limits.minimumValue, limits.maximumValue)
        else:
            map_nodes.clear_threshold(node)

    def _legend_changed(self) -> None:
        if self.current is not None:
            map_nodes.legend(self.current, bool(self._ui.legendCheck.checked))

    def _show_controls(self) -> None:
        shown, ui = self.current is not None, self._ui
        for widget in (ui.opacitySlider, ui.thresholdCheck, ui.legendCheck):
            widget.setEnabled(shown)
        ui.mapBox.setEnabled(bool(self._maps))
        ui.thresholdRange.setEnabled(shown and bool(ui.thresholdCheck.checked))
        ui.mapLabel.setText(self._words() if shown else ("" if self._maps else _("Measure first.")))
        ui.mapLabel.setVisible(bool(ui.mapLabel.text))
        ui.mapLabel.setToolTip(map_kind(self.maps.value).help if shown else "")

    def _words(self) -> str:
        kind, found = map_kind(self.maps.value), self._numbers.get(self.maps.value)
        if not found:
            return kind.help
        said = _("Mean {mean}{unit}, half below {p50}{unit}, 95 % below {p95}{unit}, from {min} to {max}{unit}.")
        numbers = {key: f"{found[key]:.2f}" for key in ("mean", "p50", "p95", "min", "max")}
        return said.format(unit=f" {kind.unit}" if kind.unit else "", **numbers)
