"""Where a training that was started from a panel lives until it is a model: what was ordered, its cases, its state.

    order.json   what was ordered (TrainingOrder) and its title
    cases/       scans and segmentations that came from a scene
    run/         `TrainingOrder.out`: checkpoint, log, pictures, model

Such a folder outlives job, scene and application; from it a training goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..core.errors import InputError, OutputError
from ..io.model_cards import CARD, user_folder, write_json
from ..training.run_log import SUMMARY
from .training import TrainingOrder, order_of

_ORDER = "order.json"
#: a state that can be gone on from is there
_CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Standing:
    """How far a training has come: `step` of `steps`; began: it can be gone on from; finished: it is a model."""

    step: int
    steps: int
    began: bool
    finished: bool

    @property
    def can_continue(self) -> bool:
        return self.began and not self.finished


class TrainingFolder:
    """`path` is the folder."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, title: str, base: Path | None = None) -> TrainingFolder:
        """A new one in `base` or `trainings_folder()`. Raises OutputError where it cannot be made."""
        parent = trainings_folder() if base is None else base
        name = f"{time.strftime('%Y-%m-%d %H.%M.%S')} {slug(title)}"
        path = parent / name
        try:
            number = 2
            while path.exists():
                path, number = parent / f"{name} {number}", number + 1
            path.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise OutputError(
                f"No folder for the training could be made in {str(parent)!r} ({error.strerror or error}); free some "
                "space or ask for permission."
            ) from error
        return cls(path)

    @property
    def out(self) -> Path:
        return self.path / "run"

    @property
    def cases(self) -> Path:
        return self.path / "cases"

    @property
    def title(self) -> str:
        return str(self._read().get("panel_title") or self.path.name)

    def write_order(self, order: TrainingOrder, title: str) -> None:
        """Raises OutputError."""
        write_json(self.path / _ORDER, {**asdict(order), "panel_title": title})

    def order(self) -> TrainingOrder:
        """Raises InputError where there is none."""
        said = self._read()
        if not said:
            raise InputError(f"There is no training in {str(self.path)!r} any more; start a new one.")
        return order_of(said)

    def standing(self) -> Standing:
        """How far it has come, whatever became of its process."""
        summary = _read(self.out / SUMMARY)
        steps = int(summary.get("steps") or self._read().get("steps") or 0)
        step = int(summary.get("step") or 0)
        began = (self.out / _CHECKPOINT).is_file()
        # a training that goes on after its end has a model already
        return Standing(step, steps, began, step >= steps and (self.out / "model" / CARD).is_file())

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def _read(self) -> dict[str, Any]:
        return _read(self.path / _ORDER)


def trainings_folder() -> Path:
    """Beside the user's own models; it need not exist."""
    return user_folder().parent / "Trainings"


def training_folders(base: Path | None = None) -> list[TrainingFolder]:
    """All there are, the latest first."""
    parent = trainings_folder() if base is None else base
    found = [TrainingFolder(file.parent) for file in parent.glob(f"*/{_ORDER}")]
    return sorted(found, key=lambda folder: folder.path.name, reverse=True)


def slug(title: str) -> str:
    """A title as a name of files: letters, digits and single hyphens, in lower case."""
    plain = "".join(c if c.isascii() and c.isalnum() else " " for c in title.lower())
    return "-".join(plain.split()) or "model"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
