"""A finished job becomes nodes that show what the worker computed, or nothing at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer.util

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml.inputs import InputNodes, export_inputs
from DeepRegistrationLib.mrml.results import load_result, nodes_of_result, restore_moving

SHAPE = (26, 30, 28)
TURN = np.array([[0.8, -0.6, 0, 4.0], [0.6, 0.8, 0, -3.0], [0, 0, 1, 7.0], [0, 0, 0, 1]])
MATRIX = np.array([[-1.5, 0, 0, 20.0], [0, -1.2, 0.4, 15.0], [0, 0.4, 1.2, -12.0], [0, 0, 0, 1.0]])


def blobs(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    out = np.zeros(SHAPE)
    for _ in range(12):
        centre = random.uniform(-0.5, 0.5, 3)[:, None, None, None]
        out += np.exp(-(((grid - centre) / 0.2) ** 2).sum(0))
    return (1000 * out / out.max()).astype(np.float32)


def ids(scene: Any) -> list[str]:
    return [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())]


@pytest.fixture
def pair(scene: Any, make_volume: Any, make_segmentation: Any) -> InputNodes:
    fixed = make_volume(blobs(1), MATRIX, "CT day 1")
    moving = make_volume(blobs(1), MATRIX, "CT day 0")
    values = slicer.util.arrayFromVolume(moving)
    segments = make_segmentation(moving, {"organ": values > 500, "rim": (values > 250) & (values <= 500)})
    return InputNodes(fixed, moving, moving_segmentation=segments)


def centre_lps(node: Any) -> tuple[float, ...]:
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return (-(bounds[0] + bounds[1]) / 2, -(bounds[2] + bounds[3]) / 2, (bounds[4] + bounds[5]) / 2)


def run(nodes: InputNodes, folder: Path, fake_worker: Any, transform: Any, dense: bool) -> Any:
    exported = export_inputs(nodes, folder)
    data = fake_worker(folder, transform, dense=dense, segmentation=nodes.moving_segmentation is not None)
    return load_result(nodes, folder, data, exported.labels, exported.messages)


def resampled(scene: Any, volume: Any, reference: Any) -> np.ndarray:
    logic = slicer.modules.volumes.logic()
    node = logic.ResampleVolumeToReferenceVolume(volume, reference)
    array = slicer.util.arrayFromVolume(node).copy()
    scene.RemoveNode(node)
    return array


@pytest.mark.parametrize("parent", ["none", "linear", "chain"])
@pytest.mark.parametrize("dense", [False, True])
def test_moving_under_the_transform_is_the_moved_volume(
    scene: Any,
    pair: InputNodes,
    tmp_path: Path,
    fake_worker: Any,
    known_transform: Any,
    dense: bool,
    parent: str,
) -> None:
    fixed, moving = pair.fixed, pair.moving
    if parent != "none":
        inner = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "mine")
        inner.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(TURN))
        moving.SetAndObserveTransformNodeID(inner.GetID())
        fixed.SetAndObserveTransformNodeID(inner.GetID())
        if parent == "chain":
            outer = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "outer")
            outer.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(TURN))
            inner.SetAndObserveTransformNodeID(outer.GetID())
    parent_id = moving.GetTransformNodeID()
    result = run(pair, tmp_path, fake_worker, known_transform(centre_lps(fixed), bent=dense), dense)

    moved = slicer.util.arrayFromVolume(result.moved)
    shown = resampled(scene, moving, result.moved)
    inside = tuple(slice(2, -2) for _ in range(3))
    assert np.abs(moved - slicer.util.arrayFromVolume(fixed)).mean() > 10  # something happened
    assert np.abs(moved - shown)[inside].mean() < 0.001 * np.ptp(moved)
    assert np.abs(moved - shown)[inside].max() < 0.01 * np.ptp(moved)
    assert result.transform.IsLinear() == (not dense)

    restore_moving(result.transform)
    assert moving.GetTransformNodeID() == parent_id


def test_place_of_fixed_is_kept_in_the_outputs(
    scene: Any, pair: InputNodes, tmp_path: Path, fake_worker: Any, known_transform: Any
) -> None:
    mine = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "mine")
    mine.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(TURN))
    pair.fixed.SetAndObserveTransformNodeID(mine.GetID())
    result = run(pair, tmp_path, fake_worker, known_transform((0, 0, 0), bent=False), False)
    for index in [(0, 0, 0), (27, 3, 20)]:
        expected, got = [0.0] * 3, [0.0] * 3
        for node, out in ((pair.fixed, expected), (result.moved, got)):
            import vtk

            matrix = vtk.vtkMatrix4x4()
            node.GetIJKToRASMatrix(matrix)
            node.TransformPointToWorld(matrix.MultiplyPoint((*index, 1.0))[:3], out)
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_segments_keep_name_colour_and_terminology(
    scene: Any, pair: InputNodes, tmp_path: Path, fake_worker: Any, known_transform: Any
) -> None:
    source = pair.moving_segmentation.GetSegmentation()
    pair.moving_segmentation.GetDisplayNode().SetSegmentVisibility("id-1", False)
    result = run(pair, tmp_path, fake_worker, known_transform(centre_lps(pair.fixed), bent=True), True)
    made = result.segmentation.GetSegmentation()
    assert made.GetNumberOfSegments() == 2
    for k in range(2):
        old, new = source.GetNthSegment(k), made.GetNthSegment(k)
        assert new.GetName() == old.GetName() == ("organ", "rim")[k]
        assert new.GetColor() == old.GetColor()
        for segment in (old, new):
            assert f"Type^{k}^{old.GetName()}" in terminology(segment)
        key = made.GetNthSegmentID(k)
        labels = slicer.util.arrayFromSegmentBinaryLabelmap(result.segmentation, key, result.moved)
        import SimpleITK as sitk

        file = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "segmentation.nrrd")))
        np.testing.assert_array_equal(labels > 0, file == k + 1)
    assert not result.segmentation.GetDisplayNode().GetSegmentVisibility("id-1")
    moved = slicer.util.arrayFromVolume(result.moved)
    organ = slicer.util.arrayFromSegmentBinaryLabelmap(result.segmentation, "id-0", result.moved) > 0
    assert moved[organ].mean() > 500 > moved[~organ].mean()


def terminology(segment: Any) -> str:
    import vtk

    text = vtk.reference("")
    segment.GetTag("TerminologyEntry", text)
    return str(text)


def test_names_references_and_numbers_are_recorded(
    scene: Any, pair: InputNodes, tmp_path: Path, fake_worker: Any, known_transform: Any
) -> None:
    result = run(pair, tmp_path, fake_worker, known_transform(centre_lps(pair.fixed), bent=False), False)
    node = result.transform
    assert node.GetName() == "CT day 0 to CT day 1 (test-method)"
    assert node.GetNodeReference("DeepRegistration.fixed") is pair.fixed
    assert node.GetNodeReference("DeepRegistration.moving") is pair.moving
    assert node.GetNodeReference("DeepRegistration.moving_segmentation") is pair.moving_segmentation
    provenance = json.loads(node.GetAttribute("DeepRegistration.provenance"))
    assert provenance["method"] == "test-method"
    assert provenance["inputs"]["moving"] == "CT day 0" and str(tmp_path) not in str(provenance)
    again = nodes_of_result(node)
    assert again is not None and again.metrics == {"numbers": 1}
    assert (again.moved, again.segmentation, again.jacobian) == (
        result.moved,
        result.segmentation,
        result.jacobian,
    )
    display = result.jacobian.GetDisplayNode()
    assert display.GetLevel() == pytest.approx(1.0)
    colours = display.GetColorNode()
    middle, folded = [0.0] * 4, [0.0] * 4
    colours.GetColor(colours.GetNumberOfColors() // 2, middle)
    colours.GetColor(0, folded)
    assert max(middle[:3]) < 0.03 and folded[1] == 0.0


def test_second_result_replaces_the_first(
    scene: Any, pair: InputNodes, tmp_path: Path, fake_worker: Any, known_transform: Any
) -> None:
    """The second run starts from where moving was: the same answer gives the same place, not twice as far."""
    mine = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "mine")
    mine.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(TURN))
    pair.moving.SetAndObserveTransformNodeID(mine.GetID())
    transform = known_transform(centre_lps(pair.fixed), bent=True)
    moved = []
    for k in range(2):
        folder = tmp_path / str(k)
        folder.mkdir()
        result = run(pair, folder, fake_worker, transform, True)
        moved.append(slicer.util.arrayFromVolume(result.moved).copy())
    np.testing.assert_array_equal(moved[0], moved[1])
    assert any("set aside" in m for m in result.messages)
    assert np.abs(resampled(scene, pair.moving, result.moved) - moved[1]).mean() < 1.0
    assert result.transform.GetName() == "CT day 0 to CT day 1 (test-method)_1"
    restore_moving(result.transform)
    assert pair.moving.GetTransformNodeID() == mine.GetID()


@pytest.mark.parametrize("broken", ["transform", "moved", "segmentation", "jacobian"])
def test_failure_half_way_leaves_the_scene(
    scene: Any, pair: InputNodes, tmp_path: Path, fake_worker: Any, known_transform: Any, broken: str
) -> None:
    exported = export_inputs(pair, tmp_path)
    data = fake_worker(tmp_path, known_transform((0, 0, 0), bent=True), dense=True, segmentation=True)
    (tmp_path / data["files"][broken]).write_bytes(b"NRRD0004\nnot an image")
    before = ids(scene)
    with pytest.raises(Exception, match=r"."):
        load_result(pair, tmp_path, data, exported.labels)
    assert ids(scene) == before
    assert pair.moving.GetTransformNodeID() is None


def test_volume_removed_meanwhile(
    scene: Any, pair: InputNodes, tmp_path: Path, fake_worker: Any, known_transform: Any
) -> None:
    exported = export_inputs(pair, tmp_path)
    data = fake_worker(tmp_path, known_transform((0, 0, 0), bent=False), dense=False, segmentation=True)
    scene.RemoveNode(pair.moving)
    with pytest.raises(InputError, match="removed from the scene"):
        load_result(pair, tmp_path, data, exported.labels)


def test_initial_transform_that_moving_lies_under_acts_once(
    scene: Any, pair: InputNodes, tmp_path: Path, fake_worker: Any, known_transform: Any
) -> None:
    """A user tries a transform on moving and then chooses it as the start: it must not count twice."""
    from dataclasses import replace

    import SimpleITK as sitk

    start = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "start")
    start.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(TURN))
    pair.moving.SetAndObserveTransformNodeID(start.GetID())
    nodes = replace(pair, initial_transform=start)
    exported = export_inputs(nodes, tmp_path)
    assert exported.messages == ()
    written = sitk.ReadImage(str(tmp_path / exported.files["moving"]))
    np.testing.assert_allclose(written.GetOrigin(), MATRIX[:3, 3] * (-1, -1, 1), atol=1e-6)
    data = fake_worker(tmp_path, known_transform((0, 0, 0), bent=False), dense=False, segmentation=True)
    result = load_result(nodes, tmp_path, data, exported.labels)
    assert pair.moving.GetParentTransformNode() is result.transform
    restore_moving(result.transform)
    assert pair.moving.GetParentTransformNode() is start
