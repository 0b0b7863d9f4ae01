"""What a user orders of a training, and what is told while it runs. Loads no torch: panels and the command line use it.

A training lives in one folder, `request.out`:

    checkpoint.safetensors   its state, from which it goes on bit for bit (training/checkpoint.py)
    losses.jsonl             one JSON line a step and a validation (training/run_log.py)
    summary.json             where it stands, in short
    model/                   the model, once it is finished (or somewhere else, `request.model_folder`)
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cases import TrainingCases
    from .recipe import Validation


@dataclass(frozen=True)
class TrainingRequest:
    """recipe        id of a recipe (training/recipes)
    out           folder of the training, made where it is not there
    settings      of the recipe by name, texts or values; the others keep their defaults, or those of `start`
    cases         real ones to learn from; None: the recipe's own
    cases_from    what the user called their place, for the command in the model's card
    start         folder or id of a model to go on from (fine-tuning), in the recipe's last stage; None: fresh weights
    steps, batch, learning_rate, validate_every, patience   None: the recipe's
    device        "auto", "cpu", "cuda:0", "mps"
    precision     "auto", "half" or "full": see training/precision.py
    resume        go on where `out` holds a training; without, such a folder is refused
    checkpoint_seconds    between two checkpoints; one is also written at the end and on Cancelled
    model_id, title       of the model that is made; None: the recipe's id, and the recipe's title
    model_folder  where the model is written; None: `out`/model
    half          the model's weights are kept in half precision; its results are measured with them
    """

    recipe: str
    out: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    cases: TrainingCases | None = None
    cases_from: str = ""
    start: str | None = None
    steps: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    validate_every: int | None = None
    patience: int | None = None
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0
    resume: bool = False
    checkpoint_seconds: float = 120.0
    model_id: str | None = None
    title: str | None = None
    model_folder: Path | None = None
    half: bool = False

    @property
    def command(self) -> str:
        """The command line that trains the same model; of folders of this computer only the name is told."""
        words = ["python", "-m", "DeepRegistrationLib", "train", self.recipe, "--out", "OUT"]
        for name, value in self.settings.items():
            words += ["--set", f"{name}={value}"]
        numbers = {
            "cases": _shareable(self.cases_from),
            "start": _shareable(self.start),
            "steps": self.steps,
            "batch": self.batch,
            "learning-rate": self.learning_rate,
            "validate-every": self.validate_every,
            "patience": self.patience,
            "id": self.model_id,
            "title": self.title,
        }
        for name, value in numbers.items():
            words += [] if value is None else [f"--{name}", str(value)]
        words += ["--precision", self.precision] if self.precision != "auto" else []
        words += ["--half"] if self.half else []
        return shlex.join([*words, "--seed", str(self.seed)])


def _shareable(place: str | None) -> str | None:
    if not place:
        return None
    path = Path(place)
    return path.name if path.is_absolute() or place.startswith("~") else place


@dataclass(frozen=True)
class LossEvent:
    """After a step. `step` counts those done, of `steps`.

    losses         by name, as the recipe calls them; their sum is `total`
    learning_rate, gradient_norm   of the step; the norm before clipping
    """

    step: int
    steps: int
    stage: str
    losses: Mapping[str, float]
    total: float
    learning_rate: float
    gradient_norm: float


@dataclass(frozen=True)
class ValidationEvent:
    """After a validation: of the network as it was after `step` steps; best: none of this stage was better."""

    step: int
    steps: int
    stage: str
    validation: Validation
    best: bool


@dataclass(frozen=True)
class MessageEvent:
    """A sentence the user should read: training goes on from step ..., stopped early ..."""

    text: str


TrainingEvent = LossEvent | ValidationEvent | MessageEvent

#: called in the training's own thread, one event at a time, by the first process only
Report = Callable[[TrainingEvent], None]
