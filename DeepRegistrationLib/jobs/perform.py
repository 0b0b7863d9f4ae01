"""Read, register, measure, write: the whole of one job, the same for command line and worker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .loading import load_problem
from .outputs import output_folder, write_outputs

if TYPE_CHECKING:
    from ..core.progress import Progress
    from ..core.result import RegistrationResult
    from ..metrics import Evaluation, Review

#: shares of the progress bar
_READ, _REGISTERED, _MEASURED = 0.03, 0.85, 0.95
#: the map that every registration leaves
_MAPS = ("jacobian",)


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
    """files: output name -> file name in the folder; messages: sentences the user should read."""

    result: RegistrationResult
    evaluation: Evaluation
    files: Mapping[str, str]
    messages: Sequence[str] = ()


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

    progress = progress or Progress()
    # a folder that refuses is better found before minutes of work than after
    with using_threads(request.threads), output_folder(folder):
        result = _register(request, progress, end=_REGISTERED)
        seen = measure(result, progress.part(_REGISTERED, _MEASURED))
        progress.update(_MEASURED, "Writing")
        files = write_outputs(
            result,
            seen.evaluation,
            folder,
            compressed=compressed,
            inputs=paths_of(request.inputs),
            moved=seen.moved,
            moved_segmentation=seen.moved_segmentation,
            jacobian=seen.maps["jacobian"],
        )
    progress.update(1.0, "Finished")
    messages = result.provenance.messages if result.provenance else ()
    return Outcome(result, seen.evaluation, files, messages)


def measure(result: RegistrationResult, progress: Progress | None = None) -> Review:
    """The numbers of a result, and the images that a registration leaves. Raises InputError, Cancelled."""
    from ..metrics.review import review

    return review(result, _MAPS, progress)


def save(result: RegistrationResult, folder: str | os.PathLike[str]) -> dict[str, str]:
    """Measure a result that is in memory and leave it in `folder` with its inputs, so that the folder can be
    read back, reviewed and reported; output name -> file name. Raises InputError, OutputError.
    """
    with output_folder(folder):
        seen = measure(result)
        return write_outputs(
            result,
            seen.evaluation,
            folder,
            moved=seen.moved,
            moved_segmentation=seen.moved_segmentation,
            jacobian=seen.maps["jacobian"],
            keep_inputs=True,
        )


def paths_of(inputs: Mapping[str, Any]) -> dict[str, str]:
    """Those inputs that are files."""
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
    result = register_problem(problem, spec, preset=request.preset, values=request.values, context=context)
    return _with_inverse_as_written(result)


def _with_inverse_as_written(result: RegistrationResult) -> RegistrationResult:
    """The inverse on the moving grid, as files hold it: every way to a result then has the same numbers."""
    from ..transforms.compose import as_displacement_field

    inverse = result.inverse
    if inverse is None or inverse.is_linear:
        return result
    return replace(result, inverse=as_displacement_field(inverse, result.problem.moving.grid))


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
