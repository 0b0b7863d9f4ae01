"""Anatomical slices of volumes in files, right in mm whatever the grid: oblique, anisotropic, left-handed, 2-D.

Pictures are radiological: the patient's right is on the left of axial and coronal pictures, the front on the left of
sagittal ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

#: pixels of the longest side of a picture: small scans are enlarged, large ones made smaller
_FEWEST, _MOST = 256, 448

# title: axes (LPS) that run to the right and down on the picture, letters at its left, right, top and bottom
_PLANES = {
    "axial": ((1, 0, 0), (0, 1, 0), "RLAP"),
    "coronal": ((1, 0, 0), (0, 0, -1), "RLSI"),
    "sagittal": ((0, 1, 0), (0, 0, -1), "APSI"),
}


@dataclass(frozen=True)
class Plane:
    """Square pixels of `pixel` mm in the world.

    size    width and height in pixels
    origin  LPS mm of the upper left pixel's middle
    right, down   unit vectors of the picture's axes
    letters       at the left, right, top and bottom edge: R L A P S I; empty in 2-D
    """

    title: str
    size: tuple[int, int]
    pixel: float
    origin: tuple[float, ...]
    right: tuple[float, ...]
    down: tuple[float, ...]
    letters: str = ""


def read_volume(path: Path) -> sitk.Image:
    """A volume of one value a voxel; the first where there are several. Raises InputError."""
    import SimpleITK as sitk

    if not path.exists():
        raise InputError(f"{str(path)!r} is no longer there.")
    try:
        if path.is_dir():
            image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)))
        else:
            image = sitk.ReadImage(str(path))
    except RuntimeError:
        raise InputError(f"{str(path)!r} could not be read as an image.") from None
    while image.GetDimension() > 3 and image.GetSize()[-1] == 1:
        image = sitk.Extract(image, (*image.GetSize()[:-1], 0), [0] * image.GetDimension())
    if image.GetDimension() not in (2, 3):
        raise InputError(f"{str(path)!r} holds a series of volumes, not one.")
    if image.GetNumberOfComponentsPerPixel() > 1:
        image = sitk.VectorIndexSelectionCast(image, 0)
    return image


def planes_through(image: sitk.Image, point: Sequence[float]) -> list[Plane]:
    """Axial, coronal and sagittal through `point` (LPS mm), each as large as the image; one plane in 2-D."""
    dimension = image.GetDimension()
    corners = _corners(image)
    low, high = corners.min(axis=0), corners.max(axis=0)
    longest = float((high - low).max())
    pixel = float(np.clip(min(image.GetSpacing()), longest / _MOST, longest / _FEWEST))
    if dimension == 2:
        return [_plane("slice", np.eye(2)[0], np.eye(2)[1], "", low, high, pixel, np.asarray(point))]
    return [
        _plane(title, np.array(right, float), np.array(down, float), letters, low, high, pixel, np.asarray(point))
        for title, (right, down, letters) in _PLANES.items()
    ]


def _corners(image: sitk.Image) -> NDArray[np.float64]:
    """(2^d, d) LPS mm: where the outermost voxels end."""
    ends = [(-0.5, n - 0.5) for n in image.GetSize()]
    index = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, len(ends))
    return np.array([image.TransformContinuousIndexToPhysicalPoint(i.tolist()) for i in index])


def _plane(
    title: str,
    right: NDArray[np.float64],
    down: NDArray[np.float64],
    letters: str,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    pixel: float,
    point: NDArray[np.float64],
) -> Plane:
    origin = point.copy()
    size = []
    for axis in (right, down):
        first, last = sorted((float(axis @ low), float(axis @ high)))
        size.append(max(1, round((last - first) / pixel)))
        origin += axis * (first + pixel / 2 - axis @ origin)
    return Plane(title, (size[0], size[1]), pixel, tuple(origin.tolist()), tuple(right.tolist()),
                 tuple(down.tolist()), letters)  # fmt: skip


def sample(image: sitk.Image, plane: Plane, *, linear: bool = True) -> NDArray[np.float32]:
    """(H, W) values of the image on the plane; NaN where the image does not reach."""
    import SimpleITK as sitk

    right, down = np.array(plane.right), np.array(plane.down)
    axes = [right, down] if image.GetDimension() == 2 else [right, down, np.cross(right, down)]
    found = sitk.Resample(
        image,
        plane.size if len(axes) == 2 else (*plane.size, 1),
        sitk.Transform(len(axes), sitk.sitkIdentity),
        sitk.sitkLinear if linear else sitk.sitkNearestNeighbor,
        plane.origin,
        (plane.pixel,) * len(axes),
        np.stack(axes, axis=1).ravel().tolist(),
        float("nan"),
        sitk.sitkFloat32,
    )
    values: NDArray[np.float32] = sitk.GetArrayFromImage(found)
    return values if values.ndim == 2 else values[0]


def centre_of(image: sitk.Image) -> tuple[float, ...]:
    """The middle of the image, LPS mm."""
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    return tuple(middle)


def centre_of_labels(labels: sitk.Image) -> tuple[float, ...] | None:
    """The mean place of all voxels that are not 0, LPS mm; None where there are none."""
    import SimpleITK as sitk

    there = sitk.GetArrayViewFromImage(labels) != 0
    count = int(np.count_nonzero(there))
    if not count:
        return None
    index = []
    for axis in reversed(range(there.ndim)):
        profile = np.count_nonzero(there, axis=tuple(a for a in range(there.ndim) if a != axis))
        index.append(float(np.arange(profile.size) @ profile) / count)
    return tuple(labels.TransformContinuousIndexToPhysicalPoint(index))


def place_of_smallest(image: sitk.Image) -> tuple[float, ...]:
    """The voxel with the smallest value, LPS mm; the border of the image does not count where there is more."""
    import SimpleITK as sitk

    values = sitk.GetArrayViewFromImage(image)
    inner = tuple(slice(1, -1) if n > 2 else slice(None) for n in values.shape)
    found = np.unravel_index(int(np.nanargmin(values[inner])), values[inner].shape)
    index = [int(k) + (1 if n > 2 else 0) for k, n in zip(found, values.shape, strict=True)]
    return tuple(image.TransformIndexToPhysicalPoint(index[::-1]))


def contains(image: sitk.Image, point: Sequence[float]) -> bool:
    """Whether the point (LPS mm) lies within the voxels of the image."""
    index = np.array(image.TransformPhysicalPointToContinuousIndex(list(point)))
    return bool(((index >= -0.5) & (index <= np.array(image.GetSize()) - 0.5)).all())
