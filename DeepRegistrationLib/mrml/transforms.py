"""Transform nodes and transform files.

A file maps fixed points to moving points, LPS mm. That is the *from parent* map of the node that moving
lies under: a node under a transform is shown where `to parent` puts it, so what is seen at x is taken from
`from parent` of x.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..core.errors import InputError, OutputError
from .places import RAS_TO_LPS, array_from, vtk_matrix
from .volumes import empty_image, image_matrix, read_array

#: a displacement in RAS times these is one in LPS
LPS_SIGNS = (-1.0, -1.0, 1.0)

# an initial transform is smooth: this many samples show it, and more would not fit into memory
_MOST_SAMPLES = 2_000_000


def write_transform(
    node: slicer.vtkMRMLTransformNode, folder: Path, stem: str, grid: slicer.vtkOrientedImageData
) -> Path:
    """Write the world-to-own map of `node` (with its parents): .tfm where linear, else a field on `grid`
    (.nrrd).

    That is the map fixed to moving of a transform that would bring moving onto fixed.
    """
    import SimpleITK as sitk

    matrix = vtk.vtkMatrix4x4()
    if node.IsTransformToWorldLinear() and node.GetMatrixTransformFromWorld(matrix):
        lps = RAS_TO_LPS @ array_from(matrix) @ RAS_TO_LPS
        affine = sitk.AffineTransform(3)
        affine.SetMatrix(lps[:3, :3].ravel().tolist())
        affine.SetTranslation(lps[:3, 3].tolist())
        path = folder / f"{stem}.tfm"
        sitk.WriteTransform(affine, str(path))
        return path
    general = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(general)
    grid = coarser(grid)
    field = _sampled_field(general, grid)
    out = sitk.GetImageFromArray(field, isVector=True)
    m = image_matrix(grid)
    spacing = np.linalg.norm(m[:3, :3], axis=0)
    out.SetSpacing(spacing.tolist())
    out.SetOrigin((RAS_TO_LPS @ m)[:3, 3].tolist())
    out.SetDirection((RAS_TO_LPS[:3, :3] @ (m[:3, :3] / spacing)).ravel().tolist())
    path = folder / f"{stem}.nrrd"
    sitk.WriteImage(out, str(path), useCompression=False)
    return path


def coarser(grid: slicer.vtkOrientedImageData) -> slicer.vtkOrientedImageData:
    """`grid` with at most about `_MOST_SAMPLES` points between the same outermost voxel centres."""
    size = np.array(grid.GetDimensions())
    factor = max(1.0, (float(size.prod()) / _MOST_SAMPLES) ** (1 / 3))
    fewer = np.minimum(size, np.maximum(2, np.ceil(size / factor))).astype(int)
    matrix = image_matrix(grid)
    extent = np.array(grid.GetExtent())[::2]
    matrix[:3, 3] += matrix[:3, :3] @ extent
    matrix[:3, :3] *= np.where(fewer > 1, (size - 1) / np.maximum(fewer - 1, 1), 1.0)
    return empty_image(fewer.tolist(), matrix)


def _sampled_field(transform: vtk.vtkAbstractTransform, grid: slicer.vtkOrientedImageData) -> NDArray[np.float32]:
    """(Z, Y, X, 3) displacement of `transform` at the voxel centres of `grid`, LPS mm."""
    x, y, z = grid.GetDimensions()
    world = voxel_centres(image_matrix(grid), x, slice(0, y), slice(0, z))
    shift = (transformed(transform, world) - world) * LPS_SIGNS
    return shift.reshape(z, y, x, 3).astype(np.float32)


def voxel_centres(matrix: NDArray[np.float64], columns: int, rows: slice, slices: slice) -> NDArray[np.float64]:
    """(N, 3) positions of a block of voxels, x fastest; `matrix` index -> world."""
    i, j, k = np.arange(columns), np.arange(rows.start, rows.stop), np.arange(slices.start, slices.stop)
    world = (
        k[:, None, None, None] * matrix[:3, 2]
        + j[:, None, None] * matrix[:3, 1]
        + i[:, None] * matrix[:3, 0]
        + matrix[:3, 3]
    )
    return np.ascontiguousarray(world.reshape(-1, 3))


def transformed(transform: vtk.vtkAbstractTransform, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) points where `transform` puts them."""
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    before.SetDataTypeToDouble()
    after.SetDataTypeToDouble()
    before.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    transform.TransformPoints(before, after)
    return np.array(vtk_to_numpy(after.GetData()))


def read_transform(path: Path) -> slicer.vtkMRMLTransformNode:
    """A transform node, not in any scene, whose *from parent* is the file's map.

    Raises InputError where the file cannot be read, and OutputError where it is neither a linear transform nor a
    displacement field.
    """
    if path.suffix == ".tfm":
        node = slicer.vtkMRMLLinearTransformNode()
        node.SetMatrixTransformFromParent(vtk_matrix(_read_matrix(path)))
        return node
    field, matrix = read_array(path)
    if field.ndim != 4 or field.shape[3] != 3:
        raise OutputError(f"The transform {path.name} is not a displacement field; run the alignment again.")
    node = slicer.vtkMRMLGridTransformNode()
    node.SetAndObserveTransformFromParent(_grid_transform(field, matrix))
    return node


def _read_matrix(path: Path) -> NDArray[np.float64]:
    """4x4 RAS matrix of a linear transform file."""
    import SimpleITK as sitk

    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise InputError(
            f"The transform file {str(path)!r} is damaged or missing and cannot be read; run the alignment again."
        ) from error
    if not transform.IsLinear():
        raise OutputError(f"The transform {path.name} is not linear; run the alignment again.")
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(axis)) - origin for axis in np.eye(3).tolist()]
    lps = np.eye(4)
    lps[:3, :3] = np.stack(columns, axis=1)
    lps[:3, 3] = origin
    return RAS_TO_LPS @ lps @ RAS_TO_LPS


def _grid_transform(field: NDArray[Any], matrix: NDArray[np.float64]) -> slicer.vtkOrientedGridTransform:
    # Beyond the grid VTK holds the displacement of the nearest edge. That is wanted: what lies outside the
    # fixed field of view moves along, where a border of zeros would leave a ghost of it behind.
    z, y, x, _ = field.shape
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image = vtk.vtkImageData()
    image.SetDimensions(x, y, z)
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    ras = (field * np.array(LPS_SIGNS, dtype=np.float32)).reshape(-1, 3).astype(np.float32)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(ras), deep=True))
    direction = np.eye(4)
    direction[:3, :3] = matrix[:3, :3] / spacing
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    grid.SetGridDirectionMatrix(vtk_matrix(direction))
    grid.SetInterpolationModeToLinear()
    return grid
