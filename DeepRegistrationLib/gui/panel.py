"""The panel that aligns two scans: widgets on one side, logic and parameter node on the other.

Errors are one sentence in the panel with the log a click away; nothing pops up, on success or on failure.
"""

from __future__ import annotations

import json
import logging
import traceback
from typing import Any, Protocol

import slicer
from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError
from ..core.spec import MethodSpec
from ..jobs import Event, RunningJob, blocking
from ..mrml.alternatives import candidates_of, choose, chosen, left_with_best
from ..mrml.map_nodes import show_map
from ..mrml.order import Order
from ..mrml.results import RegistrationNodes, nodes_of_result, restore_moving
from ..mrml.views import SavedViews, hide_legend, show_jacobian, show_pair
from .candidates import CandidateList
from .choices import ChoiceList, device_items, known_method, method_items, preset_items, view_items
from .form import ParameterForm
from .models import ModelPicker
from .module_widget import Panel
from .numbers import fill_table, result_rows, time_left
from .readiness import mark_unused, reason_against, sentence
from .start import SegmentNames, input_nodes
from .torch_setup import offer_torch, torch_is_installed
from .watch import JobWatch


class Logic(Protocol):
    """What the panel asks of the module's logic."""

    def start(self, parameterNode: Any) -> tuple[Order, RunningJob]: ...


class AlignPanel(Panel):
    """Connects the widgets `ui` (by their names in DeepRegistration.ui) with `logic`.

    The parameter node holds method, preset, values (JSON of what the user set), device and the node of the
    last result besides the input nodes; `show(node)` makes the panel show it, `show(None)` lets go of it.
    """

    def __init__(self, ui: Any, logic: Logic) -> None:
        self.ui = ui
        self._logic = logic
        self._parameters: Any = None
        self._watch: JobWatch | None = None
        self._order: Order | None = None
        self._saved_views: SavedViews | None = None
        self._job: RunningJob | None = None  # the last one, for its log
        self._said: list[str] = []  # what it said besides the log
        self._refreshing = False
        self._shown: tuple[str, str] | None = None  # method and preset whose settings the form shows
        self._shown_result: str | None = None
        self._segments = SegmentNames()
        self.form = ParameterForm(ui.settingsContainer, self._settings_edited)
        self.methods = ChoiceList(ui.methodBox, self._method_picked)
        self.presets = ChoiceList(ui.presetBox, self._preset_picked)
        self.devices = ChoiceList(ui.deviceBox, self._device_picked)
        self.views = ChoiceList(ui.viewBox, self._view_picked)
        self.candidates = CandidateList(ui, self._candidate_picked)
        self.models = {
            "fixedModels": ModelPicker(ui.fixedModelsSelector, lambda nodes: self._change(fixedModels=nodes)),
            "movingModels": ModelPicker(ui.movingModelsSelector, lambda nodes: self._change(movingModels=nodes)),
        }
        self.methods.fill(*method_items())
        self.devices.fill(device_items())
        self.views.fill(view_items(None))
        ui.resetButton.connect("clicked(bool)", lambda _on: self._reset_settings())
        ui.showLogButton.connect("clicked(bool)", lambda _on: self._open_log())
        ui.logButton.connect("contentsCollapsed(bool)", lambda _folded: self._complete_log())
        ui.undoButton.connect("clicked(bool)", lambda _on: self._put_back())
        ui.torchButton.connect("clicked(bool)", lambda _on: self._install_torch())
        self._say("")
        self._set_running(False)

    # ------------------------------------------------------------------ state

    @property
    def running(self) -> bool:
        return self._watch is not None

    def show(self, parameters: Any) -> None:
        """Show `parameters` (None: the scene goes away; a job that runs is ended and nobody is told)."""
        self._parameters = parameters
        self._shown_result = None
        if parameters is None:
            self.abandon()
            self._saved_views = None
            self.views.select("")
            return
        if not parameters.method:
            parameters.method = known_method("").id  # a saved scene shall not change with the default
        self.refresh()

    def enter(self) -> None:
        """Models that were trained or taken away meanwhile come and go as methods."""
        self.methods.fill(*method_items())
        self.refresh()

    def refresh(self, _caller: Any = None, _event: Any = None) -> None:
        """Make every widget agree with the parameter node; also called by VTK when that is modified."""
        if self._parameters is None or self._refreshing:
            return
        self._refreshing = True
        try:
            self._show_choices()
            self._show_result()
            self._show_readiness()
        finally:
            self._refreshing = False

    def abandon(self) -> None:
        """End a job that runs without a word: the scene is closed or the module unloaded."""
        watch, order = self._watch, self._order
        self._watch = self._order = None
        if watch is not None:
            watch.abandon()
        if order is not None:
            order.folder.remove()
        self._say("")
        self._set_running(False)

    def close(self) -> None:
        """End everything that was started, also the process that waits for the next alignment."""
        self.abandon()
        blocking.shared_runner().close()

    def apply_or_cancel(self) -> None:
        """What the button does: start, or end what runs."""
        if self._watch is not None:
            self._watch.cancel()
        elif self._parameters is not None:
            self._start()

    # ------------------------------------------------------------------ a run

    def _start(self) -> None:
        self._say("")
        self.ui.logText.clear()
        self._leave_overlay()
        try:
            self._order, job = self._logic.start(self._parameters)
        except DeepRegistrationError as error:
            self._say(str(error))
            return
        self._set_running(True)
        self._job, self._said = job, []
        self._watch = JobWatch(job, self)

    def heard(self, event: Event) -> None:
        """A word of the worker (see jobs.Event)."""
        if event.kind == "progress":
            self.ui.progressBar.setValue(round(100 * event.fraction))
            left = time_left(event.seconds_left)
            self.ui.statusLabel.setText(f"{event.stage} - {left}" if left else event.stage)
        elif event.text:
            if event.kind != "log":
                self._said.append(event.text)
            self.ui.logText.appendPlainText(event.text)

    def finished(self, event: Event) -> None:
        """The last word of the worker."""
        order, self._watch, self._order = self._order, None, None
        self._set_running(False)
        if order is None:
            return
        try:
            if event.kind == "result":
                self._load(order, event)
            elif event.category == "cancelled":
                self._say(_("Cancelled; the scene is as it was."), log=False)
            else:
                self._say(event.text)
        finally:
            order.folder.remove()
            self.refresh()

    def _load(self, order: Order, event: Event) -> None:
        try:
            result = order.load(event.data)
        except DeepRegistrationError as error:
            self._say(str(error))
        except Exception:
            logging.exception("The result of an alignment could not be loaded")
            self._said.append(traceback.format_exc())
            self._complete_log()
            self._say(_("The result could not be loaded; the scene is as it was."))
        else:
            self._say(" ".join(result.messages), log=False)
            self._parameters.result = result.transform

    def _open_log(self) -> None:
        self.ui.logButton.collapsed = False
        self._complete_log()

    def _complete_log(self) -> None:
        """The last lines of a process that failed may come after the word that it failed."""
        if self._job is not None and not self.running:
            self.ui.logText.setPlainText("\n".join([self._job.log_text().rstrip(), *self._said]).strip())

    # ------------------------------------------------------------------ the user's choices

    def _method_picked(self, method: str) -> None:
        self._change(method=method, preset=self._kept_preset(method), values="{}")

    def _preset_picked(self, preset: str) -> None:
        self._change(preset=preset, values="{}")

    def _device_picked(self, device: str) -> None:
        self._change(device=device)

    def _settings_edited(self) -> None:
        self._change(values=json.dumps(self.form.overrides()))

    def _reset_settings(self) -> None:
        self._change(values="{}")

    def _change(self, **values: Any) -> None:
        """Write into the parameter node, which then makes the widgets agree."""
        if self._parameters is None or self._refreshing:
            return
        with slicer.util.NodeModify(self._parameters):
            for name, value in values.items():
                setattr(self._parameters, name, value)
        self.refresh()

    def _kept_preset(self, method: str) -> str:
        preset = str(self._parameters.preset) if self._parameters is not None else ""
        return preset if any(p.id == preset for p in known_method(method).presets) else ""

    def _view_picked(self, view: str) -> None:
        result = self._result()
        if result is None or not view:
            self._leave_overlay()
            return
        if self._saved_views is None:
            self._saved_views = SavedViews(slicer.mrmlScene)
        fixed = result.transform.GetNodeReference("DeepRegistration.fixed")
        if fixed is None:
            return
        hide_legend(result)
        if view in result.maps:
            show_map(result.maps[view], fixed)
        else:
            (show_pair if view == "pair" else show_jacobian)(result, fixed)

    def _candidate_picked(self, number: int) -> None:
        result = self._result()
        if result is None:
            return
        self._say("")  # what was said is about the best one
        try:
            with slicer.util.WaitCursor():
                choose(result.transform, number)
        except DeepRegistrationError as error:
            self._say(str(error), log=False)
        self._shown_result = None
        self.refresh()

    def _leave_overlay(self) -> None:
        result = self._result()
        if result is not None:
            hide_legend(result)
        if self._saved_views is not None:
            self._saved_views.restore()
            self._saved_views = None
        self.views.select("")

    def _put_back(self) -> None:
        result = self._result()
        if result is not None:
            restore_moving(result.transform)

    def _install_torch(self) -> None:
        self._say(offer_torch(), log=False)
        self.refresh()

    # ------------------------------------------------------------------ what is shown

    def _spec(self) -> MethodSpec:
        return known_method(self._parameters.method)

    def _show_choices(self) -> None:
        parameters, spec = self._parameters, self._spec()
        self.methods.select(spec.id)
        self.presets.fill(preset_items(spec))
        self.presets.select(self._kept_preset(spec.id))
        self.devices.select(parameters.device)
        self.ui.methodBox.setToolTip(spec.description)
        mark_unused(self.ui, spec)
        nodes = input_nodes(parameters)
        for name, picker in self.models.items():
            picker.show(getattr(nodes, name.replace("Models", "_surfaces")))
        shown = (spec.id, self.presets.value)
        if self._shown is None or self._shown[0] != spec.id:
            self.form.show(spec, shown[1] or None)
        elif self._shown != shown:
            self.form.set_base(spec, shown[1] or None)
        self._shown = shown
        self.form.set_segments(self._segments.of(nodes, spec))
        overrides = _read_values(parameters.values)
        if overrides != self.form.overrides():
            self.form.set_overrides(overrides)
        self.ui.resetButton.setEnabled(bool(self.form.overrides()))

    def _show_readiness(self) -> None:
        nodes = input_nodes(self._parameters)
        self.ui.sentenceLabel.setText(sentence(nodes))
        has_torch = torch_is_installed()
        self.ui.torchFrame.setVisible(not has_torch)
        if self.running:
            return
        reason = reason_against(nodes, self._spec())
        if not has_torch:
            reason = _("PyTorch is not installed; install it with the button above.")
        self.ui.applyButton.setEnabled(not reason)
        self.ui.applyButton.setToolTip(reason or f"{sentence(nodes)} {self._spec().description}")

    def _result(self) -> RegistrationNodes | None:
        node = self._parameters.result if self._parameters is not None else None
        return nodes_of_result(node) if node is not None else None

    def _show_result(self) -> None:
        node = self._parameters.result
        key = node.GetID() if node is not None else ""
        if key == self._shown_result:
            return
        self._shown_result = key
        result = self._result()
        self.ui.resultButton.setVisible(result is not None)
        if result is not None:
            fill_table(self.ui.resultTable, result_rows(result.metrics, result.provenance))
            warnings = result.metrics.get("warnings") or ()
            self.ui.resultLabel.setText("\n".join([result.transform.GetName(), *warnings]))
            self.candidates.show(
                candidates_of(result.transform), chosen(result.transform), left_with_best(result)
            )
            self.views.fill(view_items(result))

    def _set_running(self, running: bool) -> None:
        self.ui.progressBar.setVisible(running)
        self.ui.statusLabel.setVisible(running)
        self.ui.progressBar.setValue(0)
        self.ui.statusLabel.setText(_("Starting") if running else "")
        self.ui.applyButton.setText(_("Cancel") if running else _("Apply"))
        if running:
            self.ui.applyButton.setToolTip(_("End the alignment and leave the scene as it is."))
            self.ui.applyButton.setEnabled(True)

    def _say(self, text: str, *, log: bool = True) -> None:
        self.ui.messageLabel.setText(text)
        self.ui.messageFrame.setVisible(bool(text))
        self.ui.showLogButton.setVisible(bool(text) and log)


def _read_values(text: str) -> dict[str, Any]:
    """What the user had set; a text that cannot be read counts as nothing."""
    try:
        values = json.loads(text or "{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
