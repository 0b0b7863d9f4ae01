"""What the slice views show: saved before an overlay, restored after it."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from .results import RegistrationNodes


@dataclass(frozen=True)
class _Layers:
    background: str | None
    foreground: str | None
    label: str | None
    opacity: float


class SavedViews:
    """The layers of every slice view of a scene at one moment."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._layers = {
            node.GetID(): _Layers(
                node.GetBackgroundVolumeID(),
                node.GetForegroundVolumeID(),
                node.GetLabelVolumeID(),
                node.GetForegroundOpacity(),
            )
            for node in slice_layers(scene)
        }

    def restore(self) -> None:
        """Put the layers back; views that have gone meanwhile are passed over."""
        for node_id, layers in self._layers.items():
            node = self._scene.GetNodeByID(node_id)
            if node is None:
                continue
            node.SetBackgroundVolumeID(layers.background)
            node.SetForegroundVolumeID(layers.foreground)
            node.SetLabelVolumeID(layers.label)
            node.SetForegroundOpacity(layers.opacity)


def slice_layers(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    """What each slice view of the scene shows."""
    kind = "vtkMRMLSliceCompositeNode"
    return [scene.GetNthNodeByClass(k, kind) for k in range(scene.GetNumberOfNodesByClass(kind))]


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
    """Take the legend of the Jacobian away again."""
    if result.jacobian is None:
        return
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(result.jacobian)
    if legend is not None:
        legend.SetVisibility(False)


def _show(background: slicer.vtkMRMLVolumeNode, foreground: slicer.vtkMRMLVolumeNode, opacity: float) -> None:
    for node in slice_layers(background.GetScene()):
        node.SetBackgroundVolumeID(background.GetID())
        node.SetForegroundVolumeID(foreground.GetID())
        node.SetForegroundOpacity(opacity)
