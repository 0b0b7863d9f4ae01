"""The difference of two scans: its sign, its colours, and what is paired with what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mrml.comparison.screen import SLICES, clear, inside, picture, ramp

pytestmark = pytest.mark.display


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
