"""Under which title and id a training becomes a model, and in which folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ..io.model_cards import find_models, user_folder
from ..jobs.training_folder import slug
from .training_choices import free_id


class ModelSection:
    """The widgets `titleEdit`, `idEdit`, `modelFolderButton` and `saveButton`; empty fields have what is usual."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._usual_title = ""

    def show(self, usual_title: str, folder: str) -> None:
        """What the model is called where the user says nothing, and the folder the user chose, or ""."""
        self._usual_title = usual_title
        self._ui.modelFolderButton.directory = folder or str(self.usual_folder)
        self._ui.titleEdit.setPlaceholderText(usual_title)
        self._ui.idEdit.setPlaceholderText(free_id(self.title))

    @property
    def title(self) -> str:
        return str(self._ui.titleEdit.text).strip() or self._usual_title

    @property
    def model_id(self) -> str:
        typed = str(self._ui.idEdit.text).strip()
        return typed or free_id(self.title)

    @property
    def folder(self) -> Path:
        """Of this model."""
        return Path(self._ui.modelFolderButton.directory) / self.model_id

    def reason_against(self) -> str:
        """Why a model cannot be saved like this; empty where it can."""
        wanted = self.model_id
        if wanted != slug(wanted):
            said = _("The id {id} has characters that names of files should not have; {better} would do.")
            return said.format(id=wanted, better=slug(wanted))
        if wanted in {m.id for m in find_models()}:
            return _("There is a model {id} already; give another id.").format(id=wanted)
        if self.folder.exists():
            return _("The folder {folder} exists already; give another id.").format(folder=self.folder)
        return ""

    @property
    def usual_folder(self) -> Path:
        """Where methods look for a user's models."""
        return user_folder()
