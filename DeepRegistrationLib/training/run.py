"""A whole training, from a user's request to a model with its card: the same for panel, command line and console."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..core.errors import DeviceMemoryError, InputError, OutputError
from ..core.progress import Progress
from ..io.model_cards import Model, read_model
from ..io.weights import write_model
from ..methods.memory import is_out_of_memory
from . import checkpoint
from .cases import Role
from .checkpoint import Checkpoint, State
from .distributed import Team, joined
from .model_card import card_of
from .recipe import Recipe, Trainee
from .recipes import find_recipe
from .request import MessageEvent, Report, TrainingRequest
from .seeds import seeded
from .settings import make_settings, settings_dict
from .start import load_start, settings_of, starting_model
from .trainer import Plan, Trainer

if TYPE_CHECKING:
    from collections.abc import Sequence

#: share of the progress that is training; the rest is measuring and writing the model
_TRAINED = 0.98


def run_training(request: TrainingRequest, progress: Progress | None = None, report: Report | None = None) -> Model:
    """Trains, and writes the model with its best weights.

    progress  its `update` raises Cancelled where the user asks to stop: a checkpoint is then written first, and a
              request with `resume` goes on from it
    report    is handed the losses of every step, the validations with their pictures, and sentences

    Under `torchrun` every process calls this; the first one reports and writes, all see the folder and give the model.
    Raises InputError, OutputError, DeviceMemoryError, Cancelled.
    """
    progress = progress or Progress()
    with joined(request.device) as team, _memory_in_words(request):
        find_recipe(request.recipe)  # what can be wrong without any work is said first
        kept = _kept(request, team, report)
        progress.update(0.0, "Preparing")
        made = _prepared(request, team)
        trainer = Trainer(made.trainee, made.plan, made.folder, team, progress.part(0.0, _TRAINED), report)
        state = trainer.train(kept)
        if team.first:
            _write(request, made, state, team, progress)
        team.told(None)  # the others wait until the model is there
        return read_model(_model_folder(request))


def save_trained(request: TrainingRequest, progress: Progress | None = None) -> Model:
    """The model of what a training has learned so far, from its checkpoint, without training on.

    Raises InputError where `request.out` holds no training, or another one; OutputError.
    """
    progress = progress or Progress()
    with joined(request.device) as team, _memory_in_words(request):
        made = _prepared(request, team)
        file = made.folder / checkpoint.FILE
        if not file.exists():
            raise InputError(f"{str(made.folder)!r} holds no training; give the folder that was trained in.")
        kept = checkpoint.load(file)
        kept.check(made.plan.identity or {}, made.folder)
        kept.restore_network(made.trainee.network)
        made.trainee.enter(made.plan.stages[kept.state.stage])
        if kept.state.best:
            made.trainee.network.load_state_dict(kept.state.best)
        return _write(request, made, kept.state, team, progress)


@dataclass(frozen=True)
class _Made:
    """What a request comes to."""

    recipe: Recipe
    settings: Any
    trainee: Trainee
    plan: Plan
    start: Model | None
    folder: Path


def _prepared(request: TrainingRequest, team: Team) -> _Made:
    recipe = find_recipe(request.recipe)
    _check(request, recipe)
    start = None if request.start is None else starting_model(request.start, recipe)
    given = {**({} if start is None else settings_of(start, recipe)), **request.settings}
    settings = make_settings(recipe, given)
    with seeded(torch.device("cpu"), request.seed, "weights"):
        trainee = recipe.trainee(settings, request.cases)
    if start is not None:
        load_start(trainee.network, start)
    trainee.network.to(team.device)
    return _Made(recipe, settings, trainee, _plan(request, recipe, settings, start), start, _folder(request))


def _check(request: TrainingRequest, recipe: Recipe) -> None:
    if request.cases is None and recipe.needs_cases:
        raise InputError(f"The recipe {recipe.id} learns from real cases only; give some (--cases FOLDER).")
    if request.cases is not None and not request.cases.of(Role.TRAIN):
        raise InputError("None of the cases is there to train on; give one or more of them the role 'train'.")
    for name in ("steps", "batch", "validate_every"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise InputError(f"{name}={value!r} is out of range; give a whole number from 1 on.")
    if request.patience is not None and request.patience < 0:
        raise InputError(f"patience={request.patience!r} is out of range; give a whole number, 0 for never.")
    if request.learning_rate is not None and not 0 < request.learning_rate < 1:
        raise InputError(f"learning_rate={request.learning_rate!r} is out of range; give a number between 0 and 1.")


def _plan(request: TrainingRequest, recipe: Recipe, settings: Any, start: Model | None) -> Plan:
    def chosen(name: str) -> Any:
        value = getattr(request, name)
        return getattr(recipe, name) if value is None else value

    stages: Sequence[Any] = recipe.stages(settings)
    batch, rate = chosen("batch"), chosen("learning_rate")
    identity = {
        "recipe": recipe.id,
        "settings": settings_dict(settings),
        "seed": request.seed,
        "batch": batch,
        "learning_rate": rate,
        "precision": request.precision,
        "cases": [[c.name, c.role.value] for c in request.cases.cases] if request.cases else [],
        "starting_weights": start.sha256 if start else "none",
    }
    return Plan(
        stages, chosen("steps"), batch, rate, recipe.clip_norm, chosen("validate_every"), chosen("patience"),
        request.seed, request.precision, request.checkpoint_seconds, start is not None, identity,
    )  # fmt: skip


def _folder(request: TrainingRequest) -> Path:
    folder = Path(request.out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {str(folder)!r} cannot be made ({error.strerror}); choose another one."
        ) from None
    return folder


def _kept(request: TrainingRequest, team: Team, report: Report | None) -> Checkpoint | None:
    folder = _folder(request)
    file = folder / checkpoint.FILE
    if team.told(file.exists()) != file.exists():
        raise InputError(f"The processes do not see the same folder {str(folder)!r}; give one that all of them share.")
    if not file.exists():
        if request.resume and team.first and report is not None:
            report(MessageEvent("There was no training to go on with, so it starts from the beginning."))
        return None
    kept = checkpoint.load(file)
    if not request.resume:
        raise InputError(
            f"{str(folder)!r} holds a training that has come to step {kept.state.step}; "
            "resume it (--resume), or train in another folder."
        )
    return kept


def _model_folder(request: TrainingRequest) -> Path:
    return Path(request.model_folder or Path(request.out) / "model").expanduser()


def _write(request: TrainingRequest, made: _Made, state: State, team: Team, progress: Progress) -> Model:
    """The model of the network as it is, measured with the weights as they are kept."""
    network = made.trainee.network
    tensors = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    if request.half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
        network.load_state_dict(tensors)

    def tick() -> None:
        progress.update(_TRAINED, "Measuring the model")

    network.eval()
    with seeded(team.device, request.seed, "validation"), torch.no_grad():
        after = made.trainee.validate(team.device, tick)
    card = card_of(
        request, made.recipe, made.settings, made.plan, state, made.start, after, made.trainee.card(), team.device
    )
    model = write_model(_model_folder(request), tensors, card)
    progress.update(1.0, "Finished")
    return model


@contextmanager
def _memory_in_words(request: TrainingRequest) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(
            "The device has not enough memory for this training; choose smaller samples or fewer a step in its "
            "settings, or another device. What was learned up to the last checkpoint is kept."
        ) from error
