"""Training through the worker and waiting for it: the console inside Slicer. Loads no torch."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..io.model_cards import Model, read_model
from ..training.recipe import Validation
from ..training.request import LossEvent, MessageEvent, Report, TrainingEvent, TrainingRequest, ValidationEvent
from .blocking import Listener, shared_runner, wait
from .events import Event
from .folder import JobFolder
from .runner import Runner
from .training import CaseFiles, order_from
from .training_cases import find_cases, parse_names


def train_blocking(
    request: TrainingRequest,
    files: Sequence[CaseFiles] = (),
    *,
    threads: int | None = None,
    progress: Listener | None = None,
    report: Report | None = None,
    runner: Runner | None = None,
) -> Model:
    """Train in a worker process and wait. The first Ctrl-C stops with a checkpoint, a second one at once.

    files   the cases, in place of those of the request
    report  hears of losses that are means over a moment, and of validations without their pictures

    Raises what the training itself raises.
    """
    order = order_from(request, files, threads)
    folder = JobFolder.create()
    try:
        folder.write_problem(order.problem())
        job = (runner or shared_runner()).submit(folder)

        def heard(event: Event) -> None:
            said = _as_told(event)
            if report is not None and said is not None:
                report(said)

        done = wait(job, progress, heard=heard, gently=True)
        return read_model(done.data["folder"])
    finally:
        folder.remove()


def listed_cases(place: str | os.PathLike[str], names: str | os.PathLike[str] | None = None) -> list[CaseFiles]:
    """The cases of a folder or table by their files, with the names of their labels; see training_cases.

    Raises InputError.
    """
    found = find_cases(place)
    shared = parse_names(names) if names else found.names.get("", {})
    return [_listed(file, {**shared, **found.names.get(file.name, {})}) for file in found.files]


def _listed(file: CaseFiles, names: dict[int, str]) -> CaseFiles:
    labels = None if file.labels is None else str(Path(file.labels).resolve())
    said = {str(value): name for value, name in names.items()}
    return replace(file, scan=str(Path(file.scan).resolve()), labels=labels, names=said)


def _as_told(event: Event) -> TrainingEvent | None:
    """What the trainer has told, as far as it came through."""
    data = event.data
    if event.kind == "losses":
        losses = {name: math.nan if value is None else value for name, value in data["losses"].items()}
        size, norm = (math.nan if data[k] is None else data[k] for k in ("learning_rate", "gradient_norm"))
        return LossEvent(data["step"], data["steps"], event.stage, losses, math.fsum(losses.values()), size, norm)
    if event.kind == "validation":
        score = -math.inf if data["score"] is None else data["score"]
        return ValidationEvent(
            data["step"], data["steps"], event.stage, Validation(score, data["numbers"]), data["best"]
        )
    return MessageEvent(event.text) if event.kind == "message" else None

