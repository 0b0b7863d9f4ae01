"""States of nodes kept aside, to be put back later if the nodes are still there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import slicer
import vtk

#: of a scalar volume's display; window and level go apart, because setting them ends the automatic choice
_VOLUME = (
    "Visibility",
    "Opacity",
    "Interpolate",
    "InvertDisplayScalarRange",
    "ApplyThreshold",
    "LowerThreshold",
    "UpperThreshold",
    "AutoThreshold",
)
#: of a transform's display
_TRANSFORM = (
    "Visibility",
    "Visibility2D",
    "Visibility3D",
    "EditorVisibility",
    "EditorVisibility3D",
    "EditorSliceIntersectionVisibility",
    "VisualizationMode",
    "GlyphSpacingMm",
    "GlyphScalePercent",
    "GlyphDisplayRangeMaxMm",
    "GlyphDisplayRangeMinMm",
    "GlyphType",
    "GlyphDiameterMm",
    "GlyphResolution",
    "GridSpacingMm",
    "GridScalePercent",
    "GridLineDiameterMm",
    "GridResolutionMm",
    "GridShowNonWarped",
    "ContourResolutionMm",
    "ContourOpacity",
)


class KeptNode:
    """A node, or none, that is neither held in memory nor mixed up with a later one of the same ID."""

    def __init__(self, node: slicer.vtkMRMLNode | None) -> None:
        self._reference = vtk.vtkWeakReference()
        if node is not None:
            self._reference.Set(node)

    @property
    def node(self) -> Any:
        """The node; None where there was none or where it has left its scene."""
        node = self._reference.Get()
        return node if node is not None and node.GetScene() is not None else None

    @property
    def id(self) -> str | None:
        node = self.node
        return node.GetID() if node is not None else None


class KeptAttributes:
    """Some attributes of a node, by the names of their Get and Set methods."""

    def __init__(self, node: slicer.vtkMRMLNode, names: Sequence[str]) -> None:
        self._node = KeptNode(node)
        self._values = {name: getattr(node, f"Get{name}")() for name in names if hasattr(node, f"Get{name}")}

    @property
    def node(self) -> Any:
        return self._node.node

    def restore(self) -> None:
        """Put back what differs; nothing where the node has gone."""
        node = self.node
        if node is None:
            return
        with modifying(node):
            for name, value in self._values.items():
                if getattr(node, f"Get{name}")() != value:
                    getattr(node, f"Set{name}")(value)


class KeptDisplay:
    """How a volume or a transform is shown. A transform that had no display node goes back to being hidden."""

    def __init__(self, node: slicer.vtkMRMLDisplayableNode) -> None:
        self._shown = KeptNode(node)
        display = node.GetDisplayNode()
        self._display = KeptNode(display)
        names = _TRANSFORM if node.IsA("vtkMRMLTransformNode") else _VOLUME
        self._attributes = KeptAttributes(display, names) if display is not None else None
        self._region: KeptNode | None = None
        self._colour: KeptNode | None = None
        self._window: tuple[bool, float, float] | None = None
        if display is not None:
            if display.IsA("vtkMRMLTransformDisplayNode"):
                self._region = KeptNode(display.GetRegionNode())
            self._colour = KeptNode(display.GetColorNode())
            self._window = _window(display)

    def restore(self) -> None:
        if self._attributes is None:
            self._hide()
            return
        display = self._display.node
        if display is None:
            return
        with modifying(display):
            self._attributes.restore()
            if self._colour is not None and display.GetColorNodeID() != self._colour.id:
                display.SetAndObserveColorNodeID(self._colour.id)
            if self._region is not None and display.GetRegionNode() is not self._region.node:
                display.SetAndObserveRegionNode(self._region.node)
            self._restore_window(display)

    def _hide(self) -> None:
        node = self._shown.node
        if node is not None and node.IsA("vtkMRMLTransformNode") and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(False)

    def _restore_window(self, display: slicer.vtkMRMLDisplayNode) -> None:
        if self._window is None or self._window == _window(display):
            return
        automatic, window, level = self._window
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(window, level)
        if automatic:
            display.SetAutoWindowLevel(True)


def _window(display: slicer.vtkMRMLDisplayNode) -> tuple[bool, float, float] | None:
    if not hasattr(display, "GetAutoWindowLevel"):
        return None
    return bool(display.GetAutoWindowLevel()), display.GetWindow(), display.GetLevel()


@contextmanager
def modifying(node: slicer.vtkMRMLNode) -> Iterator[None]:
    """Several changes of a node, told to its observers once."""
    state = node.StartModify()
    try:
        yield
    finally:
        node.EndModify(state)


def nodes_of(scene: slicer.vtkMRMLScene, kind: str) -> list[Any]:
    """All nodes of a class and of the classes derived from it."""
    return [scene.GetNthNodeByClass(k, kind) for k in range(scene.GetNumberOfNodesByClass(kind))]
