"""Slicer's four-up layout with two volumes in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def views(scene: Any, slicer_host: Any) -> Iterator[Any]:
    import slicer

    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    manager.viewport().resize(640, 560)
    manager.viewport().show()
    slicer_host.process_events()
    yield manager
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    slicer_host.process_events()


@pytest.fixture
def compare() -> Iterator[Any]:
    """Makes a comparison that is closed at the end, whatever the test does."""
    from DeepRegistrationLib.mrml.comparison import Comparison

    made: list[Any] = []

    def make(fixed: Any, moved: Any) -> Any:
        made.append(Comparison(fixed, moved))
        return made[-1]

    yield make
    for comparison in made:
        comparison.close()


@pytest.fixture
def pair(views: Any, make_volume: Any) -> tuple[Any, Any]:
    """Fixed is 40 and moved 200 everywhere, on a grid of 2 mm; shown as grey 51 and 170."""
    import slicer

    geometry = np.diag([2.0, 2.0, 2.0, 1.0])
    geometry[:3, 3] = [-79.0, -59.0, -39.0]
    fixed = make_volume(np.full((40, 60, 80), 40, np.int16), geometry, "CT")
    moved = make_volume(np.full((40, 60, 80), 200, np.float32), geometry, "CT moved")
    for node, upper in ((fixed, 200), (moved, 300)):
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevelMinMax(0, upper)
    slicer.util.setSliceViewerLayers(background=fixed, fit=True)
    return fixed, moved


FIXED_GREY, MOVED_GREY = 51, 170
