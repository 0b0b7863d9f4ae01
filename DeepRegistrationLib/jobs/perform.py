"""Read, register, measure, write: the whole of one job, the same for command line and worker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .loading import load_problem
from .outputs import prepare_folder, write_outputs

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
    prepare_folder(folder)
    try:
        result = _register(request, progress, end=_REGISTERED)
        progress.update(_REGISTERED, "Moving the images")
        moved = result.moved()
        labels = None if result.problem.moving_segmentation is None else result.moved_segmentation()
        progress.update(_MOVED, "Measuring")
        evaluation = evaluate(result, moved=moved, moved_segmentation=labels)
        progress.update(_MEASURED, "Writing")
        paths = {
            name: os.fspath(v) for name, v in request.inputs.items() if isinstance(v, (str, os.PathLike))
        }
        files = write_outputs(
            result,
            evaluation,
            folder,
            compressed=compressed,
            inputs=paths,
            moved=moved,
            moved_segmentation=labels,
        )
    except BaseException:
        _remove_if_empty(folder)
        raise
    progress.update(1.0, "Finished")
    return Outcome(result, evaluation, files)


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
    set_threads(request.threads)
    progress.update(0.0, "Reading the images")
    problem = load_problem(request.inputs)
    context = Context(device=device, progress=progress.part(_READ, end), seed=request.seed)
    return register_problem(problem, spec, preset=request.preset, values=request.values, context=context)


def set_threads(threads: int | None) -> None:
    """Use `threads` CPU threads; None leaves torch's own choice."""
    if threads is not None:
        import torch

        torch.set_num_threads(max(1, threads))


def _remove_if_empty(folder: str | os.PathLike[str]) -> None:
    import contextlib

    with contextlib.suppress(OSError):
        os.rmdir(os.path.expanduser(os.fspath(folder)))
