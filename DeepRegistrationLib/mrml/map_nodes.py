"""Maps of a review as volumes laid over the fixed volume, with colours that mean something and a legend."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import numpy as np
import slicer.util
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk

from ..core.errors import InputError
from ..metrics.map_kinds import MapKind, map_kind
from .colours import map_colours, window_of
from .places import vtk_matrix
from .volumes import empty_image

#: on a map's volume: the id of its kind
MAP_ATTRIBUTE = "DeepRegistration.map"

# voxels looked at for the high end of the colours; all of a large map would take a noticeable while
_MOST_SAMPLES = 1_000_000
_PERCENTILE = 99.0
# parts of the view. The narrower, the smaller its letters.
_LEGEND_SIZE, _LEGEND_RIGHT, _LEGEND_LEFT = (0.1, 0.5), (0.97, 0.5), (0.03, 0.5)
_LEGEND_LINE, _LEGEND_LABEL = 15, 5  # letters
_SPACE = "\u00a0"  # one that a view does not cut off
_NO_LIMIT = 1e30


def add_map(
    scene: slicer.vtkMRMLScene, array: NDArray[Any], matrix: NDArray[np.float64], kind: MapKind, name: str
) -> slicer.vtkMRMLScalarVolumeNode:
    """A volume in the colours of its kind; nothing is shown yet.

    array   (Z, Y, X); kept and not copied where it is float32 already, so leave it alone afterwards
    matrix  4x4, index to world (RAS mm)

    The colours span `kind.range`, or what the map's 99th percentile says (see MapKind). Raises InputError where the
    array has not three axes.
    """
    if array.ndim != 3 or array.size == 0:
        raise InputError(f"A map of shape {array.shape} was given; give one with three axes that is not empty.")
    # Everything the display has to know comes before the voxels: left to itself it counts a histogram of all of them.
    display = slicer.vtkMRMLScalarVolumeDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(*window_of(kind, _upper_end(array, kind.centre)))
    # between a folded voxel and its neighbours there is no gentle slope
    display.SetInterpolate(kind.folded_below is None)
    scene.AddNode(display)
    display.SetAndObserveColorNodeID(map_colours(scene, kind).GetID())
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(scene.GenerateUniqueName(name))
    node.SetAttribute(MAP_ATTRIBUTE, kind.id)
    node.SetIJKToRASMatrix(vtk_matrix(matrix))
    node.SetAndObserveImageData(_image_around(np.ascontiguousarray(array, dtype=np.float32)))
    scene.AddNode(node)
    node.SetAndObserveDisplayNodeID(display.GetID())
    return node


def _image_around(array: NDArray[np.float32]) -> slicer.vtkOrientedImageData:
    """An image whose voxels are the memory of `array`, which it keeps alive; the geometry belongs to the node."""
    image = empty_image(list(array.shape[::-1]), np.eye(4))
    image.GetPointData().SetScalars(numpy_to_vtk(array.reshape(-1), deep=False))
    return image


def _upper_end(array: NDArray[Any], centre: float | None) -> float:
    """The 99th percentile of voxels spread evenly over the map, or of their distance from `centre`; never 0."""
    values = array.reshape(-1)
    step = max(1, values.size // _MOST_SAMPLES) | 1  # odd, so that it does not walk along one column
    values = values[::step]
    values = values[np.isfinite(values)]
    if centre is not None:
        values = np.abs(values - centre)
    upper = float(np.percentile(values, _PERCENTILE)) if values.size else 0.0
    return upper if upper > 1e-6 else 1.0


def kind_of(node: slicer.vtkMRMLScalarVolumeNode) -> MapKind:
    """What `add_map` was told, also after the scene was saved and loaded."""
    return map_kind(node.GetAttribute(MAP_ATTRIBUTE) or "map")


def range_of(node: slicer.vtkMRMLScalarVolumeNode) -> tuple[float, float]:
    """(low, high) of the values that the colours and the legend span."""
    display = node.GetDisplayNode()
    window, level = display.GetWindow(), display.GetLevel()
    return level - window / 2, level + window / 2


def show_map(
    node: slicer.vtkMRMLScalarVolumeNode,
    background: slicer.vtkMRMLVolumeNode,
    opacity: float = 0.5,
    threshold: tuple[float, float] | None = None,
) -> None:
    """Lay the map over `background` in every slice view, with its legend.

    threshold  show only the values between the two; None: all
    """
    if threshold is None:
        clear_threshold(node)
    else:
        set_threshold(node, *threshold)
    for layers in _layers(node):
        changing = layers.StartModify()
        layers.SetBackgroundVolumeID(background.GetID())
        layers.SetForegroundVolumeID(node.GetID())
        layers.SetForegroundOpacity(opacity)
        layers.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Alpha)
        layers.EndModify(changing)
    legend(node, True)
    redraw_legends(node.GetScene())


def set_opacity(node: slicer.vtkMRMLScalarVolumeNode, opacity: float) -> None:
    """0 hides the map, 1 hides what lies below it. A slice view mixes layers, so it is the layer's opacity."""
    for layers in _layers(node):
        if layers.GetForegroundVolumeID() == node.GetID():
            layers.SetForegroundOpacity(opacity)


def set_threshold(node: slicer.vtkMRMLScalarVolumeNode, low: float, high: float) -> None:
    """Show only the values from `low` to `high`. An end at or beyond that of the colours lets all values beyond it
    through: folding far below the range stays in sight.
    """
    first, last = range_of(node)
    hair = 1e-3 * (last - first)
    display = node.GetDisplayNode()
    changing = display.StartModify()
    display.SetThreshold(-_NO_LIMIT if low <= first + hair else low, _NO_LIMIT if high >= last - hair else high)
    display.SetApplyThreshold(True)
    display.EndModify(changing)


def clear_threshold(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show all values again."""
    node.GetDisplayNode().SetApplyThreshold(False)


def legend(node: slicer.vtkMRMLScalarVolumeNode, visible: bool) -> None:
    """Show or hide the legend. Slicer draws it in the slice views that show the map."""
    found = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if found is None and not visible:
        return
    if found is None:
        found = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
        kind = kind_of(node)
        style_legend(found, _legend_title(kind), range_of(node), labels=6 if kind.folded_below is not None else 5)
    found.SetVisibility(visible)
    found.Modified()


def redraw_legends(scene: slicer.vtkMRMLScene) -> None:
    """Slicer looks again which volumes the views show: it does so by itself only when a user changes a layer."""
    for found in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode", scene):
        found.Modified()


def style_legend(
    found: slicer.vtkMRMLColorLegendDisplayNode,
    title: str,
    values: tuple[float, float],
    labels: int = 5,
    at_left: bool = False,
) -> None:
    """Title, decimals that fit the range, and a place at the right edge of a view, or at its left."""
    span = abs(values[1] - values[0])
    lines = [line for part in title.splitlines() for line in wrap(part, _LEGEND_LINE)]
    # Slicer makes letters as large as there is room: every legend gets the same number of them
    found.SetTitleText("\n".join(line.center(_LEGEND_LINE, _SPACE) for line in lines))
    decimals = 0 if span >= 20 else 1 if span >= 2 else 2 if span >= 0.2 else 3
    found.SetLabelFormat(f"%{_LEGEND_LABEL}.{decimals}f")
    found.SetNumberOfLabels(labels)
    found.SetMaxNumberOfColors(256)
    found.SetSize(*_LEGEND_SIZE)
    found.SetPosition(*(_LEGEND_LEFT if at_left else _LEGEND_RIGHT))


def _legend_title(kind: MapKind) -> str:
    unit = f" ({kind.unit})" if kind.unit else ""
    return f"{kind.title}{unit}" if kind.folded_below is None else f"{kind.title}\nmagenta: folded"


def _layers(node: slicer.vtkMRMLScalarVolumeNode) -> list[slicer.vtkMRMLSliceCompositeNode]:
    scene = node.GetScene()
    kind = "vtkMRMLSliceCompositeNode"
    return [scene.GetNthNodeByClass(k, kind) for k in range(scene.GetNumberOfNodesByClass(kind))]
