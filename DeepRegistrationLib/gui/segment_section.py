"""The structures of a review as a table, with plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from slicer.i18n import tr as _

from ..mrml.plots import show_chart, show_table
from ..mrml.review_results import ReviewOutputs
from .sorted_table import Column, SortedTable

Row = tuple[str, Mapping[str, Any]]


def _number(key: str) -> Callable[[Row], Any]:
    return lambda row: row[1].get(key)


def _columns() -> list[Column]:
    return [
        Column(_("Structure"), lambda row: row[0], None),
        Column(_("Dice before"), _number("dice_before"), 3, _("Overlap before the alignment, 0 to 1")),
        Column(_("after"), _number("dice_after"), 3, _("Overlap (Dice) after the alignment, 0 to 1")),
        Column(_("HD95 before"), _number("hd95_before_mm"), 1, _("95 % of the surfaces are closer, mm")),
        Column(_("after"), _number("hd95_after_mm"), 1, _("95 % of the surfaces are closer, mm (HD95)")),
        Column(_("Surface"), _number("surface_distance_after_mm"), 2, _("Mean distance of the surfaces after, mm")),
        Column(_("Volume %"), _number("volume_change_percent"), 1, _("How much larger it is in the moving volume")),
        Column(_("Smallest J"), _number("jacobian_min"), 2, _("Smallest Jacobian determinant inside; folds at 0")),
        Column(_("Folding %"), _number("folding_percent"), 3, _("Share of its volume that folds")),
        Column(_("Uncertain"), _number("uncertainty_mean_mm"), 2, _("Mean uncertainty inside, mm")),
    ]


class SegmentSection:
    """`taking_views` is called before a plot or table view is opened."""

    def __init__(self, ui: Any, taking_views: Callable[[], None]) -> None:
        self._ui, self._taking = ui, taking_views
        self._outputs: ReviewOutputs | None = None
        self.table = SortedTable(ui.segmentsTable, _columns())
        ui.segmentsTableButton.connect("clicked(bool)", lambda _on: self._open_table())
        ui.diceButton.connect("clicked(bool)", lambda _on: self._open("segments"))
        ui.jacobianButton.connect("clicked(bool)", lambda _on: self._open("jacobian"))

    def show(self, outputs: ReviewOutputs | None) -> None:
        """Show the structures of a review, or none."""
        self._outputs = outputs
        found = dict(outputs.metrics.get("segments") or {}) if outputs is not None else {}
        self.table.fill(list(found.items()))
        ui = self._ui
        ui.segmentsTable.setVisible(bool(found))
        ui.segmentsTableButton.setEnabled(outputs is not None and outputs.segments_table is not None)
        for button, chart in ((ui.diceButton, "segments"), (ui.jacobianButton, "jacobian")):
            button.setEnabled(outputs is not None and chart in outputs.charts)
        said = _("Measure first.") if outputs is None else _("No segmentation was given, so no structure was measured.")
        ui.segmentsLabel.setText("" if found else said)
        ui.segmentsLabel.setVisible(not found)

    def _open(self, chart: str) -> None:
        if self._outputs is not None and chart in self._outputs.charts:
            self._taking()
            show_chart(self._outputs.charts[chart])

    def _open_table(self) -> None:
        if self._outputs is not None and self._outputs.segments_table is not None:
            self._taking()
            show_table(self._outputs.segments_table)
