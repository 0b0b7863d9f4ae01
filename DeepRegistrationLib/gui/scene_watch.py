"""Hears of nodes that come into the scene and leave it, once a change of many is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer


class SceneWatch:
    """`changed` is called after every change while it is `active`."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._tags: list[int] = []
        self.active = True

    def start(self) -> None:
        """Observe the scene; nothing where that is done."""
        if not self._tags:
            kinds, scene = slicer.vtkMRMLScene, slicer.mrmlScene
            events = (kinds.NodeAddedEvent, kinds.NodeRemovedEvent, kinds.EndImportEvent, kinds.EndBatchProcessEvent)
            self._tags = [scene.AddObserver(event, self._heard) for event in events]

    def stop(self) -> None:
        """Let go of the scene."""
        for tag in self._tags:
            slicer.mrmlScene.RemoveObserver(tag)
        self._tags = []

    def _heard(self, _caller: Any, _event: Any) -> None:
        scene = slicer.mrmlScene
        if self.active and not scene.IsBatchProcessing() and not scene.IsClosing():
            self._changed()
