"""The difference of two scans, fixed - moved, in the slice views.

It is taken from the values that the slice logic has resampled for the view, not from a volume made beforehand:
there is nothing to wait for and no memory to fill, whatever the size, the grids or the transforms of the two. (The
slice logic's own subtraction works on grey shades after window and level and cuts off everything below zero.)
"""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..reports.palette import DIVERGING, colours
from .places import array_from
from .screen_mix import Colours, SliceLayers
from .volumes import voxels

_HALF = 127  # steps of colour on either side of the middle one

#: at most so many samples along each axis decide on the range
_SAMPLES = 40
#: below this correlation, or beyond this ratio of contrasts, grey values mean different things
_CORRELATION, _RATIO = 0.5, 2.0


class DifferencePainter:
    """Background - foreground in colours from -limit to limit; black outside either of them."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._table = colour_table()

    def state(self, view: str) -> Hashable:
        return self.limit

    def paint(self, layers: SliceLayers, view: str) -> Colours | None:
        fixed, moved = layers.values(0), layers.values(1)
        if fixed is None or moved is None or fixed[0].shape != moved[0].shape:
            return None
        return self.colours(fixed[0], moved[0], fixed[1] & moved[1])

    def colours(
        self, fixed: NDArray[np.generic], moved: NDArray[np.generic], inside: NDArray[np.bool_]
    ) -> Colours:
        """(H, W) values -> (H, W, 4) colours."""
        difference = np.subtract(fixed, moved, dtype=np.float32)
        inside = inside & np.isfinite(difference)
        difference *= _HALF / self.limit
        np.clip(difference, -_HALF, _HALF, out=difference)
        index = np.where(inside, np.rint(difference) + _HALF, 0).astype(np.uint8)
        out = self._table[index]
        out[~inside, :3] = 0
        return out

    def legend(self) -> vtk.vtkScalarBarActor:
        """A new scale of the colours for one view."""
        table = vtk.vtkLookupTable()
        table.SetTable(numpy_to_vtk(self._table, deep=True))
        table.SetTableRange(-self.limit, self.limit)
        bar = vtk.vtkScalarBarActor()
        bar.SetLookupTable(table)
        bar.SetTitle("fixed -\nmoved")
        bar.SetNumberOfLabels(3)
        bar.SetMaximumNumberOfColors(2 * _HALF + 1)
        bar.SetWidth(0.1)
        bar.SetHeight(0.5)
        bar.GetPositionCoordinate().SetValue(0.86, 0.25)
        bar.UnconstrainedFontSizeOn()
        for text in (bar.GetTitleTextProperty(), bar.GetLabelTextProperty()):
            text.SetFontSize(12)
            text.SetColor(1, 1, 1)
            text.ItalicOff()
            text.BoldOff()
        return bar


def colour_table() -> Colours:
    """(255, 4) opaque colours from -1 to 1, dark in the middle, so that what agrees recedes."""
    rgb = colours(np.linspace(-1, 1, 2 * _HALF + 1), DIVERGING, -1, 1)
    return np.concatenate([np.rint(255 * rgb), np.full((len(rgb), 1), 255.0)], axis=1).astype(np.uint8)


def difference_limit(fixed: NDArray[np.float64], moved: NDArray[np.float64]) -> float:
    """What the colours should span for pairs of values: their 99th percentile, rounded up to two digits."""
    if not fixed.size:
        return 1.0
    differences = np.abs(fixed - moved)
    limit = float(np.percentile(differences, 99)) or float(differences.max())
    if not limit > 0:
        return 1.0
    digit = 10.0 ** (math.floor(math.log10(limit)) - 1)
    return math.ceil(limit / digit - 1e-9) * digit


def caution(
    fixed: NDArray[np.float64], moved: NDArray[np.float64], fixed_name: str, moved_name: str
) -> str:
    """Why a difference of these pairs of values means little; empty where it means something."""
    seen = (fixed > fixed.min(initial=np.inf)) | (moved > moved.min(initial=np.inf))
    a, b = fixed[seen], moved[seen]
    if a.size < 2 or not a.std() or not b.std():
        return ""
    correlation = float(np.corrcoef(a, b)[0, 1])
    ratio = float(b.std() / a.std())
    if correlation < _CORRELATION:
        return (
            f"A difference means little here, because the grey values of {moved_name!r} do not go with those of "
            f"{fixed_name!r} (correlation {correlation:.2f}), as with scans of different kinds; "
            "use checkerboard or fade."
        )
    if not 1 / _RATIO <= ratio <= _RATIO:
        return (
            f"A difference means little here, because the contrast of {moved_name!r} is {ratio:.2g} times that of "
            f"{fixed_name!r}, so that it does not vanish where they fit; use checkerboard or fade."
        )
    return ""


def paired_values(
    fixed: slicer.vtkMRMLScalarVolumeNode, moved: slicer.vtkMRMLScalarVolumeNode
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of both volumes at the same places of the world, spread over fixed ((N,), (N,); nearest voxels)."""
    ours, theirs = voxels(fixed.GetImageData()), voxels(moved.GetImageData())
    axes = [np.arange(0, n, max(1, -(-n // _SAMPLES))) for n in ours.shape]
    k, j, i = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    place = np.stack([i, j, k, np.ones_like(i)], axis=1) @ _matrix(fixed, "IJKToRAS").T
    place[:, :3] = _carry(place[:, :3], fixed.GetParentTransformNode(), moved.GetParentTransformNode())
    there = np.rint((place @ _matrix(moved, "RASToIJK").T)[:, 2::-1]).astype(np.int64)
    inside = ((there >= 0) & (there < np.array(theirs.shape))).all(axis=1)
    a = ours[k[inside], j[inside], i[inside]].astype(np.float64)
    b = theirs[tuple(there[inside].T)].astype(np.float64)
    usable = np.isfinite(a) & np.isfinite(b)
    return a[usable], b[usable]


def _matrix(node: slicer.vtkMRMLVolumeNode, name: str) -> NDArray[np.float64]:
    matrix = vtk.vtkMatrix4x4()
    getattr(node, f"Get{name}Matrix")(matrix)
    return array_from(matrix)


def _carry(
    points: NDArray[np.float64],
    source: slicer.vtkMRMLTransformNode | None,
    target: slicer.vtkMRMLTransformNode | None,
) -> NDArray[np.float64]:
    """(N, 3) points from what lies under one transform to what lies under another."""
    if source is target:
        return points
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, transform)
    given, out = vtk.vtkPoints(), vtk.vtkPoints()
    given.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    transform.TransformPoints(given, out)
    return np.asarray(vtk_to_numpy(out.GetData()), dtype=np.float64)
