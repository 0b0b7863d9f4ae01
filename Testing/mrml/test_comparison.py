"""Two scans together in the slice views: what each way of looking shows, checked in the drawn pictures."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from DeepRegistrationLib.core.errors import InputError

pytestmark = pytest.mark.display

MODES = ("fade", "checkerboard", "reveal", "flicker", "difference", "side-by-side")
SLICES = ("Red", "Yellow", "Green")


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


def ramp(value: float = 0.0) -> np.ndarray:
    """(40, 60, 80) values that rise by 5 along x from `value`."""
    return np.tile(np.arange(80) * 5.0 + value, (40, 60, 1)).astype(np.float32)


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


def picture(name: str = "Red") -> np.ndarray:
    """(H, W, 3) what a view shows, first row on top."""
    import slicer

    from host import screenshot

    return screenshot.view(slicer.app.layoutManager().sliceWidget(name)).astype(int)


def composite(name: str = "Red") -> Any:
    import slicer

    return slicer.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode()


def inside(name: str = "Red", margin: int = 3) -> np.ndarray:
    """(H, W) True where the view shows voxels of its background, away from their edge."""
    import slicer
    from vtk.util.numpy_support import vtk_to_numpy

    logic = slicer.app.layoutManager().sliceWidget(name).sliceLogic()
    image = logic.GetBackgroundLayer().GetImageData()
    width, height, _ = image.GetDimensions()
    alpha = vtk_to_numpy(image.GetPointData().GetScalars())
    mask = alpha.reshape(height, width, 4)[::-1, :, 3] > 0
    out = mask.copy()
    for shift in range(-margin, margin + 1):
        out &= np.roll(mask, shift, 0) & np.roll(mask, shift, 1)
    return out


def clear(shape: tuple[int, int]) -> np.ndarray:
    """(H, W) True away from the corner where the view writes the names of its layers."""
    out = np.ones(shape, bool)
    out[shape[0] * 3 // 4 :, : shape[1] // 2] = False
    return out


def mouse(name: str, x: int, y: int) -> None:
    """The mouse goes to a pixel of a view, counted from the bottom left."""
    import slicer

    interactor = slicer.app.layoutManager().sliceWidget(name).sliceView().interactor()
    interactor.SetEventInformation(x, y, 0, 0)
    interactor.InvokeEvent("EnterEvent")
    interactor.InvokeEvent("MouseMoveEvent")


# ---------------------------------------------------------------------- pictures


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
        node.GetDisplayNode().SetWindowLevelMinMax(0, 200)
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


def test_slicers_own_reveal_is_used_where_it_is(
    pair: Any, compare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def legend_of(shown: np.ndarray) -> list[int]:
    """Blue (-1), dark (0) or red (1) at the bottom, in the middle and on top of the scale on the right."""
    height, width = shown.shape[:2]
    white = (shown.min(axis=-1) > 200).any(axis=1)  # letters
    assert white[: height // 2].any() and white[height // 2 :].any()
    # The scale is the longest run of colour in a column, from its lowest blue to its highest red.
    best = max(range(int(0.8 * width), width), key=lambda c: scale_rows(shown[:, c]))
    column = shown[:, best]
    rows = np.flatnonzero(np.abs(column[:, 0] - column[:, 2]) > 60)
    bottom, top = rows.max(), rows.min()
    middle = column[(bottom + top) // 2]
    assert middle.max() < 60
    ends = [int(np.sign(column[row, 0] - column[row, 2])) for row in (bottom, top)]
    return [ends[0], 0, ends[1]]


def scale_rows(column: np.ndarray) -> int:
    difference = column[:, 0] - column[:, 2]
    lower, upper = np.flatnonzero(difference < -60), np.flatnonzero(difference > 60)
    return int(lower.max() - upper.min()) if lower.size and upper.size else 0


def test_the_difference_has_the_right_sign_and_legend(views: Any, make_volume: Any, compare: Any) -> None:
    import slicer

    geometry = np.diag([2.0, 2.0, 2.0, 1.0])
    fixed = ramp()
    moved = fixed.copy()
    moved[:, 10:25] += 60  # moved is brighter: negative
    moved[:, 35:50] -= 60
    nodes = make_volume(fixed, geometry, "A"), make_volume(moved, geometry, "B")
    slicer.util.setSliceViewerLayers(background=nodes[0], fit=True)
    comparison = compare(*nodes)
    assert comparison.show("difference") == ""
    assert comparison.difference_limit == 60.0
    shown = picture()
    logic = views.sliceWidget("Red").sliceLogic()
    to_ras = slicer.util.arrayFromVTKMatrix(logic.GetSliceNode().GetXYToRAS())
    height, width = shown.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    world = np.stack([columns, height - 1 - rows, 0 * rows, 0 * rows + 1], -1) @ to_ras.T
    j = world[..., 1] / 2
    seen = inside() & (columns < 0.75 * width) & clear((height, width))
    red, _, blue = np.moveaxis(shown, -1, 0)
    for low, high, sign in ((11, 23, -1), (36, 48, 1)):
        band = seen & (j > low) & (j < high)
        assert band.sum() > 500
        assert ((red - blue)[band] * sign > 50).all()
    equal = seen & (((j > 1) & (j < 9)) | ((j > 26) & (j < 34)))
    assert shown[equal].max() < 25
    assert legend_of(shown) == [-1, 0, 1]
    comparison.set_difference_limit(600.0)
    assert comparison.difference_limit == 600.0
    assert picture()[seen].sum() < 0.6 * shown[seen].sum()


def test_a_difference_of_different_kinds_is_warned_of(views: Any, make_volume: Any, compare: Any) -> None:
    k, j, i = np.indices((30, 40, 50))
    scan = 400 + 300 * np.sin(i / 7) * np.cos(j / 9) + 200 * np.sin(k / 5)
    fixed = make_volume(scan, np.eye(4), "CT")
    same, inverted, louder = (
        make_volume(array.astype(np.float32), np.eye(4), name)
        for array, name in ((scan + 3, "CT moved"), (1000 - scan, "MR moved"), (scan * 4, "loud"))
    )
    comparison = compare(fixed, same)
    assert comparison.show("difference") == "" == comparison.note
    comparison.close()
    comparison = compare(fixed, inverted)
    text = comparison.show("difference")
    assert "'MR moved'" in text and "correlation -1.00" in text and text == comparison.note
    assert comparison.show("fade") == "" == comparison.note
    comparison.close()
    assert "4 times" in compare(fixed, louder).show("difference")


def test_values_of_different_grids_are_paired_in_the_world(views: Any, make_volume: Any, scene: Any) -> None:
    import slicer

    from DeepRegistrationLib.mrml.difference import paired_values

    # each volume holds the world's R coordinate at its voxels
    def filled(matrix: np.ndarray, shape: tuple[int, int, int], name: str) -> Any:
        k, j, i = np.indices(shape)
        world = np.stack([i, j, k, np.ones_like(i)], -1) @ matrix.T
        return make_volume(world[..., 0].astype(np.float32), matrix, name)

    turned = np.array([[0, 0.25, 0, -3.0], [-0.25, 0, 0, 30.0], [0, 0, 0.25, -2.0], [0, 0, 0, 1]])
    fixed = filled(np.diag([1.0, 1.0, 1.0, 1.0]), (20, 20, 20), "fixed")
    moved = filled(turned, (90, 100, 100), "moved")
    a, b = paired_values(fixed, moved)
    assert len(a) > 2000 and np.abs(a - b).max() <= 0.126
    shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = slicer.util.vtkMatrixFromArray(np.array([[1.0, 0, 0, 4], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    shift.SetMatrixTransformToParent(matrix)
    moved.SetAndObserveTransformNodeID(shift.GetID())
    a, b = paired_values(fixed, moved)
    assert len(a) > 1000 and np.abs(a - b - 4).max() <= 0.126


def test_transforms_of_the_volumes_count(views: Any, make_volume: Any, compare: Any, scene: Any) -> None:
    import slicer

    k, j, i = np.indices((40, 50, 60))
    scan = (500 + 300 * np.sin(i / 6) * np.cos(j / 7) + 100 * np.sin(k / 5)).astype(np.float32)
    geometry = np.diag([2.0, 2.0, 2.0, 1.0])
    away = geometry.copy()
    away[:3, 3] = [6.0, -4.0, 10.0]
    fixed, moved = make_volume(scan, geometry, "fixed"), make_volume(scan, away, "moved")
    slicer.util.setSliceViewerLayers(background=fixed, fit=True)
    views.sliceWidget("Green").mrmlSliceNode().SetSliceToRASByNTP(0.1, 0.4, 1, 1, 0.1, 0, 60, 50, 40, 0)
    comparison = compare(fixed, moved)
    comparison.show("difference")
    comparison.set_difference_limit(100.0)

    def brightness(name: str) -> float:
        shown = picture(name)
        seen = inside(name, margin=12) & clear(shown.shape[:2])
        seen[:, int(0.75 * seen.shape[1]) :] = False  # the legend
        return float(np.percentile(shown[seen].max(axis=-1), 95))

    for name in SLICES:
        assert brightness(name) > 150
    back = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = -away[:3, 3]
    back.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    moved.SetAndObserveTransformNodeID(back.GetID())
    for name in SLICES:
        assert brightness(name) < 10
    comparison.set_difference_limit(None)
    assert comparison.difference_limit == 1.0  # nothing differs


def test_a_view_is_drawn_again_when_a_hidden_layer_changes(
    pair: Any, compare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    comparison = compare(*pair)
    comparison.show("checkerboard")
    picture()
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    asked: list[Any] = []
    monkeypatch.setattr(type(view), "scheduleRender", lambda self: asked.append(self))
    pair[1].GetDisplayNode().SetWindowLevelMinMax(0, 400)
    assert any(one is view for one in asked)
    asked.clear()
    comparison.set_squares(3)
    assert any(one is view for one in asked)


def test_a_difference_of_large_scans_is_there_at_once(views: Any, make_volume: Any, compare: Any) -> None:
    import time

    import slicer

    big = np.zeros((256, 256, 256), np.int16)
    big[64:192, 64:192, 64:192] = 500
    nodes = make_volume(big, np.eye(4), "A"), make_volume(np.roll(big, 5, 2), np.eye(4), "B")
    slicer.util.setSliceViewerLayers(background=nodes[0], fit=True)
    comparison = compare(*nodes)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        comparison.show("difference")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.2


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


# ---------------------------------------------------------------------- leaving no trace


def props(views: Any) -> list[int]:
    from DeepRegistrationLib.mrml.screen_mix import slice_renderer

    return [slice_renderer(views.sliceWidget(n)).GetViewProps().GetNumberOfItems() for n in SLICES]


def watched(views: Any) -> list[bool]:
    """Whether anybody looks at what only a comparison looks at."""
    import slicer
    import vtk

    from DeepRegistrationLib.mrml.screen_mix import slice_renderer

    crosshair = slicer.vtkMRMLCrosshairDisplayableManager.FindCrosshairNode(slicer.mrmlScene)
    event = slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent
    renderers = [slice_renderer(views.sliceWidget(n)) for n in SLICES]
    return [crosshair.HasObserver(event), *[r.HasObserver(vtk.vtkCommand.StartEvent) for r in renderers]]


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
    if mode in ("checkerboard", "difference"):
        assert props(views) != before[0] and watched(views) != before[1]
    if mode == "reveal":
        mouse("Red", 80, 80)
        assert watched(views)[0]
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


# ---------------------------------------------------------------------- numbers


def test_checkerboard_of_arrays() -> None:
    from DeepRegistrationLib.mrml.screen_mix import checkerboard

    board = checkerboard((5, 7), 3)  # squares of 2
    expected = np.array([[((4 - r) // 2 + c // 2) % 2 == 1 for c in range(7)] for r in range(5)])
    assert (board == expected).all()
    assert not checkerboard((4, 4), 1).any()
    assert checkerboard((3, 3), 50).sum() == 4


def test_the_limit_of_the_colours() -> None:
    from DeepRegistrationLib.mrml.difference import difference_limit

    random = np.random.default_rng(0)
    a = random.normal(size=10000)
    exact = np.percentile(np.abs(a), 99)
    limit = difference_limit(a, np.zeros_like(a))
    assert exact <= limit < exact * 1.05 and float(f"{limit:.2g}") == pytest.approx(limit)
    assert difference_limit(a, a) == 1.0 == difference_limit(a[:0], a[:0])
    assert difference_limit(np.array([1e-7]), np.zeros(1)) == pytest.approx(1e-7)


def test_colours_of_numbers() -> None:
    from DeepRegistrationLib.mrml.difference import DifferencePainter, colour_table

    table = colour_table()
    values = np.array([[-20.0, -10.0, 0.0, 10.0, np.nan, 5.0]])
    inside_ = np.array([[True, True, True, True, True, False]])
    out = DifferencePainter(10.0).colours(values, np.zeros_like(values), inside_)[0]
    assert (out[0] == table[0]).all() and (out[1] == table[0]).all()
    assert (out[2] == table[127]).all() and (out[3] == table[-1]).all()
    assert out[4:, :3].max() == 0 and (out[:, 3] == 255).all()
    # whole numbers that would run over
    small = np.array([[100]], np.uint8), np.array([[200]], np.uint8)
    out = DifferencePainter(100.0).colours(*small, np.ones((1, 1), bool))
    assert (out[0, 0] == table[0]).all()
