"""Where a node lies in the world: its parent transforms, folded into one.

World is Slicer's world, RAS millimetres; files are written in LPS (`RAS_TO_LPS` turns one into the other).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

#: its own inverse
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

#: node reference roles and the attribute that an output transform carries
FIXED_ROLE = "DeepRegistration.fixed"
MOVING_ROLE = "DeepRegistration.moving"
BEFORE_ROLE = "DeepRegistration.movingParentBefore"
METHOD_ATTRIBUTE = "DeepRegistration.method"

_ORTHOGONAL_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Place:
    """The map from a node's own coordinates to the world (RAS mm).

    matrix     4x4 where the map is linear, else None
    transform  the map, for points and resampling
    """

    matrix: NDArray[np.float64] | None
    transform: vtk.vtkAbstractTransform

    @property
    def linear(self) -> bool:
        return self.matrix is not None

    def to_world(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) own coordinates -> (N, 3) world, RAS mm."""
        return np.array([self.transform.TransformPoint(p) for p in points.tolist()]).reshape(-1, 3)


def place_of(
    node: slicer.vtkMRMLTransformableNode, below: slicer.vtkMRMLTransformNode | None = None
) -> Place:
    """Where `node` lies, with all its parents.

    below  a transform to leave out: where the node lies under it, the place *before* that transform acts is
           meant; nodes that do not lie under it stay where they are.
    """
    parent = node.GetParentTransformNode()
    if below is not None and not is_under(node, below):
        below = None
    if parent is None or parent is below:
        return Place(np.eye(4), vtk.vtkTransform())
    matrix = vtk.vtkMatrix4x4()
    if slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(parent, below, matrix):
        linear = vtk.vtkTransform()
        linear.SetMatrix(matrix)
        return Place(array_from(matrix), linear)
    general = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(parent, below, general)
    return Place(None, general)


def earlier_result(
    fixed: slicer.vtkMRMLNode, moving: slicer.vtkMRMLTransformableNode
) -> slicer.vtkMRMLTransformNode | None:
    """The output transform of an earlier alignment of this very pair that `moving` lies under, if any."""
    parent = moving.GetParentTransformNode()
    while parent is not None:
        same_pair = (
            parent.GetNodeReferenceID(FIXED_ROLE) == fixed.GetID()
            and parent.GetNodeReferenceID(MOVING_ROLE) == moving.GetID()
        )
        if parent.GetAttribute(METHOD_ATTRIBUTE) and same_pair:
            return parent
        parent = parent.GetParentTransformNode()
    return None


def is_under(node: slicer.vtkMRMLTransformableNode, ancestor: slicer.vtkMRMLTransformNode) -> bool:
    """True where `ancestor` is among the parent transforms of `node`."""
    parent = node.GetParentTransformNode()
    while parent is not None and parent is not ancestor:
        parent = parent.GetParentTransformNode()
    return parent is ancestor


def array_from(matrix: vtk.vtkMatrix4x4) -> NDArray[np.float64]:
    """4x4 numpy copy."""
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])


def vtk_matrix(array: NDArray[np.float64]) -> vtk.vtkMatrix4x4:
    """4x4 vtk copy."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=np.float64).ravel().tolist())
    return matrix


def is_orthogonal(matrix: NDArray[np.float64]) -> bool:
    """True where the axes of an index-to-world matrix are at right angles (no shear)."""
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < _ORTHOGONAL_TOLERANCE)
