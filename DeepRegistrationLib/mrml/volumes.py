"""Volume nodes as images in world coordinates, and images as files. The nodes are never changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..core.errors import InputError
from .places import RAS_TO_LPS, Place, array_from, is_orthogonal, vtk_matrix

# points along each axis that find how far a warped volume reaches
_OUTLINE = 9


def check_volume(node: slicer.vtkMRMLVolumeNode, role: str) -> None:
    """Raises InputError where `node` is not a volume that can be aligned (nothing in it, colours, no
    inverse).
    """
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        raise InputError(f"The {role} volume {node.GetName()!r} holds no voxels; load an image into it.")
    components = image.GetNumberOfScalarComponents()
    if components != 1:
        raise InputError(
            f"The {role} volume {node.GetName()!r} has {components} values per voxel; choose a volume with one."
        )
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    if not np.isfinite(array_from(matrix)).all() or abs(matrix.Determinant()) < 1e-12:
        raise InputError(
            f"The {role} volume {node.GetName()!r} has directions or a spacing that cannot be inverted; "
            "correct its header."
        )


def world_image(
    node: slicer.vtkMRMLVolumeNode, place: Place, *, linear_interpolation: bool
) -> tuple[slicer.vtkOrientedImageData, bool]:
    """The volume with its geometry in the world, and whether that needed resampling.

    A linear place is folded into the geometry (no voxel changes). Where that would leave axes that are not at
    right angles (a shear, a tilted gantry) or the place is not linear, the volume is resampled onto a grid
    of the same spacing, along its own axes, that covers it.
    """
    image = oriented_image(node)
    own = image_matrix(image)
    if place.matrix is not None and is_orthogonal(place.matrix @ own):
        image.SetImageToWorldMatrix(vtk_matrix(place.matrix @ own))
        return image, False
    grid = covering_grid(image, place)
    background = image.GetScalarRange()[0] if linear_interpolation else 0.0
    return resample(image, grid, place, linear_interpolation, background), True


def oriented_image(node: slicer.vtkMRMLVolumeNode) -> slicer.vtkOrientedImageData:
    """The voxels (shared, not copied) with the geometry of the node's own coordinates."""
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(node.GetImageData())
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    return image


def image_matrix(image: slicer.vtkOrientedImageData) -> NDArray[np.float64]:
    """4x4 index -> world, RAS."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return array_from(matrix)


def covering_grid(image: slicer.vtkOrientedImageData, place: Place) -> slicer.vtkOrientedImageData:
    """A grid (geometry only) with axes at right angles that covers `image` where `place` puts it."""
    axes = image_matrix(image)[:3, :3]
    if place.matrix is not None:
        axes = place.matrix[:3, :3] @ axes
    spacing = np.linalg.norm(axes, axis=0)
    u, _, vt = np.linalg.svd(axes / spacing)
    direction = u @ vt  # the nearest matrix with axes at right angles
    world = place.to_world(outline_points(image))
    along = world @ direction
    first, last = along.min(axis=0), along.max(axis=0)
    size = np.maximum(1, np.ceil((last - first) / spacing - 1e-6).astype(int) + 1)
    matrix = np.eye(4)
    matrix[:3, :3] = direction * spacing
    matrix[:3, 3] = direction @ first
    return empty_image(size.tolist(), matrix)


def outline_points(image: slicer.vtkOrientedImageData) -> NDArray[np.float64]:
    """(N, 3) points spread over the volume, corners included, in the coordinates of its geometry."""
    e = image.GetExtent()
    axes = [np.linspace(e[2 * k], e[2 * k + 1], _OUTLINE) for k in range(3)]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    m = image_matrix(image)
    return index @ m[:3, :3].T + m[:3, 3]


def empty_image(size: list[int], matrix: NDArray[np.float64]) -> slicer.vtkOrientedImageData:
    """Geometry without voxels: `size` (x, y, z) and index -> world (RAS)."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent(0, size[0] - 1, 0, size[1] - 1, 0, size[2] - 1)
    image.SetImageToWorldMatrix(vtk_matrix(matrix))
    return image


def resample(
    image: slicer.vtkOrientedImageData,
    grid: slicer.vtkOrientedImageData,
    place: Place,
    linear_interpolation: bool,
    background: float = 0.0,
) -> slicer.vtkOrientedImageData:
    """`image`, put at `place`, sampled on `grid`."""
    out = slicer.vtkOrientedImageData()
    done = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, grid, out, linear_interpolation, False, place.transform, background
    )
    if not done:
        raise InputError("A volume could not be resampled into the world; check the transform it lies under.")
    return out


# ---------------------------------------------------------------------- arrays and files


def voxels(image: vtk.vtkImageData) -> NDArray[Any]:
    """(Z, Y, X) view of the voxels (shared memory)."""
    x, y, z = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(z, y, x)


def image_from(array: NDArray[Any], matrix: NDArray[np.float64]) -> slicer.vtkOrientedImageData:
    """(Z, Y, X) array and index -> world (RAS) as an image that owns its voxels."""
    image = empty_image(list(array.shape[::-1]), matrix)
    scalars = numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    return image


def write_image(
    image: slicer.vtkOrientedImageData,
    path: Path,
    array: NDArray[Any] | None = None,
    header: Mapping[str, str] | None = None,
) -> None:
    """Uncompressed file (LPS); `array` (Z, Y, X) in place of the image's own voxels; `header` as key/value
    pairs.
    """
    import SimpleITK as sitk

    data = voxels(image) if array is None else array
    if data.dtype == np.bool_:
        data = data.astype(np.uint8)
    out = sitk.GetImageFromArray(np.ascontiguousarray(data))
    matrix = image_matrix(image)
    extent = image.GetExtent()
    first = matrix @ np.array([extent[0], extent[2], extent[4], 1.0])
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    direction = RAS_TO_LPS[:3, :3] @ (matrix[:3, :3] / spacing)
    out.SetSpacing(spacing.tolist())
    out.SetOrigin((RAS_TO_LPS @ first)[:3].tolist())
    out.SetDirection(direction.ravel().tolist())
    for key, value in (header or {}).items():
        out.SetMetaData(key, value)
    sitk.WriteImage(out, str(path), useCompression=False)


def read_array(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """((Z, Y, X[, C]) array, index -> world in RAS) of an image file; a 2-D one is an axial slice at height 0, as thick
    as its pixels are wide. Raises InputError where it is damaged.
    """
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(
            f"The image file {str(path)!r} is damaged or missing and cannot be read; run the alignment again."
        ) from error
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image, 0.0, image.GetSpacing()[0])
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), RAS_TO_LPS @ matrix
