"""Colour tables built in code, so that no colour file has to be present."""

from __future__ import annotations

import slicer
import vtk

JACOBIAN_TABLE = "Jacobian determinant (blue shrinks, white keeps, red grows)"

# purple = folded, blue = shrinks, white = keeps its volume, red = grows
_FOLDED = (0.45, 0.0, 0.60)
_STOPS = (
    (0.0, (0.02, 0.19, 0.58)),
    (0.5, (0.45, 0.67, 0.90)),
    (1.0, (1.00, 1.00, 1.00)),
    (1.5, (0.96, 0.58, 0.46)),
    (2.0, (0.62, 0.02, 0.10)),
)
_SIZE = 256

#: determinants shown; the table is centred at 1, what is at or below 0 is folded
JACOBIAN_RANGE = (-0.02, 2.02)


def jacobian_colours(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """The diverging table for Jacobian determinants, centred at 1; one per scene."""
    known = scene.GetFirstNodeByName(JACOBIAN_TABLE)
    if known is not None and known.IsA("vtkMRMLColorTableNode"):
        return known
    function = vtk.vtkColorTransferFunction()
    for position, (r, g, b) in _STOPS:
        function.AddRGBPoint(position, r, g, b)
    low, high = JACOBIAN_RANGE
    node = slicer.vtkMRMLColorTableNode()
    node.SetTypeToUser()
    node.SetName(JACOBIAN_TABLE)
    node.SetNumberOfColors(_SIZE)
    for k in range(_SIZE):
        value = low + (high - low) * k / (_SIZE - 1)
        r, g, b = _FOLDED if value <= 0 else function.GetColor(value)
        node.SetColor(k, f"{value:.2f}", r, g, b, 1.0)
    node.SetHideFromEditors(0)
    return scene.AddNode(node)
