"""Tells a widget what happens to the scene it shows."""

from __future__ import annotations

import weakref
from typing import Any

import slicer
import vtk
from shiboken6 import isValid


class SceneObserver:
    """Follows one scene for one widget, which it neither keeps alive nor calls once it is gone.

    The widget has `sceneNodeAdded`, `sceneNodeAboutToBeRemoved`, `sceneNodeModified` (each with the node) and
    `sceneChanged`, called once after a scene was loaded or closed, when nodes come and go in bulk.
    """

    def __init__(self, widget: Any) -> None:
        self.scene: Any = None
        self._widget = weakref.ref(widget)
        self._observed: list[tuple[Any, int]] = []
        self._nodes: dict[str, tuple[Any, int]] = {}

    def watch(self, scene: Any) -> None:
        self.stop()
        self.scene = scene
        if scene is None:
            return
        # The priorities of Slicer's own model of the scene.
        self._observe(scene, scene.NodeAddedEvent, self._node_added, 10.0, with_node=True)
        self._observe(scene, scene.NodeAboutToBeRemovedEvent, self._node_removed, -10.0, with_node=True)
        for event in (scene.EndCloseEvent, scene.EndImportEvent, scene.EndRestoreEvent):
            self._observe(scene, event, self._scene_replaced)
        self._observe_nodes()

    def stop(self) -> None:
        for caller, tag in [*self._observed, *self._nodes.values()]:
            caller.RemoveObserver(tag)
        self._observed.clear()
        self._nodes.clear()

    def _observe(
        self, caller: Any, event: Any, function: Any, priority: float = 0.0, with_node: bool = False
    ) -> None:
        this = weakref.ref(self)

        if with_node:

            @vtk.calldata_type(vtk.VTK_OBJECT)
            def relay(caller: Any, event: str, node: Any) -> None:
                observer = this()
                if observer is not None and observer._alive() is not None:
                    function(node)
        else:

            def relay(caller: Any, event: str) -> None:
                observer = this()
                if observer is not None and observer._alive() is not None:
                    function()

        self._observed.append((caller, caller.AddObserver(event, relay, priority)))

    def _alive(self) -> Any:
        widget = self._widget()
        if widget is None or not isValid(widget):
            self.stop()
            return None
        return widget

    def _observe_node(self, node: Any) -> None:
        this = weakref.ref(self)

        def relay(caller: Any, event: str) -> None:
            observer = this()
            widget = observer._alive() if observer is not None else None
            if widget is not None:
                widget.sceneNodeModified(caller)

        self._nodes[node.GetID()] = (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, relay))

    def _observe_nodes(self) -> None:
        for caller, tag in self._nodes.values():
            caller.RemoveObserver(tag)
        self._nodes.clear()
        for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode", self.scene):
            self._observe_node(node)

    def _node_added(self, node: Any) -> None:
        if not self._is_replacing():
            if node.IsA("vtkMRMLDisplayableNode"):
                self._observe_node(node)
            self._alive().sceneNodeAdded(node)

    def _node_removed(self, node: Any) -> None:
        caller, tag = self._nodes.pop(node.GetID(), (None, 0))
        if caller is not None:
            caller.RemoveObserver(tag)
        if not self._is_replacing():
            self._alive().sceneNodeAboutToBeRemoved(node)

    def _is_replacing(self) -> bool:
        return bool(self.scene.IsClosing() or self.scene.IsImporting())

    def _scene_replaced(self) -> None:
        self._observe_nodes()
        self._alive().sceneChanged()
