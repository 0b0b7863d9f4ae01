"""Maps laid over a scan: the colours in the views mean what the legend says."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import slicer.util

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.metrics.map_kinds import MAP_KINDS, map_kind
from DeepRegistrationLib.mrml import map_nodes
from DeepRegistrationLib.mrml.colours import map_colours
from DeepRegistrationLib.reports.palette import DIVERGING, FOLDED, SEQUENTIAL, colours

BACKGROUND = 120
#: one column of voxels each, left to right in an axial view
VALUES = np.array([-3.0, -1e-3, -1e-5, 0.0, 1e-5, 1e-3, 0.01, 0.2, 0.5, 0.8, 1.0, 1.3, 1.5, 1.9, 2.0, 5.0], np.float32)
#: 10 mm voxels, x runs from the patient's right to the left as in the view
MATRIX = np.array([[-10.0, 0, 0, 75.0], [0, -10.0, 0, 75.0], [0, 0, 10.0, -75.0], [0, 0, 0, 1.0]])


def columns(values: np.ndarray) -> np.ndarray:
    return np.broadcast_to(values, (16, 16, 16)).astype(np.float32)


@pytest.fixture
def views(slicer_host: Any, scene: Any) -> Any:
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    manager.viewport().resize(800, 640)
    manager.viewport().show()
    slicer_host.process_events()
    return manager


@pytest.fixture
def fixed(scene: Any) -> Any:
    matrix = slicer.util.vtkMatrixFromArray(MATRIX)
    node = slicer.util.addVolumeFromArray(np.full((16, 16, 16), float(BACKGROUND)), matrix, "CT")
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 255)
    return node


def seen(views: Any, fixed: Any) -> np.ndarray:
    """(16, 3) colours of the columns in the axial view, below the middle."""
    from host import screenshot

    slicer.util.setSliceViewerLayers(fit=True)
    widget = views.sliceWidget("Red")
    picture = screenshot.view(widget).astype(int)
    to_view = np.linalg.inv(slicer.util.arrayFromVTKMatrix(widget.mrmlSliceNode().GetXYToRAS()))
    out = []
    for k in range(16):
        r, a, s = (MATRIX @ (k, 13, 8, 1))[:3]
        x, y = (to_view @ (r, a, s, 1))[:2]
        out.append(picture[picture.shape[0] - 1 - round(y), round(x)])
    return np.array(out)


@pytest.mark.display
def test_folding_is_coloured_exactly_where_determinants_are_not_positive(
    views: Any, scene: Any, fixed: Any
) -> None:
    node = map_nodes.add_map(scene, columns(VALUES), MATRIX, MAP_KINDS["jacobian"], "Jacobian")
    map_nodes.show_map(node, fixed, 1.0)
    map_nodes.legend(node, False)
    picture = seen(views, fixed)
    magenta = np.abs(picture - 255 * np.array(FOLDED)).max(axis=1) < 3
    np.testing.assert_array_equal(magenta, VALUES <= 0)
    expected = 255 * colours(VALUES, DIVERGING, 0.0, 2.0)
    np.testing.assert_allclose(picture[VALUES > 0], expected[VALUES > 0], atol=6)


@pytest.mark.display
@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_opacity_mixes_the_map_into_the_scan(views: Any, scene: Any, fixed: Any, opacity: float) -> None:
    values = np.linspace(-1.2, 1.2, 16)
    node = map_nodes.add_map(scene, columns(values), MATRIX, MAP_KINDS["log-jacobian"], "log")
    map_nodes.show_map(node, fixed, 0.77)
    map_nodes.legend(node, False)
    map_nodes.set_opacity(node, opacity)
    expected = opacity * 255 * colours(values, DIVERGING, -1.0, 1.0) + (1 - opacity) * BACKGROUND
    np.testing.assert_allclose(seen(views, fixed), expected, atol=8)


@pytest.mark.display
def test_the_strongest_colour_is_where_the_displacement_is_largest(views: Any, scene: Any, fixed: Any) -> None:
    values = np.concatenate([np.linspace(0, 12, 11), np.linspace(9, 0, 5)])
    node = map_nodes.add_map(scene, columns(values), MATRIX, MAP_KINDS["displacement"], "mm")
    map_nodes.show_map(node, fixed, 1.0)
    map_nodes.legend(node, False)
    picture = seen(views, fixed)
    assert picture.sum(axis=1).argmax() == values.argmax()
    low, high = map_nodes.range_of(node)
    assert low == 0 and high == pytest.approx(np.percentile(columns(values), 99), rel=1e-6)
    np.testing.assert_allclose(picture, 255 * colours(values, SEQUENTIAL, low, high), atol=8)


@pytest.mark.display
def test_a_threshold_hides_what_lies_outside(views: Any, scene: Any, fixed: Any) -> None:
    node = map_nodes.add_map(scene, columns(VALUES), MATRIX, MAP_KINDS["jacobian"], "Jacobian")
    map_nodes.show_map(node, fixed, 1.0, threshold=(0.3, 1.4))
    map_nodes.legend(node, False)

    def hidden() -> np.ndarray:
        return np.abs(seen(views, fixed) - BACKGROUND).max(axis=1) <= 1

    np.testing.assert_array_equal(hidden(), (VALUES < 0.3) | (VALUES > 1.4))
    # from the low end of the colours on: folding far below it is what one wants to see
    map_nodes.set_threshold(node, map_nodes.range_of(node)[0], 0.0)
    np.testing.assert_array_equal(hidden(), VALUES > 0)
    map_nodes.set_threshold(node, 1.6, map_nodes.range_of(node)[1])
    np.testing.assert_array_equal(hidden(), VALUES < 1.6)
    map_nodes.clear_threshold(node)
    assert not hidden().any()


def legend_actor(views: Any, node: Any, view: str = "Red") -> Any:
    """What the displayable manager of the view draws."""
    name = "vtkMRMLColorLegendDisplayableManager"
    manager = views.sliceWidget(view).sliceView().displayableManagerByClassName(name)
    return manager.GetColorLegendActor(slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node))


@pytest.mark.display
def test_the_legend_has_the_range_and_the_title_of_the_map(views: Any, scene: Any, fixed: Any) -> None:
    from host import screenshot

    made = {
        "jacobian": map_nodes.add_map(scene, columns(np.linspace(0.5, 1.5, 16)), MATRIX, map_kind("jacobian"), "J"),
        "uncertainty": map_nodes.add_map(scene, columns(np.linspace(0, 4, 16)), MATRIX, map_kind("uncertainty"), "U"),
    }
    for node in made.values():
        map_nodes.legend(node, True)
    for name, limits, title in (
        ("jacobian", (-0.5, 2.0), "Jacobian"),
        ("uncertainty", (0.0, 4.0), "(mm)"),
        ("jacobian", (-0.5, 2.0), "Jacobian"),
    ):
        map_nodes.show_map(made[name], fixed)
        screenshot.view(views.sliceWidget("Red"))
        for other, node in made.items():
            assert bool(legend_actor(views, node).GetVisibility()) == (other == name)
        actor = legend_actor(views, made[name])
        assert actor.GetLookupTable().GetRange() == pytest.approx(limits, abs=1e-3)
        assert title in actor.GetTitle()
    # the colour of folding is explained even where nothing folds
    map_nodes.show_map(made["jacobian"], fixed, 0.0)
    picture = screenshot.view(views.sliceWidget("Red")).astype(int)
    assert (np.abs(picture - (255, 0, 255)).max(axis=2) < 30).sum() > 50
    map_nodes.legend(made["jacobian"], False)
    picture = screenshot.view(views.sliceWidget("Red")).astype(int)
    assert not (np.abs(picture - (255, 0, 255)).max(axis=2) < 30).any()


def test_the_volume_holds_the_map_on_its_grid(scene: Any) -> None:
    matrix = np.array([[0.0, -1.2, 0.3, 5.0], [1.4, 0.0, 0.0, -8.0], [0.0, 0.3, 1.9, 12.0], [0, 0, 0, 1.0]])
    array = np.random.default_rng(0).normal(1, 0.3, (5, 6, 7)).astype(np.float32)
    node = map_nodes.add_map(scene, array.copy(), matrix, MAP_KINDS["jacobian"], "Jacobian")
    for _ in range(3):
        gc.collect()
        np.zeros(array.shape, np.float32).fill(7)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), array)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(_matrix(node)), matrix, atol=1e-12)
    assert map_nodes.kind_of(node) is MAP_KINDS["jacobian"]


def _matrix(node: Any) -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_no_histogram_of_the_voxels_is_counted(scene: Any) -> None:
    """A display that finds its window by itself would change it when voxels come, and the next time anything does."""
    import vtk

    automatic = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def look(_scene: Any, _event: str, node: Any) -> None:
        if node.IsA("vtkMRMLScalarVolumeDisplayNode"):
            automatic.append((node.GetAutoWindowLevel(), node.GetAutoThreshold()))

    tag = scene.AddObserver(scene.NodeAddedEvent, look)
    node = map_nodes.add_map(scene, columns(np.linspace(-9, 50, 16)), MATRIX, MAP_KINDS["jacobian"], "Jacobian")
    scene.RemoveObserver(tag)
    assert automatic == [(0, 0)]
    node.GetImageData().Modified()
    assert map_nodes.range_of(node) == pytest.approx((-0.5, 2.0), abs=1e-4)


def test_a_still_map_and_one_with_gaps_have_a_range(scene: Any) -> None:
    still = map_nodes.add_map(scene, np.zeros((4, 4, 4)), MATRIX, MAP_KINDS["displacement"], "still")
    assert map_nodes.range_of(still) == (0.0, 1.0)
    gaps = np.full((4, 4, 4), 2.5)
    gaps[0] = np.nan
    node = map_nodes.add_map(scene, gaps, MATRIX, map_kind("non-correspondence"), "gaps")
    assert map_nodes.range_of(node) == (0.0, 2.5)
    with pytest.raises(InputError, match="three axes"):
        map_nodes.add_map(scene, np.zeros((4, 4)), MATRIX, MAP_KINDS["displacement"], "flat")


def test_one_table_for_each_kind(scene: Any) -> None:
    tables = {i: map_colours(scene, kind) for i, kind in MAP_KINDS.items()}
    assert len({t.GetID() for t in tables.values()}) == len(MAP_KINDS)
    assert all(map_colours(scene, kind) is tables[i] for i, kind in MAP_KINDS.items())
