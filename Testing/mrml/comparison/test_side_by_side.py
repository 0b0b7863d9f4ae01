"""Two scans beside each other: one place, scrolled and zoomed together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mrml.comparison.screen import picture

pytestmark = pytest.mark.display


def test_side_by_side_shows_both_at_one_place_and_scrolls_both(
    views: Any, make_volume: Any, compare: Any, slicer_host: Any
) -> None:
    import slicer

    geometry = np.diag([2.0, 2.0, 2.0, 1.0])
    rising = np.tile(np.arange(40)[:, None, None] * 5.0, (1, 60, 80)).astype(np.float32)
    fixed, moved = make_volume(rising, geometry, "A"), make_volume(rising + 50, geometry, "B")
    for node in (fixed, moved):
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevelMinMax(0, 255)
    slicer.util.setSliceViewerLayers(background=fixed, fit=True)
    red, yellow = views.sliceWidget("Red"), views.sliceWidget("Yellow")
    red.sliceLogic().SetSliceOffset(20.0)
    picture()
    field = red.mrmlSliceNode().GetFieldOfView()
    comparison = compare(fixed, moved)
    comparison.show("side-by-side")
    slicer_host.process_events()
    assert views.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView
    assert red.visible and yellow.visible and not views.sliceWidget("Green").visible

    def greys() -> tuple[int, int]:
        pair = picture("Red"), picture("Yellow")
        # an odd number of columns is not shared equally
        assert pair[0].shape[0] == pair[1].shape[0] and abs(pair[0].shape[1] - pair[1].shape[1]) <= 1
        dark, bright = (p[20:-60, 20:280] for p in pair)
        seen = dark[..., 0] > 0
        assert (seen == (bright[..., 0] > 0)).mean() > 0.99 and seen.mean() > 0.2  # the same place and size
        return int(np.median(dark[seen])), int(np.median(bright[seen]))

    assert greys() == (50, 100)
    now = [w.mrmlSliceNode() for w in (red, yellow)]
    assert now[0].GetOrientation() == now[1].GetOrientation() == "Axial"
    assert now[0].GetFieldOfView()[:2] == pytest.approx(now[1].GetFieldOfView()[:2], rel=0.01)
    # all that was seen before is still in sight
    assert now[0].GetFieldOfView()[0] >= field[0] - 1e-6 and now[0].GetFieldOfView()[1] >= field[1] - 1e-6
    red.sliceController().setSliceOffsetValue(40.0)
    assert greys() == (100, 150)
    yellow.sliceController().setSliceOffsetValue(30.0)
    assert greys() == (75, 125)
    # the window becomes wider: zoom stays what the user made it
    now[0].SetFieldOfView(*(f / 2 for f in now[0].GetFieldOfView()[:2]), 1.0)
    views.viewport().resize(700, 500)
    slicer_host.process_events()
    picture()
    assert min(now[0].GetFieldOfView()[0] / field[0], now[0].GetFieldOfView()[1] / field[1]) == pytest.approx(0.5)
    views.viewport().resize(640, 560)
    comparison.close()
    slicer_host.process_events()
    picture()
    assert views.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert yellow.mrmlSliceNode().GetOrientation() == "Sagittal"
    assert red.mrmlSliceNode().GetFieldOfView() == pytest.approx(field)
