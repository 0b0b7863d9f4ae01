"""How a training goes: its curve, what the validations measured, and their example in the slice views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError
from ..jobs import Event
from ..jobs.training_folder import TrainingFolder
from ..mrml.comparison import Comparison
from ..mrml.plots import show_chart
from ..mrml.training_curve import SCORE, STEP, TrainingCurve
from ..mrml.validation_pictures import HiddenSegmentations, load_pictures, picture_nodes
from ..mrml.views import SavedViews
from ..training.run_log import read_log
from .choices import ChoiceList
from .numbers import fill_table
from .ready import ready

#: points of a curve that is drawn from a log
_POINTS = 1000


def _overlays() -> list[tuple[str, str]]:
    return [
        ("", _("Leave the views as they are")),
        ("fade", _("Fixed and moved, one over the other")),
        ("checkerboard", _("Fixed and moved in squares")),
        ("difference", _("Difference (fixed minus moved)")),
    ]


class CourseSection:
    """Shows the course of one training. The views are saved before the first change and put back by `restore`."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self.curve: TrainingCurve | None = None
        self._comparison: Comparison | None = None
        self._hidden: HiddenSegmentations | None = None
        self._saved: SavedViews | None = None
        self._curve_shown = False
        self._note = ""
        self.overlays = ChoiceList(ui.overlayBox, self.pick_overlay)
        self.overlays.fill(_overlays())
        ui.curveButton.connect("clicked(bool)", lambda _on: self.show_curve())
        ui.restoreButton.connect("clicked(bool)", lambda _on: self.restore())
        self.refresh()

    # ------------------------------------------------------------------ what is measured

    def show(self, chart: slicer.vtkMRMLPlotChartNode | None) -> None:
        """The curve of `chart` from now on; None: there is none."""
        if chart is None or self.curve is None or self.curve.chart is not chart:
            curve = TrainingCurve(chart) if chart is not None else None
            self.curve = curve if curve is not None and curve.alive() else None
        self.refresh()

    def begin(self, title: str) -> slicer.vtkMRMLPlotChartNode:
        """The chart of an empty curve in place of the one before; `show` it."""
        if self.curve is not None:
            self.curve.remove()
        return TrainingCurve.new(slicer.mrmlScene, title).chart

    def draw_log(self, folder: TrainingFolder) -> slicer.vtkMRMLPlotChartNode:
        """The chart of the curve of a training as far as its log goes; `show` it."""
        curve = TrainingCurve(self.begin(folder.title))
        log = read_log(folder.out)
        losses = [e for e in log if "losses" in e]
        every = max(1, len(losses) // _POINTS)
        for entry in losses[::every]:
            curve.add_losses(entry["step"], entry["losses"])
        for entry in log:
            if "numbers" in entry:
                curve.add_validation(entry["step"], entry["score"], entry["numbers"])
        return curve.chart

    def measured(self, event: Event) -> None:
        """Of the worker, kind "losses" or "validation"."""
        data = event.data
        if self.curve is None or not self.curve.alive():
            return
        if event.kind == "losses":
            self.curve.add_losses(data["step"], data["losses"])
            return
        self.curve.add_validation(data["step"], data["score"], data["numbers"])
        self._note = ""
        try:
            load_pictures(slicer.mrmlScene, data["pictures"])
        except DeepRegistrationError as error:
            self._note = str(error)
        self.refresh()

    # ------------------------------------------------------------------ views

    def show_curve(self) -> None:
        """Bring the curve into the plot view."""
        if self.curve is not None and self.curve.alive():
            self._take_views()
            show_chart(self.curve.chart)
            self._curve_shown = True
            self.refresh()

    def pick_overlay(self, mode: str) -> None:
        """Show the example of the last validation in the slice views in this way; empty: not at all."""
        self.overlays.select(mode)
        self._note = ""
        pictures = picture_nodes(slicer.mrmlScene)
        if not mode or not {"fixed", "moved"} <= set(pictures):
            self._close_overlay()
            if self._curve_shown:  # the layout is again what it was before the overlay
                self.show_curve()
            self.refresh()
            return
        first = self._comparison is None
        self._take_views()
        try:
            if self._comparison is None:
                self._comparison = Comparison(pictures["fixed"], pictures["moved"])
            self._note = self._comparison.show(mode)
        except DeepRegistrationError as error:
            self._close_overlay()
            self._note = str(error)
        if first and self._comparison is not None:
            self._hidden = HiddenSegmentations(slicer.mrmlScene)
            slicer.util.resetSliceViews()
        self.refresh()

    def restore(self) -> None:
        """The views as they were before the training showed anything."""
        self._close_overlay()
        self._curve_shown = False
        saved, self._saved = self._saved, None
        if saved is not None:
            saved.restore()
        self.refresh()

    def forget(self) -> None:
        """The scene goes away, and with it everything that was shown."""
        self._close_overlay()
        self._curve_shown = False
        self._saved = self.curve = None
        self.refresh()

    def _take_views(self) -> None:
        if self._saved is None:
            self._saved = SavedViews(slicer.mrmlScene)

    def _close_overlay(self) -> None:
        comparison, self._comparison = self._comparison, None
        if comparison is not None:
            comparison.close()
        hidden, self._hidden = self._hidden, None
        if hidden is not None:
            hidden.restore()
        self.overlays.select("")

    # ------------------------------------------------------------------ what is shown

    def refresh(self) -> None:
        """Make the widgets agree with what there is."""
        ui, curve = self._ui, self.curve
        has_curve = curve is not None and curve.alive()
        has_pictures = {"fixed", "moved"} <= set(picture_nodes(slicer.mrmlScene))
        ready(
            ui.curveButton,
            "" if has_curve else _("There is no curve yet: train first."),
            _("Losses and validations as lines in the plot view."),
        )
        ready(
            ui.overlayBox,
            "" if has_pictures else _("There is no example yet: it comes with the first validation."),
            _("The example of the last validation; it follows the training."),
        )
        ready(
            ui.restoreButton,
            "" if self._saved is not None else _("The training has not changed the views."),
            _("Layout, layers and slices as they were before."),
        )
        rows = _rows(curve.measured()) if curve is not None and has_curve else []
        ui.numbersTable.setVisible(bool(rows))
        if rows:
            fill_table(ui.numbersTable, rows, ("", _("Before"), _("Best"), _("Now")))
            head = ui.numbersTable.horizontalHeader()
            for column in range(4):
                mode = qt.QHeaderView.Stretch if column else qt.QHeaderView.ResizeToContents
                head.setSectionResizeMode(column, mode)
        said = self._note or ("" if rows else _("What the validations measure is shown here."))
        ui.courseLabel.setText(said)
        ui.courseLabel.setVisible(bool(said))


def _rows(measured: Sequence[dict[str, float]]) -> list[tuple[str, ...]]:
    """What was measured first, at the best score, and last, with the steps after which that was."""
    if not measured:
        return []
    best = max(measured, key=lambda row: row.get(SCORE, float("-inf")))
    columns = (measured[0], best, measured[-1])
    names = list(dict.fromkeys(name for row in measured for name in row if name not in (STEP, SCORE)))
    rows = [(_("After steps"), *(f"{row[STEP]:.0f}" for row in columns))]
    for name in names or [SCORE]:
        rows.append((name, *(f"{row[name]:.4g}" if name in row else "" for row in columns)))
    return rows
