"""Read, register, measure, write: the whole of one job, the same for command line and worker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .loading import load_problem
from .outputs import output_folder, write_outputs

if TYPE_CHECKING:
    from ..core.progress import Progress
    from ..core.result import RegistrationResult
    from ..metrics import Evaluation

#: shares of the progress bar
_READ, _REGISTERED, _MOVED, _MEASURED = 0.03, 0.85, 0.88, 0.95


@dataclass(frozen=True)
class Request:
    """One registration as a user orders it. `inputs`: input name -> path or object (see loading.INPUTS)."""

    inputs: Mapping[str, Any]
    method: str
    preset: str | None = None
    values: Mapping[str, Any] | None = None
    device: str = "auto"
    seed: int = 0
    threads: int | None = None


@dataclass(frozen=True)
class Outcome:
    """files: output name -> file name in the folder."""

    result: RegistrationResult
    evaluation: Evaluation
    files: Mapping[str, str]


def register(request: Request, progress: Progress | None = None) -> RegistrationResult:
    """Read and register, without measuring or writing."""
    with using_threads(request.threads):
        return _register(request, progress, end=1.0)


def perform(
    request: Request,
    folder: str | os.PathLike[str],
    progress: Progress | None = None,
    *,
    compressed: bool = True,
) -> Outcome:
    """Register and leave every output in `folder`.

    Raises InputError, OutputError, DeviceMemoryError, Cancelled.
    """
    from ..core.progress import Progress
    from ..metrics import evaluate

    progress = progress or Progress()
    # a folder that refuses is better found before minutes of work than after
    with using_threads(request.threads), output_folder(folder):
        result = _register(request, progress, end=_REGISTERED)
        progress.update(_REGISTERED, "Moving the images")
        moved = result.moved()
        labels = None if result.problem.moving_segmentation is None else result.moved_segmentation()
        progress.update(_MOVED, "Measuring")
        evaluation = evaluate(result, moved=moved, moved_segmentation=labels)
        progress.update(_MEASURED, "Writing")
        files = write_outputs(
            result,
            evaluation,
            folder,
            compressed=compressed,
            inputs=_paths(request.inputs),
            moved=moved,
            moved_segmentation=labels,
        )
    progress.update(1.0, "Finished")
    return Outcome(result, evaluation, files)


def _paths(inputs: Mapping[str, Any]) -> dict[str, str]:
    return {name: os.fspath(value) for name, value in inputs.items() if isinstance(value, (str, os.PathLike))}


def _register(request: Request, progress: Progress | None, end: float) -> RegistrationResult:
    from ..core.context import Context
    from ..core.device import choose_device
    from ..core.progress import Progress
    from ..methods import registry
    from ..methods.pipeline import register_problem

    progress = progress or Progress()
    # what can be wrong without reading a voxel is said first
    spec = registry()[request.method]
    spec.make_parameters(request.preset or None, request.values)
    device = choose_device(request.device)
    progress.update(0.0, "Reading the images")
    problem = load_problem(request.inputs)
    context = Context(device=device, progress=progress.part(_READ, end), seed=request.seed)
    return register_problem(problem, spec, preset=request.preset, values=request.values, context=context)


@contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Use `threads` CPU threads within the block; None leaves torch's own choice."""
    if threads is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)
