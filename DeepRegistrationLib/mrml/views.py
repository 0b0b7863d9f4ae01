"""What the views show: saved before an overlay, restored after it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from .kept import KeptAttributes, KeptDisplay, KeptNode, modifying, nodes_of
from .places import array_from, vtk_matrix
from .results import RegistrationNodes

_COMPOSITE = ("Compositing", "ClipToBackgroundVolume", "LinkedControl", "HotLinkedControl")
_SLICE = ("SliceVisible", "SliceSpacingMode", "DefaultOrientation", "ViewGroup")
_LEGEND = "vtkMRMLColorLegendDisplayNode"


class SavedViews:
    """Layers, linking, place and zoom of every slice view, the layout, the chosen table and plot, the legends,
    and how volumes and transforms are displayed, at one moment.

    touched   nodes whose display is saved; None: every volume and transform of the scene

    Nodes that have gone when `restore` is called are passed over; views of nodes that came meanwhile stay as
    they are, their legends are hidden. It belongs to the scene's present content: drop it when the scene closes.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        touched: Iterable[slicer.vtkMRMLDisplayableNode] | None = None,
    ) -> None:
        self._scene = scene
        self._layers = [_Layers(node) for node in slice_layers(scene)]
        self._planes = [_Plane(node) for node in nodes_of(scene, "vtkMRMLSliceNode")]
        self._layout = _Layout(scene)
        self._chosen = _Chosen(scene)
        self._legends = [
            KeptAttributes(node, ("Visibility", "Visibility2D", "Visibility3D"))
            for node in nodes_of(scene, _LEGEND)
        ]
        if touched is None:
            touched = [
                *nodes_of(scene, "vtkMRMLScalarVolumeNode"),
                *nodes_of(scene, "vtkMRMLTransformNode"),
            ]
        self._displays = [KeptDisplay(node) for node in touched]

    def restore(self) -> None:
        """Put everything back."""
        # The layout first: it gives the views their sizes, which the zoom depends on.
        self._layout.restore()
        for display in self._displays:
            display.restore()
        for layers in self._layers:
            layers.restore()
        for plane in self._planes:
            plane.restore()
        self._chosen.restore()
        self._restore_legends()

    def restore_layers(self) -> None:
        """Put back only what the slice views show, with opacities and linking."""
        for layers in self._layers:
            layers.restore()

    def _restore_legends(self) -> None:
        for legend in self._legends:
            legend.restore()
        known = [legend.node for legend in self._legends]
        for node in nodes_of(self._scene, _LEGEND):
            if not any(node is k for k in known):
                node.SetVisibility(False)


class _Layers:
    """What one slice view shows, one volume over the other."""

    def __init__(self, node: slicer.vtkMRMLSliceCompositeNode) -> None:
        self._attributes = KeptAttributes(node, _COMPOSITE)
        self._volumes = [
            (KeptNode(node.GetNthLayerVolume(k)), node.GetNthLayerOpacity(k)) for k in range(_layer_count(node))
        ]

    def restore(self) -> None:
        node = self._attributes.node
        if node is None:
            return
        with modifying(node):
            self._attributes.restore()
            for k in range(len(self._volumes), _layer_count(node)):
                node.SetNthLayerVolumeID(k, None)
            for k, (volume, opacity) in enumerate(self._volumes):
                node.SetNthLayerVolumeID(k, volume.id)
                node.SetNthLayerOpacity(k, opacity)


def _layer_count(node: slicer.vtkMRMLSliceCompositeNode) -> int:
    return int(node.Layer_Last + node.GetNumberOfAdditionalLayers())


class _Plane:
    """Where one slice view cuts and how much of it is seen."""

    def __init__(self, node: slicer.vtkMRMLSliceNode) -> None:
        self._attributes = KeptAttributes(node, _SLICE)
        self._matrix: NDArray[np.float64] = array_from(node.GetSliceToRAS())
        self._field = tuple(node.GetFieldOfView())
        self._size = tuple(node.GetDimensions())
        self._origin = tuple(node.GetXYZOrigin())

    def restore(self) -> None:
        node = self._attributes.node
        if node is None:
            return
        with modifying(node):
            self._attributes.restore()
            node.GetSliceToRAS().DeepCopy(vtk_matrix(self._matrix))
            node.SetXYZOrigin(*self._origin)
            node.SetFieldOfView(*self._field_now(node))
            node.UpdateMatrices()

    def _field_now(self, node: slicer.vtkMRMLSliceNode) -> tuple[float, ...]:
        """The field of view for the present size. A view that is resized, which a change of layout does only
        after this, keeps its height in mm and follows with its width.
        """
        width, height = node.GetDimensions()[:2]
        if (width, height) == self._size[:2] or not width * height:
            return self._field
        return self._field[1] * width / height, self._field[1], self._field[2]


class _Layout:
    """The arrangement of the views."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        node = layout_node(scene)
        self._node = KeptNode(node)
        self._arrangement = node.GetViewArrangement() if node is not None else 0
        self._maximized = [KeptNode(view) for view in _maximized(node)]

    def restore(self) -> None:
        node = self._node.node
        if node is None:
            return
        node.SetViewArrangement(self._arrangement)
        views = [kept.node for kept in self._maximized if kept.node is not None]
        if _maximized(node) != views:
            node.RemoveAllMaximizedViewNodes()
            for view in views:
                node.AddMaximizedViewNode(view)


def _maximized(layout: Any) -> list[Any]:
    """The views that fill the window for the time being, in place of the arrangement."""
    if layout is None:
        return []
    return [layout.GetMaximizedViewNode(k) for k in range(layout.GetNumberOfMaximizedViewNodes())]


class _Chosen:
    """The table and the plot that are shown."""

    _VIEWS = (("vtkMRMLTableViewNode", "TableNodeID"), ("vtkMRMLPlotViewNode", "PlotChartNodeID"))

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._kept: list[tuple[KeptNode, str, KeptNode]] = []
        for kind, name in self._VIEWS:
            for node in nodes_of(scene, kind):
                self._keep(node, name)
        selection = slicer.app.applicationLogic().GetSelectionNode()
        if selection is not None:
            self._keep(selection, "ActiveTableID")
            self._keep(selection, "ActivePlotChartID")

    def _keep(self, node: Any, name: str) -> None:
        chosen = getattr(node, f"Get{name}")()
        self._kept.append((KeptNode(node), name, KeptNode(self._scene.GetNodeByID(chosen) if chosen else None)))

    def restore(self) -> None:
        for holder, name, chosen in self._kept:
            node = holder.node
            if node is not None and (getattr(node, f"Get{name}")() or None) != chosen.id:
                getattr(node, f"Set{name}")(chosen.id)


def layout_node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLLayoutNode | None:
    """The arrangement of the views; None where the application shows none."""
    return scene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def slice_layers(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    """What each slice view of the scene shows."""
    return nodes_of(scene, "vtkMRMLSliceCompositeNode")


def show_pair(result: RegistrationNodes, fixed: slicer.vtkMRMLVolumeNode, opacity: float = 0.5) -> None:
    """Fixed below, moved above it, half transparent."""
    _show(fixed, result.moved, opacity)


def show_jacobian(result: RegistrationNodes, fixed: slicer.vtkMRMLVolumeNode, opacity: float = 0.5) -> None:
    """Fixed below, the local change of volume above it, with a legend."""
    if result.jacobian is None:
        return
    _show(fixed, result.jacobian, opacity)
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(result.jacobian)
    if legend is not None:
        legend.SetTitleText("Change of volume")
        legend.SetSize(0.1, 0.3)
        legend.SetVisibility(True)


def hide_legend(result: RegistrationNodes) -> None:
    """Take the legends of the Jacobian and of the maps away again."""
    for node in (result.jacobian, *result.maps.values()):
        legend = None if node is None else slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
        if legend is not None:
            legend.SetVisibility(False)


def _show(background: slicer.vtkMRMLVolumeNode, foreground: slicer.vtkMRMLVolumeNode, opacity: float) -> None:
    for node in slice_layers(background.GetScene()):
        node.SetBackgroundVolumeID(background.GetID())
        node.SetForegroundVolumeID(foreground.GetID())
        node.SetForegroundOpacity(opacity)
