"""Reveal: one scan beneath, the other uncovered around or beside the mouse."""

from __future__ import annotations

import importlib
import logging
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import slicer

from .screen_mix import Colours, SliceLayers, mix

#: side of the window of Slicer's own reveal, pixels
_WINDOW = 400
_EDGE = (255, 220, 0, 255)


def slicer_reveal() -> Any:
    """The reveal of Slicer's module Compare Volumes, at work in all slice views until its `cleanup` is called;
    None where Slicer was built without that module.
    """
    try:
        return importlib.import_module("CompareVolumes").LayerReveal(width=_WINDOW, height=_WINDOW)
    except ImportError:
        return None
    except Exception:
        logging.exception("The reveal of Compare Volumes could not be started")
        return None


class Curtain:
    """Foreground to the right of the mouse, background to its left; nothing in views where the mouse is not.

    moved   is called with the name of a view that looks different now
    """

    def __init__(self, scene: slicer.vtkMRMLScene, moved: Callable[[str], None]) -> None:
        self._view, self._x = "", 0
        self._moved = moved
        self._crosshair = slicer.vtkMRMLCrosshairDisplayableManager.FindCrosshairNode(scene)
        self._tag: int | None = None
        if self._crosshair is not None:
            reference = weakref.ref(self)

            def follow(_caller: Any, _event: str) -> None:
                curtain = reference()
                if curtain is not None:
                    curtain._follow()

            event = slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent
            self._tag = self._crosshair.AddObserver(event, follow)

    def remove(self) -> None:
        """Let go of the mouse."""
        if self._tag is not None:
            self._crosshair.RemoveObserver(self._tag)
        self._tag = self._crosshair = None

    def _follow(self) -> None:
        xyz = [0.0, 0.0, 0.0]
        node = self._crosshair.GetCursorPositionXYZ(xyz)
        before = (self._view, self._x)
        self._view, self._x = (str(node.GetLayoutName()), round(xyz[0])) if node is not None else ("", 0)
        if (self._view, self._x) != before:
            for view in {before[0], self._view} - {""}:
                self._moved(view)

    def state(self, view: str) -> Hashable:
        return self._x if view == self._view else None

    def paint(self, layers: SliceLayers, view: str) -> Colours | None:
        background, foreground = layers.picture(0), layers.picture(1)
        if background is None:
            return None
        right = np.zeros(background.shape[:2], bool)
        right[:, max(0, self._x) :] = True
        out = mix(background, foreground, right)
        if out is not None and 0 <= self._x < out.shape[1]:
            out[:, self._x] = _EDGE
        return out
