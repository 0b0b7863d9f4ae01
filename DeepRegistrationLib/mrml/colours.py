"""Colour tables built in code, so that no colour file has to be present."""

from __future__ import annotations

import slicer
import vtk

JACOBIAN_TABLE = "Jacobian determinant (blue shrinks, black keeps, orange grows)"

# magenta = folded, blue = shrinks, black = keeps its volume, orange = grows. Laid over a scan,
# black dims it but leaves its contrast; white would wash it out.
_FOLDED = (1.0, 0.0, 1.0)
_STOPS = (
    (0.0, (0.55, 0.95, 1.00)),
    (0.5, (0.05, 0.50, 1.00)),
    (0.8, (0.02, 0.22, 0.62)),
    (1.0, (0.00, 0.00, 0.00)),
    (1.2, (0.62, 0.18, 0.02)),
    (1.5, (1.00, 0.42, 0.05)),
    (2.0, (1.00, 0.92, 0.55)),
)
_SIZE = 256

#: determinants shown; the table is centred at 1, its first entry (at or below 0) is folded
JACOBIAN_RANGE = (0.0, 2.0)


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
