"""Landmarks coloured by how far they miss, and the way to the worst of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk

from ..core.errors import InputError
from .colours import error_colours
from .map_nodes import style_legend

SCALARS = "TRE (mm)"

_LPS_SIGNS = np.array([-1.0, -1.0, 1.0])
# radius of a sphere: in voxels, and as parts of the distance to the nearest neighbour and of all points' extent
_VOXELS, _OF_NEIGHBOUR, _OF_EXTENT = 2.0, 0.3, 0.02
_SMALLEST, _ALONE = 0.5, 3.0  # mm
_SIDES = 16


def error_points(
    scene: slicer.vtkMRMLScene,
    metrics: Mapping[str, Any],
    name: str,
    *,
    spacing: Sequence[float] | None = None,
    transform: slicer.vtkMRMLTransformNode | None = None,
    visible: bool = False,
) -> slicer.vtkMRMLModelNode:
    """A sphere at each fixed landmark, coloured by its TRE after the alignment, for slices and 3-D, with a legend.

    metrics    metrics["landmarks"] with "fixed_points" and "moving_points" (N x 3, LPS mm) and "after_mm"
    spacing    of the fixed volume, mm; spheres are then at least two voxels thick
    transform  the result: a stick leads from each sphere to where the transform shows the moving partner
    visible    shown at once; else by SetVisibility and SetVisibility2D of its display node

    Raises InputError where no landmark was measured.
    """
    marks = metrics.get("landmarks") or {}
    points = np.array(marks.get("fixed_points") or [], dtype=np.float64).reshape(-1, 3) * _LPS_SIGNS
    errors = np.array(marks.get("after_mm") or [], dtype=np.float64)
    if not len(points) or len(points) != len(errors):
        raise InputError("No landmark was measured; choose landmarks of both volumes and measure again.")
    radius = sphere_radius(points, spacing)
    shapes = vtk.vtkAppendPolyData()
    shapes.AddInputData(_spheres(points, errors, radius))
    if transform is not None and marks.get("moving_points"):
        shown = _brought_over(np.array(marks["moving_points"], dtype=np.float64) * _LPS_SIGNS, transform)
        shapes.AddInputData(_sticks(points, shown, errors, radius / 4))
    shapes.Update()
    model = slicer.vtkMRMLModelNode()
    model.SetName(scene.GenerateUniqueName(name))
    model.SetAndObserveMesh(shapes.GetOutput())
    scene.AddNode(model)
    _dress(model, float(errors.max()), visible)
    return model


def sphere_radius(points: NDArray[np.float64], spacing: Sequence[float] | None) -> float:
    """mm: large enough to be found, small enough not to touch the neighbours.

    points  (N, 3) mm
    """
    radius = _ALONE
    if len(points) > 1:
        from scipy.spatial import cKDTree

        neighbour = np.median(cKDTree(points).query(points, k=2)[0][:, 1])
        radius = min(_OF_NEIGHBOUR * float(neighbour), _OF_EXTENT * float(np.ptp(points, axis=0).max()))
    if spacing is not None:
        radius = max(radius, _VOXELS / 2 * float(max(spacing)))
    return max(radius, _SMALLEST)


def _spheres(points: NDArray[np.float64], errors: NDArray[np.float64], radius: float) -> vtk.vtkPolyData:
    source = vtk.vtkSphereSource()
    source.SetRadius(radius)
    source.SetThetaResolution(_SIDES)
    source.SetPhiResolution(_SIDES)
    glyphs = vtk.vtkGlyph3D()
    glyphs.SetInputData(_cloud(points, errors))
    glyphs.SetSourceConnection(source.GetOutputPort())
    glyphs.SetScaleModeToDataScalingOff()
    glyphs.Update()
    return _only_errors(glyphs.GetOutput())


def _sticks(
    first: NDArray[np.float64], last: NDArray[np.float64], errors: NDArray[np.float64], radius: float
) -> vtk.vtkPolyData:
    lines = _cloud(np.concatenate([first, last]), np.concatenate([errors, errors]))
    cells = vtk.vtkCellArray()
    for k in range(len(first)):
        cells.InsertNextCell(2)
        cells.InsertCellPoint(k)
        cells.InsertCellPoint(k + len(first))
    lines.SetLines(cells)
    tubes = vtk.vtkTubeFilter()
    tubes.SetInputData(lines)
    tubes.SetRadius(radius)
    tubes.SetNumberOfSides(8)
    tubes.Update()
    return _only_errors(tubes.GetOutput())


def _cloud(points: NDArray[np.float64], errors: NDArray[np.float64]) -> vtk.vtkPolyData:
    cloud, places = vtk.vtkPolyData(), vtk.vtkPoints()
    places.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    cloud.SetPoints(places)
    scalars = numpy_to_vtk(np.ascontiguousarray(errors), deep=True)
    scalars.SetName(SCALARS)
    cloud.GetPointData().SetScalars(scalars)
    return cloud


def _only_errors(shape: vtk.vtkPolyData) -> vtk.vtkPolyData:
    """Shapes can be joined where they carry the same arrays."""
    data = shape.GetPointData()
    for name in [data.GetArrayName(k) for k in range(data.GetNumberOfArrays())]:
        if name != SCALARS:
            data.RemoveArray(name)
    data.SetActiveScalars(SCALARS)
    return shape


def _brought_over(points: NDArray[np.float64], transform: slicer.vtkMRMLTransformNode) -> NDArray[np.float64]:
    """Where moving points (RAS) are shown once moving lies under the transform."""
    to_world = vtk.vtkGeneralTransform()
    transform.GetTransformToWorld(to_world)
    return np.array([to_world.TransformPoint(p) for p in points.tolist()])


def _dress(model: slicer.vtkMRMLModelNode, largest: float, visible: bool) -> None:
    scene = model.GetScene()
    display = slicer.vtkMRMLModelDisplayNode()
    scene.AddNode(display)
    display.SetAndObserveColorNodeID(error_colours(scene).GetID())
    display.SetActiveScalar(SCALARS, vtk.vtkAssignAttribute.POINT_DATA)
    display.SetScalarVisibility(True)
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    high = max(largest, 1e-3)
    display.SetScalarRange(0.0, high)
    display.SetVisibility(visible)
    display.SetVisibility2D(visible)
    display.SetSliceIntersectionThickness(3)
    model.SetAndObserveDisplayNodeID(display.GetID())
    found = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(model)
    style_legend(found, SCALARS, (0.0, high), at_left=True)  # a map may have the right edge


def worst(metrics: Mapping[str, Any]) -> int | None:
    """Index of the landmark with the largest TRE after the alignment; None where none was measured."""
    errors = (metrics.get("landmarks") or {}).get("after_mm") or []
    return int(np.argmax(errors)) if len(errors) else None


def jump_to(point: Sequence[float], scene: slicer.vtkMRMLScene | None = None) -> None:
    """Bring a point (LPS mm) into the middle of every slice view."""
    r, a, s = (np.asarray(point, dtype=np.float64) * _LPS_SIGNS).tolist()
    slicer.vtkMRMLSliceNode.JumpAllSlices(
        scene or slicer.mrmlScene, r, a, s, slicer.vtkMRMLSliceNode.CenteredJumpSlice
    )
