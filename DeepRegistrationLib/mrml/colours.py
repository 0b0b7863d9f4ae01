"""Colour tables built in code, so that no colour file has to be present."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer.util
import vtk
from numpy.typing import NDArray

from ..metrics.map_kinds import MapKind
from ..reports.palette import DIVERGING, FOLDED, Colour, Stop, colours, stops_of

JACOBIAN_TABLE = "Jacobian determinant (blue shrinks, black keeps, orange grows)"

#: determinants shown; the table is centred at 1, its first entry (at or below 0) is folded
JACOBIAN_RANGE = (0.0, 2.0)

#: on a dark ground, for points and lines: light blue is small, red is large
ERROR_STOPS: tuple[Stop, ...] = (
    (0.0, (0.40, 0.80, 1.00)),
    (0.5, (1.00, 0.90, 0.25)),
    (1.0, (1.00, 0.15, 0.10)),
)
ERROR_TABLE = "Errors (blue small, yellow, red large)"

_SIZE = 256
_KIND_ATTRIBUTE = "DeepRegistration.colours"
# Folding takes the lowest fifth of a table, wide enough to be seen in the legend. A slice view cuts the window into
# 255 steps, so that a fifth ends between two of them: folding is coloured at or below its limit and nowhere else.
_FOLDED_PART = 0.25  # of the range above it
# ... to this part of the range, which puts the limit itself below the border of the steps
_HAIR = 1e-6


def jacobian_colours(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """The diverging table for Jacobian determinants over `JACOBIAN_RANGE`; one per scene."""
    low, high = JACOBIAN_RANGE
    values = np.linspace(low, high, _SIZE)
    table = colours(values, DIVERGING, low, high)
    table[values <= 0] = FOLDED
    return _table(scene, JACOBIAN_TABLE, values, table)


def error_colours(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """The sequential table for points and lines that are drawn over a scan; one per scene."""
    values = np.linspace(0.0, 1.0, _SIZE)
    return _table(scene, ERROR_TABLE, values, colours(values, ERROR_STOPS, 0.0, 1.0))


def transfer_function(stops: Sequence[Stop], low: float, high: float) -> vtk.vtkColorTransferFunction:
    """The stops spread over `low` to `high`."""
    function = vtk.vtkColorTransferFunction()
    for position, (r, g, b) in stops:
        function.AddRGBPoint(low + (high - low) * position, r, g, b)
    return function


def map_colours(scene: slicer.vtkMRMLScene, kind: MapKind) -> slicer.vtkMRMLColorTableNode:
    """The table of one kind of map, to be spread over `window_of` the map; one per scene and kind.

    Entry k stands for the values of the k-th of 255 equal steps of the window, the last one for its upper end and
    beyond. Where the kind knows folding, the entries at or below its limit have the colour of folding.
    """
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode", scene):
        if node.GetAttribute(_KIND_ATTRIBUTE) == kind.id:
            return node
    low, high = _range_of(kind, 1.0)
    first, last = window_of(kind, 1.0)
    values = first + (last - first) * (np.arange(_SIZE) + 0.5) / (_SIZE - 1)
    values[-1] = last
    table = colours(values, stops_of(kind.id), low, high)
    if kind.folded_below is not None:
        table[values <= kind.folded_below] = FOLDED
    unit = f" ({kind.unit})" if kind.unit else ""
    node = _table(scene, f"Colours of {kind.title}{unit}", values if kind.range else None, table)
    node.SetAttribute(_KIND_ATTRIBUTE, kind.id)
    return node


def window_of(kind: MapKind, upper: float) -> tuple[float, float]:
    """(low, high) of the window that `map_colours` is made for.

    upper  for a kind whose range comes from the data: its high end, or how far it reaches to either side of the
           centre; others keep their own range, extended downwards where there is folding to be shown
    """
    low, high = _range_of(kind, upper)
    if kind.folded_below is None:
        return low, high
    limit = kind.folded_below
    return limit - _FOLDED_PART * (high - limit) + _HAIR * (high - limit), high


def _range_of(kind: MapKind, upper: float) -> tuple[float, float]:
    if kind.range is not None:
        return kind.range
    return (kind.centre - upper, kind.centre + upper) if kind.centre is not None else (0.0, upper)


def _table(
    scene: slicer.vtkMRMLScene, name: str, values: NDArray[np.float64] | None, table: NDArray[np.float64]
) -> slicer.vtkMRMLColorTableNode:
    """The table node of that name, made where the scene has none; `values` name the entries."""
    known = scene.GetFirstNodeByName(name)
    if known is not None and known.IsA("vtkMRMLColorTableNode"):
        return known
    node = slicer.vtkMRMLColorTableNode()
    node.SetTypeToUser()
    node.SetName(name)
    node.SetNumberOfColors(len(table))
    for k, (r, g, b) in enumerate(table.tolist()):
        label = f"{k / (_SIZE - 1):.0%}" if values is None else f"{values[k]:.2f}"
        node.SetColor(k, label, r, g, b, 1.0)
    node.SetHideFromEditors(0)
    return scene.AddNode(node)


def rgb(value: float, low: float, high: float) -> Colour:
    """Colour of an error `value` where `low` is the best and `high` the worst one shown."""
    r, g, b = colours(value, ERROR_STOPS, low, high).tolist()
    return r, g, b
