"""Changes of a scene that happen as a whole or not at all."""

from __future__ import annotations

from types import TracebackType

import slicer
import vtk


class SceneChange:
    """Inside the `with`, every node that gets into the scene is remembered; an exception takes them all out
    again and puts `moving` back under the transform that it had.
    """

    def __init__(
        self, scene: slicer.vtkMRMLScene, moving: slicer.vtkMRMLTransformableNode | None = None
    ) -> None:
        self._scene = scene
        self._moving = moving
        self._parent_id = moving.GetTransformNodeID() if moving is not None else None
        self._added: list[str] = []
        self._tag: int | None = None

    def __enter__(self) -> SceneChange:
        # called by VTK with the node as data
        @vtk.calldata_type(vtk.VTK_OBJECT)
        def remember(_scene: object, _event: str, node: slicer.vtkMRMLNode) -> None:
            self._added.append(node.GetID())

        self._tag = self._scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tag is not None:
            self._scene.RemoveObserver(self._tag)
        if kind is None:
            return
        if self._moving is not None and self._moving.GetScene() is not None:
            self._moving.SetAndObserveTransformNodeID(self._parent_id)
        nodes = [self._scene.GetNodeByID(node_id) for node_id in reversed(self._added)]
        # a browser would at once make the volume anew that shows its sequence
        nodes.sort(key=lambda node: node is None or not node.IsA("vtkMRMLSequenceBrowserNode"))
        for node in nodes:
            if node is not None and node.GetScene() is not None:
                self._scene.RemoveNode(node)
