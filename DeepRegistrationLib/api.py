"""The console: register, apply, evaluate, report, methods, describe, train, models.

Importing this loads no torch. Inside the Slicer application `register` and `train` leave the work to a worker
process, while `apply` and `evaluate` compute, and so load torch, where they are called.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.errors import InputError
from .core.progress import Progress, ProgressReport

if TYPE_CHECKING:
    from .core.image import Image
    from .core.spec import MethodSpec
    from .io.model_cards import Model
    from .metrics import Evaluation
    from .training.request import Report

Listener = Callable[[ProgressReport], None]


def register(
    fixed: Any,
    moving: Any,
    method: str = "convex-adam",
    *,
    preset: str | None = None,
    device: str = "auto",
    seed: int = 0,
    threads: int | None = None,
    fixed_mask: Any = None,
    moving_mask: Any = None,
    fixed_segmentation: Any = None,
    moving_segmentation: Any = None,
    fixed_landmarks: Any = None,
    moving_landmarks: Any = None,
    fixed_surfaces: Any = None,
    moving_surfaces: Any = None,
    initial_transform: Any = None,
    progress: Listener | None = None,
    in_process: bool | None = None,
    **parameters: Any,
) -> Any:
    """Align `moving` to `fixed`: the transform T with moving(T(x)) like fixed(x), x in LPS mm.

    fixed, moving and the other inputs are paths, Images (PointSet, Transform), SimpleITK objects, or - inside
    Slicer - MRML nodes. `method`, `preset` and `parameters` are as `describe(method)` lists them. `progress`
    is called with a ProgressReport now and then.

    Returns a RegistrationResult; for MRML nodes a `mrml.RegistrationNodes`, whose nodes are in the scene.
    Inside the Slicer application the work is done by a worker process, and paths give a `jobs.ResultFolder`,
    because the application itself does not load torch; `in_process=True` overrides that.

    Raises InputError, DeviceMemoryError, Cancelled.
    """
    from .jobs.perform import Request
    from .jobs.perform import register as run

    inputs = {
        "fixed": fixed,
        "moving": moving,
        "fixed_mask": fixed_mask,
        "moving_mask": moving_mask,
        "fixed_segmentation": fixed_segmentation,
        "moving_segmentation": moving_segmentation,
        "fixed_landmarks": fixed_landmarks,
        "moving_landmarks": moving_landmarks,
        "fixed_surfaces": fixed_surfaces,
        "moving_surfaces": moving_surfaces,
        "initial_transform": initial_transform,
    }
    given = {name: value for name, value in inputs.items() if value is not None}
    request = Request(given, method, preset, parameters, device, seed, threads)
    if any(_is_node(value) for value in given.values()):
        from .mrml.console import register_nodes

        return register_nodes(request, progress=progress, in_process=bool(in_process))
    if in_process or (in_process is None and not in_slicer()):
        return run(request, Progress(progress))
    from .jobs.blocking import register_in_worker

    return register_in_worker(request, progress)


def apply(transform: Any, moving: Any, fixed: Any = None, *, labels: bool = False) -> Image:
    """moved(x) = moving(T(x)) on the grid of `fixed`.

    transform  path, Transform, SimpleITK transform, a RegistrationResult, or a folder of results
    moving     path, Image or SimpleITK image; `labels=True` keeps its values (nearest neighbour) and names
    fixed      path, Image or SimpleITK image whose grid the outcome has; may be left out with a
               RegistrationResult
    """
    from .core.image import ImageKind
    from .core.result import RegistrationResult
    from .jobs.loading import check_dimensions, load_image, load_segmentation, load_transform
    from .jobs.outputs import as_stored
    from .jobs.results import ResultFolder

    if isinstance(transform, RegistrationResult):
        fixed = fixed if fixed is not None else transform.problem.fixed
        transform = transform.transform
    elif isinstance(transform, (str, os.PathLike)) and os.path.isdir(transform):
        transform = ResultFolder(transform).file("transform")
    if fixed is None:
        raise InputError("The fixed image is missing; its grid says where the voxels of the moved image lie.")
    target = load_image(fixed, ImageKind.INTENSITY, "fixed")
    onto = target.grid
    total = load_transform(transform, "transform", onto)
    image = (
        load_segmentation(moving, "moving") if labels else load_image(moving, ImageKind.INTENSITY, "moving")
    )
    check_dimensions({"fixed": target, "transform": total, "moving": image})
    return as_stored(image.resampled(onto, total), image.data.dtype)


def evaluate(
    result: Any = None,
    *,
    transform: Any = None,
    fixed: Any = None,
    moving: Any = None,
    inverse: Any = None,
    uncertainty: Any = None,
    fixed_mask: Any = None,
    moving_mask: Any = None,
    fixed_segmentation: Any = None,
    moving_segmentation: Any = None,
    fixed_landmarks: Any = None,
    moving_landmarks: Any = None,
) -> Evaluation:
    """The numbers of a result, or of any transform with its images.

    result       a RegistrationResult, or a folder of results whose inputs still exist
    transform    without a result: fixed to moving points, LPS mm; a path, Transform or SimpleITK transform of
                 any origin (an ITK B-spline, a composite, a displacement field)
    inverse      the way back, where there is one
    uncertainty  a map in mm

    The others are what was aligned; beside a folder of results they replace or add to its inputs.
    Raises InputError where something is missing, or transform and images do not belong together.
    """
    from .core.result import RegistrationResult
    from .jobs.perform import measure
    from .jobs.results import ResultFolder
    from .jobs.review import load_for_review

    inputs = {
        "transform": transform,
        "inverse": inverse,
        "uncertainty": uncertainty,
        "fixed": fixed,
        "moving": moving,
        "fixed_mask": fixed_mask,
        "moving_mask": moving_mask,
        "fixed_segmentation": fixed_segmentation,
        "moving_segmentation": moving_segmentation,
        "fixed_landmarks": fixed_landmarks,
        "moving_landmarks": moving_landmarks,
    }
    given = {name: value for name, value in inputs.items() if value is not None}
    if result is None:
        return measure(load_for_review(given)).evaluation
    if transform is not None:
        raise InputError("A result and a transform were both given; give one of them.")
    if isinstance(result, RegistrationResult):
        if given:
            raise InputError(
                f"The result in memory already has its inputs, but {next(iter(given))!r} was given too; "
                "leave it out, or give the transform instead of the result."
            )
        return measure(result).evaluation
    folder = result if isinstance(result, ResultFolder) else ResultFolder(result)
    return measure(folder.result(given)).evaluation


def report(result: Any, out: str | os.PathLike[str] | None = None) -> list[Path]:
    """Write report.html, report.csv and report.json; their paths.

    result  a folder of results, or a RegistrationResult, which is first written to `out` with its inputs
    out     where to write; the folder of results itself where not given

    Raises InputError, OutputError.
    """
    from .core.result import RegistrationResult
    from .jobs.results import ResultFolder
    from .reports import write_report

    if isinstance(result, RegistrationResult):
        if out is None:
            raise InputError("A result in memory has no folder to write to; give one: out='some/folder'.")
        from .jobs.perform import save

        save(result, out)
        return write_report(ResultFolder(out))
    folder = result if isinstance(result, ResultFolder) else ResultFolder(result)
    return write_report(folder, out=None if out is None else Path(os.path.expanduser(os.fspath(out))))


def train(
    recipe: str,
    out: str | os.PathLike[str],
    *,
    cases: Any = None,
    names: str | os.PathLike[str] | None = None,
    start: str | os.PathLike[str] | None = None,
    steps: int | None = None,
    resume: bool = False,
    device: str = "auto",
    seed: int = 0,
    threads: int | None = None,
    id: str | None = None,
    title: str | None = None,
    model_folder: str | os.PathLike[str] | None = None,
    progress: Progress | Listener | None = None,
    report: Report | None = None,
    in_process: bool | None = None,
    **settings: Any,
) -> Model:
    """Train a model, or with `start` (a model's folder or id) fine-tune one; the model with its best weights.

    recipe    as `python -m DeepRegistrationLib train` lists them; `settings` are its own
    out       folder of the training: checkpoint, log, model (or give `model_folder`); `resume` goes on where it stands
    cases     real ones to learn from: a folder, a table (.csv, .json), or TrainingCases; None: the recipe's own
    names     what label values mean, where the segmentations do not say: "1=liver,2=spleen" or a names.json
    progress  called with a ProgressReport now and then, or a core.progress.Progress
    report    called with the losses of each step and each validation, see training/request.py

    Inside the Slicer application the work is done by a worker process, and cases are a folder or a table;
    `in_process=True` overrides that. Ctrl-C writes a checkpoint, from which `resume` goes on.

    Raises InputError, OutputError, DeviceMemoryError, Cancelled.
    """
    from .training.request import TrainingRequest

    named = cases if isinstance(cases, (str, os.PathLike)) else None
    request = TrainingRequest(
        recipe=recipe,
        out=Path(out).expanduser(),
        settings=settings,
        cases_from="" if named is None else os.fspath(named),
        start=None if start is None else os.fspath(start),
        steps=steps,
        device=device,
        seed=seed,
        resume=resume,
        model_id=id,
        title=title,
        model_folder=None if model_folder is None else Path(model_folder),
    )
    if in_process is False or (in_process is None and in_slicer()):
        from .jobs.training_blocking import listed_cases, train_blocking

        if cases is not None and named is None:
            raise InputError(f"cases={cases!r} is neither a folder nor a table of cases; give one, or in_process=True.")
        files = [] if named is None else listed_cases(named, names)
        listener = (lambda r: progress.update(r.fraction, r.stage)) if isinstance(progress, Progress) else progress
        return train_blocking(request, files, threads=threads, progress=listener, report=report)
    from .commands.stopping import asked_to_stop
    from .jobs.perform import using_threads
    from .jobs.training_cases import read_cases
    from .training.run import run_training

    request = replace(request, cases=cases if named is None else read_cases(named, names))
    with using_threads(threads), asked_to_stop() as stop:
        whole = progress if isinstance(progress, Progress) else Progress(progress, stop)
        return run_training(request, whole, report)


def models(architecture: str | None = None) -> list[Model]:
    """The trained models there are, the user's own first: `for model in dr.models(): print(model.id, model.title)`."""
    from .io.model_cards import find_models

    return find_models(architecture)


def methods() -> list[MethodSpec]:
    """What every method declares: `for method in dr.methods(): print(method.id, method.title)`."""
    from .methods import registry

    return list(registry())


def describe(method: str) -> str:
    """What a method does, needs and offers, with its parameters and presets, as text:
    `print(dr.describe(id))`."""
    from .descriptions import method_text
    from .methods import registry

    return method_text(registry()[method])


def in_slicer() -> bool:
    """True inside the Slicer application (not in PythonSlicer, nor where only its libraries are imported)."""
    return getattr(sys.modules.get("slicer"), "app", None) is not None


def _is_node(value: Any) -> bool:
    first = value[0] if isinstance(value, (list, tuple)) and value else value  # several models are one input
    return hasattr(first, "IsA") and bool(first.IsA("vtkMRMLNode"))
