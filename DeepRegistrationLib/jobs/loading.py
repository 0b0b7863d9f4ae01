"""From what a user names (a file, an Image, a SimpleITK image, a transform) to a problem."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError

if TYPE_CHECKING:
    from ..core.image import Image, ImageKind
    from ..core.points import PointSet
    from ..core.problem import RegistrationProblem
    from ..core.transform import Transform

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
    "initial_transform",
)


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


def _load(name: str, value: Any) -> Any:
    if name == "initial_transform":
        return load_transform(value)
    if name.endswith("landmarks"):
        return load_points(value, name)
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


def load_transform(value: Any, name: str = "initial_transform") -> Transform:
    """A transform (fixed to moving) from a path, a Transform or a SimpleITK transform."""
    from .. import io
    from ..core.transform import Transform

    if isinstance(value, Transform):
        return value
    if isinstance(value, (str, os.PathLike)):
        return io.read_transform(existing(value, name))
    if _is_sitk(value, "Transform"):
        return io.from_sitk_transform(value)
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
