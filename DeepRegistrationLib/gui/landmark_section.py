"""The landmarks of a review: a table, a plot, coloured points, and the way to the worst."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from ..mrml.landmark_errors import jump_to, worst
from ..mrml.plots import show_chart, show_table
from ..mrml.review_results import ReviewOutputs
from .sorted_table import Column, SortedTable


@dataclass(frozen=True)
class _Landmark:
    name: str
    before: float
    after: float
    at: tuple[float, ...]  # fixed point, LPS mm


def _columns() -> list[Column]:
    return [
        Column(_("Point"), lambda mark: mark.name, None),
        Column(_("TRE before"), lambda mark: mark.before, 2, _("Distance to its partner before, mm")),
        Column(_("TRE after"), lambda mark: mark.after, 2, _("Distance to its partner after the alignment, mm")),
        Column(_("Gain"), lambda mark: mark.before - mark.after, 2, _("How much closer it came, mm")),
    ]


class LandmarkSection:
    """`taking_views` is called before the views are touched."""

    def __init__(self, ui: Any, taking_views: Callable[[], None]) -> None:
        self._ui, self._taking = ui, taking_views
        self._outputs: ReviewOutputs | None = None
        self._marks: list[_Landmark] = []
        self.table = SortedTable(ui.landmarksTable, _columns(), picked=self._go)
        ui.worstButton.connect("clicked(bool)", lambda _on: self._go_to_worst())
        ui.landmarksTableButton.connect("clicked(bool)", lambda _on: self._open_table())
        ui.trePlotButton.connect("clicked(bool)", lambda _on: self._open_plot())
        ui.errorPointsCheck.connect("toggled(bool)", self._colour_points)

    def show(self, outputs: ReviewOutputs | None) -> None:
        """Show the landmarks of a review, or none."""
        self.close()
        self._outputs = outputs
        found = (outputs.metrics.get("landmarks") or {}) if outputs is not None else {}
        values = (found.get(key) or () for key in ("names", "before_mm", "after_mm", "fixed_points"))
        self._marks = [_Landmark(n, b, a, tuple(x)) for n, b, a, x in zip(*values, strict=True)]
        self.table.fill(self._marks)
        ui, there = self._ui, bool(self._marks)
        ui.landmarksTable.setVisible(there)
        ui.worstButton.setEnabled(there)
        ui.landmarksTableButton.setEnabled(outputs is not None and outputs.landmarks_table is not None)
        ui.trePlotButton.setEnabled(outputs is not None and "landmarks" in outputs.charts)
        ui.errorPointsCheck.setEnabled(outputs is not None and outputs.error_points is not None)
        said = _("Measure first.") if outputs is None else _("No landmarks of both volumes were given.")
        if there:
            said = _("Mean distance {before:.2f} mm before, {after:.2f} mm after.").format(
                before=found["mean_before_mm"], after=found["mean_after_mm"]
            )
        ui.landmarksLabel.setText(said)

    def close(self) -> None:
        """Hide the coloured points."""
        self._ui.errorPointsCheck.setChecked(False)

    def _go(self, mark: _Landmark) -> None:
        self._taking()
        jump_to(mark.at)

    def _go_to_worst(self) -> None:
        index = worst(self._outputs.metrics) if self._outputs is not None else None
        if index is not None:
            self._go(self._marks[index])

    def _colour_points(self, on: bool) -> None:
        node = self._outputs.error_points if self._outputs is not None else None
        if node is None or node.GetScene() is None:
            return
        if on:
            self._taking()
        node.GetDisplayNode().SetVisibility(on)
        node.GetDisplayNode().SetVisibility2D(on)

    def _open_plot(self) -> None:
        if self._outputs is not None:
            self._taking()
            show_chart(self._outputs.charts["landmarks"])

    def _open_table(self) -> None:
        if self._outputs is not None:
            self._taking()
            show_table(self._outputs.landmarks_table)
