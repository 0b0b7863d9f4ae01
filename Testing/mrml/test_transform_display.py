"""A transform is drawn, described and pictured the way round that it really works."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer.util
import vtk
from scipy import ndimage
from vtk.util.numpy_support import vtk_to_numpy

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml.direction import lattice
from DeepRegistrationLib.mrml.transform_display import (
    PRESETS,
    direction_picture,
    direction_words,
    show_transform,
)
from DeepRegistrationLib.mrml.transforms import read_transform

SIZE, SPACING = 48, 4.0
#: LPS-aligned, centred at the origin
MATRIX = np.diag([-SPACING, -SPACING, SPACING, 1.0])
MATRIX[:3, 3] = np.array([1, 1, -1]) * SPACING * (SIZE - 1) / 2
OBLIQUE = np.array([[-2.4, 0.6, 0, 40.0], [-0.8, -1.8, 0, 30.0], [0, 0, 2.0, -20.0], [0, 0, 0, 1.0]])


def volume(name: str, matrix: np.ndarray = MATRIX) -> Any:
    x = np.linspace(-1, 1, SIZE)
    z, y, x = np.meshgrid(x, x, x, indexing="ij")
    ball = 400 * (x**2 + y**2 + z**2 < 0.5) + 100 * (np.abs(x) < 0.2)
    return slicer.util.addVolumeFromArray(ball.astype(np.float32), slicer.util.vtkMatrixFromArray(matrix), name)


@pytest.fixture
def pair(scene: Any) -> tuple[Any, Any]:
    # names that lie: nothing may be concluded from them
    return volume("Baseline to follow-up"), volume("Up")


def shift(scene: Any, ras: tuple[float, float, float]) -> Any:
    """A transform that moves what lies under it by `ras` mm."""
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "head to feet")
    matrix = vtk.vtkMatrix4x4()
    for k in range(3):
        matrix.SetElement(k, 3, ras[k])
    node.SetMatrixTransformToParent(matrix)
    return node


def bump(scene: Any, tmp_path: Any, height: float = 15.0) -> tuple[Any, sitk.Transform]:
    """A field whose partners lie up to `height` mm towards the head: moving tissue goes to the feet."""
    field = sitk.Image([40] * 3, sitk.sitkVectorFloat64)
    field.SetSpacing([5.0] * 3)
    field.SetOrigin([-97.5] * 3)
    x = np.linspace(-97.5, 97.5, 40)
    z, y, x = np.meshgrid(x, x, x, indexing="ij")
    array = np.zeros((40, 40, 40, 3))
    array[..., 2] = height * np.exp(-(x**2 + y**2 + z**2) / 60.0**2)
    filled = sitk.GetImageFromArray(array, isVector=True)
    filled.CopyInformation(field)
    sitk.WriteImage(sitk.Cast(filled, sitk.sitkVectorFloat32), str(tmp_path / "bump.nrrd"))
    node = read_transform(tmp_path / "bump.nrrd")
    node.SetName("bump")
    return scene.AddNode(node), sitk.DisplacementFieldTransform(filled)


def about(transform: Any, pair: tuple[Any, Any], use_inverse: bool = False) -> Any:
    return SimpleNamespace(transform=transform, fixed=pair[0], moving=pair[1], use_inverse=use_inverse)


def numbers(words: str) -> tuple[float, float]:
    found = re.search(r"by ([\d.]+) mm on average \(up to ([\d.]+) mm\)", words)
    assert found is not None, words
    return float(found[1]), float(found[2])


# ---------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("ras", "said"),
    [
        ((0, 0, -7), "towards the feet (S to I)"),
        ((0, 0, 7), "towards the head (I to S)"),
        ((0, 7, 0), "towards the front (P to A)"),
        ((0, -7, 1), "towards the back (A to P)"),
        ((7, 0, 2), "towards the right (L to R)"),
        ((-7, 0, 2), "towards the left (R to L)"),
    ],
)
def test_words_say_where_moving_goes(scene: Any, pair: Any, ras: Any, said: str) -> None:
    node = shift(scene, ras)
    words = direction_words(about(node, pair))
    assert said in words and "put on Up, it moves Up onto Baseline to follow-up" in words
    assert numbers(words) == pytest.approx([np.linalg.norm(ras)] * 2, abs=0.06)
    # moving that already lies under it is described alike
    pair[1].SetAndObserveTransformNodeID(node.GetID())
    assert direction_words(about(node, pair)) == words


def test_the_inverse_moves_fixed_onto_moving(scene: Any, pair: Any) -> None:
    """The node maps moving points to fixed points; read the other way round, fixed goes where the node sends it."""
    words = direction_words(about(shift(scene, (0, 0, -7)), pair, use_inverse=True))
    assert "put on Baseline to follow-up, it moves Baseline to follow-up onto Up" in words
    assert "towards the feet" in words


def test_numbers_are_those_of_an_independent_transform(scene: Any, pair: Any, tmp_path: Any) -> None:
    node, same = bump(scene, tmp_path)
    words = direction_words(about(node, pair))
    places = lattice(pair[0], 9) * (-1, -1, 1)
    steps = np.array([np.array(same.TransformPoint(p)) - p for p in places.tolist()])
    lengths = np.linalg.norm(steps, axis=1)
    assert numbers(words) == pytest.approx((lengths.mean(), lengths.max()), abs=0.1)
    assert "towards the feet (S to I)" in words


def test_places_of_the_volumes_count(scene: Any) -> None:
    """Oblique volumes under transforms of their own, far from the origin."""
    fixed, moving = volume("F", OBLIQUE), volume("M", OBLIQUE)
    far = shift(scene, (300.0, 0, 0))
    fixed.SetAndObserveTransformNodeID(far.GetID())
    node = shift(scene, (300.0, 0, -4.0))
    words = direction_words(about(node, (fixed, moving)))
    assert numbers(words) == pytest.approx([np.hypot(300, 4)] * 2, abs=0.06)
    assert "towards the right (L to R)" in words and "Only" not in words
    index = np.c_[lattice(fixed, 3) - (300.0, 0, 0), np.ones(27)] @ np.linalg.inv(OBLIQUE).T
    np.testing.assert_allclose(np.unique(index[:, :3].round(6)), (np.arange(3) + 0.5) / 3 * SIZE - 0.5, atol=1e-5)


def test_a_transform_meant_the_other_way_is_noticed(scene: Any) -> None:
    far = MATRIX.copy()
    far[0, 3] += 500.0
    pair = volume("F"), volume("M", far)
    right = direction_words(about(shift(scene, (-500.0, 0, 0)), pair))
    wrong = direction_words(about(shift(scene, (500.0, 0, 0)), pair))
    assert "Only" not in right
    assert "Only 0% of F finds a partner inside M" in wrong and "100%" in wrong and "the other way" in wrong


def test_turns_and_stillness_have_no_direction(scene: Any, pair: Any) -> None:
    turn = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "turn")
    rotation = vtk.vtkTransform()
    rotation.RotateZ(20)
    turn.SetMatrixTransformToParent(rotation.GetMatrix())
    assert "in no common direction" in direction_words(about(turn, pair))
    assert "moves nothing" in direction_words(about(shift(scene, (0, 0, 0)), pair))


def test_a_broken_transform_is_told(scene: Any, pair: Any) -> None:
    node = shift(scene, (0, 0, float("nan")))
    for look in (lambda: direction_words(about(node, pair)), lambda: show_transform(node, "grid", pair[0])):
        with pytest.raises(InputError, match="nowhere"):
            look()


# ---------------------------------------------------------------------- picture


def arrows(picture: np.ndarray) -> list[tuple[int, float]]:
    """(rows that an arrow takes, where it is widest: -1 its top, 1 its bottom) of each arrow."""
    yellow = (picture[..., 0] > 200) & (picture[..., 2] < 110) & (picture[..., 1] > 140)
    labels, _ = ndimage.label(yellow, np.ones((3, 3)))
    out = []
    for part in ndimage.find_objects(labels):
        rows = yellow[part].sum(axis=1)
        if len(rows) >= 8:
            out.append((len(rows), 2 * rows.argmax() / (len(rows) - 1) - 1))
    return out


@pytest.mark.parametrize("down", [True, False])
def test_arrows_of_the_picture_point_where_moving_goes(scene: Any, pair: Any, down: bool) -> None:
    picture = direction_picture(about(shift(scene, (0, 0, -20.0 if down else 20.0)), pair))
    assert picture.shape == (200, 260, 3) and picture.dtype == np.uint8
    found = arrows(picture)
    # 20 mm of 192 mm, on 166 rows, and the edges
    assert len(found) > 20 and np.median([rows for rows, _ in found]) == pytest.approx(20 / 192 * 166 + 2, abs=2.5)
    heads = np.array([head for _, head in found])
    assert (heads > 0).all() if down else (heads < 0).all()


def test_the_picture_shows_the_slice_of_the_movement_and_says_whose(scene: Any, pair: Any) -> None:
    coronal = direction_picture(about(shift(scene, (0, 1.0, 20.0)), pair))
    axial = direction_picture(about(shift(scene, (0, 20.0, 1.0)), pair))
    assert not np.array_equal(coronal[:166, 120:140], axial[:166, 120:140])
    still = direction_picture(about(shift(scene, (0, 0, 0)), pair))
    assert not arrows(still)
    # fixed in grey: the bar through the middle of the ball is brighter than the ball
    middle, beside = still[90, 131].astype(int), still[90, 165].astype(int)
    assert np.ptp(middle) == 0 and middle[0] > beside[0] + 20
    pair[1].SetName("Other")
    renamed = direction_picture(about(shift(scene, (0, 1.0, 20.0)), pair))
    assert np.array_equal(renamed[:166], coronal[:166]) and not np.array_equal(renamed[166:], coronal[166:])


def test_tiny_and_huge_movements_stay_readable(scene: Any, pair: Any) -> None:
    for length in (0.05, 90.0):
        rows = [r for r, _ in arrows(direction_picture(about(shift(scene, (0, 0, -length)), pair)))]
        assert rows and 6 < np.median(rows) < 40


# ---------------------------------------------------------------------- drawn by Slicer


@pytest.fixture
def views(slicer_host: Any, scene: Any) -> Any:
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    manager.viewport().resize(800, 640)
    manager.viewport().show()
    slicer_host.process_events()
    return manager


def pictures(views: Any) -> dict[str, np.ndarray]:
    from host import screenshot

    out = {name: screenshot.view(views.sliceWidget(name)).astype(int) for name in ("Red", "Green")}
    out["3D"] = screenshot.view(views.threeDWidget(0)).astype(int)
    return out


@pytest.mark.display
@pytest.mark.parametrize("preset", PRESETS[1:])
def test_each_preset_is_drawn_and_taken_away(scene: Any, pair: Any, views: Any, tmp_path: Any, preset: str) -> None:
    fixed = pair[0]
    slicer.util.setSliceViewerLayers(background=fixed, fit=True)
    fixed.GetDisplayNode().AutoWindowLevelOff()
    fixed.GetDisplayNode().SetWindowLevelMinMax(0, 2000)
    node, _ = bump(scene, tmp_path)
    slicer.util.resetThreeDViews()
    before = pictures(views)
    show_transform(node, preset, fixed)
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    assert legend.GetTitleText().split() == ["Displacement", "(mm)"]
    legend.SetVisibility(False)
    drawn = pictures(views)
    if preset == "glyph":
        drawn.pop("Red")  # nothing of a movement along the body lies in an axial slice
    for name, picture in drawn.items():
        changed = (np.abs(picture - before[name]).max(axis=2) > 40).mean()
        assert 0.003 < changed < 0.6, (name, changed)
    # red where the displacement is large, in the middle; nothing red far from it
    green = drawn["Green"]
    red = (green[..., 0] > 200) & (green[..., 1] < 130) & (green[..., 2] < 90)
    rows, columns = np.nonzero(red)
    assert len(rows) > 10
    far = np.hypot(rows - green.shape[0] / 2, columns - green.shape[1] / 2) / green.shape[0]
    assert far.max() < 0.35
    show_transform(node, "off", fixed)
    after = pictures(views)
    for name, picture in after.items():
        assert (np.abs(picture - before[name]).max(axis=2) > 20).mean() < 1e-3, name


@pytest.mark.parametrize("length", [0.2, 12.0, 90.0])
def test_arrows_start_at_tissue_and_end_where_it_goes(scene: Any, pair: Any, length: float) -> None:
    """All arrows of a shift to the feet reach below their starts and never above, and do not run into each other."""
    node = shift(scene, (0, 0, -length))
    show_transform(node, "glyph", pair[0])
    display = node.GetDisplayNode()
    drawn = vtk.vtkPolyData()
    slicer.vtkSlicerTransformLogic.GetVisualization3d(drawn, display, pair[0])
    points = vtk_to_numpy(drawn.GetPoints().GetData())
    scaled = length * display.GetGlyphScalePercent() / 100
    between = display.GetGlyphSpacingMm()
    assert 0.35 * between <= scaled <= 2.1 * between
    # starts lie evenly about the middle of the volume, which is at 0: the highest start is as far up as the lowest is
    # down, nothing reaches above it, and the lowest tip lies one arrow below the lowest start
    highest, lowest = points[:, 2].max(), points[:, 2].min()
    assert (2 * highest / between) % 1 == pytest.approx(0.0, abs=0.02)
    assert lowest == pytest.approx(-highest - scaled, abs=0.03 * scaled)


def test_a_true_scale_is_kept_where_it_can_be_read(scene: Any, pair: Any) -> None:
    node = shift(scene, (0, 0, -12.0))
    show_transform(node, "glyph", pair[0])
    assert node.GetDisplayNode().GetGlyphScalePercent() == 100


@pytest.mark.parametrize("height", [0.3, 4.0, 40.0])
def test_contours_are_round_numbers_below_the_largest(scene: Any, pair: Any, tmp_path: Any, height: float) -> None:
    node, _ = bump(scene, tmp_path, height)
    show_transform(node, "contour", pair[0])
    levels = [float(v) for v in node.GetDisplayNode().GetContourLevelsMmAsString().split()]
    assert 3 <= len(levels) <= 10 and max(levels) < height * 1.01
    assert np.allclose(np.diff(levels), levels[0])
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    assert legend.GetTitleText().split() == ["Displacement", "(mm)"]
    top = node.GetDisplayNode().GetColorMap().GetRange()[1]
    assert top == pytest.approx(height, rel=0.02)


def test_a_grid_has_as_many_lines_as_can_be_seen(scene: Any, pair: Any, tmp_path: Any) -> None:
    node, _ = bump(scene, tmp_path)
    show_transform(node, "grid", pair[0])
    lines = SIZE * SPACING / node.GetDisplayNode().GetGridSpacingMm()
    assert 6 <= lines <= 25


def test_what_cannot_be_drawn_is_said(scene: Any, pair: Any) -> None:
    with pytest.raises(InputError, match="moves nothing"):
        show_transform(shift(scene, (0, 0, 0)), "grid", pair[0])
    with pytest.raises(InputError, match="arrows"):
        show_transform(shift(scene, (0, 0, 5)), "arrows", pair[0])
    with pytest.raises(InputError, match="fixed volume"):
        show_transform(shift(scene, (0, 0, 5)), "grid", None)
    show_transform(shift(scene, (0, 0, 5)), "off", None)
