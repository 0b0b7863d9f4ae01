"""From what a user names (a file, an Image, a SimpleITK image, a transform) to a problem or a result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError

if TYPE_CHECKING:
    import torch

    from ..core.grid import Grid
    from ..core.image import Image, ImageKind
    from ..core.points import PointSet
    from ..core.problem import RegistrationProblem
    from ..core.result import RegistrationResult
    from ..core.transform import Transform

#: points along each axis at which a transform is tried out
_LATTICE = 24
#: every input a problem can have, in the order in which they are read
INPUTS = (
    "fixed",
    "moving",
    "fixed_mask",
    "moving_mask",
    "fixed_segmentation",
    "moving_segmentation",
    "fixed_landmarks",
    "moving_landmarks",
    "fixed_surfaces",
    "moving_surfaces",
    "initial_transform",
)

#: what the review of a result can have besides the inputs of its problem
RESULT_INPUTS = ("transform", "inverse", "uncertainty")


def load_problem(inputs: Mapping[str, Any]) -> RegistrationProblem:
    """A problem from `inputs`: name (see INPUTS) -> path or object; names may be missing or None.

    Raises InputError where something is missing, unreadable or of the wrong kind.
    """
    from ..core.problem import RegistrationProblem

    unknown = [name for name in inputs if name not in INPUTS]
    if unknown:
        raise InputError(f"There is no input {unknown[0]!r}; the inputs are {', '.join(INPUTS)}.")
    given = {name: value for name, value in inputs.items() if value is not None}
    for name in ("fixed", "moving"):
        if name not in given:
            raise InputError(f"The {name} image is missing; give both a fixed and a moving image.")
    return RegistrationProblem(**{name: _load(name, value) for name, value in given.items()})


def load_result(inputs: Mapping[str, Any]) -> RegistrationResult:
    """A result whoever made it, from the inputs of a problem and those of RESULT_INPUTS.

    transform    fixed to moving; of a kind this library does not know (a B-spline) it is sampled on the fixed
                 grid
    inverse      moving to fixed, where there is one
    uncertainty  a map in mm, brought onto the fixed grid

    Raises InputError as `load_problem` does, and where dimensions differ.
    """
    from ..core.image import ImageKind
    from ..core.result import RegistrationResult

    unknown = [name for name in inputs if name not in INPUTS + RESULT_INPUTS]
    if unknown:
        raise InputError(
            f"There is no input {unknown[0]!r}; the inputs are {', '.join(RESULT_INPUTS + INPUTS)}."
        )
    extra = {name: inputs.get(name) for name in RESULT_INPUTS}
    if extra["transform"] is None:
        raise InputError("The transform is missing; give the one that maps fixed to moving points.")
    problem = load_problem({name: value for name, value in inputs.items() if name not in RESULT_INPUTS})
    fixed, moving = problem.fixed.grid, problem.moving.grid
    parts: dict[str, Any] = {"transform": load_transform(extra["transform"], "transform", fixed)}
    if extra["inverse"] is not None:
        parts["inverse"] = load_transform(extra["inverse"], "inverse", moving)
    if extra["uncertainty"] is not None:
        parts["uncertainty"] = load_image(extra["uncertainty"], ImageKind.INTENSITY, "uncertainty")
    given = {**vars(problem), **parts}
    check_dimensions({name: value for name, value in given.items() if value is not None})
    uncertainty = parts.pop("uncertainty", None)
    maps = {} if uncertainty is None else {"uncertainty": load_map(uncertainty, "uncertainty", fixed)}
    return RegistrationResult(problem, maps=maps, **parts)


def check_dimensions(given: Mapping[str, Any]) -> None:
    """Raises InputError for the first of `given` (name -> image, points or transform) whose number of axes is
    not the fixed image's.
    """
    from ..core.checks import words

    d = given["fixed"].dimension
    for name, other in given.items():
        if other.dimension != d:
            raise InputError(
                f"The fixed image is {d}-D but the {words(name)} is {other.dimension}-D; "
                "all must have the same number of axes."
            )


def check_finite(problem: RegistrationProblem) -> None:
    """Raises InputError where fixed or moving has voxels that are not finite numbers."""
    import torch

    for name in ("fixed", "moving"):
        values = getattr(problem, name).data
        if not bool(torch.isfinite(torch.stack(torch.aminmax(values)).double()).all()):
            bad = int((~torch.isfinite(values)).sum())
            raise InputError(
                f"The {name} image has {bad} of {values.numel()} voxels that are not finite numbers (NaN or infinite); "
                "replace them, for example by the background value, and try again."
            )


def check_coverage(result: RegistrationResult) -> None:
    """Raises InputError where the transform has nothing to do with the images: it knows nothing about the
    fixed image, or takes it wholly outside the moving image.
    """
    import torch

    from ..core.overlap import fields_overlap

    fixed, moving = result.grid, result.problem.moving.grid
    x = fixed.with_size([min(n, _LATTICE) for n in fixed.size]).world_points(dtype=torch.float64)
    x = x.reshape(-1, fixed.dimension)
    if not bool(torch.isfinite(result.transform.apply(x)).all()):
        raise InputError("The transform holds numbers that are not finite; compute or export it again.")
    if not _is_defined(result.transform, x):
        raise InputError(
            f"The transform covers nothing of the fixed image, which lies {box(fixed)}; "
            "choose the fixed image that it was computed for."
        )
    if not fields_overlap(fixed, moving, result.transform):
        raise InputError(
            f"The transform takes the whole fixed image, which lies {box(fixed)}, outside the moving image, "
            f"which lies {box(moving)}; check that it maps fixed to moving points and belongs to these images."
        )


def _is_defined(transform: Transform, points: torch.Tensor) -> bool:
    """False where the transform has fields of displacements but none of them covers any of `points`."""
    from ..transforms import Composition

    parts = transform.parts if isinstance(transform, Composition) else (transform,)
    dense = False
    for part in parts:
        grid = getattr(part, "grid", None)
        if grid is not None:
            dense = True
            index = grid.index_from_world(points.numpy())
            if ((index >= -0.5) & (index <= [n - 0.5 for n in grid.size])).all(axis=-1).any():
                return True
        points = part.apply(points)
    return not dense


def box(grid: Grid) -> str:
    """Where a grid lies, in words."""
    low, high = grid.corners.min(axis=0), grid.corners.max(axis=0)
    first, last = (", ".join(f"{v:.0f}" for v in corner) for corner in (low, high))
    return f"from ({first}) to ({last}) mm"


def load_map(value: Any, name: str, grid: Grid) -> Image:
    """A map of a result on `grid`, from a path, an Image or a SimpleITK image.

    Raises InputError where it has several values a voxel or lies elsewhere.
    """
    from ..core.image import ImageKind
    from ..core.overlap import fields_overlap

    image = load_image(value, ImageKind.INTENSITY, name)
    if image.channels != 1 or image.dimension != grid.dimension:
        raise InputError(
            f"The map {name!r} must have one value a voxel in {grid.dimension}-D, but it has "
            f"{image.channels} in {image.dimension}-D; choose another."
        )
    if not fields_overlap(grid, image.grid):
        raise InputError(
            f"The map {name!r}, which lies {box(image.grid)}, does not touch the fixed image, which lies "
            f"{box(grid)}; choose the one that was made for it."
        )
    return image.resampled(grid)


def _load(name: str, value: Any) -> Any:
    if name == "initial_transform":
        return load_transform(value)
    if name.endswith("landmarks"):
        return load_points(value, name)
    if name.endswith("surfaces"):
        return load_surfaces(value, name)
    from ..core.image import ImageKind

    if name.endswith("segmentation"):
        return load_segmentation(value, name)
    return load_image(value, ImageKind.MASK if name.endswith("mask") else ImageKind.INTENSITY, name)


def load_image(value: Any, kind: ImageKind, name: str = "image") -> Image:
    """An Image from a path, an Image or a SimpleITK image."""
    from .. import io
    from ..core.image import Image

    if isinstance(value, Image):
        return value
    if isinstance(value, (str, os.PathLike)):
        return io.read_image(existing(value, name), kind)
    if _is_sitk(value, "Image"):
        return io.from_sitk(value, kind)
    raise _unfit(value, name, "a path, an Image or a SimpleITK image")


def load_segmentation(value: Any, name: str = "segmentation") -> Image:
    """Labels from a path (label map or .seg.nrrd), an Image or a SimpleITK image."""
    from .. import io
    from ..core.image import ImageKind

    if isinstance(value, (str, os.PathLike)):
        return io.read_segmentation(existing(value, name))
    return load_image(value, ImageKind.LABELS, name)


def load_points(value: Any, name: str = "landmarks") -> PointSet:
    """Points from a path, a PointSet or rows of LPS mm coordinates."""
    from .. import io
    from ..core.points import PointSet

    if isinstance(value, PointSet):
        return value
    if isinstance(value, (str, os.PathLike)):
        return io.read_points(existing(value, name))
    try:
        return PointSet(value)
    except (TypeError, ValueError, RuntimeError):
        raise _unfit(value, name, "a path, a PointSet or rows of coordinates") from None


def load_surfaces(value: Any, name: str = "surfaces") -> PointSet:
    """Surfaces from a path (a model file or a folder of them) or a PointSet."""
    from .. import io
    from ..core.points import PointSet

    if isinstance(value, PointSet):
        return value
    if isinstance(value, (str, os.PathLike)):
        return io.read_surfaces(existing(value, name))
    raise _unfit(value, name, "a path or a PointSet")


def load_transform(value: Any, name: str = "initial_transform", grid: Grid | None = None) -> Transform:
    """A transform (fixed to moving) from a path, a Transform or a SimpleITK transform.

    grid  where one of a kind that this library does not know is sampled (see io.read_transform)
    """
    from .. import io
    from ..core.transform import Transform

    if isinstance(value, Transform):
        return value
    if isinstance(value, (str, os.PathLike)):
        return io.read_transform(existing(value, name), grid)
    if _is_sitk(value, "Transform"):
        return io.from_sitk_transform(value, grid)
    raise _unfit(value, name, "a path, a Transform or a SimpleITK transform")


def existing(path: str | os.PathLike[str], name: str) -> str:
    """`path` with ~ expanded. Raises InputError, which says for what it was meant, where there is nothing."""
    full = os.path.expanduser(os.fspath(path))
    if not os.path.exists(full):
        what = name.replace("_", " ")
        raise InputError(
            f"The file of the {what}, {os.fspath(path)!r}, does not exist; check its name and folder."
        )
    return full


def _is_sitk(value: Any, name: str) -> bool:
    # a user of SimpleITK objects has imported it already; nobody else pays for the import
    import sys

    sitk = sys.modules.get("SimpleITK")
    return sitk is not None and isinstance(value, getattr(sitk, name))


def _unfit(value: Any, name: str, wanted: str) -> InputError:
    return InputError(f"The {name.replace('_', ' ')} is a {type(value).__name__}, but must be {wanted}.")
