"""The map of a transform node, fixed points to moving points, into a file that the worker reads.

The map is the *from parent* of the node with all its parents (see transforms.py), or with `reverse` its
*to parent*. Linear maps become a .tfm, all others a displacement field.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from ..core.errors import InputError
from ..jobs.outputs import writing_failed
from .places import RAS_TO_LPS, array_from
from .slabs import NrrdFile, Pace, Steps, blocks, write_array
from .transforms import LPS_SIGNS, coarser, transformed, voxel_centres
from .volumes import image_matrix

#: points of one step at most
_MOST_POINTS = 100_000
#: every so many points the answer of an inverse is tried out
_CHECK_EVERY = 7
#: an inverse may miss by this part of the fixed spacing, at this share of the points
_MISS, _MISSES = 0.5, 0.01
#: new nodes hold so many zeros at most
_DUMMY = 64
#: a field with cubic interpolation is taken as it is where it is no coarser than this many fixed voxels
_FINE = 1.5


@dataclass(frozen=True)
class NodeMap:
    """name       of the node, for sentences
    matrix     4x4, RAS, where the map is linear
    transform  the map, RAS mm
    back       the other direction where `transform` is found by inverting it point by point, else None
    """

    name: str
    matrix: NDArray[np.float64] | None
    transform: vtk.vtkGeneralTransform
    back: vtk.vtkGeneralTransform | None


def map_of(node: slicer.vtkMRMLTransformNode, reverse: bool = False) -> NodeMap:
    """Raises InputError where the node holds no transform, or a matrix that cannot be inverted."""
    name = node.GetName()
    parts = _parts(node.GetTransformToParent())
    if not parts or all(_is_blank(part) for part in parts):
        raise InputError(f"The transform {name!r} is empty; load or compute it, or choose another one.")
    towards, back = vtk.vtkGeneralTransform(), vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(back if reverse else towards)
    node.GetTransformToWorld(towards if reverse else back)
    if node.IsTransformToWorldLinear():
        return NodeMap(name, _matrix(name, towards if reverse else back, reverse), towards, None)
    computed = any(slicer.vtkMRMLTransformNode.IsAbstractTransformComputedFromInverse(p) for p in _parts(towards))
    return NodeMap(name, None, towards, back if computed else None)


def _parts(transform: vtk.vtkAbstractTransform | None) -> list[vtk.vtkAbstractTransform]:
    """The simple transforms that it is made of."""
    if transform is None:
        return []
    found = vtk.vtkCollection()
    slicer.vtkMRMLTransformNode.FlattenGeneralTransform(found, transform)
    parts = [found.GetItemAsObject(k) for k in range(found.GetNumberOfItems())]
    for part in parts:
        part.Update()  # the way back of another transform takes over its contents only here
    return parts


def _is_blank(part: vtk.vtkAbstractTransform) -> bool:
    """A field, a spline or a thin plate without contents, as new nodes have them."""
    if part.IsA("vtkGridTransform"):
        return _is_dummy(part.GetDisplacementGrid())
    if part.IsA("vtkBSplineTransform"):
        return _is_dummy(part.GetCoefficientData())
    if part.IsA("vtkThinPlateSplineTransform"):
        points = part.GetSourceLandmarks()
        return points is None or points.GetNumberOfPoints() == 0
    return False


def _is_dummy(image: vtk.vtkImageData | None) -> bool:
    if image is None or image.GetPointData().GetScalars() is None:
        return True
    few = image.GetNumberOfPoints() <= _DUMMY
    return few and not vtk_to_numpy(image.GetPointData().GetScalars()).any()


def _matrix(name: str, to_world: vtk.vtkGeneralTransform, reverse: bool) -> NDArray[np.float64]:
    # by four points: a node of several matrices is linear, but gives none as a whole
    corners = transformed(to_world, np.vstack([np.zeros((1, 3)), np.eye(3)]))
    matrix = np.eye(4)
    matrix[:3, 3] = corners[0]
    matrix[:3, :3] = (corners[1:] - corners[0]).T
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
        raise InputError(f"The matrix of the transform {name!r} cannot be inverted; correct it or choose another one.")
    return matrix if reverse else np.asarray(np.linalg.inv(matrix), dtype=np.float64)


# ---------------------------------------------------------------------- into files


def write_map(
    node: slicer.vtkMRMLTransformNode,
    folder: Path,
    stem: str,
    grid: slicer.vtkOrientedImageData,
    reverse: bool = False,
) -> Steps[str]:
    """Write the map of `node` in steps; returns the name of the file in `folder`.

    stem.tfm   where it is linear
    stem.nrrd  the displacement field as it is where the node holds one that covers `grid` and nothing is to be
               inverted or concatenated; else the map sampled at the voxel centres of `grid`, or of a coarser
               lattice over it where it is very large

    Raises InputError where the node is empty or cannot be evaluated on `grid`.
    """
    found = map_of(node, reverse)
    if found.matrix is not None:
        write_linear(found.matrix, folder / f"{stem}.tfm")
        return f"{stem}.tfm"
    path = folder / f"{stem}.nrrd"
    field = None if found.back is not None else _own_field(node, grid, reverse)
    if field is not None:
        yield from _write_field(field, path)
    else:
        yield from _sample(found, coarser(grid), path)
    return path.name


def write_linear(matrix: NDArray[np.float64], path: Path) -> None:
    """A 4x4 matrix (RAS) as an ITK transform file (LPS). Raises OutputError."""
    lps = RAS_TO_LPS @ matrix @ RAS_TO_LPS
    numbers = " ".join(repr(float(v)) for v in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    text = (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
    )
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise writing_failed(path, error) from error


def _own_field(
    node: slicer.vtkMRMLTransformNode, fixed: slicer.vtkOrientedImageData, reverse: bool
) -> slicer.vtkOrientedGridTransform | None:
    """The field that the node holds where that field alone is its map on `fixed`."""
    if node.GetParentTransformNode() is not None:
        return None
    parts = _parts(node.GetTransformToParent() if reverse else node.GetTransformFromParent())
    if len(parts) != 1 or not parts[0].IsA("vtkOrientedGridTransform"):
        return None
    field = parts[0]
    spacing = np.linalg.norm(image_matrix(fixed)[:3, :3], axis=0)
    coarse = max(field.GetDisplacementGrid().GetSpacing()) > _FINE * float(spacing.max())
    if field.GetInterpolationMode() != vtk.VTK_LINEAR_INTERPOLATION and coarse:
        return None
    return field if _covers(field, fixed) else None


def _covers(field: slicer.vtkOrientedGridTransform, fixed: slicer.vtkOrientedImageData) -> bool:
    """Whether all of `fixed` lies in the field: beyond it Slicer holds the edge and the worker takes zero."""
    e = np.array(fixed.GetExtent())
    corners = np.array([[e[i], e[2 + j], e[4 + k], 1.0] for i, j, k in np.ndindex(2, 2, 2)])
    index = corners @ np.linalg.solve(_field_matrix(field), image_matrix(fixed)).T
    size = np.array(field.GetDisplacementGrid().GetDimensions())
    return bool((index[:, :3] >= -0.5 + 1e-3).all() and (index[:, :3] <= size - 0.5 - 1e-3).all())


def _field_matrix(field: slicer.vtkOrientedGridTransform) -> NDArray[np.float64]:
    """4x4 index (from 0) -> RAS of the points of a field."""
    grid = field.GetDisplacementGrid()
    direction = field.GetGridDirectionMatrix()
    axes = np.eye(3) if direction is None else array_from(direction)[:3, :3]
    matrix = np.eye(4)
    matrix[:3, :3] = axes * np.array(grid.GetSpacing())
    matrix[:3, 3] = grid.GetOrigin()
    matrix[:3, 3] += matrix[:3, :3] @ np.array(grid.GetExtent())[::2]
    return matrix


def _write_field(field: slicer.vtkOrientedGridTransform, path: Path) -> Steps[None]:
    grid = field.GetDisplacementGrid()
    x, y, z = grid.GetDimensions()
    array = vtk_to_numpy(grid.GetPointData().GetScalars()).reshape(z, y, x, 3)
    scale = np.array(LPS_SIGNS, dtype=np.float32) * np.float32(field.GetDisplacementScale())
    shift = np.array(LPS_SIGNS, dtype=np.float32) * np.float32(field.GetDisplacementShift())

    def to_lps(piece: NDArray[Any]) -> NDArray[Any]:
        out = piece * scale
        if shift.any():
            out += shift
        return np.asarray(out, dtype=np.float32)

    yield from write_array(array, path, _field_matrix(field), change=to_lps, dtype=np.float32)


# ---------------------------------------------------------------------- sampling


def _sample(found: NodeMap, grid: slicer.vtkOrientedImageData, path: Path) -> Steps[None]:
    matrix, size = image_matrix(grid), tuple(grid.GetDimensions())
    check = _Check(found, float(np.linalg.norm(matrix[:3, :3], axis=0).min()))
    pace = Pace(first=4000, most=_MOST_POINTS)
    with NrrdFile(path, size, np.float32, matrix, 3) as file:
        for slices, rows in blocks(size, pace):
            world = voxel_centres(matrix, size[0], rows, slices)
            with pace.step(len(world)), _silent():
                there = transformed(found.transform, world)
                check.look(world, there)
                file.append((there - world) * LPS_SIGNS)
            yield "Sampling the transform"
    check.end()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """VTK warns of every single point at which an inverse does not converge; they are counted here instead."""
    before = vtk.vtkObject.GetGlobalWarningDisplay()
    vtk.vtkObject.SetGlobalWarningDisplay(0)
    try:
        yield
    finally:
        vtk.vtkObject.SetGlobalWarningDisplay(before)


class _Check:
    """Tries the answers of a map on a share of the points; a map that was inverted is mapped back."""

    def __init__(self, found: NodeMap, spacing: float) -> None:
        self._found, self._limit = found, _MISS * spacing
        self._tried = self._missed = 0
        self._worst = 0.0

    def look(self, world: NDArray[np.float64], there: NDArray[np.float64]) -> None:
        if not np.isfinite(there).all():
            raise InputError(
                f"The transform {self._found.name!r} gives places that are not finite numbers; "
                "load it again or choose another one."
            )
        if self._found.back is None:
            return
        again = transformed(self._found.back, there[::_CHECK_EVERY])
        miss = np.linalg.norm(again - world[::_CHECK_EVERY], axis=1)
        self._tried += len(miss)
        self._missed += int((miss > self._limit).sum())
        self._worst = max(self._worst, float(miss.max(initial=0.0)))

    def end(self) -> None:
        if self._missed > _MISSES * self._tried:
            raise InputError(
                f"The inverse of the transform {self._found.name!r} cannot be found at "
                f"{100 * self._missed / self._tried:.0f} % of the points (it misses by up to {self._worst:.1f} mm), "
                "so it folds there; review it in its other direction."
            )
