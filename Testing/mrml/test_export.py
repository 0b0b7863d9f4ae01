"""What is written for the worker lies where Slicer shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml.inputs import InputNodes, export_inputs

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (12, 14, 16)
TURN = np.array([[0.8, -0.6, 0, 4.0], [0.6, 0.8, 0, -3.0], [0, 0, 1, 7.0], [0, 0, 0, 1]])


def ramp(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, SHAPE).astype(np.int16)


def linear_parent(scene: Any, matrix: np.ndarray, name: str = "parent") -> Any:
    import slicer.util

    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def bending_parent(scene: Any) -> Any:
    """A thin-plate spline through eight corners, one of them pulled."""
    import vtk

    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for k, corner in enumerate(np.ndindex(2, 2, 2)):
        point = (np.array(corner) * 60.0 - 30.0).tolist()
        source.InsertNextPoint(point)
        target.InsertNextPoint([p + (6.0 if k == 5 else 0.0) for p in point])
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "bending")
    node.SetAndObserveTransformToParent(spline)
    return node


def world_of(node: Any, index: tuple[int, int, int]) -> np.ndarray:
    """LPS position at which Slicer shows a voxel."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    ras = matrix.MultiplyPoint((*index, 1.0))[:3]
    out = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(ras, out)
    return np.array(out) * (-1, -1, 1)


@pytest.mark.parametrize("parent", [False, True])
def test_volume_keeps_voxels_and_place(scene: Any, make_volume: Any, tmp_path: Path, parent: bool) -> None:
    fixed, moving = make_volume(ramp(), name="F"), make_volume(ramp(1), name="M")
    if parent:
        outer = linear_parent(scene, np.linalg.inv(TURN), "outer")
        inner = linear_parent(scene, TURN @ TURN, "inner")
        inner.SetAndObserveTransformNodeID(outer.GetID())
        moving.SetAndObserveTransformNodeID(inner.GetID())
    exported = export_inputs(InputNodes(fixed, moving), tmp_path)
    image = sitk.ReadImage(str(tmp_path / exported.files["moving"]))
    assert image.GetPixelID() == sitk.sitkInt16
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), ramp(1))
    for index in [(0, 0, 0), (15, 3, 2), (4, 13, 11)]:
        np.testing.assert_allclose(
            image.TransformIndexToPhysicalPoint(index), world_of(moving, index), atol=1e-6
        )
    assert exported.messages == ()


def test_shear_and_bending_are_resampled_with_a_word(scene: Any, make_volume: Any, tmp_path: Path) -> None:
    z, y, x = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    smooth = (10.0 * x + 3.0 * y - 5.0 * z).astype(np.float32)
    shear = np.eye(4)
    shear[0, 1] = 0.3
    for parent in (linear_parent(scene, shear), bending_parent(scene)):
        fixed, moving = make_volume(smooth, name="F"), make_volume(smooth, name="M")
        moving.SetAndObserveTransformNodeID(parent.GetID())
        exported = export_inputs(InputNodes(fixed, moving), tmp_path)
        assert len(exported.messages) == 1 and "'M'" in exported.messages[0]
        image = sitk.ReadImage(str(tmp_path / exported.files["moving"]))
        for index in [(6, 6, 5), (10, 4, 7), (3, 9, 8)]:
            where = world_of(moving, index)
            continuous = image.TransformPhysicalPointToContinuousIndex(where.tolist())
            value = image.EvaluateAtContinuousIndex(continuous, sitk.sitkLinear)
            assert value == pytest.approx(float(smooth[index[::-1]]), abs=0.6)


def test_segments_share_numbers_by_name(
    scene: Any, make_volume: Any, make_segmentation: Any, tmp_path: Path
) -> None:
    a, b, c = (np.zeros(SHAPE, bool) for _ in range(3))
    a[2:6, 2:6, 2:6], b[6:10, 6:10, 6:10], c[2:6, 8:12, 8:12] = True, True, True
    fixed, moving = make_volume(ramp(), name="F"), make_volume(ramp(1), name="M")
    moving_segments = make_segmentation(moving, {"liver": a, "spleen": b})
    moved_to = linear_parent(scene, TURN)
    for node in (moving, moving_segments):
        node.SetAndObserveTransformNodeID(moved_to.GetID())
    fixed_segments = make_segmentation(fixed, {"spleen": b, "kidney": c, "liver": a})
    nodes = InputNodes(fixed, moving, fixed_segmentation=fixed_segments, moving_segmentation=moving_segments)
    exported = export_inputs(nodes, tmp_path)
    assert exported.labels == {"liver": 1, "spleen": 2, "kidney": 3}
    image = sitk.ReadImage(str(tmp_path / exported.files["fixed_segmentation"]))
    labels = sitk.GetArrayFromImage(image)
    np.testing.assert_array_equal(labels, 1 * a + 2 * b + 3 * c)
    assert image.GetMetaData("Segment1_Name") == "kidney" and image.GetMetaData("Segment1_LabelValue") == "3"
    moving_image = sitk.ReadImage(str(tmp_path / exported.files["moving_segmentation"]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(moving_image), 1 * a + 2 * b)
    np.testing.assert_allclose(
        moving_image.TransformIndexToPhysicalPoint((3, 2, 1)), world_of(moving, (3, 2, 1)), atol=1e-4
    )


def test_segments_under_a_bending_transform(
    scene: Any, make_volume: Any, make_segmentation: Any, tmp_path: Path
) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[4:8, 4:9, 5:11] = True
    fixed, moving = make_volume(ramp(), name="F"), make_volume(ramp(1), name="M")
    segments = make_segmentation(moving, {"organ": mask})
    parent = bending_parent(scene)
    for node in (moving, segments):
        node.SetAndObserveTransformNodeID(parent.GetID())
    exported = export_inputs(InputNodes(fixed, moving, moving_segmentation=segments), tmp_path)
    image = sitk.ReadImage(str(tmp_path / exported.files["moving_segmentation"]))
    labels = sitk.GetArrayFromImage(image)
    assert 0.7 < labels.sum() / mask.sum() < 1.4
    inside = image.TransformPhysicalPointToIndex(world_of(moving, (7, 6, 6)).tolist())
    assert image.GetPixel(inside) == 1


def test_mask_from_label_map_and_from_segments(
    scene: Any, make_volume: Any, make_segmentation: Any, tmp_path: Path
) -> None:
    a, b = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    a[2:6, 2:6, 2:6], b[6:10, 6:10, 6:10] = True, True
    fixed, moving = make_volume(ramp(), name="F"), make_volume(ramp(1), name="M")
    label_map = make_volume((3 * a + 7 * b).astype(np.int16), name="L", kind="LabelMap")
    nodes = InputNodes(
        fixed, moving, fixed_mask=label_map, moving_mask=make_segmentation(moving, {"p": a, "q": b})
    )
    exported = export_inputs(nodes, tmp_path)
    for name in ("fixed_mask", "moving_mask"):
        written = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / exported.files[name])))
        np.testing.assert_array_equal(written, (a | b).astype(np.uint8))


def test_landmarks_in_the_world(scene: Any, make_volume: Any, tmp_path: Path) -> None:
    fixed, moving = make_volume(ramp(), name="F"), make_volume(ramp(1), name="M")
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "P")
    points.AddControlPoint([1.0, 2.0, 3.0], "first")
    points.AddControlPoint([-4.0, 0.5, 9.0], "second")
    points.SetAndObserveTransformNodeID(linear_parent(scene, TURN).GetID())
    exported = export_inputs(InputNodes(fixed, moving, fixed_landmarks=points), tmp_path)
    markup = json.loads((tmp_path / exported.files["fixed_landmarks"]).read_text(encoding="utf-8"))["markups"][0]
    assert markup["coordinateSystem"] == "LPS"
    assert [p["label"] for p in markup["controlPoints"]] == ["first", "second"]
    expected = (TURN @ np.array([1.0, 2.0, 3.0, 1.0]))[:3] * (-1, -1, 1)
    np.testing.assert_allclose(markup["controlPoints"][0]["position"], expected, atol=1e-9)


@pytest.mark.parametrize("bent", [False, True])
def test_initial_transform_maps_fixed_to_moving(
    scene: Any, make_volume: Any, tmp_path: Path, bent: bool
) -> None:
    fixed, moving = make_volume(ramp(), name="F"), make_volume(ramp(1), name="M")
    node = bending_parent(scene) if bent else linear_parent(scene, TURN)
    exported = export_inputs(InputNodes(fixed, moving, initial_transform=node), tmp_path)
    path = str(tmp_path / exported.files["initial_transform"])
    if bent:
        field = sitk.ReadImage(path, sitk.sitkVectorFloat64)
        transform: sitk.Transform = sitk.DisplacementFieldTransform(field)
    else:
        transform = sitk.ReadTransform(path)
    index = (7, 6, 5)
    where = world_of(fixed, index)
    import vtk

    general = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(general)
    expected = np.array(general.TransformPoint((where * (-1, -1, 1)).tolist())) * (-1, -1, 1)
    assert np.linalg.norm(expected - where) > 0.2
    np.testing.assert_allclose(transform.TransformPoint(where.tolist()), expected, atol=1e-3)


def test_bad_nodes_are_refused_in_one_sentence(scene: Any, make_volume: Any, tmp_path: Path) -> None:
    fixed = make_volume(ramp(), name="F")
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing")
    colour = make_volume(np.zeros((*SHAPE, 3), np.uint8), name="C", kind="Vector")
    no_segments = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Blank")
    no_points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "None")
    moving = make_volume(ramp(1), name="M")
    cases = [
        (InputNodes(fixed, fixed), "both 'F'"),
        (InputNodes(fixed, empty), "'Nothing' holds no voxels"),
        (InputNodes(fixed, colour), "3 values per voxel"),
        (InputNodes(fixed, None), "Choose the moving volume"),  # type: ignore[arg-type]
        (InputNodes(fixed, moving, moving_segmentation=no_segments), "'Blank' holds no segments"),
        (InputNodes(fixed, moving, moving_landmarks=no_points), "no placed points"),
        (InputNodes(fixed, moving, fixed_mask=moving), "is a ScalarVolume"),
    ]
    for nodes, words in cases:
        with pytest.raises(InputError, match=words) as caught:
            export_inputs(nodes, tmp_path)
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_export_leaves_the_scene_alone(
    scene: Any, make_volume: Any, make_segmentation: Any, tmp_path: Path
) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[4:8, 4:8, 4:8] = True
    fixed, moving = make_volume(ramp(), name="F"), make_volume(ramp(1), name="M")
    segments = make_segmentation(moving, {"organ": mask})
    moving.SetAndObserveTransformNodeID(bending_parent(scene).GetID())
    before = [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())]
    changed = moving.GetMTime(), segments.GetMTime(), moving.GetImageData().GetMTime()
    export_inputs(InputNodes(fixed, moving, moving_segmentation=segments), tmp_path)
    assert [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())] == before
    assert (moving.GetMTime(), segments.GetMTime(), moving.GetImageData().GetMTime()) == changed


def test_overlapping_segments_the_later_one_counts(
    scene: Any, make_volume: Any, make_segmentation: Any, tmp_path: Path
) -> None:
    a, b = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    a[2:8, 2:8, 2:8], b[5:10, 5:10, 5:10] = True, True
    fixed, moving = make_volume(ramp(), name="F"), make_volume(ramp(1), name="M")
    segments = make_segmentation(moving, {"first": a, "second": b}, "both")
    exported = export_inputs(InputNodes(fixed, moving, moving_segmentation=segments), tmp_path)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / exported.files["moving_segmentation"])))
    np.testing.assert_array_equal(labels, np.where(b, 2, np.where(a, 1, 0)))
    assert exported.messages == ("Where segments of 'both' overlap, the later one counts.",)


def test_a_large_bending_start_is_sampled_coarsely(
    scene: Any, make_volume: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The field covers the same ground with fewer points, and is right between them."""
    import vtk

    from DeepRegistrationLib.mrml import transforms

    monkeypatch.setattr(transforms, "_MOST_SAMPLES", 300)
    fixed, moving = make_volume(ramp(), name="F"), make_volume(ramp(1), name="M")
    node = bending_parent(scene)
    exported = export_inputs(InputNodes(fixed, moving, initial_transform=node), tmp_path)
    field = sitk.ReadImage(str(tmp_path / exported.files["initial_transform"]), sitk.sitkVectorFloat64)
    assert field.GetNumberOfPixels() < 600
    image = sitk.ReadImage(str(tmp_path / exported.files["fixed"]))
    last = [n - 1 for n in field.GetSize()]
    np.testing.assert_allclose(
        field.TransformIndexToPhysicalPoint(last),
        image.TransformIndexToPhysicalPoint([n - 1 for n in image.GetSize()]),
        atol=1e-6,
    )
    general = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(general)
    where = world_of(fixed, (7, 6, 5))
    expected = np.array(general.TransformPoint((where * (-1, -1, 1)).tolist())) * (-1, -1, 1)
    got = sitk.DisplacementFieldTransform(field).TransformPoint(where.tolist())
    np.testing.assert_allclose(got, expected, atol=0.1)
