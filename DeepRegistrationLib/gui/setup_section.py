"""What is to be trained, from what, and with which settings: the upper part of the training panel."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError
from ..io.model_cards import Model
from ..jobs.training import TrainingOrder
from ..jobs.training_folder import TrainingFolder
from ..mrml.training_cases import (
    TRAIN,
    VALIDATE,
    CaseRow,
    case_rows,
    check_cases,
    remember,
    remembered,
    rows_of_folder,
    segmentations,
)
from ..training.recipe import Recipe
from .case_table import CaseTable
from .choices import ChoiceList, device_items
from .form import ParameterForm
from .training_choices import (
    known_recipe,
    recipe_for,
    recipe_items,
    settings_for,
    start_items,
    starting_models,
    usual_steps,
    usual_title,
    validate_every,
)

#: what a training that runs does not follow any more
_WIDGETS = ("startBox", "recipeBox", "stepsBox", "deviceBox", "casesTable", "addFolderButton", "forgetFilesButton",
            "settingsContainer", "resetButton")  # fmt: skip


class SetupSection:
    """`change(**values)` writes into the parameter node, after which `refresh` is called; `say` shows a sentence."""

    def __init__(self, ui: Any, change: Callable[..., None], say: Callable[[str], None]) -> None:
        self._ui, self._change, self._say = ui, change, say
        self._parameters: Any = None
        self._models: list[Model] = []
        self._shown: tuple[str, str] | None = None  # recipe and start whose settings the form shows
        self._tips = {name: getattr(ui, name).toolTip for name in _WIDGETS}
        self.rows: list[CaseRow] = []
        self.form = ParameterForm(ui.settingsContainer, lambda: change(values=json.dumps(self.form.overrides())))
        self.recipes = ChoiceList(ui.recipeBox, self._recipe_picked)
        self.starts = ChoiceList(ui.startBox, self._start_picked)
        self.devices = ChoiceList(ui.deviceBox, lambda device: change(device=device))
        self.cases = CaseTable(ui.casesTable, self._remember)
        self.devices.fill(device_items())
        ui.resetButton.connect("clicked(bool)", lambda _on: change(values="{}"))
        ui.addFolderButton.connect("clicked(bool)", lambda _on: self._ask_for_folder())
        ui.forgetFilesButton.connect("clicked(bool)", lambda _on: self._forget_files())

    # ------------------------------------------------------------------ what is chosen

    @property
    def recipe(self) -> Recipe | None:
        return known_recipe(self._parameters.recipe) if self._parameters is not None else None

    @property
    def start(self) -> Model | None:
        """The model that is gone on from; None: fresh weights."""
        return self._model(self._parameters.start) if self._parameters is not None else None

    @property
    def usual_title(self) -> str:
        return usual_title(self.recipe, self.start)

    def reason_against(self) -> str:
        """Why this cannot be trained; empty where it can."""
        recipe = self.recipe
        if recipe is None:
            return _("There is no recipe in this version.")
        try:
            check_cases(self.rows, recipe.needs_cases)
        except DeepRegistrationError as error:
            return str(error)
        return ""

    def order(self, folder: TrainingFolder) -> TrainingOrder:
        """What is chosen, to be trained in `folder`; the cases are still to be written."""
        recipe, start, steps = self.recipe, self.start, int(self._parameters.steps)
        assert recipe is not None
        return TrainingOrder(
            recipe=recipe.id,
            out=str(folder.out),
            values=self.form.overrides(),
            start=str(start.folder) if start is not None else None,
            steps=steps,
            validate_every=validate_every(recipe, steps),
            device=self._parameters.device,
        )

    # ------------------------------------------------------------------ showing

    def show(self, parameters: Any) -> None:
        """Show another parameter node, or none."""
        self._parameters = parameters
        self._shown = None
        if parameters is not None:
            self.look_for_models()
            if not parameters.recipe:
                self._choose_usual()

    def look_for_models(self) -> None:
        """Models may have come and gone."""
        self._models = starting_models()

    def refresh(self) -> None:
        """Make the widgets agree with the parameter node."""
        parameters, recipe, start = self._parameters, self.recipe, self.start
        self.starts.fill(*start_items(self._models))
        self.starts.select(start.id if start is not None else "")
        self.recipes.fill(*recipe_items())
        self.devices.select(parameters.device)
        if recipe is not None:
            self.recipes.select(recipe.id)
            self._ui.recipeLabel.setText(recipe.description)
            self._show_settings(recipe, start)
        self._show_cases(recipe)

    def set_running(self, running: bool) -> None:
        """While a training runs its setup is only looked at."""
        for name, tip in self._tips.items():
            widget = getattr(self._ui, name)
            widget.setEnabled(not running)
            widget.setToolTip(_("Stop the training to change this for the next one.") if running else tip)

    def _show_settings(self, recipe: Recipe, start: Model | None) -> None:
        shown = (recipe.id, start.id if start is not None else "")
        if self._shown != shown:
            self.form.show(settings_for(recipe, start), shown[1] or None)
            self._shown = shown
        overrides = _read(self._parameters.values)
        if overrides != self.form.overrides():
            self.form.set_overrides(overrides)
        self._ui.settingsButton.setVisible(bool(self.form.controls))
        if self._ui.settingsContainer.enabled:
            self._ui.resetButton.setEnabled(bool(self.form.overrides()))

    def _show_cases(self, recipe: Recipe | None) -> None:
        scene = slicer.mrmlScene
        self.rows = case_rows(scene, remembered(self._parameters.parameterNode, self._parameters.cases))
        self.cases.show(self.rows, segmentations(scene))
        self._ui.forgetFilesButton.setVisible(any(row.is_file for row in self.rows))
        self._ui.casesLabel.setText(_sentence(self.rows, recipe is not None and recipe.needs_cases))

    # ------------------------------------------------------------------ the user's choices

    def _choose_usual(self) -> None:
        """A model to go on from where there is one, else the first recipe."""
        model = next(iter(self._models), None)
        recipe = recipe_for(model) if model is not None else known_recipe("")
        if recipe is not None:
            start = model.id if model is not None else ""
            self._change(recipe=recipe.id, start=start, steps=usual_steps(recipe, model), values="{}")

    def _start_picked(self, model_id: str) -> None:
        model = self._model(model_id)
        recipe = recipe_for(model) if model is not None else self.recipe
        if recipe is not None:
            self._change(recipe=recipe.id, start=model_id, steps=usual_steps(recipe, model), values="{}")

    def _recipe_picked(self, recipe_id: str) -> None:
        recipe, start = known_recipe(recipe_id), self.start
        assert recipe is not None
        if start is not None and start.architecture != recipe.architecture:
            start = None
        steps = usual_steps(recipe, start)
        self._change(recipe=recipe.id, start=start.id if start is not None else "", steps=steps, values="{}")

    def _remember(self, rows: list[CaseRow]) -> None:
        self._change(cases=remember(self._parameters.parameterNode, rows))

    def _ask_for_folder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self._ui.casesTable, _("Folder of cases"), "")
        if folder:
            self.add_folder(Path(folder))

    def add_folder(self, folder: Path) -> None:
        """Add the cases of a folder to the table."""
        try:
            found = rows_of_folder(folder)
        except DeepRegistrationError as error:
            self._say(str(error))
            return
        self._say("")
        known = {row.image for row in self.rows if row.is_file}
        self._remember([*self.rows, *(row for row in found if row.image not in known)])

    def _forget_files(self) -> None:
        self._remember([row for row in self.rows if not row.is_file])

    def _model(self, model_id: str) -> Model | None:
        return next((m for m in self._models if m.id == model_id), None)


def _sentence(rows: list[CaseRow], needed: bool) -> str:
    """What is learned from, in words."""
    learned = sum(row.role == TRAIN for row in rows)
    checked = sum(row.role == VALIDATE for row in rows)
    if not learned and not checked:
        if needed:
            return _("Load volumes, with segmentations where there are some, or add a folder of cases.")
        return _("No case is used: it learns from made-up anatomy.")
    named = sum(row.role == TRAIN and row.segmentation is not None for row in rows)
    said = _("Learns from {learned} cases, {named} of them with a segmentation.")
    said = said.format(learned=learned, named=named)
    if not checked:
        return f"{said} " + _("None is held back to validate on.")
    return f"{said} " + _("Validates on {checked}.").format(checked=checked)


def _read(text: str) -> Mapping[str, Any]:
    """What the user had set; a text that cannot be read counts as nothing."""
    try:
        values = json.loads(text or "{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
