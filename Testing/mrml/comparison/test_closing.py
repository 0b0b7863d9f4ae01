"""A comparison leaves no trace, whatever happens meanwhile."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from DeepRegistrationLib.core.errors import InputError
from mrml.comparison.screen import FIXED_GREY, MODES, MOVED_GREY, SLICES, clear, composite, inside, picture, ramp

pytestmark = pytest.mark.display


def props(views: Any) -> list[int]:
    from DeepRegistrationLib.mrml.screen_mix import slice_renderer

    return [slice_renderer(views.sliceWidget(n)).GetViewProps().GetNumberOfItems() for n in SLICES]


def watched(views: Any) -> list[Any]:
    """How many look at the scene and at the drawing of each view, and whether anybody follows the mouse.

    A MRML node does not print who observes it, unlike other objects of VTK.
    """
    import slicer

    from DeepRegistrationLib.mrml.screen_mix import slice_renderer

    crosshair = slicer.vtkMRMLCrosshairDisplayableManager.FindCrosshairNode(slicer.mrmlScene)
    followed = bool(crosshair.HasObserver(slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent))
    looked_at = [slicer.mrmlScene, *[slice_renderer(views.sliceWidget(n)) for n in SLICES]]
    return [followed, *[str(one).count("vtkObserver (") for one in looked_at]]


@pytest.mark.parametrize("mode", MODES)
def test_close_leaves_no_trace(views: Any, pair: Any, make_volume: Any, mode: str) -> None:
    import slicer

    from DeepRegistrationLib.mrml.comparison import Comparison

    other = make_volume(ramp(), np.diag([2.0, 2.0, 2.0, 1.0]), "other")
    slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.4)
    composite("Green").SetCompositing(composite().Subtract)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    before = (props(views), watched(views), [picture(name) for name in SLICES])
    comparison = Comparison(*pair)
    for way in (mode, *MODES, mode):
        comparison.show(way)
        for name in SLICES:
            picture(name)
    during = watched(views)
    assert during[1] == before[1][1] + 1
    if mode in ("checkerboard", "reveal", "difference"):
        assert all(now > then for now, then in zip(props(views), before[0], strict=True))
        assert during[2:] == [count + 1 for count in before[1][2:]]
    if mode == "reveal":
        assert during[0] and not before[1][0]
    comparison.close()
    comparison.close()
    after = (props(views), watched(views), [picture(name) for name in SLICES])
    assert after[:2] == before[:2]
    for one, other in zip(before[2], after[2], strict=True):
        assert (one == other).all()
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert composite("Green").GetCompositing() == composite().Subtract
    composite("Green").SetCompositing(composite().Alpha)
    reference = weakref.ref(comparison)
    del comparison
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("mode", MODES)
def test_closing_the_scene_leaves_no_trace(views: Any, pair: Any, mode: str, slicer_host: Any) -> None:
    import slicer

    from DeepRegistrationLib.mrml.comparison import Comparison

    before = (props(views), watched(views))
    comparison = Comparison(*pair)
    comparison.show(mode)
    picture()
    slicer.mrmlScene.Clear(0)
    slicer_host.process_events()
    assert (props(views), watched(views)) == before
    assert views.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    for name in SLICES:
        assert composite(name).GetBackgroundVolumeID() is None and not composite(name).GetLinkedControl()
        assert picture(name).max() == 0
    comparison.close()
    with pytest.raises(InputError, match="not in the scene"):
        comparison.show(mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_volume_that_goes_meanwhile_does_no_harm(views: Any, pair: Any, mode: str) -> None:
    import slicer

    from DeepRegistrationLib.mrml.comparison import Comparison

    before = (props(views), watched(views))
    comparison = Comparison(*pair)
    comparison.show(mode)
    picture()
    slicer.mrmlScene.RemoveNode(pair[1])
    comparison.step()
    for name in SLICES:
        picture(name)
    with pytest.raises(InputError, match="moved volume is not in the scene"):
        comparison.show("fade")
    comparison.close()
    assert (props(views), watched(views)) == before
    assert (picture()[inside() & clear(picture().shape[:2])] == FIXED_GREY).all()


def test_another_layout_keeps_the_mode(views: Any, pair: Any, compare: Any, slicer_host: Any) -> None:
    import slicer

    comparison = compare(*pair)
    comparison.show("checkerboard")
    views.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    slicer_host.process_events()
    shown = picture()
    assert set(np.unique(shown[inside() & clear(shown.shape[:2])])) == {FIXED_GREY, MOVED_GREY}
    comparison.close()
    slicer_host.process_events()
    assert views.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def test_wrong_choices_are_told(pair: Any, compare: Any, scene: Any) -> None:
    from DeepRegistrationLib.mrml.comparison import MODES as offered
    from DeepRegistrationLib.mrml.comparison import Comparison

    assert offered == MODES
    comparison = compare(*pair)
    with pytest.raises(InputError, match="no comparison 'wipe'"):
        comparison.show("wipe")
    with pytest.raises(InputError, match="from 0 to 1"):
        comparison.set_fade(1.5)
    with pytest.raises(InputError, match="from 1 to"):
        comparison.set_squares(0)
    with pytest.raises(InputError, match="above 0"):
        comparison.set_difference_limit(-1.0)
    assert comparison.step() == "fixed"  # nothing flickers
    with pytest.raises(InputError, match="holds no voxels"):
        Comparison(pair[0], scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))
