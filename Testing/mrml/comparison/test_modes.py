"""What fade, checkerboard, reveal and flicker show, checked in the drawn pictures."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest

from mrml.comparison.screen import FIXED_GREY, MOVED_GREY, SLICES, clear, composite, inside, mouse, picture

pytestmark = pytest.mark.display


def test_fade_goes_from_one_to_the_other(pair: Any, compare: Any) -> None:
    comparison = compare(*pair)
    comparison.show("fade")
    for share in (0.0, 1.0, 0.25):
        comparison.set_fade(share)
        expected = (1 - share) * FIXED_GREY + share * MOVED_GREY
        for name in SLICES:
            shown = picture(name)
            where = inside(name) & clear(shown.shape[:2])
            assert where.sum() > 2000
            assert np.abs(shown[where] - expected).max() <= 2, (share, name)


@pytest.mark.parametrize("count", [2, 7])
def test_the_checkerboard_alternates(pair: Any, compare: Any, count: int) -> None:
    comparison = compare(*pair)
    comparison.show("checkerboard")
    comparison.set_squares(count)
    for name in SLICES:
        shown = picture(name)
        height, width = shown.shape[:2]
        side = -(-min(height, width) // count)
        rows, columns = np.arange(height) // side, np.arange(width) // side
        expected = np.where((rows[:, None] + columns) % 2 == 1, MOVED_GREY, FIXED_GREY)
        where = inside(name) & clear((height, width))
        assert np.abs(shown - expected[..., None])[where].max() <= 1
        # both are seen, about as much of each
        assert 0.3 < (expected[where] == MOVED_GREY).mean() < 0.7


def test_the_checkerboard_follows_scroll_zoom_and_window(views: Any, make_volume: Any, compare: Any) -> None:
    import slicer

    rising = np.tile(np.arange(40)[:, None, None] * 5.0, (1, 60, 80)).astype(np.float32)
    geometry = np.diag([2.0, 2.0, 2.0, 1.0])
    fixed, moved = make_volume(rising, geometry, "A"), make_volume(rising + 50, geometry, "B")
    for node in (fixed, moved):
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevelMinMax(0, 255)
    slicer.util.setSliceViewerLayers(background=fixed, fit=True)
    compare(fixed, moved).show("checkerboard")
    logic = views.sliceWidget("Red").sliceLogic()

    def values() -> set[int]:
        shown = picture()
        where = inside() & clear(shown.shape[:2])
        return set(np.unique(shown[where]).tolist())

    logic.SetSliceOffset(20.0)
    assert values() == {50, 100}
    logic.SetSliceOffset(40.0)
    assert values() == {100, 150}
    before = inside().sum()
    node = logic.GetSliceNode()
    node.SetFieldOfView(*(2 * f for f in node.GetFieldOfView()[:2]), node.GetFieldOfView()[2])
    assert values() == {100, 150}
    assert inside(margin=0).sum() < 0.4 * before
    moved.GetDisplayNode().SetWindowLevelMinMax(0, 510)
    assert values() == {75, 100}
    moved.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeRed")
    shown = picture()
    where = inside() & clear(shown.shape[:2])
    assert set(map(tuple, shown[where].tolist())) == {(100, 100, 100), (75, 0, 0)}


def test_where_one_has_nothing_the_checkerboard_is_black(views: Any, make_volume: Any, compare: Any) -> None:
    import slicer

    geometry = np.diag([2.0, 2.0, 2.0, 1.0])
    fixed = make_volume(np.full((40, 60, 80), 200.0), geometry, "whole")
    moved = make_volume(np.full((40, 60, 20), 200.0), geometry, "part")
    for node in (fixed, moved):
        node.GetDisplayNode().SetAutoWindowLevel(False)
        # what is outside is 0 for Slicer, which would be grey
        node.GetDisplayNode().SetWindowLevelMinMax(-200, 200)
    slicer.util.setSliceViewerLayers(background=fixed, fit=True)
    compare(fixed, moved).show("checkerboard")
    shown = picture()[..., 0]
    # +R is on the left of the picture: there moved ends, and its squares are empty
    left = shown[40:-90, 12 : shown.shape[1] // 3]
    assert 0.3 < (left == 0).mean() < 0.7 and ((left == 0) | (left == 255)).all()


def test_a_label_map_stays_above_the_squares(pair: Any, make_volume: Any, compare: Any) -> None:
    import slicer

    array = np.zeros((40, 60, 80), np.int16)
    array[:, 20:40, 30:50] = 1
    geometry = np.diag([2.0, 2.0, 2.0, 1.0])
    geometry[:3, 3] = [-79.0, -59.0, -39.0]
    labels = make_volume(array, geometry, "labels", "LabelMap")
    slicer.util.setSliceViewerLayers(label=labels, labelOpacity=1.0)
    compare(*pair).show("checkerboard")
    shown = picture()
    height, width = shown.shape[:2]
    middle = shown[height // 2 - 5 : height // 2 + 5, width // 2 - 5 : width // 2 + 5].reshape(-1, 3)
    assert len(np.unique(middle, axis=0)) == 1 and np.ptp(middle[0]) > 20  # one colour, no grey
    composite().SetLabelOpacity(0.5)
    faint = picture()[height // 2 - 5 : height // 2 + 5, width // 2 - 5 : width // 2 + 5].reshape(-1, 3)
    seen = np.unique(faint, axis=0)
    expected = {tuple(np.round(0.5 * middle[0] + 0.5 * grey).astype(int)) for grey in (FIXED_GREY, MOVED_GREY)}
    assert all(any(np.abs(np.array(e) - s).max() <= 1 for e in expected) for s in seen)


def test_reveal_uncovers_moved_right_of_the_mouse(pair: Any, compare: Any) -> None:
    comparison = compare(*pair)
    comparison.show("reveal")
    for name in SLICES:
        assert (picture(name)[inside(name) & clear(picture(name).shape[:2])] == FIXED_GREY).all()
    for x in (150, 90):
        mouse("Red", x, 120)
        shown = picture()
        where = inside() & clear(shown.shape[:2])
        columns = np.broadcast_to(np.arange(shown.shape[1]), shown.shape[:2])
        assert (shown[where & (columns < x)] == FIXED_GREY).all()
        assert (shown[where & (columns > x)] == MOVED_GREY).all()
        assert (shown[:, x] == (255, 220, 0)).all(axis=-1).mean() > 0.7  # the edge
        assert (picture("Green")[inside("Green") & clear(picture("Green").shape[:2])] == FIXED_GREY).all()
    mouse("Green", 100, 100)
    assert (picture()[where] == FIXED_GREY).all()
    shown = picture("Green")
    columns = np.broadcast_to(np.arange(shown.shape[1]), shown.shape[:2])
    assert (shown[inside("Green") & (columns > 100) & clear(shown.shape[:2])] == MOVED_GREY).all()
    import slicer

    slicer.app.layoutManager().sliceWidget("Green").sliceView().interactor().InvokeEvent("LeaveEvent")
    assert (picture("Green")[inside("Green") & clear(shown.shape[:2])] == FIXED_GREY).all()


def test_the_mouse_arrives_from_the_widget(pair: Any, compare: Any, slicer_host: Any) -> None:
    import slicer
    from PySide6 import QtCore, QtGui, QtWidgets

    compare(*pair).show("reveal")
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    kind, no = QtCore.QEvent.Type.MouseMove, QtCore.Qt.MouseButton.NoButton
    at = QtCore.QPointF(100.0, 60.0)
    move = QtGui.QMouseEvent(kind, at, view.mapToGlobal(at), no, no, QtCore.Qt.KeyboardModifier.NoModifier)
    QtWidgets.QApplication.sendEvent(view, move)
    shown = picture()
    assert tuple(shown[shown.shape[0] // 2, 100]) == (255, 220, 0)
    assert shown[60, 110, 0] == MOVED_GREY and shown[60, 90, 0] == FIXED_GREY


def test_slicers_own_reveal_is_used_where_it_is(pair: Any, compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class LayerReveal:
        def __init__(self, parent: Any = None, width: int = 400, height: int = 400) -> None:
            said.append(f"foreground {composite().GetForegroundVolumeID()}")

        def cleanup(self) -> None:
            said.append("cleaned up")

    module = types.ModuleType("CompareVolumes")
    module.LayerReveal = LayerReveal  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "CompareVolumes", module)
    comparison = compare(*pair)
    comparison.show("reveal")
    assert said == [f"foreground {pair[1].GetID()}"]
    mouse("Red", 100, 100)
    assert (picture()[inside() & clear(picture().shape[:2])] == FIXED_GREY).all()  # no curtain besides
    comparison.show("fade")
    assert said[1:] == ["cleaned up"]

    def broken(**_: Any) -> None:
        raise RuntimeError("no main window")

    module.LayerReveal = broken  # type: ignore[attr-defined]
    comparison.show("reveal")
    mouse("Red", 101, 100)
    assert (picture()[:, 101] == (255, 220, 0)).all(axis=-1).mean() > 0.7


def test_flicker_alternates(pair: Any, compare: Any) -> None:
    comparison = compare(*pair)
    comparison.show("flicker")
    shown = picture()
    where = inside() & clear(shown.shape[:2])
    assert (shown[where] == FIXED_GREY).all()
    for expected in ("moved", "fixed", "moved"):
        assert comparison.step() == expected
        grey = MOVED_GREY if expected == "moved" else FIXED_GREY
        assert np.abs(picture()[where] - grey).max() <= 1
    comparison.show("flicker")
    assert (picture()[where] == FIXED_GREY).all()


def test_checkerboard_of_arrays() -> None:
    from DeepRegistrationLib.mrml.screen_mix import checkerboard

    board = checkerboard((5, 7), 3)  # squares of 2
    expected = np.array([[((4 - r) // 2 + c // 2) % 2 == 1 for c in range(7)] for r in range(5)])
    assert (board == expected).all()
    assert not checkerboard((4, 4), 1).any()
    assert checkerboard((3, 3), 50).sum() == 4
