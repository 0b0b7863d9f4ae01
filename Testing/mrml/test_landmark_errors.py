"""Landmarks in the views have the colour of their error, and the worst one is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml import landmark_errors
from DeepRegistrationLib.mrml.colours import ERROR_STOPS
from DeepRegistrationLib.reports.palette import colours

#: LPS mm, in one axial plane
POINTS = np.array([[-40.0, 10.0, 5.0], [-15.0, 10.0, 5.0], [10.0, 10.0, 5.0], [35.0, 10.0, 5.0]])
ERRORS = [2.0, 8.0, 0.5, 5.0]
METRICS = {
    "landmarks": {
        "count": 4,
        "names": list("abcd"),
        "before_mm": [9.0] * 4,
        "after_mm": ERRORS,
        "fixed_points": POINTS.tolist(),
        "moving_points": (POINTS + np.array([0, 0, 30.0])).tolist(),
    }
}
RAS = POINTS * (-1, -1, 1)


@pytest.fixture
def views(slicer_host: Any, scene: Any) -> Any:
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    manager.viewport().resize(800, 640)
    manager.viewport().show()
    slicer_host.process_events()
    matrix = np.diag([-2.5, -2.5, 2.5, 1.0])
    matrix[:3, 3] = (79, 79, -79)
    fixed = slicer.util.addVolumeFromArray(np.full((64, 64, 64), 50.0), slicer.util.vtkMatrixFromArray(matrix), "CT")
    fixed.GetDisplayNode().AutoWindowLevelOff()
    fixed.GetDisplayNode().SetWindowLevelMinMax(0, 255)
    slicer.util.setSliceViewerLayers(background=fixed, fit=True)
    return manager


def shape_of(model: Any) -> tuple[np.ndarray, np.ndarray]:
    mesh = model.GetPolyData()
    return (
        vtk_to_numpy(mesh.GetPoints().GetData()),
        vtk_to_numpy(mesh.GetPointData().GetArray(landmark_errors.SCALARS)),
    )


def test_a_sphere_at_each_landmark_carries_its_error(scene: Any) -> None:
    model = landmark_errors.error_points(scene, METRICS, "errors", spacing=(1.0, 1.0, 2.5))
    points, scalars = shape_of(model)
    radius = landmark_errors.sphere_radius(RAS, (1.0, 1.0, 2.5))
    assert len(np.unique(scalars)) == 4
    for centre, error in zip(RAS, ERRORS, strict=True):
        mine = points[scalars == np.float32(error)]
        np.testing.assert_allclose(mine.mean(axis=0), centre, atol=0.02 * radius + 1e-3)
        np.testing.assert_allclose(np.linalg.norm(mine - centre, axis=1), radius, rtol=1e-3)
    assert tuple(model.GetDisplayNode().GetScalarRange()) == (0.0, 8.0)
    # until somebody asks for them
    assert not model.GetDisplayNode().GetVisibility()


def test_spheres_fit_voxels_and_neighbours() -> None:
    assert landmark_errors.sphere_radius(RAS, (1.0, 1.0, 5.0)) == 5.0
    dense = np.random.default_rng(0).uniform(-100, 100, (300, 3))
    distances = np.sort(np.linalg.norm(dense[:, None] - dense, axis=2), axis=1)[:, 1]
    assert landmark_errors.sphere_radius(dense, (1.0, 1.0, 1.0)) < 0.5 * np.median(distances)
    assert landmark_errors.sphere_radius(RAS[:1], None) > 0


@pytest.mark.display
def test_the_slice_view_shows_each_point_in_the_colour_of_its_error(views: Any, scene: Any) -> None:
    from host import screenshot

    landmark_errors.error_points(scene, METRICS, "errors", spacing=(4.0, 4.0, 4.0), visible=True)
    widget = views.sliceWidget("Red")
    widget.sliceLogic().SetSliceOffset(5.0)
    image = screenshot.view(widget).astype(int)
    to_view = np.linalg.inv(slicer.util.arrayFromVTKMatrix(widget.mrmlSliceNode().GetXYToRAS()))
    redness = []
    for place, error in zip(RAS, ERRORS, strict=True):
        x, y = (to_view @ (*place, 1))[:2]
        part = image[image.shape[0] - 1 - round(y) - 14 :, round(x) - 14 :][:28, :28].reshape(-1, 3)
        coloured = part[np.ptp(part, axis=1) > 25]
        expected = 255 * colours(error, ERROR_STOPS, 0.0, 8.0)
        assert len(coloured) > 20
        np.testing.assert_allclose(np.median(coloured, axis=0), expected, atol=14)
        redness.append(float(np.median(coloured[:, 0] - coloured[:, 2])))
    assert np.argsort(redness).tolist() == np.argsort(ERRORS).tolist()


@pytest.mark.display
def test_the_legend_counts_millimetres_up_to_the_worst(views: Any, scene: Any) -> None:
    from host import screenshot

    model = landmark_errors.error_points(scene, METRICS, "errors", visible=True)
    screenshot.view(views.sliceWidget("Red"))
    found = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(model)
    name = "vtkMRMLColorLegendDisplayableManager"
    manager = views.sliceWidget("Red").sliceView().displayableManagerByClassName(name)
    actor = manager.GetColorLegendActor(found)
    assert actor.GetVisibility() and actor.GetLookupTable().GetRange() == (0.0, 8.0)
    assert actor.GetTitle().split() == ["TRE", "(mm)"]
    picture = screenshot.view(views.threeDWidget(0)).astype(int)
    slicer.util.resetThreeDViews()
    model.GetDisplayNode().SetVisibility(False)
    assert (np.abs(screenshot.view(views.threeDWidget(0)) - picture).max(axis=2) > 60).sum() > 100


def test_a_stick_leads_to_where_the_partner_is_shown(scene: Any) -> None:
    """The transform brings moving down by 20 of the 30 mm: the sticks are 10 mm long and point to the head."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 3, -20.0)
    transform.SetMatrixTransformToParent(matrix)
    plain = shape_of(landmark_errors.error_points(scene, METRICS, "plain", spacing=(1, 1, 1)))[0]
    points, scalars = shape_of(
        landmark_errors.error_points(scene, METRICS, "sticks", spacing=(1, 1, 1), transform=transform)
    )
    assert plain[:, 2].max() < 7.0
    assert points[:, 2].max() == pytest.approx(15.0, abs=1e-3)
    assert points[:, 2].min() == pytest.approx(plain[:, 2].min(), abs=1e-6)
    assert set(np.unique(scalars)) == set(ERRORS)


def test_the_worst_is_in_the_middle_of_all_slices(scene: Any) -> None:
    index = landmark_errors.worst(METRICS)
    assert index == 1
    landmark_errors.jump_to(POINTS[index])
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        width, height, _ = node.GetDimensions()
        middle = slicer.util.arrayFromVTKMatrix(node.GetXYToRAS()) @ (width / 2, height / 2, 0, 1)
        np.testing.assert_allclose(middle[:3], RAS[index], atol=1e-3)


def test_without_landmarks_there_is_nothing_to_show(scene: Any) -> None:
    assert landmark_errors.worst({"landmarks": None}) is None
    count = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="landmark"):
        landmark_errors.error_points(scene, {"landmarks": None}, "none")
    assert scene.GetNumberOfNodes() == count
