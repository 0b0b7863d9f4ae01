"""A whole training, from a user's request to a model with its card: the same for panel, command line and console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .request import Report, TrainingRequest

if TYPE_CHECKING:
    from ..core.progress import Progress
    from ..io.model_cards import Model


def run_training(request: TrainingRequest, progress: Progress | None = None, report: Report | None = None) -> Model:
    """Trains, and writes the model with its best weights.

    progress  its `update` raises Cancelled where the user asks to stop: a checkpoint is then written first, and a
              request with `resume` goes on from it
    report    is handed the losses of every step, the validations with their pictures, and sentences

    Raises InputError, OutputError, DeviceMemoryError, Cancelled.
    """
    raise NotImplementedError


def save_trained(request: TrainingRequest, progress: Progress | None = None) -> Model:
    """The model of what a training has learned so far, from its checkpoint, without training on.

    Raises InputError where `request.out` holds no training, OutputError.
    """
    raise NotImplementedError
