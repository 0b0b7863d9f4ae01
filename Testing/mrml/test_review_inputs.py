"""What a review writes for the worker is what an alignment would write, and lies where Slicer shows it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.jobs import JobFolder
from DeepRegistrationLib.mrml.inputs import InputNodes, export_inputs
from DeepRegistrationLib.mrml.results import load_result
from DeepRegistrationLib.mrml.review_inputs import ReviewNodes, export_review, review_nodes_of
from DeepRegistrationLib.mrml.slabs import finish

SHAPE = (12, 14, 16)
TURN = np.array([[0.8, -0.6, 0, 4.0], [0.6, 0.8, 0, -3.0], [0, 0, 1, 7.0], [0, 0, 0, 1]])
SHEAR = np.array([[1.0, 0.2, 0, 2.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, SHAPE).astype(np.int16)


def linear(scene: Any, matrix: np.ndarray, name: str = "linear") -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def thin_plate(scene: Any, pull: float = 6.0) -> Any:
    """Through eight corners, one of them pulled; it is the *to parent* map, so the other way is its inverse."""
    import vtk

    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for k, corner in enumerate(np.ndindex(2, 2, 2)):
        point = (np.array(corner) * 60.0 - 30.0).tolist()
        source.InsertNextPoint(point)
        target.InsertNextPoint([p + (pull if k == 5 else 0.0) for p in point])
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "bending")
    node.SetAndObserveTransformToParent(spline)
    return node


@pytest.fixture
def nodes(scene: Any, make_volume: Any, make_segmentation: Any) -> ReviewNodes:
    a, b, c = (np.zeros(SHAPE, bool) for _ in range(3))
    a[2:8, 2:8, 2:8], b[5:11, 5:10, 5:15], c[2:6, 8:12, 8:12] = True, True, True
    fixed, moving = make_volume(noise(), name="F"), make_volume(noise(1), np.diag([1.5, -1.1, 2, 1]), name="M")
    points = []
    for k in range(2):
        markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"P{k}")
        markups.AddControlPoint([1.0 + k, 2.0, 3.0], "first")
        markups.AddControlPoint([-4.0, 0.5 + k, 9.0], "second")
        points.append(markups)
    return ReviewNodes(
        transform=linear(scene, TURN, "T"),
        fixed=fixed,
        moving=moving,
        fixed_mask=make_volume((3 * a + 7 * c).astype(np.int16), name="L", kind="LabelMap"),
        fixed_segmentation=make_segmentation(fixed, {"spleen": b, "kidney": c, "liver": a}),
        moving_segmentation=make_segmentation(moving, {"liver": a, "spleen": b}, "overlapping"),
        fixed_landmarks=points[0],
        moving_landmarks=points[1],
    )


def export(nodes: ReviewNodes, folder: Path, **wishes: Any) -> Any:
    return finish(export_review(nodes, JobFolder(folder), **wishes))


def same_image(a: Path, b: Path, atol: float = 0.0) -> None:
    first, second = sitk.ReadImage(str(a)), sitk.ReadImage(str(b))
    assert first.GetSize() == second.GetSize()
    for ask in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(first, ask)(), getattr(second, ask)(), atol=1e-9)
    np.testing.assert_allclose(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second), rtol=0, atol=atol)


@pytest.mark.parametrize("parent", ["none", "linear", "shear", "bending"])
def test_the_files_are_those_of_an_alignment(scene: Any, nodes: ReviewNodes, tmp_path: Path, parent: str) -> None:
    above = {
        "none": lambda: None,
        "linear": lambda: linear(scene, TURN),
        "shear": lambda: linear(scene, SHEAR),
        "bending": lambda: thin_plate(scene),
    }[parent]()
    for name in ("moving", "moving_segmentation", "moving_landmarks", "fixed_landmarks"):
        if above is not None:
            getattr(nodes, name).SetAndObserveTransformNodeID(above.GetID())
    names = [n for n in InputNodes.__dataclass_fields__ if hasattr(nodes, n)]
    ways = [tmp_path / "review", tmp_path / "alignment"]
    for way in ways:
        way.mkdir()
    mine = export(nodes, ways[0])
    theirs = export_inputs(InputNodes(**{name: getattr(nodes, name) for name in names}), ways[1])
    assert mine.labels == theirs.labels == {"liver": 1, "spleen": 2, "kidney": 3}
    assert {k: v for k, v in mine.files.items() if k != "transform"} == theirs.files
    for name, file in theirs.files.items():
        if name.endswith("landmarks"):
            assert (ways[0] / file).read_text(encoding="utf-8") == (ways[1] / file).read_text(encoding="utf-8")
        elif parent in ("shear", "bending") and name == "moving_segmentation":
            # there the alignment's export goes through the grid of the node as well
            a, b = (sitk.GetArrayFromImage(sitk.ReadImage(str(way / file))) for way in ways)
            assert (a != b).mean() < 0.02 and (a != 0).sum() > 200
        else:
            same_image(ways[0] / file, ways[1] / file)
    said = sitk.ReadImage(str(ways[0] / "moving_segmentation.seg.nrrd"))
    assert [said.GetMetaData(f"Segment{k}_Name") for k in range(2)] == ["liver", "spleen"]
    assert "Where segments of 'overlapping' overlap, the later one counts." in mine.messages
    assert [m.replace("alignment", "review") for m in theirs.messages if "resampled" in m] == [
        m.replace("for the", "before the") for m in mine.messages if "resampled" in m
    ]


def test_labels_on_another_grid_and_partly_outside(
    scene: Any, make_volume: Any, make_segmentation: Any, tmp_path: Path
) -> None:
    """A segmentation drawn on a finer, shifted volume; and one on the same lattice that reaches beyond it."""
    fixed = make_volume(noise(), np.diag([2.0, 2.0, 2.0, 1.0]), "F")
    moving = make_volume(noise(1), name="M")
    beyond = np.diag([2.0, 2.0, 2.0, 1.0])
    beyond[:3, 3] = (-8.0, 6.0, 4.0)
    mask = np.random.default_rng(2).random(SHAPE) > 0.6
    other = make_volume(noise(2), beyond, "O")
    finer = np.diag([0.9, 1.1, 1.3, 1.0])
    finer[:3, 3] = (3.3, 4.1, 2.2)
    fine = make_volume(noise(2), finer, "O2")
    for k, volume in enumerate((other, fine)):
        segmentation = make_segmentation(volume, {"a": mask, "b": ~mask & (noise(5) > 500)})
        nodes = ReviewNodes(linear(scene, TURN), fixed, moving, fixed_segmentation=segmentation)
        ways = [tmp_path / f"{k}{way}" for way in ("review", "alignment")]
        for way in ways:
            way.mkdir()
        export(nodes, ways[0])
        export_inputs(InputNodes(fixed, moving, fixed_segmentation=segmentation), ways[1])
        same_image(*(way / "fixed_segmentation.seg.nrrd" for way in ways))
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(ways[0] / "fixed_segmentation.seg.nrrd")))
        assert (labels == 1).sum() > 0 and (labels == 2).sum() > 0
        if k == 0:
            expected = np.zeros(SHAPE, int)
            both = np.where(mask, 1, np.where(noise(5) > 500, 2, 0))
            expected[2:, 3:, :12] = both[:10, :11, 4:]
            np.testing.assert_array_equal(labels, expected)


def test_segments_known_by_their_surfaces_only(
    scene: Any, make_volume: Any, make_segmentation: Any, tmp_path: Path
) -> None:
    fixed, moving = make_volume(noise(), np.eye(4), "F"), make_volume(noise(1), name="M")
    ball = sum((np.indices(SHAPE)[k] - c) ** 2 for k, c in enumerate((6, 7, 8))) < 16
    segmentation = make_segmentation(fixed, {"ball": ball})
    segmentation.GetSegmentation().CreateRepresentation("Closed surface")
    segmentation.GetSegmentation().SetSourceRepresentationName("Closed surface")
    segmentation.GetSegmentation().RemoveRepresentation("Binary labelmap")
    changed = segmentation.GetMTime()
    export(ReviewNodes(linear(scene, TURN), fixed, moving, fixed_segmentation=segmentation), tmp_path)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "fixed_segmentation.seg.nrrd")))
    assert 2 * (labels.astype(bool) & ball).sum() / (labels.sum() + ball.sum()) > 0.85
    assert not segmentation.GetSegmentation().ContainsRepresentation("Binary labelmap")
    assert segmentation.GetMTime() == changed


def test_problem_says_what_is_to_be_done(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    ensemble = {"method": "convex-adam", "preset": None, "values": {}, "members": 3, "seed": 1}
    exported = export(nodes, tmp_path, maps=("jacobian",), ensemble=ensemble, device="cpu", threads=2)
    problem = json.loads((tmp_path / "problem.json").read_text(encoding="utf-8"))
    assert problem["task"] == "review" and problem["inputs"] == dict(exported.files)
    assert problem["maps"] == ["jacobian"] and problem["ensemble"] == ensemble
    assert (problem["device"], problem["threads"], problem["provenance"]) == ("cpu", 2, {})
    assert all((tmp_path / file).is_file() for file in problem["inputs"].values())
    export(nodes, tmp_path)
    assert json.loads((tmp_path / "problem.json").read_text(encoding="utf-8"))["maps"] is None


@pytest.fixture
def registered(scene: Any, nodes: ReviewNodes, tmp_path: Path, fake_worker: Any, known_transform: Any) -> Any:
    """An alignment of the same nodes by this extension, moving under a transform of its own before it."""
    own = linear(scene, TURN, "own")
    nodes.moving.SetAndObserveTransformNodeID(own.GetID())
    inputs = InputNodes(
        nodes.fixed,
        nodes.moving,
        fixed_mask=nodes.fixed_mask,
        fixed_segmentation=nodes.fixed_segmentation,
        moving_segmentation=nodes.moving_segmentation,
        fixed_landmarks=nodes.fixed_landmarks,
        moving_landmarks=nodes.moving_landmarks,
    )
    folder = tmp_path / "alignment"
    folder.mkdir()
    exported = export_inputs(inputs, folder)
    data = fake_worker(folder, known_transform((0, 0, 0), bent=True), dense=True, segmentation=True)
    data["provenance"]["parameters"] = {"strength": 2}
    return load_result(inputs, folder, data, exported.labels), folder


def test_a_result_fills_in_everything_and_moving_lies_where_it_was(
    scene: Any, nodes: ReviewNodes, registered: Any, make_volume: Any, tmp_path: Path
) -> None:
    result, alignment = registered
    uncertainty = make_volume(noise(3).astype(np.float32), name="uncertainty")
    result.transform.SetNodeReferenceID("DeepRegistration.output.uncertainty", uncertainty.GetID())
    found = review_nodes_of(result.transform)
    assert found == replace(nodes, transform=result.transform, uncertainty=uncertainty)
    exported = export(found, tmp_path)
    for name in ("fixed.nrrd", "moving.nrrd", "fixed_mask.nrrd", "moving_segmentation.seg.nrrd"):
        same_image(tmp_path / name, alignment / name)
    # the field as it was: no resampling, no rounding
    same_image(tmp_path / "transform.nrrd", alignment / "transform.nrrd")
    assert exported.files["uncertainty"] == "uncertainty.nrrd"
    problem = json.loads((tmp_path / "problem.json").read_text(encoding="utf-8"))
    assert problem["provenance"]["method"] == "test-method"
    assert problem["provenance"]["parameters"] == {"strength": 2}


def test_any_other_transform_names_nothing(scene: Any) -> None:
    node = linear(scene, TURN)
    found = review_nodes_of(node)
    assert found.transform is node
    assert all(getattr(found, n) is None for n in ("fixed", "moving", "inverse", "uncertainty", "fixed_mask"))
    assert found.replaced(fixed=node, use_inverse=True) == ReviewNodes(node, node, None, use_inverse=True)
    with pytest.raises(InputError, match="has no 'fixd'; it has transform, fixed"):
        found.replaced(fixd=node)


def test_what_cannot_be_reviewed_is_one_sentence(
    scene: Any, nodes: ReviewNodes, make_volume: Any, tmp_path: Path
) -> None:
    one = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "one")
    one.AddControlPoint([0.0, 0, 0])
    empty = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Nothing")
    grid = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "New grid")
    spline = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "New spline")
    flat = linear(scene, np.diag([1.0, 0, 1, 1]), "Flat")
    colour = make_volume(np.zeros((*SHAPE, 3), np.uint8), name="C", kind="Vector")
    cases = [
        (replace(nodes, transform=None), "Choose the transform"),
        (replace(nodes, transform=nodes.fixed), "'F' is no transform"),
        (replace(nodes, transform=empty), "'Nothing' is empty"),
        (replace(nodes, transform=grid), "'New grid' is empty"),
        (replace(nodes, transform=spline), "'New spline' is empty"),
        (replace(nodes, transform=flat), "'Flat' cannot be inverted"),
        (replace(nodes, inverse=empty), "'Nothing' is empty"),
        (replace(nodes, fixed=None), "Choose the fixed volume"),
        (replace(nodes, moving=nodes.fixed), "both 'F'"),
        (replace(nodes, moving=colour), "3 values per voxel"),
        (replace(nodes, fixed_mask=nodes.moving), "is a ScalarVolume"),
        (replace(nodes, fixed_landmarks=one), "1 fixed landmarks but 2 moving"),
        (replace(nodes, moving_landmarks=None), "2 fixed landmarks but no moving"),
        (replace(nodes, uncertainty=colour), "3 values per voxel"),
    ]
    for case, words in cases:
        with pytest.raises(InputError, match=words) as caught:
            export(case, tmp_path)
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert not (tmp_path / "problem.json").exists()


def test_export_leaves_the_scene_alone(scene: Any, nodes: ReviewNodes, tmp_path: Path) -> None:
    nodes.moving.SetAndObserveTransformNodeID(thin_plate(scene).GetID())
    watched = [getattr(nodes, n) for n in ReviewNodes.__dataclass_fields__ if n != "use_inverse"]
    watched = [n for n in watched if n is not None]
    before = [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())]
    changed = [n.GetMTime() for n in watched]
    export(nodes, tmp_path)
    assert [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())] == before
    assert [n.GetMTime() for n in watched] == changed
