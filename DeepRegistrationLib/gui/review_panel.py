"""The panel that reviews a registration: what is reviewed, a measurement in the worker, and what it shows.

Errors are one sentence in the panel with the log a click away; nothing pops up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError
from ..mrml.open_result import open_result_folder
from ..mrml.results import provenance_of
from ..mrml.review_inputs import ReviewNodes, review_nodes_of
from ..mrml.review_results import ReviewOutputs, outputs_of
from ..mrml.views import SavedViews
from .batch_section import BatchSection
from .compare_section import CompareSection
from .landmark_section import LandmarkSection
from .map_section import MapSection
from .module_widget import Panel
from .numbers import time_left
from .report_section import ReportSection
from .review_run import ReviewRun
from .segment_section import SegmentSection
from .transform_section import TransformSection

#: parameter of the panel -> field of ReviewNodes
_INPUTS = {
    "fixed": "fixed",
    "moving": "moving",
    "fixedMask": "fixed_mask",
    "fixedSegmentation": "fixed_segmentation",
    "movingSegmentation": "moving_segmentation",
    "fixedLandmarks": "fixed_landmarks",
    "movingLandmarks": "moving_landmarks",
}


class ReviewPanel(Panel):
    """Connects the widgets `ui` (by their names in DeepRegistrationReview.ui) with the parts of the library.

    `show(node)` makes the panel show a parameter node, `show(None)` lets go of it.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self._parameters: Any = None
        self._run: ReviewRun | None = None
        self._saved_views: SavedViews | None = None
        self._shown_transform: str | None = None
        self._shown_inputs: tuple[Any, ...] | None = None
        self._outputs: ReviewOutputs | None = None
        self._said: list[str] = []
        self._refreshing = False
        self.maps = MapSection(ui, self._take_views_for_map, self._views_left)
        self.compare = CompareSection(ui, self._take_views_for_comparison, self._views_left)
        self.segments = SegmentSection(ui, self._take_views)
        self.landmarks = LandmarkSection(ui, self._take_views)
        self.transform = TransformSection(ui, self._take_views)
        self.report = ReportSection(ui, self._lend_views)
        self.batch = BatchSection(ui, self.open_case)
        ui.showLogButton.connect("clicked(bool)", lambda _on: self._toggle_log())
        ui.restoreButton.connect("clicked(bool)", lambda _on: self.restore_views())
        ui.logText.hide()
        self._say("")
        self._set_running(False)
        self._show_outputs(None)

    # ------------------------------------------------------------------ state

    @property
    def running(self) -> bool:
        return self._run is not None

    @property
    def outputs(self) -> ReviewOutputs | None:
        """What the last measurement of the chosen transform gave."""
        return self._outputs

    def show(self, parameters: Any) -> None:
        """Show `parameters` (None: the scene goes away; a measurement that runs is ended without a word)."""
        self._parameters = parameters
        if parameters is None:
            self.abandon()
            self._close_overlays()
            self._saved_views = None
            self._shown_transform = self._shown_inputs = None
            self._show_outputs(None)
            self.transform.show(None)
            self._show_views_taken()
            return
        # what a saved scene says counts, not what the references of its transform would fill in
        transform = parameters.transform
        self._shown_transform = transform.GetID() if transform is not None else ""
        if transform is not None and parameters.fixed is None:
            self._shown_transform = None
        self._outputs = None
        self.refresh()
        self._show_outputs(outputs_of(transform) if transform is not None else None)

    def refresh(self, _caller: Any = None, _event: Any = None) -> None:
        """Make every widget agree with the parameter node; also called by VTK when that is modified."""
        if self._parameters is None or self._refreshing:
            return
        self._refreshing = True
        try:
            self._follow_transform()
            self._describe()
            self._show_readiness()
        finally:
            self._refreshing = False

    def abandon(self) -> None:
        """End a measurement that runs, without a word."""
        run, self._run = self._run, None
        if run is not None:
            run.abandon()
        self._set_running(False)

    def leave(self) -> None:
        """The user goes to another module: views are put back as they were before the review."""
        self.restore_views()

    def close(self) -> None:
        """The module is unloaded."""
        self.abandon()
        self.restore_views()

    # ------------------------------------------------------------------ measuring

    def measure_or_cancel(self) -> None:
        """What the button does: start, or end what runs."""
        if self._run is not None:
            self._run.cancel()
        elif self._parameters is not None:
            self._start()

    def _start(self) -> None:
        self._say("")
        self._said = []
        self.ui.logText.clear()
        self.restore_views()
        try:
            nodes = self.nodes()
            nodes.check()
            self._run = ReviewRun(nodes, self, ensemble=self._ensemble(nodes))
        except DeepRegistrationError as error:
            self._say(str(error))
            return
        self._set_running(True)

    def progressed(self, fraction: float, text: str, seconds_left: float | None) -> None:
        """See review_run.Listener."""
        self.ui.progressBar.setValue(round(100 * fraction))
        left = time_left(seconds_left)
        self.ui.statusLabel.setText(f"{text} - {left}" if left else text)

    def heard(self, text: str) -> None:
        """See review_run.Listener."""
        self._said.append(text)
        self.ui.logText.appendPlainText(text)

    def reviewed(self, outputs: ReviewOutputs) -> None:
        """See review_run.Listener."""
        self._run = None
        self._set_running(False)
        self._say(" ".join(outputs.messages), log=False)
        self._show_outputs(outputs)
        self.refresh()

    def failed(self, sentence: str) -> None:
        """See review_run.Listener."""
        self._run = None
        self._set_running(False)
        self._say(sentence)
        self.refresh()

    def nodes(self) -> ReviewNodes:
        """What is chosen, with what the references of a result of ours add (its inverse, its uncertainty)."""
        parameters = self._parameters
        chosen = {field: getattr(parameters, name) for name, field in _INPUTS.items()}
        nodes = review_nodes_of(parameters.transform)
        return nodes.replaced(**chosen, use_inverse=bool(parameters.useInverse))

    def _ensemble(self, nodes: ReviewNodes) -> dict[str, Any] | None:
        made = provenance_of(nodes.transform)
        if not self._parameters.uncertainty or not made.get("method"):
            return None
        return {
            "method": made["method"],
            "preset": None,
            "values": dict(made.get("parameters") or {}),
            "members": int(self._parameters.members),
            "seed": int(made.get("seed") or 0),
        }

    # ------------------------------------------------------------------ overlays

    def restore_views(self) -> None:
        """Everything that the review put into the views goes, and they are as they were before."""
        self._close_overlays()
        if self._saved_views is not None:
            self._saved_views.restore()
            self._saved_views = None
        self._show_views_taken()

    def _close_overlays(self) -> None:
        self.report.abandon()
        self.compare.close()
        self.maps.close()
        self.landmarks.close()
        self.transform.close()

    def _take_views(self) -> None:
        if self._saved_views is None:
            self._saved_views = SavedViews(slicer.mrmlScene)
        self._show_views_taken()

    def _take_views_for_map(self) -> None:
        self._take_views()
        self.compare.close()

    def _take_views_for_comparison(self) -> None:
        self._take_views()
        self.maps.close()

    def _views_left(self) -> None:
        """One of the sections has let go; where none holds the views any more they are put back."""
        if not self.maps.maps.value and not self.compare.modes.value:
            self.restore_views()

    def _show_views_taken(self) -> None:
        taken = self._saved_views is not None
        self.ui.restoreButton.setEnabled(taken)
        self.ui.restoreButton.setToolTip(
            _("Layout, layers, colours and slices as they were before the review.")
            if taken
            else _("The review has not changed the views.")
        )

    def _lend_views(self) -> Callable[[], None]:
        """Map and comparison go; what is given back shows them again."""
        map_id, mode = self.maps.maps.value, self.compare.modes.value
        self.maps.close()
        self.compare.close()

        def give_back() -> None:
            if map_id:
                self.maps.pick(map_id)
            if mode:
                self.compare.pick(mode)

        return give_back

    # ------------------------------------------------------------------ batch

    def open_case(self, folder: Path) -> None:
        """Load a result of the command line and review it."""
        try:
            result = open_result_folder(folder)
        except DeepRegistrationError as error:
            self.ui.batchLabel.setText(str(error))
            return
        self._parameters.transform = result.transform
        self.refresh()
        self._start()

    # ------------------------------------------------------------------ what is shown

    def _follow_transform(self) -> None:
        """A transform of ours fills in the volumes and the rest when it is chosen."""
        transform = self._parameters.transform
        chosen = transform.GetID() if transform is not None else ""
        if chosen == self._shown_transform:
            return
        self._shown_transform = chosen
        self.restore_views()
        if transform is not None:
            filled = review_nodes_of(transform)
            if filled.fixed is not None:
                with slicer.util.NodeModify(self._parameters):
                    self._parameters.useInverse = False
                    for name, field in _INPUTS.items():
                        setattr(self._parameters, name, getattr(filled, field))
        self._show_outputs(outputs_of(transform) if transform is not None else None)

    def _describe(self) -> None:
        parameters = self._parameters
        key = (self._shown_transform, parameters.fixed, parameters.moving, bool(parameters.useInverse))
        if key != self._shown_inputs:
            self._shown_inputs = key
            self.transform.show(self.nodes() if parameters.transform is not None else None)

    def _show_readiness(self) -> None:
        parameters, ui = self._parameters, self.ui
        nodes = self.nodes() if parameters.transform is not None else None
        method = provenance_of(nodes.transform).get("method", "") if nodes is not None else ""
        for widget in (ui.uncertaintyCheck, ui.membersBox):
            widget.setEnabled(bool(method))
            widget.setToolTip(
                _("Runs {method} again from slightly other starts, noise and settings; where the runs disagree, "
                  "trust the result less. Takes as many times as long.").format(method=method)
                if method
                else _("Only for a transform that Deep Registration made: others cannot be run again.")
            )  # fmt: skip
        if self.running:
            return
        reason = self._reason_against(nodes)
        ui.measureButton.setEnabled(not reason)
        ui.measureButton.setToolTip(reason or _("Maps, numbers, tables and plots of this alignment."))

    @staticmethod
    def _reason_against(nodes: ReviewNodes | None) -> str:
        if nodes is None:
            return _("Choose the transform that is to be reviewed.")
        try:
            nodes.check()
        except DeepRegistrationError as error:
            return str(error)
        return ""

    def _show_outputs(self, outputs: ReviewOutputs | None) -> None:
        self._outputs = outputs
        fixed = self._parameters.fixed if self._parameters is not None and outputs is not None else None
        metrics: Mapping[str, Any] = outputs.metrics if outputs is not None else {}
        self.maps.show(fixed, outputs.maps if outputs is not None else {}, metrics.get("maps") or {})
        self.compare.show(fixed, outputs.moved if outputs is not None else None)
        self.segments.show(outputs)
        self.landmarks.show(outputs)
        warnings = list(metrics.get("warnings") or ())
        calm = _("Nothing stands out: no folding, and no structure or landmark got worse.") if outputs else ""
        self.ui.warningsLabel.setText("\n".join(warnings) or calm)
        self.ui.warningsLabel.setVisible(outputs is not None)
        self.report.show(outputs, fixed)

    def _set_running(self, running: bool) -> None:
        ui = self.ui
        ui.progressBar.setVisible(running)
        ui.statusLabel.setVisible(running)
        ui.progressBar.setValue(0)
        ui.statusLabel.setText(_("Starting") if running else "")
        ui.measureButton.setText(_("Cancel") if running else _("Measure"))
        if running:
            ui.measureButton.setToolTip(_("End the measurement and leave the scene as it is."))
            ui.measureButton.setEnabled(True)

    def _say(self, text: str, *, log: bool = True) -> None:
        self.ui.messageLabel.setText(text)
        self.ui.messageFrame.setVisible(bool(text))
        self.ui.showLogButton.setVisible(bool(text) and log)

    def _toggle_log(self) -> None:
        job = self._run.job if self._run is not None else None
        if job is not None:
            self.ui.logText.setPlainText("\n".join([job.log_text().rstrip(), *self._said]).strip())
        self.ui.logText.setVisible(not self.ui.logText.visible)
