"""Two scans beside each other: the same plane, the same place, scrolled and zoomed together."""

from __future__ import annotations

import weakref
from typing import Any

import slicer
import vtk

from .kept import modifying
from .screen_mix import slice_renderer, slice_widget
from .views import SavedViews, layout_node, slice_layers

#: the views of Slicer's side-by-side layout
LEFT, RIGHT = "Red", "Yellow"


class SideBySide:
    """Shows `left` and `right` in Slicer's side-by-side layout until `close` puts the views back.

    Both views get the plane of the left one. What could be seen there stays in sight: a view that becomes narrow
    would otherwise be cut off at its sides, because Slicer keeps the height (mm) when it resizes a view.
    """

    def __init__(self, left: slicer.vtkMRMLVolumeNode, right: slicer.vtkMRMLVolumeNode) -> None:
        scene = left.GetScene()
        self._saved = SavedViews(scene, touched=())
        first = _slice_node(scene, LEFT)
        seen = tuple(first.GetFieldOfView()[:2]) if first is not None else (250.0, 250.0)
        layout = layout_node(scene)
        if layout is not None:
            layout.RemoveAllMaximizedViewNodes()
            layout.SetViewArrangement(layout.SlicerLayoutSideBySideView)
        for composite in slice_layers(scene):
            volume = right if composite.GetLayoutName() == RIGHT else left
            with modifying(composite):
                composite.SetBackgroundVolumeID(volume.GetID())
                composite.SetForegroundVolumeID(None)
                composite.SetForegroundOpacity(0.0)
                composite.SetCompositing(composite.Alpha)
                composite.SetLinkedControl(True)
                composite.SetHotLinkedControl(True)
        self._fits: list[_Fit] = []
        first, second = _slice_node(scene, LEFT), _slice_node(scene, RIGHT)
        if first is not None and second is not None:
            _copy_plane(first, second)
            self._fits = [_Fit(first, seen), _Fit(second, seen)]

    def close(self) -> None:
        """Put layers, linking, planes and layout back."""
        for fit in self._fits:
            fit.remove()
        self._fits = []
        self._saved.restore()


class _Fit:
    """Keeps a box of `seen` (width, height in mm) in sight of a view while its size changes.

    It acts before the view is drawn: a slice node that is changed by those who hear of its change loses that.
    """

    def __init__(self, node: slicer.vtkMRMLSliceNode, seen: tuple[float, ...]) -> None:
        self._node, self._seen = node, seen
        self._fit()
        widget = slice_widget(str(node.GetLayoutName()))
        self._renderer = slice_renderer(widget) if widget is not None else None
        self._tag: int | None = None
        if self._renderer is None:
            return
        reference = weakref.ref(self)

        def follow(_caller: Any, _event: str) -> None:
            fit = reference()
            if fit is not None and tuple(fit._node.GetDimensions()[:2]) != fit._size:
                # Resizing kept the height, so that a change of it since was the user's zoom.
                zoom = fit._node.GetFieldOfView()[1] / fit._height
                fit._seen = (fit._seen[0] * zoom, fit._seen[1] * zoom)
                fit._fit()

        self._tag = self._renderer.AddObserver(vtk.vtkCommand.StartEvent, follow)

    def _fit(self) -> None:
        node = self._node
        width, height = self._size = tuple(node.GetDimensions()[:2])
        scale = max(self._seen[0] / max(1, width), self._seen[1] / max(1, height))
        self._height = height * scale
        node.SetFieldOfView(width * scale, height * scale, node.GetFieldOfView()[2])

    def remove(self) -> None:
        if self._tag is not None and self._renderer is not None:
            self._renderer.RemoveObserver(self._tag)
        self._tag = self._renderer = None


def _slice_node(scene: slicer.vtkMRMLScene, name: str) -> Any:
    return scene.GetSingletonNode(name, "vtkMRMLSliceNode")


def _copy_plane(source: slicer.vtkMRMLSliceNode, target: slicer.vtkMRMLSliceNode) -> None:
    with modifying(target):
        target.SetViewGroup(source.GetViewGroup())
        target.GetSliceToRAS().DeepCopy(source.GetSliceToRAS())
        target.SetXYZOrigin(*source.GetXYZOrigin())
        target.SetSliceSpacingMode(source.GetSliceSpacingMode())
        target.UpdateMatrices()
