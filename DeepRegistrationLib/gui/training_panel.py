"""The panel that trains a model on a user's own cases: what is learned, from what, how it goes, and saving it.

Errors are one sentence in the panel with the log a click away; nothing pops up. What was learned lies in a folder of
its own whatever becomes of the process, and any training there can be chosen and gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError
from ..io.model_cards import find_models
from ..jobs import Event
from ..jobs.training import TrainingOrder
from ..jobs.training_folder import Standing, TrainingFolder, training_folders
from ..methods import registry
from ..mrml.training_cases import CaseRow
from .choices import ChoiceList
from .course_section import CourseSection
from .model_section import ModelSection
from .module_widget import Panel
from .numbers import time_left
from .ready import ready
from .scene_watch import SceneWatch
from .setup_section import SetupSection
from .torch_setup import offer_torch, torch_is_installed
from .training_run import TrainingRun


class TrainingPanel(Panel):
    """Connects the widgets `ui` (by their names in DeepRegistrationTraining.ui) with the parts of the library."""

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self._parameters: Any = None
        self._run: TrainingRun | None = None
        self._doing = ""  # "train" or "save" while something runs
        self._last: TrainingRun | None = None  # for its log
        self._said: list[str] = []  # all that it said besides its log
        self._messages: list[str] = []  # what of it the user should read
        self._refreshing = False
        self._scene = SceneWatch(self.refresh)  # volumes that come and go are cases that come and go
        self._scene.active = False
        self.setup = SetupSection(ui, self._change, lambda text: self._say(text, log=False))
        self.trainings = ChoiceList(ui.trainingsBox, self._training_picked)
        self.course = CourseSection(ui)
        self.model = ModelSection(ui)
        ui.continueButton.connect("clicked(bool)", lambda _on: self.go_on())
        ui.saveButton.connect("clicked(bool)", lambda _on: self.save())
        ui.deleteButton.connect("clicked(bool)", lambda _on: self._delete())
        ui.torchButton.connect("clicked(bool)", lambda _on: self._install_torch())
        ui.showLogButton.connect("clicked(bool)", lambda _on: self._open_log())
        ui.modelFolderButton.connect("directorySelected(QString)", lambda folder: self._change(modelFolder=folder))
        self._say("")
        self._set_doing("")

    # ------------------------------------------------------------------ state

    @property
    def running(self) -> bool:
        return self._run is not None

    @property
    def folder(self) -> TrainingFolder | None:
        """Of the training that is shown; None: a new one, or one that is not there any more."""
        path = str(self._parameters.folder) if self._parameters is not None else ""
        return TrainingFolder(path) if path and Path(path).is_dir() else None

    def show(self, parameters: Any) -> None:
        """Show `parameters`; None: the scene goes away. A training that runs ends with a checkpoint."""
        self._parameters = parameters
        self.setup.show(parameters)
        if parameters is None:
            self._scene.stop()
            self.abandon()
            self.course.forget()
            return
        self._scene.start()
        self.refresh()

    def enter(self) -> None:
        """The user comes back: models, trainings and the views may be others meanwhile."""
        self._scene.active = True
        self.setup.look_for_models()
        self.refresh()
        if self._doing == "train":
            self.course.show_curve()

    def leave(self) -> None:
        """The views are put back; a training goes on."""
        self._scene.active = False
        self.course.restore()

    def refresh(self, _caller: Any = None, _event: Any = None) -> None:
        """Make every widget agree with the parameter node; also called by VTK when that is modified."""
        if self._parameters is None or self._refreshing:
            return
        self._refreshing = True
        try:
            self.setup.refresh()
            self.model.show(self.setup.usual_title, str(self._parameters.modelFolder))
            self.course.show(self._parameters.chart)
            self._show_trainings()
            self._show_readiness()
        finally:
            self._refreshing = False

    def abandon(self) -> None:
        """Let go of a training that runs; it writes down what it has learned and ends by itself."""
        run, self._run = self._run, None
        if run is not None:
            run.abandon()
        self._say("")
        self._set_doing("")

    def close(self) -> None:
        """The application closes: a training that runs gets a moment to write down what it has learned."""
        run = self._run
        self.abandon()
        self._scene.stop()
        if run is not None:
            run.wait_for_checkpoint()
        self.course.restore()

    # ------------------------------------------------------------------ a run

    def train_or_stop(self) -> None:
        """What the button does: start anew, or stop what runs."""
        if self._run is not None:
            self.ui.statusLabel.setText(_("Stopping; what was learned is written down"))
            self._run.stop()
            self._show_readiness()
            return
        title = self.model.title
        try:
            folder = TrainingFolder.create(title)
        except DeepRegistrationError as error:
            self._say(str(error), log=False)
            return
        order = self.setup.order(folder)
        self._change(folder=str(folder.path), chart=self.course.begin(title))
        self._begin(folder, order, title, self.setup.rows)

    def go_on(self) -> None:
        """Go on with the training that is shown, from where it stands."""
        folder = self.folder
        order = self._ordered(folder)
        if folder is None or order is None:
            return
        standing = folder.standing()
        steps = self._steps_to(standing)
        shown = self.course.curve
        if shown is None or not shown.alive():
            self._change(chart=self.course.draw_log(folder))
        if self.course.curve is not None:
            self.course.curve.forget_from(standing.step)
        order = replace(order, resume=True, steps=steps, device=str(self._parameters.device))
        self._begin(folder, order, folder.title)

    def save(self) -> None:
        """Write the model of what was learned so far into the folder of the user's models."""
        folder = self.folder
        order = self._ordered(folder)
        if folder is not None and order is not None:
            wanted = self.model
            order = replace(
                order, save=True, resume=True, model_id=wanted.model_id, title=wanted.title,
                model_folder=str(wanted.folder),
            )  # fmt: skip
            self._begin(folder, order, folder.title)

    def _ordered(self, folder: TrainingFolder | None) -> TrainingOrder | None:
        """What was ordered of a training that nothing is done with now."""
        if folder is None or self.running:
            return None
        try:
            return folder.order()
        except DeepRegistrationError as error:
            self._say(str(error), log=False)
            return None

    def _steps_to(self, standing: Standing) -> int:
        """To which step it goes on: as ordered, or further where that is reached and the user asks for more."""
        return standing.steps if standing.can_continue else max(int(self._parameters.steps), standing.step)

    def _begin(
        self, folder: TrainingFolder, order: TrainingOrder, title: str, rows: Sequence[CaseRow] | None = None
    ) -> None:
        self._say("")
        self._said, self._messages = [], []
        self.ui.logText.clear()
        self._set_doing("save" if order.save else "train")
        self._run = self._last = TrainingRun(folder, order, title, self, rows)
        self._run.begin()
        if self._run is not None and not order.save:
            self.course.show_curve()
        self.refresh()

    def progressed(self, fraction: float, text: str, seconds_left: float | None) -> None:
        """See training_run.Listener."""
        self.ui.progressBar.setValue(round(100 * fraction))
        if self._run is not None and not self._run.stopping:
            left = time_left(seconds_left)
            self.ui.statusLabel.setText(f"{text} - {left}" if left else text)

    def heard(self, text: str, message: bool) -> None:
        """See training_run.Listener."""
        self._said.append(text)
        if message:
            self._messages.append(text)
        self.ui.logText.appendPlainText(text)

    def measured(self, event: Event) -> None:
        """See training_run.Listener."""
        self.course.measured(event)

    def ended(self, how: str, text: str, data: Mapping[str, Any]) -> None:
        """See training_run.Listener."""
        did, self._run = self._doing, None
        self._set_doing("")
        folder = self.folder
        if how == "failed":
            kept = did == "train" and folder is not None and folder.standing().can_continue
            self._say(text + (" " + _("Nothing learned is lost: press Continue.") if kept else ""))
        elif how == "stopped":
            self._say(self._stopped(folder, did), log=False)
        elif did == "save":
            self._say(self._saved(data), log=False)
        else:
            done = _("Finished. Look at the numbers, then save it as a model.")
            self._say(" ".join([done, *self._messages]), log=False)
        if folder is None:
            self._change(folder="")
        self.setup.look_for_models()
        self.refresh()

    def _stopped(self, folder: TrainingFolder | None, did: str) -> str:
        if did == "train" and folder is not None and folder.standing().can_continue:
            standing = folder.standing()
            said = _("Stopped after {step} of {steps} steps; Continue goes on from there.")
            return said.format(step=standing.step, steps=standing.steps)
        return _("Stopped before anything was learned.") if did == "train" else _("Stopped; nothing was saved.")

    def _saved(self, data: Mapping[str, Any]) -> str:
        self._change(title="", modelId="")
        if any(spec.id == data["id"] for spec in registry()):
            return _("Saved: {title} can be chosen in Deep Registration now.").format(title=data["title"])
        if any(model.id == data["id"] for model in find_models()):
            return _("Saved as {id}.").format(id=data["id"])
        said = _("Saved in {folder}. Models are not looked for there; name its parent folder in the environment "
                 "variable DEEPREGISTRATION_MODELS, or copy it to {usual}.")  # fmt: skip
        return said.format(folder=data["folder"], usual=self.model.usual_folder)

    # ------------------------------------------------------------------ the user's choices

    def _training_picked(self, path: str) -> None:
        """Another training is looked at, with the setup that it has; or a new one."""
        self._say("")
        if not path:
            self._change(folder="")
            return
        folder = TrainingFolder(path)
        order = self._ordered(folder)
        if order is None:
            return
        start = next((m.id for m in find_models() if str(m.folder) == order.start), "")
        chart = self.course.draw_log(folder)
        self._change(
            folder=path,
            chart=chart,
            recipe=order.recipe,
            start=start,
            steps=int(order.steps or 1),
            device=order.device,
            values=json.dumps(dict(order.values)),
            title=folder.title,
        )

    def _delete(self) -> None:
        """Remove the training that is shown, with the scans that were written for it."""
        folder = self.folder
        if folder is None or self.running:
            return
        said = _("Delete the training '{title}' with what it has learned and its copies of the scans? Models that were "
                 "saved stay.").format(title=folder.title)  # fmt: skip
        if slicer.util.confirmOkCancelDisplay(said, windowTitle=_("Delete a training")):
            folder.remove()
            self._say("")
            self._change(folder="")

    def _change(self, **values: Any) -> None:
        """Write into the parameter node, which then makes the widgets agree."""
        if self._parameters is None or self._refreshing:
            return
        with slicer.util.NodeModify(self._parameters):
            for name, value in values.items():
                setattr(self._parameters, name, value)
        self.refresh()

    def _install_torch(self) -> None:
        self._say(offer_torch(), log=False)
        self.refresh()

    # ------------------------------------------------------------------ what is shown

    def _show_trainings(self) -> None:
        items = [("", _("A new one"))]
        for folder in training_folders():
            standing = folder.standing()
            far = _("finished") if standing.finished else f"{standing.step}/{standing.steps}"
            if self._run is not None and self._run.folder.path == folder.path:
                far = _("running")
            items.append((str(folder.path), f"{far}: {folder.title}"))
        self.trainings.fill(items)
        self.trainings.select(str(self._parameters.folder) if self.folder is not None else "")

    def _show_readiness(self) -> None:
        ui, has_torch = self.ui, torch_is_installed()
        ui.torchFrame.setVisible(not has_torch)
        folder = self.folder
        standing = folder.standing() if folder is not None else Standing(0, 0, False, False)
        blocked = _("PyTorch is not installed; install it with the button above.") if not has_torch else ""
        stopping = self._run is not None and self._run.stopping
        busy = _("Wait until the training is written down.") if stopping else _("Stop the training first.")
        if self.running:
            tip = busy if stopping else _("End here; what was learned is kept.")
            ready(ui.trainButton, busy if stopping else "", tip)
        else:
            ready(ui.trainButton, blocked or self.setup.reason_against(), _("Begin a new training with this setup."))
        ready(
            ui.continueButton,
            busy if self.running else blocked or self._reason_against_continuing(standing),
            _("Go on from step {step} to step {end}, with the cases and settings it began with.").format(
                step=standing.step, end=self._steps_to(standing)
            ),
        )
        nothing = "" if standing.began else _("There is nothing to save yet: train first.")
        ready(
            ui.saveButton,
            busy if self.running else blocked or nothing or self.model.reason_against(),
            _("Write it to {folder}.").format(folder=self.model.folder),
        )
        ui.trainingsBox.setEnabled(not self.running)
        ready(
            ui.deleteButton,
            busy if self.running else "" if folder is not None else _("Choose the training that is to be deleted."),
            _("Remove this training and its copies of the scans from the disk; saved models stay."),
        )

    def _reason_against_continuing(self, standing: Standing) -> str:
        if not standing.began:
            return _("There is nothing to continue: start a training, or choose one above.")
        if self._steps_to(standing) <= standing.step:
            return _("All {steps} steps are done; ask for more steps to train on.").format(steps=standing.step)
        return ""

    def _set_doing(self, what: str) -> None:
        """ "train", "save", or nothing."""
        self._doing = what
        ui = self.ui
        ui.progressBar.setVisible(bool(what))
        ui.statusLabel.setVisible(bool(what))
        ui.progressBar.setValue(0)
        ui.statusLabel.setText(_("Starting") if what else "")
        ui.trainButton.setText(_("Stop") if what else _("Train"))
        self.setup.set_running(bool(what))

    def _say(self, text: str, *, log: bool = True) -> None:
        self.ui.messageLabel.setText(text)
        self.ui.messageFrame.setVisible(bool(text))
        self.ui.showLogButton.setVisible(bool(text) and log)

    def _open_log(self) -> None:
        self.ui.logButton.collapsed = False
        job = self._last.job if self._last is not None else None
        if job is not None and not self.running:
            self.ui.logText.setPlainText("\n".join([job.log_text().rstrip(), *self._said]).strip())
