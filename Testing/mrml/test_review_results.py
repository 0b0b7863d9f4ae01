"""A review of real nodes by the real worker comes back as nodes that say what VTK and SimpleITK say, or not at all."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
import vtk

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.jobs import JobFolder
from DeepRegistrationLib.mrml.review_inputs import ReviewNodes, export_review
from DeepRegistrationLib.mrml.review_results import load_review, outputs_of, remove_review
from DeepRegistrationLib.mrml.slabs import finish
from mrml.test_review_inputs import TURN, linear
from mrml.test_review_transforms import MATRIX, SIZE, bend, grid_node, loaded, smooth

MAPS = {"jacobian", "log-jacobian", "displacement"}


def blobs(seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SIZE[::-1]], indexing="ij"))
    out = np.zeros(SIZE[::-1])
    for _ in range(8):
        out += np.exp(-(((at - random.uniform(-0.4, 0.4, 3)[:, None, None, None]) / 0.3) ** 2).sum(0))
    return (1000 * out / out.max()).astype(np.int16)


@pytest.fixture
def nodes(scene: Any, make_volume: Any, make_segmentation: Any, tmp_path: Path) -> ReviewNodes:
    """A B-spline file loaded by Slicer, below a parent; moving lies under a transform of its own."""
    path = tmp_path / "given.tfm"
    sitk.WriteTransform(bend(), str(path))
    transform = loaded(scene, path)
    transform.SetName("Spline")
    fixed, moving = make_volume(blobs(), MATRIX, "F"), make_volume(blobs(), MATRIX, "M")
    values = blobs()
    segments = {"organ": values > 600, "rim": (values > 300) & (values <= 600)}
    segmentations = [make_segmentation(volume, segments) for volume in (fixed, moving)]
    centre = (MATRIX @ (13, 11, 9, 1))[:3]
    points = []
    for k in range(2):
        markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"P{k}")
        for step in ((0, 0, 0), (5, -4, 3), (-6, 2, 1)):
            markups.AddControlPoint((centre + step + np.array([0.5 * k, 0, 0])).tolist())
        points.append(markups)
    return ReviewNodes(
        transform,
        fixed,
        moving,
        fixed_segmentation=segmentations[0],
        moving_segmentation=segmentations[1],
        fixed_landmarks=points[0],
        moving_landmarks=points[1],
    )


def measured(nodes: ReviewNodes, folder: Path) -> tuple[dict[str, Any], Mapping[str, int]]:
    """The worker's answer, computed in this process."""
    from DeepRegistrationLib.jobs.worker import run_job

    folder.mkdir(exist_ok=True)
    exported = finish(export_review(nodes, JobFolder(folder)))
    events: list[Any] = []
    run_job(JobFolder(folder), events.append)
    assert events[-1].kind == "result", events[-1].text
    return events[-1].data, exported.labels


def reviewed(nodes: ReviewNodes, folder: Path) -> Any:
    data, labels = measured(nodes, folder)
    return finish(load_review(nodes, data, labels))


def ids(scene: Any) -> list[str]:
    return [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())]


def lasting_ids(scene: Any) -> list[str]:
    """Colours are made once for a scene and stay."""
    return [i for i in ids(scene) if not scene.GetNodeByID(i).IsA("vtkMRMLColorNode")]


def test_maps_and_numbers_are_those_of_the_node(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    top = linear(scene, TURN)
    nodes.transform.SetAndObserveTransformNodeID(top.GetID())
    outputs = reviewed(nodes, tmp_path / "job")
    assert set(outputs.maps) >= MAPS
    there = vtk.vtkGeneralTransform()
    nodes.transform.GetTransformFromWorld(there)
    displacement = slicer.util.arrayFromVolume(outputs.maps["displacement"])
    determinant = slicer.util.arrayFromVolume(outputs.maps["jacobian"])
    for index in ((5, 6, 7), (20, 11, 4), (13, 10, 9)):
        point = (MATRIX @ (*index, 1))[:3]
        length = np.linalg.norm(np.array(there.TransformPoint(point.tolist())) - point)
        assert displacement[index[::-1]] == pytest.approx(length, abs=1e-3)
        steps = np.array(
            [
                np.subtract(
                    there.TransformPoint((point + step).tolist()), there.TransformPoint((point - step).tolist())
                )
                for step in 0.5 * np.eye(3)
            ]
        )
        assert determinant[index[::-1]] == pytest.approx(np.linalg.det(steps), abs=0.02)
    errors = outputs.metrics["landmarks"]["after_mm"]
    for k, error in enumerate(errors):
        fixed, moving = (m.GetNthControlPointPositionVector(k) for m in (nodes.fixed_landmarks, nodes.moving_landmarks))
        expected = np.linalg.norm(np.subtract(there.TransformPoint(list(fixed)), list(moving)))
        assert error == pytest.approx(expected, abs=0.02)
    for volume in (*outputs.maps.values(), outputs.moved):
        found = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(found)
        np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(found), MATRIX, atol=1e-6)


def test_moved_and_segments_are_what_slicer_shows(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    """Moving under the transform, resampled by Slicer, is the moved volume."""
    own = linear(scene, TURN, "own")
    for node in (nodes.moving, nodes.moving_segmentation, nodes.moving_landmarks):
        node.SetAndObserveTransformNodeID(nodes.transform.GetID())
    nodes.transform.SetAndObserveTransformNodeID(own.GetID())
    outputs = reviewed(nodes, tmp_path / "job")
    logic = slicer.modules.volumes.logic()
    shown = slicer.util.arrayFromVolume(logic.ResampleVolumeToReferenceVolume(nodes.moving, nodes.fixed))
    moved = slicer.util.arrayFromVolume(outputs.moved)
    assert moved.dtype == np.int16 and moved.max() > 300
    assert np.abs(moved.astype(float) - shown).max() < 3
    assert (moved != blobs()).mean() > 0.3
    found = outputs.segmentation.GetSegmentation()
    source = nodes.moving_segmentation.GetSegmentation()
    expected = nearest_labels(nodes)
    for k, name in enumerate(("organ", "rim")):
        assert found.GetNthSegment(k).GetName() == name
        assert found.GetNthSegment(k).GetColor() == source.GetNthSegment(k).GetColor()
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(outputs.segmentation, f"id-{k}", outputs.moved) > 0
        np.testing.assert_array_equal(mask, expected == k + 1)


def nearest_labels(nodes: ReviewNodes) -> np.ndarray:
    """(Z, Y, X) 1 for the organ, 2 for the rim: the nearest voxel of moving under each voxel of fixed."""
    there = vtk.vtkGeneralTransform()
    nodes.transform.GetTransformFromWorld(there)
    values = blobs()
    labels = np.where(values > 600, 1, np.where(values > 300, 2, 0))
    out = np.zeros_like(labels)
    to_index = np.linalg.inv(MATRIX)
    for k, j, i in np.ndindex(*out.shape):
        moving = there.TransformPoint((MATRIX @ (i, j, k, 1))[:3].tolist())
        at = np.round((to_index @ (*moving, 1))[:3]).astype(int)
        if ((at >= 0) & (at < SIZE)).all():
            out[k, j, i] = labels[tuple(at[::-1])]
    return out


def test_names_and_places_of_everything(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    before = set(ids(scene))
    outputs = reviewed(nodes, tmp_path / "job")
    assert outputs.maps["jacobian"].GetName() == "Spline Jacobian determinant (review)"
    assert outputs.moved.GetName() == "Spline moved (review)"
    assert set(outputs.charts) == {"segments", "jacobian", "landmarks"}
    assert outputs.segments_table.IsA("vtkMRMLTableNode") and outputs.segments_table.GetNumberOfRows() == 2
    assert outputs.landmarks_table.GetNumberOfRows() == 3
    assert outputs.error_points.IsA("vtkMRMLModelNode")
    assert nodes.transform.GetNodeReference("DeepRegistration.review.jacobian") is outputs.maps["jacobian"]
    assert nodes.transform.GetNodeReference("DeepRegistration.review.segments_table") is outputs.segments_table
    window = outputs.moved.GetDisplayNode().GetWindow(), outputs.moved.GetDisplayNode().GetLevel()
    assert window == (nodes.moving.GetDisplayNode().GetWindow(), nodes.moving.GetDisplayNode().GetLevel())
    assert not outputs.moved.GetDisplayNode().GetAutoWindowLevel()
    # the worker's folder goes away, and no path of it stays behind
    assert str(tmp_path) not in json.dumps([outputs.provenance, outputs.metrics])
    assert outputs.provenance["inputs"]["moving"] == "M"
    assert not nodes.transform.GetNodeReference("DeepRegistration.output.moved")
    remove_review(nodes.transform)
    assert outputs_of(nodes.transform) is None
    assert [i for i in lasting_ids(scene) if i not in before] == []


def test_voxels_live_as_long_as_their_nodes(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    outputs = reviewed(nodes, tmp_path / "job")
    file, labels = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "job" / "results" / f"{name}.nrrd")))
        for name in ("moved", "segmentation")
    )
    node_id, segmentation_id = outputs.moved.GetID(), outputs.segmentation.GetID()
    del outputs
    gc.collect()
    [np.full(SIZE, k, np.int16) for k in range(200)]  # would land in freed memory
    node = scene.GetNodeByID(node_id)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), file)
    assert node.GetImageData().GetScalarRange() == (file.min(), file.max())
    for k in range(2):
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(scene.GetNodeByID(segmentation_id), f"id-{k}", node)
        np.testing.assert_array_equal(mask > 0, labels == k + 1)


def test_a_second_review_replaces_the_first(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    first = reviewed(nodes, tmp_path / "1")
    after_first = lasting_ids(scene)
    gone = [n.GetID() for n in (*first.maps.values(), first.moved, first.segments_table, *first.charts.values())]
    second = reviewed(nodes, tmp_path / "2")
    assert len(lasting_ids(scene)) == len(after_first)
    assert not any(scene.GetNodeByID(i) for i in gone)
    assert second.maps["jacobian"].GetName() == "Spline Jacobian determinant (review)"
    assert second.maps.keys() == first.maps.keys()
    other = linear(scene, TURN, "other")
    third = reviewed(replace(nodes, transform=other), tmp_path / "3")
    assert outputs_of(nodes.transform).moved is second.moved and third.moved is not second.moved  # type: ignore[union-attr]


def test_a_review_without_segments_and_landmarks(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    bare = ReviewNodes(nodes.transform, nodes.fixed, nodes.moving)
    outputs = reviewed(bare, tmp_path / "job")
    assert set(outputs.maps) >= MAPS and outputs.charts == {}
    assert outputs.segmentation is None and outputs.segments_table is None and outputs.error_points is None


def test_a_field_whose_inverse_is_meant(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    node = grid_node(scene, smooth(1.0), MATRIX)
    data, labels = measured(replace(nodes, transform=node, use_inverse=True), tmp_path / "job")
    outputs = finish(load_review(replace(nodes, transform=node, use_inverse=True), data, labels))
    back = vtk.vtkGeneralTransform()
    node.GetTransformToWorld(back)
    displacement = slicer.util.arrayFromVolume(outputs.maps["displacement"])
    for index in ((5, 6, 7), (20, 11, 4)):
        point = (MATRIX @ (*index, 1))[:3]
        length = np.linalg.norm(np.array(back.TransformPoint(point.tolist())) - point)
        assert displacement[index[::-1]] == pytest.approx(length, abs=1e-3)


# ---------------------------------------------------------------------- all or nothing


@pytest.mark.parametrize("broken", ["jacobian", "displacement", "moved", "segmentation"])
def test_a_damaged_file_leaves_the_scene(scene: Any, nodes: ReviewNodes, tmp_path: Path, broken: str) -> None:
    earlier = reviewed(nodes, tmp_path / "1")
    data, labels = measured(nodes, tmp_path / "2")
    Path(data["files"][broken]).write_bytes(b"NRRD0004\nnot an image")
    before = ids(scene)
    with pytest.raises(InputError, match="damaged"):
        finish(load_review(nodes, data, labels))
    assert ids(scene) == before
    assert outputs_of(nodes.transform).moved is earlier.moved  # type: ignore[union-attr]


@pytest.mark.parametrize("part", ["tables.segments_table", "plots.landmarks_chart", "landmark_errors.error_points"])
def test_an_error_in_a_late_step_leaves_the_scene(
    scene: Any, nodes: ReviewNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    data, labels = measured(nodes, tmp_path / "job")
    before = lasting_ids(scene)

    def fail(*_: Any, **__: Any) -> None:
        scene.AddNewNodeByClass("vtkMRMLTableNode", "half done")
        raise RuntimeError("on purpose")

    monkeypatch.setattr(f"DeepRegistrationLib.mrml.{part}", fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        finish(load_review(nodes, data, labels))
    assert lasting_ids(scene) == before
    assert outputs_of(nodes.transform) is None


def test_what_the_user_does_meanwhile_stays(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    """Wherever it is stopped, what this load has added goes and what others have added stays."""
    data, labels = measured(nodes, tmp_path / "job")
    before = lasting_ids(scene)
    steps = sum(1 for _ in load_review(nodes, data, labels))
    remove_review(nodes.transform)
    assert steps > 8 and lasting_ids(scene) == before
    for stop in range(1, steps, 3):
        load = load_review(nodes, data, labels)
        for _ in range(stop):
            next(load)
        mine = scene.AddNewNodeByClass("vtkMRMLTextNode", "my notes")
        load.close()
        assert lasting_ids(scene) == [*before, mine.GetID()]
        scene.RemoveNode(mine)


def test_a_node_removed_meanwhile(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    data, labels = measured(nodes, tmp_path / "job")
    load = load_review(nodes, data, labels)
    for word in load:
        if word == "Adding moved":
            break
    scene.RemoveNode(nodes.fixed)
    before = set(lasting_ids(scene))
    with pytest.raises(InputError, match="removed during the review"):
        finish(load)
    left = set(lasting_ids(scene))
    assert left < before and not any("(review)" in scene.GetNodeByID(i).GetName() for i in left)
    with pytest.raises(InputError, match="removed during the review"):
        finish(load_review(nodes, data, labels))


def test_found_again_after_saving_and_loading(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    outputs = reviewed(nodes, tmp_path / "job")
    metrics, names = outputs.metrics, {k: v.GetName() for k, v in outputs.maps.items()}
    jacobian = slicer.util.arrayFromVolume(outputs.maps["jacobian"]).copy()
    bundle = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(bundle)
    scene.Clear(0)
    slicer.util.loadScene(bundle)
    transform = slicer.util.getNode("Spline")
    again = outputs_of(transform)
    assert again is not None and {k: v.GetName() for k, v in again.maps.items()} == names
    assert again.metrics == metrics and set(again.charts) == {"segments", "jacobian", "landmarks"}
    np.testing.assert_allclose(slicer.util.arrayFromVolume(again.maps["jacobian"]), jacobian)
    for found in (again.moved, again.segmentation, again.segments_table, again.landmarks_table, again.error_points):
        assert found is not None and found.GetScene() is scene
    count = len(lasting_ids(scene))
    remove_review(transform)
    assert outputs_of(transform) is None
    assert len(lasting_ids(scene)) <= count - 12
